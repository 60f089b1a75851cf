/*
 * The ACPI tables' DMAR: which remapping hardware there is, for which devices, and which memory
 * firmware wants devices to reach (Intel VT-d specification, "BIOS Considerations"). Nothing that
 * it says is believed before it has been looked at; a table with one fault in it is none.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define DMAR_UNITS   64
#define DMAR_REGIONS 64
#define DMAR_SCOPES  512 /* of all units and regions */
#define DMAR_HOPS    8

enum dmar_scope_type {
    DMAR_ENDPOINT = 1,
    DMAR_BRIDGE = 2, /* and all behind it */
    DMAR_IOAPIC = 3,
    DMAR_HPET = 4,
    DMAR_NAMESPACE = 5,
};

/* A device: by way of bridges, from a bus on. */
struct dmar_scope {
    uint8_t type, id; /* id: of an I/O APIC, as in the MADT */
    uint8_t bus, hops;
    uint8_t path[DMAR_HOPS]; /* device << 3 | function */
};

/* A remapping unit. */
struct dmar_unit {
    uint64_t registers;
    uint16_t segment;
    bool rest;             /* it has all devices of its segment that no other one has */
    uint16_t first, count; /* its scopes */
};

/* A reserved memory region: [base, end), which these devices are to reach. */
struct dmar_region {
    uint64_t base, end;
    uint16_t segment;
    uint16_t first, count;
};

struct dmar {
    unsigned address_bits;  /* of devices' addresses, at most */
    bool remaps_interrupts; /* firmware has nothing against it */
    bool no_x2apic;         /* it has something against that */
    unsigned unit_count, region_count, scope_count;
    struct dmar_unit units[DMAR_UNITS];
    struct dmar_region regions[DMAR_REGIONS];
    struct dmar_scope scopes[DMAR_SCOPES];
};

/* Read a table whose checksum is right. 0; -EBADMSG: something in it cannot be; -ENOSPC: more than
 * there is room for; -ENODEV: no unit. */
int dmar_read(const uint8_t *table, uint32_t length, struct dmar *out) MUST_CHECK;

/* Configuration space of segment 0, by aligned dwords. */
typedef uint32_t (*dmar_config)(uint16_t address, unsigned offset);

/* Where a scope leads by the buses that its bridges have now; false: nowhere. */
bool dmar_find(const struct dmar_scope *s, dmar_config read, uint16_t *address) MUST_CHECK;
/* Whether the function at that address is among these scopes. */
bool dmar_has(const struct dmar *d, unsigned first, unsigned count, dmar_config read,
              uint16_t address);
/* The unit that this function's accesses go through; NULL: none. Segment 0. */
const struct dmar_unit *dmar_unit_of(const struct dmar *d, dmar_config read, uint16_t address);
/* The unit of the I/O APIC of that id, and the address by which it is known there. */
const struct dmar_unit *dmar_unit_of_ioapic(const struct dmar *d, dmar_config read, unsigned id,
                                            uint16_t *address);
