/* vCPUs come, wake, are chosen, yield, sleep. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/sched/queue.h"

/* --- set-up ----------------------------------------------------------------------------------- */

void sched_init(struct sched *s, uint64_t hz)
{
    uint64_t us = hz / 1000000;

    memset(s, 0, sizeof(*s));
    s->second = hz;
    s->slice = SCHED_SLICE_US * us;
    s->wake_slice = SCHED_WAKE_SLICE_US * us;
    s->cap_period = SCHED_CAP_PERIOD_US * us;
    s->grain = SCHED_GRAIN_US * us;
    s->balance = SCHED_BALANCE_US * us;
    s->gap = SCHED_GAP_US * us;
    s->uncontended = SCHED_UNCONTENDED_US * us;
}

void sched_add_cpu(struct sched *s, struct sched_queue *q, unsigned cpu, uint64_t now)
{
    memset(q, 0, sizeof(*q));
    q->cpu = cpu;
    q->charged = now;
    q->balance_at = now;
    q->probed = q->dice = cpu;
    s->queue[cpu] = q;
    s->words = MAX(s->words, cpu / 64 + 1);
    __atomic_fetch_or(&s->online.word[cpu / 64], BIT(cpu % 64), __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&s->idle.word[cpu / 64], BIT(cpu % 64), __ATOMIC_SEQ_CST);
}

void sched_group_init(struct sched_group *g, struct sched_part *parts, uint64_t now)
{
    memset(g, 0, sizeof(*g));
    g->part = parts;
    g->weight = SCHED_WEIGHT_DEFAULT;
    g->refill_at = now;
}

int sched_set_weight(struct sched_group *g, unsigned weight)
{
    if (weight < 1 || weight > SCHED_WEIGHT_MAX)
        return -EINVAL;
    __atomic_store_n(&g->weight, weight, __ATOMIC_RELAXED);
    return 0;
}

int sched_set_cap(const struct sched *s, struct sched_group *g, unsigned percent)
{
    if (percent > SCHED_CAP_MAX)
        return -EINVAL;
    __atomic_store_n(&g->cap, percent, __ATOMIC_RELAXED);
    __atomic_store_n(&g->quota, s->cap_period * percent / 100, __ATOMIC_RELAXED);
    return 0;
}

void sched_add(struct sched *s, struct sched_vcpu *v, struct sched_group *g, uint64_t now)
{
    memset(v, 0, sizeof(*v));
    memset(&v->member.node.cpus, 0xff, sizeof(v->member.node.cpus));
    v->member.weight = 1;
    v->member.inverse = 65536;
    v->group = g;
    v->cpu = sched_next_home(s);
    v->member.vtime = sched_part_of(v)->level.zero;
    v->member.left_at = v->changed_at = now;
    v->round = g->round - 1;
}

/* --- sleeping and waking ---------------------------------------------------------------------- */

/* v, which is in no tree any more, sleeps. */
static void fall_asleep(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v,
                        uint64_t now)
{
    __atomic_fetch_sub(&v->group->runnable, 1, __ATOMIC_RELAXED);
    if (v->state != SCHED_PARKED)
        queue_leave(s, q, v, now);
    v->yielded = false;
    sched_enter(v, SCHED_BLOCKED, now);
}

/* q's current vCPU gives the CPU up. */
static struct sched_vcpu *stop_current(const struct sched *s, struct sched_queue *q, uint64_t now)
{
    struct sched_vcpu *v = q->current;

    if (v) {
        queue_charge(s, q, now);
        cap_settle(v);
        q->current = NULL;
    }
    return v;
}

void sched_block(struct sched *s, struct sched_vcpu *v, uint64_t now)
{
    struct sched_queue *q = s->queue[v->cpu];

    if (v->state == SCHED_BLOCKED)
        return;
    if (v->state == SCHED_RUNNING)
        stop_current(s, q, now);
    else if (v->state == SCHED_PARKED)
        sched_tree_remove(&q->parked, &v->member.node);
    else
        queue_unwait(q, v);
    fall_asleep(s, q, v, now);
    sched_publish(s, q);
}

/* Must q's CPU choose again now that v waits? Yes if v should run before the current one does on,
 * or if that one was told to run longer than it may beside others. */
static bool preempts(const struct sched_queue *q, const struct sched_vcpu *v, uint64_t now)
{
    return sched_before(now + queue_turn(q, q->current), q->until) || queue_precedes(q, v);
}

int sched_wake(struct sched *s, struct sched_vcpu *v, unsigned cpu, uint64_t now)
{
    struct sched_queue *home = s->queue[v->cpu], *q = s->queue[cpu];

    if (v->state != SCHED_BLOCKED)
        return SCHED_NONE;
    if (!sched_may_run(v, cpu))
        return SCHED_AGAIN;
    queue_charge(s, home, now);
    queue_charge(s, q, now);
    __atomic_fetch_add(&v->group->runnable, 1, __ATOMIC_RELAXED);
    v->stats.moves += home != q;
    v->stats.wakes++;
    v->woken = true;
    queue_join(s, q, v, now);
    queue_wait(q, v, now);
    sched_publish(s, q);

    if (!q->current)
        return sched_claim_idle(s, cpu) ? (int)cpu : SCHED_NONE;
    int idle = sched_call_idle(s, q);
    if (idle >= 0)
        return idle;
    return preempts(q, v, now) ? (int)cpu : SCHED_NONE;
}

int sched_set_affinity(struct sched *s, struct sched_vcpu *v, const struct sched_cpus *set,
                       uint64_t now)
{
    uint64_t usable = 0;
    int todo = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(set->word); i++)
        usable |= set->word[i] & __atomic_load_n(&s->online.word[i], __ATOMIC_RELAXED);
    if (!usable)
        return -EINVAL;
    if (v->state == SCHED_READY || v->state == SCHED_PARKED) {
        sched_block(s, v, now);
        todo = SCHED_MUST_WAKE;
    } else if (v->state == SCHED_RUNNING && !sched_cpus_have(set, v->cpu)) {
        todo = SCHED_MUST_KICK;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(set->word); i++)
        __atomic_store_n(&v->member.node.cpus.word[i], set->word[i], __ATOMIC_RELAXED);
    return todo;
}

/* --- choosing --------------------------------------------------------------------------------- */

static void park(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    struct sched_node *n = &v->member.node;

    queue_leave(s, q, v, now);
    n->key = n->value = __atomic_load_n(&v->group->refill_at, __ATOMIC_RELAXED);
    sched_tree_insert(&q->parked, n);
    sched_enter(v, SCHED_PARKED, now);
}

/* Those whose group's budget was due to be filled again wait for the CPU again. */
static void unpark(const struct sched *s, struct sched_queue *q, uint64_t now)
{
    struct sched_node *n;

    while ((n = sched_tree_first(&q->parked)) && !sched_before(now, n->key)) {
        struct sched_vcpu *v = sched_vcpu_of(n);
        sched_tree_remove(&q->parked, n);
        queue_join(s, q, v, now);
        queue_wait(q, v, now);
    }
}

/* Take out of q, where last may go on if it is not NULL, who runs next, and for how long it may by
 * its cap. */
static struct sched_vcpu *choose(const struct sched *s, struct sched_queue *q,
                                 struct sched_vcpu *last, uint64_t now, uint64_t *ticks)
{
    struct sched_vcpu *v;

    while ((v = queue_first(s, q, last))) {
        if (v == last)
            last = NULL;
        else
            queue_take(q, v);
        *ticks = cap_take(s, v, queue_turn(q, v), now);
        if (*ticks > 0)
            return v;
        park(s, q, v, now);
        if (last)
            queue_hold(q, last);
    }
    return NULL;
}

/* v becomes current. */
static void start(struct sched_queue *q, struct sched_vcpu *v, const struct sched_vcpu *last,
                  uint64_t now)
{
    uint64_t waited = sched_before(v->changed_at, now) ? now - v->changed_at : 0;

    if (v->woken) {
        v->woken = false;
        v->stats.wake_sum += waited;
        v->stats.wake_max = MAX(v->stats.wake_max, waited);
    }
    if (v != last) {
        v->stats.runs++;
        q->switches++;
    }
    sched_enter(v, SCHED_RUNNING, now);
    q->current = v;
    q->charged = now;
}

/* How long until q's CPU looks at another's queue. */
static uint64_t until_balance(const struct sched *s, const struct sched_queue *q, uint64_t now)
{
    return sched_before(now, q->balance_at) ? q->balance_at - now : s->balance;
}

struct sched_choice sched_pick(struct sched *s, unsigned cpu, uint64_t now)
{
    struct sched_choice choice = {.until = SCHED_NEVER, .kick = SCHED_NONE};
    struct sched_queue *q = s->queue[cpu];
    struct sched_vcpu *last = stop_current(s, q, now), *v = NULL;
    bool stays = last && sched_may_run(last, cpu);
    uint64_t ticks = 0;

    sched_claim_idle(s, cpu);
    if (stays) {
        queue_refresh(s, q, last);
    } else if (last) {
        fall_asleep(s, q, last, now);
        choice.rehome = last;
    }
    unpark(s, q, now);
    if (stays && last->yielded)
        v = choose(s, q, NULL, now, &ticks);
    if (stays && !v)
        queue_hold(q, last);
    if (!v)
        v = choose(s, q, stays ? last : NULL, now, &ticks);
    if (stays) {
        last->yielded = false;
        if (v != last && last->state == SCHED_RUNNING)
            queue_wait(q, last, now);
    }

    if (v) {
        start(q, v, last, now);
        choice.vcpu = v;
        choice.until = now + ticks;
        if (!queue_waits(q) && !cap_of(v->group))
            choice.until =
                now + (sched_anybody_waits(s) ? until_balance(s, q, now) : s->uncontended);
    }
    const struct sched_node *parked = sched_tree_first(&q->parked);
    if (parked && (!v || sched_before(parked->key, choice.until)))
        choice.until = parked->key;
    q->until = choice.until;
    sched_publish(s, q);
    if (!v)
        __atomic_fetch_or(&s->idle.word[cpu / 64], BIT(cpu % 64), __ATOMIC_SEQ_CST);
    else
        choice.kick = last ? sched_call_idle(s, q) : sched_pass_call(s, q);
    return choice;
}

void sched_yield_to(struct sched *s, struct sched_vcpu *v, struct sched_vcpu *to, uint64_t now)
{
    struct sched_queue *q = s->queue[v->cpu];

    v->yielded = true;
    v->stats.yields++;
    if (!to || to == v || to->state != SCHED_READY || !sched_may_run(to, q->cpu))
        return;
    if (to->cpu != q->cpu) {
        struct sched_queue *other = s->queue[to->cpu];
        queue_move(s, other, q, to, queue_lag(other, to), 0, now);
        sched_publish(s, other);
        sched_publish(s, q);
    }
    q->favoured = to;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct sched_stats sched_stats(const struct sched *s, const struct sched_vcpu *v, uint64_t now)
{
    const struct sched_queue *q = s->queue[v->cpu];
    struct sched_vcpu by_now = *v;

    if (v->state == SCHED_RUNNING && sched_before(q->charged, now))
        by_now.stats.ran += now - q->charged;
    sched_enter(&by_now, SCHED_BLOCKED, now);
    return by_now.stats;
}
