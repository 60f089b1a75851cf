/* links: guest/cpu/wires.c guest/cpu/exit.c guest/cpu/settle.c */
/* What shows in a VM's memory is another: who is told, and what a vCPU does before its next entry,
 * for that and for whatever else it is asked. */
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

#include "arch/x86/lib/errno.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "guest/cpu/wires.h"
#include "guest/run/run.h"
#include "tests/unit/exit_stubs.h"

enum { CPUS = 3 };

static struct percpu cpu = {.self = &cpu};
static struct vcpu three[CPUS], *const a = &three[1], *const b = &three[2];
static struct vm vm;
static unsigned refreshes, flushes, views, kicks, synchronized, reaped, told;

void task_notify(struct task *t, uint32_t requests)
{
    kicks++;
    task_ask(t, requests);
}

void rights_refresh(struct rights *r, uint64_t gpa, uint64_t size)
{
    refreshes++;
}

paddr rights_retired(struct rights *r)
{
    return 0x1000;
}

void rights_reap(struct rights *r, paddr retired)
{
    assert_int_equal(retired, 0x1000);
    reaped++;
}

void run_synchronize(struct task_group *g)
{
    assert_int_equal(reaped, synchronized);
    synchronized++;
}

/* --- a page that is given back: what was done to it, in this order --- */

enum { HERE, GIVEN, WITHDRAWN, LEAVING, GONE };
#define PAGE  UINT64_C(0x345000)
#define FRAME UINT64_C(0x678000)

static unsigned page, reasons, passed;
static int refusal;
static uint64_t given_size;
unsigned smp_cpus = 2;

int guest_memory_give(struct guest_memory *gm, uint64_t gpa, paddr *frame)
{
    assert_int_equal(gpa, PAGE);
    if (refusal < 0)
        return refusal;
    assert_int_equal(page, HERE);
    page = GIVEN;
    *frame = FRAME;
    return 0;
}

int guest_memory_give_block(struct guest_memory *gm, uint64_t gpa, paddr *block)
{
    given_size = GUEST_CHUNK;
    return guest_memory_give(gm, gpa, block);
}

void rights_withdraw(struct rights *r, uint64_t gpa, uint64_t size)
{
    assert_int_equal(gpa, PAGE);
    assert_int_equal(size, given_size);
    assert_int_equal(page, GIVEN);
    page = WITHDRAWN;
}

void guest_memory_leave(struct guest_memory *gm, paddr frame, uint64_t size)
{
    assert_int_equal(size, given_size);
    assert_int_equal(frame, FRAME);
    assert_int_equal(page, WITHDRAWN);
    page = LEAVING;
}

uint64_t guest_memory_leaving(const struct guest_memory *gm)
{
    return page == LEAVING ? 7 : 0;
}

void cpu_call(unsigned n, void (*fn)(void *arg), void *arg)
{
    assert_true(n < smp_cpus && synchronized == 1);
    fn(arg);
    passed |= 1u << n;
}

void guest_memory_let_go(struct guest_memory *gm, uint64_t leaving)
{
    assert_int_equal(leaving, 7);
    assert_int_equal(passed, 3); /* both processors */
    assert_int_equal(page, LEAVING);
    page = GONE;
}

unsigned rights_reasons(struct rights *r, uint64_t gpa, uint64_t size)
{
    return reasons;
}

void vmx_flush_all(void)
{
    flushes++;
}

void vcpu_refresh_view(struct vcpu *v)
{
    views++;
}

void vcpu_keep_time(struct vcpu *v)
{
    told++;
}

void vcpu_tell_timekeeper(struct vm *m)
{
    assert_true(m->vcpu_count > 0);
    told++;
}

void apic_timer_set(uint64_t deadline)
{
}

uint64_t test_tsc(void)
{
    return 1000;
}

NORETURN void panic(const char *fmt, ...)
{
    abort();
}

/* Others ask as quickly as it can be done. */
static unsigned deliveries, askers;
static uint32_t asked;

void vcpu_deliver_events(struct vcpu *v)
{
    deliveries++;
    if (askers) {
        askers--;
        vcpu_ask(v, asked);
    }
}

UNUSED(bool split_lock_begin(struct vcpu *v))
UNUSED(bool step_debug_exception(struct vcpu *v, struct vm_exit *e))
UNUSED(uint64_t vmread_any(enum vmcs_field field))
UNUSED(bool vmx_interrupted_event(struct vmx_event *out))
UNUSED_VOID(void step_fault(struct vcpu *v))
UNUSED_VOID(void vcpu_apic_mode(struct vcpu *v))
UNUSED_VOID(void vcpu_bus_lock(struct vcpu *v))
UNUSED_VOID(void vcpu_exception(struct vcpu *v, unsigned vector, uint32_t error))
UNUSED_VOID(void vcpu_machine_check(struct vcpu *v, bool entered))
UNUSED_VOID(void vcpu_nmi(struct vcpu *v))
UNUSED_VOID(void vcpu_page_fault(struct vcpu *v, uint64_t address, uint32_t error))
UNUSED_VOID(void vm_kill(struct vcpu *v, const char *why, ...))
UNUSED_VOID(void vmwrite_any(enum vmcs_field field, uint64_t value))
UNUSED_VOID(void vmx_block_nmi(void))
UNUSED_VOID(void vmx_debug_exception(struct vmx_vcpu *v, uint64_t qualification))
UNUSED_VOID(void vmx_end_traced(void))
UNUSED_VOID(void vmx_entry_failed(struct vmx_vcpu *v))

static int setup(void **state)
{
    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &cpu), 0);
    memset(three, 0, sizeof(three));
    vm.vcpu_count = CPUS;
    for (unsigned i = 0; i < CPUS; i++) {
        vm.vcpu[i] = &three[i];
        three[i].vm = &vm;
    }
    cpu.current = NULL;
    page = HERE;
    reasons = passed = 0;
    refusal = 0;
    given_size = PAGE_SIZE;
    vm.debugged = false;
    refreshes = flushes = views = kicks = synchronized = reaped = told = 0;
    deliveries = askers = 0;
    asked = REQUEST_EVENT;
    return 0;
}

/* a's access to a device has changed what shows. */
static void change(void)
{
    cpu.current = a;
    vcpu_wires.memory(&vm, 0xe0000, 0x1000);
    assert_int_equal(refreshes, 1);
}

/* b has read of it from the device, whose lock was free again before a has settled. */
static void who_has_heard_of_it_sees_it(void **state)
{
    change();
    cpu.current = b;
    assert_int_equal(vcpu_prepare(b), VCPU_STAY);
    assert_int_equal(flushes, 1);
    assert_int_equal(views, 1);
    assert_int_equal(synchronized, 0); /* that is a's */
    assert_int_equal(vcpu_prepare(b), VCPU_STAY);
    assert_int_equal(flushes, 1);
}

static void the_one_who_did_it_waits_for_all(void **state)
{
    change();
    assert_int_equal(vcpu_prepare(a), VCPU_PREEMPTED);
    assert_int_equal(synchronized, 1);
    assert_int_equal(reaped, 1);
    assert_true(three[0].task.requests & b->task.requests & REQUEST_VIEW);
    assert_true(kicks >= CPUS);
}

static void also_when_it_has_to_leave(void **state)
{
    change();
    vcpu_ask(a, REQUEST_LEAVE | REQUEST_HALT);
    assert_int_equal(vcpu_prepare(a), VCPU_REQUEST);
    assert_int_equal(synchronized, 1);
    assert_int_equal(reaped, 1);
    assert_int_equal(a->task.requests & (REQUEST_LEAVE | REQUEST_HALT | REQUEST_MEMORY),
                     REQUEST_LEAVE | REQUEST_HALT);
    vcpu_ask(b, REQUEST_LEAVE);
    assert_int_equal(vcpu_prepare(b), VCPU_REQUEST);
    assert_int_equal(synchronized, 1);
}

/* A timer of a device, say: vCPU 0 does it. */
static void nobodys_access(void **state)
{
    vcpu_wires.memory(&vm, 0xe0000, 0x1000);
    assert_int_equal(vcpu_prepare(&three[0]), VCPU_PREEMPTED);
    assert_int_equal(synchronized, 1);
}

/* a gives a page back: its frame is nobody's when all have forgotten it, and not before. */
static void a_page_that_is_given(void **state)
{
    cpu.current = a;
    assert_int_equal(vcpu_wires.give(&vm, PAGE, PAGE_SIZE), 0);
    assert_int_equal(page, LEAVING);
    assert_int_equal(a->task.requests & REQUEST_MEMORY, 0);
    vcpu_wires.given(&vm);
    cpu.current = b; /* which hears that a has, and may use it again at once */
    assert_int_equal(vcpu_prepare(b), VCPU_STAY);
    assert_int_equal(flushes, 1);
    assert_int_equal(page, LEAVING);
    cpu.current = a;
    assert_int_equal(vcpu_prepare(a), VCPU_PREEMPTED);
    assert_int_equal(synchronized, 1);
    assert_int_equal(page, GONE);
    vcpu_wires.given(&vm); /* nothing leaves */
    assert_int_equal(a->task.requests & REQUEST_MEMORY, 0);
}

static void two_mib_that_are_given(void **state)
{
    cpu.current = a;
    assert_int_equal(vcpu_wires.give(&vm, PAGE, GUEST_CHUNK), 0);
    assert_int_equal(page, LEAVING);
    vcpu_wires.given(&vm);
    assert_int_equal(vcpu_prepare(a), VCPU_PREEMPTED);
    assert_int_equal(page, GONE);
}

static void a_page_that_is_kept(void **state)
{
    reasons = REASON_WATCH_WRITE;
    assert_int_equal(vcpu_wires.give(&vm, PAGE, PAGE_SIZE), -EBUSY);
    reasons = 0;
    vm.debugged = true;
    assert_int_equal(vcpu_wires.give(&vm, PAGE, PAGE_SIZE), -EBUSY);
    vm.debugged = false;
    refusal = -EAGAIN;
    assert_int_equal(vcpu_wires.give(&vm, PAGE, PAGE_SIZE), -EAGAIN);
    assert_int_equal(page, HERE);
}

/* What comes while it serves is served, too: but not for as long as others like. */
static void others_that_ask_for_ever(void **state)
{
    vcpu_ask(a, REQUEST_EVENT);
    askers = 5;
    assert_int_equal(vcpu_prepare(a), VCPU_STAY);
    assert_int_equal(deliveries, 6);
    assert_int_equal(a->task.requests, 0);
    vcpu_ask(a, REQUEST_EVENT);
    askers = 1000000;
    assert_int_equal(vcpu_prepare(a), VCPU_PREEMPTED);
    assert_true(deliveries >= 10 && deliveries <= 100);
    assert_int_equal(a->task.requests, REQUEST_EVENT); /* when it has its processor again */
    askers = 0;
    assert_int_equal(vcpu_prepare(a), VCPU_STAY);
    asked = REQUEST_RESCHEDULE;
    askers = 1;
    vcpu_ask(a, REQUEST_EVENT);
    assert_int_equal(vcpu_prepare(a), VCPU_PREEMPTED);
    asked = REQUEST_LEAVE | REQUEST_EVENT;
    askers = 1;
    vcpu_ask(a, REQUEST_EVENT);
    assert_int_equal(vcpu_prepare(a), VCPU_REQUEST);
    assert_int_equal(a->task.requests, REQUEST_LEAVE | REQUEST_EVENT);
}

/* Devices that come before vCPUs, or go after them. */
static void without_vcpus(void **state)
{
    vm.vcpu_count = 0;
    vcpu_wires.memory(&vm, 0xe0000, 0x1000);
    vcpu_wires.timers(&vm, true);
    vcpu_wires.eoi(&vm);
    assert_int_equal(refreshes, 1);
    assert_int_equal(told + kicks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(who_has_heard_of_it_sees_it, setup),
        cmocka_unit_test_setup(the_one_who_did_it_waits_for_all, setup),
        cmocka_unit_test_setup(also_when_it_has_to_leave, setup),
        cmocka_unit_test_setup(nobodys_access, setup),
        cmocka_unit_test_setup(two_mib_that_are_given, setup),
        cmocka_unit_test_setup(a_page_that_is_given, setup),
        cmocka_unit_test_setup(a_page_that_is_kept, setup),
        cmocka_unit_test_setup(others_that_ask_for_ever, setup),
        cmocka_unit_test_setup(without_vcpus, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
