/* links: guest/vm/control.c guest/vm/moments.c guest/monitor/moments.c guest/monitor/text.c guest/vm/settings.c guest/vm/inspect.c guest/vm/events.c guest/vm/idle.c guest/vm/life.c guest/vm/down.c guest/monitor/monitor.c guest/monitor/job.c guest/monitor/commands.c guest/monitor/table.c guest/monitor/command.c guest/monitor/editor.c guest/config/config_text.c guest/config/config_keys.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* VMs that are kept and put back by commands, whatever becomes of them meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/lives.h"

static void test_kept_and_put_back(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    put_back = 0;
    shows("snapshots\r", 1, "there is none");
    shows("snapshot a one\r", 5, "a: is kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    shows("snapshot a one\r", 5, "a has a snapshot 'one' already: forget it");
    shows("snapshot a a/b\r", 1, "'a/b' is no name");
    shows("snapshot a 0123456789012345678901234567890_\r", 1, "is no name");
    shows("restore a tw\r", 1, "a has no snapshot 'tw'");
    shows("restore a o\t\r", 5, "a: is what was kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    assert_int_equal(put_back, 1);
    shows("snapshot b two\r", 5, "b: is kept as 'two'; it stands still\r\n");
    is(1, SLOT_PAUSED);
    shows("restore b two\r", 5, "b: is what was kept as 'two'; it stands still\r\n");
    is(1, SLOT_PAUSED);
    shows("snapshots\r", 1, "b                 two");
    shows("snapshot c x\r", 1, "c is off\r\n");
    shows("forget b one\r", 1, "b has no snapshot 'one'");
    shows("forget b two\r", 1, "b: 'two' is forgotten");
    guests[0].debugged = true;
    shows("restore a one\r", 1, "a is debugged");
    guests[0].debugged = false;
    /* It stays when its VM ends. */
    shows("kill a\r", 3, "a: is killed");
    shows("restore a one\r", 1, "a is off: start it first");
    shows("start a\r", 3, "a: starts");
    shows("restore a one\r", 5, "a: is what was kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    forget_all();
}

static void test_kept_takes_its_time(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_AT_START};
    char error[CONTROL_ERROR];

    build(in, CONFIG_START_TOGETHER);
    dropped = 0;
    guests[0].pieces = 100;
    shows("snapshot a one\r", 30, "a: its memory is kept: ");
    is(0, SLOT_KEEPING);
    is(1, SLOT_RUNNING);
    assert_int_equal(control_pause(control_slot(0), error), -EBUSY);
    assert_string_equal(error, "a is just being kept, or put back: try again");
    assert_int_equal(moments_keep(control_slot(0), "x", 1, error), -EBUSY);
    /* Ctrl-C: it goes on as if nothing had been. */
    assert_true(type("\x03"));
    assert_true(pass(3));
    is(0, SLOT_RUNNING);
    shows("snapshots\r", 1, "there is none");
    assert_int_equal(dropped, 1);
    /* Killed meanwhile. */
    guests[0].pieces = 100;
    shows("snapshot a one\r", 5, "");
    assert_int_equal(control_kill(control_slot(0), "killed", error), 0);
    assert_true(pass(5));
    assert_non_null(strstr(said, "a has come to its end, or begins anew, before"));
    is(0, SLOT_OFF);
    /* A guest that ends itself while its vCPUs are on their way. */
    guests[1].stuck = true;
    shows("snapshot b one\r", 2, "");
    assert_int_equal(control_slot(1)->state, SLOT_PAUSING);
    vm_request(&guests[1].vm, VM_REQUEST_POWEROFF, "powered off");
    guests[1].stuck = false;
    assert_true(pass(5));
    is(1, SLOT_OFF);
    assert_int_equal(dropped, 3);
    shows("snapshots\r", 1, "there is none");
    shows("snapshot c start\r", 5, "c: is kept as 'start'; it stands still");
    is(2, SLOT_PAUSED);
    forget_all();
}

static void test_put_back_at_its_end(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_AT_END, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    shows("snapshot b one\r", 1, "b has come to its end: reset or kill it");
    vms[0].on_poweroff = CONFIG_END_PAUSE;
    shows("snapshot a one\r", 5, "is kept");
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    assert_true(pass(3));
    is(0, SLOT_AT_END);
    guests[0].fails = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_AT_END);
    guests[0].fails = false;
    shows("restore a one\r", 5, "a: is what was kept as 'one'; it stands still");
    is(0, SLOT_PAUSED);
    shows("resume a\r", 2, "a: goes on");
    is(0, SLOT_RUNNING);
    /* It cannot, and goes on. */
    guests[0].fails = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_RUNNING);
    shows("snapshot a two\r", 5, "a cannot");
    is(0, SLOT_RUNNING);
    guests[0].fails = false;
    /* It ends while it is to be kept: that is over. */
    guests[0].stuck = true;
    shows("snapshot a two\r", 1, "");
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    guests[0].stuck = false;
    assert_true(pass(5));
    is(0, SLOT_AT_END);
    assert_non_null(strstr(said, "a has come to its end before that could be done"));
    /* Nothing is left of it. */
    shows("restore a one\r", 5, "a: is what");
    guests[0].ruined = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_OFF);
    forget_all();
}

/* The machine goes down meanwhile: it is asked as everybody else. */
static void test_kept_while_the_machine_goes_down(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};
    char error[CONTROL_ERROR];

    build(in, CONFIG_START_TOGETHER);
    guests[0].listens = true;
    guests[0].pieces = 50;
    assert_int_equal(moments_keep(control_slot(0), "x", 1, error), 0);
    assert_true(pass(3));
    is(0, SLOT_KEEPING);
    assert_true(type("poweroff\r"));
    assert_false(pass((LISTENS + 1) * 100 + 50));
    assert_int_equal(machine, OFF);
    assert_null(strstr(logged, "it is ended"));
    assert_int_equal(moments_put_back(control_slot(0), "x", 1, error), -EBUSY);
    forget_all();
}

/* What it has on its disks is of two moments: it does not run, whatever is asked for, before they
 * are put back. */
static void test_disks_that_are_not_put_back(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    shows("snapshot a one\r", 5, "a: is kept as 'one'");
    guests[0].torn = true;
    shows("restore a one\r", 5, "its disk is not put back");
    is(0, SLOT_AT_END);
    shows("resume a\r", 2, "a has disks that are of two moments: restore it, or forget all of");
    shows("restore a one\r", 5, "its disk is not put back");
    is(0, SLOT_AT_END);
    shows("reset a\r", 3, "");
    is(0, SLOT_AT_START);
    assert_non_null(
        strstr(logged, "a: paused before its first instruction: it has disks that are"));
    shows("resume a\r", 2, "a has disks that are of two moments");
    shows("snapshot a two\r", 2, "a has disks that are of two moments: restore it first");
    shows("kill a\r", 3, "a: is killed");
    shows("start a\r", 3, "a: ");
    is(0, SLOT_AT_START);
    guests[0].fails = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_PAUSED);
    shows("resume a\r", 2, "a has disks that are of two moments");
    guests[0].fails = guests[0].torn = false;
    shows("restore a one\r", 5, "a: is what was kept as 'one'; it stands still");
    is(0, SLOT_PAUSED);
    shows("resume a\r", 2, "a: goes on");
    is(0, SLOT_RUNNING);
    forget_all();
}

/* Nor when the machine goes down, for which a VM that stands still is woken otherwise. */
static void test_going_down_with_torn_disks(void **state)
{
    const enum slot_state in[VMS] = {SLOT_PAUSED, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    torn_vms = 1;
    guests[0].listens = true;
    assert_true(type("poweroff\r"));
    assert_false(pass(20));
    assert_int_equal(guests[0].presses, 0);
    assert_int_equal(machine, OFF);
    torn_vms = 0;
}

/* A drive has something of the snapshot in hand, though nobody wants it to be put back any more. */
static void test_forgotten_too_soon(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    shows("snapshot a one\r", 5, "a: is kept as 'one'");
    still_written = true;
    shows("forget a one\r", 1, "a is just being put back: try again");
    still_written = false;
    shows("forget a one\r", 1, "a: 'one' is forgotten");
}

static void starve(unsigned n)
{
    starving = &guests[n].vm;
    tell_starving();
    assert_true(pass(3));
}

/* It stands still until there is memory for what its snapshots have of its disks. */
static void test_memory_for_disks_is_out(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_OFF};
    unsigned before;

    build(in, CONFIG_START_TOGETHER);
    starve(0);
    is(0, SLOT_PAUSED);
    assert_non_null(strstr(logged, "no memory is left to keep"));
    before = went_on;
    shows("resume a\r", 2, "a: goes on");
    is(0, SLOT_RUNNING);
    assert_int_equal(went_on, before + 1);
    starve(1); /* which stands still already */
    is(1, SLOT_PAUSED);
    /* While the machine goes down they need not be put back any more. */
    guests[0].listens = guests[1].listens = true;
    assert_true(type("poweroff\r"));
    assert_true(pass(2));
    disks_lost = 0;
    starve(0);
    assert_int_equal(disks_lost, 1);
    is(0, SLOT_RUNNING);
    assert_false(pass((LISTENS + 1) * 100 + 50));
    assert_int_equal(machine, OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_and_put_back),
        cmocka_unit_test(test_kept_takes_its_time),
        cmocka_unit_test(test_put_back_at_its_end),
        cmocka_unit_test(test_kept_while_the_machine_goes_down),
        cmocka_unit_test(test_disks_that_are_not_put_back),
        cmocka_unit_test(test_going_down_with_torn_disks),
        cmocka_unit_test(test_forgotten_too_soon),
        cmocka_unit_test(test_memory_for_disks_is_out),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
