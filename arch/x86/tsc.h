/* The host's clock is the TSC. */
#pragma once

#include "arch/x86/lib/types.h"

extern uint64_t tsc_hz;
/* Where tsc_hz comes from, and by which clock that was confirmed (NULL: by none), in words. */
extern const char *tsc_source, *tsc_confirmed;

/*
 * Find tsc_hz: what CPUID says, checked against the 8254 for 10 ms or, where that stands still, the
 * ACPI PM timer at port pm_timer (0 when there is none); the calibration wins when they differ by
 * more than 1 %.
 */
void tsc_init(uint16_t pm_timer);

/* Wait; for hardware that asks for it. */
void tsc_delay_us(uint64_t us);

/* Ticks to nanoseconds and back without overflow for any 64-bit value that has a result. */
uint64_t tsc_to_ns(uint64_t ticks);
uint64_t tsc_from_ns(uint64_t ns);
