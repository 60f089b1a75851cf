#include "arch/x86/apic.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"

/* Offsets in the xAPIC page; the x2APIC's MSR is MSR_X2APIC + offset / 16. */
#define APIC_ID         0x020
#define APIC_TPR        0x080
#define APIC_EOI        0x0b0
#define APIC_SVR        0x0f0
#define APIC_ISR        0x100
#define APIC_ESR        0x280
#define APIC_ICR        0x300
#define APIC_ICR_HIGH   0x310
#define APIC_LVT_TIMER  0x320
#define APIC_LVT_THERM  0x330
#define APIC_LVT_PERF   0x340
#define APIC_LVT_LINT0  0x350
#define APIC_LVT_LINT1  0x360
#define APIC_LVT_ERROR  0x370
#define APIC_TIMER_INIT 0x380
#define APIC_TIMER_NOW  0x390
#define APIC_TIMER_DIV  0x3e0

#define SVR_ENABLE         0x100u
#define LVT_MASKED         0x10000u
#define LVT_NMI            0x400u
#define LVT_TIMER_DEADLINE 0x40000u
#define DIVIDE_BY_1        0xbu

#define ICR_FIXED   0x000u
#define ICR_NMI     0x400u
#define ICR_INIT    0x500u
#define ICR_SIPI    0x600u
#define ICR_PENDING 0x1000u
#define ICR_ASSERT  0x4000u

#define CPUID_1_EDX_APIC     BIT(9)
#define CPUID_1_ECX_X2APIC   BIT(21)
#define CPUID_1_ECX_DEADLINE BIT(24)

static volatile uint32_t *xapic; /* NULL in x2APIC mode */
static bool x2apic, deadline_mode;
static uint64_t timer_hz; /* of the one-shot timer */

static uint32_t read_register(unsigned offset)
{
    return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + offset / 16) : xapic[offset / 4];
}

static void write_register(unsigned offset, uint32_t value)
{
    if (x2apic)
        wrmsr(MSR_X2APIC + offset / 16, value);
    else
        xapic[offset / 4] = value;
}

int apic_init(void *(*map)(uint64_t physical))
{
    struct cpuid features = cpuid(1, 0);
    uint64_t base;

    if (!(features.edx & CPUID_1_EDX_APIC))
        return -ENODEV;
    x2apic = features.ecx & CPUID_1_ECX_X2APIC;
    deadline_mode = features.ecx & CPUID_1_ECX_DEADLINE;
    if (x2apic)
        return 0;
    base = rdmsr(MSR_APIC_BASE) & APIC_BASE_ADDR;
    xapic = map(base);
    return xapic ? 0 : -ENODEV;
}

/* How fast the one-shot timer counts; firmware's setting of the bus clock is not told anywhere
 * reliable. */
static uint64_t calibrate(void)
{
    uint64_t start, ticks = tsc_hz / 1000;
    uint32_t counted;

    write_register(APIC_LVT_TIMER, LVT_MASKED | VECTOR_TIMER);
    write_register(APIC_TIMER_DIV, DIVIDE_BY_1);
    write_register(APIC_TIMER_INIT, UINT32_MAX);
    start = rdtsc();
    while (rdtsc() - start < ticks)
        cpu_pause();
    counted = UINT32_MAX - read_register(APIC_TIMER_NOW);
    write_register(APIC_TIMER_INIT, 0);
    return MAX(counted * 1000ULL, 1000ULL);
}

static void set_mode(void)
{
    uint64_t base = rdmsr(MSR_APIC_BASE);

    /* Straight from disabled to x2APIC is a #GP (SDM, "x2APIC State Transitions"). */
    if (!(base & APIC_BASE_ENABLE))
        wrmsr(MSR_APIC_BASE, base |= APIC_BASE_ENABLE);
    if (x2apic && !(base & APIC_BASE_X2APIC))
        wrmsr(MSR_APIC_BASE, base | APIC_BASE_X2APIC);
}

/* Firmware's timer interrupt may still be in service: nothing of ours would get through below it.
 */
static void end_leftovers(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint32_t in_service = 0;

        for (unsigned word = 0; word < 8; word++)
            in_service |= read_register(APIC_ISR + 16 * word);
        if (!in_service)
            return;
        apic_eoi();
    }
}

void apic_enable(void)
{
    static const uint16_t masked[] = {APIC_LVT_THERM, APIC_LVT_PERF, APIC_LVT_LINT0,
                                      APIC_LVT_ERROR};

    set_mode();
    write_register(APIC_SVR, SVR_ENABLE | VECTOR_SPURIOUS);
    write_register(APIC_TPR, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(masked); i++)
        write_register(masked[i], LVT_MASKED);
    write_register(APIC_LVT_LINT1, LVT_NMI);
    write_register(APIC_ESR, 0);
    end_leftovers();

    if (!deadline_mode && !timer_hz)
        timer_hz = calibrate();
    write_register(APIC_TIMER_DIV, DIVIDE_BY_1);
    write_register(APIC_LVT_TIMER, VECTOR_TIMER | (deadline_mode ? LVT_TIMER_DEADLINE : 0));
    /* In xAPIC mode the LVT write is a store and must be there before the deadline MSR is (SDM,
     * "TSC-Deadline Mode"). */
    __asm__ volatile("mfence" : : : "memory");
    apic_timer_stop();
}

bool apic_is_x2apic(void)
{
    return x2apic;
}

uint32_t apic_id(void)
{
    return x2apic ? read_register(APIC_ID) : read_register(APIC_ID) >> 24;
}

void apic_eoi(void)
{
    write_register(APIC_EOI, 0);
}

bool apic_in_service(unsigned vector)
{
    return read_register(APIC_ISR + 16 * (vector / 32 & 7)) >> (vector % 32) & 1;
}

void apic_timer_set(uint64_t deadline)
{
    uint64_t now, ticks;

    if (deadline_mode) {
        wrmsr(MSR_TSC_DEADLINE, MAX(deadline, 1ULL)); /* 0 would disarm */
        return;
    }
    now = rdtsc();
    ticks = deadline > now ? deadline - now : 0;
    /* Far deadlines come early, in steps of what the counter holds; the handler looks at the clock
     * and sets it again. */
    ticks = MIN(ticks, 1ULL << 40) * (timer_hz / 1000) / (tsc_hz / 1000);
    write_register(APIC_TIMER_INIT, (uint32_t)MAX(MIN(ticks, (uint64_t)UINT32_MAX), 1ULL));
}

void apic_timer_stop(void)
{
    if (deadline_mode)
        wrmsr(MSR_TSC_DEADLINE, 0);
    else
        write_register(APIC_TIMER_INIT, 0);
}

bool apic_timer_is_deadline(void)
{
    return deadline_mode;
}

static void send(uint32_t destination, uint32_t command)
{
    if (x2apic) {
        /* WRMSR to the ICR does not serialise: what we wrote for the other CPU must be visible
         * first. */
        __asm__ volatile("mfence; lfence" : : : "memory");
        wrmsr(MSR_X2APIC_ICR, (uint64_t)destination << 32 | command);
        return;
    }
    for (int i = 0; i < 100000 && (read_register(APIC_ICR) & ICR_PENDING); i++)
        cpu_pause();
    write_register(APIC_ICR_HIGH, destination << 24);
    write_register(APIC_ICR, command);
}

void apic_send_fixed(uint32_t destination, unsigned vector)
{
    send(destination, ICR_FIXED | ICR_ASSERT | (vector & 0xff));
}

void apic_send_nmi(uint32_t destination)
{
    send(destination, ICR_NMI | ICR_ASSERT);
}

void apic_send_init(uint32_t destination)
{
    send(destination, ICR_INIT | ICR_ASSERT);
}

void apic_send_sipi(uint32_t destination, uint8_t page)
{
    send(destination, ICR_SIPI | ICR_ASSERT | page);
}

#define PIC_MASTER 0x20
#define PIC_SLAVE  0xa0

void pic_disable(void)
{
    outb(PIC_MASTER + 1, 0xff);
    outb(PIC_SLAVE + 1, 0xff);
    /* Even masked they can raise a spurious IRQ 7 or 15: give those vectors that nobody mistakes
     * for an exception. */
    outb(PIC_MASTER, 0x11);
    outb(PIC_SLAVE, 0x11);
    outb(PIC_MASTER + 1, 0x20);
    outb(PIC_SLAVE + 1, 0x28);
    outb(PIC_MASTER + 1, 4);
    outb(PIC_SLAVE + 1, 2);
    outb(PIC_MASTER + 1, 1);
    outb(PIC_SLAVE + 1, 1);
    outb(PIC_MASTER + 1, 0xff);
    outb(PIC_SLAVE + 1, 0xff);
}
