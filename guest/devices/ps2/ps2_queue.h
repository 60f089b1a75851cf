/* Bytes for the host; what there is no room for is lost, as on a wire that nobody reads. */
#pragma once

#include "guest/devices/ps2/ps2.h"

static inline void ps2_clear(struct ps2_queue *q)
{
    q->first = q->count = 0;
}

static inline void ps2_put(struct ps2_queue *q, uint8_t byte)
{
    if (q->count < PS2_QUEUE)
        q->bytes[(q->first + q->count++) % PS2_QUEUE] = byte;
}
