/* links: guest/devices/rtc.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The MC146818A against its data sheet, and against how Linux reads and sets it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/rtc.h"
#include "tests/unit/mock_board.h"

#define GSI    8
#define SECOND 1000000

static struct board board;
static struct rtc r;

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&rtc_class, &r.dev, &board.setup), 0);
    board.now = 777;
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

static uint8_t in(uint8_t index)
{
    mock_out(&board, 0x70, index);
    return mock_in(&board, 0x71);
}

static void out(uint8_t index, uint8_t value)
{
    mock_out(&board, 0x70, index);
    mock_out(&board, 0x71, value);
}

static void assert_time(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hour,
                        uint8_t minute, uint8_t second)
{
    assert_int_equal(in(0x32), century);
    assert_int_equal(in(9), year);
    assert_int_equal(in(8), month);
    assert_int_equal(in(7), day);
    assert_int_equal(in(4), hour);
    assert_int_equal(in(2), minute);
    assert_int_equal(in(0), second);
}

/* Set the clock as Linux does: stop the updates and the divider, write, let both go. */
static void set_time(uint8_t century, uint8_t year, uint8_t month, uint8_t day, uint8_t hour,
                     uint8_t minute, uint8_t second)
{
    uint8_t b = in(0x0b), a = in(0x0a);

    out(0x0b, b | 0x80);
    out(0x0a, a | 0x70);
    out(9, year);
    out(8, month);
    out(7, day);
    out(4, hour);
    out(2, minute);
    out(0, second);
    out(0x32, century);
    out(0x0b, b);
    out(0x0a, a);
}

static void it_shows_the_wall_clock(void **state)
{
    assert_time(0x20, 0x26, 0x03, 0x01, 0x12, 0x00, 0x00);
    assert_int_equal(in(6), 1); /* a Sunday */
    assert_int_equal(in(0x0b), 0x02);
    assert_int_equal(in(0x0a), 0x26);
    assert_int_equal(in(0x0d), 0x80);
    mock_microseconds(&board, 3723ULL * SECOND);
    assert_time(0x20, 0x26, 0x03, 0x01, 0x13, 0x02, 0x03);
    mock_microseconds(&board, 11ULL * 3600 * SECOND);
    assert_time(0x20, 0x26, 0x03, 0x02, 0x00, 0x02, 0x03);
    assert_int_equal(in(6), 2);
    assert_int_equal(mock_in(&board, 0x70), 0xff);
}

static void binary_and_twelve_hours(void **state)
{
    out(0x0b, 0x06);
    assert_time(20, 26, 3, 1, 12, 0, 0);
    out(0x0b, 0x04);
    assert_time(20, 26, 3, 1, 0x80 | 12, 0, 0); /* noon is 12 PM */
    out(0x0b, 0x00);
    assert_int_equal(in(4), 0x92);
    mock_microseconds(&board, 11ULL * 3600 * SECOND);
    assert_int_equal(in(4), 0x91);
    mock_microseconds(&board, 1ULL * 3600 * SECOND);
    assert_int_equal(in(4), 0x12); /* midnight is 12 AM */
    mock_microseconds(&board, 1ULL * 3600 * SECOND);
    assert_int_equal(in(4), 0x01);
    set_time(0x20, 0x26, 0x03, 0x01, 0x92, 0x30, 0x00);
    out(0x0b, 0x02);
    assert_int_equal(in(4), 0x12);
    out(0x0b, 0x00);
    set_time(0x20, 0x26, 0x03, 0x01, 0x12, 0x30, 0x00);
    out(0x0b, 0x02);
    assert_int_equal(in(4), 0x00);
}

static void setting_survives_and_goes_on(void **state)
{
    set_time(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58);
    out(6, 6); /* a Friday */
    assert_time(0x19, 0x99, 0x12, 0x31, 0x23, 0x59, 0x58);
    assert_true(mock_round_trip(&board));
    mock_microseconds(&board, SECOND / 2 - 1000); /* the first update comes half a second after */
    assert_int_equal(in(0), 0x58);
    mock_microseconds(&board, 1000 + 1);
    assert_int_equal(in(0), 0x59);
    mock_microseconds(&board, SECOND);
    assert_time(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00);
    assert_int_equal(in(6), 7); /* a Saturday */
    bus_reset(&board.bus);      /* the battery keeps it */
    assert_time(0x20, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00);
}

static void set_date(uint8_t century, uint8_t year, uint8_t month, uint8_t day)
{
    out(0x32, century);
    out(9, year);
    out(8, month);
    out(7, day);
}

/* A register that is written reads so until the next update has a reason to change it; the others
 * do not notice. */
static void a_running_clock_keeps_what_is_written(void **state)
{
    set_date(0x20, 0x24, 0x02, 0x10);
    out(7, 0x31);
    assert_time(0x20, 0x24, 0x02, 0x31, 0x12, 0x00, 0x00);
    out(8, 0x03);
    assert_time(0x20, 0x24, 0x03, 0x31, 0x12, 0x00, 0x00);
    set_date(0x20, 0x24, 0x01, 0x31);
    out(8, 0x02);
    assert_true(mock_round_trip(&board));
    mock_microseconds(&board, 10 * SECOND); /* updates that do not reach the date */
    assert_time(0x20, 0x24, 0x02, 0x31, 0x12, 0x00, 0x10);
    out(7, 0x15);
    assert_time(0x20, 0x24, 0x02, 0x15, 0x12, 0x00, 0x10);
    out(9, 0x60);
    out(0x32, 0x19);
    assert_time(0x19, 0x60, 0x02, 0x15, 0x12, 0x00, 0x10);
    for (unsigned i = 0; i < 10; i++) {
        static const uint8_t registers[] = {0, 2, 4, 6, 7, 8, 9, 0x32, 1, 3, 5};

        for (unsigned k = 0; k < ARRAY_SIZE(registers); k++) {
            uint8_t value = (uint8_t)(i * 27 + k * 5);

            out(registers[k], value);
            assert_int_equal(in(registers[k]), value);
        }
        for (unsigned k = 0; k < ARRAY_SIZE(registers); k++)
            assert_int_equal(in(registers[k]), (uint8_t)(i * 27 + k * 5));
        assert_true(mock_round_trip(&board));
    }
}

static void any_year_goes_on(void **state)
{
    static const uint16_t years[] = {0x0000, 0x0004, 0x0100, 0x1582, 0x1900, 0x1960, 0x9998};

    for (unsigned i = 0; i < ARRAY_SIZE(years); i++) {
        set_time((uint8_t)(years[i] >> 8), (uint8_t)years[i], 0x12, 0x31, 0x23, 0x59, 0x59);
        out(6, 7);
        mock_microseconds(&board, SECOND / 2 + 1);
        assert_time((uint8_t)(years[i] >> 8), (uint8_t)(years[i] + 1), 0x01, 0x01, 0, 0, 0);
        assert_int_equal(in(6), 1); /* the day of the week is a counter of its own */
    }
    set_time(0x99, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59);
    mock_microseconds(&board, SECOND / 2 + 1);
    assert_time(0x00, 0x00, 0x01, 0x01, 0, 0, 0);
    set_time(0x00, 0x00, 0x02, 0x28, 0x23, 0x59, 0x59); /* a leap year, as 2000 */
    mock_microseconds(&board, SECOND / 2 + 1);
    assert_time(0x00, 0x00, 0x02, 0x29, 0, 0, 0);
    set_time(0x19, 0x60, 0x02, 0x28, 0x23, 0x59, 0x59);
    mock_microseconds(&board, SECOND / 2 + 86400ULL * SECOND + 1);
    assert_time(0x19, 0x60, 0x03, 0x01, 0, 0, 0x00);
}

/* A day that its month does not have ends with it. */
static void an_update_takes_nonsense_to_its_end(void **state)
{
    set_time(0x20, 0x24, 0x02, 0x31, 0x23, 0x59, 0x59);
    mock_microseconds(&board, SECOND / 2 + 1);
    assert_time(0x20, 0x24, 0x03, 0x01, 0, 0, 0);
    set_time(0x20, 0x24, 0x05, 0x05, 0x05, 0x05, 0x75);
    mock_microseconds(&board, SECOND / 2 + 1);
    assert_time(0x20, 0x24, 0x05, 0x05, 0x05, 0x06, 0x00);
}

/* An alarm byte is compared as it stands. */
static void an_alarm_that_no_time_is_equal_to_never_comes(void **state)
{
    out(1, 0x0a); /* no BCD, though 0 tens and 10 ones would be 10 */
    out(3, 0xff);
    out(5, 0xff);
    in(0x0c);
    out(0x0b, 0x22);
    mock_microseconds(&board, 3600ULL * SECOND);
    assert_false(board.irq[GSI]);
    assert_int_equal(in(1), 0x0a);
    out(0x0b, 0x20); /* 12 hours: 0 is none of them */
    out(1, 0x00);
    out(3, 0x00);
    out(5, 0x00);
    in(0x0c);
    mock_microseconds(&board, 86400ULL * SECOND);
    assert_int_equal(in(0x0c) & 0x20, 0);
    out(5, 0x12);
    mock_microseconds(&board, 86400ULL * SECOND);
    assert_int_equal(in(0x0c) & 0x20, 0x20);
}

/* What has happened until an access is there before what the access does. */
static void an_interrupt_read_away_was_an_edge(void **state)
{
    in(0x0c);
    out(0x0b, 0x42);
    board.now += board.hz / 100; /* the timer is late */
    assert_int_equal(board.rises[GSI], 0);
    assert_int_equal(in(0x0c), 0xc0);
    assert_false(board.irq[GSI]);
    assert_int_equal(board.rises[GSI], 1);
    board.now += board.hz / 100;
    out(0x0b, 0x02);
    assert_false(board.irq[GSI]);
    assert_int_equal(board.rises[GSI], 2);
    in(0x0c);
    out(0x0b, 0x12);
    board.now += board.hz;
    in(0); /* the update that this shows has interrupted */
    assert_true(board.irq[GSI]);
}

static void every_day_of_four_centuries(void **state)
{
    static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    unsigned weekday = 4; /* 1970-01-01 was a Thursday: 5 when Sunday is 1 */

    out(0x0b, 0x06);
    board.wall_base = 0;
    for (unsigned year = 1970; year < 2370; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

        for (unsigned month = 1; month <= 12; month++) {
            unsigned days = length[month - 1] + (month == 2 && leap);

            for (unsigned day = 1; day <= days; day++) {
                assert_int_equal(in(7), day);
                assert_int_equal(in(6), weekday % 7 + 1);
                if (day == 1 || day == days) {
                    assert_int_equal(in(8), month);
                    assert_int_equal(in(9), year % 100);
                    assert_int_equal(in(0x32), year / 100);
                    set_time((uint8_t)(year / 100), (uint8_t)(year % 100), (uint8_t)month,
                             (uint8_t)day, 0, 0, 0);
                    assert_int_equal(r.offset, SECOND / 2);
                    r.offset = 0;
                }
                weekday++;
                board.wall_base += 86400LL * SECOND;
            }
        }
    }
}

static void set_halts_the_registers(void **state)
{
    out(0x0b, 0x82);
    mock_microseconds(&board, 10 * SECOND);
    assert_time(0x20, 0x26, 0x03, 0x01, 0x12, 0x00, 0x00);
    assert_int_equal(in(0x0a) & 0x80, 0);
    out(2, 0x17);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(2), 0x17);
    out(0x0b, 0x02);
    assert_time(0x20, 0x26, 0x03, 0x01, 0x12, 0x17, 0x00);
    out(4, 0x15); /* and without SET a write works at once */
    assert_time(0x20, 0x26, 0x03, 0x01, 0x15, 0x17, 0x00);
}

static void uip_announces_an_update(void **state)
{
    unsigned up = 0;

    for (unsigned us = 0; us < 2 * SECOND; us += 10) {
        uint8_t before = in(0), a = in(0x0a);

        up += a >> 7;
        mock_microseconds(&board, 10);
        if (in(0) != before)
            assert_int_equal(a & 0x80, 0x80);
    }
    assert_uint_in_range(up, 2 * 23, 2 * 26);
}

static void update_interrupt(void **state)
{
    out(0x0a, 0x20); /* no periodic flag */
    in(0x0c);
    out(0x0b, 0x12);
    mock_microseconds(&board, SECOND - 100);
    assert_false(board.irq[GSI]);
    mock_microseconds(&board, 200);
    assert_true(board.irq[GSI]);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(0x0c), 0x90);
    assert_false(board.irq[GSI]);
    assert_int_equal(in(0x0c), 0x00);
    for (unsigned i = 0; i < 10; i++) {
        mock_microseconds(&board, SECOND);
        assert_int_equal(in(0x0c), 0x90);
    }
    assert_int_equal(board.rises[GSI], 11);
    out(0x0b, 0x92); /* SET switches it off */
    assert_int_equal(in(0x0b), 0x82);
}

static void flags_come_without_interrupts(void **state)
{
    in(0x0c);
    assert_int_equal(mock_microseconds(&board, 2 * SECOND), 0); /* nothing wakes for them */
    assert_int_equal(in(0x0c), 0x50); /* periodic and update, no interrupt */
    assert_false(board.irq[GSI]);
}

static void alarm(void **state)
{
    out(1, 0x10);
    out(3, 0x02);
    out(5, 0x12);
    in(0x0c);
    out(0x0b, 0x22);
    mock_microseconds(&board, 129 * SECOND);
    assert_false(board.irq[GSI]);
    mock_microseconds(&board, SECOND);
    assert_true(board.irq[GSI]);
    assert_int_equal(in(0x0c) & 0xb0, 0xb0);
    mock_microseconds(&board, 86399ULL * SECOND);
    assert_false(board.irq[GSI]);
    mock_microseconds(&board, SECOND);
    assert_true(board.irq[GSI]); /* the next day */
}

static void alarm_wildcards(void **state)
{
    out(1, 0x30);
    out(3, 0xff);
    out(5, 0xc0);
    in(0x0c);
    out(0x0b, 0x22);
    for (unsigned i = 0; i < 5; i++) { /* each minute at 30 seconds */
        mock_microseconds(&board, 30ULL * SECOND);
        assert_int_equal(in(0x0c) & 0xa0, 0xa0);
        mock_microseconds(&board, 30ULL * SECOND);
        assert_int_equal(in(0x0c) & 0xa0, 0x00);
    }
    out(1, 0xff); /* each second */
    mock_microseconds(&board, SECOND);
    assert_int_equal(in(0x0c) & 0xa0, 0xa0);
    out(1, 0xc5);
    out(3, 0x05);
    out(5, 0xff); /* each second of minute 5: only just begun */
    in(0x0c);
    mock_microseconds(&board, SECOND);
    assert_int_equal(in(0x0c) & 0xa0, 0xa0);
    mock_microseconds(&board, 59ULL * SECOND);
    in(0x0c);
    mock_microseconds(&board, 3500ULL * SECOND);
    assert_int_equal(in(0x0c) & 0xa0, 0x00);
    out(1, 0x75); /* no such second */
    out(3, 0xff);
    mock_microseconds(&board, 200000ULL * SECOND);
    assert_int_equal(in(0x0c) & 0xa0, 0x00);
}

static void a_waiting_alarm_costs_few_wakeups(void **state)
{
    in(0x0c);
    out(5, 0x11); /* 23 hours away */
    out(0x0b, 0x22);
    assert_true(mock_microseconds(&board, 23ULL * 3600 * SECOND) < 40);
    assert_true(board.irq[GSI]);
}

static void periodic_interrupt(void **state)
{
    unsigned count = 0;

    in(0x0c);
    out(0x0b, 0x42);
    for (unsigned i = 0; i < 1000; i++) {
        mock_microseconds(&board, SECOND / 1000);
        count += in(0x0c) >> 7;
    }
    assert_uint_in_range(count, 999,
                         1001); /* looked at each millisecond, 1024 Hz are seen nearly always */
    out(0x0a, 0x2f);            /* 2 Hz */
    in(0x0c);
    board.rises[GSI] = 0;
    for (unsigned i = 0; i < 100; i++) {
        mock_microseconds(&board, SECOND / 10);
        in(0x0c);
    }
    assert_int_equal(board.rises[GSI], 20);
    out(0x0a, 0x21); /* rates 1 and 2 are those of 8 and 9 */
    in(0x0c);
    board.rises[GSI] = 0;
    for (unsigned i = 0; i < 1000; i++) {
        mock_microseconds(&board, 100);
        in(0x0c);
    }
    assert_uint_in_range(board.rises[GSI], 25, 26); /* 256 Hz for 100 ms */
    out(0x0a, 0x20);
    in(0x0c);
    mock_microseconds(&board, SECOND);
    assert_int_equal(in(0x0c) & 0x40, 0);
}

static void an_interrupt_nobody_reads_is_one_wakeup(void **state)
{
    in(0x0c);
    out(0x0a, 0x23); /* 8192 Hz */
    out(0x0b, 0x42);
    assert_int_equal(mock_microseconds(&board, SECOND), 1);
    assert_true(board.irq[GSI]);
}

static void the_divider_in_reset_stops_everything(void **state)
{
    out(0x0b, 0x72);
    out(0x0a, 0x76);
    in(0x0c);
    assert_int_equal(mock_microseconds(&board, 5 * SECOND), 0);
    assert_int_equal(in(0x0c), 0);
    assert_int_equal(in(0), 0x00);
}

static void nonsense_is_some_time(void **state)
{
    for (unsigned format = 0; format < 8; format += 2) {
        out(0x0b, (uint8_t)format);
        set_time(0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
        assert_int_in_range(r.updated, 0, 253402300799LL);
        assert_true(mock_round_trip(&board));
        set_time(0, 0, 0, 0, 0, 0, 0);
        assert_int_in_range(r.updated, 0, 253402300799LL);
        mock_microseconds(&board, SECOND);
        in(0);
    }
}

static void ram_is_kept(void **state)
{
    for (unsigned i = 0x0e; i < 0x80; i++) {
        if (i != 0x32)
            out((uint8_t)(i | 0x80), (uint8_t)(i * 3)); /* bit 7 is the NMI mask */
    }
    for (unsigned i = 0; i < 0x80; i++) {
        mock_out(&board, 0x72, (uint8_t)i);
        mock_out(&board, 0x73, (uint8_t)(i * 5));
    }
    bus_reset(&board.bus);
    assert_true(mock_round_trip(&board));
    for (unsigned i = 0x0e; i < 0x80; i++) {
        if (i != 0x32)
            assert_int_equal(in((uint8_t)i), (uint8_t)(i * 3));
    }
    for (unsigned i = 0; i < 0x80; i++) {
        mock_out(&board, 0x72, (uint8_t)(i | 0x80)); /* seven bits */
        assert_int_equal(mock_in(&board, 0x73), (uint8_t)(i * 5));
    }
    assert_int_equal(mock_in(&board, 0x72), 0xff);
    out(0x0d, 0);
    assert_int_equal(in(0x0d), 0x80);
}

static unsigned word(uint8_t index)
{
    return in(index) | in(index + 1) << 8;
}

static void with_memory(uint64_t below_4g, uint64_t above_4g)
{
    mock_destroy(&board);
    mock_init(&board);
    board.host.memory_below_4g = below_4g;
    board.host.memory_above_4g = above_4g;
    assert_int_equal(device_make(&rtc_class, &r.dev, &board.setup), 0);
    bus_reset(&board.bus);
}

static void memory_size(void **state)
{
    with_memory(128 * MIB, 0);
    assert_int_equal(word(0x15), 640);
    assert_int_equal(word(0x17), 0xffff);
    assert_int_equal(word(0x30), 0xffff);
    assert_int_equal(word(0x34), 112 * 16);
    assert_int_equal(word(0x5b), 0);
    with_memory(3 * GIB, 5 * GIB);
    assert_int_equal(word(0x34), (3072 - 16) * 16);
    assert_int_equal(word(0x5b) | in(0x5d) << 16, 5 * 1024 * 16);
    with_memory(8 * MIB, UINT64_MAX);
    assert_int_equal(word(0x17), 7 * 1024);
    assert_int_equal(word(0x34), 0);
    assert_int_equal(word(0x5b) | in(0x5d) << 16, 0xffffff);
    with_memory(512 * KIB, 0);
    assert_int_equal(word(0x15), 512);
    assert_int_equal(word(0x17), 0);
}

static void hostile_state_is_refused(void **state)
{
    uint8_t data[512];

    for (unsigned i = 0; i < 2; i++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader reader = {.data = data};

        bus_save(&board.bus, &w);
        data[24 + 16 + 2 + 256 + 8 * i + 7] = 0x7f;
        reader.size = w.used;
        assert_int_equal(bus_load(&board.bus, &reader), -EBADMSG);
        in(0);
        assert_true(mock_round_trip(&board));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_shows_the_wall_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(binary_and_twelve_hours, setup, teardown),
        cmocka_unit_test_setup_teardown(setting_survives_and_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_running_clock_keeps_what_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(any_year_goes_on, setup, teardown),
        cmocka_unit_test_setup_teardown(an_update_takes_nonsense_to_its_end, setup, teardown),
        cmocka_unit_test_setup_teardown(an_alarm_that_no_time_is_equal_to_never_comes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(an_interrupt_read_away_was_an_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(every_day_of_four_centuries, setup, teardown),
        cmocka_unit_test_setup_teardown(set_halts_the_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(uip_announces_an_update, setup, teardown),
        cmocka_unit_test_setup_teardown(update_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(flags_come_without_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(alarm, setup, teardown),
        cmocka_unit_test_setup_teardown(alarm_wildcards, setup, teardown),
        cmocka_unit_test_setup_teardown(a_waiting_alarm_costs_few_wakeups, setup, teardown),
        cmocka_unit_test_setup_teardown(periodic_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupt_nobody_reads_is_one_wakeup, setup, teardown),
        cmocka_unit_test_setup_teardown(the_divider_in_reset_stops_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_some_time, setup, teardown),
        cmocka_unit_test_setup_teardown(ram_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_size, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("rtc", tests, NULL, NULL);
}
