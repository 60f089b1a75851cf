/* Processors from ACPI's Multiple APIC Description Table. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

/*
 * List the processors that the MADT (size bytes at madt, its header included) names as usable, at
 * most room of them; bsp is the APIC id of the processor that runs this. Firmware's table is not
 * trusted: entries that do not fit end the walk. Returns the number listed, or -EBADMSG when the
 * table is not a MADT.
 */
int madt_cpus(const uint8_t *madt, uint32_t size, uint32_t bsp, struct handover_cpu *cpus,
              uint32_t room);
