/* The flash chip in which a VM's firmware keeps its variables. */
#pragma once

#include "arch/x86/lib/types.h"

/* How many bytes of a firmware's file are variables: a whole number of 4 KiB; 0: none. */
uint32_t flash_variables(const void *file, uint64_t size);
