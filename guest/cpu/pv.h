/* KVM's paravirtual interfaces, as a vCPU has them: its MSRs and its pages. docs/PARAVIRT.md. */
#pragma once

#include "guest/cpu/vcpu.h"

/* Of a new vCPU: what it is offered, which its CPUID shows; and when that has been built, the rest.
 */
void pv_offer(struct vcpu *v);
void pv_init(struct vcpu *v);
/* RDMSR and WRMSR of an MSR that is offered, by the loaded vCPU: 0, or -EINVAL for #GP. */
int pv_read_msr(const struct vcpu *v, uint32_t msr, uint64_t *value) MUST_CHECK;
int pv_write_msr(struct vcpu *v, uint32_t msr, uint64_t value) MUST_CHECK;
/* The guest has moved that vCPU's TSC: REQUEST_CLOCK for all of its VM. */
void pv_tsc_moved(struct vcpu *v);
/* Whether the guest's clock may be read on any vCPU by any other's page. */
bool pv_stable(const struct vcpu *v);
/* The loaded vCPU is about to run, and has run: steal time. */
void pv_runs(struct vcpu *v);
void pv_stops(struct vcpu *v);
/* REQUEST_CLOCK and REQUEST_UNHALT of the vCPU that runs here. */
void pv_serve(struct vcpu *v, uint32_t requests);
/* It is halted, but has been kicked: it goes on. */
bool pv_unhalts(struct vcpu *v);

/* The exits of the loaded vCPU look after EOIs, or no longer, as its MSR says; and after calls, if
 * any is offered. Those of others know of neither. */
static inline void pv_follow_eoi(struct vcpu *v)
{
    vmx_wrap_exits(&v->hw, (v->pv.eoi & PV_ON) || (v->pv.offered & PV_CALLS));
}

/* An EOI was left to the guest: has it been? And: the next one is left to it (pv_eoi.c). */
void pv_take_eoi(struct vcpu *v);
void pv_leave_eoi(struct vcpu *v);

/* What VMCALL answers, as KVM does, to a number that is none. */
#define NO_SUCH_HYPERCALL (-1000)
/* VMCALL with that number in RAX, where one of PV_CALLS is offered (pv_call.c). */
void pv_call(struct vcpu *v, uint64_t number);
