/*
 * Accesses that cost much on silicon or when nested, counted in the build that `make bench` makes
 * for it: VMREAD, VMWRITE, RDMSR and WRMSR. In every other build nothing is left of this.
 */
#pragma once

#include "arch/x86/lib/types.h"

#ifdef CORBEL_COUNT
struct access_counts {
    uint64_t vmread, vmwrite, msr;
};
extern struct access_counts access_counts;
#define COUNT(what) ((void)access_counts.what++)
#else
#define COUNT(what) ((void)0)
#endif
