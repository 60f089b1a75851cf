/*
 * The microkernel's address space: its image at -2 GiB (W^X), the direct map of RAM (NX), a window
 * for devices, guarded stacks. The lower half is empty.
 */
#pragma once

#include "arch/x86/percpu.h"
#include "boot/handover.h"
#include "mm/frame.h"

enum cache { CACHE_WB, CACHE_WC, CACHE_UC };

#define SPACE_MMIO   0xffffc00000000000ULL /* 64 GiB of device memory */
#define SPACE_STACKS 0xffffd00000000000ULL

/*
 * Build the tables from the loader's memory map and switch to them. Frames must be initialised.
 * Firmware's runtime regions are not mapped. Panics when memory is out.
 */
void space_init(const struct handover *h);
/* The page table's root: CR3 for other processors and HOST_CR3. */
paddr space_root(void);

/* Device memory, not executable; any alignment. NULL when tables cannot be had. Never unmapped. */
void *map_mmio(paddr base, uint64_t size, enum cache cache);
/* Firmware tables: the direct map where it covers [base, base + size), else a read-only mapping.
 * NULL as above. */
const void *map_table(paddr base, uint64_t size);
/* Whether the direct map covers the range. */
bool direct_map_covers(paddr base, uint64_t size);

/*
 * Have the microkernel's text changed, by a second mapping of it that is writable, not executable,
 * and gone when this returns. Who runs meanwhile must not run into what changes, and calls
 * cpu_forget_all() behind it; the calling CPU has. 0 or -ENOMEM; -EINVAL: the mapping is still
 * there.
 */
int space_change_text(void (*change)(void *ctx, uint8_t *text, size_t size), void *ctx) MUST_CHECK;

/* A stack of size bytes (whole pages) with an unmapped page on either side. 0 or -ENOMEM. */
int stack_alloc(uint64_t size, struct stack *out) MUST_CHECK;

/* Map these ranges one to one, writable and executable: for the last call into firmware. 0 or
 * -ENOMEM. */
int space_map_runtime(const struct handover_mem *map, unsigned count);
/*
 * An identity mapping of one executable page below 1 MiB, not writable, for starting processors;
 * and its removal, which other CPUs notice when they load CR3.
 */
int space_map_identity(paddr page);
void space_unmap_identity(paddr page);
