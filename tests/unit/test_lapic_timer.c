/* links: guest/board/lapic*.c guest/board/state.c */
/* SDM "APIC Timer": counting down, TSC-deadline mode, and what changes of mode and rate do. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/mock_lapic.h"

#define COUNT(n, divide) ((uint64_t)(n) * (divide) << BUS_SHIFT)

static bool timer_fires(uint64_t at)
{
    now = at;
    lapic_run_timer(l, now);
    lapic_sync(l);
    int vector = lapic_pending_vector(l);
    if (vector < 0) {
        return false;
    }
    assert_int_equal(vector, 0x40);
    lapic_accept(l, 0x40);
    lapic_eoi(l);
    return true;
}

static void test_divide_configuration(void **state)
{
    static const uint8_t divide[][2] = {{0, 2},  {1, 4},  {2, 8},     {3, 16},
                                        {8, 32}, {9, 64}, {0xa, 128}, {0xb, 1}};

    software_enable(l);
    for (unsigned i = 0; i < ARRAY_SIZE(divide); i++) {
        set(l, LAPIC_TDCR, divide[i][0]);
        set(l, LAPIC_TMICT, 1000);
        assert_true(l->timer_deadline == now + COUNT(1000, divide[i][1]));
        assert_int_equal(get(l, LAPIC_TMCCT), 1000);
    }
}

static void test_one_shot(void **state)
{
    uint64_t start = now;

    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 100);
    assert_false(timer_fires(start + COUNT(100, 1) - 1));
    assert_int_equal(get(l, LAPIC_TMCCT), 1);
    assert_true(timer_fires(start + COUNT(100, 1)));
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_int_equal(get(l, LAPIC_TMICT), 100);
    assert_false(timer_fires(start + COUNT(1000, 1)));
    set(l, LAPIC_TMICT, 100);
    now += COUNT(40, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 60);
    set(l, LAPIC_TMICT, 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    set(l, LAPIC_TMICT, 0xffffffff);
    assert_int_equal(get(l, LAPIC_TMCCT), 0xffffffff);
    set(l, LAPIC_TMICT, 10);
    set(l, LAPIC_LVT_TIMER, LVT_MASKED | 0x40); /* goes on counting */
    now += COUNT(4, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 6);
    assert_false(timer_fires(now + COUNT(6, 1)));
}

static void test_periodic_does_not_drift(void **state)
{
    uint64_t start = now;

    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 50);
    for (unsigned i = 1; i < 20; i++) {
        assert_true(timer_fires(start + i * COUNT(50, 1) + i)); /* always a little late */
        assert_true(l->timer_deadline == start + (i + 1) * COUNT(50, 1));
    }
    /* many periods in one go make one interrupt, and stay in step */
    assert_true(timer_fires(start + 100 * COUNT(50, 1)));
    assert_true(l->timer_deadline == start + 101 * COUNT(50, 1));
    assert_false(timer_fires(start + 100 * COUNT(50, 1) + 1));
    now = start + 103 * COUNT(50, 1) + COUNT(20, 1);
    assert_int_equal(get(l, LAPIC_TMCCT), 30);
    assert_true(timer_fires(now));
    set(l, LAPIC_TMICT, 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

static void test_tsc_deadline(void **state)
{
    software_enable(l);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0); /* another mode: ignored */
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_true(rdmsr(MSR_TSC_DEADLINE) == now + 5);
    set(l, LAPIC_TMICT, 100);
    assert_int_equal(get(l, LAPIC_TMICT), 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 0);
    assert_false(timer_fires(now + 4));
    assert_true(timer_fires(now + 1));
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    assert_false(timer_fires(now + 100));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now - 100), 0); /* already due */
    assert_true(timer_fires(now));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, 0), 0);
    assert_false(timer_fires(now + 100));
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, UINT64_MAX), 0);
    assert_true(rdmsr(MSR_TSC_DEADLINE) == UINT64_MAX);
    assert_false(timer_fires(now + 100));
}

static void test_timer_mode_changes(void **state)
{
    software_enable(l);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TMICT, 100);
    uint64_t deadline = l->timer_deadline;
    set(l, LAPIC_LVT_TIMER, 0x20040);
    assert_true(l->timer_deadline == deadline);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    set(l, LAPIC_LVT_TIMER, 0x50040); /* only masked */
    assert_true(l->timer_deadline == now + 5);
    set(l, LAPIC_LVT_TIMER, 0x40);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
    set(l, LAPIC_LVT_TIMER, 0x60040);
    set(l, LAPIC_TMICT, 100);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

static void test_divide_change_keeps_the_count(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 100);
    now += COUNT(40, 1);
    set(l, LAPIC_TDCR, 0);
    assert_int_equal(get(l, LAPIC_TMCCT), 60);
    now += COUNT(30, 2);
    assert_int_equal(get(l, LAPIC_TMCCT), 30);
    assert_true(timer_fires(now + COUNT(30, 2)));
}

static void test_tsc_moved(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40);
    set(l, LAPIC_TMICT, 100);
    now -= 500000;
    lapic_tsc_moved(l, (uint64_t)-500000);
    assert_int_equal(get(l, LAPIC_TMCCT), 100);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
    lapic_tsc_moved(l, 1000); /* a TSC deadline stays where it is */
    assert_true(l->timer_deadline == now + 5);
}

static void test_timer_at_the_end_of_time(void **state)
{
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 0xffffffff);
    lapic_run_timer(l, UINT64_MAX);
    lapic_run_timer(l, UINT64_MAX);
    now = UINT64_MAX - 5;
    set(l, LAPIC_TMICT, 0xffffffff);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF); /* it never comes, rather than at once */
    get(l, LAPIC_TMCCT);
    set(l, LAPIC_TDCR, 0);
    lapic_run_timer(l, UINT64_MAX);
    /* a TSC that jumped over the last period that fits */
    setup(NULL);
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TMICT, 0x80000000);
    lapic_run_timer(l, UINT64_MAX - 1);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
    /* hardware stores the count before software hears of it */
    set(l, LAPIC_TMICT, 100);
    pages[0][LAPIC_TMICT / 4] = 0;
    lapic_run_timer(l, UINT64_MAX - 1);
    assert_true(l->timer_deadline == LAPIC_TIMER_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_divide_configuration, setup),
        cmocka_unit_test_setup(test_one_shot, setup),
        cmocka_unit_test_setup(test_periodic_does_not_drift, setup),
        cmocka_unit_test_setup(test_tsc_deadline, setup),
        cmocka_unit_test_setup(test_timer_mode_changes, setup),
        cmocka_unit_test_setup(test_divide_change_keeps_the_count, setup),
        cmocka_unit_test_setup(test_tsc_moved, setup),
        cmocka_unit_test_setup(test_timer_at_the_end_of_time, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
