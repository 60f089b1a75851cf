/* Structure offsets for the assembly, generated: never written as literals there. Compiled to text,
 * not linked. */
#include "arch/x86/branches.h"
#include "arch/x86/mitigations.h"
#include "arch/x86/msr.h"
#include "arch/x86/percpu.h"
#include "arch/x86/trampoline.h"
#include "vmx/vcpu.h"

#define DEFINE(name, value) __asm__ volatile("\n#OFFSET " #name " %0" ::"i"(value))

void offsets(void);

void offsets(void)
{
    DEFINE(VCPU_RAX, offsetof(struct vmx_vcpu, gpr[RAX]));
    DEFINE(VCPU_RCX, offsetof(struct vmx_vcpu, gpr[RCX]));
    DEFINE(VCPU_RDX, offsetof(struct vmx_vcpu, gpr[RDX]));
    DEFINE(VCPU_RBX, offsetof(struct vmx_vcpu, gpr[RBX]));
    DEFINE(VCPU_RBP, offsetof(struct vmx_vcpu, gpr[RBP]));
    DEFINE(VCPU_RSI, offsetof(struct vmx_vcpu, gpr[RSI]));
    DEFINE(VCPU_RDI, offsetof(struct vmx_vcpu, gpr[RDI]));
    DEFINE(VCPU_R8, offsetof(struct vmx_vcpu, gpr[R8]));
    DEFINE(VCPU_R9, offsetof(struct vmx_vcpu, gpr[R9]));
    DEFINE(VCPU_R10, offsetof(struct vmx_vcpu, gpr[R10]));
    DEFINE(VCPU_R11, offsetof(struct vmx_vcpu, gpr[R11]));
    DEFINE(VCPU_R12, offsetof(struct vmx_vcpu, gpr[R12]));
    DEFINE(VCPU_R13, offsetof(struct vmx_vcpu, gpr[R13]));
    DEFINE(VCPU_R14, offsetof(struct vmx_vcpu, gpr[R14]));
    DEFINE(VCPU_R15, offsetof(struct vmx_vcpu, gpr[R15]));
    DEFINE(VCPU_HOST_RSP, offsetof(struct vmx_vcpu, host_rsp));
    DEFINE(VCPU_LAUNCHED, offsetof(struct vmx_vcpu, launched));
    DEFINE(VCPU_GUARDED, offsetof(struct vmx_vcpu, guarded));
    DEFINE(VCPU_SPEC_SWITCH, offsetof(struct vmx_vcpu, spec_switch));
    DEFINE(VCPU_SPEC_PASSED, offsetof(struct vmx_vcpu, spec_passed));
    DEFINE(VCPU_SPEC_CTRL, offsetof(struct vmx_vcpu, spec_ctrl));
    DEFINE(VCPU_HOST_SPEC_CTRL, offsetof(struct vmx_vcpu, host_spec_ctrl));
    DEFINE(STEP_RSB_FILL, MITIGATION_RSB_FILL);
    DEFINE(STEP_RSB_ONE, MITIGATION_RSB_ONE);
    DEFINE(STEP_BHI_CLEAR, MITIGATION_BHI_CLEAR);
    DEFINE(STEP_L1D, MITIGATION_L1D);
    DEFINE(STEP_VERW, MITIGATION_VERW);
    DEFINE(NUMBER_SPEC_CTRL, MSR_SPEC_CTRL);
    DEFINE(NUMBER_FLUSH_CMD, MSR_FLUSH_CMD);
    DEFINE(SELECTOR_DATA, SELECTOR_DATA);
    DEFINE(STUBS_SIZE, BRANCH_STUBS * BRANCH_STUB);
    DEFINE(TRAMPOLINE_TOKEN, offsetof(struct trampoline_data, token));
    DEFINE(TRAMPOLINE_CR3, offsetof(struct trampoline_data, cr3));
    DEFINE(TRAMPOLINE_CR4, offsetof(struct trampoline_data, cr4));
    DEFINE(TRAMPOLINE_GDT, offsetof(struct trampoline_data, gdt_limit));
    DEFINE(TRAMPOLINE_PROTECTED, offsetof(struct trampoline_data, protected_offset));
    DEFINE(TRAMPOLINE_LONG, offsetof(struct trampoline_data, long_offset));
    DEFINE(TRAMPOLINE_STACK, offsetof(struct trampoline_data, stack));
    DEFINE(TRAMPOLINE_ENTRY, offsetof(struct trampoline_data, entry));
    DEFINE(TRAMPOLINE_ARGUMENT, offsetof(struct trampoline_data, argument));
    DEFINE(TRAMPOLINE_DATA_SIZE, sizeof(struct trampoline_data));
    DEFINE(TRAMPOLINE_DATA_SELECTOR, TRAMPOLINE_DATA);
    DEFINE(FIELD_HOST_RSP, VMCS_HOST_RSP);
    DEFINE(FIELD_EXIT_REASON, VMCS_EXIT_REASON);
}
