/*
 * Where the local APIC's page is in guest-physical memory. All vCPUs share one EPT, which has the
 * APIC-access page at the address of power-on. A vCPU that has moved its APIC (SDM "Relocating the
 * Local APIC Registers") gets a view of that EPT in which the APIC is where the vCPU wants it, and
 * nothing at the address of power-on; to the others both are what they were. What stood there, RAM
 * or a device, is there again when the APIC moves on.
 */
#include "arch/x86/lib/errno.h"
#include "guest/cpu/events.h"
#include "vmx/cpu.h"

static bool has_moved(const struct vcpu *v)
{
    return lapic_claims_mmio(&v->lapic) && v->lapic.claimed != LAPIC_BASE;
}

int vcpu_put_apic(const struct vcpu *v, struct ept_window *w)
{
    const struct ept *ept = &v->vm->ept;
    struct ept_leaf leaf = {0}; /* no entry: each access is an EPT violation */
    int result;

    if (vmx_features.virtualize_apic_accesses && ept_lookup(ept, LAPIC_BASE, &leaf) < 0)
        return -ENOMEM;
    result = ept_window_put(w, ept, LAPIC_BASE, 0);
    return result < 0 ? result : ept_window_put(w, ept, v->lapic.claimed, leaf.entry);
}

static void build(struct vcpu *v)
{
    struct vm *vm = v->vm;

    spin_lock(&vm->board.lock);
    ept_window_close(&v->apic_view);
    int result = vcpu_put_apic(v, &v->apic_view);
    spin_unlock(&vm->board.lock);
    if (result < 0) {
        vmx_set_own_ept(&v->hw, 0, &vm->ept);
        vm_kill(v, "no memory left for the page tables of its local APIC at %lx", v->lapic.claimed);
        return;
    }
    vmx_set_own_ept(&v->hw, ept_window_pointer(&v->apic_view, &vm->ept), &vm->ept);
}

void vcpu_place_apic(struct vcpu *v)
{
    if (has_moved(v)) {
        build(v);
        v->watch.window_page = WATCH_NO_PAGE; /* in which the APIC may be elsewhere */
    } else if (v->hw.own_ept) {
        vmx_set_own_ept(&v->hw, 0, &v->vm->ept);
        v->watch.window_page = WATCH_NO_PAGE;
    }
}

void vcpu_refresh_view(struct vcpu *v)
{
    if (UNLIKELY(v->hw.own_ept))
        build(v);
}
