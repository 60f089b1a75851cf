/* A vCPU that spins gives way at once to the one for which it waits, though it has its share to
 * come: it has waited for all of the other's time slice. */
#include "smp.h"

#define ROUNDS 20

static volatile uint32_t begun, asked, answered, taken, told;

/* Spins; who shares the processor with it is busy for its slice. */
static void wait_for_a_turn(void)
{
    uint64_t end = rdtsc() + tsc_hz() / 500;

    for (uint64_t last = rdtsc(), now = last; (int64_t)(end - now) > 0; last = now) {
        pause();
        now = rdtsc();
        if (now - last > tsc_hz() / 2500)
            return;
    }
}

static void ask(unsigned self)
{
    uint64_t took = 0;

    if (self != 1)
        return;
    while (!begun)
        pause();
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        uint64_t start;

        wait_for_a_turn();
        start = rdtsc();
        asked = n;
        while (answered != n)
            pause();
        took += rdtsc() - start;
        taken = n;
    }
    say("an answer after %lu ticks\n", took / ROUNDS);
    CHECK(took / ROUNDS < tsc_hz() / 4000, "an answer takes %lu ticks", took / ROUNDS);
    told = 1;
}

void test(void)
{
    uint64_t end;

    smp_start(true, ask);
    end = rdtsc() + tsc_hz();
    begun = 1;
    for (uint32_t n = 1; n <= ROUNDS; n++) {
        while (asked != n) {
            asm volatile("sti; nop; cli"); /* without an exit; a window for the host's interrupts */
            CHECK((int64_t)(end - rdtsc()) > 0, "question %u does not come", n);
        }
        answered = n;
        while (taken != n)
            pause();
    }
    smp_wait(&told, 1);
}
