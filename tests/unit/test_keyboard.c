/* links: guest/devices/keyboard.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/reset.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The 8042 without a keyboard, and the two reset registers of the chipset. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/devices/keyboard.h"
#include "guest/board/pci.h"
#include "guest/devices/reset.h"
#include "tests/unit/mock_board.h"

#define DATA    0x60
#define COMMAND 0x64

static struct board board;
static struct keyboard k;
static struct reset_control r;
static struct pci pci;

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&keyboard_class, &k.dev, &board.setup), 0);
    assert_int_equal(device_make(&reset_control_class, &r.dev, &board.setup), 0);
    assert_int_equal(device_make(&pci_class, &pci.dev, &board.setup), 0);
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

/* Send a command and return the answer. */
static uint8_t ask(uint8_t command)
{
    mock_out(&board, COMMAND, command);
    assert_int_equal(mock_in(&board, COMMAND) & 0x21, 0x01);
    return mock_in(&board, DATA);
}

static void send(uint8_t command, uint8_t parameter)
{
    mock_out(&board, COMMAND, command);
    mock_out(&board, DATA, parameter);
}

static void self_test(void **state)
{
    assert_int_equal(mock_in(&board, COMMAND), 0x14);
    assert_int_equal(ask(0xaa), 0x55);
    assert_int_equal(mock_in(&board, COMMAND),
                     0x1c); /* no output, system flag, last write a command */
    assert_int_equal(ask(0xab), 0x00);
}

/* "The value written to this bit is placed in the system flag bit of the status register." */
static void the_system_flag_is_what_was_written(void **state)
{
    send(0x60, 0x00);
    assert_int_equal(mock_in(&board, COMMAND) & 0x04, 0);
    assert_int_equal(ask(0x20), 0x00);
    send(0x60, 0x04);
    assert_int_equal(mock_in(&board, COMMAND) & 0x04, 0x04);
    send(0x61, 0x00); /* another byte of its RAM */
    assert_int_equal(mock_in(&board, COMMAND) & 0x04, 0x04);
}

static void configuration(void **state)
{
    send(0x60, 0x65);
    assert_int_equal(mock_in(&board, COMMAND) & 0x09, 0x00);
    assert_int_equal(ask(0x20), 0x65);
    mock_out(&board, COMMAND, 0xad);
    assert_int_equal(ask(0x20), 0x75);
    mock_out(&board, COMMAND, 0xae);
    assert_int_equal(ask(0x20), 0x65);
    send(0x7f, 0xa5);
    assert_true(mock_round_trip(&board));
    assert_int_equal(ask(0x3f), 0xa5);
    assert_int_equal(ask(0x20), 0x65);
}

static void answers_interrupt(void **state)
{
    send(0x60, 0x01);
    assert_false(board.irq[1]);
    mock_out(&board, COMMAND, 0xd2);
    assert_false(board.irq[1]);
    mock_out(&board, DATA, 0x77);
    assert_true(board.irq[1]);
    assert_true(mock_round_trip(&board));
    assert_int_equal(mock_in(&board, DATA), 0x77);
    assert_false(board.irq[1]);
    send(0x60, 0x00); /* the interrupt is off: the answer waits in silence */
    send(0xd2, 0x78);
    assert_false(board.irq[1]);
    send(0x60, 0x01);
    assert_true(board.irq[1]);
    assert_int_equal(mock_in(&board, DATA), 0x78);
}

static void there_is_no_keyboard(void **state)
{
    mock_out(&board, DATA, 0xed);
    assert_int_equal(mock_in(&board, COMMAND) & 0x41, 0x41); /* the controller's timeout */
    assert_int_equal(mock_in(&board, DATA), 0xfe);
    assert_int_equal(mock_in(&board, COMMAND) & 0x41, 0x00);
}

static void there_is_no_mouse(void **state)
{
    send(0xd3, 0x5a); /* Linux loops a byte through the auxiliary port to find it */
    assert_int_equal(mock_in(&board, COMMAND) & 0x01, 0x00);
    mock_out(&board, COMMAND, 0xa9);
    assert_int_equal(mock_in(&board, COMMAND) & 0x01, 0x00);
    send(0xd4, 0xf4);
    assert_int_equal(mock_in(&board, COMMAND) & 0x01, 0x00);
}

static void a20(void **state)
{
    assert_int_equal(ask(0xd0) & 0x03, 0x03);
    mock_out(&board, COMMAND, 0xdd);
    assert_int_equal(ask(0xd0) & 0x03, 0x01);
    mock_out(&board, COMMAND, 0xdf);
    assert_int_equal(ask(0xd0) & 0x03, 0x03);
    send(0xd1, 0xdd);
    assert_int_equal(ask(0xd0), 0xdd);
    assert_int_equal(board.requests, 0);
    assert_int_equal(mock_in(&board, 0x92), 0x02);
    mock_out(&board, 0x92, 0x00);
    assert_int_equal(mock_in(&board, 0x92), 0x00);
    assert_int_equal(board.requests, 0);
}

static void assert_reset(void)
{
    assert_int_equal(board.requests, 1);
    assert_int_equal(board.request, VM_REQUEST_RESET);
    board.requests = 0;
}

static void the_controller_resets(void **state)
{
    mock_out(&board, COMMAND, 0xfe);
    assert_reset();
    mock_out(&board, COMMAND, 0xf0);
    assert_reset();
    mock_out(&board, COMMAND, 0xff); /* pulses nothing */
    assert_int_equal(board.requests, 0);
    send(0xd1, 0xfe);
    assert_reset();
}

static void fast_reset(void **state)
{
    mock_out(&board, 0x92, 0x03);
    assert_reset();
    mock_out(&board, 0x92, 0x03); /* only the rising edge */
    assert_int_equal(board.requests, 0);
    mock_out(&board, 0x92, 0x02);
    mock_out(&board, 0x92, 0x01);
    assert_reset();
}

static void reset_control_register(void **state)
{
    mock_out(&board, 0xcf9, 0x02); /* Linux's "pci" way: 2, then 6 or 0Eh */
    assert_int_equal(board.requests, 0);
    assert_int_equal(mock_in(&board, 0xcf9), 0x02);
    mock_out(&board, 0xcf9, 0x06);
    assert_reset();
    mock_out(&board, 0xcf9, 0x0e);
    assert_reset();
    /* The dword that PCI has there is not this register. */
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000600);
    assert_int_equal(bus_port_read(&board.bus, 0xcf8, 4), 0x80000600);
    assert_int_equal(mock_in(&board, 0xcf8), 0xff);
    assert_int_equal(mock_in(&board, 0xcfa), 0xff);
    assert_int_equal(board.requests, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(self_test, setup, teardown),
        cmocka_unit_test_setup_teardown(the_system_flag_is_what_was_written, setup, teardown),
        cmocka_unit_test_setup_teardown(configuration, setup, teardown),
        cmocka_unit_test_setup_teardown(answers_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_no_keyboard, setup, teardown),
        cmocka_unit_test_setup_teardown(there_is_no_mouse, setup, teardown),
        cmocka_unit_test_setup_teardown(a20, setup, teardown),
        cmocka_unit_test_setup_teardown(the_controller_resets, setup, teardown),
        cmocka_unit_test_setup_teardown(fast_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_control_register, setup, teardown),
    };

    return cmocka_run_group_tests_name("keyboard", tests, NULL, NULL);
}
