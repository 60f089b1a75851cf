/* links: guest/cpu/exit.c */
/* Exits by which a guest could hold its processor, or by which the machine says that something is
 * wrong: what is made of each, and that nobody waits for their end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>

#include "arch/x86/panic.h"
#include "guest/run/run.h"
#include "tests/unit/exit_stubs.h"

static struct percpu cpu = {.self = &cpu};
static struct vm vm;
static struct vcpu vcpu, *const v = &vcpu;

static uint64_t qualification;
static uint32_t intr, error_code;
static struct vmx_event cut_short; /* whose delivery the exit has ended */

static unsigned raised[32], debug_exceptions, blocked, deliveries, kills, bus_locks, splits;
static unsigned checks_in, checks_out, failures;
static bool split_lock;

uint64_t vmread_any(enum vmcs_field field)
{
    switch (field) {
    case VMCS_EXIT_QUALIFICATION:
        return qualification;
    case VMCS_EXIT_INTR_INFO:
        return intr;
    case VMCS_EXIT_ERROR_CODE:
        return error_code;
    case VMCS_IDT_VECTORING_INFO:
        return cut_short.info;
    default:
        return 0;
    }
}

void vmwrite_any(enum vmcs_field field, uint64_t value)
{
    assert_int_equal(field, VMCS_PREEMPTION_TIMER);
}

bool vmx_interrupted_event(struct vmx_event *out)
{
    *out = cut_short;
    return true;
}

void vcpu_exception(struct vcpu *of, unsigned vector, uint32_t error)
{
    assert_int_equal(error, error_code);
    raised[vector]++;
}

void vmx_debug_exception(struct vmx_vcpu *hw, uint64_t q)
{
    debug_exceptions++;
}

void vcpu_deliver_events(struct vcpu *of)
{
    deliveries++;
}

bool split_lock_begin(struct vcpu *of)
{
    splits += split_lock;
    return split_lock;
}

void vcpu_bus_lock(struct vcpu *of)
{
    bus_locks++;
}

void vcpu_machine_check(struct vcpu *of, bool entered)
{
    if (entered)
        checks_in++;
    else
        checks_out++;
}

void vm_kill(struct vcpu *of, const char *why, ...)
{
    kills++;
    vcpu_ask(of, REQUEST_LEAVE);
}

void vmx_block_nmi(void)
{
    blocked++;
}

void vmx_entry_failed(struct vmx_vcpu *hw)
{
    failures++;
}

uint64_t test_tsc(void)
{
    return 1000;
}

NORETURN void panic(const char *fmt, ...)
{
    abort();
}

void step_fault(struct vcpu *of)
{
}

void vmx_end_traced(void)
{
}

UNUSED(bool step_debug_exception(struct vcpu *of, struct vm_exit *e))
UNUSED_VOID(void vcpu_page_fault(struct vcpu *of, uint64_t address, uint32_t error))
UNUSED_VOID(void apic_timer_set(uint64_t deadline))
UNUSED_VOID(void vcpu_refresh_view(struct vcpu *of))
UNUSED_VOID(void vm_settle_rights(struct vm *m))
UNUSED_VOID(void vmx_flush_all(void))

static int setup(void **state)
{
    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu), 0);
    memset(&vcpu, 0, sizeof(vcpu));
    v->vm = &vm;
    vmx_features.preemption_timer = true;
    qualification = intr = error_code = 0;
    cut_short.info = 0;
    memset(raised, 0, sizeof(raised));
    debug_exceptions = blocked = deliveries = kills = bus_locks = splits = 0;
    checks_in = checks_out = failures = 0;
    split_lock = false;
    return 0;
}

static int leave(uint64_t reason)
{
    return vcpu_exit(&v->hw, reason, 500);
}

static uint32_t exception(unsigned vector, bool error)
{
    return INTR_VALID | INTR_HARD_EXCEPTION << 8 | vector | (error ? INTR_HAS_ERROR : 0);
}

/* Whether the exit's way back into the guest can be left, whatever the guest goes on with. */
static void others_have_their_turn(uint64_t reason)
{
    vcpu_ask(v, REQUEST_RESCHEDULE);
    assert_int_equal(leave(reason), VCPU_PREEMPTED);
    vcpu_ask(v, REQUEST_LEAVE);
    assert_int_equal(leave(reason), VCPU_REQUEST);
}

/*
 * CVE-2015-5307: the delivery of #AC raises #AC. CVE-2015-8104: that of #DB raises #DB. Inside a
 * processor these never end; each round exits here, since both always do.
 */
static void alignment_loop(void **state)
{
    assert_true(VMX_EXCEPTIONS & BIT(VECTOR_AC));
    intr = exception(VECTOR_AC, true);
    for (unsigned round = 1; round <= 1000; round++) {
        assert_int_equal(leave(EXIT_EXCEPTION_NMI), VCPU_STAY);
        assert_int_equal(raised[VECTOR_AC], round);
        cut_short.info = intr;
        if (round > 1)
            assert_int_equal(deliveries, round - 1); /* and an interrupt comes in */
    }
    others_have_their_turn(EXIT_EXCEPTION_NMI);
    assert_int_equal(kills, 0);
}

static void debug_loop(void **state)
{
    assert_true(VMX_EXCEPTIONS & BIT(VECTOR_DB));
    intr = exception(VECTOR_DB, false);
    for (unsigned round = 1; round <= 1000; round++) {
        assert_int_equal(leave(EXIT_EXCEPTION_NMI), VCPU_STAY);
        assert_int_equal(debug_exceptions, round);
        assert_int_equal(deliveries, round);
        assert_int_equal(round == 1 ? v->event.info : intr, intr);
        if (cut_short.info)
            assert_int_equal(raised[VECTOR_DB], round - 1);
        cut_short.info = intr;
    }
    others_have_their_turn(EXIT_EXCEPTION_NMI);
    assert_int_equal(kills, 0);
}

static void split_locks(void **state)
{
    intr = exception(VECTOR_AC, true);
    split_lock = true;
    assert_int_equal(leave(EXIT_EXCEPTION_NMI), VCPU_STAY);
    assert_int_equal(splits, 1);
    assert_int_equal(raised[VECTOR_AC], 0);
    split_lock = false; /* the guest's own checks */
    assert_int_equal(leave(EXIT_EXCEPTION_NMI), VCPU_STAY);
    assert_int_equal(raised[VECTOR_AC], 1);
}

static void locks(void **state)
{
    assert_int_equal(leave(EXIT_BUS_LOCK), VCPU_STAY);
    assert_int_equal(bus_locks, 1);
    /* a processor may say it twice */
    assert_int_equal(leave(EXIT_BUS_LOCK | EXIT_REASON_BUS_LOCK), VCPU_STAY);
    assert_int_equal(bus_locks, 2);
    assert_int_equal(v->exits[EXIT_BUS_LOCK], 2);
    /* or beside another reason, which is handled as always */
    assert_int_equal(leave(EXIT_INTERRUPT_WINDOW | EXIT_REASON_BUS_LOCK), VCPU_STAY);
    assert_int_equal(bus_locks, 3);
    assert_int_equal(deliveries, 1);
    assert_int_equal(v->exits[EXIT_INTERRUPT_WINDOW], 1);
    assert_int_equal(kills, 0);
}

static void notify(void **state)
{
    assert_int_equal(leave(EXIT_NOTIFY), VCPU_PREEMPTED); /* it may go on, after others */
    assert_int_equal(kills + blocked, 0);
    qualification = QUALIFICATION_NMI_UNBLOCKING;
    leave(EXIT_NOTIFY);
    assert_int_equal(blocked, 1);
    cut_short.info = exception(VECTOR_GP, true); /* which is delivered once more */
    leave(EXIT_NOTIFY);
    assert_int_equal(blocked, 1);
    assert_int_equal(v->event.info, cut_short.info);
    assert_int_equal(deliveries, 1);
    qualification = NOTIFY_CONTEXT_INVALID;
    assert_int_equal(leave(EXIT_NOTIFY), VCPU_REQUEST);
    assert_int_equal(kills, 1);
}

static void machine_checks(void **state)
{
    assert_true(VMX_EXCEPTIONS & BIT(VECTOR_MC));
    intr = exception(VECTOR_MC, false);
    assert_int_equal(leave(EXIT_EXCEPTION_NMI), VCPU_STAY);
    assert_int_equal(checks_in, 1);
    assert_int_equal(raised[VECTOR_MC], 0);
    /* on the way in: the next entry is vmx_run()'s */
    assert_int_equal(leave(EXIT_MACHINE_CHECK | BIT(31)), VCPU_PREEMPTED);
    assert_int_equal(checks_out, 1);
    assert_int_equal(failures, 1);
    assert_int_equal(kills, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(alignment_loop, setup),
        cmocka_unit_test_setup(debug_loop, setup),
        cmocka_unit_test_setup(split_locks, setup),
        cmocka_unit_test_setup(locks, setup),
        cmocka_unit_test_setup(notify, setup),
        cmocka_unit_test_setup(machine_checks, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
