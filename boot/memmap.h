/* The machine's memory map, put in order: pure code over plain data. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

/* What a UEFI memory type means to the microkernel ("Memory Type Usage after ExitBootServices"). */
uint32_t memmap_type(uint32_t efi_type);

/*
 * Write the map that the in_count entries at in describe to out: sorted, page aligned (usable
 * memory shrinks, all else grows), neighbours of one kind merged, and where entries overlap the one
 * of the higher type wins. out must have room for 2 * in_count entries. Returns the number written,
 * or -ENOSPC when room is less.
 */
int memmap_build(const struct handover_mem *in, uint32_t in_count, struct handover_mem *out,
                 uint32_t room);
