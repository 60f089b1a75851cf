/* Virtual time, lag and weights among those that share something. */
#include "guest/sched/queue.h"

static void count(struct sched_level *l, const struct sched_member *m)
{
    l->sum += (int64_t)m->weight * (int64_t)(m->vtime - l->zero);
    __atomic_store_n(&l->load, l->load + m->weight, __ATOMIC_RELAXED);
}

static void uncount(struct sched_level *l, const struct sched_member *m)
{
    l->sum -= (int64_t)m->weight * (int64_t)(m->vtime - l->zero);
    __atomic_store_n(&l->load, l->load - m->weight, __ATOMIC_RELAXED);
}

uint64_t level_mean(const struct sched_level *l)
{
    return l->zero + (l->sum ? (uint64_t)(l->sum / (int64_t)l->load) : 0);
}

/* The mean becomes zero, so that the sum stays small. */
static uint64_t recentre(struct sched_level *l)
{
    uint64_t mean = level_mean(l);

    l->sum -= (int64_t)(l->load * (mean - l->zero));
    l->zero = mean;
    return mean;
}

void level_charge(struct sched_level *l, struct sched_member *m, uint64_t ran)
{
    int64_t by = sched_virtual(ran, m->inverse);
    uint64_t mean_by = (uint64_t)by;

    if (l->load != m->weight) {
        int64_t step = (int64_t)m->weight * by;
        mean_by = (uint64_t)step / l->load;
        l->sum += step - (int64_t)(l->load * mean_by);
    }
    m->vtime += (uint64_t)by;
    l->zero += mean_by;
}

static int64_t clamp(const struct sched *s, const struct sched_member *m, int64_t lag,
                     uint64_t slices)
{
    int64_t most = sched_virtual(slices * s->slice, m->inverse);
    int64_t least = -sched_virtual(LEVEL_DEBT_SLICES * s->slice, m->inverse);

    return MAX(MIN(lag, most), least);
}

void level_join(const struct sched *s, struct sched_level *l, struct sched_member *m, int64_t lag)
{
    if (l->load == 0)
        m->vtime = l->zero;
    else
        m->vtime = recentre(l) - (uint64_t)clamp(s, m, lag, LEVEL_LAG_SLICES);
    count(l, m);
}

void level_leave(struct sched_level *l, struct sched_member *m, uint64_t now)
{
    if (l->load == m->weight) {
        l->zero = m->vtime;
        l->sum = 0;
        __atomic_store_n(&l->load, 0, __ATOMIC_RELAXED);
    } else {
        uncount(l, m);
    }
    m->left_at = now;
}

/* Who sleeps keeps its virtual time while the others' goes by, and starts a slice behind them if it
 * is further behind: enough to run soon after it wakes. So its virtual time never goes back, and
 * sleeping gains it nothing. */
int64_t level_lag_now(const struct sched *s, const struct sched_level *l,
                      const struct sched_member *m, uint64_t now)
{
    if (sched_before(m->left_at + s->second, now))
        return sched_virtual(s->slice, m->inverse);
    return clamp(s, m, (int64_t)(level_mean(l) - m->vtime), 1);
}

void level_reweigh(const struct sched *s, struct sched_level *l, struct sched_member *m,
                   uint32_t weight, uint64_t inverse, int64_t lag)
{
    uint64_t mean = recentre(l);

    uncount(l, m);
    m->weight = weight;
    m->inverse = inverse;
    m->vtime = mean - (uint64_t)clamp(s, m, lag, LEVEL_LAG_SLICES);
    count(l, m);
}

void level_forgo(const struct sched *s, struct sched_level *l, struct sched_member *m)
{
    uint64_t mean = recentre(l);
    int64_t most = sched_virtual(s->slice, m->inverse);

    if ((int64_t)(mean - m->vtime) <= most)
        return;
    uncount(l, m);
    m->vtime = mean - (uint64_t)most;
    count(l, m);
}

static struct sched_member *member_of(struct sched_node *n)
{
    return n ? CONTAINER_OF(n, struct sched_member, node) : NULL;
}

struct sched_member *level_choose(const struct sched_level *l, struct sched_member *extra)
{
    struct sched_member *first = member_of(sched_tree_first(&l->ready));

    if (!first)
        return extra;
    if (!extra && l->ready.count == 1)
        return first;
    uint64_t mean = level_mean(l);
    struct sched_member *m = member_of(sched_tree_first_until(&l->ready, mean));
    bool eligible = extra && !sched_before(mean, extra->vtime);

    if (!m && !eligible)
        m = first;
    else if (!m)
        return extra;
    else if (!eligible)
        return m;
    return extra && sched_before(sched_deadline(extra), m->node.key) ? extra : m;
}
