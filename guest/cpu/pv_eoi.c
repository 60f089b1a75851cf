/*
 * Around the exits of a vCPU that has some of KVM's interfaces: calls, and an EOI without an exit,
 * where the hardware does not deliver interrupts itself. While an interrupt
 * is in service, and none waits, bit 0 of a byte of the guest's says that it may clear that instead
 * of writing the EOI register; at the next exit it is found. In root mode the bit is taken back, so
 * that everybody sees a local APIC that is up to date.
 */
#include "guest/cpu/exit.h"
#include "guest/cpu/pv.h"
#include "vmx/exit.h"

#define MAY_CLEAR BIT(0)

static void take(struct vcpu *v)
{
    uint8_t byte;

    v->pv.eoi_left = false;
    if (guest_memory_exchange(&v->vm->memory, v->pv.eoi & ~PV_ON, 0, &byte) < 0 ||
        (byte & MAY_CLEAR)) /* not yet; it will write the register */
        return;
    lapic_eoi(&v->lapic);
    v->pv.eois++;
}

static void leave_to_guest(struct vcpu *v)
{
    uint8_t byte;

    v->pv.eoi_left =
        guest_memory_exchange(&v->vm->memory, v->pv.eoi & ~PV_ON, MAY_CLEAR, &byte) == 0;
}

/* Behind the exit: what a call asks for is served before the guest goes on. An INIT meanwhile has
 * taken the instruction away. */
static int carry_out_call(struct vcpu *v, uint64_t number, int leave)
{
    if (v->wait_for_startup)
        return leave;
    pv_call(v, number);
    return leave == VCPU_STAY && v->task.requests ? vcpu_prepare(v) : leave;
}

int vcpu_exit_wrapped(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    struct vcpu *v = (struct vcpu *)hw;
    uint64_t number = hw->gpr[RAX];
    int leave;

    if (v->pv.eoi_left)
        take(v);
    leave = hw->watched ? vcpu_exit_watched(hw, reason, tsc) : vcpu_exit(hw, reason, tsc);
    if (UNLIKELY(reason == EXIT_VMCALL) && (v->pv.offered & PV_CALLS))
        leave = carry_out_call(v, number, leave);
    if (leave == VCPU_STAY && (v->pv.eoi & PV_ON) && lapic_eoi_is_plain(&v->lapic))
        leave_to_guest(v);
    return leave;
}
