/* The newest records of several rings, in the order of time, while those are being written. */
#pragma once

#include "arch/x86/smp.h"
#include "guest/trace/ring.h"

struct trace_view {
    struct trace_ring *const *rings;
    unsigned count;              /* of rings, at most SMP_CPUS_MAX */
    uint64_t next[SMP_CPUS_MAX]; /* numbers of records */
    uint64_t end[SMP_CPUS_MAX];
};

/* Look at the end of rings[0..count) as they are now. */
void trace_view_open(struct trace_view *v, struct trace_ring *const *rings, unsigned count);
/* The newest `newest` records before that come into view, too; false when there are not so many. */
bool trace_view_back(struct trace_view *v, unsigned newest);
/* The next one, and which ring has it; false when there are no more. Those that have been
 * overwritten since are left out. */
bool trace_view_next(struct trace_view *v, struct trace_record *out, unsigned *ring);
