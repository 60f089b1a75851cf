/* links: guest/console/front.c */
/*
 * Who is in front of the console, over every sequence of events, of any length, that up to three
 * VMs, whoever types and a slow serial port can give: each state that can be reached is looked at
 * once.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/console/front.h"

#define VMS    3
#define STATES (1u << 23)

/* PENDING: starts by itself. NEVER: has not run and does not by itself. KEPT: paused, or after a
 * crash. */
enum mode { PENDING, NEVER, ON, KEPT, GONE };

static struct world {
    struct front front;
    uint8_t mode[VMS];
    bool said[VMS], unseen[VMS];
    bool in_turn;
} w;

static bool exists(unsigned vm)
{
    return w.mode[vm] == ON || w.mode[vm] == KEPT;
}

static bool any(bool (*is)(unsigned vm))
{
    bool found = false;

    for (unsigned i = 0; i < w.front.count; i++)
        found |= is(i);
    return found;
}

static bool pending(unsigned vm)
{
    return w.mode[vm] == PENDING;
}

static bool first_pending(unsigned vm)
{
    bool first = pending(vm);

    for (unsigned i = 0; i < vm; i++)
        first &= !pending(i);
    return first;
}

static bool awaited(unsigned vm)
{
    return w.in_turn ? first_pending(vm) && !any(exists) : pending(vm);
}

static unsigned facts(unsigned vm)
{
    return (exists(vm) ? FRONT_VM_EXISTS : 0) | (awaited(vm) ? FRONT_VM_AWAITED : 0) |
           (w.unseen[vm] ? FRONT_VM_UNSEEN : 0);
}

static void moved(enum front_move move)
{
    if (move == FRONT_SHOWS) /* all that is kept, again */
        w.unseen[w.front.vm] = w.said[w.front.vm];
}

/* --- events --- */

enum event {
    START,
    END,
    CRASH,
    PAUSE,
    RESUME,
    OUTPUT,
    FLOOD,
    CONSOLE,
    OF_VMS,
    ESCAPE,
    TYPED,
    DRAIN,
    IDLE,
    ASKED,
    EVENTS
};

static const char *const names[] = {"start",  "end",     "crash",   "pause", "resume",
                                    "output", "flood",   "console", "",      "Ctrl-]",
                                    "typed",  "drained", "idle",    "asked"};

static bool vm_happens(enum event e, unsigned vm)
{
    enum mode mode = w.mode[vm];

    switch (e) {
    case START:
        if (exists(vm) || (mode == PENDING && !(first_pending(vm) && awaited(vm))))
            return false;
        w.mode[vm] = ON;
        moved(front_vm_starts(&w.front, vm));
        return true;
    case END: /* or it could not start */
        if (!exists(vm) && !(first_pending(vm) && awaited(vm)))
            return false;
        w.mode[vm] = GONE;
        moved(front_vm_ends(&w.front, vm));
        return true;
    case CRASH:
    case PAUSE:
        w.mode[vm] = KEPT;
        return mode == ON;
    case RESUME:
        w.mode[vm] = ON;
        return mode == KEPT;
    case OUTPUT:
        w.said[vm] = true;
        w.unseen[vm] |= !front_has(&w.front, vm);
        return mode == ON;
    case FLOOD:
        w.said[vm] = w.unseen[vm] = true;
        return mode == ON;
    default: /* `console VM` */
        if (w.front.state != FRONT_MONITOR)
            return false;
        moved(front_happens(&w.front, FRONT_KEY, FRONT_NO_VM));
        moved(front_show(&w.front, vm));
        return true;
    }
}

static bool happens(enum event e, unsigned vm)
{
    switch (e) {
    case ESCAPE:
        moved(front_happens(&w.front, FRONT_ESCAPE, FRONT_NO_VM));
        return true;
    case TYPED:
        moved(front_happens(&w.front, FRONT_KEY, FRONT_NO_VM));
        return true;
    case DRAIN:
        if (w.front.state < FRONT_AWAITED || w.front.state > FRONT_OFF)
            return false;
        w.unseen[w.front.vm] = false;
        if (w.front.state == FRONT_PARTING)
            moved(front_happens(&w.front, FRONT_SHOWN, FRONT_NO_VM));
        return true;
    case IDLE:
        if (any(exists) || any(pending))
            return false;
        moved(front_happens(&w.front, FRONT_IDLE, FRONT_NO_VM));
        return true;
    case ASKED: /* whether somebody has read why no VM could start */
        if (any(exists) || any(pending))
            return false;
        moved(front_ask_key(&w.front));
        return true;
    default:
        return vm < w.front.count && vm_happens(e, vm);
    }
}

/* --- what must be so --- */

static const char *wrong(const struct world *before, enum event e)
{
    struct front f = w.front;
    int vm = f.vm;

    if (f.state == FRONT_GUEST && !exists((unsigned)vm))
        return "the console is a VM's that does not exist";
    if (f.state == FRONT_AWAITED && !awaited((unsigned)vm))
        return "the console is kept for a VM that does not come";
    if ((f.state == FRONT_PARTING || f.state == FRONT_OFF) && exists((unsigned)vm))
        return "a VM that exists is taken for one that is off";
    if (!f.person && f.state != FRONT_MONITOR && any(exists) &&
        (f.state == FRONT_LOG || f.state == FRONT_OFF))
        return "nobody sees what a VM says";
    if (e == IDLE && f.state != FRONT_MONITOR && f.state != FRONT_PARTING && f.state != FRONT_OFF &&
        f.state != FRONT_ASKS)
        return "no VM is left, and the prompt is not there";
    if (before->front.person && e != ESCAPE && e != TYPED && e != CONSOLE && e != DRAIN &&
        (before->front.vm != vm ||
         (before->front.state == FRONT_MONITOR && f.state != FRONT_MONITOR)))
        return "a console came to the front under somebody's hands";
    /* What is typed now: */
    front_happens(&f, FRONT_KEY, FRONT_NO_VM);
    if (w.front.state == FRONT_ASKS && !f.answered)
        return "a key is waited for and not noticed";
    if (w.front.state != FRONT_ASKS && f.state != FRONT_MONITOR &&
        (f.state != FRONT_GUEST || !exists((unsigned)f.vm)))
        return "nobody takes what is typed";
    f = w.front;
    front_happens(&f, FRONT_ESCAPE, FRONT_NO_VM);
    if (w.front.state != FRONT_MONITOR && f.state != FRONT_MONITOR)
        return "Ctrl-] does not lead to the monitor";
    return NULL;
}

/* --- every sequence --- */

struct visit {
    struct world world;
    unsigned parent, event, vm;
};

static uint8_t *seen;
static struct visit *visits;
static unsigned visited, room;

static unsigned packed(void)
{
    unsigned p = 0;

    for (unsigned i = 0; i < VMS; i++)
        p = p << 5 | w.mode[i] << 2 | w.said[i] << 1 | w.unseen[i];
    p = p << 3 | w.front.state;
    p = p << 2 | (unsigned)(w.front.vm + 1);
    return p << 3 | w.front.person << 2 | w.front.idle << 1 | w.front.answered;
}

static void visit(unsigned parent, enum event e, unsigned vm)
{
    unsigned p = packed();

    if (seen[p / 8] & 1 << p % 8)
        return;
    seen[p / 8] |= (uint8_t)(1 << p % 8);
    if (visited == room) {
        room = room ? 2 * room : 1024;
        visits = realloc(visits, room * sizeof(*visits));
        assert_non_null(visits);
    }
    visits[visited++] = (struct visit){w, parent, e, vm};
}

static void tell(unsigned n)
{
    if (n == 0)
        return;
    tell(visits[n].parent);
    print_error(" %s %u,", names[visits[n].event], visits[n].vm);
}

static void explore(void)
{
    visited = 0;
    memset(seen, 0, STATES / 8);
    visit(0, EVENTS, 0);
    for (unsigned n = 0; n < visited; n++) {
        for (enum event e = 0; e < EVENTS; e++) {
            for (unsigned vm = 0; vm < (e < OF_VMS ? VMS : 1); vm++) {
                struct world before = w = visits[n].world;
                const char *why;
                if (e == OF_VMS || !happens(e, vm))
                    continue;
                why = wrong(&before, e);
                if (why) {
                    print_error("%s: %u VMs,", why, w.front.count);
                    tell(n);
                    fail_msg("%s %u", names[e], vm);
                }
                visit(n, e, vm);
            }
        }
    }
}

static unsigned all(unsigned count)
{
    unsigned states = 0;

    for (unsigned kinds = 0; kinds < 1u << count; kinds++) {
        for (int wish = -2; wish < (int)count; wish++) {
            for (unsigned in_turn = 0; in_turn < 2; in_turn++) {
                memset(&w, 0, sizeof(w));
                w.in_turn = in_turn;
                w.front = (struct front){.vm = FRONT_NO_VM, .count = count, .facts = facts};
                for (unsigned i = 0; i < count; i++)
                    w.mode[i] = kinds >> i & 1 ? PENDING : NEVER;
                moved(wish == -2 ? front_ask_monitor(&w.front) : front_begin(&w.front, wish));
                assert_null(wrong(&w, EVENTS));
                explore();
                states += visited;
            }
        }
    }
    return states;
}

static void test_one_vm(void **state)
{
    assert_true(all(1) > 100);
}

static void test_two_vms(void **state)
{
    assert_true(all(2) > 1000);
}

static void test_three_vms(void **state)
{
    assert_true(all(3) > 10000);
}

/* --- some of them, with names --- */

static void begin(unsigned count, int wish, enum mode a, enum mode b)
{
    memset(&w, 0, sizeof(w));
    w.front = (struct front){.vm = FRONT_NO_VM, .count = count, .facts = facts};
    w.mode[0] = a;
    w.mode[1] = b;
    moved(front_begin(&w.front, wish));
}

static void test_the_keyboard_is_never_dead(void **state)
{
    begin(2, FRONT_NO_VM, PENDING, NEVER);
    assert_int_equal(w.front.state, FRONT_AWAITED);
    assert_true(happens(START, 0) && happens(END, 0));
    assert_int_equal(w.front.state, FRONT_LOG);
    assert_true(happens(IDLE, 0));
    assert_int_equal(w.front.state, FRONT_MONITOR);
    assert_true(happens(TYPED, 0) && happens(START, 1) && happens(CONSOLE, 1) && happens(END, 1));
    assert_int_equal(w.front.state, FRONT_MONITOR);
    assert_int_equal(front_happens(&w.front, FRONT_ESCAPE, FRONT_NO_VM), FRONT_CANNOT);
}

static void test_not_given_to_nobody(void **state)
{
    begin(2, 0, NEVER, PENDING);
    assert_int_equal(w.front.vm, 1);
    begin(2, 0, PENDING, PENDING);
    assert_int_equal(w.front.vm, 0);
    assert_true(happens(END, 0)); /* its kernel is missing */
    assert_int_equal(w.front.state, FRONT_LOG);
    assert_true(happens(START, 1));
    assert_int_equal(w.front.state, FRONT_GUEST);
    assert_int_equal(w.front.vm, 1);
}

static void test_what_nobody_has_seen_is_shown(void **state)
{
    begin(2, 0, PENDING, PENDING);
    assert_true(happens(START, 0) && happens(START, 1) && happens(OUTPUT, 1) && happens(END, 1));
    assert_true(happens(FLOOD, 0) && happens(END, 0));
    assert_int_equal(w.front.state, FRONT_PARTING);
    assert_int_equal(w.front.vm, 0);
    assert_true(happens(DRAIN, 0));
    assert_int_equal(w.front.state, FRONT_PARTING);
    assert_int_equal(w.front.vm, 1);
    assert_true(happens(DRAIN, 0));
    assert_int_equal(w.front.state, FRONT_LOG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_keyboard_is_never_dead),
        cmocka_unit_test(test_not_given_to_nobody),
        cmocka_unit_test(test_what_nobody_has_seen_is_shown),
        cmocka_unit_test(test_one_vm),
        cmocka_unit_test(test_two_vms),
        cmocka_unit_test(test_three_vms),
    };
    int failed;

    seen = malloc(STATES / 8);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(seen);
    free(visits);
    return failed;
}
