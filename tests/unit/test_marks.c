/* links: guest/memory/marks.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>

#include "tests/unit/mock_frames.h"
#include "guest/memory/marks.h"

static struct marks m;
static unsigned level;

static int fresh(void **state)
{
    mock_reset();
    m = (struct marks){0};
    return 0;
}

static int all_back(void **state)
{
    marks_destroy(&m);
    assert_int_equal(mock_used, 0);
    assert_int_equal(m.frames, 0);
    return 0;
}

static void expect(uint64_t gpa, uint32_t marks, unsigned block)
{
    assert_int_equal(marks_at(&m, gpa, &level), marks);
    assert_int_equal(level, block);
}

static void blocks(void **state)
{
    expect(0, 0, 5);
    expect(MARKS_END - 1, 0, 5);
    assert_int_equal(marks_change(&m, 0, MARKS_END, 0x80000001, 0), 0);
    expect(12345, 0x80000001, 5);
    assert_int_equal(m.frames, 0);
    assert_int_equal(marks_change(&m, GIB, GIB, 2, 1), 0);
    expect(GIB - 1, 0x80000001, 3);
    expect(GIB, 0x80000002, 3);
    expect(2 * GIB, 0x80000001, 3);
    expect(512 * GIB, 0x80000001, 4);
    assert_int_equal(m.frames, 2);
    /* from the middle of one block to the middle of another */
    assert_int_equal(marks_change(&m, GIB + 4096, 4 * MIB, 4, 0x80000000), 0);
    expect(GIB + 4095, 0x80000002, 1);
    expect(GIB + 4096, 6, 1);
    expect(GIB + 3 * MIB, 6, 2);
    expect(GIB + 4 * MIB + 4095, 6, 1);
    expect(GIB + 4 * MIB + 4096, 0x80000002, 1);
    expect(GIB + 6 * MIB, 0x80000002, 2);
    assert_int_equal(m.frames, 5);
    /* the same again is no change */
    assert_int_equal(marks_change(&m, GIB + 4096, 4 * MIB, 4, 0x80000000), 0);
    assert_int_equal(m.frames, 5);
    assert_int_equal(marks_change(&m, GIB + 4096, 4 * MIB, 0x80000000, 4), 0);
    expect(GIB, 0x80000002, 3);
    assert_int_equal(m.frames, 2);
    assert_int_equal(marks_change(&m, 0, MARKS_END, 0, 0xffffffff), 0);
    expect(GIB, 0, 5);
    assert_int_equal(mock_used, 0);
    /* the last page of all */
    assert_int_equal(marks_change(&m, MARKS_END - 4096, 4096, 1, 0), 0);
    expect(MARKS_END - 1, 1, 1);
    expect(MARKS_END - 4097, 0, 1);
}

static void refused(void **state)
{
    assert_int_equal(marks_change(&m, 0, 0, 1, 0), -EINVAL);
    assert_int_equal(marks_change(&m, 1, 4096, 1, 0), -EINVAL);
    assert_int_equal(marks_change(&m, 0, 4095, 1, 0), -EINVAL);
    assert_int_equal(marks_change(&m, MARKS_END, 4096, 1, 0), -EINVAL);
    assert_int_equal(marks_change(&m, MARKS_END - 4096, 8192, 1, 0), -EINVAL);
    assert_int_equal(marks_change(&m, 4096, UINT64_MAX - 4095, 1, 0), -EINVAL);
    expect(0, 0, 5);
}

/* Without memory nothing changes, and no frame is kept. */
static void exhaustion(void **state)
{
    for (uint64_t limit = 0; limit < 6; limit++) {
        mock_limit = limit;
        assert_int_equal(marks_change(&m, 2 * MIB - 4096, 4 * MIB + 4096, 1, 0),
                         limit < 4 ? -ENOMEM : 0);
        if (limit < 4) {
            expect(2 * MIB, 0, 5);
            assert_int_equal(mock_used, 0);
        }
        assert_int_equal(marks_change(&m, 0, MARKS_END, 0, 1), 0);
        expect(2 * MIB, 0, 5);
    }
    mock_limit = 100;
    assert_int_equal(marks_change(&m, GIB - 4096, GIB + 8192, 1, 0), 0);
    mock_limit = mock_used + 1;
    assert_int_equal(marks_change(&m, GIB + 4096, 4096, 0, 1), -ENOMEM);
    expect(GIB + 4096, 1, 3);
    assert_int_equal(mock_used, mock_limit - 1);
}

/* Against an array: two parts of 8 MiB, of which one reaches over a boundary of all levels. */
#define PAGES (8 * MIB / PAGE_SIZE)
static uint32_t model[2][PAGES];
static const uint64_t part[2] = {0, 512 * GIB - 4 * MIB};

static uint64_t seed = 0x13579bdf;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(seed >> 33) % below;
}

static void compare(void)
{
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < PAGES; i++) {
            assert_int_equal(marks_at(&m, part[k] + i * PAGE_SIZE, &level), model[k][i]);
            /* the largest block: of the page's, all the same, and not of the next larger one */
            unsigned first = i & ~511u, alike = 1;
            for (unsigned j = first; j < first + 512; j++)
                alike &= model[k][j] == model[k][i];
            assert_int_equal(level > 1, alike);
        }
    }
}

static void like_an_array(void **state)
{
    memset(model, 0, sizeof(model));
    for (unsigned round = 0; round < 3000; round++) {
        unsigned k = next_random(2), first = next_random(PAGES), count = 1 + next_random(16);
        uint32_t set = 1u << next_random(9), clear = 1u << next_random(9);

        if (next_random(4) == 0) { /* whole blocks now and then */
            first &= ~511u;
            count = 512 * (1 + next_random(2));
        }
        if (next_random(3) == 0)
            set = 0;
        if (next_random(50) == 0)
            first = 0, count = PAGES, clear = 0xffffffff;
        count = MIN(count, (unsigned)PAGES - first);
        assert_int_equal(
            marks_change(&m, part[k] + first * PAGE_SIZE, count * PAGE_SIZE, set, clear), 0);
        for (unsigned i = first; i < first + count; i++)
            model[k][i] = (model[k][i] & ~clear) | set;
        if (round % 20 == 0)
            compare();
    }
    compare();
    for (unsigned k = 0; k < 2; k++)
        assert_int_equal(marks_change(&m, part[k], 8 * MIB, 0, 0xffffffff), 0);
    expect(0, 0, 5);
    assert_int_equal(mock_used, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks, fresh, all_back),
        cmocka_unit_test_setup_teardown(refused, fresh, all_back),
        cmocka_unit_test_setup_teardown(exhaustion, fresh, all_back),
        cmocka_unit_test_setup_teardown(like_an_array, fresh, all_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
