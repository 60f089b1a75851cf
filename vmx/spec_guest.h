/*
 * What a guest is shown of its processor's speculation, so that it can protect itself and its
 * processes from each other: registers, their bits in CPUID, and IA32_ARCH_CAPABILITIES as far as
 * it is so in a VM. Pure.
 */
#pragma once

#include "arch/x86/mitigations.h"

struct spec_guest {
    uint32_t features;     /* of CPUID.7.0:EDX; FEATURE_IBRS: IA32_SPEC_CTRL and IA32_PRED_CMD */
    uint32_t controls;     /* of CPUID.7.2:EDX */
    uint64_t spec_ctrl;    /* bits of IA32_SPEC_CTRL that are not reserved */
    uint64_t capabilities; /* IA32_ARCH_CAPABILITIES */
};

/* The bits of CPUID that are decided here. */
#define SPEC_GUEST_FEATURES                                                                        \
    (FEATURE_IBRS | FEATURE_STIBP | FEATURE_L1D_FLUSH | FEATURE_ARCH_CAPABILITIES | FEATURE_SSBD)
#define SPEC_GUEST_CONTROLS                                                                        \
    (CONTROL_PSFD | CONTROL_IPRED | CONTROL_RRSBA | CONTROL_DDPD_U | CONTROL_BHI | CONTROL_MCDT_NO)

void spec_guest_offer(struct spec_guest *g, const struct cpu_speculation *s,
                      const struct mitigations *m);
bool spec_guest_same(const struct spec_guest *a, const struct spec_guest *b);
