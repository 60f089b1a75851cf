/* links: guest/vm/screens.c guest/vm/keys.c guest/monitor/screen.c guest/monitor/screen_stream.c arch/x86/lib/crc32.c guest/monitor/keys.c guest/monitor/command.c guest/devices/vga/vga.c guest/devices/vga/registers.c guest/devices/vga/dispi.c guest/devices/vga/memory.c guest/devices/vga/picture.c guest/devices/vga/edid.c guest/devices/keyboard.c guest/devices/ps2/input.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/ps2/names.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c arch/x86/lib/format.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* What the monitor's `screenshot`, `type`, `keys` and `mouse` say and do, with the devices of a VM
 * that has a display, and with others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "guest/devices/keyboard.h"
#include "guest/devices/ps2/input.h"
#include "guest/devices/vga/vga.h"
#include "guest/monitor/commands.h"
#include "guest/vm/control.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"
#include "tests/unit/shown.h"
#include "tests/unit/vga_modes.h"
#include "mm/heap.h"

#define LINE_USER COM2_SCREEN
#include "tests/unit/com2_line.h"

static struct board board;
static struct device_list list;
static struct vm vm;
static struct vm_slot slot = {.name = "pc"};
static char said[16384];

struct device *platform_device(const struct vm *v, const struct device_class *class)
{
    assert_ptr_equal(v, &vm);
    return device_list_find(&list, class, 0);
}

void job_line(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(said + strlen(said), sizeof(said) - strlen(said), fmt, args);
    va_end(args);
    strcat(said, "\n");
}

struct vm_slot *job_vm(const struct job *job, unsigned i)
{
    return word_is(job->words.word[i], "pc") ? &slot : NULL;
}

static int setup_without(void **state)
{
    mock_init(&board);
    shown_init(&board);
    board.setup.text = "vga";
    board.setup.length = 3;
    assert_int_equal(device_list_add(&list, &pci_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &keyboard_class, &board.setup), 0);
    slot.vm = &vm;
    slot.state = SLOT_RUNNING;
    return 0;
}

static int setup(void **state)
{
    setup_without(state);
    assert_int_equal(device_list_add(&list, &input_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &vga_class, &board.setup), 0);
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    mock_destroy(&board);
    device_list_destroy(&list);
    return 0;
}

static void (*meanwhile)(void);

void job_progress(struct job *job, const char *fmt, ...)
{
    room = 12000; /* it has been sent */
    if (meanwhile)
        meanwhile();
}

void job_end_progress(struct job *job, const char *by)
{
}

static const char *run(bool (*command)(struct job *), const char *line)
{
    struct job job = {.step = 0};

    said[0] = '\0';
    if (command == command_type)
        words_cut_rest(&job.words, line, strlen(line), 2);
    else
        assert_true(words_cut(&job.words, line, strlen(line)));
    while (command(&job))
        job.step++;
    heap_free(job.data);
    return said;
}

static void out16(uint16_t port, uint16_t value)
{
    bus_port_write(&board.bus, port, 2, value);
}

static void set_text_mode(void)
{
    const struct vga_mode *m = &vga_text_mode;

    mock_out(&board, 0x3c2, m->misc);
    for (unsigned i = 0; i < VGA_SEQUENCER; i++)
        out16(0x3c4, (uint16_t)(i | m->sequencer[i] << 8));
    for (unsigned i = 0; i < VGA_CRTC; i++)
        out16(0x3d4, (uint16_t)(i | m->crtc[i] << 8));
    for (unsigned i = 0; i < VGA_GRAPHICS; i++)
        out16(0x3ce, (uint16_t)(i | m->graphics[i] << 8));
    mock_out(&board, 0x3c0, 0x20);
}

static void text_is_printed(void **state)
{
    uint8_t *cells;

    assert_string_equal(run(command_screenshot, "screenshot pc"), "pc: its screen is blank\n");
    set_text_mode();
    assert_string_equal(run(command_screenshot, "screenshot pc"),
                        "pc shows 80 by 25 letters, all of them blanks\n");
    cells = (uint8_t *)shown_from(0xb8000);
    for (unsigned i = 0; i < 5; i++)
        cells[2 * (80 + i)] = (uint8_t) "login"[i];
    cells[2 * 162] = '%';
    assert_string_equal(run(command_screenshot, "screenshot pc"),
                        "pc shows 80 by 25 letters:\n\nlogin\n  %\n");
}

static void no_display_is_said(void **state)
{
    assert_string_equal(run(command_screenshot, "screenshot pc"),
                        "pc has no display: `display = vga` in its section gives it one\n");
    assert_string_equal(run(command_type, "type pc x"),
                        "pc has no keyboard: `display = vga` in its section gives it one\n");
    slot.state = SLOT_KEEPING;
    assert_string_equal(run(command_type, "type pc x"),
                        "pc is just being kept, or put back: try again\n");
    slot.state = SLOT_MAKING;
    assert_string_equal(run(command_screenshot, "screenshot pc"), "pc is not on\n");
    slot.vm = NULL;
    slot.state = SLOT_OFF;
    assert_string_equal(run(command_screenshot, "screenshot pc"), "pc is not on\n");
    assert_string_equal(run(command_keys, "keys pc a"), "pc is not on\n");
    assert_string_equal(run(command_mouse, "mouse pc 1 1"), "pc is not on\n");
    assert_string_equal(run(command_keys, "keys other a"), "");
}

/* What is read of the records: a picture's points, if it is whole. */
static unsigned got_width, got_height, got_rows;
static bool got_end;
static uint8_t got[1 << 21];

static unsigned word(size_t at)
{
    return stream[at] | (unsigned)stream[at + 1] << 8;
}

static void read_row(size_t at, size_t end)
{
    uint8_t *row = got + (size_t)got_rows * got_width * 3;
    unsigned x = 0;

    for (; at < end; at += 2) {
        unsigned kind = word(at) >> 14, count = (word(at) & 0x3fff) + 1;

        assert_true(kind < 3 && x + count <= got_width);
        for (unsigned i = 0; i < count; i++, x++) {
            if (kind == 2)
                memcpy(row + 3 * x, got_rows ? row + 3 * x - 3 * got_width : (uint8_t[3]){0}, 3);
            else
                memcpy(row + 3 * x, stream + at + 2 + (kind == 0 ? 3 * i : 0), 3);
        }
        at += kind == 0 ? 3 * count : kind == 1 ? 3 : 0;
    }
    assert_int_equal(at, end);
    assert_int_equal(x, got_width);
    got_rows++;
}

static void read_records(void)
{
    size_t length;
    uint8_t number = stream[3];

    got_rows = 0;
    got_end = false;
    for (size_t at = 0; at < streamed; at += 8 + length) {
        length = word(at + 6);
        assert_int_equal(word(at), 0xc3d5);
        assert_int_equal(stream[at + 3], number);
        if (stream[at + 2] == 1) {
            got_width = word(at + 8);
            got_height = word(at + 10);
            assert_int_equal(length, 6);
            assert_memory_equal(stream + at + 12, "pc", 2);
        } else if (stream[at + 2] == 2) {
            assert_int_equal(word(at + 4), got_rows);
            read_row(at + 8, at + 8 + length);
        } else {
            uint32_t crc = crc32(0, got, (size_t)3 * got_width * got_height);
            assert_int_equal(stream[at + 2], 3);
            assert_int_equal(word(at + 8) | word(at + 10) << 16, crc);
            got_end = true;
        }
    }
}

static void dispi(unsigned index, unsigned value)
{
    out16(0x1ce, (uint16_t)index);
    out16(0x1cf, (uint16_t)value);
}

static void set_points(unsigned width, unsigned height)
{
    dispi(DISPI_WIDTH, width);
    dispi(DISPI_HEIGHT, height);
    dispi(DISPI_BITS, 32);
    dispi(DISPI_ENABLE, DISPI_ON);
    (void)mock_in(&board, 0x3ba);
    mock_out(&board, 0x3c0, 0x20);
    streamed = 0;
    room = 12000;
    meanwhile = NULL;
}

static void points_are_sent(void **state)
{
    uint8_t *memory;
    uint32_t seed = 1;

    framed = false;
    set_points(640, 480);
    assert_string_equal(run(command_screenshot, "screenshot pc"),
                        "pc shows 640 by 480 points: with `com2 = framed` in [host] they are sent "
                        "to tools/com2, which makes a picture of them\n");
    assert_int_equal(streamed, 0);
    framed = true;
    memory = vga_chip_of(device_list_find(&list, &vga_class, 0))->memory;
    for (unsigned i = 0; i < 640 * 480; i++) { /* even, rows alike, noise, and some of each */
        seed = seed * 1664525 + 1013904223;
        uint32_t noise = seed >> 8, y = i / 640;
        uint32_t point = y < 100   ? 0x112233
                         : y < 200 ? i % 640
                         : y < 300 ? noise
                                   : (seed >> 30 ? noise >> 22 : i % 640 / 9);
        memcpy(memory + 4 * i, &point, 4);
    }
    assert_non_null(
        strstr(run(command_screenshot, "screenshot pc"), "pc: 640 by 480 points are sent, in "));
    read_records();
    assert_true(got_end);
    assert_int_equal(got_rows, 480);
    for (unsigned i = 0; i < 640 * 480; i++) {
        assert_int_equal(got[3 * i], memory[4 * i + 2]);
        assert_int_equal(got[3 * i + 1], memory[4 * i + 1]);
        assert_int_equal(got[3 * i + 2], memory[4 * i]);
    }
    memset(memory, 0, 640 * 480 * 4);
    streamed = 0;
    run(command_screenshot, "screenshot pc");
    assert_true(streamed < 480 * 12); /* what is alike is short */
    for (unsigned width = 8; width <= 2560; width = width * 5 / 4 / 8 * 8 + 8) { /* the worst */
        set_points(width, 9);
        for (unsigned i = 0; i < width * 9; i++)
            memory[4 * i] = (uint8_t)(i % 3 ? i / 3 : 7);
        run(command_screenshot, "screenshot pc");
        read_records();
        assert_true(got_end);
        dispi(DISPI_ENABLE, 0);
    }
}

/* What a picture that was given up has left in the queue goes first. */
static void points_wait_for_room(void **state)
{
    framed = true;
    set_points(640, 480);
    room = 10; /* less than the beginning takes */
    assert_non_null(strstr(run(command_screenshot, "screenshot pc"), "640 by 480 points are sent"));
    read_records();
    assert_true(got_end);
    assert_int_equal(got_rows, 480);
}

static void another_mode(void)
{
    dispi(DISPI_ENABLE, 0);
    set_points(800, 600);
}

static void a_picture_that_changes_is_none(void **state)
{
    framed = true;
    set_points(640, 480);
    meanwhile = another_mode;
    assert_string_equal(run(command_screenshot, "screenshot pc"),
                        "pc shows something else by now: what was sent is no whole picture\n");
}

static void expect_typed(const char *codes)
{
    for (; *codes; codes++) {
        mock_microseconds(&board, 20000);
        assert_int_equal(mock_in(&board, 0x64) & 0x21, 1);
        assert_int_equal(mock_in(&board, 0x60), (uint8_t)*codes);
    }
    mock_microseconds(&board, 20000);
    assert_int_equal(mock_in(&board, 0x64) & 1, 0);
}

static void on(void)
{
    mock_out(&board, 0x64, 0x60);
    mock_out(&board, 0x60, 0x47);
}

static void text_is_typed(void **state)
{
    char line[2000] = "type pc ";

    on();
    assert_string_equal(run(command_type, "type pc aB c\\n"), "");
    expect_typed("\x1e\x9e\x2a\x30\xb0\xaa\x39\xb9\x2e\xae\x1c\x9c");
    assert_string_equal(run(command_type, "type pc \\\\\\t"), "");
    expect_typed("\x2b\xab\x0f\x8f");
    assert_string_equal(run(command_type, "type pc a\xe4"),
                        "'?' is on no key of a keyboard of the United States\n");
    assert_string_equal(run(command_type, "type pc a\\x"),
                        "'\\x' is none of \\n (Enter), \\t (Tab) and \\\\ (a backslash)\n");
    expect_typed("");
    memset(line + 8, 'X', 300);
    assert_string_equal(
        run(command_type, line),
        "pc: so much is not taken at once; 0 keys wait for the guest to read them\n");
    line[8 + 256] = '\0';
    assert_string_equal(run(command_type, line), "");
    assert_string_equal(
        run(command_type, "type pc x"),
        "pc: so much is not taken at once; 1024 keys wait for the guest to read them\n");
}

static void chords_are_pressed(void **state)
{
    on();
    assert_string_equal(run(command_keys, "keys pc ctrl-alt-del"), "");
    expect_typed("\x1d\x38\xe0\x53\xe0\xd3\xb8\x9d");
    assert_string_equal(run(command_keys, "keys pc down enter"), "");
    expect_typed("\xe0\x50\xe0\xd0\x1c\x9c");
    assert_string_equal(
        run(command_keys, "keys pc hyper-x"),
        "'hyper-x' names no keys, such as ctrl-alt-del, f10, pagedown, enter or a\n");
}

static void the_mouse_is_moved(void **state)
{
    on();
    mock_out(&board, 0x64, 0xd4);
    mock_out(&board, 0x60, 0xf4);
    assert_int_equal(mock_in(&board, 0x60), 0xfa);
    assert_string_equal(run(command_mouse, "mouse pc -2 3 left"), "");
    for (unsigned i = 0; i < 9; i++)
        assert_int_equal(mock_in(&board, 0x60), (uint8_t) "\x38\xfe\xfd\x09\0\0\x08\0\0"[i]);
    assert_string_equal(run(command_mouse, "mouse pc 1 x"),
                        "the mouse is moved by so much to the right and down: -10000 to 10000 "
                        "each\n");
    assert_string_equal(run(command_mouse, "mouse pc 1 10001"),
                        "the mouse is moved by so much to the right and down: -10000 to 10000 "
                        "each\n");
    assert_string_equal(run(command_mouse, "mouse pc 1 1 up"),
                        "the mouse has the buttons left, right and middle\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_is_printed, setup, teardown),
        cmocka_unit_test_setup_teardown(no_display_is_said, setup_without, teardown),
        cmocka_unit_test_setup_teardown(points_are_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(points_wait_for_room, setup, teardown),
        cmocka_unit_test_setup_teardown(a_picture_that_changes_is_none, setup, teardown),
        cmocka_unit_test_setup_teardown(text_is_typed, setup, teardown),
        cmocka_unit_test_setup_teardown(chords_are_pressed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_mouse_is_moved, setup, teardown),
    };

    return cmocka_run_group_tests_name("screens", tests, NULL, NULL);
}
