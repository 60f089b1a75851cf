/* links: guest/board/lapic*.c guest/board/state.c */
/* The local APIC's saved state: nothing is lost, and nothing that no guest could make is taken. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/mock_lapic.h"

static size_t save(struct lapic *from, uint8_t *data, size_t capacity)
{
    struct state_writer w = {.data = data, .capacity = capacity};

    lapic_save(from, &w);
    assert_true(w.used <= capacity);
    return w.used;
}

static void busy_state(void)
{
    software_enable(l);
    set(l, LAPIC_TPR, 0x20);
    set(l, LAPIC_LVT_TIMER, 0x20040);
    set(l, LAPIC_TDCR, 0xb);
    set(l, LAPIC_TMICT, 77);
    post(0x71, true);
    lapic_accept(l, 0x71);
    post(0x91, false);
    get(l, 0x500);
    lapic_post(l, 0xa2, true);
    lapic_set_lint(l, 1, true);
}

static void test_save_and_load(void **state)
{
    uint8_t first[1024], second[1024];

    for (unsigned mode = 0; mode < 3; mode++) {
        setup(NULL);
        busy_state();
        if (mode == 1) {
            x2apic(l);
            assert_int_equal(wrmsr(0x830, 3ULL << 32 | 0x4041), 0);
        } else if (mode == 2) {
            set(l, LAPIC_LVT_TIMER, 0x40040);
            assert_int_equal(wrmsr(MSR_TSC_DEADLINE, now + 5), 0);
        }
        size_t size = save(l, first, sizeof(first));
        uint32_t count = get(l, LAPIC_TMCCT);
        assert_int_equal(count, mode == 2 ? 0 : 77);
        lapic_update_ppr(l);
        static uint32_t before[PAGE_SIZE / 4];
        memcpy(before, pages[0], sizeof(before));
        memset(pages[0], 0x5a, sizeof(pages[0]));
        lapic_init(l, pages[0], 0, true, BUS_SHIFT);
        struct state_reader r = {.data = first, .size = size};
        assert_int_equal(lapic_load(l, &r), 0);
        assert_memory_equal(before, pages[0], sizeof(before));
        assert_int_equal(get(l, LAPIC_TMCCT), count); /* at the same rate */
        assert_int_equal(save(l, second, sizeof(second)), size);
        assert_memory_equal(first, second, size);
        lapic_sync(l);
        assert_int_equal(lapic_pending_vector(l), 0xa2);
    }
}

static bool loads(void)
{
    uint8_t data[1024];
    size_t size = save(l, data, sizeof(data));
    struct state_reader r = {.data = data, .size = size};

    return lapic_load(l, &r) == 0;
}

static void test_load_refuses(void **state)
{
    uint8_t good[1024], bad[1024];

    busy_state();
    size_t size = save(l, good, sizeof(good));
    for (size_t cut = 0; cut < size; cut++) {
        struct state_reader r = {.data = good, .size = cut};
        assert_int_equal(lapic_load(l, &r), -EBADMSG);
    }
    check_reset_state();
    /* any byte: either refused, or loads to a state that saves to the very same bytes */
    for (size_t i = 0; i < size; i++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t again[1024];
            memcpy(bad, good, size);
            bad[i] = (uint8_t)value;
            struct state_reader r = {.data = bad, .size = size};
            if (lapic_load(l, &r) == 0) {
                assert_int_equal(save(l, again, sizeof(again)), size);
                assert_memory_equal(bad, again, size);
            } else {
                assert_true(l->base == (LAPIC_BASE | APIC_BASE_BSP | APIC_BASE_ENABLE));
                assert_true(loads());
            }
        }
    }
    struct state_reader r = {.data = good, .size = size};
    assert_int_equal(lapic_load(&lapics[1], &r), -EBADMSG); /* another id */
}

static void test_load_refuses_what_no_guest_makes(void **state)
{
    static const struct {
        uint16_t offset;
        uint32_t bits;
    } bad[] = {
        {LAPIC_TPR, 0x100},          {LAPIC_LDR, 1},
        {LAPIC_SVR, 0x1000},         {LAPIC_ESR, 1},
        {LAPIC_ICR, 0x1000},         {LAPIC_ICR + 4, 1},
        {LAPIC_ICR_HIGH, 1},         {LAPIC_LVT_TIMER, 0x80000},
        {LAPIC_LVT_THERMAL, 0x8000}, {LAPIC_LVT_PERF, 0x2000},
        {LAPIC_LVT_LINT0, 0x4000},   {LAPIC_LVT_LINT1, 0x1000},
        {LAPIC_LVT_ERROR, 0x100},    {LAPIC_TDCR, 4},
        {LAPIC_ISR, 0x8000},         {LAPIC_TMR, 1},
        {LAPIC_IRR, 0x10},
    };

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        setup(NULL);
        busy_state();
        assert_true(loads());
        pages[0][bad[i].offset / 4] |= bad[i].bits;
        assert_false(loads());
        check_reset_state();
    }
    setup(NULL);
    pages[0][LAPIC_LVT_ERROR / 4] = 0x30; /* unmasked although software-disabled */
    assert_false(loads());
    pages[0][LAPIC_DFR / 4] = 0xf0000000;
    assert_false(loads());
    l->esr_pending = 1;
    assert_false(loads());
    l->lint = 4;
    assert_false(loads());
    l->lint = 0;
    l->posted.pir[0] = 1;
    assert_false(loads());
    l->base = LAPIC_BASE | APIC_BASE_EXTD;
    assert_false(loads());
    l->base = BIT(52) | APIC_BASE_ENABLE;
    assert_false(loads());
    lapic_init(l, pages[0], 0, true, BUS_SHIFT);
    l->timer_deadline = 5; /* with no count to go by */
    assert_false(loads());
    l->tsc_deadline = 5; /* in one-shot mode */
    assert_false(loads());
    software_enable(l);
    set(l, LAPIC_LVT_TIMER, 0x40040);
    assert_int_equal(wrmsr(MSR_TSC_DEADLINE, 5), 0);
    l->timer_deadline = 6;
    assert_false(loads());
    x2apic(l);
    assert_true(loads());
    pages[0][LAPIC_LDR / 4] = 2;
    assert_false(loads());
    check_reset_state();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_save_and_load, setup),
        cmocka_unit_test_setup(test_load_refuses, setup),
        cmocka_unit_test_setup(test_load_refuses_what_no_guest_makes, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
