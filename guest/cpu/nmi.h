/*
 * NMIs that have arrived and wait: on a processor one is in service and one more is latched. A vCPU
 * that has not come to take the first yet holds both, so that two in a row are two whoever runs.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define NMIS_MAX 2

/* One has come; on any CPU. */
static inline void nmi_arrive(uint8_t *waiting)
{
    uint8_t was = __atomic_load_n(waiting, __ATOMIC_RELAXED);

    while (was < NMIS_MAX && !__atomic_compare_exchange_n(waiting, &was, (uint8_t)(was + 1), false,
                                                          __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
        ;
}

/* One of them is taken; by its vCPU only. */
static inline void nmi_take(uint8_t *waiting)
{
    __atomic_fetch_sub(waiting, 1, __ATOMIC_SEQ_CST);
}

/* One is in service, which leaves one latch; by its vCPU only. */
static inline void nmi_keep_one(uint8_t *waiting)
{
    if (__atomic_load_n(waiting, __ATOMIC_RELAXED) > 1)
        __atomic_store_n(waiting, 1, __ATOMIC_SEQ_CST);
}
