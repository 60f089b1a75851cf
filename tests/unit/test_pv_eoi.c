/* links: guest/cpu/pv_exit.c guest/cpu/pv_eoi.c guest/board/lapic.c guest/board/lapic_ipi.c guest/board/lapic_irq.c guest/board/lapic_registers.c guest/board/lapic_timer.c guest/board/state.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/* EOIs by a byte of the guest's, with a model of its handlers: whatever interrupts arrive when,
 * each is completed once, and in root mode the local APIC is up to date. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/board/lapic.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/pv.h"
#include "tests/unit/mock_frames.h"
#include "tests/unit/unused.h"
#include "vmx/exit.h"

#define BYTE 0x1234ULL

static struct vm vm;
static struct vcpu vcpu, *const v = &vcpu;
static uint32_t page[PAGE_SIZE / 4];
static uint64_t random_state;
static unsigned plain_exits, watched_exits, broadcasts;

/* The interrupts whose handlers run, the latest last. */
static struct {
    uint8_t vector[16];
    unsigned count;
} nested;

static uint32_t any(void)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(random_state >> 33);
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("a lock was left taken");
}

void lapic_broadcast_eoi(struct lapic *l, uint8_t vector)
{
    broadcasts++;
}

void lapic_notify(struct lapic *l)
{
}

UNUSED(uint64_t lapic_now(struct lapic *l))
UNUSED_VOID(void lapic_send(struct lapic *from, const struct apic_message *m))
UNUSED_VOID(void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector))

void lapic_mode_changed(struct lapic *l)
{
}

void vmx_wrap_exits(struct vmx_vcpu *hw, bool on)
{
    hw->wrapped = on;
}

static uint8_t byte_now(void)
{
    uint8_t byte = 0;

    assert_int_equal(guest_memory_read(&vm.memory, BYTE, &byte, 1), 0);
    return byte;
}

static bool in_service(uint8_t vector)
{
    return lapic_register(&v->lapic, LAPIC_ISR + vector / 32 * 16) >> vector % 32 & 1;
}

/* --- root mode --- */

enum why { NOTHING, EOI, ARRIVES };

static enum why why;
static uint8_t arrives;
static bool level, leaves, hostile, init;

/* What is in service is what the guest's handlers are for. */
static void check_service(void)
{
    unsigned count = 0;

    for (unsigned vector = 16; vector < 256; vector++)
        count += in_service((uint8_t)vector);
    assert_int_equal(count, nested.count);
    for (unsigned i = 0; i < nested.count; i++)
        assert_true(in_service(nested.vector[i]));
}

static int root(void)
{
    assert_true(hostile || byte_now() == 0);
    assert_false(v->pv.eoi_left);
    if (why == EOI) {
        check_service();
        lapic_eoi(&v->lapic);
        nested.count--;
    }
    check_service();
    if (why == ARRIVES && lapic_post(&v->lapic, arrives, level))
        lapic_notify(&v->lapic);
    lapic_sync(&v->lapic);
    int vector = lapic_pending_vector(&v->lapic);
    if (vector >= 0 && nested.count < ARRAY_SIZE(nested.vector)) {
        lapic_accept(&v->lapic, (uint8_t)vector);
        nested.vector[nested.count++] = (uint8_t)vector;
    }
    return leaves ? VCPU_PREEMPTED : VCPU_STAY;
}

/* What a call asks for, and what has been made of it. */
static uint32_t asks;
static uint64_t called;
static unsigned calls, prepared;

void pv_call(struct vcpu *to, uint64_t number)
{
    assert_ptr_equal(to, v);
    assert_int_equal(v->hw.gpr[RAX], -1000);
    called = number;
    calls++;
    v->hw.gpr[RAX] = 5;
    v->task.requests |= asks;
}

int vcpu_prepare(struct vcpu *who)
{
    assert_ptr_equal(who, v);
    prepared++;
    return v->task.requests ? VCPU_PREEMPTED : VCPU_STAY;
}

int vcpu_exit(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    if (reason == EXIT_VMCALL)
        hw->gpr[RAX] = init ? 0 : (uint64_t)-1000;
    else
        assert_int_equal(reason, 7);
    assert_int_equal(tsc, 8);
    plain_exits++;
    return root();
}

int vcpu_exit_watched(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    watched_exits++;
    return root();
}

static int exit_because(enum why reason)
{
    why = reason;
    return vcpu_exit_wrapped(&v->hw, 7, 8);
}

/* --- the guest --- */

/* The end of a handler, as Linux has it. */
static bool handler_ends(void)
{
    uint8_t byte = byte_now();

    if (byte & 1) {
        byte &= (uint8_t)~1u;
        assert_int_equal(guest_memory_write(&vm.memory, BYTE, &byte, 1), 0);
        nested.count--;
        return true;
    }
    exit_because(EOI);
    return false;
}

static int setup(void **state)
{
    mock_reset();
    memset(&vm, 0, sizeof(vm));
    memset(v, 0, sizeof(*v));
    memset(&nested, 0, sizeof(nested));
    memset(page, 0, sizeof(page));
    assert_int_equal(
        guest_memory_create(&vm.memory, FRAME_VM, &(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    assert_int_equal(guest_memory_zero(&vm.memory, 0, 2 * MIB), 0);
    v->vm = &vm;
    lapic_init(&v->lapic, page, 0, true, 2);
    lapic_mmio_write(&v->lapic, LAPIC_SVR, 4, 0x1ff);
    v->pv.eoi = BYTE | PV_ON;
    pv_follow_eoi(v);
    assert_true(v->hw.wrapped);
    plain_exits = watched_exits = broadcasts = 0;
    leaves = level = hostile = init = false;
    random_state = 3;
    return 0;
}

static int teardown(void **state)
{
    guest_memory_destroy(&vm.memory);
    return 0;
}

static void arrive(uint8_t vector)
{
    arrives = vector;
    exit_because(ARRIVES);
}

static void one_after_the_other(void **state)
{
    arrive(0x41);
    assert_int_equal(byte_now(), 1);
    assert_true(handler_ends());
    assert_int_equal(plain_exits, 1);
    exit_because(NOTHING);
    assert_false(in_service(0x41));
    assert_int_equal(v->pv.eois, 1);
    assert_int_equal(byte_now(), 0); /* nothing is in service */
    arrive(0x31);
    assert_true(handler_ends());
    arrive(0x32); /* found at the next exit, which is this one */
    assert_int_equal(v->pv.eois, 2);
    assert_true(in_service(0x32));
}

static void where_it_may_not(void **state)
{
    /* one that waits behind */
    arrive(0x41);
    arrive(0x42);
    assert_int_equal(byte_now(), 0);
    assert_false(handler_ends());
    /* which is in service now, alone */
    assert_int_equal(nested.count, 1);
    assert_int_equal(byte_now(), 1);
    /* one of a higher class comes in between: it may, and then the other one may not */
    arrive(0x91);
    assert_int_equal(nested.count, 2);
    assert_int_equal(byte_now(), 1);
    assert_true(handler_ends());
    assert_false(handler_ends());
    assert_int_equal(v->pv.eois, 1);
    /* level-triggered: the I/O APIC is to hear of it */
    level = true;
    arrive(0x51);
    assert_int_equal(byte_now(), 0);
    assert_false(handler_ends());
    assert_int_equal(broadcasts, 1);
    level = false;
    /* when it leaves its guest */
    leaves = true;
    arrive(0x61);
    assert_int_equal(byte_now(), 0);
    assert_false(handler_ends());
    leaves = false;
    /* switched off, or on hardware that does it */
    v->pv.eoi = 0;
    pv_follow_eoi(v);
    assert_false(v->hw.wrapped);
    arrive(0x71);
    assert_int_equal(byte_now(), 0);
    v->pv.eoi = BYTE | PV_ON;
    lapic_set_virtual_delivery(&v->lapic, true);
    exit_because(NOTHING);
    assert_int_equal(byte_now(), 0);
}

static void watched_vcpus(void **state)
{
    v->hw.watched = true;
    arrive(0x41);
    assert_int_equal(watched_exits, 1);
    assert_int_equal(plain_exits, 0);
    assert_true(handler_ends());
}

/* No page (any more): the guest's EOIs are exits, and nothing is lost. */
static void a_byte_that_goes(void **state)
{
    arrive(0x41);
    v->pv.eoi = BIT(40) | PV_ON;
    assert_int_equal(guest_memory_zero(&vm.memory, BYTE, 1), 0);
    exit_because(NOTHING);
    assert_true(in_service(0x41));
    assert_false(v->pv.eoi_left);
    assert_false(handler_ends());
    assert_false(in_service(0x41));
}

/* A hostile guest writes what it likes there: its own interrupts suffer, and no others. */
static void junk(void **state)
{
    hostile = true;
    for (unsigned n = 0; n < 2000; n++) {
        uint8_t byte = (uint8_t)any();
        bool completes = v->pv.eoi_left && !(byte & 1);
        assert_int_equal(guest_memory_write(&vm.memory, BYTE, &byte, 1), 0);
        nested.count -= completes;
        if (nested.count < 3)
            arrive((uint8_t)(16 + any() % 240));
        else
            while (nested.count)
                exit_because(EOI);
    }
    assert_true(v->pv.eois > 0);
}

static void any_order(void **state)
{
    unsigned without = 0, with = 0;

    for (unsigned n = 0; n < 20000; n++) {
        level = any() % 8 == 0;
        leaves = any() % 16 == 0;
        v->hw.watched = any() % 4 == 0;
        switch (any() % 4) {
        case 0:
            if (nested.count < 12)
                arrive((uint8_t)(16 + any() % 240));
            break;
        case 1:
            exit_because(NOTHING);
            break;
        default:
            if (nested.count == 0)
                break;
            if (handler_ends())
                without++;
            else
                with++;
        }
    }
    while (nested.count)
        without += handler_ends();
    leaves = false;
    exit_because(NOTHING);
    assert_int_equal(v->pv.eois, without);
    assert_true(without > 500 && with > 500);
}

/* --- calls --- */

static int exit_by(uint64_t reason, uint64_t number)
{
    why = NOTHING;
    v->hw.gpr[RAX] = number;
    return vcpu_exit_wrapped(&v->hw, reason, 8);
}

static void calls_are_made_behind_the_exit(void **state)
{
    v->pv.eoi = 0;
    v->pv.offered = PV_YIELD;
    pv_follow_eoi(v);
    assert_true(v->hw.wrapped); /* for them alone, too */
    asks = calls = prepared = 0;
    assert_int_equal(exit_by(EXIT_VMCALL, 11), VCPU_STAY);
    assert_int_equal(calls, 1);
    assert_int_equal(called, 11); /* and not what the exit has answered */
    assert_int_equal(v->hw.gpr[RAX], 5);
    assert_int_equal(prepared, 1); /* its timer, too: the call took a while */
    /* what it asks for is served before the guest goes on */
    asks = REQUEST_RESCHEDULE;
    assert_int_equal(exit_by(EXIT_VMCALL, 11), VCPU_PREEMPTED);
    assert_int_equal(prepared, 2);
    /* or later, where the guest does not */
    leaves = true;
    assert_int_equal(exit_by(EXIT_VMCALL, 11), VCPU_PREEMPTED);
    assert_int_equal(prepared, 2);
    assert_int_equal(calls, 3);
    leaves = false;
    /* none: another exit, an INIT meanwhile, none offered */
    (void)exit_by(7, 11);
    assert_int_equal(v->hw.gpr[RAX], 11);
    init = true;
    (void)exit_by(EXIT_VMCALL, 11);
    assert_int_equal(v->hw.gpr[RAX], 0);
    init = false;
    v->pv.offered = PV_CLOCK;
    (void)exit_by(EXIT_VMCALL, 11);
    assert_int_equal(v->hw.gpr[RAX], -1000);
    assert_int_equal(calls, 3);
    pv_follow_eoi(v);
    assert_false(v->hw.wrapped);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_after_the_other),
        TEST(where_it_may_not),
        TEST(watched_vcpus),
        TEST(a_byte_that_goes),
        TEST(junk),
        TEST(any_order),
        TEST(calls_are_made_behind_the_exit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
