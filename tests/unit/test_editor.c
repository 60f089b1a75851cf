/* links: guest/monitor/editor.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "guest/monitor/editor.h"

/* A terminal of one line: what stands in it, and where the cursor is. */
static char screen[512];
static unsigned column, bells, sent;
static char above[8192]; /* lines that were finished */

static void finish_line(void)
{
    size_t end = strlen(screen);

    while (end && screen[end - 1] == ' ')
        end--;
    screen[end] = '\0';
    strncat(above, screen, sizeof(above) - strlen(above) - 1);
    strncat(above, "\n", sizeof(above) - strlen(above) - 1);
    memset(screen, 0, sizeof(screen));
}

static void terminal(void *ctx, const char *text, size_t length)
{
    static char sequence[8];
    static size_t in_sequence;

    sent += length;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_sequence || c == 0x1b) {
            assert_true(in_sequence < sizeof(sequence) - 1);
            sequence[in_sequence++] = c;
            sequence[in_sequence] = '\0';
            if (c != 0x1b && c != '[' && (c < '0' || c > '9')) {
                if (strcmp(sequence, "\x1b[K") == 0)
                    memset(screen + column, 0, sizeof(screen) - column);
                else if (strcmp(sequence, "\x1b[2J") == 0)
                    memset(screen, 0, sizeof(screen));
                else
                    assert_string_equal(sequence, "\x1b[H");
                in_sequence = 0;
            }
        } else if (c == '\r') {
            column = 0;
        } else if (c == '\n') {
            finish_line();
        } else if (c == '\b') {
            assert_true(column > 0);
            column--;
        } else if (c == '\a') {
            bells++;
        } else {
            assert_uint_in_range((unsigned char)c, ' ', '~');
            screen[column++] = c;
            assert_true(column < EDITOR_COLUMNS);
        }
    }
}

static const char *const *choices;

static const char *choice(void *ctx, const char *before, size_t length, unsigned n)
{
    return choices ? choices[n] : NULL;
}

static struct editor e;

static int setup(void **state)
{
    memset(screen, 0, sizeof(screen));
    above[0] = '\0';
    column = bells = sent = 0;
    choices = NULL;
    editor_init(&e, "> ", terminal, choice, NULL);
    editor_begin(&e);
    return 0;
}

static enum editor_event type_bytes(const char *text, size_t length)
{
    enum editor_event event = EDITOR_NOTHING;

    for (size_t i = 0; i < length; i++)
        event = editor_input(&e, (uint8_t)text[i]);
    return event;
}

static enum editor_event type(const char *text)
{
    return type_bytes(text, strlen(text));
}

/* What is held, and what the terminal shows of it, with the cursor at that place in the line. */
static void expect(const char *line, unsigned cursor)
{
    char shown[512];

    assert_string_equal(e.line, line);
    assert_int_equal(e.length, strlen(line));
    assert_int_equal(e.cursor, cursor);
    strcpy(shown, "> ");
    strcat(shown, line);
    assert_string_equal(screen, shown);
    assert_int_equal(column, 2 + cursor);
}

static void test_typing(void **state)
{
    type("list");
    expect("list", 4);
    assert_int_equal(type("\r"), EDITOR_ENTER);
    assert_string_equal(e.line, "list");
    assert_string_equal(above, "> list\n");
    editor_begin(&e);
    assert_int_equal(type("\n"), EDITOR_NOTHING); /* of CR LF */
    assert_int_equal(type("\n"), EDITOR_ENTER);
    assert_int_equal(bells, 0);
}

static void test_editing(void **state)
{
    type("hlp me");
    type("\x01\x06");
    type("e");
    expect("help me", 2);
    type("\x05\x7f\x08");
    expect("help ", 5);
    type("\x02\x02\x02\x0b");
    expect("he", 2);
    type("\x15");
    expect("", 0);
    type("one two  three\x17");
    expect("one two  ", 9);
    type("\x17");
    expect("one ", 4);
    type("\x15"
         "abc\x01\x04");
    expect("bc", 0);
    type("\x1b[C\x1b[3~");
    expect("b", 1);
    assert_int_equal(bells, 0);
    type("\x1b[3~\x0b\x1b[C\x1b[D\x1b[D\x1b[Dz");
    expect("zb", 1);
    assert_int_equal(bells, 1); /* once for all those that do nothing */
}

static void test_cursor_keys(void **state)
{
    type("one two");
    type("\x1b[H");
    expect("one two", 0);
    type("\x1b[F");
    expect("one two", 7);
    type("\x1b[1~");
    expect("one two", 0);
    type("\x1b[4~");
    expect("one two", 7);
    type("\x1bOH");
    expect("one two", 0);
    type("\x1b[1;5C");
    expect("one two", 3);
    type("\x1b"
         "f");
    expect("one two", 7);
    type("\x1b[1;5D");
    expect("one two", 4);
    type("\x1b"
         "b");
    expect("one two", 0);
}

static void test_history(void **state)
{
    type("first\r");
    editor_begin(&e);
    type("second\r");
    editor_begin(&e);
    type("second\r"); /* not kept twice */
    editor_begin(&e);
    type("\r"); /* nor this */
    editor_begin(&e);
    type("dra\x1b[A");
    expect("second", 6);
    type("\x10");
    expect("first", 5);
    type("\x1b[A");
    expect("first", 5);
    assert_int_equal(bells, 1);
    type("\x1b[B\x0e");
    expect("dra", 3);
    type("\x1b[A\x1b[A!\r");
    assert_string_equal(e.line, "first!");
    editor_begin(&e);
    type("\x1b[A");
    expect("first!", 6);
    for (unsigned i = 0; i < 3 * EDITOR_HISTORY; i++) {
        char line[] = {(char)('a' + i % 26), (char)('a' + i / 26), '\r', '\0'};
        type("\x15");
        type(line);
        editor_begin(&e);
    }
    for (unsigned i = 0; i < EDITOR_HISTORY; i++)
        type("\x1b[A");
    bells = 0;
    char oldest[] = {(char)('a' + 2 * EDITOR_HISTORY % 26), (char)('a' + 2 * EDITOR_HISTORY / 26),
                     '\0'};
    expect(oldest, 2);
    type("\x1b[A");
    assert_int_equal(e.back, EDITOR_HISTORY);
}

static void test_completion(void **state)
{
    static const char *const words[] = {"start", "stats", "stop", "memory", "weight=", NULL};

    choices = words;
    type("m\t");
    expect("memory ", 7);
    type("\x15s\t");
    expect("st", 2);
    type("\t");
    assert_string_equal(above, "> st\nstart  stats  stop\n");
    expect("st", 2);
    type("a\t");
    expect("sta", 3);
    above[0] = '\0';
    type("\t");
    type("t\t");
    expect("stats ", 6);
    type("w\t");
    expect("stats weight=", 13);
    type("\x15x\t");
    expect("x", 1);
    assert_int_equal(bells, 1);
    type("\x15\x15weight=\t");
    expect("weight=", 7);
    choices = NULL;
    type("\x15\t");
    expect("", 0);
}

static void test_completion_in_the_middle(void **state)
{
    static const char *const words[] = {"memory", NULL};

    choices = words;
    type("m x\x01\x06\t");
    expect("memory x", 6);
}

static void test_many_choices(void **state)
{
    static const char *words[1025];
    static char names[1024][8];

    for (unsigned i = 0; i < 1024; i++) {
        snprintf(names[i], sizeof(names[i]), "vm%u", i);
        words[i] = names[i];
    }
    choices = words;
    type("v\t");
    expect("vm", 2);
    sent = 0;
    type("\t");
    assert_true(sent < EDITOR_OUTPUT);
    assert_non_null(strstr(above, "\n...\n"));
    expect("vm", 2);
    type("1023\t");
    expect("vm1023 ", 7);
}

static void test_long_lines(void **state)
{
    for (unsigned i = 0; i < 10000; i++)
        type("x");
    assert_int_equal(e.length, EDITOR_LINE);
    assert_int_equal(bells, 1);
    assert_true(sent < 4 * EDITOR_LINE); /* what was too much cost one bell */
    assert_memory_equal(screen, "> xxxxxxxx", 10);
    for (unsigned i = 0; i < EDITOR_LINE; i++) {
        type("\x02");
        assert_int_equal(column, 2 + e.cursor - e.left);
    }
    assert_int_equal(column, 2);
    type("y");
    assert_int_equal(e.length, EDITOR_LINE);
    type("\x04y");
    assert_int_equal(e.line[0], 'y');
    assert_int_equal(type("\r"), EDITOR_ENTER);
    assert_int_equal(strlen(e.line), EDITOR_LINE);
}

static void test_cancel_and_end(void **state)
{
    assert_int_equal(type("\x04"), EDITOR_END);
    assert_int_equal(type("abc\x03"), EDITOR_CANCEL);
    expect("", 0);
    assert_string_equal(above, "> abc^C\n");
    type("a\x0c");
    expect("a", 1);
}

static void test_nothing_that_is_not_printable_gets_in(void **state)
{
    for (unsigned i = 0x80; i < 0x100; i++)
        editor_input(&e, (uint8_t)i);
    type_bytes("\0\x07\x0b\x0f\x11\x12\x13\x14\x16\x18\x19\x1a\x1c\x1e\x1f", 15);
    expect("", 0);
    assert_int_equal(bells, 1);
    type("\x1b[999999999999999999999999x"); /* too long: the rest is text */
    expect("9999999x", 8);
    type("\x15\x1b[999999~\x1b[x\x1bOq\x1bq\x1b[\x01q");
    expect("q", 1);
}

static void test_erase_and_redraw(void **state)
{
    type("one two\x1b[D");
    editor_erase(&e);
    assert_string_equal(screen, "");
    terminal(NULL, "something\r\n", 11);
    editor_redraw(&e);
    expect("one two", 6);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_typing),           TEST(test_editing),
        TEST(test_cursor_keys),      TEST(test_history),
        TEST(test_completion),       TEST(test_completion_in_the_middle),
        TEST(test_many_choices),     TEST(test_long_lines),
        TEST(test_cancel_and_end),   TEST(test_nothing_that_is_not_printable_gets_in),
        TEST(test_erase_and_redraw),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
