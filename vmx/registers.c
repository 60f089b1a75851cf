/* The guest's registers as far as they live in the VMCS, and what follows from changing them. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/trap.h"
#include "vmx/cpu.h"
#include "vmx/vcpu.h"

uint64_t vmx_get_gpr(const struct vmx_vcpu *v, enum gpr r)
{
    return r == RSP ? vmread_natural(VMCS_GUEST_RSP) : v->gpr[r];
}

void vmx_set_gpr(struct vmx_vcpu *v, enum gpr r, uint64_t value)
{
    if (r == RSP)
        vmwrite_natural(VMCS_GUEST_RSP, value);
    else
        v->gpr[r] = value;
}

void vmx_set_rip(uint64_t rip)
{
    vmwrite_natural(VMCS_GUEST_RIP, rip);
}

void vmx_set_rflags(uint64_t rflags)
{
    vmwrite_natural(VMCS_GUEST_RFLAGS, rflags | RFLAGS_ONE);
}

/* The eight fields of each kind follow one another in the order of enum segment. */
void vmx_get_segment(enum segment s, struct vmx_segment *out)
{
    out->selector = (uint16_t)vmread_any(VMCS_GUEST_ES_SELECTOR + 2 * s);
    out->base = vmread_any(VMCS_GUEST_ES_BASE + 2 * s);
    out->limit = (uint32_t)vmread_any(VMCS_GUEST_ES_LIMIT + 2 * s);
    out->access = (uint32_t)vmread_any(VMCS_GUEST_ES_ACCESS + 2 * s);
}

void vmx_set_segment(enum segment s, const struct vmx_segment *in)
{
    vmwrite_any(VMCS_GUEST_ES_SELECTOR + 2 * s, in->selector);
    vmwrite_any(VMCS_GUEST_ES_BASE + 2 * s, in->base);
    vmwrite_any(VMCS_GUEST_ES_LIMIT + 2 * s, in->limit);
    vmwrite_any(VMCS_GUEST_ES_ACCESS + 2 * s, in->access);
}

/* What the guest sees: its own bits from the register, the others from the shadow. */
uint64_t vmx_get_cr0(void)
{
    uint64_t mask = vmread_natural(VMCS_CR0_MASK);

    return (vmread_natural(VMCS_CR0_SHADOW) & mask) | (vmread_natural(VMCS_GUEST_CR0) & ~mask);
}

uint64_t vmx_get_cr3(void)
{
    return vmread_natural(VMCS_GUEST_CR3);
}

uint64_t vmx_get_cr4(void)
{
    uint64_t mask = vmread_natural(VMCS_CR4_MASK);

    return (vmread_natural(VMCS_CR4_SHADOW) & mask) | (vmread_natural(VMCS_GUEST_CR4) & ~mask);
}

uint64_t vmx_get_efer(void)
{
    return vmread64(VMCS_GUEST_EFER);
}

/* With what vmx_watch_syscall() hides. */
static uint64_t guest_efer(const struct vmx_vcpu *v)
{
    return vmx_get_efer() | (UNLIKELY(v->syscall_watched) && v->guest_sce ? EFER_SCE : 0);
}

void vmx_set_efer(struct vmx_vcpu *v, uint64_t efer)
{
    if (UNLIKELY(v->syscall_watched)) {
        v->guest_sce = efer & EFER_SCE;
        efer &= ~(uint64_t)EFER_SCE;
    }
    vmwrite64(VMCS_GUEST_EFER, efer);
    uint32_t entry = v->entry_controls & ~(uint32_t)ENTRY_IA32E_GUEST;
    if (efer & EFER_LMA)
        entry |= ENTRY_IA32E_GUEST;
    if (entry != v->entry_controls) {
        v->entry_controls = entry;
        vmwrite32(VMCS_ENTRY_CONTROLS, entry);
    }
}

void vmx_set_cr0(struct vmx_vcpu *v, uint64_t cr0)
{
    /* Under unrestricted guest PE and PG are as the guest wants them; caching stays on whatever it
     * says. */
    uint64_t fixed0 = vmx_features.cr0_fixed0 & ~(CR0_PE | CR0_PG);
    uint64_t real = ((cr0 | fixed0) & vmx_features.cr0_fixed1) & ~(CR0_CD | CR0_NW);
    uint64_t before = vmread_natural(VMCS_GUEST_CR0);

    vmwrite_natural(VMCS_CR0_SHADOW, cr0);
    vmwrite_natural(VMCS_GUEST_CR0, real);
    uint64_t efer = guest_efer(v);
    if ((efer & EFER_LME) && (cr0 & CR0_PG))
        vmx_set_efer(v, efer | EFER_LMA);
    else
        vmx_set_efer(v, efer & ~EFER_LMA);
    if ((before ^ real) & (CR0_PG | CR0_WP))
        vmx_flush_linear(v);
}

void vmx_set_cr3(struct vmx_vcpu *v, uint64_t cr3)
{
    vmwrite_natural(VMCS_GUEST_CR3, cr3);
    vmx_flush_linear(v);
}

void vmx_set_cr4(struct vmx_vcpu *v, uint64_t cr4)
{
    /* Without MCE a machine check would shut the processor down: it stays on whatever the guest
     * says. */
    uint64_t real =
        (cr4 | vmx_features.cr4_fixed0 | (read_cr4() & CR4_MCE)) & vmx_features.cr4_fixed1;

    vmwrite_natural(VMCS_CR4_SHADOW, cr4);
    vmwrite_natural(VMCS_GUEST_CR4, real);
    vmx_flush_linear(v);
}

void vmx_set_descriptor_table(bool idt, uint64_t base, uint16_t limit)
{
    if (idt) {
        vmwrite_natural(VMCS_GUEST_IDTR_BASE, base);
        vmwrite32(VMCS_GUEST_IDTR_LIMIT, limit);
    } else {
        vmwrite_natural(VMCS_GUEST_GDTR_BASE, base);
        vmwrite32(VMCS_GUEST_GDTR_LIMIT, limit);
    }
}

void vmx_set_pdptes(const uint64_t pdpte[4])
{
    vmwrite64(VMCS_GUEST_PDPTE0, pdpte[0]);
    vmwrite64(VMCS_GUEST_PDPTE1, pdpte[1]);
    vmwrite64(VMCS_GUEST_PDPTE2, pdpte[2]);
    vmwrite64(VMCS_GUEST_PDPTE3, pdpte[3]);
}

void vmx_set_tsc_offset(uint64_t offset)
{
    vmwrite64(VMCS_TSC_OFFSET, offset);
}

void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode)
{
    const struct vmx_features *f = &vmx_features;
    uint32_t secondary =
        v->secondary & ~(uint32_t)(SEC_VIRTUALIZE_X2APIC | SEC_VIRTUALIZE_APIC_ACCESSES |
                                   SEC_APIC_REGISTER | SEC_VIRTUAL_INTERRUPT);

    if (mode == VMX_APIC_X2APIC && f->virtualize_x2apic)
        secondary |= SEC_VIRTUALIZE_X2APIC;
    if (mode == VMX_APIC_XAPIC && f->virtualize_apic_accesses)
        secondary |= SEC_VIRTUALIZE_APIC_ACCESSES;
    /* Only together with one of those: else TPR changes would neither exit nor be evaluated. */
    if (secondary & (SEC_VIRTUALIZE_X2APIC | SEC_VIRTUALIZE_APIC_ACCESSES)) {
        if (f->apic_register)
            secondary |= SEC_APIC_REGISTER;
        if (f->vid)
            secondary |= SEC_VIRTUAL_INTERRUPT;
    }
    v->secondary = secondary;
    vmwrite32(VMCS_SECONDARY_CONTROLS, secondary);
    vmx_flush_current(v); /* translations to the APIC-access page are cached as what they were */
}

int vmx_read_msr(struct vmx_vcpu *v, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_EFER:
        *value = guest_efer(v);
        return 0;
    case MSR_PAT:
        *value = vmread64(VMCS_GUEST_PAT);
        return 0;
    case MSR_DEBUGCTL:
        *value = vmread64(VMCS_GUEST_DEBUGCTL);
        return 0;
    case MSR_SYSENTER_CS:
        *value = vmread32(VMCS_GUEST_SYSENTER_CS);
        return 0;
    case MSR_SYSENTER_ESP:
        *value = vmread_natural(VMCS_GUEST_SYSENTER_ESP);
        return 0;
    case MSR_SYSENTER_EIP:
        *value = vmread_natural(VMCS_GUEST_SYSENTER_EIP);
        return 0;
    case MSR_FS_BASE:
        *value = vmread_natural(VMCS_GUEST_FS_BASE);
        return 0;
    case MSR_GS_BASE:
        *value = vmread_natural(VMCS_GUEST_GS_BASE);
        return 0;
    case MSR_TSC_AUX:
        if (!vmx_features.rdtscp)
            return -EINVAL;
        /* fall through */
    case MSR_STAR:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FMASK:
    case MSR_KERNEL_GS_BASE:
        *value = rdmsr(msr); /* the guest's while its vCPU is loaded */
        return 0;
    case MSR_XSS:
        *value = vmx_caps.xsaves ? rdmsr(MSR_XSS) : 0;
        return 0;
    default:
        return -EINVAL;
    }
}

/* What a VM entry insists on, of MSRs that the VMCS holds: no WRMSR of the guest's own has checked
 * it when one that is passed exits all the same. */
static bool entry_accepts(uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_PAT:
        for (unsigned i = 0; i < 64; i += 8)
            if ((value >> i & 0xff) > 7 || (value >> i & 0xfe) == 2)
                return false;
        return true;
    case MSR_SYSENTER_ESP:
    case MSR_SYSENTER_EIP:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
        return (uint64_t)((int64_t)(value << 16) >> 16) == value;
    default:
        return true;
    }
}

int vmx_write_msr(struct vmx_vcpu *v, uint32_t msr, uint64_t value)
{
    if (!entry_accepts(msr, value))
        return -EINVAL;
    switch (msr) {
    case MSR_EFER:
        vmx_set_efer(v, (value & ~EFER_LMA) | (vmx_get_efer() & EFER_LMA));
        return 0;
    case MSR_PAT:
        vmwrite64(VMCS_GUEST_PAT, value);
        return 0;
    case MSR_DEBUGCTL:
        vmwrite64(VMCS_GUEST_DEBUGCTL, value);
        return 0;
    case MSR_SYSENTER_CS:
        vmwrite32(VMCS_GUEST_SYSENTER_CS, value);
        return 0;
    case MSR_SYSENTER_ESP:
        vmwrite_natural(VMCS_GUEST_SYSENTER_ESP, value);
        return 0;
    case MSR_SYSENTER_EIP:
        vmwrite_natural(VMCS_GUEST_SYSENTER_EIP, value);
        return 0;
    case MSR_FS_BASE:
        vmwrite_natural(VMCS_GUEST_FS_BASE, value);
        return 0;
    case MSR_GS_BASE:
        vmwrite_natural(VMCS_GUEST_GS_BASE, value);
        return 0;
    case MSR_TSC_AUX:
    case MSR_STAR:
    case MSR_LSTAR:
    case MSR_CSTAR:
    case MSR_FMASK:
    case MSR_KERNEL_GS_BASE:
    case MSR_XSS:
        return wrmsr_safe(msr, value) ? 0 : -EINVAL;
    default:
        return -EINVAL;
    }
}
