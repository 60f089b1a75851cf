/* links: guest/console/replay.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/console/replay.h"

/* However the text is cut, what passes is the same. */
static void expect(const char *in, const char *expected)
{
    size_t length = strlen(in);

    for (size_t piece = 1; piece <= length; piece++) {
        struct replay r = {0};
        char out[256] = "";
        size_t used = 0;

        for (size_t i = 0; i < length; i += piece)
            used += replay_filter(&r, in + i, MIN(piece, length - i), out + used);
        out[used] = '\0';
        assert_string_equal(out, expected);
    }
}

static void test_text_passes(void **state)
{
    expect("plain\r\n\ttext\x07\b", "plain\r\n\ttext\x07\b");
    expect("\x1b[1;31mred\x1b[0m \x1b[2J\x1b[H", "\x1b[1;31mred\x1b[0m \x1b[2J\x1b[H");
    expect("\x1b(B\x1b=\x1b"
           "7",
           "\x1b(B\x1b=\x1b"
           "7");
}

static void test_requests_do_not(void **state)
{
    expect("/ # \x1b[6n", "/ # ");
    expect("a\x1b[cb\x1b[>0cc\x1b[5nd\x1bZe\x05", "abcde");
    expect("\x1b]0;title\x07"
           "a\x1b]11;?\x1b\\b\x1bP+q544e\x1b\\c",
           "abc");
    expect("\x1b\x1b[6na\x1b[1\x1b[6nb", "\x1b"
                                         "a\x1b[1b"); /* ESC ends what was begun */
    expect("\x1b]never ended\nnext", "next");
}

static void test_what_is_too_long_passes(void **state)
{
    expect("\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16n",
           "\x1b[1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16n");
    expect("\x1b[\x01n", "\x1b[\x01n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_passes),
        cmocka_unit_test(test_requests_do_not),
        cmocka_unit_test(test_what_is_too_long_passes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
