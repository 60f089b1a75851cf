/* The host's I/O APICs (Intel 82093AA datasheet): ISA interrupts to the boot processor. */
#pragma once

#include "arch/x86/lib/types.h"

/* From the MADT, else at fec00000h when something answers there. All pins masked. 0 or -ENODEV. */
int host_ioapic_init(void);
/* Deliver ISA interrupt irq (0-15) as vector to the CPU apic_id; the MADT's overrides apply. 0,
 * -EINVAL, -ENODEV. */
int ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id);
/* What is routed is so once more, as iommu.h has it now. */
void ioapic_reroute(void);
/* The id of each of them that is used; false from the last on. */
bool ioapic_id(unsigned n, unsigned *id);
void ioapic_mask_isa(unsigned irq);
