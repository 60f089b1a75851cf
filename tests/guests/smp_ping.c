/* IPIs go back and forth between two vCPUs, one of which waits in HLT or in a loop; none is lost,
 * and none waits for the end of somebody's slice. */
#include "smp.h"

#define VECTOR 0x55
#define ROUNDS (how == BUSY ? 20u : 300u)

/* How a vCPU waits. */
enum { SPINS, HALTS, BUSY, HOWS }; /* BUSY: nothing that it does exits */

static volatile uint32_t got[2], how;

static void on_ipi(struct frame *f)
{
    lapic_eoi();
    add(&got[smp_self() & 1], 1);
}

static void wait_for(unsigned self, uint32_t n)
{
    uint64_t end = rdtsc() + tsc_hz();

    while (got[self] != n) {
        if ((int64_t)(rdtsc() - end) > 0)
            fail("vCPU %u waits for IPI %u, and has %u; the other has %u", self, n, got[self],
                 got[1 - self]);
        if (how == HALTS && got[self] != n)
            asm volatile("sti; hlt; cli" ::: "memory");
        else if (how == BUSY)
            asm volatile("sti; nop; cli" ::: "memory");
        else
            asm volatile("sti; pause; cli" ::: "memory");
    }
}

static void answer(unsigned self)
{
    if (self != 1)
        return;
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        wait_for(1, n);
        smp_send(0, SMP_FIXED(VECTOR));
    }
}

static void play(bool x2apic)
{
    static const char *const name[] = {"spinning", "halted", "busy"};
    /* Who is busy on the only processor is interrupted when its slice is over; who spins gives way.
     */
    uint64_t start, each, limit = tsc_hz() / (how == BUSY ? 50 : 2500);

    got[0] = got[1] = 0;
    smp_start(x2apic, answer);
    start = rdtsc();
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        smp_send(1, SMP_FIXED(VECTOR));
        wait_for(0, n);
    }
    each = (rdtsc() - start) / ROUNDS;
    say("%s, %s: %lu ticks there and back\n", x2apic ? "x2APIC" : "xAPIC", name[how], each);
    CHECK(each < limit, "an IPI there and back takes %lu ticks", each);
}

void test(void)
{
    handle(VECTOR, on_ipi);
    for (unsigned mode = 0; mode < 2; mode++)
        for (how = 0; how < HOWS; add(&how, 1))
            play(mode);
}
