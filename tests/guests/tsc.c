/* The TSC only grows; IA32_TSC and IA32_TSC_ADJUST move it, and each other. */
#include "guest.h"

void test(void)
{
    uint64_t last = rdtsc();
    for (unsigned i = 0; i < 20000; i++) {
        if (i % 100 == 0)
            cpuid(0, 0);
        uint64_t now = rdtsc();
        CHECK(now > last, "the TSC went from %lu to %lu", last, now);
        last = now;
    }
    CHECK(rdmsr(0x10) - last < 1000000, "RDMSR gives another time than RDTSC");
    CHECK(cpuid(7, 0).ebx & 2, "no TSC_ADJUST");
    CHECK(rdmsr(0x3b) == 0, "TSC_ADJUST starts as %lx", rdmsr(0x3b));
    uint64_t before = rdtsc();
    wrmsr(0x3b, 1000000000000);
    uint64_t moved = rdtsc() - before;
    CHECK(moved >= 1000000000000 && moved < 1000000100000,
          "TSC_ADJUST of 10^12 moved the TSC by %lu", moved);
    before = rdtsc();
    wrmsr(0x10, before - 300000000000);
    CHECK(before - rdtsc() > 299999900000 && before - rdtsc() <= 300000000000,
          "IA32_TSC is not what was written");
    int64_t adjust = (int64_t)rdmsr(0x3b);
    CHECK(adjust < 700000000000 && adjust > 699999900000, "after IA32_TSC TSC_ADJUST is %ld",
          adjust);
    wrmsr(0x3b, 0);
    moved = rdtsc() - last;
    CHECK(moved < 10000000, "back at TSC_ADJUST 0 the TSC is %lu off", moved);
    wrmsr(0x10, 0);
    CHECK(rdtsc() < 100000, "the TSC cannot be set to 0");
    CHECK(rdmsr(0x10) < 100000, "the TSC cannot be set to 0 for RDMSR");

    /* the PM timer is not moved by it, and both run at the rates that they claim */
    uint32_t pm = inl(PM_TIMER);
    uint64_t start = rdtsc();
    while (inl(PM_TIMER) - pm < 35795)
        ;
    uint64_t ticks = rdtsc() - start, expected = tsc_hz() / 100;
    CHECK(ticks > expected - expected / 50 && ticks < expected + expected / 50,
          "10 ms of PM timer are %lu ticks, not %lu", ticks, expected);
}
