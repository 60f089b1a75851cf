/* links: guest/load/e820.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "guest/load/e820.h"

static const struct {
    uint64_t memory, hole;
    uint64_t low_top, high_top;
} sizes[] = {
    {2 * MIB, 2816 * MIB, 2 * MIB, GPA_4G},
    {256 * MIB, 2816 * MIB, 256 * MIB, GPA_4G},
    {2816 * MIB - PAGE_SIZE, 2816 * MIB, 2816 * MIB - PAGE_SIZE, GPA_4G},
    {2816 * MIB, 2816 * MIB, 2816 * MIB, GPA_4G},
    {2816 * MIB + PAGE_SIZE, 2816 * MIB, 2816 * MIB, GPA_4G + PAGE_SIZE},
    {8 * GIB, 2816 * MIB, 2816 * MIB, GPA_4G + 5 * GIB + 256 * MIB},
    {1 * GIB, 16 * MIB, 16 * MIB, GPA_4G + 1008 * MIB},
    {4 * GIB, 2816 * MIB, 2816 * MIB, GPA_4G + 1280 * MIB},
    {1024 * GIB, 128 * MIB, 128 * MIB, GPA_4G + 1024 * GIB - 128 * MIB},
};

static void test_ranges(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct gpa_layout l;

        assert_int_equal(gpa_layout_init(&l, sizes[i].memory, sizes[i].hole), 0);
        assert_int_equal(l.low_top, sizes[i].low_top);
        assert_int_equal(l.high_top, sizes[i].high_top);
        assert_int_equal(l.count, l.high_top > GPA_4G ? 3 : 2);
        assert_int_equal(gpa_layout_ram(&l), sizes[i].memory - 256 * KIB);
        assert_int_equal(l.ram[0].base, 0);
        assert_int_equal(l.ram[0].size, 0xa0000);
        assert_int_equal(l.ram[1].base, 0xe0000);
        assert_int_equal(l.ram[1].base + l.ram[1].size, sizes[i].low_top);
    }
}

static void test_what_is_ram(void **state)
{
    struct gpa_layout l;

    assert_int_equal(gpa_layout_init(&l, GIB, 512 * MIB), 0);
    assert_true(gpa_layout_is_ram(&l, 0, 0xa0000));
    assert_false(gpa_layout_is_ram(&l, 0, 0xa0001));
    assert_false(gpa_layout_is_ram(&l, 0x9ffff, 2));
    assert_false(gpa_layout_is_ram(&l, 0xb8000, 1));
    assert_false(gpa_layout_is_ram(&l, 0xdffff, 2));
    assert_true(gpa_layout_is_ram(&l, 0xe0000, 0x20001));
    assert_true(gpa_layout_is_ram(&l, 512 * MIB - 1, 1));
    assert_false(gpa_layout_is_ram(&l, 512 * MIB - 1, 2));
    assert_false(gpa_layout_is_ram(&l, 512 * MIB, 1));
    assert_false(gpa_layout_is_ram(&l, GPA_IOAPIC, 4));
    assert_false(gpa_layout_is_ram(&l, GPA_LAPIC, 4));
    assert_true(gpa_layout_is_ram(&l, GPA_4G, 512 * MIB));
    assert_false(gpa_layout_is_ram(&l, GPA_4G, 512 * MIB + 1));
    assert_false(gpa_layout_is_ram(&l, GPA_4G - 1, 2));
    assert_false(gpa_layout_is_ram(&l, 0, UINT64_MAX));
    assert_false(gpa_layout_is_ram(&l, 1, UINT64_MAX));
    assert_false(gpa_layout_is_ram(&l, UINT64_MAX, 1));
    assert_false(gpa_layout_is_ram(&l, UINT64_MAX, UINT64_MAX));
}

/* The map is sorted, nothing overlaps, and what it calls RAM or reserved below 4 GiB is backed by
 * RAM. */
static void test_e820(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct gpa_layout l;
        struct e820_entry map[E820_ENTRIES];
        uint64_t usable = 0, reserved = 0, end = 0;
        unsigned ecams = 0;
        unsigned n;

        assert_int_equal(gpa_layout_init(&l, sizes[i].memory, sizes[i].hole), 0);
        n = e820_build(&l, map);
        assert_uint_in_range(n, 5, E820_ENTRIES);
        for (unsigned j = 0; j < n; j++) {
            assert_true(map[j].base >= end);
            assert_true(map[j].size > 0);
            if (map[j].base == 0xb0000000) { /* configuration space of PCI */
                assert_int_equal(map[j].size, MIB);
                assert_int_equal(map[j].type, E820_RESERVED);
                ecams++;
                continue;
            }
            assert_true(gpa_layout_is_ram(&l, map[j].base, map[j].size));
            end = map[j].base + map[j].size;
            *(map[j].type == E820_RAM ? &usable : &reserved) += map[j].size;
        }
        assert_int_equal(ecams, 1);
        assert_int_equal(usable + reserved, gpa_layout_ram(&l));
        assert_int_equal(reserved, KIB + 128 * KIB);
        assert_int_equal(end, l.high_top > GPA_4G ? l.high_top : l.low_top);
    }
    assert_int_equal(sizeof(struct e820_entry), 20); /* as in Linux's struct boot_e820_entry */
}

static void test_bad_sizes(void **state)
{
    struct gpa_layout l;

    assert_int_equal(gpa_layout_init(&l, 0, 2816 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 2 * MIB - PAGE_SIZE, 2816 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 256 * MIB + 1, 2816 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 1025 * GIB, 2816 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, UINT64_MAX & ~(PAGE_SIZE - 1), 2816 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 256 * MIB, 14 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 256 * MIB, 17 * MIB), -EINVAL);
    assert_int_equal(gpa_layout_init(&l, 256 * MIB, 2818 * MIB), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_what_is_ram),
        cmocka_unit_test(test_e820),
        cmocka_unit_test(test_bad_sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
