/* Whether memory is all zeroes. */
#pragma once

#include "arch/x86/lib/types.h"

/* memory: aligned to 8; size: a multiple of 64. */
static inline bool is_zeroes(const void *memory, size_t size)
{
    const uint64_t *w = memory;
    uint64_t any = 0;

    for (size_t i = 0; i < size / 8 && !any; i += 8)
        any = w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7];
    return !any;
}
