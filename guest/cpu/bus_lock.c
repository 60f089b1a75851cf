/*
 * What is done about a bus lock. A vCPU that is to stand still, or whose processor must not detect
 * split locks for one instruction, is another kind of task meanwhile, so that no other pays for it.
 */
#include "guest/cpu/bus_lock.h"

#include "arch/x86/cpu.h"
#include "arch/x86/split_lock.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "vmx/cpu.h"

static struct vcpu *vcpu_of(struct task *t)
{
    return CONTAINER_OF(t, struct vcpu, task);
}

static void become(struct vcpu *v, const struct task_ops *ops)
{
    v->plain_ops = v->task.ops;
    v->task.ops = ops;
}

static const struct task_ops *plain(struct task *t)
{
    return vcpu_of(t)->plain_ops;
}

/* --- standing still --- */

static void standing_load(struct task *t)
{
    plain(t)->load(t);
}

static void standing_put(struct task *t)
{
    plain(t)->put(t);
}

/* Whatever wakes it: it has no turn before its time, but for its leave. */
static enum task_end standing_run(struct task *t)
{
    uint32_t requests = __atomic_load_n(&t->requests, __ATOMIC_SEQ_CST);

    if (rdtsc() < vcpu_of(t)->stands_until && !(requests & TASK_LEAVE))
        return TASK_BLOCKED;
    t->ops = plain(t);
    return t->ops->run(t);
}

static uint64_t standing_deadline(struct task *t, bool *dead)
{
    *dead = false;
    return vcpu_of(t)->stands_until;
}

static const struct task_ops standing_ops = {
    .load = standing_load,
    .put = standing_put,
    .run = standing_run,
    .deadline = standing_deadline,
    .quiet = ~(uint32_t)TASK_LEAVE,
};

void vcpu_bus_lock(struct vcpu *v)
{
    struct bus_locks *b = v->vm->bus_locks;
    uint64_t now = rdtsc(), until = bus_lock_until(b, now, v->vm->config->bus_locks, tsc_hz);

    if (until == now)
        return;
    __atomic_add_fetch(&b->stood, until - now, __ATOMIC_RELAXED);
    v->stands_until = until;
    become(v, &standing_ops);
    vcpu_ask(v, REQUEST_RESCHEDULE);
}

/* --- one instruction that takes a split lock --- */

static void splitting_load(struct task *t)
{
    plain(t)->load(t);
    split_lock_detect(false);
}

static void splitting_put(struct task *t)
{
    split_lock_detect(true);
    plain(t)->put(t);
}

static enum task_end splitting_run(struct task *t)
{
    return plain(t)->run(t);
}

static uint64_t splitting_deadline(struct task *t, bool *dead)
{
    return plain(t)->deadline(t, dead);
}

static const struct task_ops splitting_ops = {
    .load = splitting_load,
    .put = splitting_put,
    .run = splitting_run,
    .deadline = splitting_deadline,
    .quiet = REQUEST_RELOAD,
};

bool split_lock_begin(struct vcpu *v)
{
    if (!vmx_features.split_lock || alignment_checked(vmx_get_cr0(), vmx_rflags(), vcpu_cpl()))
        return false;
    split_lock_detect(false); /* again, too: the core's other thread switches it for both */
    if (v->step.users & STEP_SPLIT)
        return true;
    become(v, &splitting_ops);
    step_begin(v, STEP_SPLIT);
    return true;
}

void split_lock_stepped(struct vcpu *v)
{
    split_lock_detect(true);
    v->task.ops = v->plain_ops;
    vcpu_bus_lock(v);
}
