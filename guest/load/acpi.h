/*
 * The guest's ACPI tables (ACPI Specification 6.5): RSDP, RSDT, XSDT, FADT, FACS, MADT, MCFG
 * and a DSDT of AML. A pure builder: one block of bytes to be placed at GPA_ACPI, the RSDP at its
 * start.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/layout.h"

#define ACPI_CPUS      64
#define ACPI_IOAPIC_ID 0 /* what the MADT says of the I/O APIC at GPA_IOAPIC */

struct acpi_platform {
    unsigned cpus;            /* 1..ACPI_CPUS */
    const uint32_t *apic_ids; /* one per CPU; NULL: 0, 1, 2, ... */
    /* Devices of PCI that may come and go while the guest runs, a bit for each number from 1 on. */
    uint32_t slots;
    bool display; /* a graphics card, keyboard and mouse are there */
};

/*
 * Build all tables into out[0..size) for address GPA_ACPI; GPA_ACPI_SIZE bytes always suffice for
 * 64 CPUs. Returns the number of bytes used, or -ENOSPC, or -EINVAL for a platform out of range.
 */
int acpi_build(const struct acpi_platform *platform, void *out, size_t size) MUST_CHECK;
