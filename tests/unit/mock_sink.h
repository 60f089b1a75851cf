/* A guest's memory for tests of its loaders: below the hole, and zero at first, as a fresh VM's is.
 */
#pragma once

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/load/e820.h"
#include "guest/load/sink.h"

static uint8_t *mock_memory;
static struct gpa_layout mock_layout;
static unsigned mock_writes;
static uint64_t mock_refuse_at = UINT64_MAX;

static inline int mock_sink_write(void *ctx, uint64_t gpa, const void *data, uint64_t size)
{
    assert_true(size > 0 && gpa_layout_is_ram(&mock_layout, gpa, size));
    assert_true(gpa + size <= mock_layout.low_top);
    if (gpa <= mock_refuse_at && mock_refuse_at < gpa + size) {
        return -EFAULT;
    }
    memcpy(mock_memory + gpa, data, size);
    mock_writes++;
    return 0;
}

static inline int mock_sink_zero(void *ctx, uint64_t gpa, uint64_t size)
{
    assert_true(gpa_layout_is_ram(&mock_layout, gpa, size));
    memset(mock_memory + gpa, 0, size);
    return 0;
}

static const struct guest_sink mock_sink = {mock_sink_write, mock_sink_zero, NULL};

static inline void mock_sink_fresh(uint64_t memory, uint64_t hole)
{
    free(mock_memory);
    assert_int_equal(gpa_layout_init(&mock_layout, memory, hole), 0);
    mock_memory = calloc(1, mock_layout.low_top);
    mock_writes = 0;
}

static inline uint64_t mock_get(uint64_t gpa, unsigned size)
{
    uint64_t v = 0;

    assert_true(gpa + size <= mock_layout.low_top);
    memcpy(&v, mock_memory + gpa, size);
    return v;
}
