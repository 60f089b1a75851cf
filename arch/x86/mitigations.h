/*
 * What is done against a processor's errata of speculation, and what is left open. Pure: from what
 * the processor says of itself (errata.h) to a set of steps, each of which somebody carries out.
 */
#pragma once

#include "arch/x86/errata.h"

/*
 * X(symbol, words); the config's names for them are in CONFIG_STEP_LIST, in the same order. In the
 * host, indirect branches are as they are, or retpolines, or (ALIGNED) in the upper half of a line.
 * The root mode of VMX has no less privileged code: what VMSCAPE is about is not there, and an IBPB
 * is for VMs among each other.
 */
#define MITIGATION_LIST(X)                                                                         \
    X(RETPOLINE, "retpolines")                                                                     \
    X(ALIGNED, "aligned branches")                                                                 \
    X(IBRS, "IBRS behind each VM exit")                                                            \
    X(EIBRS, "eIBRS")                                                                              \
    X(BHI_DIS, "BHI_DIS_S")                                                                        \
    X(BHI_CLEAR, "branch history cleared behind each VM exit")                                     \
    X(RSB_FILL, "RSB filled behind each VM exit")                                                  \
    X(RSB_ONE, "one RSB entry behind each VM exit")                                                \
    X(IBPB, "IBPB when VMs change")                                                                \
    X(TSX_OFF, "TSX switched off")                                                                 \
    X(L1D, "L1D flushed before each VM entry")                                                     \
    X(VERW, "buffers cleared before each VM entry")

enum mitigation {
#define MITIGATION_ENUM(symbol, words) MITIGATION_##symbol,
    MITIGATION_LIST(MITIGATION_ENUM)
#undef MITIGATION_ENUM
        MITIGATION_COUNT
};

/* What is left open: X(symbol, words). */
#define OPENING_LIST(X)                                                                            \
    X(IBRS, "returns (no IBRS)")                                                                   \
    X(IBPB, "branches between VMs (no IBPB)")                                                      \
    X(ITS, "returns behind an empty RSB (ITS)")                                                    \
    X(L1TF, "L1TF (no L1D_FLUSH)")                                                                 \
    X(MDS, "MDS (no MD_CLEAR)")                                                                    \
    X(TAA, "TAA (no MD_CLEAR)")                                                                    \
    X(MMIO, "MMIO stale data (no FB_CLEAR)")                                                       \
    X(RFDS, "RFDS (no RFDS_CLEAR)")                                                                \
    X(SRBDS, "SRBDS (no microcode)")                                                               \
    X(GDS, "GDS (no microcode)")                                                                   \
    X(SMT, "what threads of a core share")

enum opening {
#define OPENING_ENUM(symbol, words) OPENING_##symbol,
    OPENING_LIST(OPENING_ENUM)
#undef OPENING_ENUM
        OPENING_COUNT
};

struct mitigations {
    uint32_t steps;     /* BIT(enum mitigation) */
    uint32_t open;      /* BIT(enum opening) */
    uint64_t spec_ctrl; /* IA32_SPEC_CTRL in root mode; 0 also where it is not there */
};

/* What else counts. */
struct mitigation_use {
    bool threads;      /* another thread of the core is used, too */
    bool mmio;         /* a guest reaches MMIO of the machine's */
    uint32_t possible; /* steps that every processor of the machine can do */
};

/* The steps that this processor can do. */
uint32_t mitigations_possible(const struct cpu_speculation *s);
/* What this processor needs, of what is possible. */
void mitigations_choose(struct mitigations *m, const struct cpu_speculation *s,
                        const struct mitigation_use *use);
/* None of the chosen steps is carried out; returns them. */
uint32_t mitigations_off(struct mitigations *m);
/* Why these steps cannot all be had on this processor, in a sentence; NULL: they can. */
const char *mitigations_refuse(const struct cpu_speculation *s, uint32_t steps);
/* They are carried out beside those that have been chosen. */
void mitigations_force(struct mitigations *m, uint32_t steps);

/* "eIBRS, IBPB when VMs change", or "nothing"; and the same of what is open. */
void mitigations_text(char *text, size_t size, uint32_t steps);
void openings_text(char *text, size_t size, uint32_t open);
