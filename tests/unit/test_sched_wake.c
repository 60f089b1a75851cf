/* links: guest/sched/sched.c guest/sched/queue.c guest/sched/level.c guest/sched/tree.c guest/sched/cap.c guest/sched/balance.c tests/unit/sched_sim.c */
/* The scheduler on a simulated machine: who wakes, who yields, who may run where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/sched/queue.h"
#include "tests/unit/sched_sim.h"

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
            sim_spinners(m, &g[k], 100, 0, 1);
        sim_group(m, &g[8], pattern[i].weight, 0);
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
            sim_spinners(m, &g[k], 100, 0, 1);
        sim_group(m, &g[4], 100, 0);
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
            sim_spinners(m, &g[k], 100, 0, 1);
        sim_group(m, &g[4], 100, 0);
        uint64_t sleep = SIM_HZ / 2 + seconds * SIM_HZ;
        struct actor *a = sim_add(m, &g[4], 1, sleep, 1);
        sim_run(m, MS);
        a->run = 0; /* from its next wake-up on */
        sim_run(m, sleep + 7 * MS);
        assert_uint_in_range(sim_stats(m, a).ran, MS, 3500 * US);
        sim_free(m);
    }
}

/* A VM whose vCPUs take turns in sleeping gets its share and no more, and its neighbour no less. */
static void test_sleeping_in_turns_gains_nothing(void **state)
{
    static const struct {
        unsigned spin, sleepers, weight;
        uint64_t run, sleep, step;
        unsigned due; /* permille */
    } mix[] = {
        {1, 8, 100, 100 * US, MS, 0, 500},
        {1, 8, 100, 100 * US, MS, 125 * US, 500},
        {1, 8, 300, 100 * US, MS, 0, 750},
        {1, 8, 25, 100 * US, MS, 0, 200},
        {0, 8, 100, 100 * US, MS, 0, 500},
        {0, 2, 100, 20 * US, 20 * US, 0, 500},
        {0, 2, 100, 20 * US, 20 * US, 20 * US, 500},
        {0, 8, 100, 200 * US, 200 * US, 50 * US, 500},
        {1, 8, 100, MS, 10 * MS, 0, 500},
        {1, 8, 100, MS, 10 * MS, 250 * US, 500},
        {4, 8, 100, 500 * US, MS, 0, 500},
        {1, 60, 100, 10 * US, MS, 0, 500},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(mix); i++) {
        struct sim *m = sim_new(1, 80);
        struct sched_group g[2];
        const uint64_t due[] = {1000 - mix[i].due, mix[i].due};
        sim_spinners(m, &g[0], 100, 0, 1);
        sim_spinners(m, &g[1], mix[i].weight, 0, mix[i].spin);
        for (unsigned k = 0; k < mix[i].sleepers; k++)
            sim_add(m, &g[1], mix[i].run + k, mix[i].sleep, 1 + k * mix[i].step);
        sim_assert_second(m, g, due, 2, 20);
        sim_assert_second(m, g, due, 2, 20);
        sim_free(m);
    }
}

/* Of a VM's vCPUs, those that spin get as much as each other, and one that mostly sleeps runs as
 * soon as it wakes when its VM is alone, and soon when the VM's turn comes beside others. */
static void test_within_a_vm(void **state)
{
    for (unsigned others = 0; others <= 8; others += 8) {
        struct sim *m = sim_new(1, 20);
        struct sched_group g[9];
        sim_spinners(m, &g[0], 100, 0, 2);
        for (unsigned i = 1; i <= others; i++)
            sim_spinners(m, &g[i], 100, 0, 1);
        struct actor *a = sim_add(m, &g[0], 50 * US, 20 * MS, 7 * MS);
        a->jitter = 3 * MS;
        m->check = true;
        sim_run(m, 4 * SIM_HZ);
        struct sched_stats stats = sim_stats(m, a);
        uint64_t ran = sim_stats(m, m->actors[0]).ran;
        sim_assert_near(sim_stats(m, m->actors[1]).ran, ran, 10);
        sim_assert_near(sim_ran(m, &g[0]), 4 * SIM_HZ / (others + 1), 10);
        assert_true(stats.wakes > 100);
        assert_true(stats.wake_max <= (others + 1) * others / 8 * MS + 5 * US);
        sim_free(m);
    }
}

/* A VM that runs on another CPU first, and one that is made anew where it was, start from the
 * others' virtual time: not from where somebody stood long ago. */
static void test_late_comers(void **state)
{
    struct sim *m = sim_new(1, 8);
    struct sched_group g[3];
    const uint64_t due[] = {333, 333, 333};

    sim_spinners(m, &g[0], 1, 0, 1);
    sim_run(m, 30 * SIM_HZ);
    sim_spinners(m, &g[1], 1, 0, 1);
    sim_run(m, 10 * MS);
    sim_spinners(m, &g[2], 1, 0, 1);
    sim_assert_second(m, g, due, 3, 60);
    sim_free(m);
}

/* Whoever was told to run long, because nobody waited, makes room when somebody does, even for one
 * that has had its share. */
static void test_waits_a_slice_at_most(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];

    sim_spinners(m, &g[0], 100, 0, 1);
    sim_group(m, &g[1], 100, 0);
    struct actor *a = sim_add(m, &g[1], 1, 3600 * SIM_HZ, 1);
    sim_run(m, 103 * MS);
    while (m->cpu[0].until - m->now < 40 * MS)
        sim_run(m, MS);
    m->groups[1]->part[0].member.vtime =
        level_mean(&m->cpu[0].queue.level) + (64 * MS << 16); /* much ahead */
    m->groups[1]->part[0].member.left_at = m->now;
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

    sim_group(m, &g, 100, 0);
    struct actor *a = sim_add(m, &g, 5 * MS, 5 * MS, 1);
    sim_run(m, MS);
    unsigned home = a->v.cpu;
    sim_run(m, 7 * MS);
    assert_int_equal(a->v.state, SCHED_BLOCKED);
    assert_int_equal(sched_target(&m->s, &a->v), home);

    struct sched_cpus here = sim_cpu_set(BIT(home));
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

    sim_group(m, &g, 100, 0);
    for (unsigned i = 0; i < 90; i++)
        sim_add(m, &g, 1, 1, 3600 * SIM_HZ);
    sim_run(m, SIM_HZ);
    assert_int_equal(m->picks, 0);
    sim_add(m, &g, 0, 0, 0);
    sim_run(m, SIM_HZ);
    assert_uint_in_range(m->picks, 1, 110);
    sim_free(m);
}

/* --- yielding --------------------------------------------------------------------------------- */

/* A vCPU that spins for one that does not run lets it run at once. */
static void test_directed_yield(void **state)
{
    struct sim *m = sim_new(1, 10);
    struct sched_group g[9];

    for (unsigned i = 0; i < 8; i++)
        sim_spinners(m, &g[i], 100, 0, 1);
    sim_spinners(m, &g[8], 100, 0, 2);
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

    sim_spinners(m, &g[0], 100, 0, 1);
    sim_spinners(m, &g[1], 100, 0, 1);
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

    sim_spinners(m, &g[0], 100, 0, 1);
    sim_spinners(m, &g[1], 100, 0, 33);
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
        sim_spinners(m, &g[0], 100, 0, 1);
        sim_spinners(m, &g[1], 100, 0, 1);
        sim_spinners(m, &g[2], 100, 0, 2);
        struct actor *a = m->actors[2], *b = m->actors[3];
        a->spin = 30 * US;
        a->waits_for = directed ? b : NULL;
        m->check = true;
        sim_run(m, 2 * SIM_HZ);
        assert_true(sim_ran(m, &g[2]) <= 2 * SIM_HZ / 3 * 103 / 100);
        assert_true(sim_ran(m, &g[0]) >= 2 * SIM_HZ / 3 * 98 / 100);
        assert_true(sim_ran(m, &g[1]) >= 2 * SIM_HZ / 3 * 98 / 100);
        assert_true(sim_stats(m, b).ran >= 2 * SIM_HZ / 6 * 98 / 100);
        assert_true(sim_stats(m, a).ran >= 2 * SIM_HZ / 40);
        sim_free(m);
    }
}

/* Who is yielded to comes from another CPU. */
static void test_yield_fetches(void **state)
{
    struct sim *m = sim_new(2, 8);
    struct sched_group g[4];

    for (unsigned i = 0; i < 4; i++)
        sim_spinners(m, &g[i], 100, 0, 2);
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
        sim_spinners(m, &g[i], 100, 0, 1);
    m->check = true;
    struct sched_cpus one = sim_cpu_set(8), rest = sim_cpu_set(7), none = sim_cpu_set(0xf0),
                      all = sim_cpu_set(UINT64_MAX);
    for (unsigned i = 0; i < 5; i++)
        sim_affinity(m, m->actors[i], i < 2 ? &one : &rest);
    sim_run(m, 10 * MS);
    sim_assert_second(m, g, due, 5, 10);
    assert_int_equal(sched_set_affinity(&m->s, &m->actors[0]->v, &none, m->now), -EINVAL);
    struct sched_vcpu *running = &m->cpu[3].running->v; /* where it must not be any more: */
    assert_int_equal(sched_set_affinity(&m->s, running, &rest, m->now), SCHED_MUST_KICK);
    assert_int_equal(sched_set_affinity(&m->s, running, &one, m->now), 0);

    const uint64_t free_again[] = {800, 800, 800, 800, 800};
    for (unsigned i = 0; i < 5; i++)
        sim_affinity(m, m->actors[i], &all);
    sim_run(m, SIM_HZ / 2);
    sim_assert_second(m, g, free_again, 5, 20);
    sim_free(m);
}

/* Work that only one idle CPU may do is found behind work that it may not. */
static void test_pulls_past_those_that_stay(void **state)
{
    struct sim *m = sim_new(2, 64);
    struct sched_group g[40];
    struct sched_cpus first = sim_cpu_set(1), all = sim_cpu_set(3);

    for (unsigned i = 0; i < 40; i++) {
        sim_group(m, &g[i], 100, 0);
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
    struct sched_vcpu *v = queue_first_on(&m->cpu[cpu].queue, cpu);

    assert_non_null(v);
    return v;
}

/* An idle CPU that is called for x but takes y has another one called for x. */
static void test_call_is_passed_on(void **state)
{
    struct sim *m = sim_new(4, 4);
    struct sched_group g[4];
    struct sched_cpus for_x = sim_cpu_set(2 | 4 | 8), for_y = sim_cpu_set(1 | 4);

    for (unsigned i = 0; i < 4; i++) {
        sim_group(m, &g[i], 100, 0);
        struct sched_cpus set = sim_cpu_set(1 + i % 2);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_latency_beside_spinners),
        cmocka_unit_test(test_sleeping_gains_nothing),
        cmocka_unit_test(test_sleeping_saves_nothing_up),
        cmocka_unit_test(test_sleeping_in_turns_gains_nothing),
        cmocka_unit_test(test_within_a_vm),
        cmocka_unit_test(test_late_comers),
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
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
