/* String I/O: bytes, words and doublewords, forwards and backwards, counts, and over a page
 * boundary. */
#include "guest.h"

void test(void)
{
    static uint8_t page[8192] __attribute__((aligned(4096)));
    uint64_t rsi, rdi, rcx;

    for (unsigned i = 0; i < sizeof(page); i++)
        page[i] = (uint8_t)(i * 7);
    rsi = (uint64_t)page + 4093, rcx = 6;
    asm volatile("rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(COM1 + 7) : "memory");
    CHECK(rcx == 0 && rsi == (uint64_t)page + 4099, "rep outsb: rcx %lx, rsi +%lx", rcx,
          rsi - (uint64_t)page);
    CHECK(inb(COM1 + 7) == page[4098], "the last byte is %x, not %x", inb(COM1 + 7), page[4098]);
    rdi = (uint64_t)page + 4093, rcx = 6;
    outb(COM1 + 7, 0xee);
    asm volatile("rep insb" : "+D"(rdi), "+c"(rcx) : "d"(COM1 + 7) : "memory");
    CHECK(rcx == 0 && rdi == (uint64_t)page + 4099, "rep insb: rcx %lx", rcx);
    for (unsigned i = 4093; i < 4099; i++)
        CHECK(page[i] == 0xee, "byte %u is %x", i, page[i]);
    CHECK(page[4092] == (uint8_t)(4092 * 7) && page[4099] == (uint8_t)(4099 * 7),
          "rep insb wrote beyond its count");
    rdi = (uint64_t)page + 100, rcx = 3;
    asm volatile("std; rep insb; cld" : "+D"(rdi), "+c"(rcx) : "d"(COM1 + 7) : "memory");
    CHECK(rdi == (uint64_t)page + 97 && page[98] == 0xee && page[97] == (uint8_t)(97 * 7),
          "std; rep insb");
    rdi = (uint64_t)page, rcx = 0;
    asm volatile("rep insb" : "+D"(rdi), "+c"(rcx) : "d"(COM1 + 7) : "memory");
    CHECK(page[0] == 0 && rdi == (uint64_t)page, "rep insb of nothing");
    /* the PM timer by doublewords: each read is a new one */
    rdi = (uint64_t)page, rcx = 4;
    asm volatile("rep insl" : "+D"(rdi), "+c"(rcx) : "d"(PM_TIMER) : "memory");
    uint32_t *t = (uint32_t *)page;
    CHECK(t[3] - t[0] < 100000 && rdi == (uint64_t)page + 16, "rep insd: %x %x", t[0], t[3]);
    rdi = (uint64_t)page;
    asm volatile("insw" : "+D"(rdi) : "d"(0x4320) : "memory");
    CHECK(page[0] == 0xff && page[1] == 0xff && rdi == (uint64_t)page + 2,
          "insw from nowhere: %x%02x", page[1], page[0]);
    /* with an address-size prefix, ESI and ECX alone count */
    rsi = (uint64_t)page + 8;
    rcx = 0xffffffff00000002ULL;
    asm volatile("addr32 rep outsb" : "+S"(rsi), "+c"(rcx) : "d"(COM1 + 7) : "memory");
    CHECK((uint32_t)rcx == 0 && rsi == (uint64_t)page + 10, "addr32 rep outsb: rcx %lx", rcx);
}
