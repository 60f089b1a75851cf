/*
 * KVM's hypercalls: VMCALL with a number below 10000h in RAX, arguments in RBX, RCX, RDX and RSI,
 * and the result in RAX. Outside of 64-bit mode all of them have 32 bits.
 */
#include "guest/cpu/pv.h"

#include "guest/cpu/linear.h"

enum pv_call {
    PV_CALL_KICK = 5,
    PV_CALL_SEND_IPI = 10,
    PV_CALL_YIELD = 11,
};

#define PV_EPERM  1
#define PV_EINVAL 22

/* Of what a vCPU would write to its interrupt command register: the mode, and what cannot be. */
#define ICR_MODE(icr)   ((icr) >> 8 & 7)
#define ICR_NOT_BY_CALL (BIT(11) | 3ULL << 18) /* logical addresses, shorthands */

static struct vcpu *vcpu_by_apic_id(const struct vcpu *v, uint64_t id)
{
    return id < v->vm->vcpu_count ? v->vm->vcpu[id] : NULL;
}

/* Up to two words of vCPUs, a bit each from `first` on; how many have accepted it. */
static int64_t send_ipi(struct vcpu *v, const uint64_t set[2], unsigned bits, uint64_t first,
                        uint64_t icr)
{
    const struct apic_message m = {.vector = (uint8_t)icr, .mode = (uint8_t)ICR_MODE(icr)};
    int64_t accepted = 0;

    if (icr & ICR_NOT_BY_CALL)
        return -PV_EINVAL;
    for (unsigned i = 0; i < 2 * bits; i++) {
        struct vcpu *to = vcpu_by_apic_id(v, first + i);
        if (!to)
            break;
        if ((set[i / bits] >> i % bits & 1) && lapic_matches(&to->lapic, to->id, false))
            accepted += lapic_receive(&to->lapic, &m);
    }
    v->pv.ipis += (uint64_t)accepted;
    return accepted;
}

/* It waits in HLT, perhaps with interrupts off, or is about to. */
static int64_t kick(struct vcpu *v, uint64_t id)
{
    struct vcpu *to = vcpu_by_apic_id(v, id);

    if (to) {
        vcpu_notify(to, REQUEST_UNHALT);
        v->pv.kicks++;
    }
    return 0;
}

/* One that waits for a processor is to have this one's. */
static int64_t yield(struct vcpu *v, uint64_t id)
{
    struct vcpu *to = vcpu_by_apic_id(v, id);

    if (to && to != v) {
        v->task.spins = true;
        v->task.yields_to = &to->task;
        vcpu_ask(v, REQUEST_RESCHEDULE);
        v->pv.yields++;
    }
    return 0;
}

static bool is_offered(const struct vcpu *v, uint64_t number)
{
    switch (number) {
    case PV_CALL_KICK:
        return v->pv.offered & PV_UNHALT;
    case PV_CALL_SEND_IPI:
        return v->pv.offered & PV_SEND_IPI;
    case PV_CALL_YIELD:
        return v->pv.offered & PV_YIELD;
    default:
        return false;
    }
}

static int64_t carry_out(struct vcpu *v, uint64_t number, bool wide)
{
    uint64_t mask = wide ? UINT64_MAX : UINT32_MAX;
    const uint64_t set[2] = {v->hw.gpr[RBX] & mask, v->hw.gpr[RCX] & mask};

    switch (number) {
    case PV_CALL_KICK:
        return kick(v, (uint32_t)v->hw.gpr[RCX]);
    case PV_CALL_YIELD:
        return yield(v, (uint32_t)v->hw.gpr[RBX]);
    default:
        return send_ipi(v, set, wide ? 64 : 32, (uint32_t)v->hw.gpr[RDX], v->hw.gpr[RSI] & mask);
    }
}

void pv_call(struct vcpu *v, uint64_t number)
{
    bool wide = vcpu_code_width(v) == 64;
    int64_t result = NO_SUCH_HYPERCALL;

    if (!wide)
        number = (uint32_t)number;
    if (is_offered(v, number))
        result = vcpu_cpl() == 0 ? carry_out(v, number, wide) : -PV_EPERM;
    v->hw.gpr[RAX] = wide ? (uint64_t)result : (uint32_t)result;
}
