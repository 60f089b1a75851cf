/* links: guest/sched/sched.c guest/sched/queue.c guest/sched/tree.c guest/sched/cap.c guest/sched/balance.c tests/unit/sched_sim.c */
/* The scheduler: shares, caps, latency, affinity, by simulation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "tests/unit/sched_sim.h"

static void group(struct sim *m, struct sched_group *g, unsigned weight)
{
    sched_group_init(g, m->now);
    assert_int_equal(sched_set_weight(g, weight), 0);
}

/* Is part within permille of whole * share / shares? */
static void assert_share(uint64_t part, uint64_t whole, uint64_t share, uint64_t shares,
                         unsigned permille)
{
    uint64_t due = whole * share / shares, off = part > due ? part - due : due - part;

    if (off * 1000 > due * permille) {
        print_error("%lu instead of %lu of %lu: off by %lu permille\n", part, due, whole,
                    off * 1000 / due);
        fail();
    }
}

static void test_three_weights_on_one_cpu(void **state)
{
    struct sim *m = sim_new(1, 3);
    struct sched_group g[3];

    for (unsigned i = 0; i < 3; i++) {
        group(m, &g[i], 100u << i);
        sim_add(m, &g[i], 0, 0, 0);
    }
    m->check = true;
    sim_run(m, SIM_HZ);
    for (unsigned i = 0; i < 3; i++)
        assert_share(sim_ran(m, &g[i]), SIM_HZ, 1u << i, 7, 10);
    sim_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_weights_on_one_cpu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
