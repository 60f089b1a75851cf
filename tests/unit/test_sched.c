/* links: guest/sched/sched.c guest/sched/queue.c guest/sched/tree.c guest/sched/cap.c guest/sched/balance.c tests/unit/sched_sim.c */
/* The scheduler on a simulated machine: shares, caps, latency, affinity, yields, costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/sched_sim.h"

static void group(const struct sim *m, struct sched_group *g, unsigned weight, unsigned cap)
{
    sched_group_init(g, m->now);
    assert_int_equal(sched_set_weight(g, weight), 0);
    assert_int_equal(sched_set_cap(&m->s, g, cap), 0);
}

/* A VM of so many vCPUs that never sleep. */
static void spinners(struct sim *m, struct sched_group *g, unsigned weight, unsigned cap,
                     unsigned vcpus)
{
    group(m, g, weight, cap);
    for (unsigned i = 0; i < vcpus; i++)
        sim_add(m, g, 0, 0, 0);
}

/* Is part within permille of due? */
static void assert_near(uint64_t part, uint64_t due, unsigned permille)
{
    uint64_t off = part > due ? part - due : due - part;

    if (off * 1000 > due * permille) {
        print_error("%lu instead of %lu: off by %lu permille\n", part, due, off * 1000 / due);
        fail();
    }
}

/* Run for a second; g[i] must get due[i] permille of one CPU in it. */
static void assert_second(struct sim *m, const struct sched_group *g, const uint64_t *due,
                          unsigned groups, unsigned permille)
{
    uint64_t before[16];

    for (unsigned i = 0; i < groups; i++)
        before[i] = sim_ran(m, &g[i]);
    sim_run(m, SIM_HZ);
    for (unsigned i = 0; i < groups; i++)
        assert_near(sim_ran(m, &g[i]) - before[i], due[i] * (SIM_HZ / 1000), permille);
}

static struct sched_cpus cpus(uint64_t mask)
{
    return (struct sched_cpus){{mask}};
}

/* --- shares ----------------------------------------------------------------------------------- */

static void test_three_weights_on_one_cpu(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];

    for (unsigned i = 0; i < 3; i++)
        spinners(m, &g[i], 100u << i, 0, 1);
    m->check = true;
    for (unsigned seconds = 0; seconds < 5; seconds++) {
        uint64_t before[3];
        for (unsigned i = 0; i < 3; i++)
            before[i] = sim_ran(m, &g[i]);
        sim_run(m, SIM_HZ);
        for (unsigned i = 0; i < 3; i++)
            assert_near(sim_ran(m, &g[i]) - before[i], (SIM_HZ << i) / 7, 10);
    }
    sim_free(m);
}

static void test_shares_with_late_kicks(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];

    m->late = 50 * US;
    for (unsigned i = 0; i < 3; i++)
        spinners(m, &g[i], 100u << i, 0, 1);
    sim_run(m, SIM_HZ);
    for (unsigned i = 0; i < 3; i++)
        assert_near(sim_ran(m, &g[i]), (SIM_HZ << i) / 7, 15);
    sim_free(m);
}

/* A weight is the VM's, however many vCPUs it has. */
static void test_weight_is_the_vms(void **state)
{
    struct sim *m = sim_new(1, 16);
    struct sched_group g[2];
    const uint64_t due[] = {500, 500};

    spinners(m, &g[0], 100, 0, 8);
    spinners(m, &g[1], 100, 0, 1);
    assert_second(m, g, due, 2, 20);
    assert_second(m, g, due, 2, 20);
    sim_free(m);
}

/* Of 4 vCPUs that sleep and wake, those that run count. */
static void test_sleeping_siblings_cost_no_weight(void **state)
{
    struct sim *m = sim_new(1, 16);
    struct sched_group g[2];
    const uint64_t due[] = {500, 500};

    spinners(m, &g[0], 100, 0, 1);
    spinners(m, &g[1], 100, 0, 1);
    for (unsigned i = 0; i < 8; i++)
        sim_add(m, &g[0], 1, 3600 * SIM_HZ, 3600 * SIM_HZ);
    assert_second(m, g, due, 2, 10);
    sim_free(m);
}

struct layout {
    unsigned cpus, vms, vcpus;
    unsigned weight[8];
    uint64_t due[8];
};

/* Permille of one CPU, after the second in which the CPUs find their balance. */
static const struct layout layouts[] = {
    {2, 3, 1, {100, 100, 100}, {667, 667, 667}},
    {2, 3, 1, {100, 200, 400}, {333, 667, 1000}}, /* 400 cannot use more than one CPU */
    {2, 4, 1, {100, 200, 400, 800}, {143, 286, 571, 1000}},
    {2, 4, 1, {100, 100, 100, 10000}, {333, 333, 333, 1000}},
    {2, 6, 1, {400, 1000, 200, 50, 50, 100}, {500, 1000, 250, 63, 62, 125}},
    {8, 4, 4, {100, 200, 400, 800}, {571, 1143, 2286, 4000}},
    {4, 4, 4, {100, 200, 400, 800}, {267, 533, 1067, 2133}},
    {8, 7, 2, {100, 100, 100, 100, 100, 100, 100}, {1143, 1143, 1143, 1143, 1143, 1143, 1143}},
    {4, 5, 1, {100, 100, 100, 100, 100}, {800, 800, 800, 800, 800}},
    {1, 2, 64, {1, 3}, {250, 750}},
};

static void test_shares_across_cpus(void **state)
{
    for (unsigned i = 0; i < ARRAY_SIZE(layouts); i++) {
        const struct layout *l = &layouts[i];
        struct sim *m = sim_new(l->cpus, l->vms * l->vcpus);
        struct sched_group g[8];
        for (unsigned k = 0; k < l->vms; k++)
            spinners(m, &g[k], l->weight[k], 0, l->vcpus);
        sim_run(m, SIM_HZ);
        assert_second(m, g, l->due, l->vms, 20);
        assert_second(m, g, l->due, l->vms, 20);
        sim_free(m);
    }
}

static void test_weight_changes(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];
    const uint64_t before[] = {500, 500}, after[] = {909, 91}, light[] = {10, 990};

    spinners(m, &g[0], 100, 0, 1);
    spinners(m, &g[1], 100, 0, 1);
    assert_second(m, g, before, 2, 10);
    assert_int_equal(sched_set_weight(&g[0], 1000), 0);
    assert_second(m, g, after, 2, 15);
    assert_int_equal(sched_set_weight(&g[0], 1), 0);
    assert_second(m, g, light, 2, 100);
    assert_int_equal(sched_set_weight(&g[0], 0), -EINVAL);
    assert_int_equal(sched_set_weight(&g[0], 10001), -EINVAL);
    sim_free(m);
}

/* A heavy VM does not run ahead and then wait: its lead stays at about a slice. */
static void test_heavy_vm_runs_evenly(void **state)
{
    struct sim *m = sim_new(1, 11);
    struct sched_group g[11];

    spinners(m, &g[0], 1000, 0, 1);
    for (unsigned i = 1; i < 11; i++)
        spinners(m, &g[i], 100, 0, 1);
    sim_run(m, 100 * MS);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t before = sim_ran(m, &g[0]);
        sim_run(m, 5 * MS);
        assert_in_range(sim_ran(m, &g[0]) - before, 3 * MS / 2, 7 * MS / 2);
    }
    sim_free(m);
}

/* One that may not move and one that may share a CPU beat for beat: the one that may is met, too.
 */
static void test_pulls_meet_everybody(void **state)
{
    struct sim *m = sim_new(2, 3);
    struct sched_group g[3];
    struct sched_cpus one = cpus(1), all = cpus(3);
    const uint64_t due[] = {667, 667, 667};

    for (unsigned i = 0; i < 3; i++) {
        group(m, &g[i], 100, 0);
        sim_affinity(m, sim_add(m, &g[i], 0, 0, 1 + i), i < 2 ? &one : &all);
    }
    sim_run(m, 10 * MS);
    sim_affinity(m, m->actors[1], &all);
    sim_run(m, SIM_HZ / 10);
    assert_second(m, g, due, 3, 20);
    sim_free(m);
}

/* --- caps ------------------------------------------------------------------------------------- */

static void test_cap_alone(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;

    spinners(m, &g, 100, 25, 1);
    m->check = true;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before = sim_ran(m, &g);
        sim_run(m, SIM_HZ);
        assert_near(sim_ran(m, &g) - before, SIM_HZ / 4, 10);
    }
    sim_free(m);
}

/* What is noticed late is paid back. */
static void test_cap_with_late_kicks(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];

    m->late = 300 * US;
    spinners(m, &g[0], 100, 25, 1);
    spinners(m, &g[1], 100, 0, 1);
    sim_run(m, SIM_HZ);
    assert_near(sim_ran(m, &g[0]), SIM_HZ / 4, 15);
    sim_free(m);
}

/* What a VM leaves of its cap is gone. */
static void test_cap_is_not_saved_up(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;

    group(m, &g, 100, 25);
    struct actor *a = sim_add(m, &g, 100 * US, 10 * MS, 1);
    sim_run(m, SIM_HZ);
    while (a->v.state != SCHED_BLOCKED)
        sim_run(m, 10 * US);
    a->run = 0;
    uint64_t before = sim_ran(m, &g);
    sim_run(m, 100 * MS);
    assert_near(sim_ran(m, &g) - before, 25 * MS, 110);
    sim_free(m);
}

static void test_caps_of_vms(void **state)
{
    struct sim *m = sim_new(4, 16);
    struct sched_group g[4];
    const uint64_t due[] = {250, 1750, 500, 1500};

    spinners(m, &g[0], 100, 25, 4);
    spinners(m, &g[1], 100, 0, 4);
    spinners(m, &g[2], 100, 50, 4);
    spinners(m, &g[3], 100, 150, 4);
    m->check = true;
    sim_run(m, SIM_HZ / 4);
    assert_second(m, g, due, 4, 20);
    sim_free(m);
}

/* A budget too small for all vCPUs of a VM at once goes round. */
static void test_small_cap_starves_no_sibling(void **state)
{
    struct sim *m = sim_new(4, 64);
    struct sched_group g;

    spinners(m, &g, 100, 1, 64);
    sim_run(m, 10 * SIM_HZ);
    assert_near(sim_ran(m, &g), SIM_HZ / 10, 40);
    for (unsigned i = 0; i < 64; i++)
        assert_near(sim_stats(m, m->actors[i]).ran, SIM_HZ / 640, 250);
    sim_free(m);
}

static void test_cap_changes(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;
    const uint64_t ten[] = {100}, all[] = {1000}, half[] = {500};

    spinners(m, &g, 100, 10, 1);
    assert_second(m, &g, ten, 1, 10);
    sim_cap(m, &g, 0);
    assert_second(m, &g, all, 1, 10);
    sim_cap(m, &g, 50);
    assert_second(m, &g, half, 1, 25);
    assert_int_equal(sched_set_cap(&m->s, &g, SCHED_CAP_MAX + 1), -EINVAL);
    sim_free(m);
}

/* A VM that its cap holds back takes nothing from others, nor is it owed anything. */
static void test_cap_beside_others(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];
    const uint64_t due[] = {250, 375, 375};

    spinners(m, &g[0], 10000, 25, 1);
    spinners(m, &g[1], 100, 0, 1);
    spinners(m, &g[2], 100, 0, 1);
    assert_second(m, g, due, 3, 10);
    sim_free(m);
}

/* --- waking ----------------------------------------------------------------------------------- */

/* Beside 8 that never sleep, one that mostly sleeps runs as soon as it wakes. */
static void test_latency_beside_spinners(void **state)
{
    static const struct {
        uint64_t run, sleep;
        unsigned weight;
    } pattern[] = {
        {100 * US, 10 * MS, 100}, {500 * US, 20 * MS, 100}, {20 * US, MS, 100},
        {100 * US, 100 * MS, 10}, {MS, 20 * MS, 1000},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(pattern); i++) {
        struct sim *m = sim_new(1, 9);
        struct sched_group g[9];
        for (unsigned k = 0; k < 8; k++)
            spinners(m, &g[k], 100, 0, 1);
        group(m, &g[8], pattern[i].weight, 0);
        struct actor *a = sim_add(m, &g[8], pattern[i].run, pattern[i].sleep, 7 * MS);
        a->jitter = pattern[i].sleep / 8;
        sim_run(m, 20 * SIM_HZ);
        struct sched_stats stats = sim_stats(m, a);
        assert_true(stats.wakes > 100);
        assert_true(stats.wake_max <= SCHED_WAKE_SLICE_US * US);
        assert_true(stats.wake_sum / stats.wakes <= 5 * US);
        sim_free(m);
    }
}

/* Who sleeps and wakes as it pleases gets no more than its share, and others no less than theirs.
 */
static void test_sleeping_gains_nothing(void **state)
{
    static const uint64_t pattern[][2] = {
        {999 * US, 1},        {249 * US, 1}, {1001 * US, 10 * US}, {500 * US, 500 * US},
        {2 * MS, 2 * MS},     {4 * MS, MS},  {50 * US, 50 * US},   {10 * MS, 10 * MS},
        {950 * US, 100 * US}, {5 * US, 1},   {100 * MS, 20 * MS},  {MS, 8 * MS},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(pattern); i++) {
        struct sim *m = sim_new(1, 5);
        struct sched_group g[5];
        for (unsigned k = 0; k < 4; k++)
            spinners(m, &g[k], 100, 0, 1);
        group(m, &g[4], 100, 0);
        sim_add(m, &g[4], pattern[i][0], pattern[i][1], 1);
        sim_run(m, 2 * SIM_HZ);
        assert_true(sim_ran(m, &g[4]) <= 2 * SIM_HZ / 5 * 1005 / 1000);
        for (unsigned k = 0; k < 4; k++)
            assert_true(sim_ran(m, &g[k]) >= 2 * SIM_HZ / 5 * 995 / 1000);
        sim_free(m);
    }
}

/* Who slept for long has a slice to its credit, not more. */
static void test_sleeping_saves_nothing_up(void **state)
{
    for (unsigned seconds = 0; seconds < 2; seconds++) {
        struct sim *m = sim_new(1, 5);
        struct sched_group g[5];
        for (unsigned k = 0; k < 4; k++)
            spinners(m, &g[k], 100, 0, 1);
        group(m, &g[4], 100, 0);
        struct actor *a = sim_add(m, &g[4], 0, 0, SIM_HZ / 2 + seconds * SIM_HZ);
        sim_run(m, SIM_HZ / 2 + seconds * SIM_HZ + 8 * MS);
        assert_in_range(sim_stats(m, a).ran, MS, 3500 * US);
        sim_free(m);
    }
}

/* Nor does a VM whose vCPUs take turns in sleeping. */
static void test_sleeping_in_turns_gains_little(void **state)
{
    struct sim *m = sim_new(1, 9);
    struct sched_group g[2];

    spinners(m, &g[0], 100, 0, 1);
    group(m, &g[1], 100, 0);
    for (unsigned i = 0; i < 8; i++)
        sim_add(m, &g[1], 200 * US + i, 200 * US, 1 + i * 50 * US);
    sim_run(m, 2 * SIM_HZ);
    assert_true(sim_ran(m, &g[0]) >= SIM_HZ * 9 / 10);
    sim_free(m);
}

/* Whoever was told to run long, because nobody waited, makes room when somebody does, even for one
 * that has had its share. */
static void test_waits_a_slice_at_most(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];

    spinners(m, &g[0], 100, 0, 1);
    group(m, &g[1], 100, 0);
    struct actor *a = sim_add(m, &g[1], 1, 3600 * SIM_HZ, 3600 * SIM_HZ);
    sim_run(m, 103 * MS);
    a->v.lag = -(int64_t)(64 * MS << 16); /* much ahead */
    a->v.slept_at = m->now;
    sim_wake(m, a);
    sim_run(m, 10 * US);
    assert_int_equal(a->v.state, SCHED_READY);
    assert_true(m->cpu[0].until - m->now <= SCHED_SLICE_US * US);
    sim_free(m);
}

/* Woken where it slept if that CPU is idle, else on another idle one. */
static void test_wakes_on_idle_cpu(void **state)
{
    struct sim *m = sim_new(4, 8);
    struct sched_group g;

    group(m, &g, 100, 0);
    struct actor *a = sim_add(m, &g, 5 * MS, 5 * MS, 1);
    sim_run(m, MS);
    unsigned home = a->v.cpu;
    sim_run(m, 7 * MS);
    assert_int_equal(a->v.state, SCHED_BLOCKED);
    assert_int_equal(sched_target(&m->s, &a->v), home);

    struct sched_cpus here = cpus(BIT(home));
    struct actor *spinner = sim_add(m, &g, 0, 0, 1);
    sim_affinity(m, spinner, &here);
    sim_run(m, MS);
    assert_int_not_equal(sched_target(&m->s, &a->v), home);
    sim_run(m, 20 * MS);
    assert_int_equal(spinner->v.cpu, home);
    assert_int_not_equal(a->v.cpu, home);
    assert_true(a->longest == 0);
    sim_free(m);
}

/* With nothing to do, CPUs are left alone; with nobody waiting, nearly. */
static void test_idle_is_idle(void **state)
{
    struct sim *m = sim_new(8, 100);
    struct sched_group g;

    group(m, &g, 100, 0);
    for (unsigned i = 0; i < 90; i++)
        sim_add(m, &g, 1, 1, 3600 * SIM_HZ);
    sim_run(m, SIM_HZ);
    assert_int_equal(m->picks, 0);
    sim_add(m, &g, 0, 0, 0);
    sim_run(m, SIM_HZ);
    assert_in_range(m->picks, 1, 110);
    sim_free(m);
}

/* --- yielding --------------------------------------------------------------------------------- */

/* A vCPU that spins for one that does not run lets it run at once. */
static void test_directed_yield(void **state)
{
    struct sim *m = sim_new(1, 10);
    struct sched_group g[9];

    for (unsigned i = 0; i < 8; i++)
        spinners(m, &g[i], 100, 0, 1);
    spinners(m, &g[8], 100, 0, 2);
    struct actor *a = m->actors[8], *b = m->actors[9];
    sim_run(m, 100 * MS);
    while (a->v.state != SCHED_RUNNING)
        sim_run(m, 10 * US);
    sched_yield_to(&m->s, &a->v, &b->v, m->now);
    assert_ptr_equal(sched_pick(&m->s, 0, m->now).vcpu, &b->v);
    sim_free(m);
}

/* After a yield to nobody in particular, somebody else runs, though the yielder is still behind. */
static void test_yield(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];

    spinners(m, &g[0], 100, 0, 1);
    spinners(m, &g[1], 100, 0, 1);
    sim_run(m, 100 * MS);
    struct actor *a = m->cpu[0].running;
    while (m->cpu[0].running == a)
        sim_run(m, 100 * US);
    for (unsigned i = 0; i < 10; i++) {
        struct sched_vcpu *v = m->cpu[0].queue.current;
        m->now += 10 * US;
        sched_yield_to(&m->s, v, NULL, m->now);
        assert_ptr_not_equal(sched_pick(&m->s, 0, m->now).vcpu, v);
    }
    sim_free(m);
}

/* A VM whose vCPUs all yield to one of them gets no more than its share. */
static void test_yields_to_one(void **state)
{
    struct sim *m = sim_new(1, 40);
    struct sched_group g[2];

    spinners(m, &g[0], 100, 0, 1);
    spinners(m, &g[1], 100, 0, 33);
    for (unsigned i = 2; i < 34; i++) {
        m->actors[i]->spin = 10 * US;
        m->actors[i]->waits_for = m->actors[1];
    }
    sim_run(m, 2 * SIM_HZ);
    assert_true(sim_ran(m, &g[0]) >= SIM_HZ * 98 / 100);
    sim_free(m);
}

/* Yields give a VM no more than its share, and take little of it. */
static void test_yields_keep_shares(void **state)
{
    for (unsigned directed = 0; directed < 2; directed++) {
        struct sim *m = sim_new(1, 8);
        struct sched_group g[3];
        spinners(m, &g[0], 100, 0, 1);
        spinners(m, &g[1], 100, 0, 1);
        spinners(m, &g[2], 100, 0, 2);
        struct actor *a = m->actors[2], *b = m->actors[3];
        a->spin = 30 * US;
        a->waits_for = directed ? b : NULL;
        m->check = true;
        sim_run(m, 2 * SIM_HZ);
        assert_true(sim_ran(m, &g[2]) <= 2 * SIM_HZ / 3 * 103 / 100);
        assert_true(sim_ran(m, &g[0]) >= 2 * SIM_HZ / 3 * 98 / 100);
        assert_true(sim_ran(m, &g[1]) >= 2 * SIM_HZ / 3 * 98 / 100);
        assert_true(sim_stats(m, b).ran >= 2 * SIM_HZ / 6 * 98 / 100);
        sim_free(m);
    }
}

/* Who is yielded to comes from another CPU. */
static void test_yield_fetches(void **state)
{
    struct sim *m = sim_new(2, 8);
    struct sched_group g[4];

    for (unsigned i = 0; i < 4; i++)
        spinners(m, &g[i], 100, 0, 2);
    sim_run(m, 50 * MS);
    struct actor *a = CONTAINER_OF(m->cpu[0].queue.current, struct actor, v), *b = NULL;
    for (unsigned i = 0; i < 8; i++) {
        if (m->actors[i]->v.cpu == 1 && m->actors[i]->v.state == SCHED_READY)
            b = m->actors[i];
    }
    assert_non_null(b);
    sched_yield_to(&m->s, &a->v, &b->v, m->now);
    assert_ptr_equal(sched_pick(&m->s, 0, m->now).vcpu, &b->v);
    assert_int_equal(b->v.cpu, 0);
    assert_int_equal(b->v.stats.moves > 0, 1);
    sim_free(m);
}

/* --- affinity --------------------------------------------------------------------------------- */

static void test_affinity(void **state)
{
    struct sim *m = sim_new(4, 16);
    struct sched_group g[16];
    const uint64_t due[] = {500, 500, 1000, 1000, 1000};

    for (unsigned i = 0; i < 5; i++)
        spinners(m, &g[i], 100, 0, 1);
    m->check = true;
    struct sched_cpus one = cpus(8), rest = cpus(7), none = cpus(0xf0), all = cpus(UINT64_MAX);
    for (unsigned i = 0; i < 5; i++)
        sim_affinity(m, m->actors[i], i < 2 ? &one : &rest);
    sim_run(m, 10 * MS);
    assert_second(m, g, due, 5, 10);
    assert_int_equal(sched_set_affinity(&m->s, &m->actors[0]->v, &none, m->now), -EINVAL);
    struct sched_vcpu *running = &m->cpu[3].running->v; /* where it must not be any more: */
    assert_int_equal(sched_set_affinity(&m->s, running, &rest, m->now), SCHED_MUST_KICK);
    assert_int_equal(sched_set_affinity(&m->s, running, &one, m->now), 0);

    const uint64_t free_again[] = {800, 800, 800, 800, 800};
    for (unsigned i = 0; i < 5; i++)
        sim_affinity(m, m->actors[i], &all);
    sim_run(m, SIM_HZ / 2);
    assert_second(m, g, free_again, 5, 20);
    sim_free(m);
}

/* Work that only one idle CPU may do is found behind work that it may not. */
static void test_pulls_past_those_that_stay(void **state)
{
    struct sim *m = sim_new(2, 64);
    struct sched_group g[40];
    struct sched_cpus first = cpus(1), all = cpus(3);

    for (unsigned i = 0; i < 40; i++) {
        group(m, &g[i], 100, 0);
        struct actor *a = sim_add(m, &g[i], 0, 0, 1 + i);
        sim_affinity(m, a, &first);
    }
    sim_run(m, 100 * MS);
    assert_null(m->cpu[1].running);
    struct actor *a = m->actors[17];
    sim_affinity(m, a, &all);
    sim_run(m, MS);
    assert_ptr_equal(m->cpu[1].running, a);
    sim_affinity(m, m->actors[18], &all);
    sim_affinity(m, m->actors[19], &all);
    sim_run(m, 100 * MS);
    sim_remove(m, a);
    assert_non_null(m->cpu[1].running);
    sim_free(m);
}

static struct sched_vcpu *waiting_on(const struct sim *m, unsigned cpu)
{
    struct sched_node *n = sched_tree_first(&m->cpu[cpu].queue.ready);

    assert_non_null(n);
    return CONTAINER_OF(n, struct sched_vcpu, node);
}

/* An idle CPU that is called for x but takes y has another one called for x. */
static void test_call_is_passed_on(void **state)
{
    struct sim *m = sim_new(4, 4);
    struct sched_group g[4];
    struct sched_cpus for_x = cpus(2 | 4 | 8), for_y = cpus(1 | 4);

    for (unsigned i = 0; i < 4; i++) {
        group(m, &g[i], 100, 0);
        struct sched_cpus set = cpus(1 + i % 2);
        sim_affinity(m, sim_add(m, &g[i], 0, 0, 1 + i), &set);
    }
    sim_run(m, 10500 * US);
    struct sched_vcpu *y = waiting_on(m, 0), *x = waiting_on(m, 1);
    assert_int_equal(sched_set_affinity(&m->s, x, &for_x, m->now), SCHED_MUST_WAKE);
    assert_int_equal(sched_wake(&m->s, x, 1, m->now), 2);
    assert_int_equal(sched_set_affinity(&m->s, y, &for_y, m->now), SCHED_MUST_WAKE);
    assert_int_not_equal(sched_wake(&m->s, y, 0, m->now), 3);
    assert_int_equal(sched_pull_source(&m->s, 2, m->now), 0);
    assert_ptr_equal(sched_pull(&m->s, 2, 0, m->now), y);
    struct sched_choice choice = sched_pick(&m->s, 2, m->now);
    assert_ptr_equal(choice.vcpu, y);
    assert_int_equal(choice.kick, 3);
    sim_free(m);
}

/* --- many ------------------------------------------------------------------------------------- */

static void test_thousands(void **state)
{
    enum { SPIN = 1000, SLEEP = 3000 };
    struct sim *m = sim_new(8, SPIN + SLEEP);
    struct sched_group *g = calloc(SPIN + SLEEP, sizeof(*g));

    for (unsigned i = 0; i < SPIN; i++)
        spinners(m, &g[i], 100, 0, 1);
    for (unsigned i = SPIN; i < SPIN + SLEEP; i++) {
        group(m, &g[i], 100, 0);
        sim_add(m, &g[i], 20 * US, 100 * MS, 1 + i * 30 * US)->jitter = 10 * US;
    }
    sim_run(m, 2 * SIM_HZ);
    sim_check(m);
    uint64_t ran = 0, least = UINT64_MAX, most = 0;
    for (unsigned i = 0; i < SPIN; i++) {
        uint64_t r = sim_stats(m, m->actors[i]).ran;
        least = MIN(least, r);
        most = MAX(most, r);
        ran += r;
        assert_true(m->actors[i]->longest <
                    300 * MS); /* its turn comes every 125 slices, and a bit */
    }
    assert_true(most - least <= 4 * MS);
    for (unsigned i = 0; i < SPIN + SLEEP; i++)
        ran += i < SPIN ? 0 : sim_stats(m, m->actors[i]).ran;
    assert_near(ran, 16 * SIM_HZ, 1);
    for (unsigned i = SPIN; i < SPIN + SLEEP; i++)
        assert_true(sim_stats(m, m->actors[i]).wake_max <= 10 * MS);
    free(g);
    sim_free(m);
}

/* Steps in trees per choice, beside so many that spin on one CPU and so many that sleep. */
static uint64_t cost(unsigned spin, unsigned sleep, uint64_t *picks)
{
    struct sim *m = sim_new(1, spin + sleep + 1);
    struct sched_group *g = calloc(spin + sleep + 1, sizeof(*g));

    for (unsigned i = 0; i < spin; i++)
        spinners(m, &g[i], 100, 0, 1);
    for (unsigned i = spin; i < spin + sleep; i++) {
        group(m, &g[i], 100, 0);
        sim_add(m, &g[i], 1, 3600 * SIM_HZ, 3600 * SIM_HZ);
    }
    group(m, &g[spin + sleep], 100, 0);
    sim_add(m, &g[spin + sleep], 30 * US, 3 * MS, 5 * MS);
    sim_run(m, SIM_HZ);
    sched_tree_steps = 0;
    m->picks = 0;
    sim_run(m, SIM_HZ);
    *picks = m->picks;
    free(g);
    sim_free(m);
    return sched_tree_steps;
}

static void test_cost(void **state)
{
    uint64_t picks, more_picks;
    uint64_t steps = cost(8, 0, &picks);

    assert_true(cost(8, 4000, &more_picks) == steps);
    assert_true(picks == more_picks);
    for (unsigned n = 8, log = 3; n <= 4096; n *= 4, log += 2) {
        steps = cost(n, 0, &picks);
        assert_true(steps < picks * (8 + 6 * log));
    }
}

/* --- anything --------------------------------------------------------------------------------- */

enum { FUZZ_VMS = 6, FUZZ_VCPUS = 40 };

static void random_vcpu(struct sim *m, struct sched_group *g)
{
    struct actor *a =
        sim_add(m, &g[sim_random(m, FUZZ_VMS)], sim_random(m, 3) ? sim_random(m, 3 * MS) + 1 : 0,
                sim_random(m, 5 * MS), sim_random(m, MS));

    a->jitter = sim_random(m, MS);
    a->spin = sim_random(m, 3) ? 0 : 10 * US + sim_random(m, MS);
    a->waits_for = m->actors[sim_random(m, m->actor_count)];
}

static void random_act(struct sim *m, struct sched_group *g)
{
    struct actor *a = m->actors[sim_random(m, m->actor_count)];
    struct sched_group *vm = &g[sim_random(m, FUZZ_VMS)];
    struct sched_cpus set = cpus(sim_random(m, BIT(m->cpus)) | BIT(sim_random(m, m->cpus)));

    switch (sim_random(m, 6)) {
    case 0:
        assert_int_equal(sched_set_weight(vm, 1 + (unsigned)sim_random(m, 10000)), 0);
        break;
    case 1:
        assert_int_equal(sched_set_cap(&m->s, vm, (unsigned)sim_random(m, 300)), 0);
        break;
    case 2:
        assert_int_equal(sched_set_cap(&m->s, vm, 0), 0);
        break;
    case 3:
        if (!a->removed)
            sim_affinity(m, a, &set);
        break;
    case 4:
        if (!a->removed)
            sim_wake(m, a);
        break;
    case 5:
        if (!a->removed && sim_random(m, 2))
            sim_remove(m, a);
        else if (m->actor_count < m->room)
            random_vcpu(m, g);
        break;
    }
}

static void test_fuzz(void **state)
{
    const char *rounds = getenv("CORBEL_TEST_ALL");

    for (uint64_t seed = 1; seed <= (rounds ? 400 : 40); seed++) {
        struct sim *m = sim_new(1 + seed % 7, 200);
        struct sched_group g[FUZZ_VMS];
        m->random = seed * 0x9e3779b97f4a7c15;
        m->check = true;
        m->late = seed % 3 ? sim_random(m, 200 * US) : 0;
        for (unsigned i = 0; i < m->cpus; i++)
            m->cpu[i].skew = seed % 2 ? (int64_t)sim_random(m, 2000) - 1000 : 0;
        for (unsigned i = 0; i < FUZZ_VMS; i++)
            group(m, &g[i], 1 + (unsigned)sim_random(m, 1000), 0);
        for (unsigned i = 0; i < FUZZ_VCPUS; i++)
            random_vcpu(m, g);
        for (unsigned i = 0; i < 200; i++) {
            sim_run(m, sim_random(m, 3 * MS));
            random_act(m, g);
            sim_check(m);
        }
        sim_free(m);
    }
}

/* All time of a vCPU is of some kind. */
static void test_stats_add_up(void **state)
{
    struct sim *m = sim_new(2, 8);
    struct sched_group g[4];

    for (unsigned i = 0; i < 4; i++)
        spinners(m, &g[i], 100, i ? 30 : 0, 2);
    sim_run(m, SIM_HZ + 123457);
    for (unsigned i = 0; i < 8; i++) {
        struct sched_stats s = sim_stats(m, m->actors[i]);
        assert_true(s.ran + s.waited + s.parked == SIM_HZ + 123457);
        assert_int_equal(s.wakes, 1);
        assert_true(s.runs > 0);
    }
    sim_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_weights_on_one_cpu),
        cmocka_unit_test(test_shares_with_late_kicks),
        cmocka_unit_test(test_weight_is_the_vms),
        cmocka_unit_test(test_sleeping_siblings_cost_no_weight),
        cmocka_unit_test(test_shares_across_cpus),
        cmocka_unit_test(test_weight_changes),
        cmocka_unit_test(test_heavy_vm_runs_evenly),
        cmocka_unit_test(test_pulls_meet_everybody),
        cmocka_unit_test(test_cap_alone),
        cmocka_unit_test(test_cap_with_late_kicks),
        cmocka_unit_test(test_cap_is_not_saved_up),
        cmocka_unit_test(test_caps_of_vms),
        cmocka_unit_test(test_small_cap_starves_no_sibling),
        cmocka_unit_test(test_cap_changes),
        cmocka_unit_test(test_cap_beside_others),
        cmocka_unit_test(test_latency_beside_spinners),
        cmocka_unit_test(test_sleeping_gains_nothing),
        cmocka_unit_test(test_sleeping_saves_nothing_up),
        cmocka_unit_test(test_sleeping_in_turns_gains_little),
        cmocka_unit_test(test_waits_a_slice_at_most),
        cmocka_unit_test(test_wakes_on_idle_cpu),
        cmocka_unit_test(test_idle_is_idle),
        cmocka_unit_test(test_directed_yield),
        cmocka_unit_test(test_yield),
        cmocka_unit_test(test_yields_to_one),
        cmocka_unit_test(test_yields_keep_shares),
        cmocka_unit_test(test_yield_fetches),
        cmocka_unit_test(test_affinity),
        cmocka_unit_test(test_pulls_past_those_that_stay),
        cmocka_unit_test(test_call_is_passed_on),
        cmocka_unit_test(test_thousands),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_stats_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
