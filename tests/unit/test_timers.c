/* links: guest/cpu/timers.c vmx/fields.c arch/x86/spinlock.c arch/x86/lib/format.c */
/* Until when a vCPU sleeps, and whether anything but another vCPU can wake it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/timers.h"

#define NOW   1000000ULL
#define LATER 5000ULL

static struct vm vm;
static struct vcpu vcpu, *const v = &vcpu;
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

enum state { HALTED, CLOSED, WAITS };

/* The deadline, 0 for none, after now; minus one when nothing but another vCPU wakes it. */
static int64_t sleeps(unsigned id, enum state state, bool apic, bool device)
{
    bool dead = false;

    v->vm = &vm;
    v->id = id;
    v->halted = state != WAITS;
    v->wait_for_startup = state == WAITS;
    rflags = RFLAGS_ONE | (state == HALTED ? RFLAGS_IF : 0);
    vm.board.tsc_offset = 3 * NOW;
    v->lapic.tsc_offset = 2 * NOW;
    v->lapic.timer_deadline = apic ? 3 * NOW + LATER : LAPIC_TIMER_OFF;
    vm.board.bus.next_deadline = device ? 4 * NOW + 2 * LATER : TIMER_OFF;
    uint64_t until = vcpu_sleeps_until(v, &dead);
    assert_false(dead && until != UINT64_MAX);
    return dead ? -1 : until == UINT64_MAX ? 0 : (int64_t)(until - NOW);
}

static void halted(void **state)
{
    for (unsigned id = 0; id < 2; id++) {
        assert_int_equal(sleeps(id, HALTED, false, false), 0);
        assert_int_equal(sleeps(id, CLOSED, false, false), -1);
        assert_int_equal(sleeps(id, HALTED, true, true), LATER);
        assert_int_equal(sleeps(id, CLOSED, true, false), LATER); /* its handler is an NMI's */
    }
    assert_int_equal(sleeps(0, HALTED, false, true), 2 * LATER);
    assert_int_equal(sleeps(0, CLOSED, false, true), 2 * LATER);
    assert_int_equal(sleeps(1, HALTED, false, true), 0);
    assert_int_equal(sleeps(1, CLOSED, false, true), -1);
}

/* After INIT. The boot vCPU, too, if its BSP flag is gone: the devices' timers are others' as well.
 */
static void waits_for_startup(void **state)
{
    assert_int_equal(sleeps(1, WAITS, false, false), -1);
    assert_int_equal(sleeps(1, WAITS, false, true), -1);
    assert_int_equal(sleeps(0, WAITS, false, false), -1);
    assert_int_equal(sleeps(0, WAITS, false, true), 2 * LATER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halted),
        cmocka_unit_test(waits_for_startup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
