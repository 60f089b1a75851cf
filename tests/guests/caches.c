/* Cache control: WBINVD, INVD, CLFLUSH, CR0.CD and PAT change nothing that a program can see. */
#include "guest.h"

static uint8_t data[4096];

void test(void)
{
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i ^ i >> 8);
    asm volatile("wbinvd" ::: "memory");
    asm volatile("clflush %0" ::"m"(data[64]) : "memory");
    uint64_t cr0 = READ_CR(0);
    WRITE_CR(0, cr0 | BIT(30));
    CHECK(READ_CR(0) & BIT(30), "CR0.CD cannot be set");
    asm volatile("wbinvd" ::: "memory");
    WRITE_CR(0, cr0);
    uint64_t pat = rdmsr(0x277);
    CHECK(pat == 0x0007040600070406, "PAT starts as %lx", pat);
    wrmsr(0x277, 0x0007010600070106);
    CHECK(rdmsr(0x277) == 0x0007010600070106, "PAT is %lx", rdmsr(0x277));
    CHECK(try_wrmsr(0x277, 0x0207010600070106) == GP, "PAT takes type 2");
    wrmsr(0x277, pat);
    CHECK(rdmsr(0xfe) == 0x508 || boot_params == NULL, "MTRRCAP is %lx", rdmsr(0xfe));
    CHECK((rdmsr(0x2ff) & 0xc00) == 0xc00, "MTRRs are off: %lx", rdmsr(0x2ff));
    asm volatile("invd" ::: "memory");
    for (unsigned i = 0; i < sizeof(data); i++)
        CHECK(data[i] == (uint8_t)(i ^ i >> 8), "byte %u is lost", i);
}
