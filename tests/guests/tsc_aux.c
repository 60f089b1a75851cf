/* RDTSCP and RDPID give what IA32_TSC_AUX holds, over exits; RDPMC, without a PMU, is #GP. */
#include "guest.h"

void test(void)
{
    uint32_t aux, low, high;
    uint64_t value;
    if (cpuid(0x80000001, 0).edx >> 27 & 1) {
        for (uint32_t i = 1; i < 100; i++) {
            wrmsr(0xc0000103, i * 0x01010101);
            cpuid(0, 0);
            asm volatile("rdtscp" : "=a"(low), "=d"(high), "=c"(aux)::"memory");
            CHECK(aux == i * 0x01010101, "RDTSCP gives %x, not %x", aux, i * 0x01010101);
        }
    } else {
        CHECK(TRY("rdtscp", ::: "rax", "rcx", "rdx", "memory") == UD, "RDTSCP is hidden but works");
        CHECK(try_rdmsr(0xc0000103, &value) == GP, "TSC_AUX exists without RDTSCP");
    }
    static const uint32_t counters[] = {0, 1, 2, 0x40000000, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(counters); i++) {
        int vector = TRY("rdpmc", ::"c"(counters[i]) : "rax", "rdx", "memory");
        CHECK(vector == GP && caught.error == 0, "RDPMC %x: vector %d", counters[i], vector);
    }
}
