/* links: guest/memory/rights.c guest/memory/marks.c vmx/ept.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c mm/mtrr.c */
/* Reasons and places at random, against an array. */
#include "tests/unit/rights_vm.h"

#define PAGES (16 * MIB / PAGE_SIZE)
#define GIVEN NUMBER_LARGE /* reasons that come from outside: those before this one */
static const struct guest_memory_region whole = {0, 16 * MIB};
static uint16_t model[PAGES];
static uint8_t placed[PAGES];
static uint64_t seed = 0x2468ace1;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static unsigned taken(unsigned reasons)
{
    static const uint8_t takes[] = {3, 2, 4, 7, 2, 2};
    unsigned all = 0;

    for (unsigned i = 0; i < GIVEN; i++)
        all |= reasons >> i & 1 ? takes[i] : 0;
    return all;
}

static unsigned allowed(unsigned page)
{
    unsigned prot = (placed[page] ? 5u : 7u) & ~taken(model[page]);

    return prot & 1 ? prot : prot & 4;
}

/* Every page is either not in the cache or as the model says; exact: it is there whenever it may
 * be, and in one leaf of 2 MiB where all 512 have the same reasons. */
static void compare(bool exact)
{
    for (unsigned i = 0; i < PAGES; i++) {
        uint64_t gpa = i * PAGE_SIZE;
        unsigned first = i & ~511u, alike = 1;

        assert_int_equal(rights_reasons(&r, gpa, 1), model[i]);
        if (rights_lookup(&r, gpa, &leaf) < 0) {
            assert_true(!exact || !allowed(i));
            continue;
        }
        assert_int_equal(leaf.entry & 7, allowed(i));
        assert_true(leaf.hpa == (placed[i] ? 0x7000000 : behind(gpa)));
        for (unsigned j = first; j < first + 512; j++)
            alike &= model[j] == model[i] && !placed[j];
        if (exact)
            assert_int_equal(leaf.level, alike ? 2 : 1);
    }
}

static void change(unsigned first, unsigned count, unsigned add, unsigned remove)
{
    assert_int_equal(rights_change(&r, first * PAGE_SIZE, count * PAGE_SIZE, add, remove), 0);
    for (unsigned i = first; i < first + count; i++)
        model[i] = (uint16_t)((model[i] & ~remove) | add);
}

static void random_change(void)
{
    unsigned first = next_random(PAGES), count = 1 + next_random(12);
    unsigned add = 1u << next_random(GIVEN), remove = 1u << next_random(GIVEN);

    switch (next_random(5)) {
    case 0: /* whole blocks */
        first &= ~511u;
        count = 512 * (1 + next_random(2));
        break;
    case 1: /* all of it */
        if (next_random(8) == 0)
            first = 0, count = PAGES;
        break;
    }
    if (next_random(5) < 3)
        add = 0, remove |= 1u << next_random(GIVEN);
    if (next_random(40) == 0)
        first = 0, count = PAGES, add = 0, remove = BIT(GIVEN) - 1;
    change(first, MIN(count, (unsigned)PAGES - first), add, remove);
}

static void random_place(void)
{
    unsigned page = next_random(PAGES);

    if (!placed[page] && next_random(2) == 0 && r.places < RIGHTS_PLACES) {
        assert_int_equal(rights_place(&r, page * PAGE_SIZE, 0x7000000, PAGE_SIZE, 5), 0);
        placed[page] = 1;
    } else if (r.places) {
        page = (unsigned)(r.place[next_random(r.places)].gpa / PAGE_SIZE);
        assert_int_equal(rights_unplace(&r, page * PAGE_SIZE), 0);
        placed[page] = 0;
    }
}

static void like_an_array(void **state)
{
    bool exact = true;

    make(&large, &whole, 1);
    memset(model, 0, sizeof(model));
    memset(placed, 0, sizeof(placed));
    uint64_t frames = mock_used;
    for (unsigned round = 0; round < 1000; round++) {
        unsigned page = next_random(PAGES), access = BIT(next_random(3));

        random_change();
        if (next_random(4) == 0)
            random_place();
        if (next_random(60) == 0) {
            rights_drop(&r);
            exact = false;
        }
        int result = rights_fault(&r, page * PAGE_SIZE, access);
        assert_int_equal(result == 0, (allowed(page) & access) != 0);
        if (result == 0)
            assert_int_equal(rights_lookup(&r, page * PAGE_SIZE, &leaf), 0);
        if (next_random(60) == 0) { /* what was dropped comes back, in leaves of the right size */
            for (unsigned i = 0; i < PAGES; i++)
                if (allowed(i) && rights_lookup(&r, i * PAGE_SIZE, &leaf) < 0)
                    assert_int_equal(rights_fault(&r, i * PAGE_SIZE, allowed(i)), 0);
            exact = true;
        }
        if (next_random(10) == 0)
            rights_reap(&r, rights_retired(&r));
        if (round % 40 == 0)
            compare(exact);
    }
    while (r.places)
        assert_int_equal(rights_unplace(&r, r.place[0].gpa), 0);
    memset(placed, 0, sizeof(placed));
    change(0, PAGES, 0, 0x1ff);
    compare(true);
    rights_reap(&r, rights_retired(&r));
    assert_int_equal(mock_used, frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(like_an_array, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
