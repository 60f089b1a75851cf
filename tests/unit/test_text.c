/* links: guest/monitor/text.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/monitor/text.h"

static char cell[TEXT_CELL];

static void test_rows(void **state)
{
    static const struct column columns[] = {
        {"VM", 6, false}, {"EXITS", 7, true}, {"NOTE", 4, false}};
    char row[TEXT_ROW], wide[2 * TEXT_ROW];

    text_row(row, columns, 3, NULL);
    assert_string_equal(row, "VM        EXITS  NOTE");
    text_row(row, columns, 3, (const char *const[]){"a", "12", ""});
    assert_string_equal(row, "a            12");
    text_row(row, columns, 3, (const char *const[]){"too-long", "123", "x"});
    assert_string_equal(row, "too-long      123  x");
    text_row(row, columns, 3, (const char *const[]){"", "", ""});
    assert_string_equal(row, "");
    memset(wide, 'w', sizeof(wide));
    wide[sizeof(wide) - 1] = '\0';
    text_row(row, columns, 3, (const char *const[]){wide, wide, wide});
    assert_int_equal(strlen(row), TEXT_ROW - 1);
    text_row(row, columns, 0, NULL);
    assert_string_equal(row, "");
}

static void test_shares(void **state)
{
    assert_string_equal(text_percent(cell, 0, 0), "-");
    assert_string_equal(text_percent(cell, 0, 10), "0.0");
    assert_string_equal(text_percent(cell, 1, 3), "33.3");
    assert_string_equal(text_percent(cell, 2, 3), "66.7");
    assert_string_equal(text_percent(cell, 3, 3), "100.0");
    assert_string_equal(text_percent(cell, 5, 2), "250.0");
    assert_string_equal(text_percent(cell, UINT64_MAX, UINT64_MAX), "100.0");
    assert_string_equal(text_percent(cell, UINT64_MAX / 2, UINT64_MAX), "50.0");
    assert_true(strlen(text_percent(cell, UINT64_MAX, 1)) < TEXT_CELL);
}

static void test_sizes(void **state)
{
    assert_string_equal(text_size(cell, 0), "0");
    assert_string_equal(text_size(cell, 1023), "1023");
    assert_string_equal(text_size(cell, 1024), "1K");
    assert_string_equal(text_size(cell, 1536), "1.5K");
    assert_string_equal(text_size(cell, 256 * MIB), "256M");
    assert_string_equal(text_size(cell, 256 * MIB + 1), "256M");
    assert_string_equal(text_size(cell, 6 * GIB), "6G");
    assert_string_equal(text_size(cell, UINT64_MAX), "15.9E");
}

static void test_durations(void **state)
{
    assert_string_equal(text_duration(cell, 0), "0.000 s");
    assert_string_equal(text_duration(cell, 9999), "9.999 s");
    assert_string_equal(text_duration(cell, 10000), "10.0 s");
    assert_string_equal(text_duration(cell, 59999), "59.9 s");
    assert_string_equal(text_duration(cell, 60000), "1:00");
    assert_string_equal(text_duration(cell, 3599999), "59:59");
    assert_string_equal(text_duration(cell, 3600000), "1:00:00");
    assert_string_equal(text_duration(cell, 86399999), "23:59:59");
    assert_string_equal(text_duration(cell, 86400000), "1d 00:00");
    assert_true(strlen(text_duration(cell, UINT64_MAX)) < TEXT_CELL);
}

static void test_latencies(void **state)
{
    assert_string_equal(text_latency(cell, 0), "0 us");
    assert_string_equal(text_latency(cell, 999999), "999 us");
    assert_string_equal(text_latency(cell, 1000000), "1.0 ms");
    assert_string_equal(text_latency(cell, 99999999), "99.9 ms");
    assert_string_equal(text_latency(cell, 100000000), "100 ms");
    assert_string_equal(text_latency(cell, 999999999), "999 ms");
    assert_string_equal(text_latency(cell, 1000000000), "1.0 s");
    assert_string_equal(text_latency(cell, 99999999999), "99.9 s");
    assert_string_equal(text_latency(cell, 100000000000), "100 s");
    assert_int_equal(strlen(text_latency(cell, 86399000000000)), 7);
    assert_true(strlen(text_latency(cell, UINT64_MAX)) < TEXT_CELL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_shares),
        cmocka_unit_test(test_sizes),     cmocka_unit_test(test_durations),
        cmocka_unit_test(test_latencies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
