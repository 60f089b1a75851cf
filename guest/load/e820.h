/* Guest-physical layout: from the size of memory and the start of the hole to RAM ranges and the
 * E820 map. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/layout.h"

struct gpa_range {
    uint64_t base, size;
};

#define GPA_RAM_RANGES 3

struct gpa_layout {
    uint64_t memory;   /* as configured */
    uint64_t hole;     /* no RAM from here to 4 GiB */
    uint64_t low_top;  /* end of RAM below the hole */
    uint64_t high_top; /* end of RAM above 4 GiB; GPA_4G when there is none */
    unsigned count;
    struct gpa_range ram[GPA_RAM_RANGES]; /* sorted; what EPT maps */
};

/* ACPI Specification, "System Address Map Interfaces": the types that Corbel uses. */
#define E820_RAM      1u
#define E820_RESERVED 2u
#define E820_ENTRIES  6

struct e820_entry {
    uint64_t base, size;
    uint32_t type;
} PACKED;

/*
 * Lay out memory bytes (GPA_MEMORY_MIN..GPA_MEMORY_MAX, a multiple of 4 KiB) around a hole
 * (GPA_HOLE_MIN.. GPA_HOLE_MAX, a multiple of 2 MiB). Returns 0 or -EINVAL. The VGA hole's 256 KiB
 * are lost, as on every PC.
 */
int gpa_layout_init(struct gpa_layout *layout, uint64_t memory, uint64_t hole) MUST_CHECK;

/* Whether every byte of [gpa, gpa + size) is RAM. */
bool gpa_layout_is_ram(const struct gpa_layout *layout, uint64_t gpa, uint64_t size);

/* Bytes of RAM in all ranges. */
uint64_t gpa_layout_ram(const struct gpa_layout *layout);

/* Fill the E820 map (sorted, not overlapping); returns the number of entries, at most E820_ENTRIES.
 */
unsigned e820_build(const struct gpa_layout *layout, struct e820_entry entries[E820_ENTRIES]);
