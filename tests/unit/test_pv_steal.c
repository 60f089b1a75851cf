/* links: guest/cpu/pv.c guest/cpu/pv_page.c guest/cpu/pv_state.c guest/board/state.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/* KVM's steal time, the flushes that are left for vCPUs that are away, and kicks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/pv_machine.h"

/* --- steal time --- */

struct guest_steal {
    uint64_t steal;
    uint32_t version, flags;
    uint8_t preempted, pad[47];
};

static struct guest_steal steal_of(unsigned cpu)
{
    struct guest_steal s;

    assert_int_equal(guest_memory_read(&vm.memory, page_of(cpu), &s, sizeof(s)), 0);
    assert_int_equal(s.version % 2, 0);
    return s;
}

static void steal_on(unsigned cpu)
{
    const struct guest_steal zero = {0};

    assert_int_equal(guest_memory_write(&vm.memory, page_of(cpu), &zero, sizeof(zero)), 0);
    write_msr(cpu, PV_MSR_STEAL, page_of(cpu) | PV_ON);
}

/* A vCPU that finds that one away and has something for it to forget; whether it need not send an
 * interrupt. */
static bool guest_leaves_flush(unsigned cpu)
{
    struct guest_steal s = steal_of(cpu);

    if (!(s.preempted & 1))
        return false;
    uint8_t old;
    assert_int_equal(guest_memory_exchange(&vm.memory, page_of(cpu) + 16, s.preempted | 2, &old),
                     0);
    return true;
}

static void steal_counts_what_it_waited(void **state)
{
    struct sched_stats *stats = &vcpus[1].task.sched.stats;

    *stats = (struct sched_stats){.waited = 5 * tsc_hz, .parked = tsc_hz, .ran = 9 * tsc_hz};
    steal_on(1);
    assert_int_equal(steal_of(1).steal, 0); /* what was before is not told */
    assert_int_not_equal(steal_of(1).version, 0);
    uint64_t ns = 0, version = steal_of(1).version;
    for (unsigned n = 1; n < 40; n++) {
        pv_stops(&vcpus[1]);
        assert_int_equal(steal_of(1).preempted, PV_PREEMPTED);
        stats->waited += n % 3 ? tsc_hz / 1000 * n + 1 : 0;
        stats->parked += n % 3 == 1 ? 7 * n : 0;
        stats->ran += 3 * tsc_hz;
        pv_runs(&vcpus[1]);
        assert_int_equal(steal_of(1).preempted, 0);
        ns = tsc_to_ns(stats->waited + stats->parked) - 6000000000;
        assert_int_equal(steal_of(1).steal, ns);
        /* nothing new, nothing to read again */
        assert_int_equal(steal_of(1).version != version, n % 3 != 0);
        version = steal_of(1).version;
    }
    assert_int_equal(vcpus[1].pv.stolen, ns);
    /* off: nothing any more */
    write_msr(1, PV_MSR_STEAL, 0);
    struct guest_steal was = steal_of(1), is;
    stats->waited += tsc_hz;
    pv_stops(&vcpus[1]);
    pv_runs(&vcpus[1]);
    is = steal_of(1);
    assert_memory_equal(&was, &is, sizeof(is));
    /* and on again: it goes on where the guest's page says */
    write_msr(1, PV_MSR_STEAL, page_of(1) | PV_ON);
    assert_int_equal(steal_of(1).steal, ns);
    assert_int_equal(flushed, 0);
}

static void flushes_are_left_and_found(void **state)
{
    steal_on(0);
    assert_false(guest_leaves_flush(0));
    pv_stops(&vcpus[0]);
    assert_true(guest_leaves_flush(0));
    assert_true(guest_leaves_flush(0));
    assert_int_equal(flushed, 0);
    pv_runs(&vcpus[0]);
    assert_int_equal(flushed, 1);
    assert_int_equal(steal_of(0).preempted, 0);
    pv_stops(&vcpus[0]);
    pv_runs(&vcpus[0]);
    assert_int_equal(flushed, 1);
    assert_int_equal(vcpus[0].pv.flushes, 1);
    /* what stands there when it is switched on counts, too: it might be a kept one */
    pv_stops(&vcpus[0]);
    assert_true(guest_leaves_flush(0));
    pv_reset(&vcpus[0].pv);
    pv_runs(&vcpus[0]);
    assert_int_equal(flushed, 1);
    write_msr(0, PV_MSR_STEAL, page_of(0) | PV_ON);
    assert_int_equal(flushed, 2);
    /* where that is not offered the flag means nothing */
    vcpus[0].pv.offered &= ~PV_TLB_FLUSH;
    pv_stops(&vcpus[0]);
    assert_true(guest_leaves_flush(0));
    pv_runs(&vcpus[0]);
    assert_int_equal(flushed, 2);
}

static void bad_steal_values(void **state)
{
    static const uint64_t nowhere[] = {RAM, BIT(40), BIT(46), BIT(63), ~0x3fULL, 0xfee00000};

    for (unsigned bit = 1; bit < 6; bit++) {
        refused(PV_MSR_STEAL, PAGE | BIT(bit) | PV_ON);
        refused(PV_MSR_STEAL, PAGE | BIT(bit));
    }
    for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
        refused(PV_MSR_STEAL, nowhere[i] | PV_ON);
        write_msr(0, PV_MSR_STEAL, nowhere[i]); /* off: nobody looks there */
    }
    write_msr(0, PV_MSR_STEAL, (RAM - 64) | PV_ON);
}

/* Its page goes to a ROM, and comes back. */
static void a_steal_page_that_goes(void **state)
{
    const struct guest_memory_layer rom = {.gpa = ALIGN_DOWN(PAGE, PAGE_SIZE),
                                           .size = PAGE_SIZE,
                                           .from = ALIGN_DOWN(PAGE, PAGE_SIZE),
                                           .shows = GUEST_LAYER_RAM,
                                           .over_ram = true};

    steal_on(0);
    assert_int_equal(guest_memory_make_room(&vm.memory), 0);
    guest_memory_set_layers(&vm.memory, &rom, 1);
    struct guest_steal was = steal_of(0), is;
    pv_stops(&vcpus[0]);
    vcpus[0].task.sched.stats.waited += tsc_hz;
    pv_runs(&vcpus[0]);
    is = steal_of(0);
    assert_memory_equal(&was, &is, sizeof(is));
    refused(PV_MSR_STEAL, page_of(1) | PV_ON);
    guest_memory_set_layers(&vm.memory, NULL, 0);
    pv_stops(&vcpus[0]);
    vcpus[0].task.sched.stats.waited += tsc_hz;
    pv_runs(&vcpus[0]);
    assert_int_equal(steal_of(0).steal, 1000000000);
}

/* --- kicks --- */

static void kicks_are_not_lost(void **state)
{
    struct vcpu *v = &vcpus[0];

    /* while it is halted: it goes on, and the next HLT is one */
    v->halted = true;
    pv_serve(v, REQUEST_UNHALT);
    assert_false(v->halted);
    v->halted = true;
    assert_false(pv_unhalts(v));
    assert_true(v->halted);
    /* before: the next HLT is none, and the one after that is */
    v->halted = false;
    pv_serve(v, REQUEST_UNHALT);
    pv_serve(v, REQUEST_UNHALT | REQUEST_CLOCK);
    assert_false(pv_unhalts(v)); /* it waits for something else */
    v->halted = true;
    assert_true(pv_unhalts(v));
    assert_false(v->halted);
    v->halted = true;
    assert_false(pv_unhalts(v));
    v->halted = false;
    pv_serve(v, REQUEST_UNHALT);
    pv_reset(&v->pv);
    v->halted = true;
    assert_false(pv_unhalts(v));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(steal_counts_what_it_waited), TEST(flushes_are_left_and_found), TEST(bad_steal_values),
        TEST(a_steal_page_that_goes),      TEST(kicks_are_not_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
