/*
 * The first function on the mock board's PCI bus, as a driver of a virtio device sees it: its
 * common configuration by a BAR, and config space.
 */
#pragma once

#include "tests/unit/virtq_driver.h"

#define BAR         0xc0000000u
#define V1          (UINT64_C(1) << 32)
#define PACKED_RING (UINT64_C(1) << 34)
#define INDIRECT    (UINT64_C(1) << 28)
#define EVENT       (UINT64_C(1) << 29)

static struct board board;
static struct bus_view view;

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

static inline uint32_t config(unsigned at, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (at & 3)), size);
}

static inline void config_write(unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

/* Reset, and as far as FEATURES_OK with these. */
static inline void negotiate(uint64_t features)
{
    config_write(PCI_COMMAND, 2, 6);
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    out(0x14, 1, 3);
    out(8, 4, 0);
    out(12, 4, (uint32_t)features);
    out(8, 4, 1);
    out(12, 4, features >> 32);
    out(0x14, 1, 0xb);
    assert_int_equal(in(0x14, 1), 0xb);
}
