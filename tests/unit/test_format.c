/* links: arch/x86/lib/format.c arch/x86/lib/log.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"

/* The C library is the judge. */
#define SAME(...)                                                                                  \
    do {                                                                                           \
        char ours[256], theirs[256];                                                               \
        int a = format(ours, sizeof(ours), __VA_ARGS__);                                           \
        int b = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                                     \
        assert_string_equal(ours, theirs);                                                         \
        assert_int_equal(a, b);                                                                    \
    } while (0)

static void test_numbers(void **state)
{
    static const long values[] = {0, 1, -1, 9, 10, 255, -256, INT_MAX, INT_MIN, LONG_MAX, LONG_MIN};

    for (unsigned i = 0; i < ARRAY_SIZE(values); i++) {
        long v = values[i];

        SAME("%d|%i|%u|%x|%X", (int)v, (int)v, (unsigned)v, (unsigned)v, (unsigned)v);
        SAME("%ld|%lu|%lx|%lX|%lld|%llx", v, (unsigned long)v, (unsigned long)v, (unsigned long)v,
             (long long)v, (unsigned long long)v);
        SAME("%hd|%hu|%hhd|%hhu|%hhx", (short)v, (unsigned short)v, (signed char)v,
             (unsigned char)v, (unsigned char)v);
        SAME("%zu|%zx", (size_t)v, (size_t)v);
        SAME("[%5d][%-5d][%05d][%+d][% d][%+05d]", (int)v, (int)v, (int)v, (int)v, (int)v, (int)v);
        SAME("[%8x][%-8x][%08x][%#x][%#10x][%#010x][%-#10x]", (unsigned)v, (unsigned)v, (unsigned)v,
             (unsigned)v, (unsigned)v, (unsigned)v, (unsigned)v);
        SAME("[%.3d][%8.3d][%-8.3d][%.0d][%.12x]", (int)v, (int)v, (int)v, (int)v, (unsigned)v);
        SAME("[%*d][%-*d][%*d][%.*d]", 7, (int)v, 7, (int)v, -7, (int)v, 4, (int)v);
    }
}

static void test_text(void **state)
{
    SAME("%s|%10s|%-10s|%.2s|%10.2s|%.0s|%.*s", "text", "text", "text", "text", "text", "text", 3,
         "text");
    SAME("%c|%5c|%-5c|%%|100%%", 'x', 'y', 'z');
    SAME("%p", (void *)0x1234);
    SAME("%s", "");
    SAME("no conversion");
}

static void test_limits(void **state)
{
    char buf[8] = "AAAAAAA";

    assert_int_equal(format(buf, 4, "%s", "abcdef"), 6);
    assert_string_equal(buf, "abc");
    assert_int_equal(buf[4], 'A');
    assert_int_equal(format(buf, 0, "%d", 12345), 5);
    assert_int_equal(format(NULL, 0, "%d", 12345), 5);
    assert_int_equal(format(buf, 1, "x"), 1);
    assert_string_equal(buf, "");
    /* A text that is not terminated is read only as far as the precision says. */
    assert_int_equal(format(buf, sizeof(buf), "%.2s", (const char[]){'a', 'b'}), 2);
}

static void test_odd(void **state)
{
    const char *volatile unknown = "%q %", *volatile null = NULL;
    char buf[16];

    /* The attribute that checks formats would rightly object to these, so it must not see them. */
    int (*volatile f)(char *, size_t, const char *, ...) = format;
    f(buf, sizeof(buf), unknown);
    assert_string_equal(buf, "%q %");
    f(buf, sizeof(buf), "%s", null);
    assert_string_equal(buf, "(null)");
    assert_true(f(buf, sizeof(buf), "%2000000000d", 1) <= 4096);
}

static char last[512];
static size_t last_length;
static enum log_level last_level;
static unsigned lines;

static void sink(enum log_level level, const char *line, size_t length)
{
    assert_int_equal(strlen(line), length);
    memcpy(last, line, length + 1);
    last_length = length;
    last_level = level;
    lines++;
}

static void test_log(void **state)
{
    char big[1000];

    log_set_sink(NULL);
    log_error("nobody listens");
    log_set_sink(sink);
    assert_int_equal(log_get_level(), LOG_INFO);
    log_info("a %d", 1);
    assert_string_equal(last, "a 1");
    assert_int_equal(last_level, LOG_INFO);
    log_debug("below the threshold");
    assert_int_equal(lines, 1);
    log_set_level(LOG_ERROR);
    log_warn("no");
    log_error("yes");
    assert_int_equal(lines, 2);
    assert_int_equal(last_level, LOG_ERROR);
    log_set_level(LOG_DEBUG);
    log_debug("d");
    assert_int_equal(lines, 3);

    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    log_info("%s", big);
    assert_int_equal(last_length, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_text), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_odd),     cmocka_unit_test(test_log),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
