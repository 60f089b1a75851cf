#include "vmx/watch.h"

#include "arch/x86/cpu.h"
#include "arch/x86/trap.h"
#include "vmx/event.h"

void vmx_intercept_exceptions(uint32_t vectors)
{
    vmwrite32(VMCS_EXCEPTION_BITMAP, VMX_EXCEPTIONS | vectors);
}

static void watch_mask(struct vmx_vcpu *v, unsigned cr, bool on)
{
    enum vmcs_field mask = cr == 0 ? VMCS_CR0_MASK : VMCS_CR4_MASK;
    enum vmcs_field shadow = cr == 0 ? VMCS_CR0_SHADOW : VMCS_CR4_SHADOW;
    uint64_t *kept = &v->cr_mask[cr == 4];

    if (on) {
        vmwrite_any(shadow, cr == 0 ? vmx_get_cr0() : vmx_get_cr4());
        *kept = vmread_any(mask);
        vmwrite_any(mask, ~0ULL);
    } else {
        vmwrite_any(mask, *kept); /* the register itself has the guest's bits */
    }
}

void vmx_watch_cr(struct vmx_vcpu *v, unsigned cr, bool on)
{
    if (cr == 3) {
        vmx_set_primary(v, CPU_CR3_LOAD, on);
        return;
    }
    if (on == ((v->watched_cr & BIT(cr)) != 0))
        return;
    v->watched_cr = (uint8_t)(v->watched_cr ^ BIT(cr));
    watch_mask(v, cr, on);
}

void vmx_watch_descriptor_tables(struct vmx_vcpu *v, bool on)
{
    uint32_t secondary =
        on ? v->secondary | SEC_DESCRIPTOR_TABLE : v->secondary & ~(uint32_t)SEC_DESCRIPTOR_TABLE;

    if (secondary == v->secondary)
        return;
    v->secondary = secondary;
    vmwrite32(VMCS_SECONDARY_CONTROLS, secondary);
}

void vmx_watch_syscall(struct vmx_vcpu *v, bool on)
{
    uint64_t efer = vmread64(VMCS_GUEST_EFER);

    if (on == v->syscall_watched)
        return;
    v->syscall_watched = on;
    if (on) {
        v->guest_sce = efer & EFER_SCE;
        vmwrite64(VMCS_GUEST_EFER, efer & ~(uint64_t)EFER_SCE);
    } else if (v->guest_sce) {
        vmwrite64(VMCS_GUEST_EFER, efer | EFER_SCE);
    }
}

void vmx_use_ept(uint64_t eptp)
{
    vmwrite64(VMCS_EPTP, eptp);
}

struct vmx_table vmx_descriptor_table(bool idt)
{
    if (idt)
        return (struct vmx_table){.base = vmread_natural(VMCS_GUEST_IDTR_BASE),
                                  .limit = vmread32(VMCS_GUEST_IDTR_LIMIT)};
    return (struct vmx_table){.base = vmread_natural(VMCS_GUEST_GDTR_BASE),
                              .limit = vmread32(VMCS_GUEST_GDTR_LIMIT)};
}
