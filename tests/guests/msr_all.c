/* Every MSR number is read and written without harm to anybody: a value or #GP, nothing else. */
#include "guest.h"

static unsigned readable, writable;

static void probe(uint32_t msr)
{
    static const uint64_t values[] = {~0ULL, 0, 1, 0x5555555555555555};
    uint64_t old = 0, value;
    int vector = try_rdmsr(msr, &old);
    CHECK(vector == -1 || (vector == GP && caught.error == 0), "RDMSR %x gives vector %d", msr,
          vector);
    bool reads = vector == -1;
    readable += reads;
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        vector = try_wrmsr(msr, values[i]);
        CHECK(vector == -1 || (vector == GP && caught.error == 0),
              "WRMSR %x of %lx gives vector %d", msr, values[i], vector);
        writable += vector == -1;
        (void)try_rdmsr(msr, &value);
        if (reads)
            (void)try_wrmsr(msr, old);
    }
}

void test(void)
{
    for (uint32_t msr = 0; msr < 0x2000; msr++)
        probe(msr);
    for (uint32_t msr = 0xc0000000; msr < 0xc0002000; msr++)
        probe(msr);
    for (unsigned bit = 13; bit < 32; bit++)
        probe(BIT(bit) + 5);
    CHECK(readable > 30, "only %u MSRs can be read", readable);
    CHECK(writable > 30, "only %u values can be written", writable);
}
