/* links: guest/cpu/progress.c */
/* Exits without progress: counted while nothing else happens, and only then. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/cpu/progress.h"

static struct progress p;
static uint64_t gpr[16], exits;

static int setup(void **state)
{
    p = (struct progress){0};
    exits = 0;
    return 0;
}

static bool again(void)
{
    return progress_none(&p, 0x1000, 0xfee00000, gpr, ++exits);
}

static void test_bound(void **state)
{
    for (unsigned i = 0; i < PROGRESS_BOUND; i++)
        assert_true(again());
    assert_false(again());
    assert_false(again());
}

/* Anything else that happens in between begins the count anew. */
static void test_progress(void **state)
{
    for (unsigned kind = 0; kind < 5; kind++) {
        setup(NULL);
        for (unsigned i = 0; i < 3 * PROGRESS_BOUND; i++) {
            bool other = i % PROGRESS_BOUND == PROGRESS_BOUND - 1;
            if (!other)
                assert_true(again());
            else if (kind == 0)
                exits++; /* an exit of another kind, a port that is polled */
            else if (kind == 1)
                assert_true(progress_none(&p, 0x1002, 0xfee00000, gpr, ++exits));
            else if (kind == 2)
                assert_true(progress_none(&p, 0x1000, 0xfee01000, gpr, ++exits));
            else if (kind == 3)
                gpr[1]++; /* REP goes on at the same RIP */
            else
                gpr[15]--;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_bound, setup),
        cmocka_unit_test(test_progress),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
