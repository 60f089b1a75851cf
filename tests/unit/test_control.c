/* links: guest/vm/control.c guest/vm/moments.c guest/monitor/moments.c guest/monitor/text.c guest/vm/settings.c guest/vm/inspect.c guest/vm/events.c guest/vm/idle.c guest/vm/life.c guest/vm/down.c guest/monitor/monitor.c guest/monitor/job.c guest/monitor/commands.c guest/monitor/table.c guest/monitor/command.c guest/monitor/editor.c guest/config/config_text.c guest/config/config_keys.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* VMs' lives: being made, ending, and each command in each state, as the manual has it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/vm/down.h"
#include "tests/unit/lives.h"

/* A VM whose memory takes its time: the command shows it, Ctrl-C ends it, others are not kept. */
static void test_what_is_made_slowly(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_PAUSED, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].clearing = guests[1].clearing = true;
    assert_true(type("start a\r"));
    assert_true(pass(200));
    assert_non_null(strstr(said, "a: its memory is cleared: 0 %"));
    assert_int_equal(control_slot(0)->state, SLOT_MAKING);
    assert_true(type("\x03"));
    assert_int_equal(control_slot(0)->state, SLOT_OFF);
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_true(type("reset b\r"));
    assert_true(pass(200));
    assert_int_equal(control_slot(1)->state, SLOT_MAKING);
    monitor.leave(); /* Ctrl-], twice: it goes on */
    monitor.enter();
    assert_true(type("start c\r"));
    assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
    guests[1].clearing = false;
    assert_true(pass(2));
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
}

/* The same of its kernel, which is unpacked behind that. */
static void test_what_is_unpacked_slowly(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].unpacking = guests[1].unpacking = guests[1].broken = true;
    assert_true(type("start a\r"));
    assert_true(pass(200));
    assert_int_equal(control_slot(0)->state, SLOT_MAKING);
    assert_true(type("\x03"));
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_true(type("start b\r"));
    assert_true(pass(20));
    assert_int_equal(control_slot(1)->state, SLOT_MAKING);
    guests[1].unpacking = false;
    assert_true(pass(3));
    assert_int_equal(control_slot(1)->ended, SLOT_FAILED);
    guests[0].unpacking = false;
    assert_true(type("start a\r"));
    assert_true(pass(3));
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
}

/* One whose memory takes a moment: the prompt is back as soon as it runs, and no progress shown. */
static void test_what_is_made_quickly(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].clearing = true;
    assert_true(type("start a\r"));
    guests[0].clearing = false;
    assert_true(pass(3));
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
    assert_null(strstr(said, "cleared"));
    assert_non_null(strstr(said, "corbel> "));
}

/* What cannot be started, as is found out at the end, has given its memory back before the next. */
static void test_one_is_made_after_the_other(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < VMS; i++)
        vms[i].autostart = true;
    begin_anew();
    guests[0].clearing = guests[0].broken = true;
    assert_true(pass(20));
    assert_int_equal(control_slot(0)->state, SLOT_MAKING);
    assert_int_equal(control_slot(1)->state, SLOT_OFF);
    guests[0].clearing = false;
    assert_true(pass(5));
    assert_int_equal(control_slot(0)->ended, SLOT_FAILED);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
}

/* What a VM's disks have in flight when it ends is waited for; meanwhile the machine goes on. */
static void test_disks_come_to_rest_first(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_RUNNING};

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < VMS; i++)
        guests[i].in_flight = 50;
    now += 2 * HZ; /* else b's restart would be held back */
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    vm_request(&guests[1].vm, VM_REQUEST_RESET, "resets itself");
    assert_true(pass(20));
    assert_false(guests[0].runs || guests[1].runs);
    assert_true(guests[2].runs);
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_true(control_work() <= now + HZ / 1000);
    assert_true(type("pause c\r"));
    assert_true(pass(2));
    assert_int_equal(control_slot(2)->state, SLOT_PAUSED); /* that takes nothing to come back */
    assert_int_equal(guests[2].in_flight, 50);
    assert_true(type("kill a\r"));
    assert_true(pass(40));
    assert_int_equal(control_slot(0)->state, SLOT_OFF);
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_int_equal(guests[1].life.resets, 1);
    assert_true(guests[1].runs);
    assert_true(control_work() > now + HZ); /* there is nothing to look at any more */
}

/* Also when it stood still with that in flight. */
static void test_disks_of_what_stands_still_come_to_rest(void **state)
{
    const enum slot_state in[VMS] = {SLOT_PAUSED, SLOT_PAUSED, SLOT_KEEPING};

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < VMS; i++)
        guests[i].in_flight = 50;
    assert_true(type("kill a\r"));
    assert_true(type("reset b\r"));
    assert_true(type("kill c\r"));
    for (unsigned i = 0; i < VMS; i++)
        assert_int_equal(guests[i].in_flight, 49); /* it was looked at, and not waited for */
    assert_int_equal(control_slot(0)->state, SLOT_KILLING);
    assert_int_equal(control_slot(1)->state, SLOT_RESETTING);
    assert_int_equal(control_slot(2)->state, SLOT_KILLING);
    assert_null(control_slot(2)->moments.work);
    assert_int_equal(dropped, 1);
    assert_true(pass(60));
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_int_equal(guests[1].life.resets, 1);
    assert_int_equal(control_slot(2)->ended, SLOT_KILLED);
    assert_non_null(strstr(logged, "b: restarts: reset from the monitor"));
}

/* One that wants more memory than there is stands still, and says so each time; `resume` has it try
 * again, and a reset begins anew. */
static void test_out_of_memory(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_PAUSED};
    static const char sentence[] =
        "a: paused: it wants more memory than this machine has left for it, "
        "of which 20 MiB are free: `resume a` when there is more";

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < 2; i++) {
        logged[0] = '\0';
        guests[0].vm.starved = true;
        run_leave(&guests[0].vm.tasks);
        assert_true(pass(2));
        assert_int_equal(control_slot(0)->state, SLOT_PAUSED);
        assert_non_null(strstr(logged, sentence));
        assert_string_equal(control_state_text(control_slot(0)), "out of memory");
        assert_string_equal(control_state_text(control_slot(2)), "paused");
        assert_true(type("resume a\r"));
        assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        assert_false(guests[0].vm.starved);
    }
    logged[0] = '\0';
    assert_true(type("pause a\r"));
    assert_true(pass(2));
    assert_int_equal(control_slot(0)->state, SLOT_PAUSED);
    assert_null(strstr(logged, "memory"));
    assert_string_equal(control_state_text(control_slot(0)), "paused");
    /* What a device wants just then is not lost. */
    scarce = true;
    assert_true(type("resume a\r"));
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
    assert_true(pass(2));
    assert_int_equal(control_slot(0)->state, SLOT_PAUSED);
    assert_non_null(strstr(logged, sentence));
    guests[0].vm.starved = true; /* as a device may do meanwhile */
    assert_true(type("kill a\r"));
    assert_int_equal(control_slot(0)->state, SLOT_OFF);
    assert_string_equal(control_state_text(control_slot(0)), "killed");
    /* Going down the machine has it try again and again: that is not said each time. */
    build(in, CONFIG_START_TOGETHER);
    assert_true(type("poweroff\r"));
    assert_true(down_wanted());
    guests[0].vm.starved = true;
    run_leave(&guests[0].vm.tasks);
    assert_true(pass(1));
    assert_false(guests[0].vm.starved); /* again already */
    assert_null(strstr(logged, "more memory"));
}

/* What the reload test has away goes on by itself, unless it is to stand still or to end. */
static void test_reloaded(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_OFF};
    struct vm *vm = &guests[0].vm;

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < 4; i++) {
        vm->life->reloading = true;
        run_leave(&vm->tasks);
        if (i == 1)
            assert_true(type("pause a\r"));
        if (i == 3)
            assert_true(type("kill a\r"));
        assert_true(pass(2));
        assert_int_equal(vm->life->reloads, i + 1);
        assert_false(vm->life->reloading);
        assert_int_equal(control_slot(0)->state, i == 1   ? SLOT_PAUSED
                                                 : i == 3 ? SLOT_OFF
                                                          : SLOT_RUNNING);
        assert_int_equal(guests[0].runs, i != 1 && i != 3);
        if (i == 1) {
            assert_true(type("resume a\r"));
            assert_true(pass(2));
            assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        }
    }
}

/* Its argument is completed with what disks_choice() says, and help knows it. */
static void test_disks_is_typed(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    assert_true(type("disks at\t1\r"));
    assert_non_null(strstr(said, "disks of ata1\r\n"));
    assert_true(type("disks ata1 b\r"));
    assert_non_null(strstr(said, "usage: disks [DRIVE|VM]\r\n"));
    assert_true(type("help disks\r"));
    assert_non_null(strstr(said, "\r\nfor example: disks ata0"));
}

/* --- docs/USING.md's table, cell by cell --- */

static const char *const events[] = {"start a",      "stop a",      "pause a",
                                     "resume a",     "reset a",     "kill a",
                                     "snapshot a y", "restore a x", "down"};
#define COLUMNS ARRAY_SIZE(events)

static char *next_cell(char **row)
{
    char *cell = strsep(row, "|");

    assert_non_null(cell);
    while (*cell == ' ')
        cell++;
    for (size_t end = strlen(cell); end && cell[end - 1] == ' ';)
        cell[--end] = '\0';
    return cell;
}

static const char *name_of(enum slot_state state)
{
    for (unsigned i = 0; i < STATES; i++)
        if (states[i].state == state)
            return states[i].name;
    return "?";
}

/* What is kept of the first one, for `restore`. */
static void keep_something(void)
{
    struct moment *m = heap_alloc(sizeof(*m));

    m->name[0] = 'x';
    m->next = control_slot(0)->moments.kept;
    control_slot(0)->moments.kept = m;
}

/* What the cell says, from what happens. */
static void observe(char *text, size_t size, enum slot_state state, unsigned column, bool paused)
{
    const enum slot_state in[VMS] = {state, SLOT_OFF, SLOT_OFF};
    const struct vm_slot *s;
    char line[80];
    bool stood;

    build(in, CONFIG_START_TOGETHER);
    keep_something();
    s = control_slot(0);
    vms[0].paused = paused;
    stood = !guests[0].runs || state == SLOT_PAUSING;
    snprintf(line, sizeof(line), "%s\r", column == COLUMNS - 1 ? "poweroff" : events[column]);
    assert_true(type(line));
    guests[0].stuck = guests[0].clearing = false;
    guests[0].pieces = 0;
    if (column < COLUMNS - 1) {
        char *refusal = strstr(said, "\na ");
        if (refusal) {
            snprintf(text, size, "%.*s", (int)strcspn(refusal + 3, "\r"), refusal + 3);
            assert_int_equal(s->state, state);
            return;
        }
        bool at_once = strstr(said, "\na: ") != NULL;
        assert_true(pass(5));
        assert_true(at_once || strstr(said, "\ra: ") || strstr(said, "\na: "));
        snprintf(text, size, "%s%s", guests[0].presses ? "asked, " : "", name_of(s->state));
        return;
    }
    pass(20);
    snprintf(text, size, "%s",
             state == SLOT_OFF            ? "nothing"
             : s->state == SLOT_OFF       ? "ended"
             : guests[0].presses && stood ? "woken, asked"
             : guests[0].presses          ? "asked"
                                          : "?");
}

static void test_the_table_in_the_manual(void **state)
{
    FILE *f = fopen("docs/USING.md", "r");
    char line[1024], text[200];
    unsigned rows = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) && !strstr(line, "| State | `start` |"))
        ;
    assert_non_null(fgets(line, sizeof(line), f)); /* |---| */
    for (; fgets(line, sizeof(line), f) && line[0] == '|'; rows++) {
        char *row = line + 1;
        const char *name = next_cell(&row);
        assert_true(rows < STATES);
        assert_string_equal(name, states[rows].name);
        for (unsigned column = 0; column < COLUMNS; column++) {
            const char *cell = next_cell(&row);
            bool starts_anew = column == 0 || column == 4 || states[rows].state == SLOT_MAKING;
            observe(text, sizeof(text), states[rows].state, column, false);
            assert_string_equal(text, cell);
            observe(text, sizeof(text), states[rows].state, column, true);
            if (starts_anew && strcmp(cell, "running") == 0)
                cell = "paused at its start";
            if (column != COLUMNS - 1 || states[rows].state != SLOT_RESETTING)
                assert_string_equal(text, cell);
        }
    }
    fclose(f);
    assert_int_equal(rows, STATES);
}

/* The same commands while the machine goes down. */
static void test_commands_while_going_down(void **state)
{
    for (unsigned n = 0; n < STATES; n++) {
        for (unsigned column = 0; column < COLUMNS - 1; column++) {
            const enum slot_state in[VMS] = {states[n].state, SLOT_OFF, SLOT_OFF};
            char line[40];
            bool refused = column == 0 || column == 2 || column == 4 || column > 5;

            build(in, CONFIG_START_TOGETHER);
            assert_true(type("poweroff\r"));
            monitor.leave();
            monitor.enter();
            assert_true(down_wanted());
            keep_something();
            snprintf(line, sizeof(line), "%s\r", events[column]);
            assert_true(type(line));
            if (refused) {
                assert_non_null(strstr(said, "\na "));
                assert_int_equal(control_slot(0)->state, states[n].state);
            }
            if (column == 0 && states[n].state == SLOT_OFF)
                assert_non_null(strstr(said, "a stays as it is: the machine goes down"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disks_come_to_rest_first),
        cmocka_unit_test(test_disks_of_what_stands_still_come_to_rest),
        cmocka_unit_test(test_disks_is_typed),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_reloaded),
        cmocka_unit_test(test_what_is_made_slowly),
        cmocka_unit_test(test_what_is_unpacked_slowly),
        cmocka_unit_test(test_what_is_made_quickly),
        cmocka_unit_test(test_one_is_made_after_the_other),
        cmocka_unit_test(test_the_table_in_the_manual),
        cmocka_unit_test(test_commands_while_going_down),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
