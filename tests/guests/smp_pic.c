/* The 8259s' INTR is wired to LINT0 of all vCPUs: whoever has it unmasked as ExtINT takes their
 * interrupts, also out of HLT; two who do share them, each once. */
#include "smp.h"

#define EXTINT 0x700u
#define MASKED 0x10700u

static volatile uint32_t ticks[SMP_MAX], spurious, open[SMP_MAX], opened[SMP_MAX];

static void on_timer(struct frame *f)
{
    add(&ticks[smp_self()], 1);
    outb(0x20, 0x20);
}

static void on_spurious(struct frame *f)
{
    add(&spurious, 1);
}

/* It looks at what it is told each time that it wakes. */
static void live(unsigned self)
{
    for (;;) {
        cli();
        uint32_t how = open[self]; /* once: it may change meanwhile */
        if (how != opened[self]) {
            lapic_write(0x350, how ? EXTINT : MASKED);
            opened[self] = how;
        }
        if (how)
            asm volatile("sti; hlt" ::: "memory");
        else
            pause();
    }
}

/* The others: LINT0 masked, for up to a tick of the timer that one of them waits for. */
static void mask(unsigned count, unsigned id, uint32_t how)
{
    open[id] = how;
    CHECK(smp_wait(&opened[id], how), "vCPU %u of %u does not answer", id, count);
}

/* The one takes five, the other none. */
static void expect(const char *when, unsigned id, unsigned other)
{
    uint64_t end = rdtsc() + tsc_hz();

    ticks[id] = ticks[other] = 0;
    while (ticks[id] < 5 && (int64_t)(rdtsc() - end) < 0)
        pause();
    CHECK(ticks[id] >= 5, "%s vCPU %u took %u", when, id, ticks[id]);
    CHECK(ticks[other] == 0, "%s vCPU %u took %u", when, other, ticks[other]);
}

void test(void)
{
    unsigned count = smp_start(false, live), last = count - 1;

    if (count < 2)
        fail("one vCPU is too few");
    lapic_write(0x350, MASKED);
    pic_init(0x20);
    handle(0x20, on_timer);
    handle(0x27, on_spurious);
    pit_start(2, 1193);
    outb(0x21, 0xfe);
    sti();
    mask(count, last, 1);
    expect("LINT0 of the last is open:", last, 0);
    mask(count, last, 0);
    lapic_write(0x350, EXTINT);
    expect("LINT0 of the boot vCPU is open:", 0, last);
    mask(count, last, 1);
    ticks[0] = ticks[last] = 0;
    delay_us(20000);
    cli();
    outb(0x21, 0xff);
    CHECK(ticks[0] + ticks[last] >= 5 && ticks[0] + ticks[last] <= 22,
          "both are open: %u and %u interrupts", ticks[0], ticks[last]);
    CHECK(spurious == 0, "%u spurious interrupts", spurious);
}
