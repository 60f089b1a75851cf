/* Between CPUs: where to wake, and who pulls from whom.
 *
 * Each queue's progress is its mean virtual time on a scale that all CPUs share: of two spinning
 * vCPUs, the one with less progress has had less than its share. An idle CPU takes whatever waits
 * elsewhere; a busy one takes who is far behind it. */
#include "guest/sched/queue.h"

/* How far apart two CPUs may come before the difference is forgotten, in gaps. */
#define MEMORY_GAPS 2

static uint64_t load_word(const struct sched_cpus *set, unsigned i)
{
    return __atomic_load_n(&set->word[i], __ATOMIC_RELAXED);
}

/* Does set, which others change, have cpu? */
static bool has(const struct sched_cpus *set, unsigned cpu)
{
    return load_word(set, cpu / 64) >> (cpu % 64) & 1;
}

/* The first CPU from the given one on, in a circle, that is in both sets, or SCHED_NONE. */
static int next_in_both(const struct sched *s, const struct sched_cpus *a,
                        const struct sched_cpus *b, unsigned from)
{
    unsigned w = from / 64;
    uint64_t here = ~0ULL << (from % 64), mask = here;

    if (w >= s->words) {
        w = 0;
        here = mask = ~0ULL;
    }
    for (unsigned i = 0; i <= s->words; i++) {
        uint64_t both = load_word(a, w) & load_word(b, w) & mask;
        if (both)
            return (int)(w * 64) + __builtin_ctzll(both);
        w = w + 1 < s->words ? w + 1 : 0;
        mask = i + 1 < s->words ? ~0ULL : ~here;
    }
    return SCHED_NONE;
}

/* --- what others see -------------------------------------------------------------------------- */

void sched_publish(struct sched *s, struct sched_queue *q)
{
    const struct sched_node *root = q->level.ready.root;
    const struct sched_node *holds = q->holder ? q->holder->level.ready.root : NULL;
    uint64_t bit = BIT(q->cpu % 64), *word = &s->waiting.word[q->cpu / 64];
    bool waits = root || holds, waited = has(&s->waiting, q->cpu);

    if (!waits && !waited)
        return;
    for (unsigned i = 0; i < s->words; i++) {
        uint64_t any = (root ? root->any.word[i] : 0) | (holds ? holds->any.word[i] : 0);
        __atomic_store_n(&q->wanted.word[i], any, __ATOMIC_RELAXED);
    }
    if (waits == waited)
        return;
    if (waits)
        __atomic_fetch_or(word, bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST);
}

bool sched_anybody_waits(const struct sched *s)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < s->words; i++)
        any |= load_word(&s->waiting, i);
    return any != 0;
}

bool sched_claim_idle(struct sched *s, unsigned cpu)
{
    uint64_t bit = BIT(cpu % 64);

    return has(&s->idle, cpu) &&
           (__atomic_fetch_and(&s->idle.word[cpu / 64], ~bit, __ATOMIC_SEQ_CST) & bit) != 0;
}

int sched_call_idle(struct sched *s, const struct sched_queue *q)
{
    /* A CPU that goes idle says so first and looks at the queues then; here it is the other way
     * round. So one of the two sees the other. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    for (;;) {
        int cpu = next_in_both(s, &s->idle, &q->wanted, q->cpu + 1);
        if (cpu < 0 || sched_claim_idle(s, (unsigned)cpu))
            return cpu;
    }
}

int sched_pass_call(struct sched *s, const struct sched_queue *q)
{
    if (!sched_anybody_waits(s))
        return SCHED_NONE;
    int called = sched_call_idle(s, q);
    int first = next_in_both(s, &s->waiting, &s->online, q->cpu + 1), at = first;

    /* Once round; the set may change meanwhile. */
    for (unsigned i = 0; i < SCHED_MAX_CPUS && at >= 0 && called < 0; i++) {
        called = sched_call_idle(s, s->queue[at]);
        at = next_in_both(s, &s->waiting, &s->online, (unsigned)at + 1);
        if (at == first)
            break;
    }
    return called;
}

/* --- waking ----------------------------------------------------------------------------------- */

unsigned sched_next_home(struct sched *s)
{
    uint32_t last = __atomic_load_n(&s->last_home, __ATOMIC_RELAXED);
    int next = next_in_both(s, &s->online, &s->online, last + 1);

    __atomic_store_n(&s->last_home, (uint32_t)next, __ATOMIC_RELAXED);
    return (unsigned)next;
}

/* The least loaded of all CPUs that v may run on: only for those that may not stay where they are.
 */
static unsigned least_loaded(const struct sched *s, const struct sched_vcpu *v, unsigned home)
{
    uint64_t least = UINT64_MAX;
    unsigned best = home;

    for (unsigned cpu = 0; cpu < SCHED_MAX_CPUS; cpu++) {
        if (!has(&s->online, cpu) || !has(&v->member.node.cpus, cpu))
            continue;
        uint64_t load = __atomic_load_n(&s->queue[cpu]->level.load, __ATOMIC_RELAXED);
        if (load < least) {
            least = load;
            best = cpu;
        }
    }
    return best;
}

unsigned sched_target(const struct sched *s, const struct sched_vcpu *v)
{
    unsigned home = __atomic_load_n(&v->cpu, __ATOMIC_RELAXED);
    int idle = next_in_both(s, &s->idle, &v->member.node.cpus, home);

    if (idle >= 0)
        return (unsigned)idle;
    return has(&v->member.node.cpus, home) ? home : least_loaded(s, v, home);
}

/* --- pulling ---------------------------------------------------------------------------------- */

static bool has_nothing(const struct sched_queue *q)
{
    return __atomic_load_n(&q->level.load, __ATOMIC_RELAXED) == 0;
}

/* From a half to one and a half of s->balance, by chance: at a fixed beat it could be the same one
 * that waits on the other CPU each time, and the same one that runs. */
static uint64_t next_interval(const struct sched *s, struct sched_queue *q)
{
    q->dice = q->dice * 1103515245 + 12345;
    return s->balance / 2 + (s->balance * (q->dice >> 16) >> 16);
}

int sched_pull_source(struct sched *s, unsigned cpu, uint64_t now)
{
    struct sched_queue *q = s->queue[cpu];
    unsigned after = cpu;

    if (!sched_anybody_waits(s))
        return SCHED_NONE;
    if (!has_nothing(q)) {
        if (sched_before(now, q->balance_at))
            return SCHED_NONE;
        q->balance_at = now + next_interval(s, q);
        after = q->probed;
    }
    int first = next_in_both(s, &s->waiting, &s->online, after + 1), from = first;
    for (unsigned i = 0; i < SCHED_MAX_CPUS && from >= 0; i++) {
        if (from != (int)cpu && has(&s->queue[from]->wanted, cpu)) {
            q->probed = (unsigned)from;
            return from;
        }
        from = next_in_both(s, &s->waiting, &s->online, (unsigned)from + 1);
        if (from == first)
            break;
    }
    return SCHED_NONE;
}

/* By how much more progress to has made than c, which waits on from. */
static int64_t behind(const struct sched_queue *to, const struct sched_queue *from,
                      const struct sched_vcpu *c)
{
    uint64_t of_from = level_mean(&from->level) + from->offset;

    return (int64_t)(level_mean(&to->level) + to->offset - of_from) + queue_lag(from, c);
}

/* Is c, which waits on a CPU that makes less progress, so far behind to's that it should come? Its
 * lag there is what it says in *lag. What lies further back than the memory reaches is forgotten.
 */
static bool far_behind(const struct sched *s, struct sched_queue *to,
                       const struct sched_queue *from, const struct sched_vcpu *c, int64_t *lag)
{
    int64_t gap = queue_virtual(c, s->gap);
    int64_t most = MEMORY_GAPS * gap;

    *lag = behind(to, from, c);
    if (*lag < -most || *lag > most) {
        int64_t kept = *lag < 0 ? -most : most;
        to->offset -= (uint64_t)(*lag - kept);
        *lag = kept;
    }
    return *lag > gap;
}

struct sched_vcpu *sched_pull(struct sched *s, unsigned cpu, unsigned from, uint64_t now)
{
    struct sched_queue *to = s->queue[cpu], *other = s->queue[from];
    struct sched_vcpu *c = queue_first_on(other, cpu);
    int64_t lag = 0;
    uint64_t turn = 0;

    if (!c)
        return NULL;
    queue_charge(s, to, now);
    if (has_nothing(to)) {
        to->offset -= (uint64_t)behind(to, other, c);
    } else {
        uint64_t load = other->level.load, weight = queue_weight(c);
        /* Who is worth half of both CPUs or more is better off where it is: others leave it. */
        if (to->level.load >= load || 2 * weight >= to->level.load + load ||
            !far_behind(s, to, other, c, &lag))
            return NULL;
        turn = s->gap;
    }
    queue_move(s, other, to, c, lag, turn, now);
    to->pulls++;
    sched_publish(s, other);
    sched_publish(s, to);
    return c;
}
