/*
 * How far another CPU's TSC is from the boot processor's, and making them equal. Both run it at the
 * same time, each its side, on one struct.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct tsc_sync {
    uint32_t asked, answered; /* rounds; atomic */
    uint64_t tsc;             /* the answer: the boot processor's TSC */
    uint64_t adjust;          /* its TSC_ADJUST */
};

/* Before the other CPU begins. */
void tsc_sync_init(struct tsc_sync *s);
/* The boot processor's side; returns when the other is done, or has not asked for 10 ms. */
void tsc_sync_answer(struct tsc_sync *s);
/*
 * The other's side. Returns how many ticks its TSC is ahead of the boot processor's: 0 when no
 * difference can be seen, or none is left after a correction by TSC_ADJUST. *corrected gets the
 * ticks that were taken off.
 */
int64_t tsc_sync_ask(struct tsc_sync *s, int64_t *corrected);

/*
 * The judgement, pure: the other CPU has read before and after, the boot processor answered with
 * middle in between. 0 when middle may have been read at the same moment as it says.
 */
int64_t tsc_skew(uint64_t before, uint64_t middle, uint64_t after);
