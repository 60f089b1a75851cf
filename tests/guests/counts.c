/*
 * Counts in memory and in registers, under timer interrupts, and says when a key is typed how far
 * it is and what it has come to, which depends on nothing else: for a VM that is kept and put back
 * while it does so (tests/machine/moments.py). Each step checks what those before it have left. All
 * vCPUs do the same. It ends when a 'q' is typed.
 */
#include "smp.h"

#define VECTOR   0x51
#define MULTIPLY 6364136223846793005ULL
#define ADD      1442695040888963407ULL
#define ROUNDS   20000u /* in registers, of one step */
#define PAGES    64u    /* of which a step fills one */
#define WORDS    (PAGE_SIZE / 8)
#define CPUS     4u

static struct counter {
    uint32_t steps;
    uint64_t x;
    uint64_t seen;            /* the TSC at the last step */
    volatile uint64_t ticked; /* and at the last timer interrupt */
} counters[CPUS];

static uint64_t memory[CPUS][PAGES][WORDS] __attribute__((aligned(PAGE_SIZE)));
static uint64_t factor = 1, summand; /* what ROUNDS come to */

static void on_timer(struct frame *f)
{
    counters[smp_self()].ticked = rdtsc();
    lapic_eoi();
}

static uint64_t in_registers(uint64_t x)
{
    uint64_t n = ROUNDS;

    asm volatile("1: imul %2, %0\n\tadd %3, %0\n\tdec %1\n\tjnz 1b"
                 : "+r"(x), "+r"(n)
                 : "r"(MULTIPLY), "r"(ADD)
                 : "cc");
    return x;
}

static uint64_t fpu(void)
{
    uint64_t x;

    asm volatile("movq %%xmm3, %0" : "=r"(x));
    return x;
}

static void step(unsigned self)
{
    struct counter *c = &counters[self];
    uint64_t *page = memory[self][c->steps % PAGES], now = rdtsc(), x = in_registers(c->x);
    uint32_t old = c->steps < PAGES ? 0 : c->steps - PAGES + 1;

    if (x != factor * c->x + summand)
        fail("vCPU %u, step %u: registers have come to %lx", self, c->steps, x);
    if (fpu() != c->x)
        fail("vCPU %u, step %u: xmm3 is %lx", self, c->steps, fpu());
    if (now < c->seen || now - c->seen > tsc_hz())
        fail("vCPU %u, step %u: the TSC is %lu and was %lu", self, c->steps, now, c->seen);
    if (now - c->ticked > tsc_hz() / 4 && now > c->ticked)
        fail("vCPU %u, step %u: the last timer interrupt was %lu ticks ago", self, c->steps,
             now - c->ticked);
    if (page[0] != old)
        fail("vCPU %u, step %u: a page is of step %lu", self, c->steps, page[0] - 1);
    for (unsigned i = 2; old && i < WORDS; i++)
        if (page[i] != page[1] * i)
            fail("vCPU %u, step %u: a page is not whole at word %u", self, c->steps, i);
    c->steps++;
    c->seen = now;
    c->x = x;
    asm volatile("movq %0, %%xmm3" ::"r"(x));
    page[0] = c->steps;
    for (unsigned i = 1; i < WORDS; i++)
        page[i] = x * i;
}

static void answer(uint8_t key)
{
    say("%c: step %u, %lx\n", key, counters[0].steps, counters[0].x);
    if (key == 'q') {
        cli();
        pass();
    }
}

static void count(unsigned self)
{
    struct counter *c = &counters[self];

    lapic_on(true);
    WRITE_CR(0, (READ_CR(0) & ~BIT(2)) | BIT(1));
    WRITE_CR(4, READ_CR(4) | BIT(9)); /* OSFXSR */
    asm volatile("movq %0, %%xmm3" ::"r"(c->x));
    c->seen = c->ticked = rdtsc();
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20000 | VECTOR);
    lapic_write(0x380, (uint32_t)(apic_hz() / 500));
    sti();
    for (;;) {
        step(self);
        if (self == 0 && (inb(COM1 + 5) & 1))
            answer(inb(COM1));
    }
}

void test(void)
{
    if (smp_count() > CPUS)
        fail("%u vCPUs are too many", smp_count());
    for (unsigned i = 0; i < ROUNDS; i++) {
        factor *= MULTIPLY;
        summand = summand * MULTIPLY + ADD;
    }
    handle(VECTOR, on_timer);
    lapic_on(true);
    if (smp_count() > 1)
        smp_start(true, count);
    count(0);
}
