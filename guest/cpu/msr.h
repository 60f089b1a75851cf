/*
 * RDMSR and WRMSR inside a VM. guest/cpu/msr_policy.c holds one row with a reason for every MSR
 * that a guest may touch: passed to the hardware without an exit, emulated, constant, or ignored.
 * Every other MSR raises #GP.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "arch/x86/msr.h"
#include "guest/board/state.h"

#define MTRR_VARIABLE 8  /* base and mask pairs */
#define MTRR_FIXED    11 /* registers of eight ranges each */
#define MSR_REPORTED  32 /* unknown MSRs told apart in the log */

/* What a vCPU's emulated MSRs hold. Those passed to the hardware or kept by the local APIC are not
 * here. */
struct msr_state {
    uint64_t tsc_adjust;
    uint64_t mtrr_def_type;
    uint64_t mtrr_fixed[MTRR_FIXED];
    uint64_t mtrr_variable[2 * MTRR_VARIABLE];
    uint64_t umwait_control;
    uint64_t misc_enable;
    uint32_t reported[MSR_REPORTED]; /* not part of saved state */
    unsigned reported_count;
};

/* What the CPU and the VM's CPUID allow; decides some rows. */
struct msr_features {
    bool rdtscp;      /* CPUID shows RDTSCP or RDPID */
    bool xsaves;      /* CPUID shows XSAVES */
    bool waitpkg;     /* CPUID shows WAITPKG */
    bool x2apic_mode; /* the vCPU's local APIC is in x2APIC mode and "virtualize x2APIC mode" is on
                       */
    bool apic_register;     /* as is "APIC-register virtualization" */
    bool virtual_interrupt; /* as is "virtual-interrupt delivery" */
    uint64_t efer_valid;    /* from struct cpuid_table */
    uint64_t xss_valid;     /* 0: no supervisor state component is virtualised */
    unsigned physical_bits; /* from struct cpuid_table */
    uint32_t microcode;     /* the host's revision, IA32_BIOS_SIGN_ID[63:32] */
    uint32_t pv;            /* what is offered of KVM's paravirtual interfaces (pv_state.h) */
    uint64_t spec_ctrl;     /* bits of SPEC_CTRL that are not reserved; 0: it is not there */
    bool spec_passed;       /* the guest has written it */
    bool flush;             /* FLUSH_CMD is there */
    bool has_capabilities;  /* ARCH_CAPABILITIES is */
    uint64_t capabilities;
};

/* The vCPU as the MSR model sees it. */
struct msr_env {
    const char *name; /* of the VM, for the log */
    void *context;    /* handed to every function */
    struct msr_features features;
    /* IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range 800h-8FFh: 0, or -EINVAL for #GP. */
    int (*lapic_read)(void *context, uint32_t msr, uint64_t *value);
    int (*lapic_write)(void *context, uint32_t msr, uint64_t value);
    /* The vCPU's TSC as RDTSC shows it, and adding to it (its offset; deadlines on it are rearmed
     * by the callee). */
    uint64_t (*tsc)(void *context);
    void (*tsc_add)(void *context, uint64_t delta);
    /*
     * MSRs whose value the CPU or the VMCS holds: EFER, DEBUGCTL, XSS, PAT, and every passed one
     * (these only where an exit happens all the same). Values handed to cpu_write have been
     * checked, except those of passed MSRs. The callee derives EFER.LMA and the IA-32e-mode entry
     * control itself; -EINVAL gives #GP.
     */
    int (*cpu_read)(void *context, uint32_t msr, uint64_t *value);
    int (*cpu_write)(void *context, uint32_t msr, uint64_t value);
    bool (*paging)(void *context); /* CR0.PG */
    /* IA32_MISC_ENABLE has changed: CPUID follows (cpuid_set_misc_enable). */
    void (*misc_enable)(void *context, uint64_t value);
    /* The MSRs of KVM's paravirtual interfaces that are offered: 0, or -EINVAL for #GP. */
    int (*pv_read)(void *context, uint32_t msr, uint64_t *value);
    int (*pv_write)(void *context, uint32_t msr, uint64_t value);
    /* SPEC_CTRL; and writes of it, which have been checked, and of PRED_CMD and FLUSH_CMD. */
    uint64_t (*spec_ctrl)(void *context);
    int (*spec_write)(void *context, uint32_t msr, uint64_t value);
};

/* Bits of IA32_MISC_ENABLE that change what CPUID shows. */
#define MISC_ENABLE_LIMIT_CPUID BIT(22)
#define MISC_ENABLE_NO_XD       BIT(34)

void msr_reset(struct msr_state *s);
/* RDMSR and WRMSR of any number: 0, or -EINVAL when the guest gets #GP(0). */
int msr_read(struct msr_state *s, const struct msr_env *env, uint32_t msr,
             uint64_t *value) MUST_CHECK;
int msr_write(struct msr_state *s, const struct msr_env *env, uint32_t msr,
              uint64_t value) MUST_CHECK;

void msr_save(const struct msr_state *s, struct state_writer *w);
int msr_load(struct msr_state *s, const struct msr_features *f, struct state_reader *r) MUST_CHECK;

/*
 * The MSR bitmap for these features; to be built anew when the local APIC enters or leaves x2APIC
 * mode. SDM, "MSR-Bitmap Address": read low, read high, write low, write high, 1 KiB each; a set
 * bit means exit.
 */
void msr_bitmap_build(uint8_t bitmap[4096], const struct msr_features *f);
