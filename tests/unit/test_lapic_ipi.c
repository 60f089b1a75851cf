/* links: guest/board/lapic*.c guest/board/state.c */
/* SDM "Issuing Interprocessor Interrupts": who gets a message; posting from another CPU. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "tests/unit/mock_lapic.h"

static void test_self_ipi(void **state)
{
    x2apic(l);
    assert_int_equal(wrmsr(0x83f, 0x55), 0);
    assert_int_equal(lapic_pending_vector(l), 0x55);
    lapic_accept(l, 0x55);
    assert_int_equal(wrmsr(0x80b, 0), 0);
    assert_int_equal(wrmsr(0x830, 1 << 18 | 0x56), 0);
    assert_int_equal(lapic_pending_vector(l), 0x56);
    lapic_accept(l, 0x56);
    assert_int_equal(wrmsr(0x80b, 0), 0);
    assert_int_equal(wrmsr(0x830, 0x57), 0); /* physical, to its own id */
    assert_int_equal(lapic_pending_vector(l), 0x57);
    assert_int_equal(sent, 0);
    assert_int_equal(notified[0], 0);
    assert_int_equal(wrmsr(0x830, 1ULL << 32 | 1 << 11 | 0x58), 0); /* logical */
    assert_int_equal(sent, 1);
    lapic_sync(l);
    assert_int_equal(lapic_pending_vector(l), 0x58);
}

static unsigned receivers(uint32_t icr_high, uint32_t icr)
{
    unsigned mask = 0;

    set(l, LAPIC_ICR_HIGH, icr_high);
    set(l, LAPIC_ICR, icr);
    for (unsigned i = 0; i < CPUS; i++) {
        lapic_sync(&lapics[i]);
        int vector = lapic_pending_vector(&lapics[i]);
        if (vector >= 0) {
            mask |= 1u << i;
            lapic_accept(&lapics[i], (uint8_t)vector);
            lapic_eoi(&lapics[i]);
        }
    }
    return mask;
}

static void test_destinations(void **state)
{
    for (unsigned i = 0; i < CPUS; i++) {
        software_enable(&lapics[i]);
        set(&lapics[i], LAPIC_LDR, 1u << (24 + i));
    }
    assert_int_equal(receivers(2u << 24, 0x4040), 4);
    assert_int_equal(receivers(9u << 24, 0x4040), 0);
    assert_int_equal(receivers(0xffu << 24, 0x4040), 0xf);
    assert_int_equal(receivers(0, 0x4040 | 1 << 18), 1);
    assert_int_equal(receivers(0, 0x4040 | 2 << 18), 0xf);
    assert_int_equal(receivers(0, 0x4040 | 3 << 18), 0xe);
    assert_int_equal(receivers(0xau << 24, 0x4840), 0xa);
    assert_int_equal(receivers(0xffu << 24, 0x4840), 0xf);
    for (unsigned i = 0; i < CPUS; i++) { /* two clusters of two */
        set(&lapics[i], LAPIC_DFR, 0);
        set(&lapics[i], LAPIC_LDR, (i / 2) << 28 | 1u << (24 + i % 2));
    }
    assert_int_equal(receivers(0x13u << 24, 0x4840), 0xc);
    assert_int_equal(receivers(0x01u << 24, 0x4840), 1);
    assert_int_equal(receivers(0x0cu << 24, 0x4840), 0);
    assert_int_equal(receivers(0xffu << 24, 0x4840), 0xf);
    /* combinations that the SDM calls invalid go nowhere */
    assert_int_equal(receivers(0, 0x4140 | 1 << 18), 0);
    assert_int_equal(receivers(0, 0x4140 | 2 << 18), 0);
    assert_int_equal(receivers(2u << 24, 0x4340), 0);
    assert_int_equal(receivers(2u << 24, 0x4740), 0);
}

/* SDM "Logical Destination Mode in x2APIC Mode": sixteen in a cluster, by the id. */
static void test_x2apic_clusters(void **state)
{
    static uint32_t page[PAGE_SIZE / 4];
    struct lapic far;

    lapic_init(&far, page, 0x1d, false, BUS_SHIFT);
    x2apic(&far);
    assert_int_equal(lapic_register(&far, LAPIC_LDR), 0x12000);
    assert_true(lapic_matches(&far, 0x12000, true));
    assert_true(lapic_matches(&far, 0x1f00f, true));
    assert_false(lapic_matches(&far, 0x1dfff, true));
    assert_false(lapic_matches(&far, 0x02000, true));
    assert_false(lapic_matches(&far, 0x2ffff, true));
    assert_true(lapic_matches(&far, APIC_BROADCAST, true));
}

static void test_lowest_priority(void **state)
{
    for (unsigned i = 0; i < CPUS; i++) {
        software_enable(&lapics[i]);
        set(&lapics[i], LAPIC_TPR, i == 2 ? 0x10 : 0x20);
    }
    assert_int_equal(receivers(0xffu << 24, 0x4140), 4);
    set(&lapics[2], LAPIC_SVR, 0xff);
    assert_int_equal(receivers(0xffu << 24, 0x4140), 1);
}

static void test_init_and_startup(void **state)
{
    set(l, LAPIC_ICR_HIGH, 3u << 24);
    set(l, LAPIC_ICR, 0xc500); /* INIT, level, assert */
    assert_int_equal(events, 1);
    assert_int_equal(event_cpu, 3);
    assert_int_equal(event_mode, APIC_INIT);
    set(l, LAPIC_ICR, 0x8500); /* de-assert */
    assert_int_equal(events, 1);
    set(l, LAPIC_ICR, 0x4608); /* start-up at 8000h: vector 8 is no illegal vector */
    assert_int_equal(events, 2);
    assert_int_equal(event_mode, APIC_STARTUP);
    assert_int_equal(event_vector, 8);
    set(l, LAPIC_ICR, 0x4400);
    assert_int_equal(event_mode, APIC_NMI);
    set(l, LAPIC_ICR, 0x4200);
    assert_int_equal(event_mode, APIC_SMI);
    set(l, LAPIC_ICR, 0xc500 | 3 << 18);
    assert_int_equal(events, 7);
    /* one that is switched off hears nothing any more */
    assert_int_equal(lapic_msr_write(&lapics[3], MSR_APIC_BASE, LAPIC_BASE), 0);
    set(l, LAPIC_ICR, 0xc500);
    set(l, LAPIC_ICR, 0x4400);
    assert_int_equal(events, 7);
    set(l, LAPIC_ICR, 0xc500 | 3 << 18);
    assert_int_equal(events, 9);
}

static void test_message_from_io_apic(void **state)
{
    const struct apic_message level = {.dest = 1, .vector = 0x61, .level = true};
    const struct apic_message nobody = {.dest = 7, .vector = 0x61, .level = true};

    assert_false(apic_route(all, CPUS, NULL, &level)); /* software-disabled */
    software_enable(&lapics[1]);
    assert_true(apic_route(all, CPUS, NULL, &level));
    assert_false(apic_route(all, CPUS, NULL, &nobody));
    lapic_sync(&lapics[1]);
    assert_int_equal(lapic_pending_vector(&lapics[1]), 0x61);
    lapic_accept(&lapics[1], 0x61);
    lapic_eoi(&lapics[1]);
    assert_int_equal(eoi_vector, 0x61);
}

/* The 8259s' INTR at LINT0 of one that is not the boot processor's. */
static void an_extint_lint0_lets_the_8259_through(void **state)
{
    struct lapic *second = &lapics[1];

    assert_false(lapic_external_pending(second));
    lapic_set_lint(second, 0, true);
    assert_true(lapic_lint0(second));
    assert_false(lapic_external_pending(second)); /* masked */
    lapic_mmio_write(second, LAPIC_SVR, 4, 0x1ff);
    lapic_mmio_write(second, LAPIC_LVT_LINT0, 4, 0x700);
    assert_true(lapic_external_pending(second));
    lapic_mmio_write(second, LAPIC_LVT_LINT0, 4, 0x400); /* an NMI's, once */
    assert_false(lapic_external_pending(second));
    lapic_mmio_write(second, LAPIC_LVT_LINT0, 4, 0x10700);
    assert_false(lapic_external_pending(second));
    assert_int_equal(lapic_msr_write(second, MSR_APIC_BASE, LAPIC_BASE), 0);
    assert_true(lapic_external_pending(second)); /* past an APIC that is off */
    lapic_set_lint(second, 0, false);
    assert_false(lapic_external_pending(second));
}

static void test_local_pins(void **state)
{
    software_enable(l);
    lapic_set_lint(l, 0, true); /* masked: lost */
    set(l, LAPIC_LVT_LINT0, 0x35);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_set_lint(l, 0, true);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), -1);
    lapic_set_lint(l, 0, false);
    lapic_set_lint(l, 0, true);
    lapic_sync(l);
    assert_int_equal(lapic_highest_irr(l), 0x35);
    set(l, LAPIC_LVT_LINT1, 0x400);
    lapic_set_lint(l, 1, true);
    assert_int_equal(events, 1);
    assert_int_equal(event_mode, APIC_NMI);
}

/* --- two CPUs at once --- */

#define ROUNDS 200000u
#define SECONDS                                                                                    \
    20 /* on a busy machine fewer rounds: each yield may wait for all others' slices               \
        */

struct post {
    unsigned taken, posted; /* atomic; posted: 0 until all that will be is */
};

static void *poster(void *arg)
{
    struct post *p = arg;
    time_t until = time(NULL) + SECONDS;
    unsigned i = 0;

    for (; i < ROUNDS && (i < 1000 || time(NULL) < until); i++) {
        lapic_post(l, (uint8_t)(16 + i % 240), i & 1);
        while (__atomic_load_n(&p->taken, __ATOMIC_ACQUIRE) + 3 < i) {
            sched_yield(); /* at most a few ahead, so that each vector is seen by itself */
        }
    }
    __atomic_store_n(&p->posted, i, __ATOMIC_RELEASE);
    return NULL;
}

static void test_no_vector_is_lost(void **state)
{
    struct post p = {0, 0};
    unsigned posted;
    pthread_t thread;

    software_enable(l);
    assert_int_equal(pthread_create(&thread, NULL, poster, &p), 0);
    time_t progress = time(NULL);
    do {
        posted = __atomic_load_n(&p.posted, __ATOMIC_ACQUIRE);
        lapic_sync(l);
        for (int vector = lapic_pending_vector(l); vector >= 0; vector = lapic_pending_vector(l)) {
            lapic_accept(l, (uint8_t)vector);
            lapic_eoi(l);
            __atomic_store_n(&p.taken, p.taken + 1, __ATOMIC_RELEASE);
            progress = time(NULL);
        }
        sched_yield();
    } while ((!posted || p.taken < posted) && time(NULL) < progress + 20);
    assert_true(posted > 0);
    assert_int_equal(p.taken, posted);
    pthread_join(thread, NULL);
    assert_int_equal(eois, posted / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_extint_lint0_lets_the_8259_through, setup),
        cmocka_unit_test_setup(test_self_ipi, setup),
        cmocka_unit_test_setup(test_destinations, setup),
        cmocka_unit_test_setup(test_x2apic_clusters, setup),
        cmocka_unit_test_setup(test_lowest_priority, setup),
        cmocka_unit_test_setup(test_init_and_startup, setup),
        cmocka_unit_test_setup(test_message_from_io_apic, setup),
        cmocka_unit_test_setup(test_local_pins, setup),
        cmocka_unit_test_setup(test_no_vector_is_lost, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
