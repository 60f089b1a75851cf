/* The graphics card of a VM with `display = vga`, and how others see what it shows. */
#pragma once

#include "guest/board/pci.h"
#include "guest/devices/vga/picture.h"

#define VGA_EDID 128u

/* An instance where the VM's line `display =` wants one. */
extern const struct device_class vga_class;

/* With the device's lock held: the chip of an instance. */
const struct vga_chip *vga_chip_of(const struct device *d);

/* A byte of the monitor's EDID. */
uint8_t vga_edid(unsigned at);
