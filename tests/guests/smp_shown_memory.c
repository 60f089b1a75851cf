/* One vCPU switches what a range of memory shows, the others look on: none of them, when it knows
 * that the switch is over, still sees what was before. On `make debug`'s Corbel; see
 * shown_memory.c. */
#include "smp.h"
#include "tests/devices/memory.h"

#define PLACE  0x800000ULL
#define OTHER  0x900000ULL
#define ROUNDS 60
#define RAM    1u
#define THERE  2u

static volatile uint32_t step; /* odd: a switch is under way; else what is shown, times two */
static volatile uint32_t over, finished, looks;
static unsigned count;

static uint32_t shown(uint32_t s)
{
    switch (s / 2 % 3) {
    case 0:
        return RAM;
    case 1:
        return THERE;
    default:
        return 0x5a5a5a5a;
    }
}

static void order(uint32_t what)
{
    outl(TEST_MEMORY_DO, what);
}

static void change(uint32_t s)
{
    switch (s / 2 % 3) {
    case 0:
        order(TEST_MEMORY_WITHDRAW);
        break;
    case 1:
        order(TEST_MEMORY_RAM);
        order(TEST_MEMORY_PLACE);
        break;
    default:
        order(TEST_MEMORY_ROM);
    }
}

static void look(void)
{
    uint32_t before = step, value = read32(PLACE + 0x100);

    if (before % 2 == 0 && step == before && value != shown(before))
        fail("step %u shows %x", before, value);
    add(&looks, 1);
}

static void run(unsigned self)
{
    smp_meet(count);
    while (!over)
        look();
    add(&finished, 1);
}

void test(void)
{
    count = smp_count();
    write32(PLACE + 0x100, RAM);
    write32(OTHER + 0x100, THERE);
    outl(TEST_MEMORY_SELECT, 0);
    outl(TEST_MEMORY_PAGE, PLACE >> 12);
    outl(TEST_MEMORY_FROM, OTHER >> 12);
    smp_start(false, run);
    smp_meet(count);
    for (uint32_t s = 0; s < 2 * ROUNDS; s += 2) {
        uint32_t seen = looks;

        look();
        for (unsigned i = 0; i < 1000 && looks < seen + 2 * count; i++)
            pause();
        step = s + 1;
        change(s + 2);
        step = s + 2;
    }
    over = 1;
    add(&finished, 1);
    smp_finish(&finished, count);
}
