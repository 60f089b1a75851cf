/* links: guest/vm/control.c guest/vm/moments.c guest/monitor/moments.c guest/monitor/text.c guest/vm/settings.c guest/vm/inspect.c guest/vm/events.c guest/vm/idle.c guest/vm/life.c guest/vm/down.c guest/monitor/monitor.c guest/monitor/job.c guest/monitor/commands.c guest/monitor/table.c guest/monitor/command.c guest/monitor/editor.c guest/config/config_text.c guest/config/config_keys.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* The machine's end: every VM is asked, and the machine gets there in time, whatever they do. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/vm/down.h"
#include "tests/unit/lives.h"

static bool runs_or_starts(void)
{
    for (unsigned i = 0; i < VMS; i++)
        if (control_slot(i)->state != SLOT_OFF)
            return true;
    return false;
}

/* The machine is on its way down: it gets there in time, in the way that is wanted. */
static void expect_end(int how, bool stuck)
{
    unsigned most = (TIMEOUT + (stuck ? 2 : 0)) * 100 + 50;

    if (pass(most))
        fail_msg("%s\n%s\nstates %u %u %u", logged, said, control_slot(0)->state,
                 control_slot(1)->state, control_slot(2)->state);
    assert_int_equal(machine, how);
    assert_int_equal(starts, 0);
    if (!stuck)
        assert_false(runs_or_starts());
}

enum kind { WILLING, DEAF, STUCK, STOPS_OFTEN, IN_FLIGHT, KINDS };

static void make_them(enum kind kind)
{
    for (unsigned i = 0; i < VMS; i++) {
        guests[i].listens = kind == WILLING || kind == STOPS_OFTEN || kind == IN_FLIGHT;
        guests[i].in_flight = kind == IN_FLIGHT && guests[i].runs ? 30 : 0;
        guests[i].stuck = kind == STUCK;
        guests[i].clearing = kind == DEAF;
        guests[i].pieces = kind == DEAF ? 1000000 : 0;
        guests[i].in_between = kind == STOPS_OFTEN;
        vms[i].on_poweroff = kind == WILLING ? CONFIG_END_RESTART : CONFIG_END_PAUSE;
    }
}

/* Every triple of states, with guests of each kind. */
static void test_going_down_ends(void **state)
{
    for (unsigned n = 0; n < STATES * STATES * STATES * KINDS; n++) {
        const enum slot_state in[VMS] = {states[n % STATES].state,
                                         states[n / STATES % STATES].state,
                                         states[n / STATES / STATES % STATES].state};
        enum kind kind = n / (STATES * STATES * STATES);
        bool reboot = n % 2;

        build(in, n % 5 ? CONFIG_START_TOGETHER : CONFIG_START_IN_TURN);
        make_them(kind);
        uint64_t began = now;
        assert_true(type(reboot ? "reboot\r" : "poweroff\r"));
        expect_end(reboot ? REBOOTED : OFF, kind == STUCK);
        if (kind == WILLING || kind == STOPS_OFTEN)
            assert_null(strstr(logged, "it is ended"));
        if (kind == WILLING) {
            assert_true(now - began <= (LISTENS + 1) * HZ);
        }
    }
}

static void test_going_down_beside_a_silent_drive(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].in_flight = 1000000;
    assert_true(type("poweroff\r"));
    expect_end(OFF, true);
    assert_non_null(
        strstr(logged, "a drive does not give back what was asked for by a: this ends"));
}

/* Every state, and whatever is typed while the machine goes down. */
static void test_nobody_is_in_the_way(void **state)
{
    for (unsigned n = 0; n < STATES * command_count * 2; n++) {
        const enum slot_state in[VMS] = {states[n % STATES].state, SLOT_RUNNING, SLOT_PAUSED};
        const struct command *c = &commands[n / STATES % command_count];
        char line[80];

        build(in, CONFIG_START_TOGETHER);
        make_them(n / STATES / command_count ? DEAF : WILLING);
        assert_true(type("reboot\r"));
        assert_true(pass(2));
        monitor.leave();
        monitor.enter(); /* Ctrl-], twice */
        assert_true(pass(2));
        snprintf(line, sizeof(line), "%s %s\r", c->name, c->min ? "a" : "");
        assert_true(type(line));
        expect_end(strcmp(c->name, "poweroff") == 0 ? OFF : REBOOTED, false);
    }
}

static void test_now_is_now(void **state)
{
    for (unsigned n = 0; n < STATES; n++) {
        const enum slot_state in[VMS] = {states[n].state, SLOT_RUNNING, SLOT_PAUSED};
        build(in, CONFIG_START_TOGETHER);
        trace_waits = 23542;
        assert_false(type("poweroff now\r"));
        assert_int_equal(machine, OFF);
        assert_non_null(strstr(logged, "23542 records of the trace are not sent"));
        assert_null(strstr(logged, "captured"));
        build(in, CONFIG_START_TOGETHER);
        assert_true(type("poweroff\r"));
        assert_true(pass(1));
        assert_true(type("\x03"));
        assert_false(type("reboot now\r"));
        assert_int_equal(machine, REBOOTED);
    }
}

/* Without anybody who listens: each is ended by name, and not a moment earlier. */
static void test_who_does_not_listen_is_ended(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_PAUSED};

    build(in, CONFIG_START_TOGETHER);
    guests[1].listens = true;
    assert_true(type("poweroff\r"));
    assert_true(pass(TIMEOUT * 100 - 5));
    assert_non_null(strstr(said, "waiting for 3 VMs to shut down, 3 s: a, b, c"));
    assert_non_null(strstr(said, "waiting for 2 VMs to shut down, 1 s: a, c"));
    assert_null(strstr(logged, "it is ended"));
    assert_false(pass(20));
    assert_non_null(strstr(logged, "a: did not shut down within 3 s: it is ended"));
    assert_non_null(strstr(logged, "c: did not shut down within 3 s: it is ended"));
    assert_null(strstr(logged, "b: did not shut down"));
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_int_equal(control_slot(1)->ended, SLOT_POWERED_OFF);
}

static void test_no_patience(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_PAUSED};

    build(in, CONFIG_START_TOGETHER);
    config.shutdown_timeout = 0;
    assert_true(type("poweroff\r"));
    assert_false(pass(20));
    assert_non_null(strstr(logged, "a: did not shut down within 0 s: it is ended"));
}

/* A guest that boots forgets its power button. */
static void test_the_button_is_pressed_again(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    config.shutdown_timeout = 35;
    assert_true(type("poweroff\r"));
    assert_true(pass(3000));
    assert_true(guests[0].presses == 3 || guests[0].presses == 4);
}

static void test_called_off(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_WAITING};

    for (unsigned at_prompt = 0; at_prompt < 2; at_prompt++) {
        build(in, CONFIG_START_TOGETHER);
        assert_true(type("poweroff\r"));
        assert_true(pass(20));
        if (at_prompt) { /* he has been away meanwhile */
            monitor.leave();
            monitor.enter();
        }
        assert_true(type("\x03"));
        assert_true(pass(2 * TIMEOUT * 100));
        assert_int_equal(machine, ON);
        assert_false(down_wanted());
        assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(2)->state, SLOT_OFF);
        assert_true(type("start c\r"));
        assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
    }
}

/* Those that start in turn do not, and do when the job is called off. */
static void test_in_turn(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    for (unsigned cancelled = 0; cancelled < 2; cancelled++) {
        build(in, CONFIG_START_IN_TURN);
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true;
        begin_anew();
        assert_true(pass(2));
        assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(1)->state, SLOT_OFF);
        starts = 0;
        assert_true(type("poweroff\r"));
        if (!cancelled) {
            expect_end(OFF, false);
        } else {
            guests[0].listens = true;
            trace_waits = 5;
            assert_true(pass(LISTENS * 100 + 20));
            assert_int_equal(control_slot(0)->state, SLOT_OFF);
            assert_int_equal(control_slot(1)->state, SLOT_OFF);
            assert_true(type("\x03"));
            assert_true(pass(5));
            assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
        }
    }
}

/* `when_idle` does not come in between, whatever it says; and leads to the same end. */
static void test_when_idle(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    for (unsigned idle = 0; idle < 2; idle++) {
        build(in, CONFIG_START_TOGETHER);
        config.when_idle = idle;
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true; /* nobody waits for his start */
        guests[0].listens = true;
        assert_true(type("reboot\r"));
        monitor.leave();
        expect_end(REBOOTED, false);
        build(in, CONFIG_START_TOGETHER);
        config.when_idle = CONFIG_IDLE_POWEROFF;
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true;
        assert_true(type("kill a\r"));
        assert_false(pass(20));
        assert_int_equal(machine, OFF);
        assert_non_null(strstr(logged, "no VM is left: power off"));
    }
}

/* The trace is sent first, beside the prompt. */
static void test_the_trace_is_sent(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    trace_waits = 5000;
    assert_true(type("poweroff\r"));
    assert_true(pass(2000));
    assert_non_null(strstr(said, "5000 records of the trace are left"));
    capture_waits = 70;
    trace_waits = 0;
    assert_true(pass(20));
    assert_non_null(strstr(said, "70 captured packets are left"));
    capture_waits = 0;
    assert_false(pass(20));
    build(in, CONFIG_START_TOGETHER);
    capture_waits = 7;
    assert_false(type("poweroff now\r"));
    assert_non_null(strstr(logged, "7 captured packets are not sent"));
    build(in, CONFIG_START_TOGETHER);
    trace_waits = 5000;
    assert_true(type("poweroff\r"));
    assert_true(pass(20));
    assert_false(type("\x03poweroff now\r"));
    assert_int_equal(machine, OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_going_down_ends),
        cmocka_unit_test(test_going_down_beside_a_silent_drive),
        cmocka_unit_test(test_nobody_is_in_the_way),
        cmocka_unit_test(test_now_is_now),
        cmocka_unit_test(test_who_does_not_listen_is_ended),
        cmocka_unit_test(test_no_patience),
        cmocka_unit_test(test_the_button_is_pressed_again),
        cmocka_unit_test(test_called_off),
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_when_idle),
        cmocka_unit_test(test_the_trace_is_sent),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
