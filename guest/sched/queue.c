/* One CPU: the VMs that share it, and the vCPUs that share a VM's part of it. */
#include "guest/sched/queue.h"

/* What a weight below this one asks for at a time is shorter, so that it need not wait longer. */
#define FULL_REQUEST_WEIGHT 100

#define WEIGHT_SCALE 64 /* so that a weight of 1 can be split among 64 vCPUs */

void sched_enter(struct sched_vcpu *v, enum sched_state state, uint64_t now)
{
    if (sched_before(v->changed_at, now)) {
        if (v->state == SCHED_READY)
            v->stats.waited += now - v->changed_at;
        else if (v->state == SCHED_PARKED)
            v->stats.parked += now - v->changed_at;
    }
    v->state = (uint8_t)state;
    v->changed_at = now;
}

/* --- weights ---------------------------------------------------------------------------------- */

/* A group's weight is split evenly among those of its vCPUs that run or wait: a part of it with so
 * many of them here has so much. False if that is what it had. */
static bool weigh(const struct sched_group *g, struct sched_part *p, uint64_t here,
                  uint32_t *weight, uint64_t *inverse)
{
    uint32_t whole = __atomic_load_n(&g->weight, __ATOMIC_RELAXED);
    uint32_t n = __atomic_load_n(&g->sharing, __ATOMIC_RELAXED);

    if (p->weighed.weight == whole && p->weighed.sharing == n && p->weighed.here == here)
        return false;
    p->weighed.weight = whole;
    p->weighed.sharing = n;
    p->weighed.here = here;
    *weight = whole * WEIGHT_SCALE;
    *inverse = UINT32_MAX / whole;
    if (here < n) {
        *weight = (uint32_t)MAX(*weight * here / n, 1UL);
        *inverse = *inverse * n / here;
    }
    return true;
}

/* p's weight is what it is by now, with so many vCPUs here. What p has or owes stays what it is in
 * ticks, so that nobody else gains or loses; more comes along, times weight. */
static void reweigh(const struct sched *s, struct sched_queue *q, const struct sched_group *g,
                    struct sched_part *p, uint64_t here, int64_t more)
{
    uint32_t before = p->member.weight, weight = before;
    uint64_t inverse = p->member.inverse;

    if (!weigh(g, p, here, &weight, &inverse) && more == 0)
        return;
    int64_t lag = (int64_t)(level_mean(&q->level) - p->member.vtime);
    if (weight != before || more)
        lag = (lag * before + more) / (int64_t)weight;
    level_reweigh(s, &q->level, &p->member, weight, inverse, lag);
}

uint32_t queue_weight(const struct sched_vcpu *v)
{
    const struct sched_part *p = sched_part_of(v);

    return MAX(p->member.weight / (uint32_t)p->level.load, 1U);
}

/* Of one vCPU of p. */
static uint64_t inverse_each(const struct sched_part *p)
{
    return p->member.inverse * p->level.load;
}

int64_t queue_virtual(const struct sched_vcpu *v, uint64_t ticks)
{
    return sched_virtual(ticks, inverse_each(sched_part_of(v)));
}

int64_t queue_lag(const struct sched_queue *q, const struct sched_vcpu *v)
{
    const struct sched_part *p = sched_part_of(v);
    int64_t in_part = (int64_t)(level_mean(&p->level) - v->member.vtime);

    in_part = (int64_t)((__int128)in_part * (int64_t)inverse_each(p) >> 16);
    return (int64_t)(level_mean(&q->level) - p->member.vtime) + in_part;
}

uint64_t queue_request(const struct sched *s, const struct sched_group *g, uint64_t ticks)
{
    uint32_t weight = __atomic_load_n(&g->weight, __ATOMIC_RELAXED);
    uint64_t full = s->slice * MIN(weight, FULL_REQUEST_WEIGHT) / FULL_REQUEST_WEIGHT;

    return MIN(ticks, MAX(full, s->grain));
}

/* --- running ---------------------------------------------------------------------------------- */

static void spend(const struct sched *s, const struct sched_group *g, struct sched_member *m,
                  uint64_t ran)
{
    if (m->left > ran) {
        m->left -= ran;
    } else {
        m->request = queue_request(s, g, 2 * m->request);
        m->left = m->request;
    }
}

void queue_charge(const struct sched *s, struct sched_queue *q, uint64_t now)
{
    struct sched_vcpu *v = q->current;

    if (!v || !sched_before(q->charged, now))
        return;
    struct sched_part *p = sched_part_of(v);
    uint64_t ran = now - q->charged;
    q->charged = now;
    v->stats.ran += ran;
    ran = MIN(ran, s->second);
    v->grant -= (int64_t)ran;
    level_charge(&q->level, &p->member, ran);
    level_charge(&p->level, &v->member, ran);
    spend(s, v->group, &p->member, ran);
    spend(s, v->group, &v->member, ran);
}

uint64_t queue_turn(const struct sched_queue *q, const struct sched_vcpu *v)
{
    const struct sched_part *p = sched_part_of(v);

    if (p->level.load == 1)
        return p->member.left;
    if (q->level.load == p->member.weight)
        return v->member.left;
    return MIN(p->member.left, v->member.left);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static bool same(const struct sched_cpus *a, const struct sched_cpus *b)
{
    uint64_t differ = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(a->word); i++)
        differ |= a->word[i] ^ b->word[i];
    return !differ;
}

/* p stands in q's tree if one of its vCPUs waits and it is not q's holder; by what is due and where
 * those may run. */
static void requeue(struct sched_queue *q, struct sched_part *p)
{
    const struct sched_node *waiting = p == q->holder ? NULL : p->level.ready.root;
    struct sched_node *n = &p->member.node;
    uint64_t key = waiting ? sched_deadline(&p->member) : 0;

    if (p->queued && waiting && n->key == key && n->value == p->member.vtime &&
        same(&n->cpus, &waiting->any))
        return;
    if (p->queued)
        sched_tree_remove(&q->level.ready, n);
    p->queued = waiting != NULL;
    if (!waiting)
        return;
    n->key = key;
    n->value = p->member.vtime;
    n->cpus = waiting->any;
    sched_tree_insert(&q->level.ready, n);
}

void queue_hold(struct sched_queue *q, const struct sched_vcpu *v)
{
    struct sched_part *before = q->holder, *p = sched_part_of(v);

    if (p == before)
        return;
    if (p->queued)
        sched_tree_remove(&q->level.ready, &p->member.node);
    p->queued = false;
    q->holder = p;
    if (before)
        requeue(q, before);
}

void queue_wait(struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    struct sched_part *p = sched_part_of(v);

    v->member.node.key = sched_deadline(&v->member);
    v->member.node.value = v->member.vtime;
    sched_tree_insert(&p->level.ready, &v->member.node);
    requeue(q, p);
    sched_enter(v, SCHED_READY, now);
}

static void take_out(struct sched_queue *q, struct sched_vcpu *v)
{
    sched_tree_remove(&sched_part_of(v)->level.ready, &v->member.node);
    if (q->favoured == v)
        q->favoured = NULL;
}

void queue_unwait(struct sched_queue *q, struct sched_vcpu *v)
{
    take_out(q, v);
    requeue(q, sched_part_of(v));
}

void queue_take(struct sched_queue *q, struct sched_vcpu *v)
{
    take_out(q, v);
    queue_hold(q, v);
}

/* --- coming and going ------------------------------------------------------------------------- */

/* The first vCPU of p comes: p takes part, lag behind the others. */
static void begin(const struct sched *s, struct sched_queue *q, const struct sched_group *g,
                  struct sched_part *p, int64_t lag)
{
    p->member.request = p->member.left = queue_request(s, g, s->wake_slice);
    level_join(s, &q->level, &p->member, lag);
}

/* The lag of p, of which v, which has slept, is the first to come. Who never took part here has
 * what the others had of it since it was made, up to a slice. */
static int64_t lag_of(const struct sched *s, const struct sched_queue *q,
                      const struct sched_part *p, const struct sched_vcpu *v, uint64_t now)
{
    if (p->member.left_at)
        return level_lag_now(s, &q->level, &p->member, now);
    uint64_t slept = sched_before(v->changed_at, now) ? now - v->changed_at : 0;
    return sched_virtual(MIN(slept, s->slice), p->member.inverse);
}

void queue_join(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    const struct sched_part *home = sched_part_of(v);
    uint64_t request = queue_request(s, v->group, s->wake_slice);
    int64_t lag = 0;

    __atomic_fetch_add(&v->group->sharing, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&v->cpu, q->cpu, __ATOMIC_RELAXED);
    struct sched_part *p = sched_part_of(v);
    v->member.request = v->member.left = request;
    if (p->level.load == 0) {
        weigh(v->group, p, 1, &p->member.weight, &p->member.inverse);
        if (q->level.load)
            lag = lag_of(s, q, p, v, now);
        begin(s, q, v->group, p, lag);
    } else {
        reweigh(s, q, v->group, p, p->level.load + 1, 0);
        p->member.left = MIN(p->member.left, request);
        lag = level_lag_now(s, &home->level, &v->member, now);
    }
    level_join(s, &p->level, &v->member, lag);
}

/* A vCPU of p left q, and took that much of p's lag along, times weight. */
static void leave_part(const struct sched *s, struct sched_queue *q, const struct sched_group *g,
                       struct sched_part *p, int64_t taken, uint64_t now)
{
    if (p->level.load) {
        reweigh(s, q, g, p, p->level.load, -taken);
        requeue(q, p);
        return;
    }
    level_leave(&q->level, &p->member, now);
    if (taken) /* it has nothing left here */
        p->member.vtime = level_mean(&q->level);
    if (q->holder == p)
        q->holder = NULL;
}

void queue_leave(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v, uint64_t now)
{
    struct sched_part *p = sched_part_of(v);

    __atomic_fetch_sub(&v->group->sharing, 1, __ATOMIC_RELAXED);
    level_leave(&p->level, &v->member, now);
    leave_part(s, q, v->group, p, 0, now);
}

/* The ticks that a lag of one of p's vCPUs stands for. */
static int64_t ticks_of(const struct sched_part *p, int64_t lag)
{
    return lag * 4096 / (int64_t)(inverse_each(p) >> 4);
}

void queue_move(const struct sched *s, struct sched_queue *from, struct sched_queue *to,
                struct sched_vcpu *v, int64_t lag, uint64_t turn, uint64_t now)
{
    struct sched_part *p = sched_part_of(v);
    int64_t weight = queue_weight(v), most = queue_virtual(v, LEVEL_LAG_SLICES * s->slice);
    int64_t gone = weight * queue_lag(from, v);

    queue_unwait(from, v);
    level_leave(&p->level, &v->member, now);
    leave_part(s, from, v->group, p, gone, now);

    __atomic_store_n(&v->cpu, to->cpu, __ATOMIC_RELAXED);
    p = sched_part_of(v);
    lag = MAX(MIN(lag, most), -most);
    if (p->level.load == 0) {
        weigh(v->group, p, 1, &p->member.weight, &p->member.inverse);
        begin(s, to, v->group, p, lag);
        level_join(s, &p->level, &v->member, 0);
    } else {
        reweigh(s, to, v->group, p, p->level.load + 1, weight * lag);
        int64_t of_part = (int64_t)(level_mean(&to->level) - p->member.vtime);
        level_join(s, &p->level, &v->member, 0);
        lag = MAX(MIN(lag - of_part, most), -most);
        level_reweigh(s, &p->level, &v->member, v->member.weight, v->member.inverse,
                      ticks_of(p, lag));
    }
    /* It makes up for its lag in one go, but those that wake still come first. */
    v->member.left = MAX(v->member.left, turn);
    p->member.left = MAX(p->member.left, turn);
    v->stats.moves++;
    queue_wait(to, v, now);
}

void queue_refresh(const struct sched *s, struct sched_queue *q, struct sched_vcpu *v)
{
    struct sched_part *p = sched_part_of(v);

    reweigh(s, q, v->group, p, p->level.load, 0);
    if (!v->yielded)
        return;
    level_forgo(s, &p->level, &v->member);
    if (!p->level.ready.root)
        level_forgo(s, &q->level, &p->member);
}

/* --- choosing --------------------------------------------------------------------------------- */

static bool far_ahead(const struct sched *s, const struct sched_level *l,
                      const struct sched_member *m)
{
    return (int64_t)(m->vtime - level_mean(l)) > sched_virtual(s->slice, m->inverse);
}

/* May the one that a yield named go first? Not if it ran ahead of its share that way already. */
static bool favours(const struct sched *s, const struct sched_queue *q)
{
    const struct sched_vcpu *v = q->favoured;

    return v && !far_ahead(s, &q->level, &sched_part_of(v)->member) &&
           !far_ahead(s, &sched_part_of(v)->level, &v->member);
}

struct sched_vcpu *queue_first(const struct sched *s, const struct sched_queue *q,
                               struct sched_vcpu *last)
{
    struct sched_part *holder = q->holder;
    struct sched_member *m = NULL;

    if (q->level.load == 0)
        return NULL;
    if (favours(s, q))
        return q->favoured;
    if (last || (holder && holder->level.ready.root))
        m = &holder->member;
    m = level_choose(&q->level, m);
    if (!m)
        return NULL;
    const struct sched_part *p = CONTAINER_OF(m, struct sched_part, member);
    m = level_choose(&p->level, last && p == holder ? &last->member : NULL);
    return CONTAINER_OF(m, struct sched_vcpu, member);
}

struct sched_vcpu *queue_first_on(const struct sched_queue *q, unsigned cpu)
{
    struct sched_node *n = sched_tree_first_on(&q->level.ready, cpu);
    const struct sched_part *p = q->holder;

    if (n)
        p = CONTAINER_OF(n, struct sched_part, member.node);
    return p ? sched_vcpu_of(sched_tree_first_on(&p->level.ready, cpu)) : NULL;
}

bool queue_precedes(const struct sched_queue *q, const struct sched_vcpu *v)
{
    struct sched_part *p = sched_part_of(v), *current = sched_part_of(q->current);
    const struct sched_level *l = &q->level;
    const struct sched_member *a = &p->member, *b = &current->member;

    if (p == current) {
        l = &p->level;
        a = &v->member;
        b = &q->current->member;
    }
    return !sched_before(level_mean(l), a->vtime) &&
           sched_before(sched_deadline(a), sched_deadline(b));
}
