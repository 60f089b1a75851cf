/* Between the scheduler's parts. Virtual time is ticks run, times 2^16, divided by weight; who has
 * less of it than the level's mean is behind by that "lag", and eligible. */
#pragma once

#include "guest/sched/sched.h"

static inline struct sched_vcpu *sched_vcpu_of(struct sched_node *n)
{
    return n ? CONTAINER_OF(n, struct sched_vcpu, member.node) : NULL;
}

/* v's VM on the CPU that is v's home. */
static inline struct sched_part *sched_part_of(const struct sched_vcpu *v)
{
    return &v->group->part[v->cpu];
}

static inline bool sched_may_run(const struct sched_vcpu *v, unsigned cpu)
{
    return sched_cpus_have(&v->member.node.cpus, cpu);
}

/* Virtual time of so many ticks at an inverse weight (of 2^32). */
static inline int64_t sched_virtual(uint64_t ticks, uint64_t inverse)
{
    return (int64_t)((unsigned __int128)ticks * inverse >> 16);
}

static inline uint64_t sched_deadline(const struct sched_member *m)
{
    return m->vtime + (uint64_t)sched_virtual(m->left, m->inverse);
}

/* --- level.c: virtual time among those that share something --------------------------------- */

#define LEVEL_LAG_SLICES  8  /* the most that a member is behind when it joins: */
#define LEVEL_DEBT_SLICES 64 /* and the most that it is ahead */

/* The mean virtual time of those that take part, or where it stood when the last one left. */
uint64_t level_mean(const struct sched_level *l);

/* m, who takes part, ran for so many ticks. */
void level_charge(struct sched_level *l, struct sched_member *m, uint64_t ran);

/* m, whose weight and inverse are set, takes part, lag behind the mean if there are others; or does
 * not any more, and keeps its virtual time. */
void level_join(const struct sched *s, struct sched_level *l, struct sched_member *m, int64_t lag);
void level_leave(struct sched_level *l, struct sched_member *m, uint64_t now);

/* The lag by now of m, which left l. */
int64_t level_lag_now(const struct sched *s, const struct sched_level *l,
                      const struct sched_member *m, uint64_t now);

/* m, who takes part and does not wait, has another weight from now on, and so another lag. */
void level_reweigh(const struct sched *s, struct sched_level *l, struct sched_member *m,
                   uint32_t weight, uint64_t inverse, int64_t lag);

/* The lag of m, who takes part and does not wait, is a slice at most. */
void level_forgo(const struct sched *s, struct sched_level *l, struct sched_member *m);

/* Of those that wait on l, and of extra if that is not NULL: of whom did not have more than their
 * share so far, the one whose request is due first. After a yield there may be none of those; then
 * it is anybody. NULL if there is nobody. */
struct sched_member *level_choose(const struct sched_level *l, struct sched_member *extra);

/* --- queue.c: one CPU ------------------------------------------------------------------------- */

/* v's state becomes state; the time since the last change is accounted for. */
void sched_enter(struct sched_vcpu *v, enum sched_state state, uint64_t now);

/* Charge q's current vCPU with what it ran since it was charged last. */
void queue_charge(const struct sched *s, struct sched_queue *q, uint64_t now);

/* v, after a sleep or after its cap kept it away, shares q's CPU from now on, with a short request:
 * so it runs soon if its VM, and it in its VM, used less than its share before. Its home is locked,
 * too. */
void queue_join(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, uint64_t now);

/* v, which does not wait, sleeps or is parked: its VM's lag stays here, its own in v. */
void queue_leave(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, uint64_t now);

/* By how much v, which shares q's CPU, is behind q's mean, VM and all, as if all vCPUs shared the
 * CPU on one level; and v's part of its VM's weight. */
int64_t queue_lag(const struct sched_queue *q, const struct sched_vcpu *v);
uint32_t queue_weight(const struct sched_vcpu *v);
/* Virtual time of so many ticks that v runs. */
int64_t queue_virtual(const struct sched_vcpu *v, uint64_t ticks);

/* v, which waits on from, waits on to instead, where it is lag behind in that sense, and asks for
 * at least so many ticks. What its VM has or owes on from it takes with it as far as it is v's. */
void queue_move(const struct sched *s, struct sched_queue *from, struct sched_queue *to,
                struct sched_vcpu *v, int64_t lag, uint64_t turn, uint64_t now);

/* v stops and will wait again: its VM's weight is what it is by now. Who yields keeps little of its
 * lag. */
void queue_refresh(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v);

/* ticks, or what a vCPU of g may ask for at a time if that is less. */
uint64_t queue_request(const struct sched *s, const struct sched_group *g, uint64_t ticks);

/* How long v may run on q's CPU before somebody else's turn comes. */
uint64_t queue_turn(const struct sched_queue *q, const struct sched_vcpu *v);

/* v, who has joined, waits for the CPU; or does not any more. */
void queue_wait(struct sched_queue *q, struct sched_vcpu *v, uint64_t now);
void queue_unwait(struct sched_queue *q, struct sched_vcpu *v);

/* Whose turn it is, of those that wait and of last, which ran and would go on; last may be NULL.
 * NULL if there is nobody. */
struct sched_vcpu *queue_first(const struct sched *s, const struct sched_queue *q,
                               struct sched_vcpu *last);

/* v, which waited, is to run; or ran and would go on: its VM is q's holder from now on. */
void queue_take(struct sched_queue *q, struct sched_vcpu *v);
void queue_hold(struct sched_queue *q, const struct sched_vcpu *v);

/* Does anybody wait on q? The first of them who may run on cpu, or NULL. */
static inline bool queue_waits(const struct sched_queue *q)
{
    return q->level.ready.root || (q->holder && q->holder->level.ready.root);
}
struct sched_vcpu *queue_first_on(const struct sched_queue *q, unsigned cpu);

/* Should v, which waits on q, run before q's current one does on? */
bool queue_precedes(const struct sched_queue *q, const struct sched_vcpu *v);

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
