#include "arch/x86/tsc.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"

uint64_t tsc_hz;
const char *tsc_source = "a guess", *tsc_confirmed;

#define PIT_HZ        1193182u
#define PIT_CHANNEL_2 0x42
#define PIT_COMMAND   0x43
#define PORT_61       0x61
#define PORT_61_GATE  0x01
#define PORT_61_SPKR  0x02
#define PORT_61_OUT   0x20

#define PM_TIMER_HZ   3579545u
#define PM_TIMER_MASK 0xffffffu

#define CALIBRATION_HZ 100u /* 10 ms */

#define LEAF_TSC              0x15u
#define LEAF_FREQUENCY        0x16u
#define LEAF_HYPERVISOR       0x40000000u
#define LEAF_HYPERVISOR_CLOCK 0x40000010u

/* a * b / c with a 128-bit product; saturates. */
static uint64_t multiply_divide(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t low, high, quotient, rest;

    __asm__("mulq %3" : "=a"(low), "=d"(high) : "0"(a), "r"(b) : "cc");
    if (high >= c)
        return UINT64_MAX;
    __asm__("divq %4" : "=a"(quotient), "=d"(rest) : "0"(low), "1"(high), "r"(c) : "cc");
    return quotient;
}

/*
 * CPUs whose leaf 15h has the ratio but not the crystal: leaf 16h's frequency is a round number for
 * people, and 0.2 % off is minutes a day. The crystal is one of a few; 0 when none of them fits.
 */
static uint64_t hz_by_crystal(uint32_t numerator, uint32_t denominator, uint64_t base_hz)
{
    static const uint32_t crystals[] = {24000000, 25000000, 19200000, 38400000};

    for (unsigned i = 0; i < ARRAY_SIZE(crystals); i++) {
        uint64_t hz = (uint64_t)crystals[i] * numerator / denominator;
        if ((hz > base_hz ? hz - base_hz : base_hz - hz) <= base_hz / 100)
            return hz;
    }
    return 0;
}

/* SDM, "Determining the Processor Base Frequency"; leaf 40000010h is the hypervisors' common one
 * (kHz). */
static uint64_t hz_from_cpuid(const char **source)
{
    uint32_t max = cpuid(0, 0).eax;

    if ((cpuid(1, 0).ecx & BIT(31)) && cpuid(LEAF_HYPERVISOR, 0).eax >= LEAF_HYPERVISOR_CLOCK) {
        uint32_t khz = cpuid(LEAF_HYPERVISOR_CLOCK, 0).eax;

        *source = "the hypervisor's CPUID leaf 40000010h";
        if (khz)
            return khz * 1000ULL;
    }
    if (max >= LEAF_TSC) {
        struct cpuid r = cpuid(LEAF_TSC, 0);

        *source = "CPUID leaf 15h";
        if (r.eax && r.ebx && r.ecx)
            return (uint64_t)r.ecx * r.ebx / r.eax;
        *source = "CPUID leaves 15h and 16h";
        if (r.eax && r.ebx && max >= LEAF_FREQUENCY)
            return hz_by_crystal(r.ebx, r.eax,
                                 (cpuid(LEAF_FREQUENCY, 0).eax & 0xffff) * 1000000ULL);
    }
    return 0;
}

/* Channel 2 counts down once in mode 0; its output rises at the end. 0 when that does not happen in
 * time. */
static uint64_t hz_from_pit(void)
{
    unsigned count = PIT_HZ / CALIBRATION_HZ;
    uint8_t port61 = inb(PORT_61);
    uint64_t start, now = 0, polls = 0;
    bool done = false;

    outb(PORT_61, (uint8_t)((port61 & ~PORT_61_SPKR) | PORT_61_GATE));
    outb(PIT_COMMAND, 0xb0); /* channel 2, both bytes, mode 0, binary */
    outb(PIT_CHANNEL_2, count & 0xff);
    outb(PIT_CHANNEL_2, (uint8_t)(count >> 8));
    start = rdtsc();
    /* A port read takes at least some 100 ns on hardware: a million of them is ten times too long.
     */
    while (!done && polls++ < 4000000) {
        done = inb(PORT_61) & PORT_61_OUT;
        now = rdtsc();
    }
    outb(PORT_61, port61);
    /* An output that is up at once belongs to a timer that does not count. */
    if (!done || polls < 4)
        return 0;
    return multiply_divide(now - start, PIT_HZ, count);
}

static uint64_t hz_from_pm_timer(uint16_t port)
{
    uint32_t target = PM_TIMER_HZ / CALIBRATION_HZ, begin, elapsed = 0;
    uint64_t start, now = 0, polls = 0;

    if (!port)
        return 0;
    begin = inl(port);
    start = rdtsc();
    while (elapsed < target && polls++ < 4000000) {
        elapsed = (inl(port) - begin) & PM_TIMER_MASK;
        now = rdtsc();
    }
    return elapsed < target ? 0 : multiply_divide(now - start, PM_TIMER_HZ, elapsed);
}

void tsc_init(uint16_t pm_timer)
{
    const char *source = "", *clock = "the 8254";
    uint64_t told = hz_from_cpuid(&source), measured = hz_from_pit();

    if (!measured) {
        clock = "the PM timer";
        measured = hz_from_pm_timer(pm_timer);
    }
    if (!measured && !told) {
        tsc_hz = 2000000000;
        log_warn("no timer to calibrate the TSC by and CPUID does not tell its frequency; guessing "
                 "2 GHz, guests' clocks will be wrong");
        return;
    }
    if (!measured ||
        (told && told / 100 >= (told > measured ? told - measured : measured - told))) {
        tsc_hz = told;
        tsc_source = source;
        tsc_confirmed = measured ? clock : NULL;
        log_info("TSC runs at %lu.%03lu MHz by %s%s%s", told / 1000000, told / 1000 % 1000, source,
                 measured ? ", confirmed by " : ", unconfirmed", measured ? clock : "");
        return;
    }
    tsc_hz = measured;
    tsc_source = clock;
    if (told)
        log_warn("%s says the TSC runs at %lu MHz; %s says %lu MHz and is believed", source,
                 told / 1000000, clock, measured / 1000000);
    else
        log_info("TSC runs at %lu.%03lu MHz by %s", measured / 1000000, measured / 1000 % 1000,
                 clock);
}

void tsc_delay_us(uint64_t us)
{
    uint64_t start = rdtsc(), ticks = multiply_divide(us, tsc_hz, 1000000);

    while (rdtsc() - start < ticks)
        cpu_pause();
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return multiply_divide(ticks, 1000000000, tsc_hz);
}

uint64_t tsc_from_ns(uint64_t ns)
{
    return multiply_divide(ns, tsc_hz, 1000000000);
}
