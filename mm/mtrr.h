/*
 * Memory types of host-physical memory by the MTRRs (SDM volume 3, "Memory Type Range Registers"):
 * what EPT leaves must carry, because under EPT the guest's accesses do not consult the MTRRs.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum memory_type { MEMORY_UC = 0, MEMORY_WC = 1, MEMORY_WT = 4, MEMORY_WP = 5, MEMORY_WB = 6 };

#define MTRR_VARIABLE_MAX 32

struct mtrr {
    bool present; /* no MTRRs: everything is WB as far as they are concerned */
    bool enabled, fixed_enabled;
    uint8_t default_type;
    uint8_t variable_count;
    uint8_t fixed[88]; /* 0-512K in 64K, 512K-768K in 16K, 768K-1M in 4K steps */
    struct {
        uint64_t base, mask; /* bits 12 to physical_bits - 1 */
        uint8_t type;
        bool contiguous;
    } variable[MTRR_VARIABLE_MAX]; /* valid ones only */
    uint64_t address_mask;
};

/* The machine's, once they have been read; from then on nobody writes it. */
extern struct mtrr host_mtrr;

/* Read all MTRRs by rdmsr(ctx, msr). present: CPUID.1:EDX.MTRR; physical_bits 32-52. */
void mtrr_read(struct mtrr *mtrr, bool present, unsigned physical_bits,
               uint64_t (*rdmsr)(void *ctx, uint32_t msr), void *ctx);
/*
 * The type of the page at pa. *same_until (may be NULL) receives an address above pa up to which
 * the type does not change (it may stay the same beyond; UINT64_MAX: no end).
 */
enum memory_type mtrr_type(const struct mtrr *mtrr, uint64_t pa, uint64_t *same_until);
/* Whether [pa, pa + size) has one type, which goes to *type. size > 0, page aligned. */
bool mtrr_uniform(const struct mtrr *mtrr, uint64_t pa, uint64_t size, enum memory_type *type);
