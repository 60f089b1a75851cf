/* The guest's own paging: accessed and dirty bits, CR2 and error codes, INVLPG, global pages,
 * no-execute, CR0.WP. */
#include "guest.h"

static uint8_t page[4096] __attribute__((aligned(4096))),
    other[4096] __attribute__((aligned(4096)));

static void invlpg(const void *p)
{
    asm volatile("invlpg (%0)" ::"r"(p) : "memory");
}

void test(void)
{
    volatile uint8_t *p = page;
    volatile uint64_t *entry = page_entry((uint64_t)page);
    *entry &= ~0x60ULL;
    invlpg(page);
    (void)*p;
    CHECK((*entry & 0x60) == 0x20, "after a read the entry is %lx", *entry);
    *p = 1;
    CHECK((*entry & 0x60) == 0x60, "after a write the entry is %lx", *entry);

    *entry &= ~1ULL;
    invlpg(page);
    int vector = TRY("movb (%0), %%al", ::"r"(page + 0x123) : "rax", "memory");
    CHECK(vector == PF && caught.error == 0 && caught.cr2 == (uint64_t)page + 0x123,
          "read: vector %d, error %lx, cr2 %lx", vector, caught.error, caught.cr2);
    vector = TRY("movb %%al, (%0)", ::"r"(page + 0x456) : "memory");
    CHECK(vector == PF && caught.error == 2 && caught.cr2 == (uint64_t)page + 0x456,
          "write: error %lx, cr2 %lx", caught.error, caught.cr2);
    *entry |= 1;
    *entry &= ~2ULL;
    vector = TRY("movb %%al, (%0)", ::"r"(page) : "memory");
    CHECK(vector == PF && caught.error == 3, "write to read-only: vector %d, error %lx", vector,
          caught.error);
    uint64_t cr0 = READ_CR(0);
    WRITE_CR(0, cr0 & ~BIT(16));
    vector = TRY("movb %%al, (%0)", ::"r"(page) : "memory");
    CHECK(vector == -1, "write to read-only without CR0.WP: vector %d", vector);
    WRITE_CR(0, cr0);
    vector = TRY("movb %%al, (%0)", ::"r"(page) : "memory");
    CHECK(vector == PF, "CR0.WP does not come back: vector %d", vector);
    *entry |= 2;
    *entry |= BIT(51); /* reserved below 52 bits of physical address */
    invlpg(page);
    vector = TRY("movb (%0), %%al", ::"r"(page) : "rax", "memory");
    CHECK(vector == PF && caught.error == 9, "reserved bit: vector %d, error %lx", vector,
          caught.error);
    *entry &= ~BIT(51);
    invlpg(page);

    wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
    page[0] = 0xc3;
    ((void (*)(void))(uint64_t)page)();
    *entry |= BIT(63);
    invlpg(page);
    vector = TRY("jmp *%0", ::"r"(page) : "memory");
    CHECK(vector == PF && (caught.error & 0x11) == 0x11, "no-execute: vector %d, error %lx", vector,
          caught.error);
    *entry &= ~BIT(63);

    /* another frame behind the address, with and without global pages */
    page[8] = 0x11;
    other[8] = 0x22;
    uint64_t mine = *entry;
    *entry = (mine & 0xfff) | (uint64_t)other;
    invlpg(page);
    CHECK(p[8] == 0x22, "INVLPG does not make the new frame visible: %x", p[8]);
    *entry = mine;
    WRITE_CR(3, READ_CR(3));
    CHECK(p[8] == 0x11, "a load of CR3 does not make the new frame visible: %x", p[8]);
    WRITE_CR(4, READ_CR(4) | BIT(7));
    *entry = (mine & 0xfff) | (uint64_t)other | 0x100;
    invlpg(page);
    CHECK(p[8] == 0x22, "global page: %x", p[8]);
    *entry = mine;
    WRITE_CR(4, READ_CR(4) & ~BIT(7));
    CHECK(p[8] == 0x11, "CR4.PGE does not flush global pages: %x", p[8]);
}
