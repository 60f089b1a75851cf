/* Between the scheduler's parts. Virtual time is ticks run, times 2^16, divided by weight; who has
 * less of it than the queue's mean is behind by that "lag", and eligible. */
#pragma once

#include "guest/sched/sched.h"

static inline struct sched_vcpu *sched_vcpu_of(struct sched_node *n)
{
    return n ? CONTAINER_OF(n, struct sched_vcpu, node) : NULL;
}

static inline bool sched_may_run(const struct sched_vcpu *v, unsigned cpu)
{
    return sched_cpus_have(&v->node.cpus, cpu);
}

/* Virtual time of so many ticks at an inverse weight (of 2^32). */
static inline int64_t sched_virtual(uint64_t ticks, uint64_t inverse)
{
    return (int64_t)((unsigned __int128)ticks * inverse >> 16);
}

static inline uint64_t sched_deadline(const struct sched_vcpu *v)
{
    return v->vtime + (uint64_t)sched_virtual(v->left, v->inverse);
}

/* --- queue.c: one CPU ------------------------------------------------------------------------- */

/* v's state becomes state; the time since the last change is accounted for. */
void sched_enter(struct sched_vcpu *v, enum sched_state state, uint64_t now);

/* The mean virtual time of those that share q's CPU, or where it stood when the last one left. */
uint64_t queue_mean(const struct sched_queue *q);

/* Charge q's current vCPU with what it ran since it was charged last. */
void queue_charge(const struct sched *s, struct sched_queue *q, uint64_t now);

/* v joins those that share q's CPU, lag behind their mean; or leaves, and v->lag is what it is
 * behind those that stay: so that leaving and joining again changes nothing. */
void queue_join(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, int64_t lag);
void queue_leave(struct sched_queue *q, struct sched_vcpu *v, uint64_t now);

/* As both, one after the other: v's weight is what its group's is by now. Who yields keeps little
 * of its lag. */
void queue_refresh(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v);

/* The lag of v, which left q, by now. */
int64_t queue_lag_now(const struct sched *s, const struct sched_queue *q, struct sched_vcpu *v,
                      uint64_t now);

/* ticks, or what v may ask for at a time if that is less. */
uint64_t queue_request(const struct sched *s, const struct sched_vcpu *v, uint64_t ticks);

/* v, who has joined, waits for the CPU; or does not any more. */
void queue_wait(struct sched_queue *q, struct sched_vcpu *v, uint64_t now);
void queue_unwait(struct sched_queue *q, struct sched_vcpu *v);

/* --- cap.c: a group's budget ------------------------------------------------------------------ */

/* Ticks per period; 0: no cap. */
static inline uint64_t cap_of(const struct sched_group *g)
{
    return __atomic_load_n(&g->quota, __ATOMIC_RELAXED);
}

/* Ticks that v may run for now, want at most: 0 if it has to wait until v->group->refill_at. */
uint64_t cap_take(const struct sched *s, struct sched_vcpu *v, uint64_t want, uint64_t now);

/* v stops: what it did not use goes back, what it ran too long is owed. */
void cap_settle(struct sched_vcpu *v);

/* --- balance.c: between CPUs ------------------------------------------------------------------ */

/* Others see what q's CPU has to offer. After each change of q. */
void sched_publish(struct sched *s, struct sched_queue *q);

/* The home of a new vCPU: each CPU in turn. */
unsigned sched_next_home(struct sched *s);

/* An idle CPU that could run one of those that wait on q, and is to be kicked, or SCHED_NONE. */
int sched_call_idle(struct sched *s, const struct sched_queue *q);

/* The same for q and then all others: q's CPU, which was idle, may have taken other work than what
 * it was called for. */
int sched_pass_call(struct sched *s, const struct sched_queue *q);

/* Does a vCPU wait on any CPU? */
bool sched_anybody_waits(const struct sched *s);

/* cpu was idle and is no more. False if somebody else said so already. */
bool sched_claim_idle(struct sched *s, unsigned cpu);
