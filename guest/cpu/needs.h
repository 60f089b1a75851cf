/*
 * What a saved vCPU needs of the processor that is to run it: features that its guest may have seen
 * by CPUID, states of its FPU, registers' bits, the TSC's rate. Compared by name before anything of
 * it is loaded. Pure.
 */
#pragma once

#include "guest/board/state.h"
#include "guest/cpu/cpuid.h"

#define NEEDS_ERROR 160

/* What a vCPU has here. */
struct cpu_has {
    uint64_t tsc_hz;
    size_t fpu_size; /* bytes of its FPU's state */
    const struct cpuid_table *cpuid;
    uint64_t capabilities; /* IA32_ARCH_CAPABILITIES as its guest reads it */
};

/* As one section. */
void needs_save(const struct cpu_has *has, struct state_writer *w);
/* Read that section: 0, or -EBADMSG with what is missing here in error[NEEDS_ERROR]; it goes on
 * behind "the saved state ...". */
int needs_check(const struct cpu_has *has, struct state_reader *r, char *error) MUST_CHECK;
