/* Structure offsets for the assembly, generated: never written as literals there. Compiled to text,
 * not linked. */
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
