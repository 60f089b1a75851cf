/* links: guest/cpu/pv_call.c */
/* KVM's hypercalls, of right and of hostile guests. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/string.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/pv.h"

enum { CPUS = 40 };

#define NO_CALL (-1000)
#define EPERM_  (-1)
#define EINVAL_ (-22)

static struct vm vm;
static struct vcpu vcpus[CPUS], *const self = &vcpus[5];
static unsigned width, cpl;

/* What has come to each vCPU. */
static struct {
    unsigned messages;
    struct apic_message last;
    uint32_t requests;
} got[CPUS];
static bool deaf[CPUS]; /* its local APIC is disabled */

unsigned vcpu_code_width(const struct vcpu *v)
{
    assert_ptr_equal(v, self);
    return width;
}

unsigned vcpu_cpl(void)
{
    return cpl;
}

static unsigned number_of(const struct lapic *l)
{
    return (unsigned)(CONTAINER_OF(l, struct vcpu, lapic) - vcpus);
}

bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical)
{
    assert_false(logical);
    assert_int_equal(dest, number_of(l));
    return !deaf[number_of(l)];
}

bool lapic_receive(struct lapic *l, const struct apic_message *m)
{
    unsigned n = number_of(l);

    got[n].messages++;
    got[n].last = *m;
    return m->mode != APIC_RESERVED_MODE;
}

void task_notify(struct task *t, uint32_t requests)
{
    got[CONTAINER_OF(t, struct vcpu, task) - vcpus].requests |= requests;
}

static int setup(void **state)
{
    memset(&vm, 0, sizeof(vm));
    memset(vcpus, 0, sizeof(vcpus));
    memset(got, 0, sizeof(got));
    memset(deaf, 0, sizeof(deaf));
    vm.vcpu_count = CPUS;
    for (unsigned i = 0; i < CPUS; i++) {
        vm.vcpu[i] = &vcpus[i];
        vcpus[i].vm = &vm;
        vcpus[i].id = i;
        vcpus[i].pv.offered = PV_CALLS;
    }
    vm.vcpu[CPUS] = &vcpus[0]; /* whatever lies behind the last */
    width = 64;
    cpl = 0;
    return 0;
}

static int64_t call(uint64_t rax, uint64_t rbx, uint64_t rcx, uint64_t rdx, uint64_t rsi)
{
    uint64_t *gpr = self->hw.gpr;

    gpr[RAX] = rax;
    gpr[RBX] = rbx;
    gpr[RCX] = rcx;
    gpr[RDX] = rdx;
    gpr[RSI] = rsi;
    pv_call(self, self->hw.gpr[RAX]);
    /* its arguments stay */
    assert_true(gpr[RBX] == rbx && gpr[RCX] == rcx && gpr[RDX] == rdx && gpr[RSI] == rsi);
    return (int64_t)gpr[RAX];
}

/* To whom the last call has sent something, as a set. */
static uint64_t reached(void)
{
    uint64_t set = 0;

    for (unsigned i = 0; i < CPUS; i++) {
        assert_true(got[i].messages <= 1);
        set |= (uint64_t)got[i].messages << i;
    }
    memset(got, 0, sizeof(got));
    return set;
}

static void ipis(void **state)
{
    assert_int_equal(call(10, 1, 0, 0, 0x41), 1);
    assert_int_equal(got[0].last.vector, 0x41);
    assert_int_equal(got[0].last.mode, APIC_FIXED);
    assert_int_equal(reached(), 1);
    assert_int_equal(call(10, 0xf1, 0, 3, 0x4ff), 5); /* NMIs */
    assert_int_equal(got[7].last.mode, APIC_NMI);
    assert_int_equal(reached(), 0xf1 << 3);
    assert_int_equal(call(10, ~0ULL, ~0ULL, 0, 0x30), CPUS); /* itself, too */
    assert_int_equal(reached(), BIT(CPUS) - 1);
    /* the second word goes on at 64 */
    assert_int_equal(call(10, 0, ~0ULL, 0, 0x30), 0);
    assert_int_equal(call(10, BIT(63), 1, 0, 0x30), 0);
    assert_int_equal(reached(), 0);
    assert_int_equal(self->pv.ipis, 1 + 5 + CPUS);
    /* from a high first one on, there is soon nobody */
    assert_int_equal(call(10, ~0ULL, ~0ULL, CPUS - 1, 0x30), 1);
    assert_int_equal(call(10, ~0ULL, ~0ULL, CPUS, 0x30), 0);
    assert_int_equal(call(10, ~0ULL, ~0ULL, UINT32_MAX, 0x30), 0);
    assert_int_equal(call(10, ~0ULL, ~0ULL, UINT32_MAX - 60, 0x30), 0);
    assert_int_equal(reached(), BIT(CPUS - 1));
    /* who does not listen does not count */
    deaf[2] = true;
    assert_int_equal(call(10, 0xe, 0, 0, 0x30), 2);
    assert_int_equal(reached(), 0xa);
    assert_int_equal(call(10, 0xe, 0, 0, 0x330), 0); /* nor does a mode that there is none */
    reached();
    assert_int_equal(call(10, 0, 0, 0, 0x30), 0);
    for (unsigned bit = 0; bit < 3; bit++) /* logical addresses, shorthands */
        assert_int_equal(call(10, 1, 0, 0, 0x30 | (bit ? BIT(17 + bit) : BIT(11))), EINVAL_);
    assert_int_equal(reached(), 0);
}

static void ipis_of_32_bits(void **state)
{
    width = 32;
    assert_int_equal(call(BIT(40) | 10, BIT(33) | 5, BIT(50) | 3, BIT(35) | 1, 0x31), 4);
    assert_int_equal(reached(), 5ULL << 1 | 3ULL << 33);
    width = 16;
    assert_int_equal(call(10, 0, 2, 0, 0x31), 1);
    assert_int_equal(reached(), BIT(33));
    /* what is negative has 32 bits, too */
    assert_int_equal(call(10, 1, 0, 0, 0x831), (uint32_t)EINVAL_);
    assert_int_equal(call(~0ULL, 1, 0, 0, 0x831), (uint32_t)NO_CALL);
}

static void kicks(void **state)
{
    assert_int_equal(call(5, 0, 7, 0, 0), 0);
    assert_int_equal(got[7].requests, REQUEST_UNHALT);
    assert_int_equal(call(5, ~0ULL, 5, 0, 0), 0); /* the flags mean nothing; itself */
    assert_int_equal(got[5].requests, REQUEST_UNHALT);
    assert_int_equal(self->pv.kicks, 2);
    static const uint64_t nobody[] = {CPUS, 64, 0x7fffffff, 0xffffffff, 0xfffffff0};
    for (unsigned i = 0; i < ARRAY_SIZE(nobody); i++)
        assert_int_equal(call(5, 0, nobody[i], 0, 0), 0);
    assert_int_equal(call(5, 0, BIT(32) | 8, 0, 0), 0); /* an id has 32 bits */
    assert_int_equal(got[8].requests, REQUEST_UNHALT);
    assert_int_equal(self->pv.kicks, 3);
}

static void yields(void **state)
{
    assert_int_equal(call(11, 9, 0, 0, 0), 0);
    assert_ptr_equal(self->task.yields_to, &vcpus[9].task);
    assert_true(self->task.spins);
    assert_int_equal(self->task.requests, REQUEST_RESCHEDULE);
    setup(state);
    assert_int_equal(call(11, 5, 0, 0, 0), 0); /* to itself */
    assert_int_equal(call(11, CPUS, 0, 0, 0), 0);
    assert_int_equal(call(11, UINT32_MAX, 0, 0, 0), 0);
    assert_null(self->task.yields_to);
    assert_int_equal(self->task.requests, 0);
    assert_int_equal(self->pv.yields, 0);
}

static void what_is_not_offered(void **state)
{
    static const struct {
        uint64_t number;
        uint32_t bit;
    } calls[] = {{5, PV_UNHALT}, {10, PV_SEND_IPI}, {11, PV_YIELD}};

    for (uint64_t n = 0; n < 0x100; n++)
        if (n != 5 && n != 10 && n != 11)
            assert_int_equal(call(n, 1, 1, 0, 0x30), NO_CALL);
    assert_int_equal(call(0x436f0000, 1, 1, 0, 0x30), NO_CALL);
    assert_int_equal(call(BIT(32) | 5, 1, 1, 0, 0x30), NO_CALL);
    for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
        self->pv.offered = PV_CALLS & ~calls[i].bit;
        assert_int_equal(call(calls[i].number, 1, 1, 0, 0x30), NO_CALL);
        assert_int_equal(reached(), 0);
        self->pv.offered = calls[i].bit;
        assert_true(call(calls[i].number, 1, 1, 0, 0x30) >= 0);
        memset(got, 0, sizeof(got));
    }
}

static void what_programs_may_not(void **state)
{
    for (cpl = 1; cpl < 4; cpl++) {
        assert_int_equal(call(5, 0, 7, 0, 0), EPERM_);
        assert_int_equal(call(10, 1, 0, 0, 0x30), EPERM_);
        assert_int_equal(call(11, 1, 0, 0, 0), EPERM_);
        assert_int_equal(call(12, 1, 0, 0, 0), NO_CALL);
    }
    assert_int_equal(got[7].requests, 0);
    assert_int_equal(reached(), 0);
    assert_int_equal(self->task.requests, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ipis, setup),
        cmocka_unit_test_setup(ipis_of_32_bits, setup),
        cmocka_unit_test_setup(kicks, setup),
        cmocka_unit_test_setup(yields, setup),
        cmocka_unit_test_setup(what_is_not_offered, setup),
        cmocka_unit_test_setup(what_programs_may_not, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
