/*
 * What CPUID says inside a VM: a table built once per vCPU from the host's leaves and the policy in
 * guest/cpu/cpuid.c, and a lookup short enough for the exit path. Leaves that mirror other state
 * are corrected when that state changes, never at lookup.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define CPUID_MAX_BASIC      0x16u
#define CPUID_MAX_EXTENDED   0x80000008u
#define CPUID_MAX_HYPERVISOR 0x40000010u
#define CPUID_KVM_BASE       0x40000100u

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

/* Executes CPUID on the host, or answers from a recorded processor in tests. */
typedef void (*cpuid_reader)(void *context, uint32_t leaf, uint32_t subleaf,
                             struct cpuid_regs *out);

struct cpuid_inputs {
    uint64_t tsc_hz;      /* the guest's TSC frequency; at least 1 MHz */
    unsigned lapic_shift; /* the local APIC's timer counts tsc_hz >> lapic_shift; 0-16 */
    unsigned vcpus;       /* 1-255 */
    uint32_t apic_id;     /* this vCPU's x2APIC id */
    uint64_t xcr0; /* XCR0 bits that the host supports: CPUID leaf 0Dh, EDX:EAX; 0 without XSAVE */
    unsigned physical_bits; /* upper bound for MAXPHYADDR as the EPT's depth allows it; 36-52 */
    bool rdtscp;            /* VMX control "enable RDTSCP" is set */
    bool invpcid;           /* VMX control "enable INVPCID" is set */
    bool xsaves;            /* VMX control "enable XSAVES/XRSTORS" is set */
    bool xsavec;            /* it does what the SDM says */
    bool user_wait;         /* VMX control "enable user wait and pause" is set */
    uint32_t pv;            /* KVM's feature bits that are offered */
    uint32_t spec_features; /* bits of leaf 7, EDX, about speculation that may be shown */
    uint32_t spec_controls; /* the same of its subleaf 2 */
};

struct cpuid_slot {
    uint8_t first; /* index into regs */
    uint8_t last;  /* highest subleaf kept; the answer for those above it too */
    uint8_t echo;  /* bits of ECX in that come back in ECX out (leaf 0Bh) */
    uint8_t spare;
};

#define CPUID_ENTRIES  72 /* of 80 or so possible at most 60 are used; see cpuid_build */
#define CPUID_KVM_SLOT 128

struct cpuid_table {
    struct cpuid_slot slots[130]; /* (leaf >> 30) * 32 + (leaf & 31); then the two KVM leaves */
    struct cpuid_regs regs[CPUID_ENTRIES];
    unsigned used;
    /* What follows from the table for others that must agree with it. */
    uint64_t xcr0_mask;  /* XCR0 bits the guest may set */
    uint64_t cr4_valid;  /* CR4 bits the guest may set */
    uint64_t efer_valid; /* EFER bits the guest may set, LMA included */
    unsigned physical_bits;
};

/* Fill the table for a vCPU whose CR4 and XSS are 0, XCR0 is 1 and whose local APIC is on. */
void cpuid_build(struct cpuid_table *t, const struct cpuid_inputs *in, cpuid_reader host,
                 void *context);

/* The guest's CR4 changed in OSXSAVE or PKE (both must be intercepted for this):
 * CPUID.1:ECX.OSXSAVE, 7:ECX.OSPKE. */
void cpuid_set_cr4(struct cpuid_table *t, uint64_t cr4);
/* IA32_MISC_ENABLE: bit 22 limits leaf 0's EAX to 2, bit 34 hides NX. */
void cpuid_set_misc_enable(struct cpuid_table *t, uint64_t misc_enable);
/* XCR0 or IA32_XSS changed: the sizes in leaf 0Dh. */
void cpuid_set_xcr0(struct cpuid_table *t, uint64_t xcr0, uint64_t xss);
/* IA32_APIC_BASE.EN changed: CPUID.1:EDX.APIC. */
void cpuid_set_apic_enabled(struct cpuid_table *t, bool enabled);

/* Whether XSETBV may load value into XCR0 (SDM, "Enabling the XSAVE Feature Set and XSAVE-Enabled
 * Features"). */
bool cpuid_xcr0_valid(const struct cpuid_table *t, uint64_t value);

/* The answer for a subleaf past those that are kept: the last one's, ECX as the leaf has it. */
static inline struct cpuid_regs cpuid_beyond(const struct cpuid_table *t, struct cpuid_slot s,
                                             uint32_t subleaf)
{
    struct cpuid_regs r = t->regs[s.first + s.last];
    r.ecx = (r.ecx & ~(uint32_t)s.echo) | (subleaf & s.echo);
    return r;
}

/* Feature bits of one register that a VM's guest may find set because the processor has them. */
struct cpuid_feature {
    uint32_t leaf;
    uint8_t subleaf;
    uint8_t reg;        /* EAX, EBX, ECX, EDX: 0-3 */
    uint32_t bits, row; /* which are set, and which could be */
    const char *words;  /* what these are */
};

/* The next group of them, *n is 0 at first, with those bits that the table has; false: there is
 * none. */
bool cpuid_next_feature(const struct cpuid_table *t, unsigned *n, struct cpuid_feature *out);

static inline const struct cpuid_slot *cpuid_slot(const struct cpuid_table *t, uint32_t leaf)
{
    uint64_t slot;
    if (LIKELY((leaf & 0x3fffffe0) == 0))
        slot = (leaf >> 25) + (leaf & 31); /* the two top bits are left: 32 slots each */
    else
        slot = (leaf & ~1u) == CPUID_KVM_BASE ? CPUID_KVM_SLOT + (leaf & 1) : CPUID_MAX_BASIC;
    return &t->slots[slot];
}

/* CPUID for the guest's EAX and ECX. Any pair has an answer: beyond the ranges, that of the highest
 * basic leaf. */
static inline struct cpuid_regs cpuid_lookup(const struct cpuid_table *t, uint32_t leaf,
                                             uint32_t subleaf)
{
    const struct cpuid_slot *s = cpuid_slot(t, leaf);
    if (subleaf > s->last)
        return cpuid_beyond(t, *s, subleaf);
    return t->regs[s->first + subleaf];
}
