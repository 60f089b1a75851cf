/* RAM that nobody has touched is zeroes. All vCPUs touch all of it at once, each in an order of its
 * own and now and then by an instruction that Corbel carries out, and find there what they wrote.
 */
#include "smp.h"

#define FIRST  (2 * MIB) /* this program lies below */
#define STEP   7919u     /* a prime */
#define NOBODY 0x2f0     /* a port that reads ones */

struct entry {
    uint64_t base, size;
    uint32_t type;
} PACKED;

static uint64_t pages;
static volatile uint32_t done;

static uint64_t pages_of_ram(void)
{
    const struct entry *map = (const struct entry *)(boot_params + 0x2d0);

    for (unsigned i = 0; i < boot_params[0x1e8]; i++)
        if (map[i].type == 1 && FIRST - map[i].base < map[i].size)
            return (map[i].base + map[i].size - FIRST) / PAGE_SIZE;
    return 0;
}

static volatile uint64_t *word(uint64_t page, unsigned self)
{
    return (volatile uint64_t *)(FIRST + page * PAGE_SIZE) + self;
}

static void read_port(volatile void *to)
{
    uint64_t count = 1;

    asm volatile("rep insl" : "+D"(to), "+c"(count) : "d"(NOBODY) : "memory");
}

static void work(unsigned self)
{
    for (uint64_t i = 0; i < pages; i++) {
        uint64_t page = (i * STEP + self * (pages / 3)) % pages;
        volatile uint64_t *mine = word(page, self);

        CHECK(*mine == 0, "page %lu of vCPU %u reads %lx", page, self, *mine);
        if (i % 16 == self % 16) {
            read_port(mine);
            CHECK(*mine == 0xffffffff, "page %lu: what was read from a port is %lx", page, *mine);
        }
        *mine = page + 1;
    }
    add(&done, 1);
}

void test(void)
{
    pages = pages_of_ram();
    CHECK(pages > 512, "only %lu pages", pages);
    unsigned count = smp_start(true, work);

    work(0);
    smp_finish(&done, count);
    for (uint64_t page = 0; page < pages; page++) {
        for (unsigned i = 0; i < count; i++)
            CHECK(*word(page, i) == page + 1, "page %lu of vCPU %u: %lx", page, i, *word(page, i));
        for (unsigned i = count; i < PAGE_SIZE / 8; i += 7)
            CHECK(*word(page, i) == 0, "page %lu, word %u: %lx", page, i, *word(page, i));
    }
    say("%lu pages\n", pages);
}
