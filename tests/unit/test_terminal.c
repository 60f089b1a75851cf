/* links: guest/console/terminal.c guest/console/terminal_functions.c guest/console/terminal_set.c arch/x86/lib/format.c */
/*
 * What of a guest's bytes reaches the terminal. A small terminal of the test's own reads what comes
 * out: it knows which sequences are harmless, and what they leave behind.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/console/terminal.h"
#include "tests/unit/terminal_model.h"

static size_t feed(struct terminal *t, const void *in, size_t length, bool live, char *out)
{
    const uint8_t *bytes = in;
    size_t used = 0;

    for (size_t i = 0; i < length; i++)
        used += terminal_byte(t, bytes[i], live, out + used);
    return used;
}

/* Bytes in, bytes out, and behind it the terminal is between two characters. */
static void expect_bytes(const char *in, size_t length, const char *out)
{
    struct terminal t = {0};
    char got[4096];
    size_t used = feed(&t, in, length, true, got);

    got[used] = '\0';
    assert_string_equal(got, out);
    used = feed(&t, "z", 1, true, got);
    assert_int_equal(used, 1);
    assert_int_equal(got[0], 'z');
}

static void expect(const char *in, const char *out)
{
    expect_bytes(in, strlen(in), out);
}

static void passes(const char *in)
{
    expect(in, in);
}

/* --- what passes --- */

static void test_text(void **state)
{
    passes("plain\r\n\ttext\a\b");
    passes("gr\xc3\xbc\xc3\x9f, \xe2\x82\xac, \xf0\x9f\x98\x80, \xef\xbf\xbd");
    passes("corbel:/root# corbel>> corbels: xcorbel;corbel login: ");
    passes("\xc2\xa0");
}

static void test_what_a_full_screen_needs(void **state)
{
    passes("\x1b[1;31mred\x1b[0m \x1b[2J\x1b[H\x1b[K\x1b[1K\x1b[m");
    passes("\x1b[38;5;196m\x1b[48;2;1;2;3m\x1b[38;5;7;1m\x1b[97;107m");
    passes("\x1b[5A\x1b[B\x1b[3C\x1b[4D\x1b[E\x1b[F\x1b[7G\x1b[3;4H\x1b[3;4f\x1b[2d\x1b[2e");
    passes("\x1b[2@\x1b[2P\x1b[2X\x1b[L\x1b[M\x1b[S\x1b[T\x1b[I\x1b[Z\x1b[3b\x1b[s\x1b[u");
    passes("\x1b\x37\x1b\x38\x1b\x44\x1bM\x1b[4h\x1b[4l\x1b[2;20r\x1b[r");
    passes("\x1b[?1h\x1b=\x1b[?25l\x1b[?7l\x1b[?6h\x1b[?1049h\x1b[?2004h");
    passes("\x1b(0qqq\x1b(B\x1b)0\x0eq\x0f");
    expect("\x1b"
           "E",
           "\r\n");
    expect("\x1b[?1;1000;25h", "\x1b[?1;25h");
}

/* --- what does not --- */

static void test_questions(void **state)
{
    expect("a\x05z\x1b[cb\x1b[0cc\x1b[>cd\x1b[=ce\x1bZf\x1b[5ng\x1b[?6nh\x1b[xi\x1b[1xj",
           "azbcdefghij");
    expect("\x1b[?1$p\x1b[4$p\x1b[18t\x1b[21t\x1b[14t\x1b[>0q\x1b[?u\x1b[?996n\x1b[0;6n", "");
    expect("\x1b]11;?\x1b\\a\x1bP+q544e\x1b\\b\x1bP$qm\x1b\\c\x1b]52;c;?\a", "abc");
    /* The cursor's place: one question at a time, and only of who is answered. */
    expect("\x1b[6n\x1b[6n", "\x1b[6n");
    struct terminal t = {0};
    char out[256];
    assert_int_equal(feed(&t, "\x1b[6n", 4, false, out), 0);
    assert_int_equal(feed(&t, "\x1b[6n", 4, true, out), 4);
    assert_int_equal(feed(&t, "\x1b[6n", 4, true, out), 0);
    terminal_typed(&t);
    assert_int_equal(feed(&t, "\x1b[6n", 4, true, out), 4);
}

static void test_what_is_harmful(void **state)
{
    expect(
        "\x1b]0;title\aa\x1b]2;t\x1b\\b\x1b]52;c;aGk=\ac\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
        "abclink");
    expect("\x1bPq#0\x1b\\a\x1b_G\x1b\\b\x1b^m\x1b\\c\x1bXs\x1b\\d\x1bkname\x1b\\e", "abcde");
    expect("\x1b[5i\x1b[4i\x1b[?5i\x1b[8;50;132t\x1b[3J\x1b[?3h\x1b[2h\x1b[12h\x1b[20h\x1b[0q", "");
    expect("\x1b[?1000h\x1b[?1006h\x1b[?1004h\x1b[?5h\x1b[>4;2m\x1b[>1u\x1b[=5u\x1b[?69h\x1b[1;2s",
           "");
    expect("\x1bH\x1b[3g\x1b#8\x1b%@\x1b F\x1b(A\x1b*0\x1bn\x1bo\x1bN\x1bO\x1b|\x1b}\x1b~\x1b\\",
           "");
    expect("\x1b[8mhidden\x1b[0;8;1m\x1b[11m\x1b[4:3m\x1b[58;5;1m", "hidden\x1b[0;1m");
    expect("\x11\x13\x18\x1a\x0b\x0c\x7f\x1c\x1d\x1e\x1f\x10\x14", "");
    expect("a\x1b[38;5mb\x1b[38;1;2;3mc\x1b[38;2;1;2md\x1b[48;5;256me", "abcde");
    expect("\x1b[1;2;3;4;5T", "");
}

static void test_c1(void **state)
{
    /* As UTF-8 they are controls, as bytes they are no character. */
    expect("a\xc2\x9b"
           "1mb\xc2\x9d"
           "0;t\ac\xc2\x90q\x1b\\d\xc2\x9b"
           "ce\xc2\x8d",
           "a\x1b[1mbcde\x1bM");
    expect("\x9b"
           "6n\x9dt\x90\x80\xff\xc0\xc1\xf5",
           "?6n?t??????");
    expect("\xc3(\xe2\x82(\xe2(\xf0\x9f\x98(\xed\xa0\x80\xe0\x80\x80\xf4\x90\xc3\xc3\xa4",
           "?(?(?(?(???????"
           "??\xc3\xa4");
    /* Characters that turn the line around. */
    expect("a\xe2\x80\xae"
           "b\xe2\x81\xa6"
           "c\xd8\x9c"
           "d",
           "abcd");
}

static void test_what_is_broken_off(void **state)
{
    expect("a\x1b\x1b[1mb\x1b[1\x1b[4mc\x1b[3\rd\x1b[12\x18"
           "e\x1b[1\xc3\xa4"
           "f",
           "a\x1b[1mb\x1b[4mc\rde\xc3\xa4"
           "f");
    expect("\x1b]never ended\nnext", "\nnext");
    expect("\x1b]a\x1b[1mb\x1bP\x18"
           "c\x1b]d\x1b\x1b\\e",
           "\x1b[1mbce");
    expect("\x1b[1;2;3;4;5;6;7;8;9;0;1;2;3;4;5;6;7m.", ".");
    expect("\x1b[1:2m\x1b[1?h\x1b[1 1m\x1b[1  q\x1b((0.", ".");
    expect("\x1b[99999999999999999999C", "\x1b[9999C");
}

static void test_what_never_ends(void **state)
{
    static const struct {
        const char *begin, *on;
        size_t most;
    } endless[] = {
        {"\x1b[", "1", TERMINAL_LONG},   {"\x1b[", ";", TERMINAL_LONG},
        {"\x1b[", " ", TERMINAL_LONG},   {"\x1b(", "(", TERMINAL_LONG},
        {"\x1b]", "x", TERMINAL_STRING}, {"\x1bP", "\xc3\xa4", TERMINAL_STRING},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(endless); i++) {
        struct terminal t = {0};
        char out[8 * TERMINAL_OUT];
        size_t fed = 0, used = feed(&t, endless[i].begin, strlen(endless[i].begin), true, out);

        for (; !used && fed < 2 * endless[i].most; fed += strlen(endless[i].on))
            used = feed(&t, endless[i].on, strlen(endless[i].on), true, out);
        assert_int_not_equal(used, 0);
        assert_true(fed <= endless[i].most + 2);
    }
}

/* --- Corbel's words --- */

static void test_marks(void **state)
{
    expect("corbel: error: no\r\n", "corbel:(guest) error: no\r\n");
    expect("x corbel: Corbel> ", "x corbel:(guest) Corbel>(guest) ");
    expect("CORBEL: ", "CORBEL:(guest) ");
    expect("c\x1b[1mor\x1b[0mbel\x1b[31m: x", "c\x1b[1mor\x1b[0mbel\x1b[31m:(guest) x");
    expect("corbel:\tx", "corbel:(guest)\tx");
    expect("corbel:\x1b[Cx", "corbel:(guest)\x1b[Cx");
    expect("corbel:\r\n", "corbel:(guest)\r\n");
    expect("corbel:\xc2\xa0x", "corbel:(guest)\xc2\xa0x");
    expect("cor\xe2\x80\x8b"
           "bel\xc2\xad:\xef\xbb\xbf x",
           "cor\xe2\x80\x8b"
           "bel\xc2\xad:\xef\xbb\xbf(guest) x");
    /* Whatever stands there and is not seen. */
    expect("c\xef\xb8\x8fo\xcd\x8fr\xf3\xa0\x81\x81"
           "b\xe1\xa0\x8e"
           "e\xe2\x81\xaa"
           "l\xef\xbf\xba: x",
           "c\xef\xb8\x8fo\xcd\x8fr\xf3\xa0\x81\x81"
           "b\xe1\xa0\x8e"
           "e\xe2\x81\xaa"
           "l\xef\xbf\xba:(guest) x");
    expect("corbel:\xe3\x85\xa4x", "corbel:(guest)\xe3\x85\xa4x"); /* a blank of another kind */
    expect("c\x1b[?25lo\x1b[Kr\x1b\x37"
           "b\x1b[Je\x1b[?1hl\x1b[s: \x1b[4h",
           "c\x1b[?25lo\x1b[Kr\x1b\x37"
           "b\x1b[Je\x1b[?1hl\x1b[s:(guest) \x1b[4h");
    expect("corbel\x1b[X: \x1b[2X", "corbel\x1b[X:(guest) \x1b[2X");
    expect("corbel:\x1b\x37 x", "corbel:(guest)\x1b\x37 x");
    expect("ccorbel: corcorbel: ", "ccorbel:(guest) corcorbel:(guest) ");
    expect("cor\rbel: ", "cor\rbel:(guest) ");
    expect("cor\nbel: ", "cor\nbel: ");
    expect_bytes("cor\0bel: ", 9, "corbel:(guest) ");
    expect("corbel:\xff", "corbel:(guest)?");
    expect("corbel:\x1b[?1049h", "corbel:(guest)\x1b[?1049h");
}

/* In a recording no line of a guest's begins as Corbel's do, nor does its prompt stand anywhere. */
static void check_lines(const char *text, size_t length)
{
    for (size_t i = 0; i + 8 <= length; i++) {
        assert_memory_not_equal(text + i, "corbel: ", 8);
        assert_memory_not_equal(text + i, "corbel> ", 8);
    }
}

/* --- between guests --- */

static void test_a_line_between(void **state)
{
    struct terminal t = {0};
    char out[TERMINAL_OUT * 4];

    feed(&t, "x\r\n", 3, true, out);
    assert_int_equal(terminal_between(&t, out), 0);
    feed(&t, "x\n", 2, true, out); /* not in the first column */
    assert_int_equal(terminal_between(&t, out), 2);
    assert_memory_equal(out, "\r\n", 2);
    assert_int_equal(terminal_between(&t, out), 0);
    feed(&t, "\x1b[4h\r\n", 6, true, out);
    out[terminal_between(&t, out)] = '\0';
    assert_string_equal(out, "\x1b[4l\r\n");
    assert_int_equal(terminal_between(&t, out), 0);
    out[feed(&t, "x", 1, true, out)] = '\0';
    assert_string_equal(out, "\x1b[4hx");
}

static void test_full_screens(void **state)
{
    static const char *const full[] = {"\x1b[?1049h", "\x1b[?47h",  "\x1b[?1047h",
                                       "\x1b[2;23r",  "\x1b[1;10r", "\x1b[?6h"};
    char out[TERMINAL_OUT];

    for (unsigned i = 0; i < ARRAY_SIZE(full); i++) {
        struct terminal t = {0};

        assert_false(terminal_is_full(&t));
        feed(&t, full[i], strlen(full[i]), true, out);
        assert_true(terminal_is_full(&t));
        (void)terminal_leave(&t, out);
        assert_false(terminal_is_full(&t));
    }
    struct terminal t = {0};
    feed(&t, "\x1b[1;24r", 7, true, out);
    assert_false(terminal_is_full(&t));
    out[terminal_leave(&t, out)] = '\0';
    assert_string_equal(out, "\x1b[r\x1b[999;1H\r\n");
    feed(&t, "\x1b[?1049h\x1b[!p", 12, true, out);
    assert_false(terminal_is_full(&t));
}

/* Each mode by itself is taken back, and set again. */
static void test_modes(void **state)
{
    static const char *const modes[] = {
        "\x1b[4h",     "\x1b[?1h",    "\x1b[?7l",    "\x1b[?25l", "\x1b[?47h",
        "\x1b[?1047h", "\x1b[?1049h", "\x1b[?2004h", "\x1b=",
    };

    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        struct terminal t = {0}, left;
        struct model m = {0};
        char out[TERMINAL_OUT];

        model_reads(&m, out, feed(&t, modes[i], strlen(modes[i]), true, out));
        left = t;
        model_reads(&m, out, terminal_leave(&t, out));
        model_is_fit(&m, true);
        out[terminal_return(&left, out)] = '\0';
        assert_string_equal(out, modes[i]);
    }
}

static void test_a_reset(void **state)
{
    expect("\x1b[1m\x1b[?1049h\x1b"
           "c",
           "\x1b[1m\x1b[?1049h\x1b[?1049l\x1b[?6l\x1b[0m\x1b(B\x1b)B\x0f\x1b[H\x1b[2J");
}

static void test_a_return(void **state)
{
    static const char begun[] = "\x1b[1;38;5;9;48;2;1;2;3m\x1b[?1h\x1b[?25l\x1b)0\x0e\x1b[2";
    struct terminal t = {0}, left;
    char out[4 * TERMINAL_OUT];

    feed(&t, begun, strlen(begun), true, out);
    left = t;
    (void)terminal_leave(&t, out);
    out[terminal_return(&left, out)] = '\0';
    assert_string_equal(out, "\x1b[0;1;38;5;9;48;2;1;2;3m\x1b(B\x1b)0\x0e\x1b[?1h\x1b[?25l");
    assert_int_equal(feed(&left, "J", 1, true, out), 1); /* the sequence comes again as a whole */
}

/* --- whatever comes --- */

static const char *const pieces[] = {
    "\x1b[", "\x1b]",        "\x1bP",    "\x1b\\", "\x1b",  "\xc2\x9b",   "\x9b",   ";",    "?",
    "1",     "6n",           "c",        "m",      "h",     "l",          "r",      "1049", "?25",
    "\a",    "\r",           "\n",       "\r\n",   "38;5;", "48;2;1;2;3", "corbel", ":",    ">",
    " ",     "corbel: ",     "corbel> ", "H",      "J",     "(0",         "(B",     "\x0e", "\x0f",
    "!p",    "\xe2\x80\x8b", "\xf0\x9f", "7",      "8",     "u",          "s",
};

/* One at a time: the output never exceeds its bound, holds nothing harmful, and after leaving
 * nothing is left. */
static void run(const uint8_t *in, size_t length, unsigned seed)
{
    static char all[1 << 20];
    struct terminal t = {0};
    struct model m = {0};
    size_t used = 0, from = 0;
    char out[TERMINAL_OUT];

    for (size_t i = 0; i < length; i++) {
        bool plain = terminal_is_plain(&t, in[i]);
        size_t n = terminal_byte(&t, in[i], true, out);

        assert_true(n <= TERMINAL_OUT);
        if (plain) {
            assert_int_equal(n, 1);
            assert_int_equal((uint8_t)out[0], in[i]);
        }
        if (rand_r(&seed) % 512 == 0)
            terminal_typed(&t);
        assert_true(used + n < sizeof(all));
        memcpy(all + used, out, n);
        used += n;
        model_reads(&m, out, n);
        if (rand_r(&seed) % 1024 == 0) {
            bool leaves = terminal_is_full(&t) || rand_r(&seed) % 2;
            check_lines(all + from, used - from);
            n = leaves ? terminal_leave(&t, out) : terminal_between(&t, out);
            assert_true(n <= TERMINAL_OUT);
            model_reads(&m, out, n);
            model_is_fit(&m, leaves);
            from = used;
        }
    }
    check_lines(all + from, used - from);
    model_reads(&m, out, terminal_leave(&t, out));
    model_is_fit(&m, true);
    assert_int_equal(m.harmful, 0);
}

static void test_a_million_at_random(void **state)
{
    static uint8_t in[1000];
    unsigned seed = 1;

    for (unsigned n = 0; n < 2000; n++) {
        for (size_t i = 0; i < sizeof(in);) {
            const char *p = pieces[(unsigned)rand_r(&seed) % ARRAY_SIZE(pieces)];
            size_t length = MIN(strlen(p), sizeof(in) - i);

            if (n % 2 && rand_r(&seed) % 2) {
                in[i++] = (uint8_t)rand_r(&seed);
                continue;
            }
            memcpy(in + i, p, length);
            i += length;
        }
        run(in, sizeof(in), seed);
    }
}

/* Every C0 and C1 byte everywhere in every kind of sequence. */
static void test_every_byte_everywhere(void **state)
{
    static const char *const whole[] = {"\x1b[1;31m",   "\x1b[?1049h", "\x1b]0;t\x1b\\",
                                        "\x1bPq\x1b\\", "\x1b(0",      "\xf0\x9f\x98\x80",
                                        "corbel: x",    "\x1b[2;20r",  "\x1b[!p"};

    for (unsigned i = 0; i < ARRAY_SIZE(whole); i++)
        for (size_t at = 0; at <= strlen(whole[i]); at++)
            for (unsigned byte = 0; byte < 256; byte++) {
                uint8_t in[32];
                size_t length = strlen(whole[i]);

                memcpy(in, whole[i], at);
                in[at] = (uint8_t)byte;
                memcpy(in + at + 1, whole[i] + at, length - at);
                run(in, length + 1, byte);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_what_a_full_screen_needs),
        cmocka_unit_test(test_questions),
        cmocka_unit_test(test_what_is_harmful),
        cmocka_unit_test(test_c1),
        cmocka_unit_test(test_what_is_broken_off),
        cmocka_unit_test(test_what_never_ends),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_a_line_between),
        cmocka_unit_test(test_full_screens),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_a_reset),
        cmocka_unit_test(test_a_return),
        cmocka_unit_test(test_a_million_at_random),
        cmocka_unit_test(test_every_byte_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
