/* Where things lie in guest-physical memory. */
#pragma once

#include "arch/x86/lib/types.h"

/* Below 640 KiB: what the loaders leave for the kernel's first instructions. */
#define GPA_BDA         0x400ULL /* BIOS data area: Linux reads the size of base memory there */
#define GPA_BIOS_STUBS  0x600ULL /* see bios.h */
#define GPA_GDT         0x1000ULL
#define GPA_PAGE_TABLES 0x2000ULL /* PML4, PDPT, four page directories: 0x2000-0x7fff */
#define GPA_BOOT_PARAMS 0x8000ULL /* one page */
#define GPA_CMDLINE     0x9000ULL /* one page */
#define GPA_STACK_TOP   0xb000ULL
#define GPA_SECTOR      0x7c00ULL /* boot sectors */
/* For kernels by Multiboot, PVH and ELF64: what they are told, and a stack. */
#define GPA_BOOT_INFO      0x8000ULL
#define GPA_BOOT_INFO_TOP  0xf000ULL
#define GPA_BOOT_STACK_TOP 0x10000ULL
#define GPA_LOAD_LOW       0x10000ULL /* they may lie from here on */
#define GPA_EBDA           0x9fc00ULL /* end of base memory: 639 KiB */

#define GPA_VGA_HOLE  0xa0000ULL /* no RAM from here ... */
#define GPA_BIOS      0xe0000ULL /* ... to here; RAM again, reserved in the E820 map */
#define GPA_ACPI      0xf0000ULL /* the RSDP and all ACPI tables */
#define GPA_ACPI_SIZE 0x10000ULL
#define GPA_HIGH      0x100000ULL

/* The MMIO hole: from the configured address to 4 GiB. */
#define GPA_IOAPIC 0xfec00000ULL
#define GPA_LAPIC  0xfee00000ULL
#define GPA_4G     0x100000000ULL

#define GPA_HOLE_DEFAULT GPA_HOLE_MAX
#define GPA_HOLE_MIN     (16 * MIB)
#define GPA_HOLE_MAX     (2816 * MIB) /* B0000000h: where the memory of PCI begins */
#define GPA_HOLE_ALIGN   (2 * MIB)

#define GPA_MEMORY_MIN (2 * MIB)
#define GPA_MEMORY_MAX (1024 * GIB)
