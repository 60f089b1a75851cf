/*
 * Virtual clocks that count at a fixed rate on the guest's TSC: both directions are exact, so a
 * periodic timer that asks for the deadline of its n-th tick never drifts. A clock counts ticks
 * since TSC 0.
 */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * Whole ticks of a clock of `rate` Hz in `tsc` ticks of the TSC at tsc_hz. rate in 1..2^24, tsc_hz
 * from rate to 2^40; a tsc_hz below rate counts as rate.
 */
static inline uint64_t clock_ticks(uint64_t tsc, uint64_t tsc_hz, uint32_t rate)
{
    if (tsc_hz < rate)
        tsc_hz = rate;
    return tsc / tsc_hz * rate + tsc % tsc_hz * rate / tsc_hz;
}

/* The first TSC value at which clock_ticks() is at least `ticks`; UINT64_MAX when that lies beyond
 * 64 bits. */
static inline uint64_t clock_deadline(uint64_t ticks, uint64_t tsc_hz, uint32_t rate)
{
    uint64_t seconds = ticks / rate, rest = ticks % rate, whole, part;

    if (tsc_hz < rate)
        tsc_hz = rate;
    part = (rest * tsc_hz + rate - 1) / rate;
    if (__builtin_mul_overflow(seconds, tsc_hz, &whole) ||
        __builtin_add_overflow(whole, part, &whole))
        return UINT64_MAX;
    return whole;
}
