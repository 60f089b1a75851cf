/* The host's clock is the TSC. */
#pragma once

#include "arch/x86/lib/types.h"

extern uint64_t tsc_hz;

/* Find tsc_hz: what CPUID says, checked against the 8254 (at most 10 ms); calibration wins when
 * they differ by > 1 %. */
void tsc_init(void);

/* Wait; for hardware that asks for it. */
void tsc_delay_us(uint64_t us);

/* Ticks to nanoseconds and back without overflow for any 64-bit value that has a result. */
uint64_t tsc_to_ns(uint64_t ticks);
uint64_t tsc_from_ns(uint64_t ns);
