/*
 * Events into the guest: interrupts, exceptions and NMIs through the VM-entry interruption
 * information, the windows that tell when the guest can take one, and what has to be done again
 * when a VM exit cut a delivery short.
 */
#pragma once

#include "arch/x86/regs.h"
#include "vmx/vcpu.h"

struct vmx_event {
    uint32_t info;   /* VM-entry interruption information; valid when INTR_VALID is set */
    uint32_t error;  /* error code, with INTR_HAS_ERROR */
    uint32_t length; /* instruction length for software events */
};

/* The delivery that this exit interrupted, if any; clears NMI blocking for an NMI that has to be
 * delivered again. */
bool vmx_interrupted_event(struct vmx_event *out);
/* An exception of that vector with its architectural error code (ignored where the vector has
 * none). */
struct vmx_event vmx_exception(unsigned vector, uint32_t error);
/*
 * SDM "Interrupt and Exception Handling", "Conditions for Generating a Double Fault": what is
 * delivered when `second` happens while `first` was being delivered. False: triple fault.
 */
bool vmx_combine_events(const struct vmx_event *first, const struct vmx_event *second,
                        struct vmx_event *out);
/*
 * RF in the guest's RFLAGS, which a VM entry that injects an event pushes as they are (SDM,
 * "Details of Vectored-Event Injection"): for a fault, and for an instruction that is to be begun
 * again. For one that a VM exit has reported the exit has saved what is to be pushed.
 */
void vmx_set_resume_flag(void);
/* Put the event into the VMCS for the next VM entry. */
void vmx_inject(const struct vmx_event *e);
/* The same of an external interrupt. */
void vmx_inject_interrupt(uint8_t vector);

/* Whether the guest could take an external interrupt or an NMI right now. */
bool vmx_can_take_interrupt(void);
bool vmx_can_take_nmi(void);
/* Whether the guest is in an NMI's handler, or the next VM entry takes it there. */
bool vmx_nmi_in_service(void);
/*
 * The window that opens when the guest can take an NMI that it cannot take now. NMI-window exiting
 * waits for the end of virtual-NMI blocking and of MOV SS's, and a processor is free to exit by it
 * under STI's (SDM, "Other Causes of VM Exits"): again and again before the next instruction, if
 * the handler can do nothing there either. There IF is 1, and interrupt-window exiting waits for
 * the shadow's end.
 */
enum vmx_window { VMX_WINDOW_NONE, VMX_WINDOW_INTERRUPT, VMX_WINDOW_NMI };
enum vmx_window vmx_nmi_window(void);
/* Whether a single-step trap waits for the next VM entry: it ends a HLT like an interrupt does. */
bool vmx_trap_pending(void);
/* Switch a primary VM-execution control of the loaded vCPU. */
void vmx_set_primary(struct vmx_vcpu *v, uint32_t bit, bool on);
/* Exit as soon as it can. */
void vmx_request_interrupt_window(struct vmx_vcpu *v, bool on);
void vmx_request_nmi_window(struct vmx_vcpu *v, bool on);

static inline void vmx_end_shadow(void)
{
    uint32_t blocking = vmread32(VMCS_GUEST_INTERRUPTIBILITY);

    if (UNLIKELY(blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)))
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY,
                  blocking & ~(uint32_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

/* An instruction under TF or RF is complete: the trap, and RF's end. */
void vmx_end_traced(void);

/*
 * RIP past an instruction of that length, with what its completion means: STI and MOV SS blocking
 * end, RF is cleared, TF traps. Only exits by instructions tell the length; for EPT violations it
 * is undefined on silicon and the decoder's must be used.
 */
static inline void vmx_skip_bytes(uint32_t length)
{
    vmwrite_hot_natural(VMCS_GUEST_RIP, vmread_natural(VMCS_GUEST_RIP) + length);
    vmx_end_shadow();
    if (UNLIKELY(vmread_natural(VMCS_GUEST_RFLAGS) & (RFLAGS_TF | RFLAGS_RF)))
        vmx_end_traced();
}

/* A string instruction did some of its repetitions: TF traps after them, and RF is set for the
 * rest, whatever comes in between (SDM, "Instruction-Breakpoint Exception Condition"). */
void vmx_end_repetition(void);

static inline void vmx_skip_instruction(void)
{
    vmx_skip_bytes(vmread32(VMCS_EXIT_INSTRUCTION_LENGTH));
}

/* A #DB that exited: DR6, DR7.GD and BTF as the guest's handler must find them. qualification is
 * the exit's. */
void vmx_debug_exception(struct vmx_vcpu *v, uint64_t qualification);
/* NMIs are blocked again, as before the IRET that faulted. */
void vmx_block_nmi(void);
/* Whether the next VM entry will deliver something. */
bool vmx_injection_pending(void);
/* The same, and what it is. */
bool vmx_pending_injection(struct vmx_event *out);

static inline uint32_t vmx_exit_instruction_length(void)
{
    return vmread32(VMCS_EXIT_INSTRUCTION_LENGTH);
}

void vmx_set_cr2(uint64_t address);
/* Virtual-interrupt delivery: the highest vector requested. SVI is the hardware's. */
static inline void vmx_set_requested_vector(uint8_t vector)
{
    uint16_t status = vmread16(VMCS_GUEST_INTR_STATUS);

    if ((uint8_t)status != vector)
        vmwrite16(VMCS_GUEST_INTR_STATUS, (status & 0xff00) | vector);
}

/* The highest vector that is requested, 0 when none is. */
static inline uint8_t vmx_requested_vector(void)
{
    return (uint8_t)vmread16(VMCS_GUEST_INTR_STATUS);
}

/* Virtual-interrupt delivery: SVI << 8 | RVI, and the vectors whose EOI exits. */
void vmx_set_interrupt_status(uint16_t status);
void vmx_set_eoi_bitmap(const uint64_t bitmap[4]);
void vmx_set_tpr_threshold(uint32_t threshold);
