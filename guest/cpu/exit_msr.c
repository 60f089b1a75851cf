/* RDMSR and WRMSR exits: the hot ones first, the rest by the policy of guest/cpu/msr.c. */
#include "arch/x86/cpu.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/cpu/timers.h"

#define X2APIC_LVT_TIMER (MSR_X2APIC + LAPIC_LVT_TIMER / 16)
#define X2APIC_TMICT     (MSR_X2APIC + LAPIC_TMICT / 16)
#define X2APIC_TDCR      (MSR_X2APIC + LAPIC_TDCR / 16)

enum exit_result exit_rdmsr(struct vcpu *v, struct vm_exit *e)
{
    uint64_t value;

    if (UNLIKELY(msr_read(&v->msr, &v->msr_env, (uint32_t)v->hw.gpr[RCX], &value) < 0)) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    v->hw.gpr[RAX] = (uint32_t)value;
    v->hw.gpr[RDX] = value >> 32;
    return EXIT_SKIP;
}

/* With this entry; under TF behind the instruction, whose trap comes first. */
static void deliver(struct vcpu *v)
{
    if (UNLIKELY(vmx_rflags() & RFLAGS_TF))
        vcpu_ask(v, REQUEST_EVENT);
    else
        vcpu_deliver_events(v);
}

/* Armed and disarmed at every tick of a tickless kernel: the deadline goes straight to next_exit.
 */
static void write_tsc_deadline(struct vcpu *v, uint64_t value)
{
    lapic_set_tsc_deadline(&v->lapic, value);
    if (vcpu_run_timers(v))
        deliver(v);
}

/* IPIs and EOIs: what they make deliverable goes in with this entry. */
static bool write_x2apic(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (UNLIKELY(lapic_msr_write(&v->lapic, msr, value) < 0))
        return false;
    if (UNLIKELY(msr == X2APIC_LVT_TIMER || msr == X2APIC_TMICT || msr == X2APIC_TDCR))
        vcpu_update_deadline(v);
    deliver(v);
    return true;
}

enum exit_result exit_wrmsr(struct vcpu *v, struct vm_exit *e)
{
    uint32_t msr = (uint32_t)v->hw.gpr[RCX];
    uint64_t value = v->hw.gpr[RDX] << 32 | (uint32_t)v->hw.gpr[RAX];

    if (LIKELY(msr == MSR_TSC_DEADLINE)) {
        write_tsc_deadline(v, value);
        return EXIT_SKIP;
    }
    if (LIKELY((msr & ~0xffu) == MSR_X2APIC) && write_x2apic(v, msr, value))
        return EXIT_SKIP;
    if (UNLIKELY(msr_write(&v->msr, &v->msr_env, msr, value) < 0)) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    if (msr == MSR_APIC_BASE) {
        vcpu_update_deadline(v);
        vcpu_ask(v, REQUEST_EVENT);
    }
    return EXIT_SKIP;
}
