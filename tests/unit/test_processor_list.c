/* links: drivers/processor_list.c arch/x86/tsc_skew.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/tsc_sync.h"
#include "drivers/processor_list.h"

#define ON  HANDOVER_CPU_ENABLED
#define BSP HANDOVER_CPU_BSP

static void test_an_ordinary_list(void **state)
{
    static const struct handover_cpu list[] = {{2, ON}, {4, ON | BSP}, {6, ON}, {8, 0}};
    static const enum processor_verdict verdicts[] = {PROCESSOR_START, PROCESSOR_SELF,
                                                      PROCESSOR_START, PROCESSOR_DISABLED};

    for (uint32_t i = 0; i < ARRAY_SIZE(list); i++)
        assert_int_equal(processor_verdict(list, i, 4, false), verdicts[i]);
}

/* INIT to the boot processor, or to one that runs already, would be the end. */
static void test_doubles(void **state)
{
    static const struct handover_cpu list[] = {{0, ON | BSP}, {5, 0}, {5, ON}, {5, ON}, {0, ON}};
    static const enum processor_verdict verdicts[] = {
        PROCESSOR_SELF, PROCESSOR_DISABLED, PROCESSOR_START, PROCESSOR_TWICE, PROCESSOR_SELF};

    for (uint32_t i = 0; i < ARRAY_SIZE(list); i++)
        assert_int_equal(processor_verdict(list, i, 0, true), verdicts[i]);
    /* The first and the last. */
    assert_int_equal(processor_verdict(&list[2], 0, 9, true), PROCESSOR_START);
    assert_int_equal(processor_verdict(&list[2], 1, 9, true), PROCESSOR_TWICE);
}

static void test_ids_out_of_reach(void **state)
{
    static const struct handover_cpu list[] = {{254, ON}, {255, ON}, {256, ON}, {UINT32_MAX, ON}};

    assert_int_equal(processor_verdict(list, 0, 0, false), PROCESSOR_START);
    assert_int_equal(processor_verdict(list, 1, 0, false), PROCESSOR_UNREACHABLE);
    assert_int_equal(processor_verdict(list, 2, 0, false), PROCESSOR_UNREACHABLE);
    assert_int_equal(processor_verdict(list, 3, 0, false), PROCESSOR_UNREACHABLE);
    assert_int_equal(processor_verdict(list, 1, 0, true), PROCESSOR_START);
    assert_int_equal(processor_verdict(list, 2, 0, true), PROCESSOR_START);
    assert_int_equal(processor_verdict(list, 3, 0, true), PROCESSOR_UNREACHABLE);
}

/* An answer from between the two readings shows no difference, wherever it lies. */
static void test_no_skew(void **state)
{
    assert_int_equal(tsc_skew(1000, 1000, 1100), 0);
    assert_int_equal(tsc_skew(1000, 1037, 1100), 0);
    assert_int_equal(tsc_skew(1000, 1100, 1100), 0);
    assert_int_equal(tsc_skew(UINT64_MAX - 10, 5, 20), 0);
}

static void test_skew(void **state)
{
    assert_int_equal(tsc_skew(1000, 950, 1100), 100);  /* ahead */
    assert_int_equal(tsc_skew(1000, 1101, 1100), -51); /* behind */
    assert_int_equal(tsc_skew(1000, 5001050, 1100), -5000000);
    assert_int_equal(tsc_skew(20, UINT64_MAX - 79, 20), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_ordinary_list),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_ids_out_of_reach),
        cmocka_unit_test(test_no_skew),
        cmocka_unit_test(test_skew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
