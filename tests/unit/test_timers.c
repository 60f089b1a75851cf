/* links: guest/cpu/timers.c vmx/fields.c arch/x86/spinlock.c arch/x86/lib/format.c */
/* Until when a vCPU sleeps, and whether anything but another vCPU can wake it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/timers.h"

#define NOW   1000000ULL
#define LATER 5000ULL

static struct board_front front;
#define BOARD ((struct board *)&front) /* as much of one as a vCPU looks at */
static struct vm vm = {.board = BOARD};
static struct vcpu vcpu = {.board = BOARD}, *const v = &vcpu;
static uint64_t rflags;

const struct probes *probes;

uint64_t test_tsc(void)
{
    return NOW;
}

uint64_t vmread_any(enum vmcs_field field)
{
    assert_int_equal(field, VMCS_GUEST_RFLAGS);
    return rflags;
}

void lapic_timer_expired(struct lapic *l, uint64_t now)
{
    fail_msg("%s", __func__);
}

void bus_run_timers(struct bus *bus, uint64_t now)
{
    fail_msg("%s", __func__);
}

static struct task *notified;

void task_notify(struct task *t, uint32_t requests)
{
    assert_int_equal(requests, REQUEST_TIMER);
    notified = t;
}

enum state { HALTED, CLOSED, WAITS };

/* The deadline, 0 for none, after now; minus one when nothing but another vCPU wakes it. */
static int64_t sleeps(bool keeper, enum state state, bool apic, bool device)
{
    bool dead = false;

    v->vm = &vm;
    front.timekeeper = keeper ? v : NULL;
    v->halted = state != WAITS;
    v->wait_for_startup = state == WAITS;
    rflags = RFLAGS_ONE | (state == HALTED ? RFLAGS_IF : 0);
    front.tsc_offset = 3 * NOW;
    v->lapic.tsc_offset = 2 * NOW;
    v->lapic.timer_deadline = apic ? 3 * NOW + LATER : LAPIC_TIMER_OFF;
    front.bus.next_deadline = device ? 4 * NOW + 2 * LATER : TIMER_OFF;
    uint64_t until = vcpu_sleeps_until(v, &dead);
    assert_false(dead && until != UINT64_MAX);
    return dead ? -1 : until == UINT64_MAX ? 0 : (int64_t)(until - NOW);
}

static void halted(void **state)
{
    for (unsigned keeper = 0; keeper < 2; keeper++) {
        assert_int_equal(sleeps(keeper, HALTED, false, false), 0);
        assert_int_equal(sleeps(keeper, CLOSED, false, false), -1);
        assert_int_equal(sleeps(keeper, HALTED, true, true), LATER);
        assert_int_equal(sleeps(keeper, CLOSED, true, false), LATER); /* its handler is an NMI's */
    }
    assert_int_equal(sleeps(true, HALTED, false, true), 2 * LATER);
    assert_int_equal(sleeps(true, CLOSED, false, true), 2 * LATER);
    assert_int_equal(sleeps(false, HALTED, false, true), 0);
    assert_int_equal(sleeps(false, CLOSED, false, true), -1);
}

/* After INIT: the devices' timers are others' as well. */
static void waits_for_startup(void **state)
{
    assert_int_equal(sleeps(false, WAITS, false, false), -1);
    assert_int_equal(sleeps(false, WAITS, false, true), -1);
    assert_int_equal(sleeps(true, WAITS, false, false), -1);
    assert_int_equal(sleeps(true, WAITS, false, true), 2 * LATER);
}

/* --- who looks after the devices' timers --- */

static struct vcpu three[3];

static void set_up(uint64_t deadline, unsigned keeper, bool r0, bool r1, bool r2)
{
    memset(three, 0, sizeof(three));
    vm.vcpu_count = 3;
    for (unsigned i = 0; i < 3; i++) {
        vm.vcpu[i] = &three[i];
        three[i].vm = &vm;
        three[i].board = BOARD;
        three[i].lapic.timer_deadline = LAPIC_TIMER_OFF;
        three[i].task.until = UINT64_MAX;
    }
    three[0].runs = r0;
    three[1].runs = r1;
    three[2].runs = r2;
    front.timekeeper = &three[keeper];
    front.tsc_offset = 3 * NOW;
    front.bus.next_deadline = deadline;
    notified = NULL;
}

#define SOON (4 * NOW + LATER)

static void one_that_begins_takes_it_over(void **state)
{
    set_up(SOON, 0, false, false, false);
    vcpu_begins(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[1]);
    assert_int_equal(three[1].next_exit, NOW + LATER);
    assert_true(three[1].runs);

    set_up(SOON, 0, true, false, false); /* not from one that runs */
    vcpu_begins(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[0]);
    assert_true(three[1].next_exit > NOW + LATER);

    set_up(TIMER_OFF, 0, false, false, false); /* and not where there is nothing to do */
    vcpu_begins(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[0]);
    assert_null(notified);
}

static void one_that_ends_hands_it_on(void **state)
{
    set_up(SOON, 1, false, true, true);
    vcpu_ends(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[2]);
    assert_ptr_equal(notified, &three[2].task);

    set_up(SOON, 1, false, true, false); /* nobody runs: it is woken for it */
    vcpu_ends(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[1]);
    assert_null(notified);
    assert_int_equal(vcpu_timer_deadline(&three[1]), NOW + LATER);

    set_up(SOON, 0, true, true, false); /* others end as they like */
    vcpu_ends(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[0]);
    assert_null(notified);
}

static void one_that_sets_a_timer_takes_it_over(void **state)
{
    set_up(SOON, 0, true, true, false);
    vcpu_keep_time(&three[1]);
    assert_ptr_equal(front.timekeeper, &three[1]);
    assert_int_equal(three[1].next_exit, NOW + LATER);
    vcpu_tell_timekeeper(&vm);
    assert_ptr_equal(notified, &three[1].task);
}

/* From a processor on which nobody of this VM runs, as when a drive's interrupt comes there. */
static void one_that_runs_is_told(void **state)
{
    set_up(SOON, 0, true, true, false);
    vcpu_tell_timekeeper(&vm);
    assert_ptr_equal(front.timekeeper, &three[0]);
    assert_ptr_equal(notified, &three[0].task);

    set_up(SOON, 0, false, false, true); /* the timekeeper may wait for a processor for long */
    vcpu_tell_timekeeper(&vm);
    assert_ptr_equal(front.timekeeper, &three[2]);
    assert_ptr_equal(notified, &three[2].task);

    set_up(SOON, 1, false, false, false); /* nobody runs: it is woken */
    vcpu_tell_timekeeper(&vm);
    assert_ptr_equal(front.timekeeper, &three[1]);
    assert_ptr_equal(notified, &three[1].task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halted),
        cmocka_unit_test(waits_for_startup),
        cmocka_unit_test(one_that_begins_takes_it_over),
        cmocka_unit_test(one_that_ends_hands_it_on),
        cmocka_unit_test(one_that_sets_a_timer_takes_it_over),
        cmocka_unit_test(one_that_runs_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
