/* The microkernel's heap: small objects from size classes, larger ones from whole frames. Hosted
 * code gets malloc. */
#pragma once

#include "arch/x86/lib/types.h"

/* size bytes, zeroed, aligned to 16 (to PAGE_SIZE when size is a multiple of it); NULL when memory
 * is out. */
void *heap_alloc(size_t size) MUST_CHECK;
/* p from heap_alloc, or NULL. */
void heap_free(void *p);
