/* What bus.c and bus_ranges.c share. */
#pragma once

#include "guest/board/device.h"

/* Its index in bus->devices, or 0: it is not on the bus. */
unsigned bus_device_index(const struct bus *bus, const struct device *d);

/* No range; and what ranges have allocated. */
void bus_ranges_init(struct bus *bus);
void bus_ranges_free(struct bus *bus);
/* None of d's. */
void bus_ranges_forget(struct bus *bus, const struct device *d);
/* Find the piece in which gpa lies, or what there is otherwise; false, and v as it was: nothing. */
bool bus_find(struct bus *bus, struct bus_view *v, uint64_t gpa);
