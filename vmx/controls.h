/*
 * The five VMX control words as declared tables (controls.c): what Corbel requires, wants, keeps
 * for run time, or never sets; and the one pure function that combines them with the capability
 * MSRs.
 */
#pragma once

#include "vmx/caps.h"

/* `[host] without =`: optional CPU features that are left unused, so that each fallback is a tested
 * path. */
#define VMX_WITHOUT_VID         BIT(0)
#define VMX_WITHOUT_APICV       BIT(1) /* APIC-register virtualization and virtual-interrupt delivery */
#define VMX_WITHOUT_X2APIC_VIRT BIT(2)
#define VMX_WITHOUT_TPR         BIT(3) /* TPR shadow, and with it all of the above */
#define VMX_WITHOUT_PREEMPT     BIT(4)
#define VMX_WITHOUT_VPID        BIT(5)
#define VMX_WITHOUT_EPT_1G      BIT(6)
#define VMX_WITHOUT_EPT_2M      BIT(7) /* and 1 GiB leaves */
#define VMX_WITHOUT_EPT_AD      BIT(8)
#define VMX_WITHOUT_INVPCID     BIT(9)
#define VMX_WITHOUT_RDTSCP      BIT(10)
#define VMX_WITHOUT_XSAVES      BIT(11)
#define VMX_WITHOUT_MTF         BIT(12)
#define VMX_WITHOUT_PML         BIT(13)
#define VMX_WITHOUT_INS_OUTS    BIT(14)
#define VMX_WITHOUT_BUS_LOCK    BIT(15) /* and split locks by #AC */
#define VMX_WITHOUT_NOTIFY      BIT(16)

struct vmx_controls {
    uint32_t pin, primary, secondary, exit, entry;
};

/* What the rest may use: true only when the CPU has it and `without` does not remove it. */
struct vmx_features {
    /* execution */
    bool virtual_nmi;
    bool preemption_timer;
    uint8_t preemption_shift; /* the timer counts once per 2^shift TSC ticks */
    bool monitor_trap_flag;   /* primary bit, set at run time */
    bool pause_loop;          /* secondary bit, set at run time */
    bool descriptor_table;    /* the same */
    bool posted_interrupts;   /* pin bit, set at run time */
    bool tsc_scaling, pml, mode_based_execute, user_wait; /* secondary bits, set at run time */
    bool bus_lock;    /* secondary bit, set at run time: exits behind an instruction that locked the
                         bus */
    bool split_lock;  /* no control, and only without bus_lock: vmx_probe() has found that #AC comes
                         before an access that would lock the bus for two cache lines */
    bool notify;      /* secondary bit, set at run time: exits where no event could be taken */
    bool perf_global; /* entry and exit load IA32_PERF_GLOBAL_CTRL; set at run time */
    bool wbinvd_exiting;
    bool hlt_activity; /* VMX_MISC: activity state HLT is supported */
    bool ia32e_stored; /* VMX_MISC: exits store EFER.LMA into the IA-32e-mode-guest entry control */
    bool no_error_code; /* any hardware exception may be injected without an error code */
    bool zero_length_injection;
    bool ins_outs; /* the instruction information of INS and OUTS is valid */
    /* guest instructions that need their control; hide them from CPUID when false */
    bool rdtscp, invpcid, xsaves;
    bool xsavec; /* no control: vmx_probe() has found that it does what the SDM says */
    /* local APIC */
    bool tpr_shadow;
    bool virtualize_apic_accesses; /* secondary bit, set while the guest is in xAPIC mode */
    bool virtualize_x2apic;        /* secondary bit, set while the guest is in x2APIC mode */
    bool apic_register, vid;
    /* VPID */
    bool vpid, invvpid_address, invvpid_single, invvpid_all, invvpid_single_keep_global;
    /* EPT */
    bool ept_1g, ept_2m, ept_ad, ept_execute_only, ept_supervisor_shadow;
    bool ept_wb;                 /* paging structures may be WB; else UC */
    bool small_executable;       /* no large leaf may be executed: vmx_choose_leaves() */
    bool ept_exit_qualification; /* advanced information for EPT violations */
    bool invept, invept_single, invept_all;
    /* bits of CR0 and CR4 that VMX fixes: (value | fixed0) & fixed1; under unrestricted guest PE
     * and PG are free */
    uint64_t cr0_fixed0, cr0_fixed1, cr4_fixed0, cr4_fixed1;
    uint8_t physical_bits;
};

/*
 * Choose the control words for this CPU. `without` is a set of VMX_WITHOUT bits. For each
 * requirement the CPU lacks, missing(ctx, sentence) is called (missing may be NULL). Returns how
 * many are lacking: 0 means controls and features are valid. The IA-32e-mode-guest entry control is
 * left 0 (guest state decides it), as are the bits that are set at run time; every one of those may
 * be set whenever its feature is true.
 */
int vmx_choose_controls(const struct vmx_caps *caps, uint32_t without,
                        struct vmx_controls *controls, struct vmx_features *features,
                        void (*missing)(void *ctx, const char *sentence), void *ctx) MUST_CHECK;

/* The name of a control bit for logs; NULL for a reserved or unknown one. word: 0 pin, 1 primary, 2
 * secondary, 3 exit, 4 entry. */
enum vmx_word { VMX_WORD_PIN, VMX_WORD_PRIMARY, VMX_WORD_SECONDARY, VMX_WORD_EXIT, VMX_WORD_ENTRY };
const char *vmx_control_name(enum vmx_word word, unsigned bit);
