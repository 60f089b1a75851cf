#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "guest/sched/queue.h"
#include "tests/unit/sched_sim.h"

uint64_t sim_random(struct sim *m, uint64_t below)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return below ? m->random % below : 0;
}

struct sim *sim_new(unsigned cpus, unsigned room)
{
    struct sim *m = calloc(1, sizeof(*m));

    assert_non_null(m);
    m->cpus = cpus;
    m->room = room;
    m->cpu = calloc(cpus, sizeof(*m->cpu));
    m->groups = calloc(room, sizeof(struct sched_group *));
    m->parts = calloc(room, sizeof(struct sched_part *));
    m->actors = calloc(room, sizeof(struct actor *));
    m->sleepers = calloc(room, sizeof(struct actor *));
    assert_true(m->cpu && m->groups && m->parts && m->actors && m->sleepers);
    m->now = 0xfffffffff0000000; /* wraps soon */
    m->random = 88172645463325252;
    sched_init(&m->s, SIM_HZ);
    for (unsigned i = 0; i < cpus; i++) {
        sched_add_cpu(&m->s, &m->cpu[i].queue, i, m->now);
        m->cpu[i].until = SCHED_NEVER;
    }
    return m;
}

void sim_free(struct sim *m)
{
    for (unsigned i = 0; i < m->actor_count; i++)
        free(m->actors[i]);
    for (unsigned i = 0; i < m->group_count; i++)
        free(m->parts[i]);
    free(m->parts);
    free(m->groups);
    free(m->actors);
    free(m->sleepers);
    free(m->cpu);
    free(m);
}

/* --- sleepers --------------------------------------------------------------------------------- */

static bool earlier(const struct sim *m, uint64_t i, uint64_t j)
{
    return sched_before(m->sleepers[i]->wake_at, m->sleepers[j]->wake_at);
}

static void set_sleeper(struct sim *m, uint64_t i, struct actor *a)
{
    m->sleepers[i] = a;
    a->asleep = i + 1;
}

static void swap_sleepers(struct sim *m, uint64_t i, uint64_t j)
{
    struct actor *a = m->sleepers[i], *b = m->sleepers[j];

    set_sleeper(m, i, b);
    set_sleeper(m, j, a);
}

static void sift(struct sim *m, uint64_t i)
{
    for (; i > 0 && earlier(m, i, (i - 1) / 2); i = (i - 1) / 2)
        swap_sleepers(m, i, (i - 1) / 2);
    for (;;) {
        uint64_t first = i;
        for (uint64_t c = 2 * i + 1; c <= 2 * i + 2 && c < m->sleeper_count; c++) {
            if (earlier(m, c, first))
                first = c;
        }
        if (first == i)
            return;
        swap_sleepers(m, i, first);
        i = first;
    }
}

static void sleep_until(struct sim *m, struct actor *a, uint64_t when)
{
    a->wake_at = when;
    set_sleeper(m, m->sleeper_count++, a);
    sift(m, a->asleep - 1);
}

static void wake_from(struct sim *m, struct actor *a)
{
    uint64_t i = a->asleep - 1;

    m->sleeper_count--;
    if (i != m->sleeper_count) {
        set_sleeper(m, i, m->sleepers[m->sleeper_count]);
        sift(m, i);
    }
    a->asleep = 0;
}

/* --- CPUs ------------------------------------------------------------------------------------- */

static void kick(struct sim *m, int cpu)
{
    if (cpu < 0 || m->cpu[cpu].kicked)
        return;
    m->cpu[cpu].kicked = true;
    m->cpu[cpu].kicked_at = m->now + sim_random(m, m->late);
}

static void wake(struct sim *m, struct actor *a)
{
    int result;

    do
        result = sched_wake(&m->s, &a->v, sched_target(&m->s, &a->v), m->now);
    while (result == SCHED_AGAIN);
    kick(m, result);
}

void sim_wake(struct sim *m, struct actor *a)
{
    if (a->asleep)
        wake_from(m, a);
    if (a->v.state == SCHED_BLOCKED && a->run)
        a->left = a->run;
    wake(m, a);
}

/* What the vCPU on c did since it was looked at last. */
static void progress(struct sim *m, struct sim_cpu *c)
{
    struct actor *a = c->running;
    uint64_t ran = m->now - c->since;

    c->since = m->now;
    if (!a)
        return;
    a->spun += ran;
    if (a->run)
        a->left -= MIN(ran, a->left);
}

static void note_run(struct sim *m, struct actor *a, unsigned cpu)
{
    assert_true(sched_cpus_have(&a->v.member.node.cpus, cpu));
    assert_int_equal(a->v.state, SCHED_RUNNING);
    assert_false(a->removed);
    a->longest = MAX(a->longest, a->v.stats.waited - a->waited);
    a->waited = a->v.stats.waited;
}

static void cpu_loop(struct sim *m, unsigned cpu)
{
    struct sim_cpu *c = &m->cpu[cpu];
    struct sched_choice choice;
    uint64_t now = m->now + (uint64_t)c->skew;

    progress(m, c);
    c->kicked = false;
    if (c->running && c->running->run && c->running->left == 0) {
        sched_block(&m->s, &c->running->v, now);
        sleep_until(m, c->running, m->now + c->running->sleep + sim_random(m, c->running->jitter));
    } else if (c->running && c->running->spin && c->running->spun >= c->running->spin) {
        struct actor *to = c->running->waits_for;
        c->running->spun = 0;
        sched_yield_to(&m->s, &c->running->v, to ? &to->v : NULL, now);
    }
    do {
        int from = sched_pull_source(&m->s, cpu, now);
        if (from >= 0) {
            assert_int_not_equal(from, cpu);
            sched_pull(&m->s, cpu, (unsigned)from, now);
        }
        choice = sched_pick(&m->s, cpu, now);
        m->picks++;
        if (choice.rehome)
            wake(m, CONTAINER_OF(choice.rehome, struct actor, v));
        kick(m, choice.kick);
    } while (!choice.vcpu && sched_pull_source(&m->s, cpu, now) >= 0);

    c->running = choice.vcpu ? CONTAINER_OF(choice.vcpu, struct actor, v) : NULL;
    if (c->running)
        note_run(m, c->running, cpu);
    c->until = choice.until;
    if (choice.until != SCHED_NEVER) {
        assert_true(sched_before(now, choice.until));
        c->until += sim_random(m, m->late) - (uint64_t)c->skew;
    }
}

/* When c has to be looked at next; SCHED_NEVER if not. */
static uint64_t next_event(const struct sim *m, const struct sim_cpu *c)
{
    uint64_t next = c->until;
    const struct actor *a = c->running;

    if (c->kicked && (next == SCHED_NEVER || sched_before(c->kicked_at, next)))
        next = c->kicked_at;
    if (a && a->run && sched_before(c->since + a->left, next))
        next = c->since + a->left;
    if (a && a->spin && a->spun < a->spin && sched_before(c->since + a->spin - a->spun, next))
        next = c->since + a->spin - a->spun;
    return next;
}

void sim_run(struct sim *m, uint64_t ticks)
{
    uint64_t end = m->now + ticks;

    for (;;) {
        uint64_t next = end;
        int who = -1;
        for (unsigned i = 0; i < m->cpus; i++) {
            uint64_t t = next_event(m, &m->cpu[i]);
            if (t != SCHED_NEVER && sched_before(t, next)) {
                next = t;
                who = (int)i;
            }
        }
        struct actor *sleeper = m->sleeper_count ? m->sleepers[0] : NULL;
        if (sleeper && sched_before(sleeper->wake_at, next)) {
            next = sleeper->wake_at;
            who = -2;
        }
        if (sched_before(m->now, next))
            m->now = next;
        if (who == -1)
            return;
        if (who == -2)
            sim_wake(m, sleeper);
        else
            cpu_loop(m, (unsigned)who);
        if (m->check)
            sim_check(m);
    }
}

/* --- vCPUs ------------------------------------------------------------------------------------ */

struct actor *sim_add(struct sim *m, struct sched_group *g, uint64_t run, uint64_t sleep,
                      uint64_t after)
{
    struct actor *a = calloc(1, sizeof(*a));

    assert_non_null(a);
    assert_true(m->actor_count < m->room);
    m->actors[m->actor_count++] = a;
    sched_add(&m->s, &a->v, g, m->now);
    a->run = run;
    a->sleep = sleep;
    if (after)
        sleep_until(m, a, m->now + after);
    else
        sim_wake(m, a);
    return a;
}

void sim_remove(struct sim *m, struct actor *a)
{
    if (a->v.state == SCHED_RUNNING) {
        unsigned cpu = a->v.cpu;
        sched_block(&m->s, &a->v, m->now);
        m->cpu[cpu].running = NULL;
        cpu_loop(m, cpu);
    } else {
        sched_block(&m->s, &a->v, m->now);
    }
    if (a->asleep)
        wake_from(m, a);
    a->removed = true;
}

void sim_affinity(struct sim *m, struct actor *a, const struct sched_cpus *set)
{
    int todo = sched_set_affinity(&m->s, &a->v, set, m->now);

    assert_true(todo >= 0);
    if (todo == SCHED_MUST_WAKE)
        wake(m, a);
    if (todo == SCHED_MUST_KICK)
        kick(m, (int)a->v.cpu);
}

void sim_cap(struct sim *m, struct sched_group *g, unsigned percent)
{
    assert_int_equal(sched_set_cap(&m->s, g, percent), 0);
    for (unsigned cpu = 0; cpu < m->cpus; cpu++)
        kick(m, (int)cpu);
}

struct sched_stats sim_stats(const struct sim *m, const struct actor *a)
{
    return sched_stats(&m->s, &a->v, m->now);
}

uint64_t sim_ran(const struct sim *m, const struct sched_group *g)
{
    uint64_t ran = 0;

    for (unsigned i = 0; i < m->actor_count; i++) {
        if (m->actors[i]->v.group == g)
            ran += sim_stats(m, m->actors[i]).ran;
    }
    return ran;
}

/* --- invariants ------------------------------------------------------------------------------- */

/* Checks a subtree; returns its size. */
static unsigned check_tree(const struct sched_node *n, const struct sched_node *parent)
{
    struct sched_cpus any;
    unsigned size = 1;
    uint32_t heights[2] = {0, 0};
    uint64_t lowest;

    if (!n)
        return 0;
    assert_ptr_equal(n->parent, parent);
    lowest = n->value;
    any = n->cpus;
    for (unsigned side = 0; side < 2; side++) {
        const struct sched_node *c = n->child[side];
        if (!c)
            continue;
        assert_false(side == 0 ? sched_before(n->key, c->key) : sched_before(c->key, n->key));
        size += check_tree(c, n);
        heights[side] = c->height;
        if (sched_before(c->lowest, lowest))
            lowest = c->lowest;
        for (unsigned i = 0; i < ARRAY_SIZE(any.word); i++)
            any.word[i] |= c->any.word[i];
    }
    assert_true(heights[0] <= heights[1] + 1 && heights[1] <= heights[0] + 1);
    assert_int_equal(n->height, 1 + MAX(heights[0], heights[1]));
    assert_true(lowest == n->lowest);
    assert_memory_equal(&any, &n->any, sizeof(any));
    return size;
}

static void check_whole_tree(const struct sched_tree *t)
{
    const struct sched_node *n = t->root;

    assert_int_equal(check_tree(t->root, NULL), t->count);
    while (n && n->child[0])
        n = n->child[0];
    assert_ptr_equal(t->first, n);
}

static bool in_tree(const struct sched_tree *t, const struct sched_node *n)
{
    while (n->parent)
        n = n->parent;
    return n == t->root;
}

/* What members sum up to. */
struct total {
    int64_t sum;
    uint64_t load;
    unsigned waiting;
};

static void check_level(const struct sched_level *l, const struct total *t)
{
    check_whole_tree(&l->ready);
    assert_true(t->sum == l->sum);
    assert_true(t->load == l->load);
    assert_int_equal(t->waiting, l->ready.count);
}

static void add_member(struct total *t, const struct sched_level *l, const struct sched_member *m,
                       bool waits)
{
    t->sum += (int64_t)m->weight * (int64_t)(m->vtime - l->zero);
    t->load += m->weight;
    t->waiting += waits;
    if (waits)
        assert_true(in_tree(&l->ready, &m->node));
}

/* By actor, so that nothing is looked for in trees that may be wrong. */
static void add_vcpu(const struct sim *m, const struct sched_vcpu *v, struct total *parts)
{
    const struct sched_queue *q = &m->cpu[v->cpu].queue;
    const struct sched_level *l = &v->group->part[v->cpu].level;

    switch (v->state) {
    case SCHED_READY:
        assert_true(sched_cpus_have(&v->member.node.cpus, v->cpu));
        assert_true(v->member.node.value == v->member.vtime);
        break;
    case SCHED_RUNNING:
        assert_ptr_equal(q->current, v);
        break;
    case SCHED_PARKED:
        assert_true(in_tree(&q->parked, &v->member.node));
        return;
    default:
        return;
    }
    add_member(parts, l, &v->member, v->state == SCHED_READY);
}

static void check_part(const struct sched_queue *q, const struct sched_part *p,
                       const struct total *vcpus, struct total *parts)
{
    check_level(&p->level, vcpus);
    assert_int_equal(p->queued, vcpus->waiting > 0 && p != q->holder);
    if (vcpus->load == 0)
        return;
    add_member(parts, &q->level, &p->member, p->queued);
    if (p->queued) {
        const struct sched_cpus *any = &p->level.ready.root->any;
        assert_memory_equal(any, &p->member.node.cpus, sizeof(*any));
        assert_true(p->member.node.value == p->member.vtime);
    }
}

/* All VMs' parts on all CPUs, with their vCPUs and what they sum up to. */
static void check_parts(const struct sim *m)
{
    struct total *parts = calloc(m->cpus, sizeof(*parts));

    assert_non_null(parts);
    for (unsigned g = 0; g < m->group_count; g++) {
        struct total vcpus[64] = {0};
        for (unsigned i = 0; i < m->actor_count; i++) {
            const struct sched_vcpu *v = &m->actors[i]->v;
            if (v->group == m->groups[g])
                add_vcpu(m, v, &vcpus[v->cpu]);
        }
        for (unsigned i = 0; i < m->cpus; i++)
            check_part(&m->cpu[i].queue, &m->groups[g]->part[i], &vcpus[i], &parts[i]);
    }
    for (unsigned i = 0; i < m->cpus; i++)
        check_level(&m->cpu[i].queue.level, &parts[i]);
    free(parts);
}

static void check_queue(const struct sim *m, const struct sched_queue *q)
{
    unsigned parked = 0;

    for (unsigned i = 0; i < m->actor_count; i++)
        parked += m->actors[i]->v.state == SCHED_PARKED && m->actors[i]->v.cpu == q->cpu;
    check_whole_tree(&q->parked);
    assert_int_equal(parked, q->parked.count);
    assert_true(!q->current || (q->current->state == SCHED_RUNNING && q->current->cpu == q->cpu));
    assert_int_equal(sched_cpus_have(&m->s.waiting, q->cpu), queue_waits(q));
    assert_true(!q->current || q->holder == sched_part_of(q->current));
    assert_true(!q->holder || q->holder->level.load > 0);
    assert_true(!q->favoured || (q->favoured->state == SCHED_READY && q->favoured->cpu == q->cpu));
}

void sim_check(const struct sim *m)
{
    bool kicks = false;

    check_parts(m);
    for (unsigned i = 0; i < m->cpus; i++) {
        check_queue(m, &m->cpu[i].queue);
        assert_ptr_equal(m->cpu[i].queue.current, m->cpu[i].running ? &m->cpu[i].running->v : NULL);
        kicks |= m->cpu[i].kicked;
    }

    /* While a kick is on its way, a CPU may be idle beside work. */
    for (unsigned i = 0; i < m->cpus && !kicks; i++) {
        assert_int_equal(sched_cpus_have(&m->s.idle, i), m->cpu[i].running == NULL);
        for (unsigned j = 0; j < m->cpus && !m->cpu[i].running; j++) {
            assert_null(queue_first_on(&m->cpu[j].queue, i));
        }
    }
}

void sim_group(struct sim *m, struct sched_group *g, unsigned weight, unsigned cap)
{
    struct sched_part *parts = calloc(m->cpus, sizeof(*parts));

    assert_non_null(parts);
    assert_true(m->group_count < m->room);
    m->parts[m->group_count] = parts;
    m->groups[m->group_count++] = g;
    sched_group_init(g, parts, m->now);
    assert_int_equal(sched_set_weight(g, weight), 0);
    assert_int_equal(sched_set_cap(&m->s, g, cap), 0);
}

void sim_spinners(struct sim *m, struct sched_group *g, unsigned weight, unsigned cap,
                  unsigned vcpus)
{
    sim_group(m, g, weight, cap);
    for (unsigned i = 0; i < vcpus; i++)
        sim_add(m, g, 0, 0, 0);
}

void sim_assert_near(uint64_t part, uint64_t due, unsigned permille)
{
    uint64_t off = part > due ? part - due : due - part;

    if (off * 1000 > due * permille) {
        print_error("%lu instead of %lu: off by %lu permille\n", part, due, off * 1000 / due);
        fail();
    }
}

void sim_assert_second(struct sim *m, const struct sched_group *g, const uint64_t *due,
                       unsigned groups, unsigned permille)
{
    uint64_t before[16];

    for (unsigned i = 0; i < groups; i++)
        before[i] = sim_ran(m, &g[i]);
    sim_run(m, SIM_HZ);
    for (unsigned i = 0; i < groups; i++)
        sim_assert_near(sim_ran(m, &g[i]) - before[i], due[i] * (SIM_HZ / 1000), permille);
}
