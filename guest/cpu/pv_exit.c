/*
 * Around the exits of a vCPU that has some of KVM's interfaces, whichever of the other two roads
 * they take: EOIs without an exit before and behind it (pv_eoi.c), calls behind it (pv_call.c).
 */
#include "arch/x86/cpu.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/pv.h"
#include "vmx/exit.h"

/*
 * Behind the exit: what a call asks for is served before the guest goes on, and its time is the
 * exit's. The exit has answered that there is no such call; where that does not stand there any
 * more, an INIT has taken the instruction away.
 */
static int carry_out_call(struct vcpu *v, uint64_t number, int leave)
{
    uint64_t start = rdtsc();

    if (v->hw.gpr[RAX] != (uint64_t)NO_SUCH_HYPERCALL)
        return leave;
    pv_call(v, number);
    vcpu_account(v, rdtsc() - start);
    return leave == VCPU_STAY ? vcpu_prepare(v) : leave;
}

int vcpu_exit_wrapped(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    struct vcpu *v = (struct vcpu *)hw;
    uint64_t number = hw->gpr[RAX];
    int leave;

    if (v->pv.eoi_left)
        pv_take_eoi(v);
    leave = hw->watched ? vcpu_exit_watched(hw, reason, tsc) : vcpu_exit(hw, reason, tsc);
    if (UNLIKELY(reason == EXIT_VMCALL) && (v->pv.offered & PV_CALLS))
        leave = carry_out_call(v, number, leave);
    if (leave == VCPU_STAY && (v->pv.eoi & PV_ON) && lapic_eoi_is_plain(&v->lapic))
        pv_leave_eoi(v);
    return leave;
}
