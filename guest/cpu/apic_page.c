/*
 * Where the local APIC's page is in guest-physical memory. All vCPUs share one EPT, which has the
 * APIC-access page, where the processor has such a thing, at the address of power-on. A vCPU that
 * has moved its APIC (SDM "Relocating the Local APIC Registers") gets a view of that EPT in which
 * the APIC is where the vCPU wants it, and nothing at the address of power-on; to the others both
 * are what they were. What stood there, RAM or a device, is there again when the APIC moves on.
 */
#include "guest/cpu/events.h"

static bool has_moved(const struct vcpu *v)
{
    return lapic_claims_mmio(&v->lapic) && v->lapic.claimed != LAPIC_BASE;
}

int vcpu_put_apic(struct vcpu *v, struct ept_window *w)
{
    return rights_move(&v->vm->rights, w, LAPIC_BASE, v->lapic.claimed);
}

static void build(struct vcpu *v)
{
    struct rights *rights = &v->vm->rights;

    ept_window_close(&v->apic_view);
    if (vcpu_put_apic(v, &v->apic_view) < 0) {
        vmx_set_own_ept(&v->hw, 0, &rights->ept);
        vm_kill(v, "no memory left for the page tables of its local APIC at %lx", v->lapic.claimed);
        return;
    }
    vmx_set_own_ept(&v->hw, ept_window_pointer(&v->apic_view, &rights->ept), &rights->ept);
}

void vcpu_place_apic(struct vcpu *v)
{
    if (has_moved(v)) {
        build(v);
        v->watch.window_page = WATCH_NO_PAGE; /* in which the APIC may be elsewhere */
    } else if (v->hw.own_ept) {
        vmx_set_own_ept(&v->hw, 0, &v->vm->rights.ept);
        v->watch.window_page = WATCH_NO_PAGE;
    }
}

void vcpu_refresh_view(struct vcpu *v)
{
    if (UNLIKELY(v->hw.own_ept))
        build(v);
}
