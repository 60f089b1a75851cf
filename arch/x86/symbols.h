/* Looking an address up in the symbol table that the second link adds. */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * The symbol at or below address (the low 32 bits) in a table of size bytes, 4-byte aligned, or
 * NULL when there is none or the table is malformed; *offset is the distance from it.
 */
const char *symbol_find(const void *table, size_t size, uint32_t address, uint64_t *offset);
