#include "guest/trace/block.h"

#include "drivers/block.h"

_Static_assert(BLOCK_READ == 0 && BLOCK_WRITE == 1 && BLOCK_FLUSH == 2 && BLOCK_DISCARD == 3 &&
                   BLOCK_WRITE_ZEROES == 4 && BLOCK_OPS == 5,
               "TRACE_BLOCK_LIST is in their order, and the stream carries them");

static uint32_t code_of(unsigned disk, const struct device_disk_event *event)
{
    uint32_t code = (uint32_t)disk << 16 | event->op;

    if (event->flags & BLOCK_FUA)
        code |= (uint32_t)TRACE_BLOCK_FUA;
    if (event->result != DEVICE_DISK_BEGINS)
        code |= (uint32_t)TRACE_BLOCK_OVER;
    if (event->result < 0)
        code |= (uint32_t)-event->result << 8;
    return code;
}

struct trace_record trace_block_record(uint64_t now, uint64_t since, unsigned vm, unsigned disk,
                                       const struct device_disk_event *event)
{
    struct trace_record r = {.time = now,
                             .a = event->sector,
                             .b = event->sectors,
                             .code = code_of(disk, event),
                             .vm = (uint16_t)vm,
                             .kind = TRACE_BLOCK};

    if (event->result == DEVICE_DISK_BEGINS)
        *event->begun = now;
    else if (*event->begun >= since)
        r.cost = (uint32_t)MIN(now - *event->begun, UINT32_MAX);
    return r;
}
