/* links: guest/cpu/pv.c guest/cpu/pv_page.c guest/cpu/pv_state.c guest/board/state.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/* KVM's paravirtual clock, with a model of the guest's side, which reads its pages; and the state
 * of all its interfaces. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/unit/pv_machine.h"

/* --- the guest's side --- */

struct guest_time {
    uint32_t version, pad;
    uint64_t tsc, ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, pads[2];
} PACKED;

struct guest_wall {
    uint32_t version, seconds, ns;
} PACKED;

static struct guest_time time_at(uint64_t gpa)
{
    struct guest_time t;

    assert_int_equal(guest_memory_read(&vm.memory, gpa, &t, sizeof(t)), 0);
    return t;
}

/* What a vCPU's clock says now, by the page of another one or its own; written from the definition
 * of the format. */
static uint64_t clock_by(unsigned cpu, unsigned page)
{
    struct guest_time t = time_at(page_of(page));
    uint64_t ticks = now + vcpus[cpu].lapic.tsc_offset - t.tsc;

    assert_int_equal(t.version % 2, 0);
    assert_int_not_equal(t.version, 0);
    ticks = t.shift >= 0 ? ticks << t.shift : ticks >> -t.shift;
    return t.ns + (uint64_t)((unsigned __int128)ticks * t.multiplier >> 32);
}

static bool marked_stable(unsigned cpu)
{
    return time_at(page_of(cpu)).flags & 1;
}

static void clocks_on(void)
{
    for (unsigned i = 0; i < CPUS; i++)
        write_msr(i, PV_MSR_CLOCK, page_of(i) | PV_ON);
}

/* All show the same, and what the board's clock has counted since RESET. */
static void check_clocks(void)
{
    uint64_t ticks = now + board.tsc_offset - vm.pv.clock_start;
    double exact = (double)ticks * 1e9 / (double)tsc_hz;
    uint64_t first = clock_by(0, 0);

    assert_true((double)first <= exact + 1 && (double)first > exact - 2 - exact / (1U << 30));
    for (unsigned i = 0; i < CPUS; i++) {
        assert_int_equal(clock_by(i, i), first);
        if (marked_stable(i)) /* then by any page */
            assert_int_equal(clock_by((i + 1) % CPUS, i), first);
    }
}

/* --- the clock --- */

static void rates(void **state)
{
    static const uint64_t hz[] = {1,          1000000,    400000000,  999999999,
                                  1000000000, 1000000001, 2000000000, 2000000001,
                                  2499999993, 5000000000, BIT(40),    BIT(62)};

    for (unsigned i = 0; i < ARRAY_SIZE(hz); i++) {
        struct pv_rate r = pv_rate(hz[i]);
        /* all 32 bits of it count */
        assert_true(r.multiplier >= BIT(31));
        uint64_t ten = hz[i] < BIT(60) ? hz[i] * 10 : hz[i];
        uint64_t ns = pv_ns(r, ten), exact = hz[i] < BIT(60) ? 10000000000 : 1000000000;
        assert_uint_in_range(ns, exact - exact / BIT(31) - 1 - 1000000000 / hz[i], exact);
    }
    assert_int_equal(pv_ns(pv_rate(1000000000), 123456789), 123456789);
}

static void clock_goes_on(void **state)
{
    clocks_on();
    check_clocks();
    assert_true(marked_stable(0) && marked_stable(1) && marked_stable(2));
    uint64_t before = clock_by(0, 0);
    assert_int_equal(before, 0); /* no tick since RESET */
    for (unsigned n = 0; n < 50; n++) {
        now += tsc_hz * n * n / 7 + n;
        assert_true(clock_by(0, 0) >= before);
        before = clock_by(0, 0);
        check_clocks();
        /* the others come later */
        write_msr(n % CPUS, PV_MSR_CLOCK, page_of(n % CPUS) | PV_ON);
        check_clocks();
    }
    assert_int_equal(vcpus[0].pv.clocks_written, 1 + 17);
}

/* vm_move_clock(): nobody writes anything, and no time has passed. */
static void clock_stands_in_a_pause(void **state)
{
    clocks_on();
    now += tsc_hz;
    uint64_t before = clock_by(1, 1);
    now += 3600 * tsc_hz;
    board.tsc_offset -= 3600 * tsc_hz;
    for (unsigned i = 0; i < CPUS; i++)
        vcpus[i].lapic.tsc_offset -= 3600 * tsc_hz;
    assert_int_equal(clock_by(1, 1), before);
    check_clocks();
}

static void clock_when_the_guest_moves_its_tsc(void **state)
{
    clocks_on();
    now += 5 * tsc_hz;
    uint64_t before = clock_by(1, 1);
    vcpus[1].lapic.tsc_offset += 77 * tsc_hz;
    pv_tsc_moved(&vcpus[1]);
    assert_int_equal(clock_by(1, 1), before);
    check_clocks();
    for (unsigned i = 0; i < CPUS; i++)
        assert_false(marked_stable(i));
    vcpus[1].lapic.tsc_offset -= 77 * tsc_hz;
    pv_tsc_moved(&vcpus[1]);
    check_clocks();
    assert_true(marked_stable(0) && marked_stable(1) && marked_stable(2));
    /* one whose clock is off is left alone */
    write_msr(2, PV_MSR_CLOCK, page_of(2));
    struct guest_time was = time_at(page_of(2)), is;
    vcpus[2].lapic.tsc_offset -= 7;
    pv_tsc_moved(&vcpus[2]);
    is = time_at(page_of(2));
    assert_memory_equal(&was, &is, sizeof(was));
}

static void clock_of_uneven_processors(void **state)
{
    teardown(state);
    begin(BIT(CONFIG_PV_CLOCK), false);
    assert_int_equal(said, 1);
    clocks_on();
    now += tsc_hz;
    check_clocks();
    assert_false(marked_stable(0));
    teardown(state);
    processors[1].tsc_skew = -300;
    begin(BIT(CONFIG_PV_CLOCK), true);
    assert_int_equal(said, 2);
    clocks_on();
    check_clocks();
    assert_false(marked_stable(2));
    assert_int_equal(vcpus[0].pv.offered, PV_CLOCK | PV_CLOCK_STABLE);
}

static void wall_clock(void **state)
{
    struct guest_wall w;

    clocks_on();
    for (unsigned n = 0; n < 5; n++) {
        now += 12 * tsc_hz + 345678;
        write_msr(1, PV_MSR_WALL_CLOCK, PAGE + 0x104);
        assert_int_equal(guest_memory_read(&vm.memory, PAGE + 0x104, &w, sizeof(w)), 0);
        assert_int_equal(w.version % 2, 0);
        assert_true(w.ns < 1000000000);
        /* added to the clock it gives the time of day, to the microsecond */
        uint64_t day = (uint64_t)w.seconds * 1000000000 + w.ns + clock_by(0, 0);
        uint64_t exact = (DAY + now / tsc_hz) * 1000000000ULL + now % tsc_hz * 2 / 5;
        assert_uint_in_range(day, exact - 2000, exact + 2000);
    }
    write_msr(1, PV_MSR_WALL_CLOCK, 0); /* says where no page is */
}

/* Whatever the page holds before. */
static void versions_of_junk(void **state)
{
    static const uint32_t junk[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffd, 0xfffffffe, ~0u};

    for (unsigned i = 0; i < ARRAY_SIZE(junk); i++) {
        assert_int_equal(guest_memory_store(&vm.memory, PAGE, 4, junk[i]), 0);
        write_msr(0, PV_MSR_CLOCK, PAGE | PV_ON);
        assert_int_equal(time_at(PAGE).version % 2, 0);
        assert_int_not_equal(time_at(PAGE).version, junk[i]);
    }
}

/* --- what is wrong --- */

static void bad_clock_values(void **state)
{
    uint64_t value;

    refused(PV_MSR_CLOCK, PAGE | 2);
    refused(PV_MSR_CLOCK, PAGE | 3);
    for (unsigned i = 1; i < 4; i++)
        refused(PV_MSR_WALL_CLOCK, PAGE | i);
    assert_int_equal(pv_write_msr(&vcpus[0], 0x4b564d0f, 0), -EINVAL);
    assert_int_equal(pv_read_msr(&vcpus[0], 0x4b564d0f, &value), -EINVAL);
}

/* No memory, or not all of it: nothing is written, and nobody is hurt. */
static void pages_that_are_not_there(void **state)
{
    static const uint64_t nowhere[] = {RAM,           RAM - 4,         RAM - 28,  BIT(40),
                                       BIT(46),       ~0x1fULL,        ~3ULL - 8, 0xfee00000,
                                       BIT(63) + 256, RAM + MIB + 0xf0};
    uint8_t before[64], after[64];

    assert_int_equal(guest_memory_read(&vm.memory, RAM - 64, before, sizeof(before)), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
        write_msr(0, PV_MSR_CLOCK, nowhere[i] | PV_ON);
        if (nowhere[i] != RAM - 28 && nowhere[i] != RAM - 4)
            write_msr(0, PV_MSR_WALL_CLOCK, nowhere[i]);
    }
    assert_int_equal(vcpus[0].pv.clocks_written, 0);
    assert_int_equal(guest_memory_read(&vm.memory, RAM - 64, after, sizeof(after)), 0);
    assert_memory_equal(before, after, 64 - 28);
    /* across two blocks it is */
    write_msr(0, PV_MSR_CLOCK, CROSS | PV_ON);
    assert_int_equal(vcpus[0].pv.clocks_written, 1);
    assert_int_equal(time_at(CROSS).version % 2, 0);
    /* ROM that comes to lie over it is not written */
    const struct guest_memory_layer rom = {.gpa = ALIGN_DOWN(PAGE, PAGE_SIZE),
                                           .size = PAGE_SIZE,
                                           .from = ALIGN_DOWN(PAGE, PAGE_SIZE),
                                           .shows = GUEST_LAYER_RAM,
                                           .over_ram = true};
    write_msr(0, PV_MSR_CLOCK, PAGE | PV_ON);
    assert_int_equal(guest_memory_make_room(&vm.memory), 0);
    guest_memory_set_layers(&vm.memory, &rom, 1);
    struct guest_time was = time_at(PAGE), is;
    pv_serve(&vcpus[0], REQUEST_CLOCK);
    is = time_at(PAGE);
    assert_memory_equal(&was, &is, sizeof(was));
}

static void bad_values_of_others(void **state)
{
    static const uint64_t nowhere[] = {RAM, BIT(40), BIT(46), BIT(63), ~3ULL - 4, 0xfee00000};
    uint8_t byte = 0xff;

    vcpus[0].pv.offered &= ~(uint32_t)PV_CALLS; /* for which exits are wrapped, too */
    for (unsigned bit = 1; bit < 64; bit++)
        refused(PV_MSR_POLL, BIT(bit) | 1);
    write_msr(0, PV_MSR_POLL, 0);
    write_msr(0, PV_MSR_POLL, 1);
    refused(PV_MSR_EOI, PAGE | 2);
    refused(PV_MSR_EOI, PAGE | 3);
    for (unsigned i = 0; i < ARRAY_SIZE(nowhere); i++) {
        refused(PV_MSR_EOI, nowhere[i] | PV_ON);
        write_msr(0, PV_MSR_EOI, nowhere[i]); /* off: nobody looks there */
        assert_false(vcpus[0].hw.wrapped);
    }
    assert_int_equal(guest_memory_write(&vm.memory, RAM - 4, &byte, 1), 0);
    write_msr(0, PV_MSR_EOI, (RAM - 4) | PV_ON);
    assert_true(vcpus[0].hw.wrapped);
    assert_int_equal(guest_memory_read(&vm.memory, RAM - 4, &byte, 1), 0);
    assert_int_equal(byte, 0);
}

/* --- its state --- */

static void offers(void **state)
{
    assert_int_equal(pv_offered(0), 0);
    assert_int_equal(pv_offered(BIT(CONFIG_PV_NONE)), 0);
    assert_int_equal(pv_offered(BIT(CONFIG_PV_NONE) | BIT(CONFIG_PV_ALL) | 1), 0);
    assert_int_equal(pv_offered(BIT(CONFIG_PV_IO_DELAY)), PV_IO_DELAY);
    /* EOIs are the hardware's where that completes interrupts in each mode of the local APIC */
    assert_true(vcpus[0].pv.offered & PV_EOI);
    vmx_features.vid = true;
    pv_offer(&vcpus[0]);
    assert_true(vcpus[0].pv.offered & PV_EOI);
    vmx_features.virtualize_x2apic = true;
    pv_offer(&vcpus[0]);
    assert_int_equal(vcpus[0].pv.offered, pv_offered(config.pv) & ~PV_EOI);
    for (unsigned i = 0; i < CONFIG_PV_COUNT; i++) {
        assert_int_not_equal(pv_offered(BIT(i)), 0);
        assert_int_equal(pv_offered(BIT(i)) & ~pv_offered(BIT(CONFIG_PV_ALL)), 0);
    }
}

static void saved_and_loaded(void **state)
{
    uint8_t data[512], bad[512];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r;
    struct pv_vcpu loaded = {.offered = vcpus[0].pv.offered};

    write_msr(0, PV_MSR_CLOCK, PAGE | PV_ON);
    write_msr(0, PV_MSR_WALL_CLOCK, PAGE + 0x100);
    write_msr(0, PV_MSR_STEAL, (PAGE + 0xc0) | PV_ON);
    write_msr(0, PV_MSR_EOI, (PAGE + 0x104) | PV_ON);
    write_msr(0, PV_MSR_POLL, 0);
    vcpus[0].pv.kicked = true;
    pv_save(&vcpus[0].pv, &w);
    r = (struct state_reader){.data = data, .size = w.used};
    assert_int_equal(pv_load(&loaded, &r), 0);
    assert_int_equal(loaded.clock, PAGE | PV_ON);
    assert_int_equal(loaded.wall_clock, PAGE + 0x100);
    assert_int_equal(loaded.steal, (PAGE + 0xc0) | PV_ON);
    assert_int_equal(loaded.eoi, (PAGE + 0x104) | PV_ON);
    assert_int_equal(loaded.poll, 0);
    assert_true(loaded.kicked);
    pv_reset(&loaded);
    assert_int_equal(loaded.clock | loaded.wall_clock | loaded.steal | loaded.eoi, 0);
    assert_int_equal(loaded.poll, 1);
    const struct pv_vcpu before = loaded;
    for (size_t size = 0; size < w.used; size++) {
        r = (struct state_reader){.data = data, .size = size};
        assert_int_equal(pv_load(&loaded, &r), -EBADMSG);
    }
    /* values that WRMSR refuses, in any place */
    for (size_t at = w.used - 41; at < w.used; at += 8) {
        memcpy(bad, data, w.used);
        bad[at] |= 2;
        r = (struct state_reader){.data = bad, .size = w.used};
        assert_int_equal(pv_load(&loaded, &r), -EBADMSG);
    }
    assert_memory_equal(&loaded, &before, sizeof(before));
    /* another VM's, which is not offered that */
    for (unsigned i = 0; i < 5; i++) {
        loaded.offered = ~(uint32_t[]){PV_STEAL, PV_CLOCK, PV_UNHALT, PV_EOI, PV_POLL}[i];
        r = (struct state_reader){.data = data, .size = w.used};
        assert_int_equal(pv_load(&loaded, &r), -EBADMSG);
    }
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(rates),
        TEST(clock_goes_on),
        TEST(clock_stands_in_a_pause),
        TEST(clock_when_the_guest_moves_its_tsc),
        TEST(clock_of_uneven_processors),
        TEST(wall_clock),
        TEST(versions_of_junk),
        TEST(bad_clock_values),
        TEST(pages_that_are_not_there),
        TEST(bad_values_of_others),
        TEST(offers),
        TEST(saved_and_loaded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
