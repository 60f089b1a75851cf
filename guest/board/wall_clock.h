/* The time of day: what firmware said at boot, carried on by the TSC. */
#pragma once

#include "arch/x86/lib/types.h"

/* boot_time: seconds since 1970-01-01 UTC at the TSC value tsc; 0 when unknown. */
void wall_clock_init(int64_t boot_time, uint64_t tsc);
void wall_clock_now(int64_t *seconds, uint32_t *microseconds);
