/* The scheduler's policy: which vCPU runs where, and until when. Pure: it reads no clock, takes no
 * lock, sends no interrupt and allocates nothing. docs/SCHEDULER.md says what it promises and why.
 *
 * Each CPU has a queue. On each, earliest eligible virtual deadline first (EEVDF) shares the CPU by
 * weight, on two levels: first between VMs, then between the VM's vCPUs there. Queues are kept in
 * step by CPUs that pull from others. Times are host TSC ticks.
 *
 * Locks are the caller's, one per CPU's queue. "Touches X" in a comment means: hold X's lock; of
 * two, that of the lower CPU number first. A vCPU's home, v->cpu, is the queue whose lock guards
 * it: read it, lock, and read it again. Groups need no lock. What a CPU does, again and again:
 *
 *     lock own; if the guest halted and no event is pending: sched_block; unlock
 *     from = sched_pull_source
 *     lock own (and from); if from >= 0: sched_pull; choice = sched_pick; unlock
 *     if choice.rehome: wake it, as below, unless it is to stay asleep
 *     if choice.kick >= 0: make that CPU start over
 *     if choice.vcpu: run it until choice.until, a kick, or it halts or spins
 *     else if sched_pull_source >= 0 by now: start over; else halt until choice.until or a kick
 *
 * and what does who wakes v, because of an interrupt, a timer or another vCPU:
 *
 *     repeat: home = v->cpu; to = sched_target; lock both; if v->cpu == home: kick = sched_wake;
 *     unlock both; until v->cpu was home and kick is not SCHED_AGAIN
 *     if kick >= 0: make that CPU start over
 *
 * tests/unit/test_sched_threads.c is all of that in C.
 */
#pragma once

#include "guest/sched/tree.h"

#define SCHED_WEIGHT_MAX     10000
#define SCHED_WEIGHT_DEFAULT 100
#define SCHED_CAP_MAX        (100 * SCHED_MAX_CPUS)
#define SCHED_MAX_VCPUS      64 /* of one group */

#define SCHED_NEVER UINT64_MAX
#define SCHED_NONE  (-1) /* no CPU */
#define SCHED_AGAIN (-2)

/* Times, in microseconds. */
#define SCHED_SLICE_US       1000  /* what a vCPU asks for at a time */
#define SCHED_WAKE_SLICE_US  250   /* one that just woke asks for less, and so gets it sooner */
#define SCHED_CAP_PERIOD_US  10000 /* how often a capped group's budget is filled again */
#define SCHED_GRAIN_US       50    /* the least that it asks for, or takes from a cap's budget */
#define SCHED_BALANCE_US     2000  /* how often a busy CPU looks at another's queue, on average */
#define SCHED_GAP_US         4000  /* how far behind a vCPU has to be to be pulled by a busy CPU */
#define SCHED_UNCONTENDED_US 50000 /* how long a vCPU runs when nobody waits */

enum sched_state {
    SCHED_BLOCKED, /* sleeps, is paused, or new */
    SCHED_READY,   /* waits in its CPU's queue */
    SCHED_RUNNING, /* its CPU's current one */
    SCHED_PARKED,  /* its group's cap is used up; its CPU looks after it at the next refill */
};

/* Those that share something evenly: a CPU's VMs by their weights, or a VM's vCPUs there. */
struct sched_level {
    struct sched_tree ready; /* who waits, by virtual deadline; its values are virtual times */

    /* The mean virtual time of those that run or wait is zero + sum / load. */
    uint64_t zero;
    int64_t sum;
    uint64_t load; /* their weights */
};

/* One of them. */
struct sched_member {
    struct sched_node node; /* in the level's tree, while it waits */
    uint32_t weight;        /* as summed in the level's load */
    uint64_t inverse;       /* virtual time per tick of running, times 2^16 */
    uint64_t vtime;         /* grows by ticks run, divided by weight */
    uint64_t left_at;       /* when it took part last; 0: never */
    uint64_t request, left; /* ticks that it asks for at a time; that are left of this time */
};

/* A VM on one CPU: those of its vCPUs that run or wait there. The CPU's lock guards it. */
struct sched_part {
    struct sched_member member; /* of the CPU's level */
    struct sched_level level;   /* its vCPUs, each of weight 1 */
    bool queued;                /* in the CPU's tree */
    struct {
        uint32_t weight, sharing; /* of the group */
        uint64_t here;            /* the level's load */
    } weighed;                    /* what the weight was made of */
};

/* A VM: who shares one weight and one cap. */
struct sched_group {
    uint32_t weight;         /* 1..SCHED_WEIGHT_MAX: of the VM, however many vCPUs it has */
    uint32_t cap;            /* percent of one CPU for all vCPUs together; 0: no cap */
    uint32_t runnable;       /* vCPUs that do not sleep */
    uint32_t sharing;        /* those of them that the cap does not hold back */
    struct sched_part *part; /* one for each CPU, by number */
    uint64_t quota;          /* ticks per cap period; 0: no cap */
    int64_t budget;          /* ticks left until refill_at; below 0: owed */
    uint64_t refill_at;
    uint32_t round; /* counts refills that left a budget */
};

/* What `top` and the like want to know of a vCPU, in ticks. */
struct sched_stats {
    uint64_t ran;
    uint64_t waited;   /* ready, but another one ran */
    uint64_t parked;   /* held back by the cap */
    uint64_t wakes;    /* how often it slept and woke */
    uint64_t wake_sum; /* from wake-up to running: all of them; */
    uint64_t wake_max; /* the longest */
    uint64_t runs;     /* how often it was picked when it had not run last */
    uint64_t moves;    /* how often it came to another CPU */
    uint64_t yields;
};

struct sched_vcpu {
    struct sched_member member; /* of its group's part at home; its node is also for `parked` */
    struct sched_group *group;
    uint32_t cpu; /* home: whose queue it is in, or was last */
    uint8_t state;
    bool woken;    /* has not run since it woke */
    bool yielded;  /* lets another one go first, once */
    bool capped;   /* there was a cap when it was picked: */
    int64_t grant; /* ticks taken from the group's budget then */
    uint32_t round;
    uint64_t changed_at; /* time of its last change of state, for stats */
    struct sched_stats stats;
};

/* A CPU. */
struct sched_queue {
    uint32_t cpu;
    struct sched_level level;    /* VMs: those of whom a vCPU runs or waits here. In the tree are */
    struct sched_part *holder;   /* those of whom one waits, but this one, which ran last */
    struct sched_tree parked;    /* vCPUs, by the time of their group's refill */
    struct sched_vcpu *current;  /* runs; its time is charged until: */
    struct sched_vcpu *favoured; /* runs next, by another one's yield */
    uint64_t charged;
    uint64_t until; /* what sched_pick said last */

    uint64_t offset;          /* mean + offset: how far this CPU has come, compared with others */
    struct sched_cpus wanted; /* published: where those that wait may run */
    uint64_t balance_at;
    uint32_t probed;
    uint32_t dice;

    uint64_t switches, pulls; /* for `cpus` */
};

/* The machine. */
struct sched {
    struct sched_queue *queue[SCHED_MAX_CPUS];
    struct sched_cpus online;
    struct sched_cpus idle;    /* halted, or about to: each wants a kick when there is work */
    struct sched_cpus waiting; /* CPUs in whose queue somebody waits */
    uint32_t words;            /* of such a set that have online CPUs in them */
    uint32_t last_home;        /* that a new vCPU got */
    uint64_t second;           /* ticks */
    uint64_t slice, wake_slice, cap_period, grain, balance, gap, uncontended;
};

struct sched_choice {
    struct sched_vcpu *vcpu;   /* runs now; NULL: nobody */
    uint64_t until;            /* call sched_pick again at this time, or SCHED_NEVER */
    int kick;                  /* an idle CPU that has work to pull now, or SCHED_NONE */
    struct sched_vcpu *rehome; /* has to leave this CPU: blocked; wake it */
};

/* --- set-up ----------------------------------------------------------------------------------- */

/* hz: TSC ticks per second, 1 MHz or more. */
void sched_init(struct sched *s, uint64_t hz);

/* From now on cpu (0..255) takes part, with queue q. Nobody else calls at the same time. */
void sched_add_cpu(struct sched *s, struct sched_queue *q, unsigned cpu, uint64_t now);

/* Weight 100, no cap. parts: zeroes, one for each CPU that is online or will be, by its number. */
void sched_group_init(struct sched_group *g, struct sched_part *parts, uint64_t now);

/* A new vCPU, blocked, allowed everywhere. There is a CPU already. Touches nothing: nobody else
 * knows v yet. To remove it, sched_block it. */
void sched_add(struct sched *s, struct sched_vcpu *v, struct sched_group *g, uint64_t now);

/* At any time. -EINVAL if weight or cap is out of range. A running vCPU notices at its next pick,
 * and what it ran before is not charged to a new cap: kick its CPU. */
int sched_set_weight(struct sched_group *g, unsigned weight) MUST_CHECK;
int sched_set_cap(const struct sched *s, struct sched_group *g, unsigned percent) MUST_CHECK;

/* Where v may run. -EINVAL if no CPU of set is online; else 0, or SCHED_MUST_WAKE if v waited and
 * is blocked now: wake it, so that it waits where it may; or SCHED_MUST_KICK: v runs where it may
 * not, kick v->cpu. Touches v's home. */
#define SCHED_MUST_WAKE 1
#define SCHED_MUST_KICK 2
int sched_set_affinity(struct sched *s, struct sched_vcpu *v, const struct sched_cpus *set,
                       uint64_t now) MUST_CHECK;

/* --- waking and sleeping ---------------------------------------------------------------------- */

/* Where v should wake: an idle CPU if it may run on one, else home. Touches nothing. */
unsigned sched_target(const struct sched *s, const struct sched_vcpu *v);

/* v becomes ready on cpu. Returns the CPU to kick, which may be the caller's own, SCHED_NONE, or
 * SCHED_AGAIN if v may not run on cpu any more. Nothing happens if v is not blocked: a wake-up that
 * crosses a sched_block is the caller's to notice, under the lock. Touches v's home and cpu. */
int sched_wake(struct sched *s, struct sched_vcpu *v, unsigned cpu, uint64_t now);

/* v sleeps, is paused or goes away. If it is running, only its own CPU may say so; that calls
 * sched_pick next. Touches v's home. */
void sched_block(struct sched *s, struct sched_vcpu *v, uint64_t now);

/* --- choosing --------------------------------------------------------------------------------- */

/* From which CPU cpu should pull before its next pick, or SCHED_NONE. cpu's own code only. Touches
 * nothing. */
int sched_pull_source(struct sched *s, unsigned cpu, uint64_t now);

/* Move a vCPU that waits on from to cpu, if one may come and it is fair. Touches both. Returns the
 * vCPU or NULL. */
struct sched_vcpu *sched_pull(struct sched *s, unsigned cpu, unsigned from, uint64_t now);

/* Charge who ran on cpu and choose who runs next. Called by cpu when until is reached, after a
 * kick, after sched_block, sched_yield_to and sched_pull. If it says nobody, cpu counts as idle.
 * Touches cpu. */
struct sched_choice sched_pick(struct sched *s, unsigned cpu, uint64_t now);

/* v, which runs here, spins: let others go first, once. to, if not NULL, is who v thinks it waits
 * for: if ready, it goes first, and comes to this CPU if it may. sched_pick next. Touches v's home
 * and to's. */
void sched_yield_to(struct sched *s, struct sched_vcpu *v, struct sched_vcpu *to, uint64_t now);

/* --- asking ----------------------------------------------------------------------------------- */

/* v's statistics, with what is under way at now. Touches v's home. */
struct sched_stats sched_stats(const struct sched *s, const struct sched_vcpu *v, uint64_t now);
