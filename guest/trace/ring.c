#include "guest/trace/ring.h"

void trace_ring_init(struct trace_ring *r, void *memory, size_t bytes)
{
    *r = (struct trace_ring){.records = memory,
                             .size = (uint32_t)(bytes / sizeof(struct trace_record))};
}

/* While the writer fills a slot, head is still the number of the record that it writes: the one
 * that stood there before, head - size, is gone already. */
uint64_t trace_ring_oldest(const struct trace_ring *r)
{
    uint64_t head = __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);

    return head < r->size ? 0 : head - r->size + 1;
}

bool trace_ring_get(const struct trace_ring *r, uint64_t n, struct trace_record *out)
{
    if (n >= __atomic_load_n(&r->head, __ATOMIC_ACQUIRE) || n < trace_ring_oldest(r))
        return false;
    *out = r->records[n % r->size];
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return n >= trace_ring_oldest(r); /* it may have been overwritten meanwhile */
}

bool trace_ring_take(struct trace_ring *r, struct trace_record *out)
{
    while (trace_ring_waits(r)) {
        uint64_t oldest = trace_ring_oldest(r);

        if (oldest > r->tail) {
            r->lost += oldest - r->tail;
            r->tail = oldest;
        }
        if (trace_ring_get(r, r->tail, out)) {
            r->tail++;
            return true;
        }
    }
    return false;
}

bool trace_ring_waits(const struct trace_ring *r)
{
    return r->tail < __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
}
