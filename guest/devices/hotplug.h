/*
 * What tells a guest that devices of PCI come or are to go, and by which it lets go of them; the
 * methods in ACPI's tables (guest/load/dsdt.c) are the driver for it. QEMU's registers of the same
 * purpose lie at the same ports.
 */
#pragma once

#include "guest/board/class.h"

struct hotplug {
    struct device dev;
    uint32_t come, go; /* what the guest has not read yet; a bit for each device of PCI */
    void *context;
    void (*eject)(void *context, uint32_t devices);
};

extern const struct device_class hotplug_class;
/* Device number device has come; or is to go. GPE HOTPLUG_GPE is to follow. */
void hotplug_come(struct hotplug *h, unsigned device);
void hotplug_go(struct hotplug *h, unsigned device);
