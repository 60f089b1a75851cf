/* links: guest/cpu/bus_lock.c guest/cpu/bus_lock_limit.c */
/* Bus locks: how many may come in a second, and what a vCPU is as a task while it stands still, or
 * takes one split lock. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/split_lock.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "vmx/cpu.h"

#define HZ 1000000u

uint64_t tsc_hz = HZ;
struct vmx_features vmx_features;

static uint64_t now, cr0, rflags;
static unsigned cpl;
static struct vm_config config;
static struct vm vm;
static struct bus_locks bus_locks;
static struct vcpu vcpu, *const v = &vcpu;
static bool detects, loaded;
static unsigned steps, runs;

uint64_t test_tsc(void)
{
    return now;
}

void split_lock_detect(bool on)
{
    assert_true(detects != on);
    detects = on;
}

void step_begin(struct vcpu *of, unsigned user)
{
    assert_false(detects);
    assert_int_equal(user, STEP_SPLIT);
    of->step.users |= STEP_SPLIT;
    steps++;
}

uint64_t vmx_get_cr0(void)
{
    return cr0;
}

uint64_t vmread_any(enum vmcs_field field)
{
    assert_int_equal(field, VMCS_GUEST_RFLAGS);
    return rflags;
}

unsigned vcpu_cpl(void)
{
    return cpl;
}

/* --- a vCPU's task as it is otherwise --- */

static void load(struct task *t)
{
    assert_false(loaded);
    loaded = true;
}

static void put(struct task *t)
{
    assert_true(loaded && detects == vmx_features.split_lock);
    loaded = false;
}

static enum task_end run(struct task *t)
{
    runs++;
    return t->requests & TASK_LEAVE ? TASK_GONE : TASK_PREEMPTED;
}

static uint64_t deadline(struct task *t, bool *dead)
{
    *dead = true;
    return UINT64_MAX;
}

static const struct task_ops usual = {.load = load, .put = put, .run = run, .deadline = deadline};

static int setup(void **state)
{
    memset(&vm, 0, sizeof(vm));
    memset(&vcpu, 0, sizeof(vcpu));
    memset(&bus_locks, 0, sizeof(bus_locks));
    vm.config = &config;
    vm.bus_locks = &bus_locks;
    v->vm = &vm;
    v->task.ops = &usual;
    config.bus_locks = 100;
    now = 50 * HZ;
    detects = vmx_features.split_lock = false;
    loaded = true;
    steps = runs = 0;
    cr0 = rflags = cpl = 0;
    return 0;
}

/* --- how many --- */

/* Who waits as long as it is told gets as many as are allowed, and a tenth of a second's more. */
static void rate(void **state)
{
    static const uint32_t limits[] = {1, 7, 10, 100, 1000, 100000};

    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        struct bus_locks b = {0};
        uint64_t at = 1000 * HZ, end = at + 20 * HZ;
        unsigned taken = 0;

        while (at < end) {
            uint64_t until = bus_lock_until(&b, at, limits[i], HZ);
            assert_true(until >= at && until - at <= HZ);
            at = MAX(until, at + 1);
            taken++;
        }
        assert_int_equal(b.count, taken);
        assert_uint_in_range(taken, limits[i] * 20 - 1, limits[i] * 20 + limits[i] / 10 + 2);
    }
}

static void allowed(void **state)
{
    struct bus_locks b = {0};

    for (unsigned i = 0; i < 1000; i++) { /* 50 in a second, of 100 */
        assert_true(bus_lock_until(&b, now, 100, HZ) == now);
        now += HZ / 50;
    }
    for (unsigned i = 0; i < 10; i++) /* at once */
        assert_true(bus_lock_until(&b, now, 100, HZ) == now);
    assert_true(bus_lock_until(&b, now, 100, HZ) == now + HZ / 100);
    b = (struct bus_locks){0};
    for (unsigned i = 0; i < 1000; i++) /* any number */
        assert_true(bus_lock_until(&b, now, 0, HZ) == now);
    assert_int_equal(b.count, 1000);
    assert_int_equal(b.due, 0);
}

/* Many vCPUs of one VM: none stands still for more than a second. */
static void patience(void **state)
{
    struct bus_locks b = {0};

    for (unsigned i = 0; i < 64; i++)
        assert_true(bus_lock_until(&b, now, 1, HZ) <= now + HZ);
    assert_true(bus_lock_until(&b, now + 2 * HZ, 1, HZ) <= now + 3 * HZ);
}

static void whose_check(void **state)
{
    assert_true(alignment_checked(CR0_AM | CR0_PE, RFLAGS_AC, 3));
    assert_false(alignment_checked(CR0_PE, RFLAGS_AC, 3));
    assert_false(alignment_checked(CR0_AM, RFLAGS_TF, 3));
    for (unsigned i = 0; i < 3; i++) /* AC means something else there: SMAP */
        assert_false(alignment_checked(CR0_AM, RFLAGS_AC, i));
}

/* --- standing still --- */

static void flood(void)
{
    while (v->task.ops == &usual)
        vcpu_bus_lock(v);
    assert_int_equal(v->task.requests, REQUEST_RESCHEDULE);
}

static void stands(void **state)
{
    bool dead = true;

    flood();
    assert_int_equal(bus_locks.count, 11);
    assert_int_equal(bus_locks.stood, HZ / 100);
    const struct task_ops *ops = v->task.ops;
    assert_true(ops->deadline(&v->task, &dead) == now + HZ / 100);
    assert_false(dead);
    /* interrupts, timers and the like find it there */
    v->task.requests = REQUEST_EVENT | REQUEST_TIMER | REQUEST_RESCHEDULE;
    assert_false(v->task.requests & ~(ops->quiet | TASK_RESCHEDULE));
    assert_int_equal(ops->run(&v->task), TASK_BLOCKED);
    assert_int_equal(runs, 0);
    ops->put(&v->task);
    ops->load(&v->task);
    assert_true(loaded);
    now += HZ / 100;
    assert_int_equal(ops->run(&v->task), TASK_PREEMPTED);
    assert_int_equal(runs, 1);
    assert_ptr_equal(v->task.ops, &usual);
}

/* Its end does not wait. */
static void leaves(void **state)
{
    flood();
    const struct task_ops *ops = v->task.ops;
    v->task.requests = TASK_LEAVE;
    assert_true(v->task.requests & ~(ops->quiet | TASK_RESCHEDULE));
    assert_int_equal(ops->run(&v->task), TASK_GONE);
    assert_ptr_equal(v->task.ops, &usual);
}

static void no_limit(void **state)
{
    config.bus_locks = 0;
    for (unsigned i = 0; i < 10000; i++)
        vcpu_bus_lock(v);
    assert_ptr_equal(v->task.ops, &usual);
    assert_int_equal(bus_locks.count, 10000);
    assert_int_equal(v->task.requests, 0);
}

/* --- split locks --- */

static void split(void **state)
{
    bool dead = false;

    vmx_features.split_lock = detects = true;
    config.bus_locks = 10;
    assert_true(split_lock_begin(v));
    assert_false(detects);
    assert_int_equal(steps, 1);
    assert_int_equal(bus_locks.count, 0);
    detects = true; /* the core's other thread has done with one of its own */
    assert_true(split_lock_begin(v));
    assert_false(detects);
    assert_int_equal(steps, 1);
    /* it loses its processor meanwhile, which detects them again */
    const struct task_ops *ops = v->task.ops;
    ops->put(&v->task);
    assert_true(detects);
    ops->load(&v->task);
    assert_false(detects);
    assert_int_equal(ops->run(&v->task), TASK_PREEMPTED);
    assert_true(ops->deadline(&v->task, &dead) == UINT64_MAX && dead);
    v->step.users = 0;
    split_lock_stepped(v);
    assert_true(detects);
    assert_int_equal(bus_locks.count, 1);
    assert_ptr_equal(v->task.ops, &usual);
    /* the one too many is taken, and then it stands still */
    split_lock_begin(v);
    v->step.users = 0;
    split_lock_stepped(v);
    assert_ptr_not_equal(v->task.ops, &usual);
    assert_true(detects);
    assert_int_equal(v->task.ops->run(&v->task), TASK_BLOCKED);
    now += HZ;
    assert_int_equal(v->task.ops->run(&v->task), TASK_PREEMPTED);
    assert_ptr_equal(v->task.ops, &usual);
}

static void not_split(void **state)
{
    assert_false(split_lock_begin(v)); /* a processor that does not detect them */
    vmx_features.split_lock = detects = true;
    cr0 = CR0_AM;
    rflags = RFLAGS_AC;
    cpl = 3;
    assert_false(split_lock_begin(v));
    assert_true(detects);
    assert_int_equal(steps, 0);
    assert_ptr_equal(v->task.ops, &usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(rate, setup),      cmocka_unit_test_setup(allowed, setup),
        cmocka_unit_test_setup(patience, setup),  cmocka_unit_test_setup(whose_check, setup),
        cmocka_unit_test_setup(stands, setup),    cmocka_unit_test_setup(leaves, setup),
        cmocka_unit_test_setup(no_limit, setup),  cmocka_unit_test_setup(split, setup),
        cmocka_unit_test_setup(not_split, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
