/*
 * What a VM exit costs, in instructions as the guest's TSC sees them where time counts instructions
 * (Bochs): for each operation the least of many runs, less what two RDTSC in a row cost. Prints
 * "bench NAME TICKS" lines. In a build of Corbel that counts (make bench), "count NAME VMREADS
 * VMWRITES MSRS" per operation as well.
 */
#include "bench.h"

#define HYPERCALL_COUNT 0x436f756e74ULL /* "Count": exists only in the counting build */

static uint64_t empty;

struct counts {
    uint64_t vmread, vmwrite, msr;
};

static bool read_counts(struct counts *c)
{
    uint64_t rax = HYPERCALL_COUNT;

    asm volatile("vmcall" : "+a"(rax), "=b"(c->vmread), "=c"(c->vmwrite), "=d"(c->msr)::"memory");
    return rax == 0;
}

/* Run code RUNS times between two RDTSC; prepare comes before the first. */
#define MEASURE(name, prepare, code)                                                               \
    do {                                                                                           \
        struct counts before, after, twice;                                                        \
        uint64_t least_ = UINT64_MAX;                                                              \
        delay_us(DRAIN_US);                                                                        \
        for (int run_ = 0; run_ < RUNS; run_++) {                                                  \
            prepare;                                                                               \
            uint64_t start_ = ticks();                                                             \
            code;                                                                                  \
            uint64_t ticks_ = ticks() - start_;                                                    \
            least_ = MIN(least_, ticks_);                                                          \
        }                                                                                          \
        say("bench %s %lu\n", name, least_ - MIN(empty, least_));                                  \
        prepare;                                                                                   \
        if (read_counts(&before) && read_counts(&twice)) {                                         \
            prepare;                                                                               \
            code;                                                                                  \
            read_counts(&after);                                                                   \
            /* the second reading costs what the third does */                                     \
            say("count %s %ld %ld %ld\n", name,                                                    \
                (after.vmread - twice.vmread) - (twice.vmread - before.vmread),                    \
                (after.vmwrite - twice.vmwrite) - (twice.vmwrite - before.vmwrite),                \
                (after.msr - twice.msr) - (twice.msr - before.msr));                               \
        }                                                                                          \
    } while (0)

#define RDMSR(msr)                                                                                 \
    do {                                                                                           \
        uint32_t low_, high_;                                                                      \
        asm volatile("rdmsr" : "=a"(low_), "=d"(high_) : "c"(msr) : "memory");                     \
    } while (0)
#define CPUID(leaf)                                                                                \
    do {                                                                                           \
        uint32_t a_ = (leaf), c_ = 0, b_, d_;                                                      \
        asm volatile("cpuid" : "+a"(a_), "=b"(b_), "+c"(c_), "=d"(d_)::"memory");                  \
    } while (0)
static void instructions(void)
{
    volatile uint32_t *watched = (volatile uint32_t *)0xa00000; /* as run.py says */

    MEASURE("cpuid_0", , CPUID(0));
    MEASURE("cpuid_1", , CPUID(1));
    MEASURE("cpuid_7", , CPUID(7));
    MEASURE("cpuid_b", , CPUID(0xb));
    MEASURE("cpuid_d", , CPUID(0xd));
    MEASURE("cpuid_unknown", , CPUID(0x3fffffff));
    MEASURE("vmcall", , {
        uint64_t rax = 0x7fff;
        asm volatile("vmcall" : "+a"(rax)::"memory");
    });
    MEASURE("rdmsr_efer", , RDMSR(0xc0000080));
    MEASURE("rdmsr_misc_enable", , RDMSR(0x1a0));
    MEASURE("wbinvd", , asm volatile("wbinvd" ::: "memory"));
    MEASURE("rdtsc", , (void)ticks());
    MEASURE("mov_cr3", , WRITE_CR(3, READ_CR(3)));
    MEASURE("write_memory", , *watched = 1);
}

/* An instruction whose 16 bytes lie in two pages is fetched on a longer road: none of these does.
 */
static __attribute__((noinline, aligned(4096))) void devices(void)
{
    volatile uint32_t *select = (volatile uint32_t *)IOAPIC,
                      *window = (volatile uint32_t *)(IOAPIC + 0x10);

    MEASURE("port_read_uart", , (void)inb(COM1 + 7));
    MEASURE("port_write_uart", , outb(COM1 + 7, 0x5a));
    MEASURE("port_read_pm_timer", , (void)inl(PM_TIMER));
    /* From a register, as drivers do. */
    MEASURE("mmio_write_ioapic_select", , asm volatile("mov %1, %0" : "=m"(*select) : "r"(1)));
    MEASURE("mmio_read_ioapic_window", , (void)*window);
    *select = 0x10 + 2 * 20; /* an unused pin's redirection entry, masked */
    MEASURE("mmio_write_ioapic_window", ,
            asm volatile("mov %1, %0"
                         : "=m"(*window)
                         : "r"(0x10000)));
}

static void timers(void)
{
    uint64_t least = UINT64_MAX;

    delay_us(DRAIN_US);
    lapic_write(0x320, 0x40000 | VECTOR); /* TSC deadline */
    MEASURE("deadline_due_taken", taken = 0, {
        WRMSR(0x6e0, ticks());
        WAIT(taken);
    });
    MEASURE("deadline_future_set", , WRMSR(0x6e0, ticks() + 100000000));
    WRMSR(0x6e0, 0UL);
    delay_us(DRAIN_US);
    /* From the deadline to the handler's first RDTSC, and the WRMSR that set it: the wait is
     * excluded. */
    for (int i = 0; i < RUNS; i++) {
        taken = 0;
        uint64_t start = ticks(), deadline = start + 20000;
        WRMSR(0x6e0, deadline);
        uint64_t set = ticks() - start;
        WAIT(taken);
        if (taken_at > deadline)
            least = MIN(least, set + taken_at - deadline);
    }
    say("bench deadline_future_taken %lu\n", least - MIN(empty, least));
    lapic_write(0x320, 0x10000 | VECTOR);
    MEASURE("write_tmict", , WRMSR(0x838, 0UL));
}

static void self_ipi(void)
{
    MEASURE("self_ipi_nop", (cli(), taken = 0), {
        WRMSR(0x83f, (uint64_t)VECTOR);
        asm volatile("sti; nop" ::: "memory");
    });

    MEASURE("self_ipi_icr_nop", (cli(), taken = 0), {
        WRMSR(0x830, 0x40000UL | VECTOR);
        asm volatile("sti; nop" ::: "memory");
    });
    MEASURE("self_ipi_hlt", (cli(), taken = 0), {
        WRMSR(0x83f, (uint64_t)VECTOR);
        asm volatile("sti; hlt" ::: "memory");
    });
}

void test(void)
{
    empty = UINT64_MAX;
    for (int i = 0; i < RUNS; i++) {
        uint64_t start = ticks(), end = ticks();
        empty = MIN(empty, end - start);
    }
    say("bench empty %lu\n", empty);
    lapic_on(true);
    set_gate(VECTOR, (uint64_t)on_interrupt, 0xe, 0, 0);
    instructions();
    devices();
    sti();
    timers();
    self_ipi();
    cli();
}
