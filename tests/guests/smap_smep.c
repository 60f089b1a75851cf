/* SMEP, SMAP and UMIP work as CPUID promises. */
#include "guest.h"

static uint8_t user[4096] __attribute__((aligned(4096)));

void test(void)
{
    struct regs seven = cpuid(7, 0);
    uint64_t *entry = page_entry((uint64_t)user);
    user[0] = 0xc3;
    *entry |= 4;
    *(uint64_t *)(PAGE_TABLES) |= 4;
    *(uint64_t *)(PAGE_TABLES + 0x1000) |= 4;
    *(uint64_t *)(PAGE_TABLES + 0x2000 + ((uint64_t)user >> 21) * 8) |= 4;
    WRITE_CR(3, READ_CR(3));
    ((void (*)(void))(uint64_t)user)();
    if (seven.ebx >> 7 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(20));
        int vector = TRY("jmp *%0", ::"r"(user) : "memory");
        CHECK(vector == PF && (caught.error & 1), "SMEP: vector %d, error %lx", vector,
              caught.error);
        WRITE_CR(4, READ_CR(4) & ~BIT(20));
        ((void (*)(void))(uint64_t)user)();
    }
    if (seven.ebx >> 20 & 1) {
        WRITE_CR(4, READ_CR(4) | BIT(21));
        int vector = TRY("movb (%0), %%al", ::"r"(user) : "rax", "memory");
        CHECK(vector == PF && caught.error == 1, "SMAP: vector %d, error %lx", vector,
              caught.error);
        vector = TRY("stac; movb (%0), %%al; clac", ::"r"(user) : "rax", "memory");
        CHECK(vector == -1, "SMAP with EFLAGS.AC: vector %d", vector);
        /* emulated accesses obey it, too */
        vector = TRY("outsb", ::"S"(user), "d"(COM1 + 7) : "memory");
        CHECK(vector == PF && caught.cr2 == (uint64_t)user, "SMAP and OUTS: vector %d", vector);
        WRITE_CR(4, READ_CR(4) & ~BIT(21));
    }
}
