/*
 * Who runs on which processor. Each has one loop and one stack: it serves what other processors
 * ask, wakes tasks whose deadlines have passed, lets the scheduler choose (guest/sched/), runs that
 * task until it gives the processor back, and is halted when there is none. There are no other
 * threads.
 */
#pragma once

#include "arch/x86/percpu.h"
#include "guest/run/task.h"

/* What the loops do beside running tasks. */
struct run_chores {
    /* Each on processor 0, in this order, before it chooses; returns the host TSC at which it wants
     * to be called next. */
    uint64_t (*const *often)(void);
    unsigned often_count;
    /* On a processor that is about to be halted; the same. */
    uint64_t (*idle)(void);
    /* Forget translations of guest memory on the calling processor. */
    void (*flush)(void);
};

/* Before the first loop begins; chores stays in place. */
void run_init(const struct run_chores *chores);
/* Processor n will run tasks; the boot processor calls this for each, itself first. 0, -ENOMEM. */
int run_join(unsigned n) MUST_CHECK;
/* Whether it has. */
bool run_takes_part(unsigned n);
/* All have joined: their loops begin. */
void run_open(void);
/* What a processor does from its start on. */
NORETURN void run_processor(void);
/* The calling processor's loop, for good. */
NORETURN void run_loop(void);

/* Whether this processor's loop has something to do that its task should be left for. */
static inline bool run_wanted(void)
{
    const struct percpu *cpu = this_cpu();

    return __atomic_load_n(&cpu->calls, __ATOMIC_RELAXED) != NULL ||
           __atomic_load_n(&cpu->attention, __ATOMIC_RELAXED);
}

/* Have processor n go through its loop soon. From anywhere, with any lock held. */
void run_attention(unsigned n);
/* The calling processor's loop is to come round again at that host TSC at the latest. The task that
 * runs here, whose `until` has changed, or NULL when there is none or it comes round earlier. */
struct task *run_again_at(uint64_t deadline);

/* --- tasks; on processor 0 only --- */

/* A new group, of zeroes so far: it has its part of every processor. 0, -ENOMEM. */
int run_add_group(struct task_group *g) MUST_CHECK;
/* A group whose tasks have left, or that has none, goes. */
void run_remove_group(struct task_group *g);
/* A new task, with ops set, away: known to the scheduler, but not to be run. */
void run_add(struct task_group *g, struct task *t);
/* Let those of a group's tasks that are away be scheduled from now on: bit n stands for task n. */
void run_enter(struct task_group *g, uint64_t tasks);
/* The group's tasks are to go away; its `parked` work runs on processor 0 when the last one has. */
void run_leave(struct task_group *g);
/* Whatever task the calling processor has loaded is put away. */
void run_unload(void);
/* Forget the group's translations on every processor that ran it. When it returns, none of them
 * looks at a task that is away any more. */
void run_flush(struct task_group *g);
/* Every processor that ran it has left its tasks and forgotten the group's translations when this
 * returns; the tasks go on by themselves. On any processor, also by a task of the group that runs
 * there. */
void run_synchronize(struct task_group *g);
/* Its weight (1 to SCHED_WEIGHT_MAX), its cap (percent of one processor; 0: none) and where it may
 * run; no processor at all means everywhere. 0, or -EINVAL. */
int run_schedule(struct task_group *g, uint32_t weight, uint32_t cap,
                 const struct sched_cpus *set) MUST_CHECK;
/* What the scheduler knows of a task. */
struct sched_stats run_stats(struct task *t);
/*
 * Call fn with the task loaded, wherever that is; where it ran meanwhile it goes on afterwards. fn
 * is short and takes no lock but the console's. 0, or -EBUSY when the task moves about too quickly.
 */
int run_inspect(struct task *t, void (*fn)(struct task *t, void *arg), void *arg) MUST_CHECK;
