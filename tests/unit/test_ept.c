/* links: vmx/ept.c mm/mtrr.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/mock_frames.h"
#include "vmx/ept.h"

static struct ept ept;
static struct ept_leaf leaf;

static int fresh(void **state)
{
    mock_reset();
    memset(&ept, 0, sizeof(ept));
    return 0;
}

static int all_back(void **state)
{
    ept_destroy(&ept);
    assert_int_equal(mock_used, 0);
    assert_int_equal(mock_heap_blocks, 0);
    return 0;
}

static const struct vmx_features small = {.ept_wb = true},
                                 middle = {.ept_wb = true, .ept_2m = true},
                                 large = {.ept_wb = true,
                                          .ept_2m = true,
                                          .ept_1g = true,
                                          .ept_ad = true};

static void make(const struct vmx_features *f)
{
    assert_int_equal(ept_create(&ept, f, NULL, 0), 0);
}

static void expect(uint64_t gpa, uint64_t hpa, unsigned level, unsigned prot)
{
    if (ept_lookup(&ept, gpa, &leaf) != 0)
        fail_msg("%llx is not mapped", (unsigned long long)gpa);
    assert_true(leaf.hpa == hpa);
    assert_int_equal(leaf.level, level);
    assert_int_equal(leaf.entry & EPT_RWX, prot);
}

static void expect_none(uint64_t gpa)
{
    assert_int_equal(ept_lookup(&ept, gpa, &leaf), -ENOENT);
}

static void pointer(void **state)
{
    make(&large);
    assert_true(ept_pointer(&ept) == (ept.root | 0x1e)); /* WB, four levels */
    ept_destroy(&ept);
    assert_int_equal(ept_create(&ept, &large, NULL, EPT_ACCESSED_DIRTY), 0);
    assert_true(ept_pointer(&ept) == (ept.root | 0x5e));
    ept_destroy(&ept);
    assert_int_equal(ept_create(&ept, &(struct vmx_features){0}, NULL, EPT_ACCESSED_DIRTY), 0);
    assert_true(ept_pointer(&ept) == (ept.root | 0x18)); /* UC tables, no A/D */
    expect_none(0);
    expect_none(BIT(48));
    expect_none(UINT64_MAX);
}

static void leaves_by_capability(void **state)
{
    const struct vmx_features *features[] = {&small, &middle, &large};

    for (unsigned max = 1; max <= 3; max++) {
        make(features[max - 1]);
        assert_int_equal(ept_map(&ept, 0, 0, GIB + 2 * MIB + 4096, EPT_RWX), 0);
        expect(0x12345, 0x12345, max, 7);
        assert_int_equal(leaf.entry, 0x37 | (max > 1 ? 0x80 : 0) | (max == 1 ? 0x12000 : 0));
        expect(GIB + 5, GIB + 5, MIN(max, 2), 7);
        expect(GIB + 2 * MIB, GIB + 2 * MIB, 1, 7);
        expect_none(GIB + 2 * MIB + 4096);
        /* root, 1 level-3 table, level 2 for each GiB without a leaf, level 1 for each 2 MiB
         * without one */
        assert_int_equal(ept.frames, max == 1 ? 2 + 2 + 514 : max == 2 ? 2 + 2 + 1 : 2 + 1 + 1);
        assert_int_equal(ept.generation, 0);
        ept_destroy(&ept);
    }
}

static void alignment(void **state)
{
    make(&large);
    /* the host side is off by a page: 4K leaves only; off by 2 MiB: 2 MiB leaves */
    assert_int_equal(ept_map(&ept, 0, 4096, 2 * MIB, EPT_READ), 0);
    expect(0, 4096, 1, EPT_READ);
    assert_int_equal(ept_map(&ept, GIB, 2 * MIB, GIB, EPT_RWX), 0);
    expect(2 * GIB - 1, GIB + 2 * MIB - 1, 2, 7);
    /* pages up to the first 2 MiB boundary, then large ones */
    assert_int_equal(ept_map(&ept, 4 * GIB + 1 * MIB, 5 * GIB + 1 * MIB, 3 * MIB, EPT_RWX), 0);
    expect(4 * GIB + 1 * MIB, 5 * GIB + 1 * MIB, 1, 7);
    expect(4 * GIB + 2 * MIB, 5 * GIB + 2 * MIB, 2, 7);
    expect_none(4 * GIB + 1 * MIB - 1);
    expect_none(4 * GIB + 4 * MIB);
}

static void split_and_lower(void **state)
{
    make(&large);
    assert_int_equal(ept_map(&ept, 0, 2 * GIB, GIB, EPT_RWX), 0);
    assert_int_equal(ept_map(&ept, 3 * 4096, 2 * GIB + 3 * 4096, 4096, EPT_READ), 0);
    assert_int_equal(ept.generation, 1);
    expect(2 * 4096, 2 * GIB + 2 * 4096, 1, 7);
    expect(3 * 4096 + 9, 2 * GIB + 3 * 4096 + 9, 1, EPT_READ);
    assert_int_equal(leaf.entry & 0xfff, 0x31);
    expect(4 * 4096, 2 * GIB + 4 * 4096, 1, 7);
    expect(2 * MIB, 2 * GIB + 2 * MIB, 2, 7);
    expect(GIB - 1, 3 * GIB - 1, 2, 7);
    /* raising needs no INVEPT */
    assert_int_equal(ept_map(&ept, 3 * 4096, 2 * GIB + 3 * 4096, 4096, EPT_RWX), 0);
    assert_int_equal(ept.generation, 1);
    expect(3 * 4096, 2 * GIB + 3 * 4096, 1, 7);

    assert_int_equal(ept_unmap(&ept, 6 * MIB, 4 * MIB + 4096), 0);
    assert_true(ept.generation > 1);
    expect(6 * MIB - 1, 2 * GIB + 6 * MIB - 1, 2, 7);
    expect_none(6 * MIB);
    expect_none(10 * MIB + 4095);
    expect(10 * MIB + 4096, 2 * GIB + 10 * MIB + 4096, 1, 7);

    /* the whole again as one leaf: the tables go only when the caller says so */
    uint64_t before = ept.generation;
    uint32_t frames = ept.frames;
    assert_int_equal(ept_map(&ept, 0, 2 * GIB, GIB, EPT_RWX), 0);
    expect(3 * 4096, 2 * GIB + 3 * 4096, 3, 7);
    assert_int_equal(ept.generation, before + 1);
    assert_int_equal(ept.frames, frames);
    ept_reap(&ept, ept.retired);
    ept.retired = 0;
    assert_int_equal(ept.frames, 2);
    assert_int_equal(mock_used, 2);

    assert_int_equal(ept_map(&ept, 0, 2 * GIB, GIB, EPT_RWX), 0); /* the same: nothing happens */
    assert_int_equal(ept.generation, before + 1);
    assert_int_equal(ept_map(&ept, 0, 4 * GIB, GIB, EPT_RWX), 0); /* other memory */
    assert_int_equal(ept.generation, before + 2);
    assert_int_equal(ept_map(&ept, 0, 4 * GIB, GIB, EPT_READ), 0); /* fewer rights */
    assert_int_equal(ept.generation, before + 3);
    assert_int_equal(ept_map(&ept, 0, 4 * GIB, GIB, EPT_READ | EPT_WRITE), 0); /* more */
    assert_int_equal(ept.generation, before + 3);
}

/* Without memory a leaf that the range cuts through goes as a whole. */
static void forget(void **state)
{
    make(&large);
    assert_int_equal(ept_map(&ept, 0, 2 * GIB, GIB + 4 * MIB, EPT_RWX), 0);
    mock_limit = mock_used;
    assert_int_equal(ept_unmap(&ept, GIB + 4096, 4096), -ENOMEM);
    expect(GIB + 4096, 3 * GIB + 4096, 2, 7);
    uint64_t before = ept.generation;
    ept_forget(&ept, GIB + 4096, 4096);
    assert_true(ept.generation > before);
    expect_none(GIB);
    expect_none(GIB + 2 * MIB - 1);
    expect(GIB + 2 * MIB, 3 * GIB + 2 * MIB, 2, 7);
    ept_forget(&ept, 4096, 4096);
    expect_none(GIB - 1);
    ept_forget(&ept, 0, BIT(48));
    expect_none(GIB + 2 * MIB);
    ept_forget(&ept, 1, 4096); /* no range */
}

/* What the window shows of gpa: its entry at the last level. */
static uint64_t seen(const struct ept_window *w, uint64_t gpa, paddr tables[4])
{
    paddr table = w->table[0];

    for (unsigned level = 4;; level--) {
        uint64_t entry = ((uint64_t *)phys_to_virt(table))[gpa >> (3 + 9 * level) & 511];
        tables[4 - level] = table;
        if (level == 1 || entry & BIT(7) || !(entry & EPT_RWX))
            return entry;
        table = entry & 0xffffffffff000;
    }
}

/* Another page, or none, in place of small and large leaves and of nothing. */
static void window_put(void **state)
{
    const uint64_t other = 0x1234000 | EPT_READ | EPT_WRITE;
    struct ept_window w = {0};
    paddr tables[4];

    make(&large);
    assert_int_equal(ept_map(&ept, 0, 2 * GIB, 2 * GIB, EPT_RWX), 0);
    assert_int_equal(ept_map(&ept, 3 * 4096, 2 * GIB + 3 * 4096, 4096, EPT_READ), 0);
    int before = mock_used;
    assert_int_equal(ept_window_put(&w, &ept, 3 * 4096 + 5, other), 0);
    assert_int_equal(ept_window_pointer(&w, &ept), w.table[0] | (ept_pointer(&ept) & 0xfff));
    assert_int_equal(w.generation, ept.generation);
    assert_int_equal(mock_used, before + 4);
    assert_int_equal(seen(&w, 3 * 4096, tables), other);
    assert_int_equal(seen(&w, 2 * 4096, tables) & ~0xfffULL, 2 * GIB + 2 * 4096);
    assert_int_equal(ept_window_put(&w, &ept, GIB + 8 * MIB + 4096, other), 0);
    assert_int_equal(seen(&w, GIB + 8 * MIB + 4096, tables), other);
    for (unsigned i = 0; i < 4; i++) { /* around it everything is as it was, in smaller leaves */
        uint64_t gpa = GIB + 8 * MIB + 2 * 4096 + i * 100 * 4096;
        assert_int_equal(seen(&w, gpa, tables) & 0xffffffffff087, (gpa + 2 * GIB) | EPT_RWX);
    }
    assert_int_equal(seen(&w, GIB + 10 * MIB, tables) & 0xffffffffff087,
                     (3 * GIB + 10 * MIB) | EPT_RWX | BIT(7));
    assert_int_equal(ept_window_put(&w, &ept, 300 * GIB, other), 0); /* where nothing is */
    assert_int_equal(seen(&w, 300 * GIB, tables), other);
    assert_int_equal(seen(&w, 300 * GIB + 4096, tables), 0);
    assert_int_equal(ept_window_put(&w, &ept, 3 * 4096, 0), 0);
    assert_int_equal(seen(&w, 3 * 4096, tables), 0);
    assert_int_equal(ept_window_put(&w, &ept, BIT(48), other), -EINVAL);
    /* nothing has changed for others */
    expect(3 * 4096, 2 * GIB + 3 * 4096, 1, EPT_READ);
    expect(GIB + 8 * MIB + 4096, 3 * GIB + 8 * MIB + 4096, 3, EPT_RWX);
    ept_window_close(&w);
    assert_int_equal(ept_window_put(&w, &ept, 4096, other), 0);
    assert_int_equal(seen(&w, 3 * 4096, tables) & 7, EPT_READ);
    assert_int_equal(ept_window_put(&w, &ept, 3 * 4096, other), 0); /* both in one */
    assert_int_equal(seen(&w, 3 * 4096, tables), other);
    assert_int_equal(seen(&w, 4096, tables), other);
    assert_int_equal(w.used, 4);
    ept_window_destroy(&w);
    assert_int_equal(mock_used, before);
    ept_window_destroy(&w);
}

/* No more than it can hold, and no more than there is. */
static void window_full(void **state)
{
    struct ept_window w = {0};
    int result = 0;

    make(&small);
    assert_int_equal(ept_map(&ept, 0, 0, 128 * MIB, EPT_READ), 0);
    for (unsigned i = 0; i < 64 && result == 0; i++)
        result = ept_window_put(&w, &ept, i * 2 * MIB, 0x1037);
    assert_int_equal(result, -ENOMEM);
    assert_int_equal(w.used, EPT_WINDOW_TABLES);
    ept_window_destroy(&w);
}

static void unmap_tables(void **state)
{
    make(&middle);
    assert_int_equal(ept_map(&ept, 0, 0, 8 * MIB, EPT_RWX), 0);
    assert_int_equal(ept_map(&ept, 8 * MIB, 4096, MIB, EPT_RWX), 0);
    assert_int_equal(ept.frames, 4);
    assert_int_equal(ept_unmap(&ept, 4096, 4096), 0); /* splits */
    assert_int_equal(ept.frames, 5);
    uint64_t before = ept.generation;
    assert_int_equal(ept_unmap(&ept, 0, BIT(48)), 0);
    assert_int_equal(ept.generation, before + 1);
    expect_none(0);
    expect_none(8 * MIB);
    ept_reap(&ept, ept.retired);
    ept.retired = 0;
    assert_int_equal(ept.frames, 1);
    /* holes cost nothing and stay holes */
    assert_int_equal(ept_unmap(&ept, 0, BIT(48)), 0);
    assert_int_equal(ept.frames, 1);
    expect_none(0);
    assert_int_equal(ept_map(&ept, 0, 0, 4 * MIB, EPT_RWX), 0);
    before = ept.generation;
    ept_clear(&ept);
    assert_int_equal(ept.generation, before + 1);
    expect_none(0);
    ept_reap(&ept, ept.retired);
    ept.retired = 0;
    assert_int_equal(mock_used, 1);
}

static void small_executable(void **state)
{
    assert_int_equal(ept_create(&ept, &large, NULL, EPT_SMALL_EXECUTABLE), 0);
    assert_int_equal(ept_map(&ept, 0, 0, 2 * MIB, EPT_RWX), 0);
    expect(0, 0, 1, 7);
    assert_int_equal(ept_map(&ept, 2 * MIB, 2 * MIB, 2 * MIB, EPT_READ | EPT_WRITE), 0);
    expect(2 * MIB, 2 * MIB, 2, 3);
    assert_int_equal(ept_map(&ept, 2 * MIB, 2 * MIB, 2 * MIB, EPT_RWX), 0);
    expect(2 * MIB + 4096, 2 * MIB + 4096, 1, 7);
}

static void refused(void **state)
{
    make(&large);
    assert_int_equal(ept_map(&ept, 1, 0, 4096, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 1, 4096, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4095, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 0, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, BIT(48) - 4096, 0, 8192, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, UINT64_MAX - 4095, 0, 4096, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, BIT(52) - 4096, 8192, EPT_RWX), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4096, 0), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4096, EPT_WRITE), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4096, EPT_WRITE | EPT_EXECUTE), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4096, EPT_EXECUTE), -EINVAL);
    assert_int_equal(ept_map(&ept, 0, 0, 4096, 8), -EINVAL);
    assert_int_equal(ept_unmap(&ept, 0, 1), -EINVAL);
    assert_int_equal(ept.frames, 1);
    ept_destroy(&ept);
    assert_int_equal(ept_create(&ept, &(struct vmx_features){.ept_execute_only = true}, NULL, 0),
                     0);
    assert_int_equal(ept_map(&ept, BIT(48) - 4096, BIT(52) - 4096, 4096, EPT_EXECUTE), 0);
    expect(BIT(48) - 1, BIT(52) - 1, 1, EPT_EXECUTE);
}

static void memory_types(void **state)
{
    struct mtrr m = {
        .present = true, .enabled = true, .default_type = MEMORY_WB, .variable_count = 1};

    m.variable[0].base = 1 * GIB + 4 * MIB; /* 4 KiB of UC in the second GiB */
    m.variable[0].mask = 0xffffff000;
    m.variable[0].type = MEMORY_UC;
    m.variable[0].contiguous = true;
    assert_int_equal(ept_create(&ept, &large, &m, 0), 0);
    assert_int_equal(ept_map(&ept, 0, 0, 3 * GIB, EPT_RWX), 0);
    expect(0, 0, 3, 7);
    assert_int_equal(leaf.entry & 0x78, 0x30);
    expect(1 * GIB, 1 * GIB, 2, 7);
    assert_int_equal(leaf.entry & 0x78, 0x30);
    expect(1 * GIB + 4 * MIB, 1 * GIB + 4 * MIB, 1, 7);
    assert_int_equal(leaf.entry & 0x78, 0);
    expect(1 * GIB + 4 * MIB + 4096, 1 * GIB + 4 * MIB + 4096, 1, 7);
    assert_int_equal(leaf.entry & 0x78, 0x30);
    expect(2 * GIB, 2 * GIB, 3, 7);
    assert_int_equal(ept_map(&ept, 8 * GIB, 1 * GIB + 4 * MIB, 4096, EPT_RWX), 0);
    expect(8 * GIB, 1 * GIB + 4 * MIB, 1, 7);
    assert_int_equal(leaf.entry & 0x78, 0);
    uint64_t before = ept.generation;
    assert_int_equal(ept_map_type(&ept, 0, 0, GIB, EPT_RWX, MEMORY_UC, true), 0);
    expect(0, 0, 3, 7);
    assert_int_equal(leaf.entry & 0x78, 0x40);
    assert_int_equal(ept.generation, before + 1);
}

/* A leaf of 4 KiB by itself. */
static void page_entry(void **state)
{
    struct mtrr m = {.present = true, .enabled = true, .default_type = MEMORY_UC};

    make(&large);
    assert_int_equal(ept_page_entry(&ept, 0x5000, EPT_RWX, false), 0x5037);
    assert_int_equal(ept_page_entry(&ept, 0x5000, EPT_READ, true), 0x5071);
    ept_destroy(&ept);
    assert_int_equal(ept_create(&ept, &large, &m, 0), 0);
    assert_int_equal(ept_page_entry(&ept, 0x5000, EPT_RWX, false), 0x5007);
    assert_int_equal(ept_page_entry(&ept, 0x5000, EPT_RWX, true), 0x5077);
}

/* No frame is left at each possible point: an error, nothing lost, and it can go on later. */
static void exhaustion(void **state)
{
    mock_limit = 0;
    assert_int_equal(ept_create(&ept, &large, NULL, 0), -ENOMEM);
    ept_destroy(&ept);
    for (uint64_t limit = 1; limit < 5; limit++) {
        mock_limit = limit;
        make(&large);
        int rc = ept_map(&ept, 0, 0, 2 * MIB + 4096, EPT_RWX);
        assert_int_equal(rc, limit < 4 ? -ENOMEM : 0);
        assert_int_equal(ept.frames, mock_used);
        if (limit == 4) {
            assert_int_equal(ept_unmap(&ept, 4096, 4096), -ENOMEM); /* cannot split */
            expect(4096, 4096, 2, 7);
            mock_limit = 10;
            assert_int_equal(ept_unmap(&ept, 4096, 4096), 0);
            expect_none(4096);
        }
        ept_destroy(&ept);
        assert_int_equal(mock_used, 0);
    }
}

/* What has come out of a promise goes back to it, and no more. */
static void tables_of_a_promise(void **state)
{
    struct frame_promise p = {0};

    make(&large);
    assert_true(frame_promise(&p, 0, 3, 0));
    ept.promise = &p;
    for (unsigned round = 0; round < 4; round++) {
        mock_limit = mock_used + mock_promised + round; /* so many are anybody's */
        assert_int_equal(ept_map(&ept, 0x1000, 0x1000, 4096, EPT_RWX), 0);
        expect(0x1000, 0x1000, 1, 7);
        assert_int_equal(p.pages, round);
        assert_int_equal(mock_used, 4);
        ept_clear(&ept);
        ept_reap(&ept, ept.retired);
        ept.retired = 0;
        assert_int_equal(p.pages, 3);
        assert_int_equal(mock_used, 1);
    }
    frame_promise_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forget, fresh, all_back),
        cmocka_unit_test_setup_teardown(page_entry, fresh, all_back),
        cmocka_unit_test_setup_teardown(window_put, fresh, all_back),
        cmocka_unit_test_setup_teardown(window_full, fresh, all_back),
        cmocka_unit_test_setup_teardown(pointer, fresh, all_back),
        cmocka_unit_test_setup_teardown(leaves_by_capability, fresh, all_back),
        cmocka_unit_test_setup_teardown(alignment, fresh, all_back),
        cmocka_unit_test_setup_teardown(split_and_lower, fresh, all_back),
        cmocka_unit_test_setup_teardown(unmap_tables, fresh, all_back),
        cmocka_unit_test_setup_teardown(small_executable, fresh, all_back),
        cmocka_unit_test_setup_teardown(refused, fresh, all_back),
        cmocka_unit_test_setup_teardown(memory_types, fresh, all_back),
        cmocka_unit_test_setup_teardown(exhaustion, fresh, all_back),
        cmocka_unit_test_setup_teardown(tables_of_a_promise, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
