/*
 * The first function on the mock board's PCI bus, as a driver of a virtio device sees it: its
 * common configuration by a BAR, and config space.
 */
#pragma once

#include "tests/unit/virtq_driver.h"

#include "tests/unit/function_io.h"

#define V1          (UINT64_C(1) << 32)
#define PACKED_RING (UINT64_C(1) << 34)
#define INDIRECT    (UINT64_C(1) << 28)
#define EVENT       (UINT64_C(1) << 29)

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
