/* links: drivers/vtd_tables.c */
/* Second-level page tables, as hardware that sees no caches walks them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "drivers/vtd_tables.h"
#include "tests/unit/mock_frames.h"

#define BOTH (VTD_READ | VTD_WRITE)

/* --- the hardware --- */

static uint8_t *seen; /* memory, as far as it was written back */
static struct vtd_space space;

void vtd_write_back(const void *from, size_t size)
{
    size_t at = (size_t)((const uint8_t *)from - mock_memory);

    assert_false(space.coherent);
    assert_true(at + size <= MOCK_REAL);
    /* A line is the least that goes. */
    size = ALIGN_UP(at + size, 64) - ALIGN_DOWN(at, 64);
    at = ALIGN_DOWN(at, 64);
    memcpy(seen + at, mock_memory + at, size);
}

static uint64_t look(paddr at)
{
    uint64_t value;

    memcpy(&value, (space.coherent ? mock_memory : seen) + at, 8);
    return value;
}

/* What it finds for a page: its rights. */
static unsigned walk(paddr page)
{
    paddr table = space.root;

    for (unsigned level = space.levels; level--;) {
        uint64_t entry = look(table + (page >> (12 + 9 * level) & 511) * 8);

        if (!(entry & BOTH))
            return 0;
        assert_int_equal(entry & (BIT(63) | BIT(62) | 0x7fc), 0);
        assert_int_equal(entry >> 46 & 0x3f, 0); /* beyond what memory there is */
        if (!level) {
            assert_int_equal(entry & 0x000ffffffffff000, page);
            assert_int_equal(entry & BIT(11), space.always);
            return entry & BOTH;
        }
        assert_int_equal(entry & BOTH, BOTH);
        assert_int_equal(entry & BIT(11), 0);
        table = entry & 0x000ffffffffff000;
    }
    return 0;
}

/* --- setting up --- */

static void begin(unsigned levels, bool coherent)
{
    mock_reset();
    if (!seen)
        seen = mmap(NULL, MOCK_REAL, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memset(seen, 0x5a, 8 * MIB);
    space = (struct vtd_space){.levels = levels, .coherent = coherent};
    assert_int_equal(vtd_space_init(&space), 0);
}

static int setup(void **state)
{
    begin(4, false);
    return 0;
}

/* Nothing is left but the root and what is kept for the next time. */
static void is_empty(void)
{
    assert_int_equal(mock_used - space.spares, 1);
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(look(space.root + 8 * i), 0);
}

/* --- tests --- */

static void test_pages(void **state)
{
    assert_int_equal(walk(0x5000), 0);
    assert_int_equal(vtd_map(&space, 0x5ff0, 0x20, VTD_READ), 0); /* two */
    assert_int_equal(walk(0x5000), VTD_READ);
    assert_int_equal(walk(0x6000), VTD_READ);
    assert_int_equal(walk(0x4000), 0);
    assert_int_equal(walk(0x7000), 0);
    assert_int_equal(vtd_rights(&space, 0x5123), VTD_READ);
    assert_int_equal(vtd_rights(&space, 0x7000), 0);
    assert_false(space.unsettled);
    assert_true(vtd_unmap(&space, 0x5ff0, 0x20));
    assert_true(space.unsettled);
    assert_int_equal(walk(0x5000), 0);
    assert_int_equal(walk(0x6000), 0);
    assert_false(vtd_unmap(&space, 0x5000, 1));
    vtd_space_settled(&space);
    assert_false(space.unsettled);
    is_empty();
}

/* As often as it was mapped it is to be unmapped. */
static void test_counted(void **state)
{
    assert_int_equal(vtd_map(&space, 0x5000, 4096, VTD_READ), 0);
    assert_false(space.stale);
    assert_int_equal(vtd_map(&space, 0x5800, 512, VTD_READ), 0);
    assert_false(space.stale);
    assert_int_equal(vtd_map(&space, 0x5000, 512, VTD_WRITE), 0);
    assert_true(space.stale); /* the hardware may know the page without that right */
    vtd_space_settled(&space);
    assert_false(space.stale);
    for (unsigned i = 0; i < 2; i++) {
        assert_true(vtd_unmap(&space, 0x5000, 1));
        assert_int_equal(walk(0x5000), BOTH);
        assert_false(space.unsettled);
    }
    assert_true(vtd_unmap(&space, 0x5000, 1));
    assert_int_equal(walk(0x5000), 0);
    vtd_space_settled(&space);
    for (unsigned i = 0; i < 1023; i++)
        assert_int_equal(vtd_map(&space, 0x5000, 1, VTD_READ), 0);
    assert_int_equal(vtd_map(&space, 0x4000, 0x2000, VTD_READ), -EAGAIN);
    assert_int_equal(walk(0x4000), 0);
    assert_int_equal(walk(0x5000), VTD_READ);
    for (unsigned i = 0; i < 1023; i++)
        assert_true(vtd_unmap(&space, 0x5000, 1));
    vtd_space_settled(&space);
    is_empty();
}

/* A full table of pages, and each level's last entry. */
static void test_borders(void **state)
{
    assert_int_equal(vtd_map(&space, 2 * MIB, 2 * MIB, VTD_WRITE), 0);
    assert_int_equal(walk(2 * MIB), VTD_WRITE);
    assert_int_equal(walk(4 * MIB - 4096), VTD_WRITE);
    assert_int_equal(walk(4 * MIB), 0);
    assert_int_equal(vtd_map(&space, GIB - 4096, 8192, VTD_WRITE), 0);
    assert_int_equal(walk(GIB), VTD_WRITE);
    assert_int_equal(vtd_map(&space, 512 * GIB - 1, 2, VTD_WRITE), 0);
    assert_int_equal(walk(512 * GIB - 4096), VTD_WRITE);
    assert_int_equal(walk(512 * GIB), VTD_WRITE);
    assert_true(vtd_unmap(&space, 512 * GIB - 1, 2));
    assert_true(vtd_unmap(&space, GIB - 4096, 8192));
    for (unsigned i = 0; i < 512; i++)
        assert_true(vtd_unmap(&space, 2 * MIB + i * 4096, 4096));
    vtd_space_settled(&space);
    is_empty();
}

static void test_out_of_range(void **state)
{
    assert_int_equal(vtd_map(&space, BIT(48) - 4096, 4096, VTD_READ), 0);
    assert_int_equal(vtd_map(&space, BIT(48) - 4096, 4097, VTD_READ), -ERANGE);
    assert_int_equal(vtd_map(&space, BIT(48), 1, VTD_READ), -ERANGE);
    assert_int_equal(vtd_map(&space, UINT64_MAX - 10, 20, VTD_READ), -ERANGE);
    assert_int_equal(vtd_map(&space, 0x1000, 0, VTD_READ), -ERANGE);
    assert_int_equal(vtd_rights(&space, BIT(48)), 0);
    begin(3, false);
    assert_int_equal(vtd_map(&space, BIT(39) - 1, 1, VTD_READ), 0);
    assert_int_equal(vtd_map(&space, BIT(39), 1, VTD_READ), -ERANGE);
    begin(5, false);
    assert_int_equal(vtd_map(&space, BIT(48), 1, VTD_READ), 0);
    assert_int_equal(vtd_map(&space, BIT(57), 1, VTD_READ), -ERANGE);
}

/* Wherever memory is out, nothing has changed. */
static void test_out_of_memory(void **state)
{
    for (unsigned most = 0;; most++) {
        int error;

        begin(4, false);
        mock_limit = mock_used + most;
        error = vtd_map(&space, 511 * GIB + GIB - 4096, 8192, VTD_READ); /* two of each */
        mock_limit = MOCK_FRAMES;
        if (!error) {
            assert_int_equal(most, 6);
            break;
        }
        assert_int_equal(error, -ENOMEM);
        assert_int_equal(walk(512 * GIB - 4096), 0);
        vtd_space_settled(&space);
        is_empty();
    }
    begin(4, false);
    mock_limit = 0;
    assert_int_equal(vtd_space_init(&space), -ENOMEM);
}

/* A table that is empty is not used again before the hardware has been told. */
static void test_tables_go_when_settled(void **state)
{
    paddr first = look(space.root), table;

    assert_int_equal(first, 0);
    assert_int_equal(vtd_map(&space, 0x5000, 1, VTD_READ), 0);
    table =
        look(look(look(space.root) & 0x000ffffffffff000) & 0x000ffffffffff000) & 0x000ffffffffff000;
    assert_true(vtd_unmap(&space, 0x5000, 1));
    for (unsigned i = 0; i < 512; i++)
        assert_int_equal(look(table + 8 * i) & BOTH, 0);
    assert_int_equal(vtd_map(&space, 4 * GIB, 1, VTD_READ), 0);
    assert_int_not_equal(look(look(look(space.root) & 0x000ffffffffff000) & 0x000ffffffffff000) &
                             0x000ffffffffff000,
                         table);
    assert_int_not_equal(mock_owner[table / PAGE_SIZE], FRAME_FREE);
    vtd_space_settled(&space);
    assert_true(vtd_unmap(&space, 4 * GIB, 1));
    vtd_space_settled(&space);
    is_empty();
    /* So many are kept, not more. */
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(vtd_map(&space, i * 2 * MIB, 1, VTD_READ), 0);
    for (unsigned i = 0; i < 100; i++)
        assert_true(vtd_unmap(&space, i * 2 * MIB, 1));
    vtd_space_settled(&space);
    is_empty();
    assert_true(space.spares <= 16);
}

/* Ranges at random, beside a plain count of each page. */
#define PAGES  2048u
#define RANGES 64u

static uint32_t seed = 1;

static uint32_t next(uint32_t below)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % below;
}

static paddr place(unsigned page)
{
    static const paddr bases[] = {0, 6 * MIB, GIB - 2 * MIB, 3 * GIB};

    return bases[page / 512] + page % 512 * PAGE_SIZE;
}

static void at_random(unsigned levels, bool coherent)
{
    static struct {
        unsigned page, count, rights;
    } range[RANGES];
    static unsigned rights[PAGES], all[PAGES];

    begin(levels, coherent);
    space.always = coherent ? BIT(11) : 0;
    memset(range, 0, sizeof(range));
    memset(all, 0, sizeof(all));
    memset(rights, 0, sizeof(rights));
    for (unsigned round = 0; round < 6000; round++) {
        unsigned n = next(RANGES), page;

        if (round % 7 == 0)
            vtd_space_settled(&space);
        if (round >= 5800)
            n = round % RANGES;
        if (range[n].count) {
            assert_true(vtd_unmap(&space, place(range[n].page), range[n].count * PAGE_SIZE));
            for (unsigned i = 0; i < range[n].count; i++) {
                page = range[n].page + i;
                if (!--all[page])
                    rights[page] = 0;
            }
            range[n].count = 0;
        } else if (round < 5800) {
            range[n].page = next(4) * 512 + next(480);
            range[n].count = 1 + next(30);
            range[n].rights = 1 + next(3);
            assert_int_equal(
                vtd_map(&space, place(range[n].page), range[n].count * PAGE_SIZE, range[n].rights),
                0);
            for (unsigned i = 0; i < range[n].count; i++) {
                all[range[n].page + i]++;
                rights[range[n].page + i] |= range[n].rights;
            }
        }
        for (unsigned i = 0; i < 40; i++) {
            page = i < 30 ? next(PAGES) : MIN(range[n].page + i - 30, PAGES - 1);
            assert_int_equal(walk(place(page)), rights[page]);
        }
    }
    vtd_space_settled(&space);
    is_empty();
}

static void test_at_random(void **state)
{
    at_random(4, false);
    at_random(3, true);
    at_random(5, false);
}

static void test_entries(void **state)
{
    struct vtd_entry e = vtd_root_entry(0x123000);
    static struct vtd_entry slot;

    assert_int_equal(e.low, 0x123001);
    assert_int_equal(e.high, 0);
    space.root = 0x456000;
    space.levels = 3;
    e = vtd_context_entry(&space, 0x1234);
    assert_int_equal(e.low, 0x456001);
    assert_int_equal(e.high, 0x123401);
    space.levels = 4;
    assert_int_equal(vtd_context_entry(&space, 1).high, 0x102);
    space.levels = 5;
    assert_int_equal(vtd_context_entry(&space, 1).high, 0x103);
    e = vtd_interrupt_entry(0x51, 7, false, false, 0x00fa);
    assert_int_equal(e.low, 7ull << 40 | 0x51 << 16 | 1);
    assert_int_equal(e.high, 1 << 18 | 0x00fa);
    e = vtd_interrupt_entry(0x31, 0x12345, true, true, 0xff00);
    assert_int_equal(e.low, 0x12345ull << 32 | 0x31 << 16 | 1 << 4 | 1);
    assert_int_equal(e.high, 1 << 18 | 0xff00);
    vtd_set_entry(&slot, e, true);
    assert_memory_equal(&slot, &e, sizeof(e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_pages, setup),
        cmocka_unit_test_setup(test_counted, setup),
        cmocka_unit_test_setup(test_borders, setup),
        cmocka_unit_test_setup(test_out_of_range, setup),
        cmocka_unit_test_setup(test_out_of_memory, setup),
        cmocka_unit_test_setup(test_tables_go_when_settled, setup),
        cmocka_unit_test_setup(test_at_random, setup),
        cmocka_unit_test_setup(test_entries, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
