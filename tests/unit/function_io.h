/*
 * The first function on the mock board's PCI bus, as a driver sees it: memory at its BAR, and its
 * config space.
 */
#pragma once

#include "tests/unit/function_config.h"

static inline uint64_t in(uint32_t at, unsigned size)
{
    uint64_t value;

    assert_true(bus_mmio_read(&board.bus, &view, BAR + at, size, &value));
    return value;
}

static inline void out(uint32_t at, unsigned size, uint64_t value)
{
    assert_true(bus_mmio_write(&board.bus, &view, BAR + at, size, value));
}
