/* IA32_MISC_ENABLE: bit 34 hides NX and reserves EFER.NXE, bit 22 limits leaf 0, bit 0 is kept; all
 * of them come back. */
#include "guest.h"

#define MISC_ENABLE 0x1a0
#define EFER        0xc0000080

#define FAST_STRINGS BIT(0)
#define LIMIT        BIT(22)
#define NO_XD        BIT(34)

static uint32_t nx(void)
{
    return cpuid(0x80000001, 0).edx >> 20 & 1;
}

void test(void)
{
    uint64_t was = rdmsr(MISC_ENABLE), efer = rdmsr(EFER) & ~BIT(11);
    uint32_t max = cpuid(0, 0).eax;

    CHECK(was & FAST_STRINGS, "fast strings are off: %lx", was);
    wrmsr(MISC_ENABLE, was & ~FAST_STRINGS);
    CHECK(rdmsr(MISC_ENABLE) == (was & ~FAST_STRINGS), "fast strings stay on: %lx",
          rdmsr(MISC_ENABLE));
    wrmsr(MISC_ENABLE, was | LIMIT);
    CHECK(rdmsr(MISC_ENABLE) == (was | LIMIT), "the limit is not kept: %lx", rdmsr(MISC_ENABLE));
    CHECK(cpuid(0, 0).eax == 2, "limited, leaf 0 says %x", cpuid(0, 0).eax);
    wrmsr(MISC_ENABLE, was);
    CHECK(cpuid(0, 0).eax == max, "leaf 0 says %x, said %x", cpuid(0, 0).eax, max);

    CHECK(nx(), "there is no NX");
    wrmsr(EFER, efer);
    wrmsr(MISC_ENABLE, was | NO_XD);
    CHECK(rdmsr(MISC_ENABLE) == (was | NO_XD), "NX's switch is not kept: %lx", rdmsr(MISC_ENABLE));
    CHECK(!nx(), "NX is still there");
    CHECK(try_wrmsr(EFER, efer | BIT(11)) == GP, "EFER.NXE can be set");
    wrmsr(MISC_ENABLE, was);
    CHECK(nx(), "NX does not come back");
    CHECK(try_wrmsr(EFER, efer | BIT(11)) == -1, "EFER.NXE cannot be set again");
    CHECK(rdmsr(MISC_ENABLE) == was, "MISC_ENABLE is %lx, was %lx", rdmsr(MISC_ENABLE), was);
}
