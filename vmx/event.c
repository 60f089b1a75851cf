#include "vmx/event.h"

#include "arch/x86/cpu.h"
#include "vmx/cpu.h"

#define PENDING_BS   BIT(14) /* pending debug exceptions: single-step */
#define DEBUGCTL_BTF BIT(1)  /* TF means branches, not instructions */
#define DR7_GD       BIT(13) /* accesses to debug registers are #DB */

/* Vectors that push an error code (SDM, "Error Code"). */
#define HAS_ERROR                                                                                  \
    (BIT(VECTOR_DF) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP) |          \
     BIT(VECTOR_PF) | BIT(VECTOR_AC))
#define CONTRIBUTORY                                                                               \
    (BIT(VECTOR_DE) | BIT(VECTOR_TS) | BIT(VECTOR_NP) | BIT(VECTOR_SS) | BIT(VECTOR_GP))

bool vmx_interrupted_event(struct vmx_event *out)
{
    uint32_t info = vmread32(VMCS_IDT_VECTORING_INFO);

    if (LIKELY(!(info & INTR_VALID)))
        return false;
    /* Bit 12 is undefined here and reserved on entry. */
    out->info = info & ~(uint32_t)INTR_NMI_UNBLOCKING;
    out->error = info & INTR_HAS_ERROR ? vmread32(VMCS_IDT_VECTORING_ERROR) : 0;
    out->length = 0;
    switch (INTR_TYPE(info)) {
    case INTR_SOFT_INTERRUPT:
    case INTR_PRIV_SOFT_EXCEPTION:
    case INTR_SOFT_EXCEPTION:
        out->length = vmread32(VMCS_EXIT_INSTRUCTION_LENGTH);
        break;
    case INTR_NMI: {
        /* The NMI blocks NMIs although it was not delivered: it must be deliverable again. */
        uint32_t blocking = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, blocking & ~(uint32_t)BLOCKING_BY_NMI);
        break;
    }
    default:
        break;
    }
    return true;
}

struct vmx_event vmx_exception(unsigned vector, uint32_t error)
{
    struct vmx_event e = {.info = (uint32_t)(INTR_VALID | INTR_HARD_EXCEPTION << 8 | vector)};

    if (BIT(vector) & HAS_ERROR) {
        e.info |= INTR_HAS_ERROR;
        e.error = error;
    }
    return e;
}

static bool is_hardware_exception(const struct vmx_event *e)
{
    return (e->info & INTR_VALID) && INTR_TYPE(e->info) == INTR_HARD_EXCEPTION;
}

bool vmx_combine_events(const struct vmx_event *first, const struct vmx_event *second,
                        struct vmx_event *out)
{
    *out = *second;
    if (!is_hardware_exception(first) || !is_hardware_exception(second))
        return true; /* interrupts and traps are benign: the second one is delivered */
    uint64_t was = BIT(INTR_VECTOR(first->info)), is = BIT(INTR_VECTOR(second->info));
    if (was & BIT(VECTOR_DF))
        return !(is & (CONTRIBUTORY | BIT(VECTOR_PF)));
    if (((was & CONTRIBUTORY) && (is & CONTRIBUTORY)) ||
        ((was & BIT(VECTOR_PF)) && (is & (CONTRIBUTORY | BIT(VECTOR_PF)))))
        *out = vmx_exception(VECTOR_DF, 0);
    return true;
}

void vmx_inject_interrupt(uint8_t vector)
{
    vmwrite32(VMCS_ENTRY_INTR_INFO, (uint32_t)(INTR_VALID | INTR_EXTERNAL << 8) | vector);
}

void vmx_inject(const struct vmx_event *e)
{
    uint32_t info = e->info;

    if (info & INTR_HAS_ERROR) {
        /* Outside protected mode exceptions push no error code, and the entry check insists. */
        if (vmread_natural(VMCS_GUEST_CR0) & CR0_PE)
            vmwrite32(VMCS_ENTRY_ERROR_CODE, e->error);
        else
            info &= ~(uint32_t)INTR_HAS_ERROR;
    }
    if (e->length)
        vmwrite32(VMCS_ENTRY_INSTRUCTION_LENGTH, e->length);
    vmwrite32(VMCS_ENTRY_INTR_INFO, info);
}

bool vmx_trap_pending(void)
{
    return (vmread_natural(VMCS_GUEST_RFLAGS) & RFLAGS_TF) &&
           (vmread_natural(VMCS_GUEST_PENDING_DEBUG) & PENDING_BS);
}

/* A trap comes before interrupts, and an entry that injects one drops it (SDM, "Delivery of Pending
 * Debug Exceptions after VM Entry"). */
bool vmx_can_take_interrupt(void)
{
    uint64_t rflags = vmread_natural(VMCS_GUEST_RFLAGS);

    return (rflags & RFLAGS_IF) &&
           !(vmread32(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)) &&
           (LIKELY(!(rflags & RFLAGS_TF)) || !vmx_trap_pending());
}

bool vmx_can_take_nmi(void)
{
    /* An NMI may not be injected in the shadow of MOV SS; some CPUs refuse STI's too. */
    return !(vmread32(VMCS_GUEST_INTERRUPTIBILITY) &
             (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS | BLOCKING_BY_NMI)) &&
           !vmx_trap_pending();
}

bool vmx_nmi_in_service(void)
{
    uint32_t info = vmread32(VMCS_ENTRY_INTR_INFO);

    return (vmread32(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_BY_NMI) ||
           ((info & INTR_VALID) && INTR_TYPE(info) == INTR_NMI);
}

enum vmx_window vmx_nmi_window(void)
{
    return vmread32(VMCS_GUEST_INTERRUPTIBILITY) & BLOCKING_BY_STI ? VMX_WINDOW_INTERRUPT
                                                                   : VMX_WINDOW_NMI;
}

static void single_step(uint64_t rflags)
{
    if ((rflags & RFLAGS_TF) && !(vmread64(VMCS_GUEST_DEBUGCTL) & DEBUGCTL_BTF))
        vmwrite_natural(VMCS_GUEST_PENDING_DEBUG,
                        vmread_natural(VMCS_GUEST_PENDING_DEBUG) | PENDING_BS);
}

void vmx_end_traced(void)
{
    uint64_t rflags = vmread_natural(VMCS_GUEST_RFLAGS);

    vmwrite_natural(VMCS_GUEST_RFLAGS, rflags & ~(uint64_t)RFLAGS_RF);
    single_step(rflags);
}

void vmx_set_resume_flag(void)
{
    uint64_t rflags = vmread_natural(VMCS_GUEST_RFLAGS);

    if (!(rflags & RFLAGS_RF))
        vmwrite_natural(VMCS_GUEST_RFLAGS, rflags | RFLAGS_RF);
}

void vmx_end_repetition(void)
{
    vmx_end_shadow();
    vmx_set_resume_flag();
    single_step(vmread_natural(VMCS_GUEST_RFLAGS));
}

void vmx_set_primary(struct vmx_vcpu *v, uint32_t bit, bool on)
{
    uint32_t primary = on ? v->primary | bit : v->primary & ~bit;

    if (primary == v->primary)
        return;
    v->primary = primary;
    vmwrite32(VMCS_PRIMARY_CONTROLS, primary);
}

void vmx_request_interrupt_window(struct vmx_vcpu *v, bool on)
{
    vmx_set_primary(v, CPU_INTERRUPT_WINDOW, on);
}

void vmx_request_nmi_window(struct vmx_vcpu *v, bool on)
{
    if (vmx_features.virtual_nmi)
        vmx_set_primary(v, CPU_NMI_WINDOW, on);
}

/* DR6 behind a #DB. B0-B3 are replaced, BD, BS and BLD added; RTM (bit 16) is inverted there. */
static uint64_t dr6_after(uint64_t dr6, uint64_t qualification)
{
    dr6 = (dr6 & ~0xfULL) | (qualification & 0x680f);
    return qualification & BIT(16) ? dr6 & ~BIT(16) : dr6;
}

void vmx_debug_exception(struct vmx_vcpu *v, uint64_t qualification)
{
    if (UNLIKELY(v->debug_taken)) { /* B0-B3 are a debugger's, then */
        v->guest_dr[6] = dr6_after(v->guest_dr[6], qualification & ~0xfULL);
        v->guest_dr[7] &= ~DR7_GD;
    } else {
        write_dr6(dr6_after(read_dr6(), qualification));
        vmwrite_natural(VMCS_GUEST_DR7, vmread_natural(VMCS_GUEST_DR7) & ~DR7_GD);
    }
    vmwrite64(VMCS_GUEST_DEBUGCTL, vmread64(VMCS_GUEST_DEBUGCTL) & ~DEBUGCTL_BTF);
    /* The exit cleared pending debug exceptions; with TF and a shadow the entry check wants BS
     * back. */
    if ((vmread_natural(VMCS_GUEST_RFLAGS) & RFLAGS_TF) &&
        (vmread32(VMCS_GUEST_INTERRUPTIBILITY) & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS)))
        vmwrite_natural(VMCS_GUEST_PENDING_DEBUG, PENDING_BS);
}

void vmx_block_nmi(void)
{
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, vmread32(VMCS_GUEST_INTERRUPTIBILITY) | BLOCKING_BY_NMI);
}

bool vmx_injection_pending(void)
{
    return vmread32(VMCS_ENTRY_INTR_INFO) & INTR_VALID;
}

bool vmx_pending_injection(struct vmx_event *out)
{
    out->info = vmread32(VMCS_ENTRY_INTR_INFO);
    if (!(out->info & INTR_VALID))
        return false;
    out->error = out->info & INTR_HAS_ERROR ? vmread32(VMCS_ENTRY_ERROR_CODE) : 0;
    return true;
}

void vmx_set_cr2(uint64_t address)
{
    write_cr2(address); /* root mode takes no page faults: CR2 stays the guest's */
}

void vmx_set_interrupt_status(uint16_t status)
{
    vmwrite16(VMCS_GUEST_INTR_STATUS, status);
}

void vmx_set_eoi_bitmap(const uint64_t bitmap[4])
{
    vmwrite64(VMCS_EOI_EXIT_BITMAP0, bitmap[0]);
    vmwrite64(VMCS_EOI_EXIT_BITMAP1, bitmap[1]);
    vmwrite64(VMCS_EOI_EXIT_BITMAP2, bitmap[2]);
    vmwrite64(VMCS_EOI_EXIT_BITMAP3, bitmap[3]);
}

void vmx_set_tpr_threshold(uint32_t threshold)
{
    vmwrite32(VMCS_TPR_THRESHOLD, threshold);
}
