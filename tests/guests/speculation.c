/* IA32_SPEC_CTRL and its kin: there as far as CPUID says so, and kept by the vCPU. */
#include "guest.h"

#define SPEC_CTRL         0x48u
#define PRED_CMD          0x49u
#define ARCH_CAPABILITIES 0x10au
#define FLUSH_CMD         0x10bu

static void faults(uint32_t msr)
{
    uint64_t value;

    CHECK(try_rdmsr(msr, &value) == GP, "RDMSR %x does not fault", msr);
    CHECK(try_wrmsr(msr, 0) == GP, "WRMSR %x does not fault", msr);
}

/* Without an exit from the second one on; CPUID exits between write and read. */
static void keeps(uint64_t value)
{
    uint64_t kept = ~value;

    CHECK(try_wrmsr(SPEC_CTRL, value) == -1, "SPEC_CTRL does not take %lx", value);
    (void)cpuid(0, 0);
    CHECK(try_rdmsr(SPEC_CTRL, &kept) == -1 && kept == value, "SPEC_CTRL is %lx, not %lx", kept,
          value);
}

void test(void)
{
    uint32_t features = cpuid(7, 0).edx;
    uint64_t value, before = ~0ULL;

    if (features >> 26 & 1) {
        CHECK(try_rdmsr(SPEC_CTRL, &before) == -1 && before == 0, "SPEC_CTRL is %lx at first",
              before);
        CHECK(try_wrmsr(SPEC_CTRL, BIT(63)) == GP, "SPEC_CTRL takes a reserved bit");
        for (unsigned i = 0; i < 4; i++)
            keeps(i & 1);
        if (features >> 31 & 1)
            keeps(BIT(2) | BIT(0));
        CHECK(try_wrmsr(SPEC_CTRL, BIT(63)) == GP, "SPEC_CTRL takes a reserved bit later");
        CHECK(try_wrmsr(PRED_CMD, 1) == -1, "PRED_CMD takes no IBPB");
        CHECK(try_wrmsr(PRED_CMD, BIT(63)) == GP, "PRED_CMD takes a reserved bit");
        CHECK(try_rdmsr(PRED_CMD, &value) == GP, "PRED_CMD is read");
    } else {
        faults(SPEC_CTRL);
        faults(PRED_CMD);
    }
    if (features >> 28 & 1) {
        CHECK(try_wrmsr(FLUSH_CMD, 1) == -1, "FLUSH_CMD flushes nothing");
        CHECK(try_rdmsr(FLUSH_CMD, &value) == GP, "FLUSH_CMD is read");
    } else {
        faults(FLUSH_CMD);
    }
    if (features >> 29 & 1) {
        CHECK(try_rdmsr(ARCH_CAPABILITIES, &value) == -1, "ARCH_CAPABILITIES is not read");
        CHECK(try_wrmsr(ARCH_CAPABILITIES, value) == GP, "ARCH_CAPABILITIES is written");
    } else {
        faults(ARCH_CAPABILITIES);
    }
}
