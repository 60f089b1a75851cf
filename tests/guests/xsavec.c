/* Where CPUID shows XSAVEC, it stores and restores as the SDM says ("Compacted Form of XSAVE
 * Area"); where it does not, XSAVES is not there either. */
#include "guest.h"

#define HEADER   512
#define EXTENDED 576

static uint8_t area[4096] __attribute__((aligned(64)));
static uint8_t before[32] __attribute__((aligned(64))), after[32] __attribute__((aligned(64)));

static uint64_t header(unsigned n)
{
    return ((volatile uint64_t *)(area + HEADER))[n];
}

void test(void)
{
    uint32_t forms;

    if (!(cpuid(1, 0).ecx >> 28 & 1)) /* no AVX */
        return;
    forms = cpuid(0xd, 1).eax;
    if (!(forms & BIT(1))) {
        CHECK(!(forms & BIT(3)), "XSAVES without XSAVEC");
        return;
    }
    WRITE_CR(4, READ_CR(4) | BIT(18));
    asm volatile("xsetbv" ::"a"(7), "d"(0), "c"(0) : "memory");
    for (unsigned i = 0; i < sizeof(before); i++)
        before[i] = (uint8_t)(i * 29 + 7);
    asm volatile("vmovdqa %0, %%ymm9" ::"m"(before) : "memory");
    asm volatile("xsavec64 (%0)" ::"r"(area), "a"(7), "d"(0) : "memory");
    CHECK((header(0) & 6) == 6 && header(1) == (7 | BIT(63)), "XSTATE_BV %lx, XCOMP_BV %lx",
          header(0), header(1));
    for (unsigned i = 2; i < 8; i++)
        CHECK(header(i) == 0, "word %u of the header is %lx", i, header(i));
    for (unsigned i = 0; i < 16; i++) {
        uint8_t low = area[160 + 16 * 9 + i], high = area[EXTENDED + 16 * 9 + i];
        CHECK(low == before[i] && high == before[16 + i], "byte %u of ymm9: %x and %x", i, low,
              high);
    }
    asm volatile("vzeroall" ::: "memory");
    CHECK(TRY("xrstor64 (%0)", ::"r"(area), "a"(7), "d"(0) : "memory") == -1, "XRSTOR faults");
    asm volatile("vmovdqa %%ymm9, %0" : "=m"(after)::"memory");
    CHECK(memcmp(before, after, sizeof(before)) == 0, "ymm9 has not come back");
}
