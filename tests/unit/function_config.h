/* The first function on the mock board's PCI bus: its config space, by the ports. */
#pragma once

#include "guest/board/pci.h"
#include "tests/unit/mock_board.h"

#define BAR 0xc0000000u

static struct board board;
static struct bus_view view;

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
