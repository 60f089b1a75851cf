/* links: guest/sched/sched.c guest/sched/queue.c guest/sched/level.c guest/sched/tree.c guest/sched/cap.c guest/sched/balance.c tests/unit/sched_sim.c */
/* The scheduler on a simulated machine: shares, caps, costs, and anything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/sched_sim.h"

/* --- shares ----------------------------------------------------------------------------------- */

static void test_three_weights_on_one_cpu(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];

    for (unsigned i = 0; i < 3; i++)
        sim_spinners(m, &g[i], 100u << i, 0, 1);
    m->check = true;
    for (unsigned seconds = 0; seconds < 5; seconds++) {
        uint64_t before[3];
        for (unsigned i = 0; i < 3; i++)
            before[i] = sim_ran(m, &g[i]);
        sim_run(m, SIM_HZ);
        for (unsigned i = 0; i < 3; i++)
            sim_assert_near(sim_ran(m, &g[i]) - before[i], (SIM_HZ << i) / 7, 10);
    }
    sim_free(m);
}

static void test_shares_with_late_kicks(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];

    m->late = 50 * US;
    for (unsigned i = 0; i < 3; i++)
        sim_spinners(m, &g[i], 100u << i, 0, 1);
    sim_run(m, SIM_HZ);
    for (unsigned i = 0; i < 3; i++)
        sim_assert_near(sim_ran(m, &g[i]), (SIM_HZ << i) / 7, 15);
    sim_free(m);
}

/* A weight is the VM's, however many vCPUs it has. */
static void test_weight_is_the_vms(void **state)
{
    struct sim *m = sim_new(1, 16);
    struct sched_group g[2];
    const uint64_t due[] = {500, 500};

    sim_spinners(m, &g[0], 100, 0, 8);
    sim_spinners(m, &g[1], 100, 0, 1);
    sim_assert_second(m, g, due, 2, 20);
    sim_assert_second(m, g, due, 2, 20);
    sim_free(m);
}

/* Of 4 vCPUs that sleep and wake, those that run count. */
static void test_sleeping_siblings_cost_no_weight(void **state)
{
    struct sim *m = sim_new(1, 16);
    struct sched_group g[2];
    const uint64_t due[] = {500, 500};

    sim_spinners(m, &g[0], 100, 0, 1);
    sim_spinners(m, &g[1], 100, 0, 1);
    for (unsigned i = 0; i < 8; i++)
        sim_add(m, &g[0], 1, 3600 * SIM_HZ, 3600 * SIM_HZ);
    sim_assert_second(m, g, due, 2, 10);
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
            sim_spinners(m, &g[k], l->weight[k], 0, l->vcpus);
        sim_run(m, SIM_HZ);
        sim_assert_second(m, g, l->due, l->vms, 20);
        sim_assert_second(m, g, l->due, l->vms, 20);
        sim_free(m);
    }
}

static void test_weight_changes(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];
    const uint64_t before[] = {500, 500}, after[] = {909, 91}, light[] = {10, 990};

    sim_spinners(m, &g[0], 100, 0, 1);
    sim_spinners(m, &g[1], 100, 0, 1);
    sim_assert_second(m, g, before, 2, 10);
    assert_int_equal(sched_set_weight(&g[0], 1000), 0);
    sim_assert_second(m, g, after, 2, 15);
    assert_int_equal(sched_set_weight(&g[0], 1), 0);
    sim_assert_second(m, g, light, 2, 100);
    assert_int_equal(sched_set_weight(&g[0], 0), -EINVAL);
    assert_int_equal(sched_set_weight(&g[0], 10001), -EINVAL);
    sim_free(m);
}

/* A heavy VM does not run ahead and then wait: its lead stays at about a slice. */
static void test_heavy_vm_runs_evenly(void **state)
{
    struct sim *m = sim_new(1, 11);
    struct sched_group g[11];

    sim_spinners(m, &g[0], 1000, 0, 1);
    for (unsigned i = 1; i < 11; i++)
        sim_spinners(m, &g[i], 100, 0, 1);
    sim_run(m, 100 * MS);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t before = sim_ran(m, &g[0]);
        sim_run(m, 5 * MS);
        assert_uint_in_range(sim_ran(m, &g[0]) - before, 3 * MS / 2, 7 * MS / 2);
    }
    sim_free(m);
}

/* One that may not move and one that may share a CPU beat for beat: the one that may is met, too.
 */
static void test_pulls_meet_everybody(void **state)
{
    struct sim *m = sim_new(2, 3);
    struct sched_group g[3];
    struct sched_cpus one = sim_cpu_set(1), all = sim_cpu_set(3);
    const uint64_t due[] = {667, 667, 667};

    for (unsigned i = 0; i < 3; i++) {
        sim_group(m, &g[i], 100, 0);
        sim_affinity(m, sim_add(m, &g[i], 0, 0, 1 + i), i < 2 ? &one : &all);
    }
    sim_run(m, 10 * MS);
    sim_affinity(m, m->actors[1], &all);
    sim_run(m, SIM_HZ / 10);
    sim_assert_second(m, g, due, 3, 20);
    sim_free(m);
}

/* A VM whose vCPUs spin or sleep by chance. */
static void random_vm(struct sim *m, struct sched_group *g, unsigned weight, unsigned spin)
{
    uint64_t run = 10 * US + sim_random(m, sim_random(m, 2) ? 300 * US : 3 * MS);
    uint64_t sleep = 10 * US + sim_random(m, sim_random(m, 2) ? 300 * US : 10 * MS);
    uint64_t sleepers = spin && sim_random(m, 2) ? 0 : 1 + sim_random(m, 8);

    sim_spinners(m, g, weight, 0, spin);
    for (uint64_t i = 0; i < sleepers; i++) {
        struct actor *a = sim_add(m, g, run + sim_random(m, run / 4),
                                  sleep + sim_random(m, sleep / 4), 1 + sim_random(m, sleep));
        a->jitter = sim_random(m, 2) ? 0 : sleep / 8;
    }
}

/* VMs as they come, on one CPU: as in the ideal where all run at once, each as fast as its weight
 * says. Those that always want the CPU get what their weights say of what the others leave, and of
 * the others none gets more for its weight than these. */
static void test_any_mix_is_fair(void **state)
{
    unsigned seeds = getenv("CORBEL_TEST_ALL") ? 300 : 30;

    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct sim *m = sim_new(1, 100);
        struct sched_group g[8];
        uint64_t before[8], wanting = 0, got = 0;
        unsigned weight[8], spin[8];
        m->random = seed * 0x9e3779b97f4a7c15;
        m->late = seed % 2 ? 50 * US : 0;
        unsigned vms = 2 + (unsigned)sim_random(m, 7);
        for (unsigned i = 0; i < vms; i++) {
            weight[i] = 100 + (unsigned)sim_random(m, 900);
            spin[i] = (i == 0) + (unsigned)sim_random(m, 3);
            random_vm(m, &g[i], weight[i], spin[i]);
        }
        sim_run(m, SIM_HZ / 2);
        for (unsigned i = 0; i < vms; i++)
            before[i] = sim_ran(m, &g[i]);
        sim_run(m, 4 * SIM_HZ);
        for (unsigned i = 0; i < vms; i++) {
            before[i] = sim_ran(m, &g[i]) - before[i];
            wanting += spin[i] ? weight[i] : 0;
            got += spin[i] ? before[i] : 0;
        }
        for (unsigned i = 0; i < vms; i++) {
            uint64_t due = got * weight[i] / wanting;
            sim_assert_near(spin[i] ? before[i] : MAX(before[i], due), due, 20);
        }
        sim_free(m);
    }
}

/* --- caps ------------------------------------------------------------------------------------- */

static void test_cap_alone(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;

    sim_spinners(m, &g, 100, 25, 1);
    m->check = true;
    for (unsigned i = 0; i < 10; i++) {
        uint64_t before = sim_ran(m, &g);
        sim_run(m, SIM_HZ);
        sim_assert_near(sim_ran(m, &g) - before, SIM_HZ / 4, 10);
    }
    sim_free(m);
}

/* What is noticed late is paid back. */
static void test_cap_with_late_kicks(void **state)
{
    struct sim *m = sim_new(1, 2);
    struct sched_group g[2];

    m->late = 300 * US;
    sim_spinners(m, &g[0], 100, 25, 1);
    sim_spinners(m, &g[1], 100, 0, 1);
    sim_run(m, SIM_HZ);
    sim_assert_near(sim_ran(m, &g[0]), SIM_HZ / 4, 15);
    sim_free(m);
}

/* What a VM leaves of its cap is gone. */
static void test_cap_is_not_saved_up(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;

    sim_group(m, &g, 100, 25);
    struct actor *a = sim_add(m, &g, 100 * US, 10 * MS, 1);
    sim_run(m, SIM_HZ);
    while (a->v.state != SCHED_BLOCKED)
        sim_run(m, 10 * US);
    a->run = 0;
    uint64_t before = sim_ran(m, &g);
    sim_run(m, 100 * MS);
    sim_assert_near(sim_ran(m, &g) - before, 25 * MS, 110);
    sim_free(m);
}

static void test_caps_of_vms(void **state)
{
    struct sim *m = sim_new(4, 16);
    struct sched_group g[4];
    const uint64_t due[] = {250, 1750, 500, 1500};

    sim_spinners(m, &g[0], 100, 25, 4);
    sim_spinners(m, &g[1], 100, 0, 4);
    sim_spinners(m, &g[2], 100, 50, 4);
    sim_spinners(m, &g[3], 100, 150, 4);
    m->check = true;
    sim_run(m, SIM_HZ / 4);
    sim_assert_second(m, g, due, 4, 20);
    sim_free(m);
}

/* A budget too small for all vCPUs of a VM at once goes round. */
static void test_small_cap_starves_no_sibling(void **state)
{
    struct sim *m = sim_new(4, 64);
    struct sched_group g;

    sim_spinners(m, &g, 100, 1, 64);
    sim_run(m, 10 * SIM_HZ);
    sim_assert_near(sim_ran(m, &g), SIM_HZ / 10, 40);
    for (unsigned i = 0; i < 64; i++)
        sim_assert_near(sim_stats(m, m->actors[i]).ran, SIM_HZ / 640, 250);
    sim_free(m);
}

static void test_cap_changes(void **state)
{
    struct sim *m = sim_new(1, 1);
    struct sched_group g;
    const uint64_t ten[] = {100}, all[] = {1000}, half[] = {500};

    sim_spinners(m, &g, 100, 10, 1);
    sim_assert_second(m, &g, ten, 1, 10);
    sim_cap(m, &g, 0);
    sim_assert_second(m, &g, all, 1, 10);
    sim_cap(m, &g, 50);
    sim_assert_second(m, &g, half, 1, 25);
    assert_int_equal(sched_set_cap(&m->s, &g, SCHED_CAP_MAX + 1), -EINVAL);
    sim_free(m);
}

/* A VM that its cap holds back takes nothing from others, nor is it owed anything. */
static void test_cap_beside_others(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];
    const uint64_t due[] = {250, 375, 375};

    sim_spinners(m, &g[0], 10000, 25, 1);
    sim_spinners(m, &g[1], 100, 0, 1);
    sim_spinners(m, &g[2], 100, 0, 1);
    sim_assert_second(m, g, due, 3, 10);
    sim_free(m);
}

/* --- many ------------------------------------------------------------------------------------- */

static void test_thousands(void **state)
{
    enum { SPIN = 1000, SLEEP = 9000 };
    struct sim *m = sim_new(8, SPIN + SLEEP);
    struct sched_group *g = calloc(SPIN + SLEEP, sizeof(*g));

    for (unsigned i = 0; i < SPIN; i++)
        sim_spinners(m, &g[i], 100, 0, 1);
    for (unsigned i = SPIN; i < SPIN + SLEEP; i++) {
        sim_group(m, &g[i], 100, 0);
        sim_add(m, &g[i], 20 * US, 300 * MS, 1 + i * 30 * US)->jitter = 10 * US;
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
    sim_assert_near(ran, 16 * SIM_HZ, 1);
    for (unsigned i = SPIN; i < SPIN + SLEEP; i++)
        assert_true(sim_stats(m, m->actors[i]).wake_max <= 10 * MS);
    free(g);
    sim_free(m);
}

/* Steps in trees per choice, beside so many VMs that spin on one CPU and so many that sleep. */
static uint64_t cost(unsigned spin, unsigned vcpus, unsigned sleep, uint64_t *picks)
{
    struct sim *m = sim_new(1, spin * vcpus + sleep + 1);
    struct sched_group *g = calloc(spin + sleep + 1, sizeof(*g));

    for (unsigned i = 0; i < spin; i++)
        sim_spinners(m, &g[i], 100, 0, vcpus);
    for (unsigned i = spin; i < spin + sleep; i++) {
        sim_group(m, &g[i], 100, 0);
        sim_add(m, &g[i], 1, 3600 * SIM_HZ, 3600 * SIM_HZ);
    }
    sim_group(m, &g[spin + sleep], 100, 0);
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
    uint64_t steps = cost(8, 1, 0, &picks);

    assert_true(cost(8, 1, 4000, &more_picks) == steps);
    assert_true(picks == more_picks);
    for (unsigned n = 8, log = 3; n <= 4096; n *= 4, log += 2) {
        steps = cost(n, 1, 0, &picks);
        assert_true(steps < picks * (8 + 6 * log));
    }
    steps = cost(160, 64, 0, &picks); /* 2^7 and a bit, 2^6 */
    assert_true(steps < picks * (16 + 6 * 14));
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
    struct sched_cpus set = sim_cpu_set(sim_random(m, BIT(m->cpus)) | BIT(sim_random(m, m->cpus)));

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
            sim_group(m, &g[i], 1 + (unsigned)sim_random(m, 1000), 0);
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
        sim_spinners(m, &g[i], 100, i ? 30 : 0, 2);
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
        cmocka_unit_test(test_any_mix_is_fair),
        cmocka_unit_test(test_cap_alone),
        cmocka_unit_test(test_cap_with_late_kicks),
        cmocka_unit_test(test_cap_is_not_saved_up),
        cmocka_unit_test(test_caps_of_vms),
        cmocka_unit_test(test_small_cap_starves_no_sibling),
        cmocka_unit_test(test_cap_changes),
        cmocka_unit_test(test_cap_beside_others),
        cmocka_unit_test(test_thousands),
        cmocka_unit_test(test_cost),
        cmocka_unit_test(test_fuzz),
        cmocka_unit_test(test_stats_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
