/*
 * One virtual CPU as VMX sees it: general registers, VMCS, and the state that VMX does not switch.
 * Whoever owns a vCPU embeds struct vmx_vcpu and supplies vcpu_exit(). Every function here works on
 * the vCPU that is loaded on this CPU (vmx_vcpu_load), unless it says otherwise; interrupts are
 * off.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "mm/frame.h"
#include "vmx/vmcs.h"
#include "vmx/vmcs_access.h"

struct ept;
struct vmx_cpu;

/* General registers in the encoding's order; RSP, RIP and RFLAGS live in the VMCS. */
enum gpr {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    GPR_COUNT
};

enum segment { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

struct vmx_segment {
    uint64_t base;
    uint32_t limit, access; /* access as in the VMCS */
    uint16_t selector;
};

/* MSRs that stay loaded while the vCPU is on a CPU: root mode uses none of them. */
enum vmx_shared_msr {
    SHARED_STAR,
    SHARED_LSTAR,
    SHARED_CSTAR,
    SHARED_FMASK,
    SHARED_KERNEL_GS_BASE,
    SHARED_TSC_AUX, /* only with RDTSCP */
    SHARED_MSR_COUNT
};

struct vmx_vcpu {
    uint64_t gpr[GPR_COUNT]; /* gpr[RSP] is not used */
    uint64_t host_rsp;       /* what VMCS_HOST_RSP holds */
    uint64_t launched; /* whether the VMCS is, for VMRESUME; 64 bits wide for the entry code */

    struct vmx_cpu *cpu;      /* the CPU on which the VMCS is current, or NULL */
    struct vmx_cpu *last_cpu; /* where it ran last: its TLB may hold our translations */
    paddr vmcs;
    paddr msr_bitmap;
    uint32_t primary, secondary; /* what the VMCS holds */
    uint32_t entry_controls;
    uint64_t own_ept; /* EPTP of the EPT that it uses instead of its VM's; 0: none */
    uint16_t vpid;
    bool watched;        /* VM exits lead to vcpu_exit_watched() */
    bool wrapped;        /* to vcpu_exit_wrapped() rather */
    bool x2apic_virtual; /* "virtualize x2APIC mode" rather than "virtualize APIC accesses" */
    bool guarded;        /* it takes the guarded road through entry.asm */
    bool spec_passed;    /* the guest reads and writes IA32_SPEC_CTRL without an exit */
    uint8_t spec_switch; /* what entry.asm does with it: TAKE_SPEC_CTRL */

    uint64_t shared_msr[SHARED_MSR_COUNT];
    uint64_t cr2, dr[4], dr6;
    uint64_t xcr0, xss;
    uint64_t spec_ctrl, host_spec_ctrl; /* the guest's, while it does not run; root mode's */
    void *
        fpu; /* XSAVE area, 64-byte aligned; holds the guest's state while the vCPU is not loaded */
    uint64_t cr_mask[2];  /* CR0's and CR4's guest/host mask while writes are watched (watch.h) */
    uint8_t watched_cr;   /* BIT(0), BIT(4): which are */
    bool syscall_watched; /* EFER.SCE is off, whatever the guest has: */
    bool guest_sce;
    bool debug_taken;     /* a debugger has the debug registers (debug.h) */
    uint64_t guest_dr[8]; /* the guest's meanwhile */
};

/* What a new vCPU is built from. */
struct vmx_vcpu_setup {
    struct ept *ept;
    paddr msr_bitmap;
    paddr virtual_apic_page;
    paddr apic_access_page; /* 0 when APIC accesses are not to be virtualized */
    uint16_t vpid;          /* not 0 where VPIDs are used */
    uint64_t tsc_offset;
    uint64_t cr4_allowed; /* CR4 bits that the guest may own */
    bool pause_loop;      /* exit when it spins: it is not alone in its VM */
};

/* Vectors that always exit. #DB and #AC: a guest could keep the CPU in their delivery for ever; #MC
 * is the host's. */
#define VMX_EXCEPTIONS (BIT(VECTOR_DB) | BIT(VECTOR_AC) | BIT(VECTOR_MC))

/* --- life --- */

/* Allocate and initialise the VMCS in power-on state. Does not need to be loaded. 0, -ENOMEM. */
int vmx_vcpu_init(struct vmx_vcpu *v, const struct vmx_vcpu_setup *setup) MUST_CHECK;
/* Give everything back; the vCPU must not be loaded anywhere. */
void vmx_vcpu_destroy(struct vmx_vcpu *v);
/* Make this vCPU the current one of this CPU, its FPU and MSR state in the registers; v is not
 * loaded elsewhere. */
void vmx_vcpu_load(struct vmx_vcpu *v);
/* Save what the CPU's registers hold of it and VMCLEAR, so that any CPU may load it next. */
void vmx_vcpu_put(struct vmx_vcpu *v);
/* SDM, "Processor State After Reset". Power-on and RESET leave the same here. */
enum vmx_reset { VMX_POWER_ON, VMX_RESET, VMX_INIT };
void vmx_vcpu_reset(struct vmx_vcpu *v, enum vmx_reset kind);
/* reset.c: the part of that which the VMCS and *v hold. */
void vmx_reset_state(struct vmx_vcpu *v, enum vmx_reset kind);

/* --- running --- */

/* Enter the guest and go on until vcpu_exit() returns other than 0; that value, or
 * VMX_ENTRY_FAILED. */
int vmx_run(struct vmx_vcpu *v);
#define VMX_ENTRY_FAILED (-1)

/*
 * Supplied by the owner of vCPUs: called after every VM exit with interrupts off. reason is the
 * VMCS's exit reason, all 32 bits, tsc the host's TSC soon after the exit. 0 enters the guest
 * again.
 */
int vcpu_exit(struct vmx_vcpu *v, uint64_t reason, uint64_t tsc);

/*
 * Have VM exits of the loaded vCPU lead to vcpu_exit_watched(), the same contract, which the owner
 * supplies, too: the VMCS holds another exit address then, so that whoever is not watched pays
 * nothing.
 */
void vmx_watch_exits(struct vmx_vcpu *v, bool on);
int vcpu_exit_watched(struct vmx_vcpu *v, uint64_t reason, uint64_t tsc);
/* The same once more, around whichever of the two it would be: vcpu_exit_wrapped(). */
void vmx_wrap_exits(struct vmx_vcpu *v, bool on);
int vcpu_exit_wrapped(struct vmx_vcpu *v, uint64_t reason, uint64_t tsc);

/*
 * The last VM entry failed behind the checks of controls and host state: the exit reason's bit 31.
 * Such a VMLAUNCH has launched nothing. The next entry is to be vmx_run()'s, not a return from
 * vcpu_exit().
 */
void vmx_entry_failed(struct vmx_vcpu *v);
/* Say on the log why the last VM entry failed: the instruction error and every check of the SDM
 * that does not hold. */
void vmx_report_entry_failure(struct vmx_vcpu *v);
/* The same for what would have the loaded vCPU exit before its next instruction for ever; how many
 * reasons there are. */
int vmx_report_no_progress(void);

/* --- registers --- */

static inline uint64_t vmx_rip(void)
{
    return vmread_natural(VMCS_GUEST_RIP);
}

static inline uint64_t vmx_rflags(void)
{
    return vmread_natural(VMCS_GUEST_RFLAGS);
}

uint64_t vmx_get_gpr(const struct vmx_vcpu *v, enum gpr r);
void vmx_set_gpr(struct vmx_vcpu *v, enum gpr r, uint64_t value);
void vmx_set_rip(uint64_t rip);
void vmx_set_rflags(uint64_t rflags);
void vmx_get_segment(enum segment s, struct vmx_segment *out);
void vmx_set_segment(enum segment s, const struct vmx_segment *in);

static inline uint32_t vmx_segment_access(enum segment s)
{
    return (uint32_t)vmread_any((enum vmcs_field)(VMCS_GUEST_ES_ACCESS + 2 * (unsigned)s));
}

uint64_t vmx_get_cr0(void); /* as the guest sees it */
uint64_t vmx_get_cr3(void);
uint64_t vmx_get_cr4(void); /* as the guest sees it */
uint64_t vmx_get_efer(void);
/* Set a control register or EFER with all that follows from it (entry controls, PDPTEs, TLB). The
 * guest's rules have been checked by the caller; what VMX demands beyond them is added and hidden
 * from the guest. */
void vmx_set_cr0(struct vmx_vcpu *v, uint64_t cr0);
void vmx_set_cr3(struct vmx_vcpu *v, uint64_t cr3);
void vmx_set_cr4(struct vmx_vcpu *v, uint64_t cr4);
void vmx_set_efer(struct vmx_vcpu *v, uint64_t efer);
void vmx_set_descriptor_table(bool idt, uint64_t base, uint16_t limit);
void vmx_set_pdptes(const uint64_t pdpte[4]);

/* MSRs that the VMCS or the CPU holds for the guest: 0, or -EINVAL for one that is not among them
 * or a value that the CPU would refuse. */
int vmx_read_msr(struct vmx_vcpu *v, uint32_t msr, uint64_t *value);
int vmx_write_msr(struct vmx_vcpu *v, uint32_t msr, uint64_t value);

/* The guest reads and writes IA32_SPEC_CTRL itself from the next entry on, which has to be
 * vmx_run()'s; or it does not any more. */
void vmx_pass_spec_ctrl(struct vmx_vcpu *v, bool pass);

/* Of the loaded vCPU; setting one that the CPU refuses returns false. */
uint64_t vmx_get_shared_msr(enum vmx_shared_msr i);
bool vmx_set_shared_msr(enum vmx_shared_msr i, uint64_t value) MUST_CHECK;

/* --- time, TLB, APIC --- */

void vmx_set_tsc_offset(uint64_t offset);
/* Exit after at most this many TSC ticks in the guest (VMX-preemption timer); below 2^(32 + shift).
 */
static inline void vmx_set_preemption_timer(uint64_t ticks, unsigned shift)
{
    vmwrite_hot32(VMCS_PREEMPTION_TIMER, ticks >> shift);
}
/*
 * Have the loaded vCPU use an EPT of its own from the next entry on, or (own 0) its VM's again.
 * What the EPT of its own translates may have changed: this CPU forgets it now, others when the
 * vCPU comes to them.
 */
void vmx_set_own_ept(struct vmx_vcpu *v, uint64_t own, const struct ept *shared);
/* Forget all translations of this vCPU (INVVPID) and all of the EPT with this EPTP (INVEPT) on this
 * CPU. */
void vmx_flush_linear(struct vmx_vcpu *v);
void vmx_flush_eptp(uint64_t eptp);
/* Both, for the loaded vCPU. */
void vmx_flush_current(struct vmx_vcpu *v);
/* xAPIC: APIC-access page; x2APIC: virtualized MSRs; disabled: neither. */
enum vmx_apic_mode { VMX_APIC_DISABLED, VMX_APIC_XAPIC, VMX_APIC_X2APIC };
void vmx_set_apic_mode(struct vmx_vcpu *v, enum vmx_apic_mode mode);
