/* What the DSDT says: the board's devices in AML. */
#pragma once

#include "guest/load/aml.h"

/* slots, display: see struct acpi_platform. */
void dsdt_build(struct aml *a, uint32_t slots, bool display);
