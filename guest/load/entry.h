/* The state in which a processor enters a guest's kernel, and the tables in low memory that it
 * takes. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/sink.h"

/* Write size bytes, which may be 0. */
int load_put(const struct guest_sink *sink, uint64_t gpa, const void *data,
             uint64_t size) MUST_CHECK;

/* Each fills *start and returns 0, or the sink's error; the caller adds what its protocol puts into
 * general registers. */

/* 64-bit mode at rip below 4 GiB: writes a GDT and page tables that map the first 4 GiB at their
 * own addresses, in 2 MiB pages. */
int entry_long_mode(const struct guest_sink *sink, uint64_t rip,
                    struct guest_start *start) MUST_CHECK;

/* 32-bit protected mode without paging: writes a GDT. */
int entry_protected_mode(const struct guest_sink *sink, uint32_t eip,
                         struct guest_start *start) MUST_CHECK;

/* The same with the selectors of Linux' boot protocol: 10h for code, 18h for data. */
int entry_protected_mode_linux(const struct guest_sink *sink, uint32_t eip,
                               struct guest_start *start) MUST_CHECK;

/* Real mode at 0:ip, with the stack below it. */
void entry_real_mode(uint16_t ip, struct guest_start *start);
