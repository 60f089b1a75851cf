#include "arch/x86/tsc_sync.h"

int64_t tsc_skew(uint64_t before, uint64_t middle, uint64_t after)
{
    /* Differences, so that a TSC that is about to wrap does no harm. */
    if ((int64_t)(middle - before) >= 0 && (int64_t)(after - middle) >= 0)
        return 0;
    return (int64_t)(before + (after - before) / 2 - middle);
}
