/* links: guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The bus: whose access it is, how wide ones are split, whose timer comes next, and the order of
 * saved state. */
#include "tests/unit/bus_probe.h"

static void nobody_reads_ones(void **state)
{
    assert_int_equal(bus_port_read(&board.bus, 0x80, 1), 0xff);
    assert_int_equal(bus_port_read(&board.bus, 0x80, 2), 0xffff);
    assert_int_equal(bus_port_read(&board.bus, 0x80, 4), 0xffffffff);
    assert_int_equal(bus_port_read(&board.bus, 0xffff, 4), 0xffffffff);
    bus_port_write(&board.bus, 0x80, 4, 0x12345678);
}

static void whole_accesses_arrive_whole(void **state)
{
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0x100, 4), 0);
    assert_int_equal(bus_port_read(&board.bus, 0x103, 1), 0x13);
    assert_int_equal(bus_port_read(&board.bus, 0x101, 2), 0x1211);
    assert_int_equal(a.size, 2);
    assert_int_equal(bus_port_read(&board.bus, 0x100, 4), 0x13121110);
    assert_int_equal(a.reads, 3);
    bus_port_write(&board.bus, 0x102, 2, 0xabcd1234); /* only the width of the access counts */
    assert_int_equal(a.writes, 1);
    assert_int_equal(a.value, 0x1234);
}

static void partly_owned_accesses_are_split(void **state)
{
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0x100, 2), 0);
    assert_int_equal(bus_add_ports(&board.bus, &b.dev, 0x102, 1), 0);
    assert_int_equal(bus_port_read(&board.bus, 0x100, 4), 0xff821110);
    assert_int_equal(bus_port_read(&board.bus, 0xff, 2), 0x10ff);
    assert_int_equal(bus_port_read(&board.bus, 0x101, 2), 0x8211);
    a.value = 0;
    bus_port_write(&board.bus, 0x100, 4, 0x44332211);
    assert_int_equal(a.value, 0x1122); /* two bytes, the low one first */
    assert_int_equal(b.value, 0x33);
    /* The same device at both ends and another in between. */
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0x103, 1), 0);
    a.reads = 0;
    assert_int_equal(bus_port_read(&board.bus, 0x100, 4), 0x13821110);
    assert_int_equal(a.reads, 3);
}

static void narrow_devices_see_bytes(void **state)
{
    assert_int_equal(bus_add_ports(&board.bus, &b.dev, 0x1fe, 4),
                     0); /* across two pages of the table */
    assert_int_equal(bus_port_read(&board.bus, 0x1fe, 4), 0x81807f7e);
    assert_int_equal(b.reads, 4);
    assert_int_equal(b.size, 1);
    bus_port_write(&board.bus, 0x1fe, 2, 0x1234);
    assert_int_equal(b.value, 0x3412);
}

static void the_last_port_wraps(void **state)
{
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0xffff, 1), 0);
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0, 1), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xffff, 2), 0x100f);
    assert_int_equal(a.size, 1);
}

static void bad_ranges_are_refused(void **state)
{
    struct probe stranger = {.dev = {.ops = &any_width, .board = &board}};
    struct probe deaf = {.dev = {.ops = &no_access, .board = &board}};

    assert_int_equal(bus_add_device(&board.bus, &a.dev), -EEXIST);
    assert_int_equal(bus_add_device(&board.bus, &deaf.dev), 0);
    assert_int_equal(bus_add_ports(&board.bus, &stranger.dev, 0x100, 1), -EINVAL);
    assert_int_equal(bus_add_ports(&board.bus, &deaf.dev, 0x100, 1), -EINVAL);
    assert_int_equal(bus_add_mmio(&board.bus, &deaf.dev, 0x1000, 1), -EINVAL);
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0x100, 0), -EINVAL);
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0xfff0, 0x11), -EINVAL);
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0xfff0, UINT32_MAX), -EINVAL);
    assert_int_equal(bus_add_ports(&board.bus, &a.dev, 0x100, 8), 0);
    assert_int_equal(bus_add_ports(&board.bus, &b.dev, 0x107, 2), -EEXIST);
    assert_int_equal(bus_port_read(&board.bus, 0x108, 1), 0xff); /* and nothing was registered */
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, 0x1000, 0), -EINVAL);
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, UINT64_MAX, 2), -EINVAL);
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, 0x1000, 0x1000), 0);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0x1fff, 1), -EEXIST);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0x1000, 1), -EEXIST);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0xfff, 2), -EEXIST);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0, UINT64_MAX), -EEXIST);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0xfff, 1), 0);
    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0x2000, 1), 0);
}

static void the_tables_end(void **state)
{
    static struct probe many[BUS_DEVICES];
    unsigned added = 2, ranges = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(many); i++) {
        many[i].dev = (struct device){.ops = &any_width, .board = &board};
        if (bus_add_device(&board.bus, &many[i].dev) == 0)
            added++;
    }
    assert_int_equal(added, BUS_DEVICES - 1);
    for (uint64_t base = 0; base < 2 * BUS_RANGES; base++) {
        int error = bus_add_mmio(&board.bus, &a.dev, (97 - base) * 0x1000, 0x1000);

        ranges += error == 0;
        assert_int_equal(error, base < BUS_RANGES ? 0 : -ENOSPC);
    }
    assert_int_equal(ranges, BUS_RANGES);
}

static void memory_ranges_are_found(void **state)
{
    uint64_t value = 0;

    assert_int_equal(bus_add_mmio(&board.bus, &b.dev, 0xfee00000, 0x1000), 0);
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, 0xfec00000, 0x20), 0);
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, UINT64_MAX - 7, 8), 0);
    assert_false(bus_mmio_read(&board.bus, &view, 0xfebfffff, 1, &value));
    assert_false(bus_mmio_read(&board.bus, &view, 0xfec00020, 1, &value));
    assert_false(bus_mmio_write(&board.bus, &view, 0, 1, 0));
    assert_true(bus_mmio_read(&board.bus, &view, 0xfec00010, 4, &value));
    assert_int_equal(value, 0x11111110); /* cut to the access */
    assert_int_equal(a.where, 0x10);
    assert_true(bus_mmio_read(&board.bus, &view, 0xfee00fff, 1, &value));
    assert_int_equal(b.where, 0xfff);
    assert_true(bus_mmio_read(&board.bus, &view, UINT64_MAX - 7, 8, &value));
    assert_int_equal(a.where, 0);
    assert_true(bus_mmio_write(&board.bus, &view, 0xfee00000, 2, 0x123456));
    assert_int_equal(b.value, 0x3456);
}

static void accesses_that_leave_a_range_do_not_arrive(void **state)
{
    uint64_t value = 0;

    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, 0x1000, 0x10), 0);
    assert_int_equal(bus_add_mmio(&board.bus, &a.dev, 0x2000, 2), 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0x100d, 4, &value));
    assert_int_equal(value, 0xffffffff);
    assert_true(bus_mmio_write(&board.bus, &view, 0x100d, 4, 1));
    assert_true(bus_mmio_write(&board.bus, &view, 0x2000, 4, 1));
    assert_true(bus_mmio_read(&board.bus, &view, 0x2000, 4, &value));
    assert_int_equal(a.reads + a.writes, 0);
    assert_true(bus_mmio_read(&board.bus, &view, 0x100c, 4, &value));
    assert_int_equal(a.reads, 1);
}

static void the_next_deadline_is_exact(void **state)
{
    assert_true(board.bus.next_deadline == TIMER_OFF);
    device_timer_set(&a.dev, 0, 500);
    device_timer_set(&b.dev, 1, 300);
    assert_int_equal(board.bus.next_deadline, 300);
    device_timer_set(&b.dev, 1, 700);
    assert_int_equal(board.bus.next_deadline, 500);
    device_timer_set(&a.dev, 0, TIMER_OFF);
    assert_int_equal(board.bus.next_deadline, 700);
    device_timer_set(&b.dev, 1, TIMER_OFF);
    assert_true(board.bus.next_deadline == TIMER_OFF);
}

static void due_timers_run_once(void **state)
{
    device_timer_set(&a.dev, 0, 100);
    device_timer_set(&a.dev, 1, 200);
    device_timer_set(&b.dev, 0, 201);
    bus_run_timers(&board.bus, 99);
    assert_int_equal(a.timers, 0);
    a.rearm = 150; /* in the past already: not before the next call */
    bus_run_timers(&board.bus, 200);
    assert_int_equal(a.timers, 2);
    assert_int_equal(a.timer_now, 200);
    assert_int_equal(b.timers, 0);
    assert_int_equal(board.bus.next_deadline, 150);
    a.rearm = 0;
    bus_run_timers(&board.bus, UINT64_MAX);
    assert_int_equal(a.timers, 4);
    assert_int_equal(b.timers, 1);
    assert_true(board.bus.next_deadline == TIMER_OFF);
    bus_run_timers(&board.bus, UINT64_MAX); /* off is never due */
    assert_int_equal(b.timers, 1);
}

static void reset_stops_timers(void **state)
{
    device_timer_set(&a.dev, 0, 100);
    bus_reset(&board.bus);
    assert_int_equal(a.resets, 1);
    assert_int_equal(b.resets, 1);
    assert_true(board.bus.next_deadline == TIMER_OFF);
    assert_true(a.dev.deadline[0] == TIMER_OFF);
}

static void deadlines_are_saved(void **state)
{
    uint8_t data[256];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    device_timer_set(&a.dev, 1, 100);
    device_timer_set(&b.dev, 0, 50);
    bus_save(&board.bus, &w);
    r.size = w.used;
    bus_reset(&board.bus);
    assert_int_equal(bus_load(&board.bus, &r), 0);
    assert_int_equal(a.dev.deadline[1], 100);
    assert_true(a.dev.deadline[0] == TIMER_OFF);
    assert_int_equal(board.bus.next_deadline, 50);
    a.tag++;
    r.position = r.section_end = 0;
    assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
    assert_non_null(strstr(r.error, "out of its range"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_reads_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(whole_accesses_arrive_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(partly_owned_accesses_are_split, setup, teardown),
        cmocka_unit_test_setup_teardown(narrow_devices_see_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_port_wraps, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_ranges_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(the_tables_end, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_ranges_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(accesses_that_leave_a_range_do_not_arrive, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_deadline_is_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(due_timers_run_once, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_stops_timers, setup, teardown),
        cmocka_unit_test_setup_teardown(deadlines_are_saved, setup, teardown),
    };

    return cmocka_run_group_tests_name("bus", tests, NULL, NULL);
}
