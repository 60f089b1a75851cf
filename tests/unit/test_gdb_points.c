/* links: guest/gdb/points.c */
/* INT3s in a guest's memory, and what goes into the debug registers. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "guest/gdb/points.h"

static uint8_t ram[256];

int guest_memory_read(const struct guest_memory *gm, uint64_t gpa, void *data, size_t size)
{
    if (gpa >= sizeof(ram) || size > sizeof(ram) - gpa)
        return -EFAULT;
    memcpy(data, ram + gpa, size);
    return 0;
}

int guest_memory_write(struct guest_memory *gm, uint64_t gpa, const void *data, size_t size)
{
    if (gpa >= sizeof(ram) || size > sizeof(ram) - gpa)
        return -EFAULT;
    memcpy(ram + gpa, data, size);
    return 0;
}

static struct guest_memory gm;

static int fresh(void **state)
{
    points_remove_all(NULL);
    for (unsigned i = 0; i < sizeof(ram); i++)
        ram[i] = (uint8_t)i;
    return 0;
}

static void test_plant(void **state)
{
    uint8_t seen[4];

    assert_int_equal(points_plant(&gm, 0xffff0010, 0x10), 0);
    assert_int_equal(points_plant(&gm, 0xffff0010, 0x10), 0); /* it is there already */
    assert_int_equal(ram[0x10], 0xcc);
    assert_true(points_planted(0x10));
    assert_false(points_planted(0x11));
    assert_int_equal(points_read(&gm, 0xe, seen, 4), 0);
    assert_memory_equal(seen, "\x0e\x0f\x10\x11", 4);
    assert_int_equal(points_read(&gm, 0x10, seen, 1), 0);
    assert_int_equal(seen[0], 0x10);
    assert_int_equal(points_uproot(&gm, 0xffff0010), 0);
    assert_int_equal(points_uproot(&gm, 0xffff0010), -ENOENT);
    assert_int_equal(ram[0x10], 0x10);
    assert_false(points_planted(0x10));
}

/* What gdb writes there stands there when the INT3 goes. */
static void test_write_under_it(void **state)
{
    uint8_t seen[3];

    assert_int_equal(points_plant(&gm, 0x1010, 0x10), 0);
    assert_int_equal(points_write(&gm, 0xf, "abc", 3), 0);
    assert_int_equal(ram[0x10], 0xcc);
    assert_int_equal(points_read(&gm, 0xf, seen, 3), 0);
    assert_memory_equal(seen, "abc", 3);
    points_uproot(&gm, 0x1010);
    assert_memory_equal(ram + 0xf, "abc", 3);
}

/* The guest has put something else there meanwhile: that stays. */
static void test_changed_page(void **state)
{
    assert_int_equal(points_plant(&gm, 0x1010, 0x10), 0);
    ram[0x10] = 0x90;
    points_uproot(&gm, 0x1010);
    assert_int_equal(ram[0x10], 0x90);
}

static void test_one_byte_by_two_addresses(void **state)
{
    assert_int_equal(points_plant(&gm, 0x1010, 0x10), 0);
    assert_int_equal(points_plant(&gm, 0x2010, 0x10), 0);
    points_uproot(&gm, 0x1010);
    assert_int_equal(ram[0x10], 0xcc);
    points_uproot(&gm, 0x2010);
    assert_int_equal(ram[0x10], 0x10);
}

static void test_limits(void **state)
{
    unsigned count = 0;

    assert_int_equal(points_plant(&gm, 0x1000, sizeof(ram)), -EFAULT);
    while (points_plant(&gm, 0x1000 + count, count) == 0)
        count++;
    assert_int_equal(count, 128);
    assert_int_equal(points_plant(&gm, 0x1000 + count, count), -ENOSPC);
    points_remove_all(&gm);
    for (unsigned i = 0; i < sizeof(ram); i++)
        assert_int_equal(ram[i], i);
}

/* SDM, "Debug Control Register (DR7)". */
static void test_debug_registers(void **state)
{
    const struct gdb_point code = {GDB_POINT_HARDWARE, 0xffffffff81000001, 1};
    const struct gdb_point quad = {GDB_POINT_WRITE, 0x1008, 8};
    const struct gdb_point word = {GDB_POINT_ACCESS, 0x1002, 2};
    const struct gdb_point half = {GDB_POINT_WRITE, 0x1004, 4}, odd = {GDB_POINT_WRITE, 0x1001, 2};
    const struct gdb_point three = {GDB_POINT_WRITE, 0x1000, 3};
    const struct gdb_point none = {GDB_POINT_WRITE, 0x1000, 0};
    uint64_t dr[4], dr7;

    assert_false(points_debug_registers(dr, &dr7));
    assert_int_equal(points_watch(&odd), -EINVAL);
    assert_int_equal(points_watch(&three), -EINVAL);
    assert_int_equal(points_watch(&none), -EINVAL);
    assert_int_equal(points_watch(&code), 0);
    assert_int_equal(points_watch(&quad), 0);
    assert_int_equal(points_watch(&word), 0);
    assert_int_equal(points_watch(&half), 0);
    assert_int_equal(points_watch(&half), 0);
    const struct gdb_point fifth = {GDB_POINT_HARDWARE, 0, 1};
    assert_int_equal(points_watch(&fifth), -ENOSPC);
    assert_true(points_debug_registers(dr, &dr7));
    assert_int_equal(dr[0], 0xffffffff81000001);
    assert_int_equal(dr[1], 0x1008);
    /* LEN and R/W from the fourth down: 4 bytes written, 2 accessed, 8 written, code. */
    assert_int_equal(dr7, 0xd7900400 | 0xaa);
    assert_ptr_equal(points_hit(1)->address, code.address);
    assert_ptr_equal(points_hit(0xc)->address, word.address);
    assert_null(points_hit(0x4000)); /* a single step */
    assert_int_equal(points_unwatch(&word), 0);
    assert_int_equal(points_unwatch(&word), -ENOENT);
    assert_null(points_hit(4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plant, fresh),
        cmocka_unit_test_setup(test_write_under_it, fresh),
        cmocka_unit_test_setup(test_changed_page, fresh),
        cmocka_unit_test_setup(test_one_byte_by_two_addresses, fresh),
        cmocka_unit_test_setup(test_limits, fresh),
        cmocka_unit_test_setup(test_debug_registers, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
