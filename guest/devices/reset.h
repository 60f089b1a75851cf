/* The chipset's reset control register (CF9h) and system control port A (92h). */
#pragma once

#include "guest/board/class.h"

struct reset_control {
    struct device dev;
    struct bus_range control_port; /* for bytes, within the dword of PCI's address register */
    uint8_t control;               /* CF9h */
    uint8_t system_a;              /* 92h */
};

extern const struct device_class reset_control_class;
