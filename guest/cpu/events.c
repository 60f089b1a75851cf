/*
 * What goes into the guest with the next VM entry: first an event whose delivery an exit cut short
 * or that emulation raised, then an NMI, then an external interrupt from the 8259s or the local
 * APIC. What cannot go now opens a window. This may run more than once between an exit and the
 * entry: what the first run has put into the VMCS stays.
 */
#include "arch/x86/cpu.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/cpu/nmi.h"
#include "guest/cpu/probe.h"
#include "vmx/cpu.h"

/* An NMI that waits behind an STI is looked after at the latest so many TSC ticks later: longer
 * than any VM entry takes, also of a nested hypervisor. */
#define SHADOW_TICKS BIT(18)

/* SDM, "Exceptions and Interrupts": #DB is a trap or has been saved as it is to be pushed, #BP and
 * #OF are traps, #DF and #MC aborts. */
#define NO_FAULTS                                                                                  \
    (BIT(VECTOR_DB) | BIT(VECTOR_NMI) | BIT(VECTOR_BP) | BIT(VECTOR_OF) | BIT(VECTOR_DF) |         \
     BIT(VECTOR_MC))

void vcpu_exception(struct vcpu *v, unsigned vector, uint32_t error)
{
    struct vmx_event e = vmx_exception(vector, error);

    if (!(NO_FAULTS & BIT(vector)))
        vmx_set_resume_flag();
    if ((v->event.info & INTR_VALID) && !vmx_combine_events(&v->event, &e, &v->event)) {
        v->event.info = 0;
        vm_request(v->vm, VM_REQUEST_RESET, "triple fault");
        return;
    }
    if (!(v->event.info & INTR_VALID))
        v->event = e;
    vcpu_ask(v, REQUEST_EVENT);
}

void vcpu_page_fault(struct vcpu *v, uint64_t address, uint32_t error)
{
    vmx_set_cr2(address);
    vcpu_exception(v, VECTOR_PF, error);
}

/* In place of a vector that the 8259s have yet to give. */
#define FROM_8259S 256

/* The vector of the interrupt that would be delivered; -1: none. */
static int pending_interrupt(struct vcpu *v)
{
    if (UNLIKELY(lapic_external_pending(&v->lapic)))
        return FROM_8259S;
    return v->virtual_delivery ? -1 : lapic_pending_vector(&v->lapic);
}

/* The 8259s' vector; where it is gone the local APIC's own, or -1. */
static __attribute__((noinline)) int accept_external(struct vcpu *v)
{
    int vector = board_acknowledge(v->board, &v->lapic);

    if (vector < 0 && !v->virtual_delivery) {
        vector = lapic_pending_vector(&v->lapic);
        if (vector >= 0)
            lapic_accept(&v->lapic, (uint8_t)vector);
    }
    return vector;
}

/* Out of line, like what follows: the road with virtual-interrupt delivery is short without them.
 */
static __attribute__((noinline)) void deliver_interrupt(struct vcpu *v, bool taken)
{
    int vector = pending_interrupt(v);

    if (vector >= 0 && !taken && vmx_can_take_interrupt() && !vmx_injection_pending()) {
        if (UNLIKELY(vector == FROM_8259S))
            vector = accept_external(v);
        else
            lapic_accept(&v->lapic, (uint8_t)vector);
        if (LIKELY(vector >= 0))
            vmx_inject_interrupt((uint8_t)vector);
        vector = pending_interrupt(v);
    }
    vmx_request_interrupt_window(&v->hw, vector >= 0);
}

static inline __attribute__((always_inline)) void deliver_interrupts(struct vcpu *v, bool taken)
{
    lapic_sync(&v->lapic);
    if (v->virtual_delivery) {
        int vector = lapic_highest_irr(&v->lapic);
        vmx_set_requested_vector(vector < 0 ? 0 : (uint8_t)vector);
        if (LIKELY(!lapic_lint0(&v->lapic)) && !(v->hw.primary & CPU_INTERRUPT_WINDOW))
            return;
    }
    deliver_interrupt(v, taken);
    if (v->tpr_shadow && !v->virtual_delivery) {
        uint8_t threshold = (uint8_t)lapic_tpr_threshold(&v->lapic);
        if (threshold != v->tpr_threshold) {
            v->tpr_threshold = threshold;
            vmx_set_tpr_threshold(threshold);
        }
    }
}

/*
 * An NMI goes before interrupts; what tells when one that has to wait could go, vmx_nmi_window()
 * knows. Behind an STI that is the interrupt window, which an instruction that clears IF shuts
 * again: then the timer looks after it.
 */
static __attribute__((noinline)) void deliver_with_nmi(struct vcpu *v, bool taken)
{
    const struct vmx_event e = {.info = (uint32_t)(INTR_VALID | INTR_NMI << 8 | VECTOR_NMI)};

    if (vmx_nmi_in_service())
        nmi_keep_one(&v->nmis);
    if (!taken && vmx_can_take_nmi() && !vmx_injection_pending()) {
        nmi_take(&v->nmis);
        vmx_inject(&e);
        taken = true;
    }
    enum vmx_window window =
        __atomic_load_n(&v->nmis, __ATOMIC_SEQ_CST) ? vmx_nmi_window() : VMX_WINDOW_NONE;
    vmx_request_nmi_window(&v->hw, window == VMX_WINDOW_NMI);
    deliver_interrupts(v, taken);
    if (window == VMX_WINDOW_INTERRUPT) {
        vmx_request_interrupt_window(&v->hw, true);
        v->next_exit = MIN(v->next_exit, rdtsc() + SHADOW_TICKS);
    }
    /* A window that has opened, and through which nothing goes. */
    if ((v->exit.reason == EXIT_NMI_WINDOW || v->exit.reason == EXIT_INTERRUPT_WINDOW) &&
        window != VMX_WINDOW_NONE && !vmx_injection_pending())
        vcpu_no_progress(v, window);
}

void vcpu_deliver_events(struct vcpu *v)
{
    bool taken = false;

    if (v->event.info & INTR_VALID) {
        vmx_inject(&v->event);
        v->event.info = 0;
        taken = true;
    }
    if (UNLIKELY(v->nmis))
        deliver_with_nmi(v, taken);
    else
        deliver_interrupts(v, taken);
}

void vcpu_nmi(struct vcpu *v)
{
    nmi_arrive(&v->nmis);
    vcpu_notify(v, REQUEST_EVENT);
}

bool vcpu_wakes(struct vcpu *v)
{
    if ((v->event.info & INTR_VALID) || vmx_injection_pending() ||
        (v->nmis && vmx_can_take_nmi()) || vmx_trap_pending())
        return true;
    if (!vmx_can_take_interrupt())
        return false;
    lapic_sync(&v->lapic);
    if (lapic_external_pending(&v->lapic))
        return true;
    return lapic_pending_vector(&v->lapic) >= 0;
}

void vcpu_build_msr_bitmap(struct vcpu *v)
{
    v->msr_env.features.spec_passed = v->hw.spec_passed;
    msr_bitmap_build(phys_to_virt(v->msr_bitmap), &v->msr_env.features);
    if (UNLIKELY(v->vm->watches))
        probes->msr_bitmap(v);
}

void vcpu_apic_mode(struct vcpu *v)
{
    const struct vmx_features *f = &vmx_features;
    enum vmx_apic_mode mode = !lapic_enabled(&v->lapic) ? VMX_APIC_DISABLED
                              : lapic_x2apic(&v->lapic) ? VMX_APIC_X2APIC
                                                        : VMX_APIC_XAPIC;
    bool hardware = mode == VMX_APIC_X2APIC ? f->virtualize_x2apic : f->virtualize_apic_accesses;

    v->virtual_delivery = f->vid && mode != VMX_APIC_DISABLED && hardware;
    v->tpr_shadow = f->tpr_shadow;
    lapic_set_virtual_delivery(&v->lapic, v->virtual_delivery);
    vcpu_place_apic(v);
    vmx_set_apic_mode(&v->hw, mode);

    struct msr_features *m = &v->msr_env.features;
    m->x2apic_mode = mode == VMX_APIC_X2APIC && f->virtualize_x2apic;
    m->apic_register = f->apic_register;
    m->virtual_interrupt = v->virtual_delivery;
    vcpu_build_msr_bitmap(v);
    cpuid_set_apic_enabled(&v->cpuid, lapic_enabled(&v->lapic));
    if (f->vid) {
        vmx_set_interrupt_status(v->virtual_delivery ? lapic_interrupt_status(&v->lapic) : 0);
        vcpu_write_eoi_bitmap(v);
    }
    vcpu_ask(v, REQUEST_EVENT);
}

void vcpu_write_eoi_bitmap(struct vcpu *v)
{
    uint64_t bitmap[4] = {0};

    if (!vmx_features.vid)
        return;
    board_eoi_bitmap(v->board, bitmap);
    lapic_eoi_bitmap(&v->lapic, bitmap);
    vmx_set_eoi_bitmap(bitmap);
}
