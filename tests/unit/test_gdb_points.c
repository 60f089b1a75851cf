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

static uint64_t unmapped; /* linear */

static bool mapped(uint64_t linear, uint64_t gpa)
{
    return linear != unmapped;
}

/* The VM is reset: planted again where the code is the same, at once or later; never elsewhere. */
static void test_memory_loaded_anew(void **state)
{
    unsigned waiting;
    uint64_t linear;
    uint8_t seen[2];

    assert_int_equal(points_plant(&gm, 0x1010, 0x10), 0);
    assert_int_equal(points_plant(&gm, 0x1012, 0x12), 0);
    assert_int_equal(points_plant(&gm, 0x2010, 0x10), 0);
    assert_int_equal(points_plant(&gm, 0x1045, 0x45), 0);
    assert_int_equal(points_write(&gm, 0x44, "a\x90", 2), 0); /* what gdb writes is the code then */
    points_lose();
    memset(ram, 0, sizeof(ram));
    assert_false(points_planted(0x10));
    assert_int_equal(points_recover(&gm, mapped, &waiting), 4);
    assert_int_equal(waiting, 4);
    assert_int_equal(ram[0x10], 0);
    assert_int_equal(points_read(&gm, 0x10, seen, 1), 0);
    assert_int_equal(seen[0], 0);
    assert_int_equal(points_write(&gm, 0x10, "b", 1), 0); /* no INT3 comes of that */
    assert_int_equal(ram[0x10], 'b');

    for (unsigned i = 0; i < 0x20; i++)
        ram[i] = (uint8_t)i;
    unmapped = 0x1012; /* it is being unpacked, and read meanwhile */
    assert_int_equal(points_recover(&gm, mapped, &waiting), 4);
    assert_int_equal(waiting, 2);
    assert_int_equal(ram[0x12], 0x12);
    unmapped = 0;
    assert_int_equal(points_recover(&gm, mapped, &waiting), 4);
    assert_int_equal(waiting, 1);
    assert_int_equal(ram[0x10], 0xcc);
    assert_int_equal(ram[0x12], 0xcc);
    assert_true(points_planted(0x10));
    points_uproot(&gm, 0x2010);
    assert_int_equal(ram[0x10], 0xcc);

    ram[0x12] = 0x90; /* it came too early, and is written over: as code, and by the same code */
    assert_int_equal(points_recover(&gm, mapped, &waiting), 3);
    assert_int_equal(waiting, 2);
    assert_int_equal(ram[0x12], 0x90);
    ram[0x12] = 0x12;
    assert_int_equal(points_recover(&gm, mapped, &waiting), 3);
    assert_int_equal(waiting, 1);
    assert_int_equal(ram[0x12], 0xcc);
    assert_true(points_give_up(&linear));
    assert_int_equal(linear, 0x1045);
    assert_false(points_give_up(&linear));
    assert_int_equal(points_recover(&gm, mapped, &waiting), 2);
    assert_int_equal(waiting, 0);
    points_remove_all(&gm);
    for (unsigned i = 0; i < 0x20; i++)
        assert_int_equal(ram[i], i);
}

/* gdb plants one that waits once more, where its page is now; or takes it away. */
static void test_planted_while_it_waits(void **state)
{
    unsigned waiting;

    assert_int_equal(points_plant(&gm, 0x1010, 0x10), 0);
    assert_int_equal(points_plant(&gm, 0x1020, 0x20), 0);
    points_lose();
    memset(ram, 0, sizeof(ram));
    assert_int_equal(points_plant(&gm, 0x1010, 0x30), 0);
    assert_int_equal(ram[0x30], 0xcc);
    assert_int_equal(points_recover(&gm, mapped, &waiting), 2);
    assert_int_equal(waiting, 1);
    assert_int_equal(points_uproot(&gm, 0x1020), 0);
    assert_int_equal(points_recover(&gm, mapped, &waiting), 1);
    assert_int_equal(waiting, 0);
    assert_int_equal(points_uproot(&gm, 0x1010), 0);
    for (unsigned i = 0; i < sizeof(ram); i++)
        assert_int_equal(ram[i], 0);
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
    struct gdb_hit hit[GDB_HITS];
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
    assert_true(points_hit_code(1));
    assert_int_equal(points_hit(1, hit), 0);
    assert_false(points_hit_code(0xe));
    assert_int_equal(points_hit(0xf, hit), 3); /* one instruction may hit them all */
    assert_int_equal(hit[0].address, quad.address);
    assert_int_equal(hit[1].address, word.address);
    assert_int_equal(hit[2].address, half.address);
    assert_false(hit[0].access);
    assert_true(hit[1].access);
    assert_true(points_watched(&hit[1]));
    assert_int_equal(points_hit(0x4000, hit), 0); /* a single step */
    assert_false(points_hit_code(0x4000));
    assert_int_equal(points_unwatch(&word), 0);
    assert_int_equal(points_unwatch(&word), -ENOENT);
    assert_int_equal(points_hit(4, hit), 0);
    assert_false(points_watched(&(struct gdb_hit){word.address, true}));
    assert_true(points_watched(&(struct gdb_hit){half.address, false}));
    assert_false(points_watched(&(struct gdb_hit){half.address, true}));
    assert_false(points_watched(&(struct gdb_hit){code.address, false}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plant, fresh),
        cmocka_unit_test_setup(test_write_under_it, fresh),
        cmocka_unit_test_setup(test_changed_page, fresh),
        cmocka_unit_test_setup(test_one_byte_by_two_addresses, fresh),
        cmocka_unit_test_setup(test_memory_loaded_anew, fresh),
        cmocka_unit_test_setup(test_planted_while_it_waits, fresh),
        cmocka_unit_test_setup(test_limits, fresh),
        cmocka_unit_test_setup(test_debug_registers, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
