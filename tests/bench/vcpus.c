/*
 * What scheduling costs, as the vCPUs of one VM of two see it: a timer's tick while the vCPU runs,
 * one that ends its halt, a switch from one vCPU to the other (on one processor), an IPI there and
 * back. Prints "sample NAME LEAST MEDIAN MOST" in TSC ticks.
 */
#include "bench.h"

#define TO_0     0x62
#define TO_1     0x63
#define PATIENCE 30 /* slices of the scheduler without a switch: it has processors enough */

static volatile uint64_t last[2];
static volatile bool done;
static volatile enum { WAIT_SPINNING, WAIT_HALTED } way;
extern volatile uint32_t got[2];
volatile uint32_t got[2];
extern char on_ipi_0[], on_ipi_1[];

asm(".pushsection .text\n"
    ".macro on_ipi n\n"
    "on_ipi_\\n:\n"
    "	push %rax\n	push %rcx\n	push %rdx\n	incl got + 4 * \\n\n"
    "	mov $0x80b, %ecx\n	xor %eax, %eax\n	xor %edx, %edx\n	wrmsr\n"
    "	pop %rdx\n	pop %rcx\n	pop %rax\n	iretq\n"
    ".endm\n"
    "on_ipi 0\n"
    "on_ipi 1\n"
    ".popsection");

/* From the deadline to the handler's first RDTSC; the phases differ. */
static void timer(const char *name, bool halt)
{
    static struct samples late;
    uint64_t slice = tsc_hz() / 1000;

    late.count = 0;
    for (unsigned i = 0; i < RUNS; i++) {
        uint64_t deadline = ticks() + 20000 + i * 7919 % slice;
        taken = 0;
        WRMSR(0x6e0, deadline);
        if (!halt)
            sti();
        while (!taken)
            if (halt)
                asm volatile("sti; hlt; cli" ::: "memory");
        cli();
        sample(&late, taken_at - deadline);
    }
    say_samples(name, &late);
    delay_us(DRAIN_US);
}

/* From the other's last RDTSC to this one's first, where the other ran meanwhile. */
static void watch_switches(unsigned self, struct samples *s)
{
    uint64_t mine = ticks(), limit = mine + PATIENCE * tsc_hz() / 1000;

    while (!done && !full(s)) {
        uint64_t now = ticks(), other = last[1 - self];
        /* the switch may also have come between these two readings: it counts in the next round */
        if ((int64_t)(other - mine) > 0 && (int64_t)(now - other) > 0) {
            sample(s, now - other);
            limit = now + PATIENCE * tsc_hz() / 1000;
        }
        last[self] = mine = now;
        if ((int64_t)(now - limit) > 0)
            break;
    }
}

static void other_switches(unsigned self)
{
    static struct samples unused;

    while (!done) {
        unused.count = 0;
        watch_switches(self, &unused);
    }
}

static void switches(void)
{
    static struct samples s;

    last[0] = last[1] = ticks();
    smp_start(true, other_switches);
    watch_switches(0, &s);
    done = true;
    if (full(&s))
        say_samples("switch", &s);
    delay_us(DRAIN_US);
}

static void wait_for_ipi(unsigned self, uint32_t n)
{
    while (got[self] != n)
        if (way == WAIT_HALTED)
            asm volatile("sti; hlt; cli" ::: "memory");
        else
            asm volatile("sti; pause; cli" ::: "memory");
}

static void answer_ipis(unsigned self)
{
    for (uint32_t n = 1; n <= RUNS; n++) {
        wait_for_ipi(1, n);
        smp_send(0, SMP_FIXED(TO_0));
    }
}

static void ipis(const char *name)
{
    static struct samples s;

    s.count = 0;
    got[0] = got[1] = 0;
    smp_start(true, answer_ipis);
    delay_us(1000);
    for (uint32_t n = 1; n <= RUNS; n++) {
        uint64_t start = ticks();
        smp_send(1, SMP_FIXED(TO_1));
        wait_for_ipi(0, n);
        sample(&s, ticks() - start);
    }
    say_samples(name, &s);
    delay_us(DRAIN_US);
}

void test(void)
{
    lapic_on(true);
    set_gate(VECTOR, (uint64_t)on_interrupt, 0xe, 0, 0);
    set_gate(TO_0, (uint64_t)on_ipi_0, 0xe, 0, 0);
    set_gate(TO_1, (uint64_t)on_ipi_1, 0xe, 0, 0);
    lapic_write(0x320, 0x40000 | VECTOR); /* TSC deadline */
    delay_us(DRAIN_US);
    timer("tick_running", false);
    timer("tick_halted", true);
    lapic_write(0x320, 0x10000 | VECTOR);
    switches();
    way = WAIT_HALTED;
    ipis("ipi_halted");
    way = WAIT_SPINNING;
    ipis("ipi_spinning");
}
