/* A record in words, as `trace show` prints it and tools/trace lists it. */
#pragma once

#include "guest/trace/record.h"

#define TRACE_TEXT 160 /* a line fits into this */

/* cpu is where it was recorded, vm the VM's name; microseconds those since tracing began. Returns
 * the length. */
int trace_text(char out[TRACE_TEXT], const struct trace_record *r, unsigned cpu, const char *vm,
               uint64_t microseconds);
