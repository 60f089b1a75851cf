/* Touches all pages of its memory below 3 GiB, checks that they are zeroes, and then that what it
 * wrote is there. */
#include "guest.h"

#define FIRST (2 * MIB)

struct entry {
    uint64_t base, size;
    uint32_t type;
} PACKED;

static uint64_t end_of_ram(void)
{
    const struct entry *map = (const struct entry *)(boot_params + 0x2d0);

    for (unsigned i = 0; i < boot_params[0x1e8]; i++)
        if (map[i].type == 1 && FIRST - map[i].base < map[i].size)
            return map[i].base + map[i].size;
    return 0;
}

/* Of each page another one. */
static volatile uint64_t *word(uint64_t page)
{
    return (volatile uint64_t *)page + page / PAGE_SIZE % 512;
}

void test(void)
{
    uint64_t end = end_of_ram();

    for (uint64_t page = FIRST; page < end; page += PAGE_SIZE) {
        CHECK(*word(page) == 0, "RAM at %lx reads %lx", page, *word(page));
        *word(page) = page;
        if (page % (16 * MIB) == 0)
            say("%lu MiB\n", page / MIB);
    }
    for (uint64_t page = FIRST; page < end; page += PAGE_SIZE)
        CHECK(*word(page) == page, "RAM at %lx reads %lx", page, *word(page));
}
