/* links: guest/monitor/command.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "guest/monitor/command.h"

static const struct command table[] = {
    {"help", "[COMMAND]", 0, 1, RIGHT_LOOK, {ARGUMENT_COMMAND}, "", "", NULL},
    {"list", "", 0, 0, RIGHT_LOOK_BARE, {ARGUMENT_NONE}, "", "", NULL},
    {"look", "VM [SIZE]", 1, 2, RIGHT_LOOK_BARE, {ARGUMENT_VM}, "", "", NULL},
    {"set", "VM KEY=VALUE ...", 2, 7, RIGHT_ALL, {ARGUMENT_VM, ARGUMENT_SETTING}, "", "", NULL},
    {"say", "VM TEXT", 2, 2, RIGHT_ALL, {ARGUMENT_VM, ARGUMENT_TEXT}, "", "", NULL},
};
#define COUNT ARRAY_SIZE(table)

static struct words words;
static char error[COMMAND_ERROR];

static const char *parse(const char *line)
{
    const struct command *c = command_parse(table, COUNT, line, strlen(line), &words, error);

    return c ? c->name : NULL;
}

static void test_commands_are_found(void **state)
{
    assert_string_equal(parse("list"), "list");
    assert_string_equal(parse("  help   list  "), "help");
    assert_int_equal(words.count, 2);
    assert_true(word_is(words.word[1], "list"));
    assert_false(word_is(words.word[1], "lis"));
    assert_false(word_is(words.word[1], "list "));
    assert_string_equal(parse("set a weight=1"), "set");
    assert_string_equal(parse("set a b c d e f g"), "set");
    assert_int_equal(words.count, 8);
}

static void test_the_rest_of_a_line_is_one_word(void **state)
{
    assert_string_equal(parse("say  a  1 2  3 4 5 6 7 8 9 "), "say");
    assert_int_equal(words.count, 3);
    assert_true(word_is(words.word[1], "a"));
    assert_true(word_is(words.word[2], "1 2  3 4 5 6 7 8 9 "));
    assert_string_equal(parse("say a b"), "say");
    assert_true(word_is(words.word[2], "b"));
    assert_null(parse("say a"));
    assert_string_equal(error, "usage: say VM TEXT");
}

static void test_an_empty_line_is_no_error(void **state)
{
    assert_null(parse(""));
    assert_string_equal(error, "");
    assert_null(parse("     "));
    assert_string_equal(error, "");
}

static void test_what_cannot_be_obeyed(void **state)
{
    assert_null(parse("lis"));
    assert_string_equal(error, "there is no command 'lis': help lists them");
    assert_null(parse("listt"));
    assert_null(parse("list all"));
    assert_string_equal(error, "usage: list");
    assert_null(parse("set a"));
    assert_string_equal(error, "usage: set VM KEY=VALUE ...");
    assert_null(parse("set a b c d e f g h"));
    assert_string_equal(error, "usage: set VM KEY=VALUE ...");
    assert_null(
        parse("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn 1"));
    assert_string_equal(
        error, "there is no command 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn': help lists them");
}

static bool permitted(const char *line, bool all)
{
    const struct command *c = command_parse(table, COUNT, line, strlen(line), &words, error);

    return command_is_permitted(c, &words, all);
}

static void test_rights(void **state)
{
    assert_true(permitted("help", false));
    assert_true(permitted("help list", false));
    assert_true(permitted("look a", false));
    assert_false(permitted("look a 1", false));
    assert_true(permitted("look a 1", true));
    assert_false(permitted("set a b", false));
    assert_true(permitted("set a b", true));
}

static enum argument expects(const char *before)
{
    return command_expects(table, COUNT, before, strlen(before));
}

static void test_what_may_come_next(void **state)
{
    assert_int_equal(expects(""), ARGUMENT_COMMAND);
    assert_int_equal(expects("  "), ARGUMENT_COMMAND);
    assert_int_equal(expects("help "), ARGUMENT_COMMAND);
    assert_int_equal(expects("help help "), ARGUMENT_NONE);
    assert_int_equal(expects("set "), ARGUMENT_VM);
    assert_int_equal(expects("set a "), ARGUMENT_SETTING);
    assert_int_equal(expects("nothing "), ARGUMENT_NONE);
    assert_int_equal(expects("set 2 3 4 5 6 7 "), ARGUMENT_NONE);
    assert_int_equal(expects("set 2 3 4 5 6 7 8 "), ARGUMENT_NONE);
    assert_int_equal(expects("set 2 3 4 5 6 7 8 9 "), ARGUMENT_NONE);
}

static int number(const char *text, uint64_t max, uint64_t *value)
{
    return word_number((struct word){text, strlen(text)}, max, value);
}

static void test_numbers(void **state)
{
    uint64_t n = 7;

    assert_int_equal(number("", 9, &n), -EINVAL);
    assert_int_equal(number("x", 9, &n), -EINVAL);
    assert_int_equal(number("-1", 9, &n), -EINVAL);
    assert_int_equal(number("1x", 9, &n), -EINVAL);
    assert_int_equal(number("10", 9, &n), -ERANGE);
    assert_int_equal(number("3", 2, &n), -ERANGE);
    assert_int_equal(number("18446744073709551616", UINT64_MAX, &n), -ERANGE);
    assert_int_equal(n, 7);
    assert_int_equal(number("0", 0, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(number("0010", 10, &n), 0);
    assert_int_equal(n, 10);
    assert_int_equal(number("18446744073709551615", UINT64_MAX, &n), 0);
    assert_true(n == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands_are_found),
        cmocka_unit_test(test_the_rest_of_a_line_is_one_word),
        cmocka_unit_test(test_an_empty_line_is_no_error),
        cmocka_unit_test(test_what_cannot_be_obeyed),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_what_may_come_next),
        cmocka_unit_test(test_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
