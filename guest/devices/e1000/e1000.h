/* The 82540EM as a VM's network card, for who pulls its cable. */
#pragma once

#include "guest/board/class.h"

extern const struct device_class e1000_class;

/* With no lock of the device's held. */
void e1000_plug(struct device *d, bool in);
