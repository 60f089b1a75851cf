/* links: guest/devices/debug_console.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c arch/x86/lib/format.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The debug console's ports: how they are recognised, and what becomes of what a guest writes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/mock_board.h"

extern const struct device_class debug_console_class;

static struct board board;
static struct device_list list;
static char said[64][200];
static unsigned count;

static void note(void *context, const char *line)
{
    assert_ptr_equal(context, said);
    assert_true(strlen(line) < sizeof(said[0]) && count < ARRAY_SIZE(said));
    strcpy(said[count++], line);
}

static int setup(void **state)
{
    count = 0;
    mock_init(&board);
    board.host.log = note;
    board.host.context = said;
    assert_int_equal(device_list_add(&list, &debug_console_class, &board.setup), 0);
    bus_reset(&board.bus);
    board.now = 1000 * board.hz;
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    device_list_destroy(&list);
    return 0;
}

static void say(const char *text)
{
    for (unsigned i = 0; text[i]; i++)
        mock_out(&board, i & 1 ? 0xe9 : 0x402, (uint8_t)text[i]);
}

static void is_recognised(void **state)
{
    assert_int_equal(mock_in(&board, 0x402), 0xe9);
    assert_int_equal(mock_in(&board, 0xe9), 0xe9);
    assert_int_equal(mock_in(&board, 0x403), 0xff);
    assert_int_equal(mock_in(&board, 0xea), 0xff);
}

static void line_by_line(void **state)
{
    say("SecCoreStartup");
    assert_int_equal(count, 0);
    say("\r\nsecond\n\n\nthird\n");
    assert_int_equal(count, 3);
    assert_string_equal(said[0], "SecCoreStartup");
    assert_string_equal(said[1], "second");
    assert_string_equal(said[2], "third");
}

static void controls_are_harmless(void **state)
{
    say("\x1b[2J\ta\x7f\x80\xff\x01\n");
    assert_string_equal(said[0], "?[2J a????");
}

static void a_long_line_is_broken(void **state)
{
    for (unsigned i = 0; i < 300; i++)
        say("x");
    assert_int_equal(count, 2);
    assert_int_equal(strlen(said[0]), 120);
    say("\n");
    assert_int_equal(count, 3);
    assert_int_equal(strlen(said[2]), 60);
}

static void wide_writes_are_bytes(void **state)
{
    bus_port_write(&board.bus, 0xe9, 2, '\n' << 8 | 'a'); /* EAh is nobody's */
    bus_port_write(&board.bus, 0x402, 4, '\n');
    assert_int_equal(count, 1);
    assert_string_equal(said[0], "a");
}

static void a_flood_is_counted(void **state)
{
    for (unsigned i = 0; i < 60; i++)
        say("again\n");
    assert_int_equal(count, 50);
    mock_ticks(&board, board.hz);
    assert_int_equal(count, 51);
    assert_string_equal(said[50], "(10 lines are left out here)");
    say("later\n");
    assert_string_equal(said[51], "later");
    mock_ticks(&board, 2 * board.hz);
    assert_int_equal(count, 52);
}

/* A VM that is busy has its timers run late: the next line tells what was left out before it. */
static void what_was_left_out_comes_first(void **state)
{
    for (unsigned i = 0; i < 51; i++)
        say("again\n");
    board.now += board.hz;
    say("later\n");
    assert_string_equal(said[50], "(1 lines are left out here)");
    assert_string_equal(said[51], "later");
    mock_ticks(&board, board.hz);
    assert_int_equal(count, 52);
}

static void survives_a_reload(void **state)
{
    say("half a ");
    assert_true(mock_round_trip(&board));
    say("line\n");
    assert_string_equal(said[0], "half a line");
    say("dropped by reset");
    bus_reset(&board.bus);
    say("new\n");
    assert_string_equal(said[1], "new");
}

static void hostile_state(void **state)
{
    static uint8_t data[256];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};
    struct device *d;
    uint8_t *line;

    say("abc");
    bus_save(&board.bus, &w);
    r.size = w.used;
    for (line = data; memcmp(line, "abc", 3) != 0; line++)
        assert_true(line < data + w.used - 3);
    line[1] = 0x1b;
    assert_int_equal(bus_load(&board.bus, &r), 0);
    say("\n");
    assert_string_equal(said[0], "a?c");

    /* A line that is longer than one can be, in a section that has all of it. */
    w = (struct state_writer){.data = data, .capacity = sizeof(data)};
    state_begin(&w, "x", 1);
    state_put_u8(&w, 120);
    for (unsigned i = 0; i < 120 + 8 + 4 + 4; i++)
        state_put_u8(&w, 'x');
    state_end(&w);
    r = (struct state_reader){.data = data, .size = w.used};
    assert_int_equal(state_enter(&r, "x", 1), 0);
    d = device_list_find(&list, &debug_console_class, 0);
    assert_int_equal(d->ops->load(d, &r), -EBADMSG);
    bus_reset(&board.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_recognised, setup, teardown),
        cmocka_unit_test_setup_teardown(line_by_line, setup, teardown),
        cmocka_unit_test_setup_teardown(controls_are_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_line_is_broken, setup, teardown),
        cmocka_unit_test_setup_teardown(wide_writes_are_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_left_out_comes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_a_reload, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
