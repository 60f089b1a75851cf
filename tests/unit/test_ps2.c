/* links: guest/devices/keyboard.c guest/devices/ps2/input.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/ps2/names.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The 8042 with a keyboard and a mouse, as its drivers see it, and what is typed. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/devices/keyboard.h"
#include "guest/devices/ps2/input.h"
#include "tests/unit/mock_board.h"

#define DATA    0x60
#define COMMAND 0x64
#define OBF     0x01
#define AUX     0x20

static struct board board;
static struct device_list list;
static struct device *input;

static int setup(void **state)
{
    mock_init(&board);
    board.setup.text = "vga";
    board.setup.length = 3;
    assert_int_equal(device_list_add(&list, &keyboard_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &input_class, &board.setup), 0);
    input = device_list_find(&list, &input_class, 0);
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    device_list_destroy(&list);
    return 0;
}

static uint8_t status(void)
{
    return mock_in(&board, COMMAND) & (OBF | AUX);
}

static void command(uint8_t byte)
{
    mock_out(&board, COMMAND, byte);
}

static void command_with(uint8_t byte, uint8_t parameter)
{
    command(byte);
    mock_out(&board, DATA, parameter);
}

/* The next bytes are these, of the keyboard's port or of the mouse's, and no more follow. */
static void expect_bytes(uint8_t from, const char *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(status(), OBF | from);
        assert_int_equal(mock_in(&board, DATA), (uint8_t)bytes[i]);
    }
    assert_int_equal(status(), 0);
}

static void keyboard(uint8_t byte, const char *bytes, unsigned count)
{
    mock_out(&board, DATA, byte);
    expect_bytes(0, bytes, count);
}

static void mouse(uint8_t byte, const char *bytes, unsigned count)
{
    command_with(0xd4, byte);
    expect_bytes(AUX, bytes, count);
}

/* As firmware does it: the controller, then the keyboard. */
static void start(uint8_t config)
{
    command(0xaa);
    expect_bytes(0, "\x55", 1);
    command(0xab);
    expect_bytes(0, "\x00", 1);
    command_with(0x60, config);
    keyboard(0xff, "\xfa\xaa", 2);
    keyboard(0xf5, "\xfa", 1);
    keyboard(0xf0, "\xfa", 1);
    keyboard(0x02, "\xfa", 1);
    keyboard(0xf4, "\xfa", 1);
}

#define TRANSLATED   0x47 /* both interrupts */
#define UNTRANSLATED 0x07

static void the_controller_has_two_ports(void **state)
{
    command(0xaa);
    expect_bytes(0, "\x55", 1);
    command(0xa9);
    expect_bytes(0, "\x00", 1);
    command_with(0xd3, 0x5a); /* as Linux looks for the second one */
    expect_bytes(AUX, "\x5a", 1);
    command_with(0x60, TRANSLATED);
    command(0xa7);
    command(0x20);
    expect_bytes(0, "\x67", 1);
    command(0xa8);
    command(0x20);
    expect_bytes(0, "\x47", 1);
    command_with(0xd2, 0x1c); /* as if a key had been pressed */
    assert_true(board.irq[1] && !board.irq[12]);
    expect_bytes(0, "\x1c", 1);
    command_with(0xd3, 0x1c);
    assert_true(!board.irq[1] && board.irq[12]);
    expect_bytes(AUX, "\x1c", 1);
    assert_true(!board.irq[1] && !board.irq[12]);
}

static void the_keyboard_answers(void **state)
{
    start(UNTRANSLATED);
    keyboard(0xf2, "\xfa\xab\x83", 3);
    keyboard(0xee, "\xee", 1);
    keyboard(0xed, "\xfa", 1);
    keyboard(0x07, "\xfa", 1);
    keyboard(0xf3, "\xfa", 1);
    keyboard(0x00, "\xfa", 1);
    keyboard(0xf0, "\xfa", 1);
    keyboard(0x00, "\xfa\x02", 2);
    keyboard(0xf0, "\xfa", 1);
    keyboard(0x03, "\xfe", 1); /* there is no set 3 */
    keyboard(0xed, "\xfa", 1);
    keyboard(0xf2, "\xfa\xab\x83", 3); /* a command in place of its parameter */
    keyboard(0xf6, "\xfa", 1);
    keyboard(0xe8, "\xfe", 1);
    start(TRANSLATED);
    keyboard(0xf2, "\xfa\xab\x41", 3);
}

/* Its byte waits while the controller's is there, and the other way round. */
static void answers_wait_for_one_another(void **state)
{
    start(TRANSLATED);
    mock_out(&board, DATA, 0xf2);
    command(0x20);
    assert_int_equal(mock_in(&board, DATA), 0xfa);
    assert_true(mock_round_trip(&board));
    assert_int_equal(mock_in(&board, DATA), TRANSLATED);
    expect_bytes(0, "\xab\x41", 2);
    command(0xad); /* nothing comes through a port that is off */
    command_with(0xd4, 0xf2);
    expect_bytes(AUX, "\xfa\x00", 2);
    command_with(0xd4, 0xf2); /* what is sent there switches it on */
    command(0xa7);
    expect_bytes(AUX, "\xfa", 1);
    command(0xa8);
    expect_bytes(AUX, "\x00", 1);
}

static void type(uint16_t key)
{
    assert_true(input_type(input, &key, 1));
    mock_microseconds(&board, 20000);
}

static void keys_come_as_codes(void **state)
{
    start(TRANSLATED);
    type(0x1e);
    assert_true(board.irq[1]);
    expect_bytes(0, "\x1e", 1);
    type(0x1e | PS2_RELEASE);
    expect_bytes(0, "\x9e", 1);
    type(PS2_EXTENDED | 0x53);
    expect_bytes(0, "\xe0\x53", 2);
    type(PS2_EXTENDED | 0x53 | PS2_RELEASE);
    expect_bytes(0, "\xe0\xd3", 2);
    start(UNTRANSLATED);
    type(0x1e);
    expect_bytes(0, "\x1c", 1);
    type(0x1e | PS2_RELEASE);
    expect_bytes(0, "\xf0\x1c", 2);
    type(PS2_EXTENDED | 0x53 | PS2_RELEASE);
    expect_bytes(0, "\xe0\xf0\x71", 3);
    type(0x41);
    expect_bytes(0, "\x83", 1);
    keyboard(0xf0, "\xfa", 1);
    keyboard(0x01, "\xfa", 1);
    type(PS2_EXTENDED | 0x48 | PS2_RELEASE);
    expect_bytes(0, "\xe0\xc8", 2);
    command_with(0x60, 0x04); /* without interrupts they can be asked for */
    type(0x1e);
    assert_false(board.irq[1]);
    expect_bytes(0, "\x1e", 1);
}

/* Whatever the key, set 2 and the controller's translation give set 1. */
static void translation_is_the_other_way_round(void **state)
{
    start(TRANSLATED);
    for (unsigned key = 1; key <= 0x58; key++) {
        if (key >= 0x54 && key <= 0x56) /* on no keyboard of the United States */
            continue;
        type((uint16_t)key);
        assert_int_equal(mock_in(&board, DATA), key);
        type((uint16_t)(key | PS2_RELEASE));
        assert_int_equal(mock_in(&board, DATA), key | 0x80);
        assert_int_equal(status(), 0);
    }
}

static void keys_wait_for_who_reads(void **state)
{
    uint16_t keys[INPUT_TYPED];
    unsigned rises;

    for (unsigned i = 0; i < INPUT_TYPED; i++)
        keys[i] = (uint16_t)(0x1e + i % 8);
    assert_true(input_type(input, keys, INPUT_TYPED));
    assert_false(input_type(input, keys, 1));
    mock_microseconds(&board, 1000000);
    assert_int_equal(status(), 0); /* the keyboard's port is off */
    start(TRANSLATED);
    assert_int_equal(input_waiting(input), INPUT_TYPED);
    for (unsigned i = 0; i < INPUT_TYPED; i++) {
        mock_microseconds(&board, 9000);
        assert_int_equal(status(), 0); /* not at once */
        rises = board.rises[1];
        mock_microseconds(&board, 2000);
        assert_int_equal(board.rises[1], rises + 1);
        mock_microseconds(&board, i == 500 ? 10000000 : 0); /* who reads late misses nothing */
        if (i == 600)
            assert_true(mock_round_trip(&board));
        assert_int_equal(mock_in(&board, DATA), keys[i]);
    }
    mock_microseconds(&board, 1000000);
    assert_int_equal(status(), 0);
    assert_true(input_type(input, keys, INPUT_TYPED));
    keyboard(0xf5, "\xfa", 1); /* it is told to be silent */
    mock_microseconds(&board, 1000000);
    assert_int_equal(status(), 0);
    bus_reset(&board.bus);
    assert_int_equal(input_waiting(input), 0);
}

/* As Linux asks for a wheel. */
static void knock(void)
{
    static const uint8_t rates[] = {200, 100, 80};

    for (unsigned i = 0; i < 3; i++) {
        mouse(0xf3, "\xfa", 1);
        mouse(rates[i], "\xfa", 1);
    }
}

static void the_mouse_answers(void **state)
{
    start(TRANSLATED);
    command_with(0xd4, 0xff);
    assert_true(board.irq[12] && !board.irq[1]);
    expect_bytes(AUX, "\xfa\xaa\x00", 3);
    mouse(0xf2, "\xfa\x00", 2);
    knock();
    mouse(0xf2, "\xfa\x03", 2);
    mouse(0xe8, "\xfa", 1);
    mouse(0x03, "\xfa", 1);
    mouse(0xe7, "\xfa", 1);
    mouse(0xf4, "\xfa", 1);
    mouse(0xe9, "\xfa\x30\x03\x50", 4);
    mouse(0xf0, "\xfa", 1);
    input_mouse(input, 5, 6, 0);
    assert_int_equal(status(), 0);
    mouse(0xeb, "\xfa\x28\x05\xfa\x00", 5);
    mouse(0xe1, "\xfe", 1);
    mouse(0xee, "\xfa", 1); /* an echo of everything, until: */
    mouse(0xf4, "\xf4", 1);
    mouse(0xec, "\xfa", 1);
    mouse(0xf6, "\xfa", 1);
    mouse(0xe9, "\xfa\x00\x02\x64", 4);
    mouse(0xf2, "\xfa\x03", 2);
    mouse(0xff, "\xfa\xaa\x00", 3);
}

static void the_mouse_moves(void **state)
{
    start(TRANSLATED);
    input_mouse(input, 5, 5, PS2_LEFT); /* nobody has asked for it */
    assert_int_equal(status(), 0);
    mouse(0xf4, "\xfa", 1);
    input_mouse(input, 5, 5, 0);
    expect_bytes(AUX, "\x28\x05\xfb", 3);
    input_mouse(input, -300, 0, 0);
    input_mouse(input, 0, 7, 0);
    expect_bytes(AUX, "\x18\x01\x00\x38\xd3\xf9", 6);
    input_mouse(input, 0, 0, PS2_RIGHT);
    input_mouse(input, 0, 0, 0);
    expect_bytes(AUX, "\x0a\x00\x00\x08\x00\x00", 6);
    knock();
    input_mouse(input, 1, 0, PS2_MIDDLE);
    expect_bytes(AUX, "\x0c\x01\x00\x00", 4);
    for (unsigned i = 0; i < 100; i++) { /* more than anybody reads */
        input_mouse(input, 1 << 30, -(1 << 30), i % 2);
        input_mouse(input, 0, 0, 0);
    }
    assert_true(mock_round_trip(&board));
    for (unsigned i = 0; i < 2000 && status(); i++)
        (void)mock_in(&board, DATA);
    assert_int_equal(status(), 0);
}

/* What there was no room for is told when there is. */
static void a_button_is_let_go(void **state)
{
    uint8_t buttons = 0;

    start(TRANSLATED);
    mouse(0xf4, "\xfa", 1);
    input_mouse(input, 1, 0, 0);
    for (unsigned i = 0; i < 10; i++) {
        input_mouse(input, 0, 0, PS2_LEFT);
        input_mouse(input, 0, 0, 0);
    }
    for (unsigned i = 0; i < 100 && status(); i++) {
        uint8_t byte = mock_in(&board, DATA);

        buttons = i % 3 ? buttons : byte & 7;
    }
    assert_int_equal(buttons, 0);
    input_mouse(input, 0, 0, PS2_LEFT);
    mouse(0xf5, "\x09\xfa", 2); /* nor is there anything left of before */
    input_mouse(input, 0, 0, 0);
    mouse(0xf4, "\xfa", 1);
}

/* --- what people type --- */

/* It looks for the mouse meanwhile, say, and reads nothing behind. */
static void keys_wait_for_their_port(void **state)
{
    const uint16_t keys[] = {0x1e, 0x9e};

    start(TRANSLATED);
    for (unsigned i = 0; i < 2; i++) {
        if (i == 0)
            command(0xad);
        else
            command_with(0x60, TRANSLATED | 0x10);
        assert_true(input_type(input, keys, 2));
        mock_microseconds(&board, 100000);
        assert_int_equal(status(), 0);
        if (i == 0)
            command(0xae);
        else
            command_with(0x60, TRANSLATED);
        mock_microseconds(&board, 100000);
        expect_bytes(0, "\x1e", 1);
        mock_microseconds(&board, 100000);
        expect_bytes(0, "\x9e", 1);
    }
}

static void characters_have_keys(void **state)
{
    bool seen[2][128] = {{false}}, shift;

    for (char c = ' '; c <= '~'; c++) {
        uint16_t key = ps2_key_of(c, &shift);

        assert_true(key >= 2 && key <= 0x39);
        assert_false(seen[shift][key]);
        seen[shift][key] = true;
    }
    assert_int_equal(ps2_key_of('A', &shift), 0x1e);
    assert_true(shift);
    assert_int_equal(ps2_key_of('a', &shift), 0x1e);
    assert_false(shift);
    assert_int_equal(ps2_key_of('?', &shift), 0x35);
    assert_int_equal(ps2_key_of('~', &shift), 0x29);
    assert_int_equal(ps2_key_of('|', &shift), 0x2b);
    assert_int_equal(ps2_key_of('\n', &shift), 0x1c);
    assert_int_equal(ps2_key_of('\t', &shift), 0x0f);
    assert_int_equal(ps2_key_of('\0', &shift), 0);
    assert_int_equal(ps2_key_of('\x7f', &shift), 0);
    assert_int_equal(ps2_key_of('\xe4', &shift), 0);
}

static unsigned chord(const char *text, uint16_t *keys)
{
    return ps2_chord(text, strlen(text), keys);
}

static void keys_have_names(void **state)
{
    uint16_t keys[PS2_KEYS];

    assert_int_equal(chord("ctrl-alt-del", keys), 3);
    assert_int_equal(keys[0], 0x1d);
    assert_int_equal(keys[1], 0x38);
    assert_int_equal(keys[2], PS2_EXTENDED | 0x53);
    assert_int_equal(chord("f12", keys), 1);
    assert_int_equal(keys[0], 0x58);
    assert_int_equal(chord("a", keys), 1);
    assert_int_equal(keys[0], 0x1e);
    assert_int_equal(chord("alt-1", keys), 2);
    assert_int_equal(chord("a-b-c-d-e-f-g-h", keys), 8);
    assert_int_equal(chord("a-b-c-d-e-f-g-h-i", keys), 0);
    assert_int_equal(chord("", keys), 0);
    assert_int_equal(chord("-", keys), 0);
    assert_int_equal(chord("a-", keys), 0);
    assert_int_equal(chord("ctrl--del", keys), 0);
    assert_int_equal(chord("A", keys), 0);
    assert_int_equal(chord("control", keys), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_controller_has_two_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(the_keyboard_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_wait_for_one_another, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_come_as_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(translation_is_the_other_way_round, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_wait_for_who_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mouse_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mouse_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_button_is_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_wait_for_their_port, setup, teardown),
        cmocka_unit_test(characters_have_keys),
        cmocka_unit_test(keys_have_names),
    };

    return cmocka_run_group_tests_name("ps2", tests, NULL, NULL);
}
