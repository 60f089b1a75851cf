/* Which processor this is, as a person would ask for it. Pure: CPUID is a callback. */
#pragma once

#include "arch/x86/lib/types.h"

struct cpu_id {
    char vendor[13]; /* "GenuineIntel" */
    char
        name[49]; /* the brand string without the blanks that pad it; "unnamed" where it has none */
    uint32_t family, model, stepping; /* as displayed: with the extended fields added */
};

/* regs receives EAX, EBX, ECX, EDX. SDM, "CPUID - CPU Identification". */
void cpu_identify(struct cpu_id *id,
                  void (*cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]),
                  void *ctx);
