/* One CPU's queue: virtual time and who waits. */
#include "guest/sched/queue.h"

#define LAG_SLICES  8  /* the most that a vCPU is behind when it joins: */
#define DEBT_SLICES 64 /* and the most that it is ahead */

/* What a weight below this one asks for at a time is shorter, so that it need not wait longer. */
#define FULL_REQUEST_WEIGHT 100

#define WEIGHT_SCALE 64 /* so that a weight of 1 can be split among 64 vCPUs */

void sched_enter(struct sched_vcpu *v, enum sched_state state, uint64_t now)
{
    uint64_t *spent[] = {
        [SCHED_READY] = &v->stats.waited,
        [SCHED_PARKED] = &v->stats.parked,
    };

    if (v->state < ARRAY_SIZE(spent) && spent[v->state] && sched_before(v->changed_at, now))
        *spent[v->state] += now - v->changed_at;
    v->state = (uint8_t)state;
    v->changed_at = now;
}

/* --- virtual time ----------------------------------------------------------------------------- */

static uint32_t runnable(const struct sched_group *g)
{
    uint32_t n = __atomic_load_n(&g->runnable, __ATOMIC_RELAXED);

    return MIN(MAX(n, 1U), (uint32_t)SCHED_MAX_VCPUS);
}

/* A group's weight is split evenly among those of its vCPUs that do not sleep. */
static void take_weight(const struct sched *s, struct sched_vcpu *v)
{
    uint32_t n = runnable(v->group);
    uint32_t weight = __atomic_load_n(&v->group->weight, __ATOMIC_RELAXED);

    v->weight = (uint32_t)MAX((uint64_t)weight * WEIGHT_SCALE * s->reciprocal[n] >> 16, 1UL);
    v->group_inverse = UINT32_MAX / weight;
    v->inverse = (uint64_t)v->group_inverse * n;
}

uint64_t queue_request(const struct sched *s, const struct sched_vcpu *v, uint64_t ticks)
{
    uint32_t weight = __atomic_load_n(&v->group->weight, __ATOMIC_RELAXED);
    uint64_t full = s->slice * MIN(weight, FULL_REQUEST_WEIGHT) / FULL_REQUEST_WEIGHT;

    return MIN(ticks, MAX(full, s->grain));
}

static void count(struct sched_queue *q, const struct sched_vcpu *v)
{
    q->sum += (int64_t)v->weight * (int64_t)(v->vtime - q->zero);
    __atomic_store_n(&q->load, q->load + v->weight, __ATOMIC_RELAXED);
}

static void uncount(struct sched_queue *q, const struct sched_vcpu *v)
{
    q->sum -= (int64_t)v->weight * (int64_t)(v->vtime - q->zero);
    __atomic_store_n(&q->load, q->load - v->weight, __ATOMIC_RELAXED);
    if (q->load == 0)
        q->zero = v->vtime;
}

/* The mean becomes zero, so that the sum stays small. */
static uint64_t recentre(struct sched_queue *q)
{
    uint64_t mean = queue_mean(q);

    q->sum -= (int64_t)(q->load * (mean - q->zero));
    q->zero = mean;
    return mean;
}

uint64_t queue_mean(const struct sched_queue *q)
{
    return q->zero + (q->load ? (uint64_t)(q->sum / (int64_t)q->load) : 0);
}

void queue_charge(const struct sched *s, struct sched_queue *q, uint64_t now)
{
    struct sched_vcpu *v = q->current;

    if (!v || !sched_before(q->charged, now))
        return;
    uint64_t ran = now - q->charged;
    q->charged = now;
    v->stats.ran += ran;
    ran = MIN(ran, s->second);
    v->grant -= (int64_t)ran;

    /* By the larger number of runnable siblings: who lets them sleep at the right moment gains
     * little. */
    int64_t by =
        sched_virtual(ran, MAX(v->inverse, (uint64_t)v->group_inverse * runnable(v->group)));
    int64_t step = (int64_t)v->weight * by;
    uint64_t mean_by = (uint64_t)step / q->load;
    v->vtime += (uint64_t)by;
    q->clock += mean_by;
    q->zero += mean_by;
    q->sum += step - (int64_t)(q->load * mean_by);

    if (v->left > ran) {
        v->left -= ran;
    } else {
        v->request = queue_request(s, v, 2 * v->request);
        v->left = v->request;
    }
}

/* --- coming and going ------------------------------------------------------------------------- */

static int64_t clamp_lag(const struct sched *s, const struct sched_vcpu *v, int64_t lag,
                         uint64_t slices)
{
    int64_t most = sched_virtual(slices * s->slice, v->inverse);
    int64_t least = -sched_virtual(DEBT_SLICES * s->slice, v->inverse);

    return MAX(MIN(lag, most), least);
}

void queue_join(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, int64_t lag)
{
    take_weight(s, v);
    __atomic_store_n(&v->cpu, q->cpu, __ATOMIC_RELAXED);
    v->vtime = recentre(q) - (uint64_t)clamp_lag(s, v, lag, LAG_SLICES);
    count(q, v);
}

void queue_leave(struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    uncount(q, v);
    v->lag = (int64_t)(queue_mean(q) - v->vtime);
    v->lag_clock = q->clock;
    v->slept_at = now;
}

void queue_refresh(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v)
{
    uint64_t mean = recentre(q);
    int64_t lag = (int64_t)(mean - v->vtime);

    uncount(q, v);
    take_weight(s, v);
    v->vtime = mean - (uint64_t)clamp_lag(s, v, lag, v->yielded ? 1 : LAG_SLICES);
    count(q, v);
}

/* Who sleeps falls behind as the others' virtual time goes by, so what it ran too much is forgotten
 * then, and it gains up to one slice: enough to run soon after it wakes, too little to live on. */
int64_t queue_lag_now(const struct sched *s, const struct sched_queue *q, struct sched_vcpu *v,
                      uint64_t now)
{
    take_weight(s, v);
    if (sched_before(v->slept_at + s->second, now))
        return sched_virtual(s->slice, v->inverse);
    return clamp_lag(s, v, v->lag + (int64_t)(q->clock - v->lag_clock), 1);
}

void queue_wait(struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    v->node.key = sched_deadline(v);
    v->node.value = v->vtime;
    sched_tree_insert(&q->ready, &v->node);
    sched_enter(v, SCHED_READY, now);
}

void queue_unwait(struct sched_queue *q, struct sched_vcpu *v)
{
    sched_tree_remove(&q->ready, &v->node);
    if (q->favoured == v)
        q->favoured = NULL;
}
