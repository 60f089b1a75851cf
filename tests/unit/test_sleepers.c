/* links: guest/sched/sleepers.c */
/* Who sleeps until when: always the earliest in front, whoever comes and goes; and what that costs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "guest/sched/sleepers.h"

#define MANY 1000

static struct sleeper s[MANY];
static bool in[MANY];

/* The heap below n is sound; how many are in it. */
static unsigned check(const struct sleeper *n)
{
    unsigned count = 1;
    const struct sleeper *back = n;

    for (const struct sleeper *c = n->child; c; back = c, c = c->next) {
        assert_ptr_equal(c->back, back);
        assert_true(c->until >= n->until);
        count += check(c);
    }
    return count;
}

static void check_all(const struct sleepers *all, unsigned expected)
{
    unsigned count = 0;

    if (all->first) {
        assert_null(all->first->back);
        assert_null(all->first->next);
        count = check(all->first);
    }
    assert_int_equal(count, expected);
    for (unsigned i = 0; i < MANY; i++)
        assert_true(!in[i] || s[i].until >= all->first->until);
}

static void test_random(void **state)
{
    struct sleepers all = {NULL};
    unsigned count = 0;

    srand(1);
    for (unsigned n = 0; n < 20000; n++) {
        unsigned i = (unsigned)rand() % (n < 10000 ? MANY : 50);
        if (in[i]) {
            sleepers_remove(&all, &s[i]);
            count--;
        } else {
            s[i].until = (uint64_t)(rand() % 300);
            sleepers_add(&all, &s[i]);
            count++;
        }
        in[i] = !in[i];
        if (n % 16 == 0)
            check_all(&all, count);
    }
    for (uint64_t last = 0; all.first; count--) {
        assert_true(all.first->until >= last);
        last = all.first->until;
        in[all.first - s] = false;
        sleepers_remove(&all, all.first);
    }
    assert_int_equal(count, 0);
}

/* Whoever comes and goes in front leaves those behind as they are. */
static void test_in_front(void **state)
{
    struct sleepers all = {NULL};
    struct sleeper *second;

    for (unsigned i = 1; i < MANY; i++) {
        s[i].until = 1000 + (uint64_t)(rand() % 1000);
        sleepers_add(&all, &s[i]);
    }
    second = all.first;
    for (unsigned n = 0; n < 10; n++) {
        struct sleeper before = *second;
        s[0].until = n;
        sleepers_add(&all, &s[0]);
        assert_ptr_equal(all.first, &s[0]);
        assert_ptr_equal(s[0].child, second);
        assert_null(second->next);
        sleepers_remove(&all, &s[0]);
        assert_ptr_equal(all.first, second);
        assert_memory_equal(second, &before, sizeof(before));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_in_front),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
