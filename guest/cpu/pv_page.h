/*
 * What KVM's paravirtual interfaces have in guest memory: written here, within guest memory's
 * bounds. Each function that does returns 0, or -EFAULT where the guest has no memory there (any
 * more) that can be written.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct guest_memory;

/* How a guest makes nanoseconds of TSC ticks: multiplier / 2^32 each, after a shift to the left
 * (below 0: to the right). */
struct pv_rate {
    uint32_t multiplier;
    int8_t shift;
};

/* Of a TSC of hz ticks a second, 1 to 2^62. */
struct pv_rate pv_rate(uint64_t hz);
/* What the guest makes of so many ticks. */
uint64_t pv_ns(struct pv_rate rate, uint64_t ticks);

/* The clock of a vCPU: ns + pv_ns(rate, its TSC - tsc). 32 bytes, 4-byte aligned. */
struct pv_time {
    uint64_t tsc, ns;
    struct pv_rate rate;
    bool stable; /* all vCPUs' are the same function of the TSC, which reads the same on all */
};

int pv_write_time(struct guest_memory *gm, uint64_t gpa, const struct pv_time *t) MUST_CHECK;
/* The time of day, in ns since 1970, when the clock was 0. 12 bytes, 4-byte aligned. */
int pv_write_wall_clock(struct guest_memory *gm, uint64_t gpa, uint64_t ns) MUST_CHECK;

/* A vCPU's steal time: 64 bytes, 64-byte aligned. */
#define PV_PREEMPTED BIT(0) /* it is in no processor's guest */
#define PV_FLUSH     BIT(1) /* and is to forget its translations before it is again */

/* It has waited ns longer. */
int pv_add_steal(struct guest_memory *gm, uint64_t gpa, uint64_t ns) MUST_CHECK;
/* Its PV_ flags above become these. What they were; 0 where there is no memory. */
uint8_t pv_swap_preempted(struct guest_memory *gm, uint64_t gpa, uint8_t flags);
