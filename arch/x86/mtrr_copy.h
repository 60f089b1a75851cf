/*
 * All CPUs must have the same MTRRs (SDM, "MTRR Considerations in MP Systems"); firmware sees to
 * that, mostly.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define MTRR_COPY_MAX (1 + 11 + 2 * 32)

/* MTRR_DEF_TYPE, the fixed and the variable ones. */
struct mtrr_copy {
    unsigned count; /* 0: this CPU has none */
    uint32_t msr[MTRR_COPY_MAX];
    uint64_t value[MTRR_COPY_MAX];
};

/* The calling CPU's. */
void mtrr_copy_read(struct mtrr_copy *copy);
/* Make the calling CPU's the same; returns whether they were not. IF is 0. */
bool mtrr_copy_apply(const struct mtrr_copy *copy);
