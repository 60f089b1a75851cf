/* links: guest/console/console.c guest/console/front.c guest/console/kept.c guest/console/lines.c guest/console/places.c guest/console/port.c guest/console/terminal.c guest/console/terminal_functions.c guest/console/terminal_set.c arch/x86/lib/format.c */
/*
 * The console with VMs, a serial port and a monitor that only note what reaches them: after every
 * short sequence of events a byte that is typed is somebody's, and all that guests say comes out.
 */
#include "tests/unit/console_stubs.h"

/* --- a machine --- */

static void pump(void)
{
    room = SERIAL_TX_SIZE;
    (void)console_pump();
}

static void type(uint8_t byte)
{
    typed[typed_head++ % sizeof(typed)] = byte;
    pump();
}

static void begin(int attach, bool a, bool b)
{
    console_monitor(); /* whatever was */
    memset(slots, 0, sizeof(slots));
    memset(to_guest, 0, sizeof(to_guest));
    memset(to_port, 0, sizeof(to_port));
    to_monitor = prompts = 0;
    shown = 0;
    typed_head = typed_tail = 0;
    stalls = false;
    room = SERIAL_TX_SIZE;
    for (unsigned i = 0; i < VMS; i++) {
        slots[i].id = vms[i].id = i;
        slots[i].config = &configs[i];
        slots[i].name[0] = (char)('a' + i);
        awaited[i] = i ? b : a;
    }
    console_begin(attach);
}

static void start(unsigned i)
{
    awaited[i] = false;
    slots[i].vm = &vms[i];
    console_vm_starts(&slots[i]);
}

static void end(unsigned i)
{
    awaited[i] = false;
    slots[i].vm = NULL;
    console_vm_ends(&slots[i], false);
}

static void say(unsigned i, const char *text)
{
    for (; *text; text++)
        console_put(&vms[i], (uint8_t)*text);
}

enum { START, END, OUTPUT, FLOOD, OF_VMS = 4 * VMS, ESCAPE = OF_VMS, TYPED, PUMP, IDLE, EVENTS };

static bool happens(unsigned event)
{
    unsigned vm = event % VMS;

    switch (event < OF_VMS ? event / VMS : event) {
    case START:
        if (!slots[vm].vm)
            start(vm);
        return true;
    case END:
        if (slots[vm].vm || awaited[vm])
            end(vm);
        return true;
    case OUTPUT:
        if (slots[vm].vm)
            say(vm, "line\n");
        return true;
    case FLOOD: /* the port takes nothing for now */
        room = 0;
        if (slots[vm].vm)
            say(vm, "1\n2\n");
        return true;
    case ESCAPE:
        type(0x1d);
        return true;
    case TYPED:
        type('\r');
        return true;
    case PUMP:
        pump();
        return true;
    default:
        if (!slots[0].vm && !slots[1].vm && !awaited[0] && !awaited[1])
            console_idle();
        return true;
    }
}

/* A byte is somebody's at once: a guest's that exists, or the monitor's. */
static void check(void)
{
    unsigned guests[VMS] = {to_guest[0], to_guest[1]}, monitor = to_monitor;

    pump();
    type('k');
    assert_int_equal(to_guest[0] + to_guest[1] + to_monitor, guests[0] + guests[1] + monitor + 1);
    for (unsigned i = 0; i < VMS; i++)
        assert_true(to_guest[i] == guests[i] || slots[i].vm);
}

static void test_every_byte_is_somebodys(void **state)
{
    static const int attach[] = {CONSOLE_ANY, CONSOLE_MONITOR, 0, 1};
    const unsigned sequences = EVENTS * EVENTS * EVENTS; /* of three events */

    for (unsigned n = 0; n < sequences; n++) {
        for (unsigned how = 0; how < 4; how++) {
            begin(attach[how], n & 1, true);
            for (unsigned left = n, i = 0; i < 3; left /= EVENTS, i++)
                (void)happens(left % EVENTS);
            check();
        }
    }
}

static void test_all_is_shown(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    say(1, "of b\n");
    say(0, "of a\n");
    end(0);
    end(1);
    console_flush();
    screen[shown] = '\0';
    assert_non_null(strstr(screen, "console of a"));
    assert_non_null(strstr(screen, "console of b"));
    assert_non_null(strstr(screen, "of b\n"));
}

/* Ctrl-] is noticed behind what a guest does not take, and without anything else happening. */
static void test_a_guest_that_does_not_read(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    stalls = true;
    tsc_hz = 1000000;
    typed[typed_head++] = 'x';
    typed[typed_head++] = 0x1d;
    room = SERIAL_TX_SIZE;
    while (console_pump() != CONSOLE_NEVER)
        room = SERIAL_TX_SIZE;
    assert_int_equal(prompts, 1);
    assert_int_equal(to_guest[0], 0);
    tsc_hz = 1000000000;
}

static void test_a_key_that_is_waited_for(void **state)
{
    begin(CONSOLE_ANY, false, false);
    console_ask_for_key();
    pump();
    assert_int_equal(console_answer(), VM_NO_KEY);
    type('x');
    assert_int_equal(console_answer(), VM_KEY);
    begin(CONSOLE_ANY, false, false);
    console_ask_for_key();
    type(0x1d);
    assert_int_equal(console_answer(), VM_MONITOR_IN_USE);
    assert_int_equal(prompts, 1);
    begin(CONSOLE_MONITOR, false, false);
    console_ask_for_key();
    assert_int_equal(console_answer(), VM_NO_KEY);
    type('h');
    assert_int_equal(console_answer(), VM_MONITOR_IN_USE);
    assert_int_equal(to_monitor, 1);
}

/* The port may be unable to interrupt: then it is looked at when a guest's byte finds no room. */
static void test_a_port_that_does_not_interrupt(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    room = 0;
    assert_false(console_put(&vms[0], 'x'));
    drains = SERIAL_TX_SIZE;
    assert_true(console_put(&vms[0], 'x'));
    drains = 0;
    assert_int_equal(screen[shown - 1], 'x');
}

/* --- the loop of processor 0, which comes by often --- */

#define LATER (tsc_hz / 100) /* than the console ever waits while output does */

static void test_nothing_is_due(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    pump();
    now += LATER;
    pump();
    retries = questions = 0;
    assert_int_equal(console_pump(), CONSOLE_NEVER);
    assert_int_equal(retries + questions, 0);
    type('x');
    assert_int_equal(to_guest[0], 1);
}

/* While output is on its way, all the rest waits for the deadline, but not what is typed. */
static void test_the_port_is_sending(void **state)
{
    uint64_t deadline;

    begin(CONSOLE_ANY, true, false);
    start(0);
    pump();
    now += LATER;
    pump();
    say(0, "line\n");
    questions = 0;
    deadline = console_pump();
    assert_uint_in_range(deadline, now + 1, now + LATER - 1);
    assert_int_equal(console_pump(), deadline);
    assert_int_equal(questions, 0);
    now = deadline;
    assert_uint_in_range(console_pump(), now + 1, now + LATER - 1);
    assert_int_not_equal(questions, 0);
    type('x');
    assert_int_equal(to_guest[0], 1);
}

/* The port's interrupt may have sent all of it before the loop comes by. */
static void test_a_byte_that_was_refused(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    pump();
    retries = 0;
    room = 0;
    assert_false(console_put(&vms[0], 'x'));
    pump();
    assert_int_equal(retries, 1);
    pump();
    assert_int_equal(retries, 1);
    start(1);
    console_attach(&slots[1],
                   VM_SERIAL); /* what waits there may be older than its being in front */
    retries = 0;
    pump();
    assert_int_equal(retries, 1);
}

/* The port has no room for one of Corbel's lines; then it has. */
static void test_a_line_that_waits(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    pump();
    room = 0;
    line_sink("corbel: line\r\n", 14);
    pump();
    assert_memory_equal(screen + shown - 14, "corbel: line\r\n", 14);
}

/* What is kept of a guest is sent as the port takes it. */
static void test_what_was_kept(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    pump();
    for (unsigned i = 0; i < 1000; i++)
        say(1, "k");
    room = 2 * PORT_RESERVE; /* for the announcement, and no more */
    console_attach(&slots[1], VM_SERIAL);
    shown = 0;
    for (unsigned i = 0; i < 10; i++) { /* the port has sent all, but never takes all */
        room = 700;
        (void)console_pump();
        room = SERIAL_TX_SIZE;
        now += LATER;
    }
    assert_int_equal(shown, 1000);
}

/* The port has sent all before the loop comes by, and more is said: the loop comes by again. */
static void test_more_is_said(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    pump();
    for (unsigned i = 0; i < 3; i++) {
        now += LATER;
        pump();
        again = 0;
        say(0, "xyz");
        assert_int_equal(again, 1);
    }
}

static void say_port(unsigned port, const char *text)
{
    assert_int_equal(console_put_port(&vms[0], port, text, strlen(text)), strlen(text));
}

static void expect_screen(const char *text)
{
    screen[shown] = '\0';
    assert_string_equal(screen, text);
    shown = 0;
}

/* A VM's other ports: nothing of them is shown by itself, each is shown and typed to by itself. */
static void test_ports(void **state)
{
    uint64_t unseen, lost;

    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    pump();
    shown = 0;
    say_port(0, "zero\r\n");
    say_port(1, "one\r\n");
    expect_screen("");
    assert_true(console_unseen(&slots[0]));
    assert_false(console_unseen(&slots[1]));
    console_kept(&slots[0], 1, &unseen, &lost);
    assert_int_equal(unseen, 5);
    assert_int_equal(lost, 0);
    console_attach(&slots[0], 1);
    assert_ptr_equal(console_front(), &slots[0]);
    assert_int_equal(console_front_port(), 1);
    expect_screen("corbel: console of a.1: Ctrl-] for the monitor\r\none\r\n");
    say_port(1, "more\r\n");
    say_port(0, "again\r\n");
    say(0, "serial\r\n");
    expect_screen("more\r\n");
    type('x');
    assert_int_equal(to_port[1], 1);
    assert_int_equal(to_port[0] + to_guest[0] + to_guest[1], 0);
    type(0x1d);
    assert_int_equal(prompts, 1);
    say_port(1, "behind\r\n");
    shown = 0;
    type(0x1d);
    expect_screen("behind\r\n");
    console_attach(&slots[0], 0);
    expect_screen("corbel: console of a.0: Ctrl-] for the monitor\r\nzero\r\nagain\r\n");
    console_attach(&slots[0], VM_SERIAL);
    expect_screen("corbel: console of a: Ctrl-] for the monitor\r\nserial\r\n");
    type('y');
    assert_int_equal(to_guest[0], 1);
    assert_int_equal(to_port[1], 2); /* Ctrl-] twice: one is the guest's */
}

/* The VM of a port that is in front restarts, ends, starts again. */
static void test_a_port_and_its_vm(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    console_attach(&slots[0], 1);
    say_port(1, "half");
    console_vm_ends(&slots[0], true);
    assert_int_equal(console_front_port(), 1);
    say_port(1, "new\n");
    shown = 0;
    type(0x1d); /* somebody has used the monitor: what ends leads there */
    type(0x1d);
    prompts = 0;
    end(0);
    pump();
    assert_int_equal(prompts, 1);
    start(0);
    pump();
    console_attach(&slots[0], 1);
    unsigned before = to_port[1];
    type('x');
    assert_int_equal(to_port[1], before + 1);
    /* Another VM's end is nothing to it. */
    end(1);
    pump();
    assert_int_equal(console_front_port(), 1);
    type('x');
    assert_int_equal(to_port[1], before + 2);
    /* Nobody has: then the next VM comes, and the port that never was in front does not. */
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    pump();
    say_port(0, "unseen\n");
    end(1);
    pump();
    assert_int_equal(console_front_port(), VM_SERIAL);
}

/* Nobody reads it: the newest is kept, and what is not is counted. In front it waits for the port.
 */
static void test_a_port_that_nobody_reads(void **state)
{
    uint64_t unseen, lost;

    begin(CONSOLE_ANY, true, true);
    start(0);
    pump();
    for (unsigned i = 0; i < KEPT_SIZE / 8 + 10; i++)
        say_port(0, "1234567\n");
    console_kept(&slots[0], 0, &unseen, &lost);
    assert_int_equal(unseen, KEPT_SIZE);
    assert_int_equal(lost, 80);
    console_attach(&slots[0], 1);
    pump();
    room = PORT_RESERVE + TERMINAL_OUT + 2; /* each may need so much */
    assert_int_equal(console_put_port(&vms[0], 1, "12345", 5), 3);
    assert_int_equal(console_put_port(&vms[0], 1, "45", 2), 0);
    pump();
    assert_int_equal(console_put_port(&vms[0], 1, "45", 2), 2);
}

/* --- whoever only looks --- */

static void test_read_only(void **state)
{
    begin(CONSOLE_ANY, true, true);
    permitted = false;
    start(0);
    start(1);
    shown = 0;
    console_attach(&slots[1], VM_SERIAL);
    expect_screen("corbel: console of b, read-only: Ctrl-] for the monitor\r\n");
    keys = 0;
    for (unsigned byte = 0; byte < 256; byte++)
        if (byte != PORT_ESCAPE)
            type((uint8_t)byte);
    type(PORT_ESCAPE);
    type(PORT_ESCAPE);
    assert_int_equal(keys, 257);
    assert_int_equal(to_guest[0] + to_guest[1] + to_port[0] + to_port[1], 0);
    assert_int_equal(prompts, 1);
    shown = 0;
    say(1, "\x1b[6nx"); /* the answer would be typed into it */
    expect_screen("x");
    permitted = true;
    type('x');
    assert_int_equal(to_guest[1], 1);
    /* No key is an answer, and being there does not keep the machine on. */
    begin(CONSOLE_ANY, false, false);
    permitted = false;
    console_ask_for_key();
    type('x');
    assert_int_equal(console_answer(), VM_NO_KEY);
    type(PORT_ESCAPE);
    type('x');
    assert_int_equal(to_monitor, 1);
    assert_int_equal(console_answer(), VM_NO_KEY);
    permitted = true;
    assert_int_equal(console_answer(), VM_MONITOR_IN_USE);
}

/* --- what guests make of the terminal --- */

static void line(const char *text)
{
    line_sink(text, strlen(text));
}

static void test_lines_among_a_guests(void **state)
{
    begin(CONSOLE_ANY, true, false);
    start(0);
    shown = 0;
    say(0, "\x1b[31mred\r\n");
    line("corbel: one\r\n");
    line("corbel: two\r\n");
    say(0, "corbel: mine\r\n");
    expect_screen("\x1b[31mred\r\n"
                  "\x1b[0m\x1b(B\x1b)B\x0f\r\ncorbel: one\r\ncorbel: two\r\n"
                  "\x1b[0;31m\x1b(B\x1b)B\x0f"
                  "corbel:(guest) mine\r\n");
    say(0, "\x1b[0m\x1b[?1049hwhole\r\n");
    line("corbel: three\r\n"); /* not on a program's screen */
    expect_screen("\x1b[0m\x1b[?1049hwhole\r\n");
    say(0, "\x1b[?1049l\r\n");
    expect_screen("\x1b[?1049l\x1b[?6l\x1b[0m\x1b(B\x1b)B\x0f\x1b[999;1H\r\ncorbel: three\r\n\r\n");
}

static void test_the_terminal_is_given_back(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    say(0, "\x1b[?1h\x1b=\x1b[1;32mgreen");
    shown = 0;
    type(PORT_ESCAPE);
    expect_screen("\x1b[?1l\x1b>\x1b[0m\x1b(B\x1b)B\x0f\r\n");
    type(PORT_ESCAPE);
    expect_screen("\x1b[0;1;32m\x1b(B\x1b)B\x0f\x1b[?1h\x1b=\x1b[?1h\x1b=\x1b[1;32mgreen");
    console_attach(&slots[1], VM_SERIAL);
    expect_screen("\x1b[?1l\x1b>\x1b[0m\x1b(B\x1b)B\x0f\r\n"
                  "corbel: console of b: Ctrl-] for the monitor\r\n");
    /* A VM that restarts finds it as at first. */
    say(1, "\x1b[?2004h$ ");
    shown = 0;
    console_vm_ends(&slots[1], true);
    expect_screen("\x1b[?2004l\r\n");
}

static void test_questions_are_not_repeated(void **state)
{
    begin(CONSOLE_ANY, true, true);
    start(0);
    start(1);
    say(1, "\x1b[6n$ \x1b]0;title\a");
    shown = 0;
    console_attach(&slots[1], VM_SERIAL);
    expect_screen("corbel: console of b: Ctrl-] for the monitor\r\n$ ");
    say(1, "\x1b[6n\x1b[6n");
    expect_screen("\x1b[6n");
    type('x');
    say(1, "\x1b[6n");
    expect_screen("\x1b[6n");
}

static void test_raw(void **state)
{
    begin(CONSOLE_ANY, true, false);
    configs[0].terminal = CONFIG_TERMINAL_RAW;
    console_attach(&slots[0], VM_SERIAL);
    start(0);
    shown = 0;
    say(0, "\x1b]0;title\a\x9b\xff");
    say(0, "6n\x1b[c\r\n");
    expect_screen("\x1b]0;title\a\x9b\xff"
                  "6n\x1b[c\r\n");
    configs[0].terminal = CONFIG_TERMINAL_FILTERED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_a_port_and_its_vm),
        cmocka_unit_test(test_a_port_that_nobody_reads),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_lines_among_a_guests),
        cmocka_unit_test(test_the_terminal_is_given_back),
        cmocka_unit_test(test_questions_are_not_repeated),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_every_byte_is_somebodys),
        cmocka_unit_test(test_all_is_shown),
        cmocka_unit_test(test_a_guest_that_does_not_read),
        cmocka_unit_test(test_a_key_that_is_waited_for),
        cmocka_unit_test(test_a_port_that_does_not_interrupt),
        cmocka_unit_test(test_nothing_is_due),
        cmocka_unit_test(test_the_port_is_sending),
        cmocka_unit_test(test_a_byte_that_was_refused),
        cmocka_unit_test(test_a_line_that_waits),
        cmocka_unit_test(test_what_was_kept),
        cmocka_unit_test(test_more_is_said),
    };

    console_mux_init(&prompt);
    cpu.self = &cpu;
    if (syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
