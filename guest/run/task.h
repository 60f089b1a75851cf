/*
 * What a processor's loop runs: tasks, in groups that share a weight and a cap. The loop knows when
 * a task is to run and where; how it is loaded, run and put away is its owner's, by struct
 * task_ops. A virtual CPU is a task, a VM the group of its vCPUs.
 */
#pragma once

#include "arch/x86/smp.h"
#include "guest/sched/sched.h"
#include "guest/sched/sleepers.h"

struct task;

/* Why a task gave its processor back. */
enum task_end {
    TASK_PREEMPTED, /* the loop has something to decide */
    TASK_BLOCKED,   /* it waits: for a request, or for its deadline */
    TASK_GONE,      /* it has left, as TASK_LEAVE asked it to */
};

struct task_ops {
    /* Its state into the calling processor, and out of it. */
    void (*load)(struct task *t);
    void (*put)(struct task *t);
    /* Run the loaded task until task->until, a request, or it waits. */
    enum task_end (*run)(struct task *t);
    /* The host TSC at which a task that waits goes on by itself; UINT64_MAX: never. *dead: nothing
     * outside its group can wake it. It is loaded. */
    uint64_t (*deadline)(struct task *t, bool *dead);
    /* Requests that do not wake it. */
    uint32_t quiet;
};

/* Bits of struct task.requests; those from TASK_OWN on are the owner's. */
#define TASK_RESCHEDULE BIT(0) /* the loop is to decide who runs; does not wake it */
#define TASK_LEAVE      BIT(1) /* it is to go away: TASK_GONE */
#define TASK_TIMER      BIT(2) /* its deadline may have passed */
#define TASK_OWN        3

/* Tasks that share a weight and a cap, come together and leave together. */
struct task_group {
    struct sched_group share;
    struct task *task[SCHED_MAX_VCPUS];
    unsigned count;
    unsigned first;           /* the number of the one that run_enter() wakes first */
    unsigned active;          /* have not left yet; atomic */
    unsigned dead;            /* wait for something that only others of the group can do; atomic */
    struct cpu_work parked;   /* what processor 0 does when the last one has left */
    struct sched_cpus ran_on; /* processors that may hold translations of it */
    void (*all_dead)(struct task_group *g); /* nothing will wake any of them */
};

struct task {
    uint32_t requests;      /* atomic: other processors set bits */
    bool spins;             /* waits for a lock whose holder may not be running, */
    struct task *yields_to; /* or for that one, of its group; NULL: it does not know */
    uint64_t until;         /* host TSC at which the loop wants to decide again */
    const struct task_ops *ops;
    struct task_group *group;

    /* The loop's own. */
    struct sched_vcpu sched;
    struct sleeper sleep; /* while sleeping: until its deadline */
    bool sleeping;
    bool away;          /* not to be scheduled: new, paused or at its end */
    bool dead;          /* counted in the group's */
    bool loaded;        /* some processor holds its state: */
    unsigned loaded_on; /* this one */
    int on_cpu;         /* atomic: the processor that runs it, or -1 */
    uint64_t blocked_at, blocked_ticks;
};

/* Ask something of the task that this processor runs, or of one that is not running anywhere. */
static inline void task_ask(struct task *t, uint32_t requests)
{
    __atomic_fetch_or(&t->requests, requests, __ATOMIC_SEQ_CST);
}

/* The same of any task: one that runs on another processor is left for it, one that waits wakes. */
void task_notify(struct task *t, uint32_t requests);

/* Ticks that it could have run and did not so far; by the processor that runs it. */
static inline uint64_t task_waited(const struct task *t)
{
    return t->sched.stats.waited + t->sched.stats.parked;
}
