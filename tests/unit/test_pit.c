/* links: guest/board/pit.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The 8254 against the 82C54 data sheet: modes, read-back, gates, and no drift. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/clock.h"
#include "guest/board/pit.h"
#include "tests/unit/mock_board.h"

#define CONTROL  0x43
#define SYSTEM_B 0x61

static struct board board;
static struct pit p;

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&pit_class, &p.dev, &board.setup), 0);
    board.now = 123456789012345; /* not the start of time */
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

/* Let the PIT's clock advance by n: to the first TSC tick of that clock. */
static void clocks(uint64_t n)
{
    uint64_t clock = clock_ticks(board.now, board.hz, PIT_HZ);

    mock_ticks(&board, clock_deadline(clock + n, board.hz, PIT_HZ) - board.now);
}

static void program(unsigned channel, unsigned mode, uint16_t count)
{
    mock_out(&board, CONTROL, (uint8_t)(channel << 6 | 0x30 | mode << 1));
    mock_out(&board, (uint16_t)(0x40 + channel), (uint8_t)count);
    mock_out(&board, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t latched(unsigned channel)
{
    uint8_t low;

    mock_out(&board, CONTROL, (uint8_t)(channel << 6));
    low = mock_in(&board, (uint16_t)(0x40 + channel));
    return (uint16_t)(mock_in(&board, (uint16_t)(0x40 + channel)) << 8 | low);
}

static uint8_t status(unsigned channel)
{
    mock_out(&board, CONTROL, (uint8_t)(0xe0 | 2u << channel));
    return mock_in(&board, (uint16_t)(0x40 + channel));
}

static bool out(unsigned channel)
{
    return status(channel) & 0x80;
}

static void gate(bool level)
{
    mock_out(&board, SYSTEM_B, level);
}

static void mode_0_counts_down_once(void **state)
{
    program(0, 0, 10);
    assert_false(out(0));
    assert_int_equal(status(0), 0x70); /* the count is not in the counter before the next clock */
    clocks(1);
    assert_int_equal(status(0), 0x30);
    assert_int_equal(latched(0), 10);
    assert_false(board.irq[0]);
    clocks(9);
    assert_int_equal(latched(0), 1);
    assert_false(out(0));
    clocks(1);
    assert_true(out(0));
    assert_true(board.irq[0]);
    assert_int_equal(latched(0), 0);
    clocks(1);
    assert_int_equal(latched(0), 0xffff); /* it goes on */
    clocks(200000);
    assert_int_equal(board.rises[0], 1);
    mock_out(&board, CONTROL, 0x30);
    assert_false(board.irq[0]); /* the control word lowers the output */
    assert_true(board.bus.next_deadline == TIMER_OFF);
}

static void mode_0_restarts_with_each_count(void **state)
{
    program(0, 0, 100);
    clocks(51);
    assert_int_equal(latched(0), 50);
    mock_out(&board, 0x40, 30); /* the first byte stops the counter */
    clocks(500);
    assert_int_equal(board.rises[0], 0);
    assert_int_equal(latched(0), 50);
    mock_out(&board, 0x40, 0);
    clocks(30);
    assert_int_equal(latched(0), 1);
    clocks(1);
    assert_int_equal(board.rises[0], 1);
}

static void the_gate_suspends_mode_0(void **state)
{
    gate(true);
    program(2, 0, 100);
    clocks(41);
    gate(false);
    assert_int_equal(latched(2), 60);
    clocks(1000);
    assert_int_equal(latched(2), 60);
    assert_true(mock_round_trip(&board));
    gate(true);
    clocks(59);
    assert_int_equal(mock_in(&board, SYSTEM_B) & 0x20, 0);
    clocks(1);
    assert_int_equal(mock_in(&board, SYSTEM_B) & 0x20, 0x20);
    gate(false);
    program(2, 0, 5); /* loaded while the gate is low: waits */
    clocks(100);
    assert_int_equal(latched(2), 5);
    gate(true);
    clocks(5);
    assert_true(out(2));
}

static void mode_1_is_a_retriggerable_shot(void **state)
{
    program(2, 1, 20);
    assert_true(out(2));
    clocks(100);
    assert_true(out(2));
    assert_int_equal(status(2) & 0x40, 0x40); /* not loaded before the trigger */
    gate(true);
    clocks(1);
    assert_false(out(2));
    assert_int_equal(status(2) & 0x40, 0);
    clocks(15);
    gate(false); /* the level does not matter, only the rising edge */
    gate(true);
    clocks(20);
    assert_false(out(2));
    clocks(1);
    assert_true(out(2));
    gate(false);
    gate(true);
    clocks(3);
    mock_out(&board, 0x42, 50); /* for the next shot */
    mock_out(&board, 0x42, 0);
    clocks(18);
    assert_true(out(2));
    gate(false);
    gate(true);
    clocks(50);
    assert_false(out(2));
    clocks(1);
    assert_true(out(2));
}

static void mode_2_divides(void **state)
{
    program(0, 2, 5);
    clocks(1);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(latched(0), 5 - i % 5);
        assert_int_equal(out(0), i % 5 != 4);
        clocks(1);
    }
    /* One rise for the control word, one per period. */
    assert_int_equal(board.rises[0], 5);
}

static void mode_2_takes_a_new_count_at_the_end_of_the_period(void **state)
{
    program(0, 2, 100);
    clocks(31);
    mock_out(&board, 0x40, 10);
    mock_out(&board, 0x40, 0);
    assert_int_equal(status(0) & 0x40, 0x40);
    assert_int_equal(latched(0), 70);
    assert_true(mock_round_trip(&board));
    board.rises[0] = 0;
    clocks(69);
    assert_int_equal(board.rises[0], 0);
    assert_int_equal(latched(0), 1);
    clocks(1);
    assert_int_equal(board.rises[0], 1);
    assert_int_equal(latched(0), 10);
    assert_int_equal(status(0) & 0x40, 0);
    clocks(30);
    assert_int_equal(board.rises[0], 4);
}

static void the_gate_restarts_mode_2(void **state)
{
    gate(true);
    program(2, 2, 10);
    clocks(10);
    assert_false(out(2));
    gate(false);
    assert_true(out(2)); /* at once */
    clocks(100);
    gate(true);
    clocks(1);
    assert_int_equal(latched(2), 10);
}

static void mode_3_is_a_square_wave(void **state)
{
    program(0, 3, 6);
    clocks(1);
    for (unsigned i = 0; i < 18; i++) {
        assert_int_equal(latched(0), 6 - 2 * (i % 3));
        assert_int_equal(out(0), i % 6 < 3);
        clocks(1);
    }
    program(0, 3, 5); /* odd: high for three, low for two */
    clocks(1);
    for (unsigned i = 0; i < 15; i++) {
        static const uint8_t counts[] = {4, 2, 0, 4, 2};

        assert_int_equal(latched(0), counts[i % 5]);
        assert_int_equal(out(0), i % 5 < 3);
        clocks(1);
    }
}

static void mode_3_takes_a_new_count_at_the_end_of_the_half(void **state)
{
    gate(true);
    program(2, 3, 100);
    clocks(11);
    mock_out(&board, 0x42, 20);
    mock_out(&board, 0x42, 0);
    clocks(39);
    assert_true(out(2));
    clocks(1); /* the high half of 50 is over; a low one of 10 begins */
    assert_false(out(2));
    assert_int_equal(latched(2), 20);
    clocks(9);
    assert_false(out(2));
    clocks(1);
    assert_true(out(2));
    program(2, 3, 100);
    clocks(61);
    mock_out(&board, 0x42, 20);
    mock_out(&board, 0x42, 0);
    clocks(39);
    assert_false(out(2));
    clocks(1);
    assert_true(out(2));
    clocks(10);
    assert_false(out(2));
}

static void mode_3_interrupts_follow_a_new_count(void **state)
{
    program(0, 3, 1000);
    clocks(101);
    mock_out(&board, 0x40, 200);
    mock_out(&board, 0x40, 0);
    board.rises[0] = 0;
    clocks(499); /* 400 high, 100 low */
    assert_int_equal(board.rises[0], 0);
    clocks(1);
    assert_int_equal(board.rises[0], 1);
    clocks(1000);
    assert_int_equal(board.rises[0], 6);
}

/* What the output has done until a write is there before what the write does. */
static void a_control_word_in_the_low_half_is_an_edge(void **state)
{
    program(0, 3, 1000);
    clocks(1001 + 700);
    assert_int_equal(board.rises[0], 2); /* the control word's and the first period's */
    mock_out(&board, CONTROL, 0x34);
    assert_true(board.irq[0]);
    assert_int_equal(board.rises[0], 3);
    mock_out(&board, CONTROL, 0x34); /* high already */
    assert_int_equal(board.rises[0], 3);
}

static void an_edge_that_came_before_a_write_is_not_lost(void **state)
{
    program(0, 0, 1000);
    board.now += board.hz / 100; /* the timer is late */
    assert_int_equal(board.rises[0], 0);
    mock_out(&board, CONTROL, 0x30);
    assert_false(board.irq[0]);
    assert_int_equal(board.rises[0], 1);
    program(0, 2, 1000);
    clocks(500);
    board.rises[0] = 0;
    board.now += board.hz / 1000;
    mock_out(&board, 0x40, 0x34);
    mock_out(&board, 0x40, 0x12);
    assert_int_equal(board.rises[0], 1);
}

static void mode_4_strobes_once(void **state)
{
    program(0, 4, 8);          /* Linux's one-shot tick */
    assert_true(board.irq[0]); /* the output is high from the control word on */
    board.rises[0] = 0;
    clocks(9);
    assert_false(out(0));
    clocks(1);
    assert_true(out(0));
    assert_int_equal(board.rises[0], 1);
    clocks(200000);
    assert_int_equal(board.rises[0], 1);
    mock_out(&board, 0x40, 3); /* a new count restarts it */
    mock_out(&board, 0x40, 0);
    clocks(5);
    assert_int_equal(board.rises[0], 2);
}

static void mode_5_strobes_on_the_gate(void **state)
{
    program(2, 5, 8);
    clocks(100);
    assert_true(out(2));
    gate(true);
    clocks(8);
    assert_true(out(2));
    clocks(1);
    assert_false(out(2));
    clocks(1);
    assert_true(out(2));
}

static void modes_6_and_7_are_2_and_3(void **state)
{
    program(0, 6, 100);
    assert_int_equal(status(0) & 0x0e, 2 << 1);
    program(0, 7, 100);
    assert_int_equal(status(0) & 0x0e, 3 << 1);
}

static void zero_is_the_longest_count(void **state)
{
    program(0, 2, 0);
    clocks(1);
    assert_int_equal(latched(0), 0);
    clocks(1);
    assert_int_equal(latched(0), 0xffff);
    board.rises[0] = 0;
    clocks(65534);
    assert_int_equal(board.rises[0], 0);
    clocks(1);
    assert_int_equal(board.rises[0], 1);
    program(0, 2, 1); /* illegal; must not divide by itself for ever */
    assert_uint_in_range(board.bus.next_deadline, board.now + 1, board.now + board.hz);
}

static void bcd(void **state)
{
    mock_out(&board, CONTROL, 0x31 | 2 << 1);
    mock_out(&board, 0x40, 0x00);
    mock_out(&board, 0x40, 0x10);
    clocks(1);
    assert_int_equal(latched(0), 0x1000);
    clocks(1);
    assert_int_equal(latched(0), 0x0999);
    mock_out(&board, CONTROL, 0x31);
    mock_out(&board, 0x40, 0x00);
    mock_out(&board, 0x40, 0x00);
    clocks(1);
    assert_int_equal(latched(0), 0x0000);
    clocks(1);
    assert_int_equal(latched(0), 0x9999);
    clocks(9998);
    assert_false(out(0));
    clocks(1);
    assert_true(out(0));
}

static void single_byte_access(void **state)
{
    mock_out(&board, CONTROL, 0x10 | 2 << 1);
    mock_out(&board, 0x40, 0x34);
    clocks(1);
    assert_int_equal(mock_in(&board, 0x40), 0x34);
    assert_int_equal(mock_in(&board, 0x40), 0x34);
    mock_out(&board, CONTROL, 0x20 | 2 << 1);
    mock_out(&board, 0x40, 0x12);
    clocks(1);
    assert_int_equal(mock_in(&board, 0x40), 0x12);
    mock_out(&board, CONTROL, 0x00);
    assert_int_equal(mock_in(&board, 0x40), 0x12);
}

static void latches_hold(void **state)
{
    program(0, 2, 0x1234);
    program(1, 2, 0x100);
    clocks(1);
    mock_out(&board, CONTROL, 0xc0 | 0x06); /* read back: status and count of channels 0 and 1 */
    clocks(20);
    mock_out(&board, CONTROL, 0x00); /* a second latch before the first is read does nothing */
    assert_int_equal(mock_in(&board, 0x40), 0xb4);
    assert_int_equal(mock_in(&board, 0x40), 0x34);
    assert_true(mock_round_trip(&board));
    assert_int_equal(mock_in(&board, 0x40), 0x12);
    assert_int_equal(mock_in(&board, 0x41), 0xb4);
    assert_int_equal(mock_in(&board, 0x41), 0x00);
    assert_int_equal(mock_in(&board, 0x41), 0x01);
    /* Now as it counts: low then high byte. */
    assert_int_equal(mock_in(&board, 0x40), 0x20);
    assert_int_equal(mock_in(&board, 0x40), 0x12);
    assert_int_equal(mock_in(&board, CONTROL), 0xff);
}

/* A thousand seconds of Linux's HZ=1000 divisor: no tick is lost and the last one is where
 * arithmetic says. */
static void a_periodic_timer_does_not_drift(void **state)
{
    uint64_t start;

    board.hz = 2399999987;
    program(0, 2, 1193);
    start = clock_ticks(board.now, board.hz, PIT_HZ) + 1;
    board.rises[0] = 0;
    for (unsigned i = 1; i <= 100000; i++) {
        uint64_t due = clock_deadline(start + i * 1193ULL, board.hz, PIT_HZ);

        if (i % 10000 != 0) {
            assert_int_equal(board.bus.next_deadline, due);
            board.now = due;
            bus_run_timers(&board.bus, due);
        } else {
            mock_ticks(&board, due - board.now);
        }
        assert_int_equal(board.rises[0], i);
    }
}

static void late_timers_coalesce(void **state)
{
    program(0, 2, 1000);
    board.rises[0] = 0;
    board.now += board.hz * 10;
    bus_run_timers(&board.bus, board.now);
    assert_int_equal(board.rises[0], 1);
    assert_true(board.bus.next_deadline > board.now);
    assert_true(board.bus.next_deadline <= board.now + board.hz / 1000);
}

/* Linux's and many a boot loader's calibration: channel 2 in mode 0 and bit 5 of port 61h, 50 ms
 * long. */
static void calibration_by_port_61(void **state)
{
    uint64_t start = board.now;
    unsigned polls = 0;

    mock_out(&board, SYSTEM_B, (mock_in(&board, SYSTEM_B) & ~0x02) | 0x01);
    mock_out(&board, CONTROL, 0xb0);
    mock_out(&board, 0x42, 59659 & 0xff);
    mock_out(&board, 0x42, 59659 >> 8);
    while (!(mock_in(&board, SYSTEM_B) & 0x20)) {
        assert_true(++polls < 100000);
        mock_microseconds(&board, 1);
    }
    assert_uint_in_range(board.now - start, board.hz / 20, board.hz / 20 + board.hz / 500000);
}

static void port_61_shows_refresh_and_keeps_its_bits(void **state)
{
    uint8_t before = mock_in(&board, SYSTEM_B) & 0x10;
    unsigned changes = 0;

    for (unsigned i = 0; i < 180; i++) {
        uint8_t now = mock_in(&board, SYSTEM_B) & 0x10;

        changes += now != before;
        before = now;
        clocks(1);
    }
    assert_uint_in_range(changes, 9, 11);
    mock_out(&board, SYSTEM_B, 0xff);
    assert_int_equal(mock_in(&board, SYSTEM_B) & 0xcf, 0x0f);
    mock_out(&board, SYSTEM_B, 0x00);
    assert_int_equal(mock_in(&board, SYSTEM_B) & 0xcf, 0x00);
}

static void hostile_state_is_refused(void **state)
{
    static const struct {
        unsigned offset;
        uint8_t value;
    } bad[] = {{0, 6}, {1, 0}, {1, 4}, {11, 3}, {18, 2}, {22, 2}, {55, 0x80}};
    uint8_t data[512];

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        program(0, 2, 100);
        bus_save(&board.bus, &w);
        data[24 + 16 + bad[i].offset] = bad[i].value;
        r.size = w.used;
        assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
        assert_true(mock_round_trip(&board));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mode_0_counts_down_once, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_0_restarts_with_each_count, setup, teardown),
        cmocka_unit_test_setup_teardown(the_gate_suspends_mode_0, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_1_is_a_retriggerable_shot, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_2_divides, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_2_takes_a_new_count_at_the_end_of_the_period, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_gate_restarts_mode_2, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_3_is_a_square_wave, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_3_takes_a_new_count_at_the_end_of_the_half, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(mode_3_interrupts_follow_a_new_count, setup, teardown),
        cmocka_unit_test_setup_teardown(a_control_word_in_the_low_half_is_an_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_that_came_before_a_write_is_not_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(mode_4_strobes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(mode_5_strobes_on_the_gate, setup, teardown),
        cmocka_unit_test_setup_teardown(modes_6_and_7_are_2_and_3, setup, teardown),
        cmocka_unit_test_setup_teardown(zero_is_the_longest_count, setup, teardown),
        cmocka_unit_test_setup_teardown(bcd, setup, teardown),
        cmocka_unit_test_setup_teardown(single_byte_access, setup, teardown),
        cmocka_unit_test_setup_teardown(latches_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(a_periodic_timer_does_not_drift, setup, teardown),
        cmocka_unit_test_setup_teardown(late_timers_coalesce, setup, teardown),
        cmocka_unit_test_setup_teardown(calibration_by_port_61, setup, teardown),
        cmocka_unit_test_setup_teardown(port_61_shows_refresh_and_keeps_its_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("pit", tests, NULL, NULL);
}
