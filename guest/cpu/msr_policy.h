/* The MSR policy: which MSRs exist inside a VM, and what reading and writing each means. */
#pragma once

#include "guest/cpu/msr.h"

enum msr_action {
    MSR_FAULT,        /* #GP(0) */
    MSR_PASS,         /* no exit */
    MSR_LAPIC,        /* the local APIC's */
    MSR_CONSTANT,     /* read: the row's value */
    MSR_IGNORED,      /* write: accepted without effect */
    MSR_ZERO,         /* write: 0 is accepted, anything else faults */
    MSR_CPU,          /* read from the VMCS */
    MSR_TIME,         /* TSC and TSC_ADJUST */
    MSR_MICROCODE,    /* the host's revision */
    MSR_MTRR,         /* kept, checked */
    MSR_UMWAIT,       /* kept, checked */
    MSR_ENABLES,      /* MISC_ENABLE: three bits are kept */
    MSR_MODE,         /* EFER */
    MSR_DEBUG,        /* DEBUGCTL */
    MSR_XSAVE_STATES, /* XSS */
    MSR_PV,           /* KVM's: kept, checked, and acted upon */
    MSR_SPECULATION,  /* SPEC_CTRL, checked; a command to the processor */
    MSR_CAPABILITIES, /* ARCH_CAPABILITIES */
};

enum msr_need {
    NEED_NOTHING,
    NEED_RDTSCP,
    NEED_XSAVES,
    NEED_WAITPKG,
    /* of msr_spec_rows */
    NEED_SPEC_CTRL,
    NEED_FLUSH,
    NEED_CAPABILITIES
};

struct msr_row {
    uint32_t first, last;
    uint8_t read, write; /* enum msr_action */
    uint8_t need;        /* without it the MSR does not exist */
    uint64_t value;
    const char *reason;
};

/* Sorted by number, not overlapping. */
extern const struct msr_row msr_rows[];
extern const unsigned msr_row_count;
/* The same of KVM's paravirtual interfaces; value: which of them (PV_ bits) has to be offered. */
extern const struct msr_row msr_pv_rows[];
extern const unsigned msr_pv_row_count;
/* And of those by which a guest protects itself against speculation. */
extern const struct msr_row msr_spec_rows[];
extern const unsigned msr_spec_row_count;

/* The row for an MSR, or NULL when there is no such MSR in this VM. */
const struct msr_row *msr_find(const struct msr_features *f, uint32_t msr);
