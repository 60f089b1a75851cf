/* What is delivered into the guest before the next VM entry, and where its local APIC is. */
#pragma once

#include "guest/cpu/vcpu.h"

void vcpu_deliver_events(struct vcpu *v);
/* An NMI arrives for it; on any CPU. */
void vcpu_nmi(struct vcpu *v);
/* Whether a halted vCPU has something that ends the halt. */
bool vcpu_wakes(struct vcpu *v);
/* The APIC's mode changed: VMX controls, MSR bitmap and CPUID follow. */
void vcpu_apic_mode(struct vcpu *v);
/* By what the guest may read and write without an exit now. */
void vcpu_build_msr_bitmap(struct vcpu *v);
void vcpu_write_eoi_bitmap(struct vcpu *v);

/* --- apic_page.c: where the local APIC's page is --- */

/* The local APIC has moved, or its mode has changed: the loaded vCPU's EPT follows. */
void vcpu_place_apic(struct vcpu *v);
/* The VM's EPT has changed, perhaps: so does the view of a vCPU that has one. */
void vcpu_refresh_view(struct vcpu *v);
/* Put the local APIC into a view of the VM's EPT that this vCPU is to use. -ENOMEM. */
int vcpu_put_apic(struct vcpu *v, struct ept_window *w) MUST_CHECK;
/* The EPTP that it uses as long as no page is open for an instruction of it. */
static inline uint64_t vcpu_ept_pointer(const struct vcpu *v)
{
    return v->hw.own_ept ? v->hw.own_ept : ept_pointer(&v->vm->rights.ept);
}
