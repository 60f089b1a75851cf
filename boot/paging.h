/* The page tables under which the microkernel starts: pure code; the caller supplies the pages. */
#pragma once

#include "arch/x86/lib/types.h"

#define PTE_PRESENT  BIT(0)
#define PTE_WRITABLE BIT(1)
#define PTE_LARGE    BIT(7)
#define PTE_NX       BIT(63)
#define PTE_ADDRESS  0x000ffffffffff000ULL

struct paging {
    uint64_t *root;          /* PML4; its address is what goes into CR3 */
    uint64_t *(*page)(void); /* a zeroed page whose address is its physical one, or NULL */
};

/*
 * Map size bytes of physical memory from pa at va with 4-level paging, in leaves of 2 MiB where the
 * addresses allow it, else of 4 KiB; all three are page aligned. flags are PTE_WRITABLE and PTE_NX.
 * What was mapped there before is replaced, large leaves being split. Returns 0 or -ENOMEM. SDM
 * volume 3, "4-Level Paging and 5-Level Paging".
 */
int paging_map(struct paging *p, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags);
