/* The chipset's reset control register (CF9h) and system control port A (92h). */
#pragma once

#include "guest/board/device.h"

struct reset_control {
    struct device dev;
    uint8_t control;  /* CF9h */
    uint8_t system_a; /* 92h */
};

/* CF9h lies within PCI's CF8h-CFFh: give this device to pci_init(), which passes byte accesses
 * there on. */
void reset_control_init(struct reset_control *r, struct board *board);
int reset_control_attach(struct reset_control *r, struct bus *bus) MUST_CHECK;
