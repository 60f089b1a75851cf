/*
 * A VM exit as the rest of Corbel sees it (the second seam of docs/ARCHITECTURE.md). Only what the
 * dispatch table's row asks for is read: a VMREAD costs little on silicon and a whole exit when
 * nested.
 */
#pragma once

#include "vmx/event.h"
#include "vmx/exit_names.h"

/* Basic exit reasons (SDM, "VMX Basic Exit Reasons"). */
enum exit_reason {
    EXIT_EXCEPTION_NMI = 0,
    EXIT_EXTERNAL_INTERRUPT = 1,
    EXIT_TRIPLE_FAULT = 2,
    EXIT_INIT = 3,
    EXIT_SIPI = 4,
    EXIT_INTERRUPT_WINDOW = 7,
    EXIT_NMI_WINDOW = 8,
    EXIT_TASK_SWITCH = 9,
    EXIT_CPUID = 10,
    EXIT_GETSEC = 11,
    EXIT_HLT = 12,
    EXIT_INVD = 13,
    EXIT_INVLPG = 14,
    EXIT_RDPMC = 15,
    EXIT_VMCALL = 18,
    EXIT_VMCLEAR = 19,
    EXIT_VMLAUNCH = 20,
    EXIT_VMPTRLD = 21,
    EXIT_VMPTRST = 22,
    EXIT_VMREAD = 23,
    EXIT_VMRESUME = 24,
    EXIT_VMWRITE = 25,
    EXIT_VMXOFF = 26,
    EXIT_VMXON = 27,
    EXIT_CR_ACCESS = 28,
    EXIT_DR_ACCESS = 29,
    EXIT_IO = 30,
    EXIT_RDMSR = 31,
    EXIT_WRMSR = 32,
    EXIT_INVALID_GUEST_STATE = 33,
    EXIT_MWAIT = 36,
    EXIT_MONITOR_TRAP = 37,
    EXIT_MONITOR = 39,
    EXIT_PAUSE = 40,
    EXIT_MACHINE_CHECK = 41,
    EXIT_TPR_THRESHOLD = 43,
    EXIT_APIC_ACCESS = 44,
    EXIT_EOI = 45,
    EXIT_GDTR_IDTR = 46,
    EXIT_LDTR_TR = 47,
    EXIT_EPT_VIOLATION = 48,
    EXIT_EPT_MISCONFIGURATION = 49,
    EXIT_INVEPT = 50,
    EXIT_PREEMPTION_TIMER = 52,
    EXIT_INVVPID = 53,
    EXIT_WBINVD = 54,
    EXIT_XSETBV = 55,
    EXIT_APIC_WRITE = 56,
    EXIT_BUS_LOCK = 74,
    EXIT_NOTIFY = 75,
};

/* Beside another reason, or EXIT_BUS_LOCK itself: the instruction behind which it comes locked the
 * bus. */
#define EXIT_REASON_BUS_LOCK BIT(26)

/* What a row of the dispatch table needs beside the reason. */
#define NEED_QUALIFICATION BIT(0)
#define NEED_GPA           BIT(1)
#define NEED_GLA           BIT(2)
#define NEED_LENGTH        BIT(3)
#define NEED_INTR          BIT(4) /* interruption information and error code */
#define NEED_VECTORING     BIT(5) /* the exit may have cut an event's delivery short */
#define NEED_INSTRUCTION   BIT(6) /* instruction information */

struct vm_exit {
    uint32_t reason;
    uint32_t length;      /* of the instruction */
    uint32_t instruction; /* VM-exit instruction information */
    uint32_t intr, error;
    uint64_t qualification;
    uint64_t gpa, gla;
    struct vmx_event interrupted; /* info 0: none */
};

static inline uint32_t vmx_exit_reason(void)
{
    return vmread32(VMCS_EXIT_REASON);
}

static inline void vmx_decode_exit(struct vm_exit *e, uint32_t needs)
{
    if (needs & NEED_QUALIFICATION)
        e->qualification = vmread_natural(VMCS_EXIT_QUALIFICATION);
    if (needs & NEED_GPA)
        e->gpa = vmread64(VMCS_GUEST_PHYSICAL_ADDRESS);
    if (needs & NEED_GLA)
        e->gla = vmread_natural(VMCS_GUEST_LINEAR_ADDRESS);
    if (needs & NEED_LENGTH)
        e->length = vmread32(VMCS_EXIT_INSTRUCTION_LENGTH);
    if (needs & NEED_INSTRUCTION)
        e->instruction = vmread32(VMCS_EXIT_INSTRUCTION_INFO);
    if (needs & NEED_INTR) {
        e->intr = vmread32(VMCS_EXIT_INTR_INFO);
        e->error = e->intr & INTR_HAS_ERROR ? vmread32(VMCS_EXIT_ERROR_CODE) : 0;
    }
    if (needs & NEED_VECTORING) {
        e->interrupted.info = vmread32(VMCS_IDT_VECTORING_INFO);
        if (UNLIKELY(e->interrupted.info & INTR_VALID))
            vmx_interrupted_event(&e->interrupted);
        else
            e->interrupted.info = 0;
    }
}

/* I/O instruction: exit qualification */
#define IO_IN BIT(3)

/* EPT violation: exit qualification */
#define EPT_VIOLATION_READ           BIT(0)
#define EPT_VIOLATION_WRITE          BIT(1)
#define EPT_VIOLATION_FETCH          BIT(2)
#define EPT_VIOLATION_READABLE       BIT(3) /* reading would have been allowed */
#define EPT_VIOLATION_GLA_VALID      BIT(7)
#define EPT_VIOLATION_GLA_FINAL      BIT(8) /* the access itself, not one of its page-table walk */
#define QUALIFICATION_NMI_UNBLOCKING BIT(12)

/* Notify: exit qualification. Bit 12 is as above. */
#define NOTIFY_CONTEXT_INVALID BIT(0)
