/* The flash chip in which a VM's firmware keeps its variables. */
#pragma once

#include "guest/board/class.h"

/* An instance for each line `firmware =`. */
extern const struct device_class flash_class;

/* How many bytes of a firmware's file are variables: a whole number of 4 KiB; 0: none. */
uint32_t flash_variables(const void *file, uint64_t size);
/*
 * The VM ends: what stands there is kept, whatever its guest was doing. Whether it is: asked again
 * and again it comes to a yes. A reset waits for nothing, since chip and drive both stay.
 */
bool flash_kept(struct device *d);
