/* Firmware's ACPI tables, read without an AML interpreter (ACPI specification, "ACPI Software
 * Programming Model"). */
#pragma once

#include "arch/x86/lib/types.h"

struct PACKED acpi_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision, creator_id, creator_revision;
};

/* Find the root table. map gives an address for physical memory, or NULL. 0, -ENODEV (no RSDP),
 * -EBADMSG. */
int acpi_init(uint64_t rsdp, const void *(*map)(uint64_t base, uint64_t size));
/* The first table with that signature whose checksum is right, or NULL. header->length bytes may be
 * read. */
const struct acpi_header *acpi_find(const char signature[4]);

struct acpi_ioapic {
    uint32_t id, address, gsi_base;
};
struct acpi_override {
    uint8_t isa_irq;
    uint32_t gsi;
    uint16_t flags; /* MPS INTI flags: bits 0-1 polarity, 2-3 trigger mode */
};
struct acpi_madt {
    uint64_t lapic_address;
    unsigned ioapic_count, override_count;
    struct acpi_ioapic ioapics[8];
    struct acpi_override overrides[16];
};
/* What of the MADT the host uses. 0, or -ENOENT without a MADT. */
int acpi_read_madt(struct acpi_madt *out);

struct acpi_gas {
    uint8_t space; /* 0 memory, 1 I/O ports, 2 PCI configuration space */
    uint64_t address;
};
struct acpi_power {
    bool s5;             /* soft off is known: SLP_TYP values and PM1 control ports */
    uint16_t pm1a, pm1b; /* ports; pm1b may be 0 */
    uint8_t s5_a, s5_b;
    bool reset; /* there is a reset register */
    struct acpi_gas reset_register;
    uint8_t reset_value;
    uint16_t pm_timer; /* port, or 0 */
    uint16_t smi_command;
    uint8_t acpi_enable; /* 0: ACPI mode is on already */
};
/* From the FADT and the DSDT's \_S5_ package. 0, or -ENOENT without a FADT. */
int acpi_read_power(struct acpi_power *out);
