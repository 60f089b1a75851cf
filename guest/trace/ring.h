/*
 * A ring of trace records: one CPU writes and never waits, one reader follows. The newest records
 * push out the oldest; the reader counts those that it did not get.
 */
#pragma once

#include "guest/trace/record.h"

struct trace_ring {
    struct trace_record *records;
    uint32_t size; /* records that fit, 2 or more */
    uint32_t slot; /* the writer's: where the next one goes, head % size */
    uint64_t head; /* atomic; number of the next record since the beginning */
    uint64_t tail; /* the reader's: number of the next one to take */
    uint64_t lost; /* the reader's: pushed out before they were taken */
};

/* memory of bytes becomes the ring's. */
void trace_ring_init(struct trace_ring *r, void *memory, size_t bytes);

static inline void trace_ring_put(struct trace_ring *r, const struct trace_record *record)
{
    uint64_t head = r->head;

    r->records[r->slot] = *record;
    r->slot = r->slot + 1 == r->size ? 0 : r->slot + 1;
    __atomic_store_n(&r->head, head + 1, __ATOMIC_RELEASE);
}

/* Copy record number n; false when it is not there yet, or no more. */
bool trace_ring_get(const struct trace_ring *r, uint64_t n, struct trace_record *out);
/* The oldest record that is still there. */
uint64_t trace_ring_oldest(const struct trace_ring *r);
/* Take the reader's next record, counting what was lost before it; false when there is none. */
bool trace_ring_take(struct trace_ring *r, struct trace_record *out);
/* Whether the reader has something to take. */
bool trace_ring_waits(const struct trace_ring *r);
