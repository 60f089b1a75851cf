/* links: guest/console/kept.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/console/kept.h"

static struct kept k;
static char out[2 * KEPT_SIZE];

static int setup(void **state)
{
    memset(&k, 0, sizeof(k));
    memset(out, 0, sizeof(out));
    return 0;
}

static void say(const char *text, bool seen)
{
    for (; *text; text++)
        kept_add(&k, *text, seen);
}

static const char *take(size_t size)
{
    size_t length = kept_take(&k, out, size);

    out[length] = '\0';
    return out;
}

static void test_what_nobody_has_seen(void **state)
{
    assert_string_equal(take(10), "");
    say("abc", false);
    assert_int_equal(kept_unseen(&k), 3);
    assert_string_equal(take(2), "ab");
    assert_string_equal(take(2), "c");
    assert_string_equal(take(2), "");
    say("unseen", false);
    say("!", true);
    assert_int_equal(kept_unseen(&k), 0);
}

static void test_the_oldest_is_forgotten(void **state)
{
    for (unsigned i = 0; i < 3 * KEPT_SIZE + 5; i++)
        kept_add(&k, (char)('a' + i % 26), false);
    assert_int_equal(kept_unseen(&k), KEPT_SIZE);
    assert_int_equal(strlen(take(sizeof(out) - 1)), KEPT_SIZE);
    assert_int_equal(out[0], 'a' + (2 * KEPT_SIZE + 5) % 26);
    assert_int_equal(out[KEPT_SIZE - 1], 'a' + (3 * KEPT_SIZE + 4) % 26);
}

static void test_whole_lines_are_shown_again(void **state)
{
    say("one\ntwo\n$ ", true);
    k.sent = kept_oldest_line(&k);
    assert_string_equal(take(100), "one\ntwo\n$ ");
    while (k.head < KEPT_SIZE)
        say("12345678901234\n", true);
    k.sent = kept_oldest_line(&k);
    take(sizeof(out) - 1);
    assert_memory_equal(out, "$ 1234", 6); /* of "two\n" only the end was left */
    for (unsigned i = 0; i < KEPT_SIZE; i++)
        kept_add(&k, '.', true); /* no line at all */
    assert_true(kept_oldest_line(&k) == k.head);
}

static void test_a_line_that_was_cut_off(void **state)
{
    assert_int_equal(kept_cut_line(&k), 0);
    say("one\n/root # ", true);
    say("and on", false);
    k.sent = kept_cut_line(&k);
    assert_string_equal(take(100), "/root # and on");
    say("\n", true);
    assert_true(kept_cut_line(&k) == k.head);
    for (unsigned i = 0; i < 1000; i++)
        kept_add(&k, '.', true);
    assert_true(kept_cut_line(&k) == k.head - KEPT_LINE);
    for (unsigned i = 0; i < 2 * KEPT_SIZE; i++)
        kept_add(&k, '.', false); /* what was seen is gone */
    assert_true(kept_cut_line(&k) == k.sent);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_what_nobody_has_seen), TEST(test_the_oldest_is_forgotten),
        TEST(test_whole_lines_are_shown_again), TEST(test_a_line_that_was_cut_off)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
