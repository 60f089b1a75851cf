/*
 * The one thing that loader and microkernel share: what the loader found out about the machine.
 * All addresses are physical. The struct and everything that it points to lie in memory of type
 * HANDOVER_MEM_LOADER in the memory map, except firmware's own tables.
 */
#pragma once

#include <stdint.h>

#define HANDOVER_MAGIC   0x564f4c4542524f43ULL /* "CORBELOV" */
#define HANDOVER_VERSION 3u

enum handover_mem_type {
    HANDOVER_MEM_USABLE,   /* free for the microkernel, boot services' memory included */
    HANDOVER_MEM_LOADER,   /* loader data: this struct, files, config text, initial page tables */
    HANDOVER_MEM_KERNEL,   /* the microkernel's image */
    HANDOVER_MEM_RUNTIME,  /* UEFI runtime services' code and data */
    HANDOVER_MEM_ACPI,     /* ACPI reclaimable or NVS */
    HANDOVER_MEM_MMIO,     /* memory-mapped I/O as firmware lists it */
    HANDOVER_MEM_RESERVED, /* everything else */
};

/* Sorted by address, not overlapping, page aligned. */
struct handover_mem {
    uint64_t base;
    uint64_t size;
    uint32_t type;
    uint32_t efi_type;
    uint64_t efi_attribute;
};

struct handover_cpu {
    uint32_t apic_id;
    uint32_t flags; /* HANDOVER_CPU_* */
};
#define HANDOVER_CPU_ENABLED 1u
#define HANDOVER_CPU_BSP     2u

enum handover_pixel { HANDOVER_PIXEL_NONE, HANDOVER_PIXEL_RGBX, HANDOVER_PIXEL_BGRX };

struct handover_framebuffer {
    uint64_t base; /* 0 when there is none */
    uint64_t size;
    uint32_t width, height, stride; /* in pixels of 32 bits */
    uint32_t format;                /* enum handover_pixel */
};

/* The partition that the loader was started from, as firmware's device path for it says: what its
 * table knows it by. NONE: not from one, as from a CD. */
enum handover_boot_kind { HANDOVER_BOOT_NONE, HANDOVER_BOOT_MBR, HANDOVER_BOOT_GPT };
struct handover_boot {
    uint32_t kind;         /* enum handover_boot_kind */
    uint8_t signature[16]; /* GPT: the partition's GUID; MBR: the first four bytes are the disk's */
};

/* One file that the config names, in the order in which the config first names it. */
struct handover_file {
    uint64_t path; /* physical address of the path's bytes, as written in the config */
    uint32_t path_length;
    int32_t status; /* 0, or -ENOENT, -EISDIR (21), -ENOMEM, -EIO */
    uint64_t base;  /* page aligned; the rest of the last page is zero */
    uint64_t size;
};

struct handover {
    uint64_t magic;
    uint32_t version;
    uint32_t size; /* sizeof(struct handover) */

    uint64_t kernel_base, kernel_size; /* where the microkernel's image lies; page aligned */
    uint64_t page_table;               /* the loader's initial page tables (CR3) */
    uint64_t low_pages; /* two pages below 640 KiB kept for starting processors; 0 when none */

    uint64_t memory; /* struct handover_mem[memory_count] */
    uint32_t memory_count;
    uint32_t cpu_count;
    uint64_t cpus; /* struct handover_cpu[cpu_count] */
    struct handover_framebuffer framebuffer;

    uint64_t rsdp;         /* 0 when firmware has no ACPI tables */
    uint64_t smbios;       /* 0 when there is none */
    uint64_t system_table; /* EFI_SYSTEM_TABLE */
    int64_t boot_time; /* seconds since 1970-01-01 UTC by the firmware's clock; 0 when unknown */
    uint64_t boot_time_tsc;

    uint64_t config; /* the config file's text, not terminated; 0 when it could not be read */
    uint64_t config_size;
    int32_t config_status; /* 0 or as in struct handover_file */
    uint32_t file_count;
    uint64_t files; /* struct handover_file[file_count] */

    uint64_t tsc_start;    /* TSC at the loader's first instruction */
    uint64_t tsc_handover; /* TSC just before the jump, after ExitBootServices */

    struct handover_boot boot;
};

/*
 * The microkernel's entry, by the System V ABI: RDI = direct-map address of struct handover. The
 * loader's page tables map all RAM twice: identity (until the microkernel drops it) and at
 * HANDOVER_DIRECT_MAP (NX); the microkernel's segments lie at their link addresses, W^X. Interrupts
 * are off, EFER.NXE and CR0.WP are on.
 */
#define HANDOVER_DIRECT_MAP 0xffff800000000000ULL
