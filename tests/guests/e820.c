/* The E820 map is sane, and the first and last pages of all of its RAM, on both sides of the hole,
 * keep what is written. */
#include "guest.h"

struct entry {
    uint64_t base, size;
    uint32_t type;
} PACKED;

/* Map 1 GiB from a multiple of it at the same address, in a page of tables of our own. */
static void map_high(uint64_t address)
{
    static uint64_t directory[512] __attribute__((aligned(4096)));
    uint64_t *pdpt = (uint64_t *)(PAGE_TABLES + 0x1000);
    for (unsigned i = 0; i < 512; i++)
        directory[i] = ((address & ~(GIB - 1)) + i * 2 * MIB) | 0x83;
    pdpt[address >> 30 & 511] = (uint64_t)directory | 3;
    WRITE_CR(3, READ_CR(3));
}

static void probe(uint64_t address)
{
    if (address >= 4 * GIB)
        map_high(address);
    volatile uint64_t *p = (volatile uint64_t *)address;
    uint64_t old = *p;
    *p = address ^ 0xa5a5a5a5a5a5a5a5;
    asm volatile("clflush %0" ::"m"(*p) : "memory");
    CHECK(*p == (address ^ 0xa5a5a5a5a5a5a5a5), "RAM at %lx reads %lx", address, *p);
    *p = old;
}

void test(void)
{
    unsigned count = boot_params[0x1e8];
    const struct entry *map = (const struct entry *)(boot_params + 0x2d0);
    uint64_t total = 0, last = 0;
    CHECK(count >= 2 && count <= 32, "%u entries", count);
    for (unsigned i = 0; i < count; i++) {
        CHECK(map[i].base >= last && map[i].size, "entry %u: %lx + %lx after %lx", i, map[i].base,
              map[i].size, last);
        last = map[i].base + map[i].size;
        if (map[i].type != 1)
            continue;
        total += map[i].size;
        if (map[i].base >= 1 * MIB) {
            probe(map[i].base + 0x100000 < last ? map[i].base + 0xff000 : map[i].base);
            probe(last - 8);
            probe((last - map[i].size / 2) & ~7ULL);
        }
    }
    say("%u entries, %lu KiB of RAM, the last ends at %lx\n", count, total / 1024, last);
    CHECK(total > MIB, "only %lu bytes of RAM", total);
}
