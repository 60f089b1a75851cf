/* The chipset's reset control register (CF9h) and system control port A (92h). */
#pragma once

#include "guest/board/class.h"

struct reset_control {
    struct device dev;
    uint8_t control;  /* CF9h */
    uint8_t system_a; /* 92h */
};

/* CF9h lies within PCI's CF8h-CFFh: the PCI bus, which is made after it, passes byte accesses there
 * on. */
extern const struct device_class reset_control_class;
