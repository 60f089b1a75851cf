/* An emulated instruction whose other operand faults raises that fault, as if the processor had run
 * it. */
#include "guest.h"

#define HOLE 0x8000000000ULL /* beyond the page tables' 4 GiB */

void test(void)
{
    int vector = TRY("movl (%0), %%ecx; movsl", ::"S"(IOAPIC), "D"(HOLE) : "rcx", "memory");
    CHECK(vector == PF && caught.cr2 == HOLE && caught.error == 2,
          "MOVS to nowhere: vector %d, error %lx, cr2 %lx", vector, caught.error, caught.cr2);
    vector = TRY("movsl", ::"S"(HOLE + 8), "D"(IOAPIC) : "memory");
    CHECK(vector == PF && caught.cr2 == HOLE + 8 && caught.error == 0,
          "MOVS from nowhere: vector %d, error %lx, cr2 %lx", vector, caught.error, caught.cr2);
    vector = TRY("movsl", ::"S"(0x8000000000000000ULL), "D"(IOAPIC) : "memory");
    CHECK(vector == GP && caught.error == 0, "MOVS from a non-canonical address: vector %d",
          vector);
    vector = TRY("rep outsb", ::"S"(HOLE), "d"(0x80), "c"(4ULL) : "memory");
    CHECK(vector == PF && caught.cr2 == HOLE && caught.error == 0,
          "OUTS from nowhere: vector %d, cr2 %lx", vector, caught.cr2);
    vector = TRY("rep insb", ::"D"(HOLE + 1), "d"(0x80), "c"(4ULL) : "memory");
    CHECK(vector == PF && caught.cr2 == HOLE + 1 && caught.error == 2,
          "INS to nowhere: vector %d, cr2 %lx", vector, caught.cr2);

    /* a page that is read-only, with CR0.WP */
    static uint8_t page[8192] __attribute__((aligned(4096)));
    uint64_t *entry = page_entry((uint64_t)page + 4096);
    *entry &= ~2ULL;
    asm volatile("invlpg (%0)" ::"r"(page + 4096) : "memory");
    vector = TRY("movsl", ::"S"(IOAPIC), "D"(page + 4096) : "memory");
    CHECK(vector == PF && caught.error == 3 && caught.cr2 == (uint64_t)page + 4096,
          "MOVS to a read-only page: vector %d, error %lx, cr2 %lx", vector, caught.error,
          caught.cr2);

    /* an element that reaches over the boundary: the address that faults is the page's first */
    vector = TRY("insl", ::"D"(page + 4094), "d"(0xcf8) : "memory");
    CHECK(vector == PF && caught.error == 3 && caught.cr2 == (uint64_t)page + 4096,
          "INS over the boundary: vector %d, error %lx, cr2 %lx", vector, caught.error, caught.cr2);
    vector = TRY("movsl", ::"S"(IOAPIC), "D"(page + 4094) : "memory");
    CHECK(vector == PF && caught.error == 3 && caught.cr2 == (uint64_t)page + 4096,
          "MOVS over the boundary: vector %d, error %lx, cr2 %lx", vector, caught.error,
          caught.cr2);

    /* addresses that are not canonical, and one that ends to be in the middle of an element */
    static const uint64_t odd[] = {0x800000000000, 0x7ffffffffffe, 0x123456789abcdef0};
    for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
        vector = TRY("insl", ::"D"(odd[i]), "d"(0xcf8) : "memory");
        CHECK(vector == GP && caught.error == 0, "INS to %lx: vector %d", odd[i], vector);
        vector = TRY("outsl", ::"S"(odd[i]), "d"(0xcf8) : "memory");
        CHECK(vector == GP && caught.error == 0, "OUTS from %lx: vector %d", odd[i], vector);
    }
    vector = TRY("movsl", ::"S"(IOAPIC), "D"(odd[0]) : "memory");
    CHECK(vector == GP && caught.error == 0, "MOVS to %lx: vector %d", odd[0], vector);

    /* REP INS stops at the boundary with its registers where it stopped */
    uint64_t rdi = (uint64_t)page + 4090, rcx = 16;
    vector = TRY("rep insb", : "+D"(rdi), "+c"(rcx) : "d"(0x80) : "memory");
    CHECK(vector == PF && caught.cr2 == (uint64_t)page + 4096,
          "REP INS over the boundary: vector %d, cr2 %lx", vector, caught.cr2);
    CHECK(rcx == 10 && rdi == (uint64_t)page + 4096, "REP INS stopped at rdi +%lu, rcx %lu",
          rdi - (uint64_t)page, rcx);
}
