/*
 * The microkernel's own page tables (SDM, "Paging"): mapping ranges by the largest pages that fit.
 * Pure but for the frames it takes; nothing is flushed.
 */
#pragma once

#include "mm/frame.h"

#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_PWT      BIT(3)
#define PTE_PCD      BIT(4)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_GLOBAL   BIT(8)
#define PTE_NX       BIT(63)
#define PTE_ADDRESS  0x000ffffffffff000ULL

struct paging {
    paddr root;
    unsigned levels;   /* 4, or 5 with LA57 */
    unsigned page_max; /* order of the largest page: FRAME_ORDER_2M or FRAME_ORDER_1G */
    unsigned table_count;
};

/* Make an empty root. 0 or -ENOMEM. */
int paging_init(struct paging *p, unsigned levels, bool pages_1g);
/*
 * Map [va, va + size) to pa; all page aligned, nothing mapped there yet. flags are PTE_* other than
 * LARGE and PRESENT. 0, -ENOMEM, -EINVAL, -EEXIST when something is mapped there (what lies before
 * it stays mapped).
 */
int paging_map(struct paging *p, uint64_t va, paddr pa, uint64_t size, uint64_t flags) MUST_CHECK;
/* Remove the page of 4 KiB at va; false when there is none of that size. The caller flushes. */
bool paging_unmap(struct paging *p, uint64_t va);
/* Where va leads: its physical address, or FRAME_NONE; *flags gets the leaf's bits. */
paddr paging_lookup(const struct paging *p, uint64_t va, uint64_t *flags);
