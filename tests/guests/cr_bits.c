/* Control registers and EFER refuse what the SDM says they refuse, and keep what they are given. */
#include "guest.h"

static int write_cr0(uint64_t v)
{
    return TRY("mov %0, %%cr0", ::"r"(v) : "memory");
}

static int write_cr4(uint64_t v)
{
    return TRY("mov %0, %%cr4", ::"r"(v) : "memory");
}

void test(void)
{
    uint64_t cr0 = READ_CR(0), cr4 = READ_CR(4), efer = rdmsr(0xc0000080);

    CHECK(cr0 & BIT(31), "paging is off");
    CHECK((efer & 0x500) == 0x500, "EFER is %lx", efer);
    CHECK(write_cr0(cr0 & ~BIT(31)) == GP, "CR0.PG can be cleared in 64-bit mode");
    CHECK(write_cr0(cr0 & ~BIT(0)) == GP, "CR0.PE can be cleared under paging");
    CHECK(write_cr0(cr0 | BIT(29)) == GP, "CR0.NW can be set without CD");
    CHECK(write_cr0(cr0 | BIT(32)) == GP, "CR0 takes bit 32");
    CHECK(READ_CR(0) == cr0, "CR0 changed to %lx", READ_CR(0));
    static const uint8_t cr0_bits[] = {1, 3, 5, 16, 18, 30};
    for (unsigned i = 0; i < sizeof(cr0_bits); i++) {
        uint64_t v = cr0 ^ BIT(cr0_bits[i]);
        CHECK(write_cr0(v) == -1, "CR0 bit %u cannot be changed", cr0_bits[i]);
        CHECK(READ_CR(0) == v, "CR0 bit %u: wrote %lx, reads %lx", cr0_bits[i], v, READ_CR(0));
    }
    WRITE_CR(0, cr0 | BIT(3));
    asm volatile("clts" ::: "memory");
    CHECK(!(READ_CR(0) & BIT(3)), "CLTS does not clear TS");
    WRITE_CR(0, cr0);
    asm volatile("lmsw %%ax" ::"a"(0x3b) : "memory"); /* TS on */
    CHECK(READ_CR(0) & BIT(3), "LMSW does not set TS");
    asm volatile("lmsw %%ax" ::"a"(0x32) : "memory"); /* PE cannot be cleared by it */
    CHECK((READ_CR(0) & 0xf) == (BIT(0) | 2), "after LMSW CR0 is %lx", READ_CR(0));
    WRITE_CR(0, cr0);
    uint64_t msw = 0;
    asm volatile("smsw %0" : "=r"(msw)::"memory");
    CHECK((uint32_t)msw == (uint32_t)cr0, "SMSW gives %lx of %lx", msw, cr0);

    CHECK(write_cr4(cr4 & ~BIT(5)) == GP, "CR4.PAE can be cleared in 64-bit mode");
    static const uint8_t cr4_reserved[] = {15, 19, 23, 24, 25, 31, 32, 63};
    for (unsigned i = 0; i < sizeof(cr4_reserved); i++)
        CHECK(write_cr4(cr4 | BIT(cr4_reserved[i])) == GP, "CR4 bit %u can be set",
              cr4_reserved[i]);
    for (unsigned bit = 0; bit < 23; bit++)
        if (bit != 5 && bit != 13 && bit != 14 && bit != 17 && write_cr4(cr4 ^ BIT(bit)) == -1)
            CHECK(READ_CR(4) == (cr4 ^ BIT(bit)), "CR4 bit %u does not stay", bit);
    WRITE_CR(4, cr4);
    if (cpuid(1, 0).ecx >> 17 & 1) {
        CHECK(write_cr4(cr4 | BIT(17)) == -1, "CR4.PCIDE cannot be set");
        WRITE_CR(4, cr4);
        uint64_t cr3 = READ_CR(3);
        WRITE_CR(3, cr3 | 8);
        CHECK(write_cr4(cr4 | BIT(17)) == GP, "CR4.PCIDE can be set with a PCID");
        WRITE_CR(3, cr3);
    }

    CHECK(try_wrmsr(0xc0000080, efer & ~0x100ULL) == GP, "EFER.LME can be cleared under paging");
    CHECK(try_wrmsr(0xc0000080, efer | BIT(12)) == GP, "EFER.SVME can be set");
    CHECK(try_wrmsr(0xc0000080, efer | BIT(2)) == GP, "EFER bit 2 can be set");
    CHECK(try_wrmsr(0xc0000080, efer | 0x801) == -1 && rdmsr(0xc0000080) == (efer | 0x801),
          "EFER is %lx", rdmsr(0xc0000080));
    wrmsr(0xc0000080, efer & ~0x400ULL);
    CHECK(rdmsr(0xc0000080) & 0x400, "EFER.LMA was cleared by software");

    for (uint64_t tpr = 0; tpr < 16; tpr++) {
        asm volatile("mov %0, %%cr8" ::"r"(tpr) : "memory");
        uint64_t back;
        asm volatile("mov %%cr8, %0" : "=r"(back)::"memory");
        CHECK(back == tpr, "CR8 is %lu after %lu", back, tpr);
    }
    CHECK(TRY("mov %0, %%cr8", ::"r"(0x10ULL) : "memory") == GP, "CR8 takes 16");
    asm volatile("mov %0, %%cr8" ::"r"(0ULL) : "memory");
    CHECK(TRY(".byte 0x0f, 0x20, 0xc8", ::: "rax", "memory") == UD, "CR1 exists");
    CHECK(write_cr4(cr4 | BIT(13)) == GP && write_cr4(cr4 | BIT(14)) == GP,
          "CR4.VMXE or SMXE, which Corbel hides, can be set");
}
