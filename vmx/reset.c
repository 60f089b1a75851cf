/*
 * Power-on, RESET and INIT: SDM, "IA-32 and Intel 64 Processor States Following Power-up, Reset, or
 * INIT". What a row leaves alone is not here; vmx_vcpu_reset() brings what this leaves in *v to the
 * CPU, and resets the FPU.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "vmx/vcpu.h"

#define RESET_PAT  0x0007040600070406ULL
#define RESET_DR6  0xffff0ff0
#define RESET_DR7  0x400
#define RESET_RIP  0xfff0
#define RESET_BASE 0xffff0000

static void reset_segment(enum segment s, uint16_t selector, uint64_t base, uint32_t access)
{
    const struct vmx_segment segment = {
        .selector = selector, .base = base, .limit = 0xffff, .access = access};

    vmx_set_segment(s, &segment);
}

/* The same for all three but for CR0: INIT leaves CD and NW. */
static void reset_registers(struct vmx_vcpu *v, enum vmx_reset kind)
{
    uint64_t caching = CR0_CD | CR0_NW;

    if (kind == VMX_INIT)
        caching &= vmx_get_cr0();
    memset(v->gpr, 0, sizeof(v->gpr));
    v->gpr[RDX] = cpuid(1, 0).eax; /* EAX is 0: no self-test has failed */
    reset_segment(SEG_CS, 0xf000, RESET_BASE, SEGMENT_CODE);
    for (enum segment s = SEG_ES; s <= SEG_GS; s++)
        if (s != SEG_CS)
            reset_segment(s, 0, 0, SEGMENT_DATA);
    reset_segment(SEG_LDTR, 0, 0, SEGMENT_LDT);
    reset_segment(SEG_TR, 0, 0, SEGMENT_BUSY_TSS);
    vmx_set_descriptor_table(false, 0, 0xffff);
    vmx_set_descriptor_table(true, 0, 0xffff);
    vmx_set_efer(v, 0);
    vmx_set_cr0(v, CR0_ET | caching);
    vmx_set_cr3(v, 0);
    vmx_set_cr4(v, 0);
    vmwrite_natural(VMCS_GUEST_DR7, RESET_DR7);
    vmwrite_natural(VMCS_GUEST_RSP, 0);
    vmx_set_rip(RESET_RIP);
    vmx_set_rflags(RFLAGS_ONE);
    memset(v->dr, 0, sizeof(v->dr));
    v->dr6 = RESET_DR6;
    v->cr2 = 0;
}

/* What no register shows. */
static void reset_events(void)
{
    vmwrite_natural(VMCS_GUEST_PENDING_DEBUG, 0);
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, 0);
    vmwrite32(VMCS_GUEST_ACTIVITY, ACTIVITY_ACTIVE);
    vmwrite32(VMCS_ENTRY_INTR_INFO, 0);
}

/* "All other MSRs": undefined after RESET, which is 0 here; INIT leaves them. */
static void reset_msrs(struct vmx_vcpu *v)
{
    vmwrite64(VMCS_GUEST_PAT, RESET_PAT);
    vmwrite64(VMCS_GUEST_DEBUGCTL, 0);
    vmwrite32(VMCS_GUEST_SYSENTER_CS, 0);
    vmwrite_natural(VMCS_GUEST_SYSENTER_ESP, 0);
    vmwrite_natural(VMCS_GUEST_SYSENTER_EIP, 0);
    memset(v->shared_msr, 0, sizeof(v->shared_msr));
}

void vmx_reset_state(struct vmx_vcpu *v, enum vmx_reset kind)
{
    reset_registers(v, kind);
    reset_events();
    if (kind != VMX_INIT)
        reset_msrs(v);
}
