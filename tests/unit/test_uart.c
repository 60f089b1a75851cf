/* links: guest/devices/uart.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The 16550A against the PC16550D data sheet, and against what Linux's 8250 driver tries out on it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/uart.h"
#include "tests/unit/mock_board.h"

#define BASE 0x3f8
#define GSI  4

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR, DLL = DATA, DLM = IER };

static struct board board;
static struct uart u;
static uint8_t sent[4096];
static size_t sent_count, host_room;

static bool put(void *context, uint8_t byte)
{
    assert_ptr_equal(context, sent);
    if (host_room == 0)
        return false;
    host_room--;
    sent[sent_count++] = byte;
    return true;
}

static int setup(void **state)
{
    sent_count = 0;
    host_room = sizeof(sent);
    mock_init(&board);
    board.host.serial_put = put;
    board.host.context = sent;
    assert_int_equal(device_make(&uart_class, &u.dev, &board.setup), 0);
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

static uint8_t in(unsigned reg)
{
    return mock_in(&board, (uint16_t)(BASE + reg));
}

static void out(unsigned reg, uint8_t value)
{
    mock_out(&board, (uint16_t)(BASE + reg), value);
}

/* As an operating system opens the port: FIFO with trigger 14, DTR, RTS and OUT2. */
static void open_port(void)
{
    out(FCR, 0xc7);
    out(LCR, 3);
    out(MCR, 0x0b);
}

static void receive(const char *text)
{
    assert_int_equal(uart_receive(&u, (const uint8_t *)text, strlen(text)), strlen(text));
}

static void registers_hold_what_they_have_bits_for(void **state)
{
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(in(IIR), 0x01);
    assert_int_equal(in(MSR), 0xb0);
    out(IER, 0xff);
    assert_int_equal(in(IER), 0x0f);
    out(MCR, 0xef);
    assert_int_equal(in(MCR), 0x0f);
    out(LCR, 0x7f);
    assert_int_equal(in(LCR), 0x7f);
    out(SCR, 0xa5);
    assert_int_equal(in(SCR), 0xa5);
    out(LSR, 0);
    out(MSR, 0);
    assert_int_equal(in(LSR), 0x60);
    out(LCR, 0x83);
    out(DLL, 0x0c);
    out(DLM, 0x34);
    assert_int_equal(in(DLL), 0x0c);
    assert_int_equal(in(DLM), 0x34);
    out(LCR, 0x03);
    assert_int_equal(in(IER), 0x0f);
    assert_int_equal(sent_count, 0);
}

static void bytes_go_out_unchanged(void **state)
{
    for (unsigned i = 0; i < 256; i++) {
        assert_int_equal(in(LSR), 0x60);
        out(DATA, (uint8_t)i);
    }
    assert_int_equal(sent_count, 256);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(sent[i], i);
}

static void bytes_come_in_in_order(void **state)
{
    open_port();
    receive("hello, world: more than sixteen");
    for (const char *c = "hello, world: more than sixteen"; *c; c++) {
        assert_int_equal(in(LSR), 0x61);
        assert_int_equal(in(DATA), *c);
    }
    assert_int_equal(in(LSR), 0x60);
}

static void the_line_takes_what_it_has_room_for(void **state)
{
    uint8_t data[UART_RX_WAITING + 100];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7);
    open_port();
    assert_int_equal(uart_receive(&u, data, sizeof(data)), UART_RX_WAITING);
    assert_int_equal(uart_receive_room(&u), UART_FIFO); /* the first sixteen went to the FIFO */
    assert_int_equal(uart_receive(&u, data + UART_RX_WAITING, 100), 16);
    assert_int_equal(uart_receive_room(&u), 0);
    assert_true(mock_round_trip(&board));
    for (size_t i = 0; i < UART_RX_WAITING + 16; i++)
        assert_int_equal(in(DATA), data[i]);
    assert_int_equal(in(LSR), 0x60);
}

static void without_fifo_one_byte_is_held(void **state)
{
    receive("ab");
    assert_int_equal(u.rx_count, 1);
    assert_int_equal(in(IIR)&0xc0, 0);
    assert_int_equal(in(DATA), 'a');
    assert_int_equal(in(DATA), 'b');
    assert_int_equal(in(LSR), 0x60);
}

static void the_line_waits_for_rts(void **state)
{
    receive("a"); /* a guest that touches no modem line hears everything */
    assert_int_equal(in(LSR), 0x61);
    assert_int_equal(in(DATA), 'a');
    out(MCR, 0x01);
    assert_true(mock_round_trip(&board));
    receive("typed early");
    assert_int_equal(in(LSR), 0x60);
    out(FCR, 0x07); /* what Linux clears when it opens the port does not touch the line */
    in(DATA);
    out(MCR, 0x0b);
    assert_int_equal(in(DATA), 't');
    out(MCR, 0x09);
    for (unsigned i = 0; i < 10; i++)
        in(DATA);
    assert_int_equal(in(LSR), 0x60);
}

static void receive_interrupts(void **state)
{
    open_port();
    receive("x");
    assert_false(board.irq[GSI]);
    out(IER, 0x01);
    assert_true(board.irq[GSI]);
    assert_int_equal(in(IIR), 0xcc); /* below the trigger level: the timeout */
    receive("0123456789abc");
    assert_int_equal(in(IIR), 0xc4);
    in(DATA);
    assert_int_equal(in(IIR), 0xc1); /* below it again, until the rest has waited */
    mock_microseconds(&board, 400);
    assert_int_equal(in(IIR), 0xcc);
    for (unsigned i = 0; i < 13; i++) {
        assert_int_equal(in(LSR), 0x61);
        in(DATA);
        assert_false(board.irq[GSI]);
    }
    assert_int_equal(in(IIR), 0xc1);
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(board.rises[GSI], 2);
}

static void transmit_interrupts(void **state)
{
    open_port();
    out(IER, 0x02); /* enabling raises it while the transmitter is empty */
    assert_true(board.irq[GSI]);
    assert_int_equal(in(IIR), 0xc2);
    assert_false(board.irq[GSI]); /* reading IIR clears it */
    assert_int_equal(in(IIR), 0xc1);
    out(IER, 0x02); /* enabled already: nothing new */
    assert_int_equal(in(IIR), 0xc1);
    out(DATA, 'x');
    assert_true(board.irq[GSI]); /* gone at once, so empty again */
    host_room = 0;
    out(DATA, 'y'); /* writing clears it too */
    assert_false(board.irq[GSI]);
    out(IER, 0x00);
    out(IER, 0x02); /* not empty: nothing is raised */
    assert_int_equal(in(IIR), 0xc1);
    host_room = 1;
    uart_output_ready(&u);
    assert_true(board.irq[GSI]);
    assert_int_equal(in(IIR), 0xc2);
}

/* Each byte that leaves empties the transmitter anew, whether anybody asked for the reason of the
 * interrupt before or not. */
static void each_byte_that_leaves_is_an_edge(void **state)
{
    out(MCR, 0x0b);
    out(IER, 0x02);
    assert_int_equal(board.rises[GSI], 1);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(in(LSR), 0x60);
        out(DATA, (uint8_t)i);
        assert_true(board.irq[GSI]);
    }
    assert_int_equal(board.rises[GSI], 21);
    out(FCR, 0xc7);
    out(DATA, 'x');
    assert_int_equal(board.rises[GSI], 22);
    host_room = 0;
    out(DATA, 'y');
    assert_false(board.irq[GSI]); /* it stays in the transmitter */
    host_room = 1;
    uart_output_ready(&u);
    assert_int_equal(board.rises[GSI], 23);
}

static void each_byte_received_is_an_edge_without_fifo(void **state)
{
    out(MCR, 0x0b);
    out(IER, 0x01);
    receive("abc");
    assert_int_equal(board.rises[GSI], 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(board.irq[GSI]);
        assert_int_equal(board.rises[GSI], i + 1);
        assert_int_equal(in(DATA), 'a' + i);
    }
    assert_false(board.irq[GSI]);
    assert_int_equal(board.falls[GSI], 3);
}

/* PC16550D, "FIFO Interrupt Mode Operation": reading a character ends the timeout interrupt, and
 * what is left in the FIFO raises it again after four characters' time. */
static void what_is_left_in_the_fifo_times_out_again(void **state)
{
    open_port();
    out(IER, 0x01);
    receive("abcde");
    assert_int_equal(board.rises[GSI], 1);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(in(IIR), 0xcc);
        assert_int_equal(in(DATA), 'a' + i);
        assert_false(board.irq[GSI]);
        assert_int_equal(in(IIR), 0xc1);
        assert_true(mock_round_trip(&board));
        mock_microseconds(&board, 300);
        assert_false(board.irq[GSI]);
        mock_microseconds(&board, 100);
        assert_true(board.irq[GSI]);
        assert_int_equal(board.rises[GSI], i + 2);
    }
    in(DATA);
    mock_microseconds(&board, 1000);
    assert_false(board.irq[GSI]);
    receive("abcd");
    for (unsigned i = 0; i < 3; i++) { /* each character read begins the time anew */
        in(DATA);
        mock_microseconds(&board, 300);
        assert_false(board.irq[GSI]);
    }
    assert_int_equal(in(LSR), 0x61);
    mock_microseconds(&board, 100);
    assert_true(board.irq[GSI]);
    receive("0123456789abcdef0123"); /* more than the FIFO holds: as long as it is full, no edge */
    assert_int_equal(board.rises[GSI], 7);
    for (unsigned i = 0; i < 5; i++)
        in(DATA);
    assert_int_equal(board.rises[GSI], 7);
    assert_true(board.irq[GSI]);
}

static void a_cleared_fifo_fills_anew(void **state)
{
    open_port();
    out(IER, 0x01);
    receive("0123456789abcdefgh");
    assert_int_equal(board.rises[GSI], 1);
    out(FCR, 0x03);
    assert_int_equal(board.rises[GSI], 2);
    assert_int_equal(in(DATA), 'g');
    assert_true(board.irq[GSI]); /* the trigger is one character */
    assert_int_equal(in(DATA), 'h');
    assert_false(board.irq[GSI]);
}

static void reading_iir_clears_only_what_it_shows(void **state)
{
    open_port();
    receive("x");
    out(IER, 0x03);
    assert_int_equal(in(IIR), 0xcc);
    assert_int_equal(in(IIR), 0xcc);
    in(DATA);
    assert_int_equal(in(IIR), 0xc2); /* the lower one has waited */
    assert_int_equal(in(IIR), 0xc1);
}

static void a_host_that_cannot_take_bytes_stops_the_transmitter(void **state)
{
    open_port();
    host_room = 2;
    for (unsigned i = 0; i < 20; i++)
        out(DATA, (uint8_t)('a' + i)); /* 2 go, 16 wait, 2 are lost as in the hardware */
    assert_int_equal(sent_count, 2);
    assert_true(uart_output_waits(&u));
    assert_int_equal(in(LSR), 0x00);
    assert_true(mock_round_trip(&board));
    uart_output_ready(&u);
    assert_int_equal(in(LSR), 0x00);
    host_room = 15;
    uart_output_ready(&u);
    assert_int_equal(in(LSR), 0x00);
    host_room = 100;
    uart_output_ready(&u);
    assert_int_equal(in(LSR), 0x60);
    assert_false(uart_output_waits(&u));
    assert_int_equal(sent_count, 18);
    assert_memory_equal(sent, "abcdefghijklmnopqr", 18);
}

static void fcr_clears_the_fifos(void **state)
{
    open_port();
    host_room = 0;
    out(DATA, 'x');
    receive("0123456789abcdef");
    out(FCR, 0xc3);
    assert_int_equal(in(LSR), 0x00);
    out(FCR, 0xc5);
    assert_int_equal(in(LSR), 0x60);
    receive("z");
    out(FCR, 0x00); /* leaving FIFO mode clears both */
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(in(IIR), 0x01);
}

static void loopback_turns_bytes_and_modem_lines_around(void **state)
{
    open_port();
    out(IER, 0x01);
    out(MCR, 0x1b);
    out(DATA, 'l');
    assert_int_equal(sent_count, 0);
    assert_int_equal(in(IIR), 0xcc);
    assert_false(board.irq[GSI]); /* OUT2 is disconnected */
    receive("waits");
    assert_int_equal(in(DATA), 'l');
    assert_int_equal(in(LSR), 0x60);
    in(MSR);
    out(MCR, 0x10);
    assert_int_equal(in(MSR), 0x0b); /* CTS, DSR, DCD fell */
    out(MCR, 0x14);
    assert_int_equal(in(MSR), 0x40); /* RI has no delta when it rises */
    out(MCR, 0x10);
    assert_int_equal(in(MSR), 0x04); /* but when it falls */
    out(MCR, 0x0b);
    assert_int_equal(in(DATA), 'w');
}

static void loopback_overruns(void **state)
{
    open_port();
    out(IER, 0x04);
    out(MCR, 0x18);
    for (unsigned i = 0; i < 17; i++)
        out(DATA, (uint8_t)i);
    assert_int_equal(in(IIR), 0xc6);
    assert_int_equal(in(LSR), 0x63);
    assert_int_equal(in(LSR), 0x61); /* reading clears OE */
    assert_int_equal(in(IIR), 0xc1);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(DATA), i);
    out(FCR, 0);
    out(DATA, 'a');
    out(DATA, 'b'); /* without FIFO the new byte replaces the old */
    assert_int_equal(in(LSR), 0x63);
    assert_int_equal(in(DATA), 'b');
    out(DATA, 'c');
    assert_int_equal(in(DATA), 'c');
}

static void modem_interrupt(void **state)
{
    out(MCR, 0x18);
    in(MSR);
    out(MCR, 0x08); /* leaving loopback CTS and DSR come back */
    out(IER, 0x08);
    assert_true(board.irq[GSI]);
    assert_int_equal(in(IIR), 0x00);
    assert_int_equal(in(MSR), 0xb3);
    assert_false(board.irq[GSI]);
    assert_int_equal(in(IIR), 0x01);
}

static void out2_gates_the_interrupt(void **state)
{
    out(IER, 0x02);
    assert_false(board.irq[GSI]);
    assert_int_equal(u.thre_pending, 1);
    out(MCR, 0x08);
    assert_true(board.irq[GSI]);
    out(MCR, 0x00);
    assert_false(board.irq[GSI]);
}

/* The probe of Linux's 8250 driver, step by step in its order. */
static void linux_finds_a_16550a(void **state)
{
    uint8_t mcr, ier, lcr, first, second;

    ier = in(IER);
    out(IER, 0);
    assert_int_equal(in(IER)&0x0f, 0);
    out(IER, 0x0f);
    assert_int_equal(in(IER)&0x0f, 0x0f);
    out(IER, ier);
    mcr = in(MCR);
    lcr = in(LCR);
    out(MCR, 0x10 | 0x0a);
    assert_int_equal(in(MSR)&0xf0, 0x90); /* the loopback test */
    out(MCR, mcr);
    out(LCR, 0xbf);
    out(IIR, 0);
    out(LCR, 0);
    out(FCR, 0x01);
    assert_int_equal(in(IIR) >> 6, 3); /* a 16550A */
    out(LCR, 0x80);
    assert_int_not_equal(in(IIR), 0); /* not a 16650 */
    out(LCR, 0xbf);
    assert_int_not_equal(in(IIR), 0); /* nor its second version */
    out(LCR, 0);
    first = in(MCR);
    out(LCR, 0xe0);
    second = in(2);
    if (!((second ^ first) & 0x10)) { /* not a National Super I/O */
        out(LCR, 0);
        out(MCR, first ^ 0x10);
        out(LCR, 0xe0);
        assert_int_equal(((in(2) ^ first) & 0x10), 0);
        out(LCR, 0);
        out(MCR, first);
    }
    out(LCR, 0);
    out(FCR, 0x21);
    first = in(IIR) >> 5;
    out(FCR, 0x01);
    out(LCR, 0x80);
    out(FCR, 0x21);
    second = in(IIR) >> 5;
    out(FCR, 0x01);
    out(LCR, 0);
    assert_int_equal(first, 6);
    assert_int_equal(second, 6); /* not a 16750 */
    ier = in(IER);
    out(IER, ier & ~0x40);
    assert_int_equal(in(IER)&0x40, 0);
    out(IER, ier | 0x40);
    assert_int_equal(in(IER)&0x40, 0); /* not an XScale */
    out(IER, ier);
    out(LCR, lcr);
}

/* What the driver tests when the port is opened; a failure makes it poll by a timer ("bogus THRE"
 * work-arounds). */
static void linux_trusts_its_interrupts(void **state)
{
    uint8_t first, second, lsr;

    open_port();
    assert_int_equal(in(LSR)&0x20, 0x20);
    out(IER, 0x02);
    first = in(IIR);
    out(IER, 0);
    out(IER, 0x02);
    second = in(IIR);
    out(IER, 0);
    assert_int_equal(first & 1, 0);
    assert_int_equal(second & 1, 0);
    out(IER, 0x02);
    lsr = in(LSR);
    second = in(IIR);
    out(IER, 0);
    assert_false((lsr & 0x40) && (second & 1));
    assert_false(board.irq[GSI]);
}

/* One call of Linux's interrupt handler must come to an end: 16 bytes for each transmitter
 * interrupt, then off. */
static void an_interrupt_handler_comes_to_an_end(void **state)
{
    unsigned left = 100, passes = 0;

    open_port();
    out(IER, 0x07);
    while (!(in(IIR)&1)) {
        assert_true(++passes < 20);
        if (in(LSR)&1)
            in(DATA);
        if (in(LSR)&0x20) {
            for (unsigned i = 0; i < 16 && left; i++, left--)
                out(DATA, 'x');
            if (left == 0)
                out(IER, 0x05);
        }
    }
    assert_int_equal(sent_count, 100);
    assert_false(board.irq[GSI]);
}

static void wide_accesses_are_bytes(void **state)
{
    bus_port_write(&board.bus, BASE + SCR - 1, 2, 0x5a00);
    assert_int_equal(bus_port_read(&board.bus, BASE + SCR - 1, 2), 0x5ab0);
    bus_port_write(&board.bus, BASE, 1, 'x');
    assert_int_equal(sent_count, 1);
}

static void hostile_state_is_refused(void **state)
{
    static const struct {
        unsigned offset;
        uint8_t value;
    } bad[] = {{12 + 25, 17}, {29 + 25, 17}, {29 + 25, 2}, {47 + 25, 1}};
    uint8_t data[256];

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        bus_save(&board.bus, &w);
        data[24 + bad[i].offset] = bad[i].value;
        r.size = w.used;
        assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
        assert_non_null(r.error);
        assert_true(mock_round_trip(&board)); /* the device is left in a state that can be saved */
    }
}

/* With its interrupts off, and perhaps the host's, nobody else can tell it that there is room. */
static void a_guest_that_polls_gets_its_byte_out(void **state)
{
    open_port();
    host_room = 0;
    out(DATA, 'x');
    assert_int_equal(in(LSR), 0x00);
    out(IER, 0x02);
    host_room = 1;
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(sent_count, 1);
    assert_true(board.irq[GSI]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(registers_hold_what_they_have_bits_for, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_go_out_unchanged, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_come_in_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(the_line_takes_what_it_has_room_for, setup, teardown),
        cmocka_unit_test_setup_teardown(without_fifo_one_byte_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(the_line_waits_for_rts, setup, teardown),
        cmocka_unit_test_setup_teardown(receive_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(transmit_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(each_byte_that_leaves_is_an_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(each_byte_received_is_an_edge_without_fifo, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_left_in_the_fifo_times_out_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cleared_fifo_fills_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(reading_iir_clears_only_what_it_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guest_that_polls_gets_its_byte_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_host_that_cannot_take_bytes_stops_the_transmitter, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(fcr_clears_the_fifos, setup, teardown),
        cmocka_unit_test_setup_teardown(loopback_turns_bytes_and_modem_lines_around, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(loopback_overruns, setup, teardown),
        cmocka_unit_test_setup_teardown(modem_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(out2_gates_the_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_finds_a_16550a, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_trusts_its_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(an_interrupt_handler_comes_to_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(wide_accesses_are_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
