/* A machine that only schedules: CPUs that do what sched.h says a CPU does, and vCPUs that run,
 * sleep and yield by a plan. Time jumps from event to event. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "guest/sched/sched.h"

#define SIM_HZ 1000000000ULL
#define US     (SIM_HZ / 1000000)
#define MS     (SIM_HZ / 1000)

/* Runs for `run` ticks, then sleeps for `sleep` ticks, each plus up to `jitter`; run 0: for ever.
 */
struct actor {
    struct sched_vcpu v;
    uint64_t run, sleep, jitter;
    uint64_t spin;            /* yields after running this long; 0: never */
    struct actor *waits_for;  /* to whom it yields, or NULL */
    uint64_t left;            /* of this run */
    uint64_t spun;            /* since it last yielded */
    uint64_t wake_at, asleep; /* index in the heap of sleepers, plus one */
    uint64_t longest;         /* wait for a CPU, cap aside, from one run to the next */
    uint64_t waited;          /* by the last run */
    bool removed;
};

struct sim_cpu {
    struct sched_queue queue;
    struct actor *running;
    uint64_t since, until;
    int64_t skew; /* of its TSC */
    bool kicked;
    uint64_t kicked_at;
};

struct sim {
    struct sched s;
    unsigned cpus;
    struct sim_cpu *cpu;
    struct actor **actors;   /* all of them */
    struct actor **sleepers; /* heap by wake_at */
    struct sched_group **groups;
    struct sched_part **parts; /* of each group */
    unsigned actor_count, sleeper_count, group_count, room;
    uint64_t now;
    uint64_t random;
    uint64_t late; /* kicks and ends of time are noticed up to so many ticks late */
    uint64_t picks;
    bool check; /* all invariants, after each event */
};

struct sim *sim_new(unsigned cpus, unsigned room);
void sim_free(struct sim *m);

/* A new vCPU of g, which wakes after `after` ticks. */
struct actor *sim_add(struct sim *m, struct sched_group *g, uint64_t run, uint64_t sleep,
                      uint64_t after);
/* Give it up; it must not run any more. */
void sim_remove(struct sim *m, struct actor *a);
void sim_affinity(struct sim *m, struct actor *a, const struct sched_cpus *set);
void sim_cap(struct sim *m, struct sched_group *g, unsigned percent);
void sim_wake(struct sim *m, struct actor *a);

void sim_run(struct sim *m, uint64_t ticks);

/* Ticks that all vCPUs of g have run by now. */
uint64_t sim_ran(const struct sim *m, const struct sched_group *g);
struct sched_stats sim_stats(const struct sim *m, const struct actor *a);

/* Each vCPU is where its state says, sums are right, trees are balanced, and no CPU is idle while
 * somebody waits who may run on it. */
void sim_check(const struct sim *m);

uint64_t sim_random(struct sim *m, uint64_t below);

/* --- what tests ask for again and again --- */

/* A VM without vCPUs; one of so many that never sleep. */
void sim_group(struct sim *m, struct sched_group *g, unsigned weight, unsigned cap);
void sim_spinners(struct sim *m, struct sched_group *g, unsigned weight, unsigned cap,
                  unsigned vcpus);
/* Is part within permille of due? */
void sim_assert_near(uint64_t part, uint64_t due, unsigned permille);
/* Run for a second; g[i] must get due[i] permille of one CPU in it; up to 16 groups. */
void sim_assert_second(struct sim *m, const struct sched_group *g, const uint64_t *due,
                       unsigned groups, unsigned permille);

static inline struct sched_cpus sim_cpu_set(uint64_t mask)
{
    return (struct sched_cpus){{mask}};
}
