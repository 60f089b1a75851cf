/*
 * The guest's own page tables walked in software (SDM volume 3, "Paging"): 32-bit, PAE, 4-level and
 * 5-level. Pure: tables are read through a callback, accessed and dirty bits are left alone.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* What the access is: bits of access. */
#define WALK_WRITE BIT(0)
#define WALK_USER  BIT(1) /* as CPL 3 does; implicit supervisor accesses leave it out */
#define WALK_FETCH BIT(2)
#define WALK_IMPLICIT                                                                              \
    BIT(3) /* supervisor access to a system structure: SMAP applies whatever RFLAGS.AC says */

struct walk_context {
    uint64_t cr0, cr3, cr4, efer, rflags;
    unsigned physical_bits; /* the guest's MAXPHYADDR */
    void *opaque;
    /* 8 bytes at an aligned guest-physical address: 0, or negative when that is not RAM. */
    int (*read)(void *opaque, uint64_t gpa, uint64_t *value);
};

/*
 * Translate a linear address. 0 and *gpa, or -EFAULT with the page fault's error code in *error
 * (paging off: never fails). A table that lies outside RAM reads as not present.
 */
int guest_walk(const struct walk_context *c, uint64_t linear, unsigned access, uint64_t *gpa,
               uint32_t *error) MUST_CHECK;
