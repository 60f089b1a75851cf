/* The paravirtual clock is one for all vCPUs, never goes back, and counts what the TSC counts; bad
 * values fault, and INIT switches it off. */
#include "pv.h"

#define ROUNDS 1000

static struct pv_time pages[SMP_MAX];
static struct {
    uint32_t version, seconds, ns;
} wall;
static unsigned count;
static volatile uint32_t lock, done, off;
static volatile uint64_t last, last_by;

/* By its own page and, where that is allowed, by the next one's. */
static void read_in_turn(unsigned self)
{
    if (smp_starts(self) > 1) {
        off = rdmsr(PV_CLOCK) == 0 ? 1 : 2;
        return;
    }
    wrmsr(PV_CLOCK, (uint64_t)&pages[self] | PV_ON);
    CHECK(rdmsr(PV_CLOCK) == ((uint64_t)&pages[self] | PV_ON), "the MSR reads as %lx",
          rdmsr(PV_CLOCK));
    smp_meet(count);
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool next = i % 2 && pages[self].flags & 1;
        while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
            pause();
        uint64_t now = pv_now(&pages[next ? (self + 1) % count : self]);
        CHECK(now >= last, "vCPU %u reads %lu ns after %lu by vCPU %lu", self, now, last, last_by);
        last = now;
        last_by = self;
        __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
        if (i % 16 == 0)
            cpuid(0, 0);
    }
    add(&done, 1);
}

static void check_rate(void)
{
    uint64_t tsc = rdtsc(), ns = pv_now(&pages[0]);

    delay_us(5000);
    tsc = rdtsc() - tsc;
    ns = pv_now(&pages[0]) - ns;
    /* between the two readings of each there is a little, and perhaps another vCPU's turn */
    uint64_t exact = tsc * 1000000 / (tsc_hz() / 1000);
    CHECK(ns + 20000 > exact - exact / 1000 && ns < exact + exact / 1000 + 20000,
          "%lu ns are %lu by the TSC", exact, ns);
}

static void check_wall_clock(void)
{
    wrmsr(PV_WALL_CLOCK, (uint64_t)&wall);
    CHECK(wall.version && wall.version % 2 == 0, "the wall clock's version is %u", wall.version);
    CHECK(wall.ns < 1000000000, "the wall clock has %u ns", wall.ns);
    CHECK(wall.seconds > 946684800, "the wall clock began %u s after 1970", wall.seconds);
    uint32_t seconds = wall.seconds;
    delay_us(5000);
    wrmsr(PV_WALL_CLOCK, (uint64_t)&wall); /* the beginning stays where it was */
    CHECK(wall.seconds - seconds + 1 <= 2, "the beginning moves from %u to %u", seconds,
          wall.seconds);
}

void test(void)
{
    CHECK(pv_features() & BIT(3), "no clock is offered: %x", pv_features());
    CHECK(try_wrmsr(PV_CLOCK, (uint64_t)&pages[0] | 3) == GP, "bit 1 is taken");
    CHECK(try_wrmsr(PV_WALL_CLOCK, (uint64_t)&wall | 1) == GP, "bit 0 is taken");
    /* where there is no memory nothing happens */
    CHECK(try_wrmsr(PV_CLOCK, 0xb0000000 | PV_ON) == -1, "an address without RAM faults");
    CHECK(try_wrmsr(PV_CLOCK, BIT(50) | PV_ON) == -1, "an address beyond all faults");
    count = smp_count();
    smp_start(true, read_in_turn);
    read_in_turn(0);
    smp_finish(&done, count);
    check_rate();
    check_wall_clock();
    if (count > 1) {
        smp_restart(1);
        smp_wait(&off, 1);
        CHECK(off == 1, "INIT does not switch it off");
    }
}
