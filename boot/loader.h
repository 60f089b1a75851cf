/* The loader's own parts, in the order in which they run. Only boot/ includes this. */
#pragma once

#include <efi.h>
#include "boot/handover.h"
#include "arch/x86/lib/types.h"

extern EFI_SYSTEM_TABLE *firmware;

/* --- print.c: the firmware's console and COM1 --- */

void print_init(void);
/* Boot services are gone: from here on only COM1 is written. */
void print_firmware_gone(void);
/* One line beginning "corbel: "; no newline in fmt. */
void say(const char *fmt, ...) PRINTF(1, 2);
/* A bar for total steps of work on what is named; each step() draws up to its part; end() closes
 * the line. */
void progress_begin(const char *name, uint32_t name_length, uint64_t total);
void progress_step(uint64_t done);
void progress_end(int status);

/* --- requirements.c: can this processor run Corbel? --- */

/*
 * 0, or -ENODEV after the sentence that says why not and what to do. With check_only no VT-x is
 * needed: the microkernel starts and reports.
 */
int requirements_check(bool check_only);

/* --- memory.c --- */

/* Zeroed pages (EfiLoaderData) above 1 MiB for at least size bytes, or NULL. Lives on after the
 * hand-over. */
void *memory_allocate(uint64_t size);
void memory_free(void *p, uint64_t size);
/* One zeroed page. */
uint64_t *memory_page(void);
/* Firmware's memory map, in memory of firmware's which grows with it; all zeros before the first
 * time.
 */
struct memory_map {
    uint8_t *at;
    UINTN room, size, step, key; /* step: from one descriptor to the next */
};
/* Get the newest one. 0, -ENOMEM, or -EIO when firmware does not give it. Nothing has been
 * allocated since the key that it has. */
int memory_map(struct memory_map *m) MUST_CHECK;
void memory_map_free(struct memory_map *m);
/* Two pages below 640 KiB, but not the first of all, or 0. */
uint64_t memory_low_pages(void);

/* --- kernel.c: the microkernel's ELF --- */

/* Copy the embedded ELF's segments to h->kernel_base. 0 or negative, with a sentence. */
int kernel_load(struct handover *h, uint64_t *entry);
/* Build h->page_table as boot/handover.h promises; trampoline is the page that runs the switch. */
int kernel_map(struct handover *h, uint64_t trampoline);

/* --- facts.c, cpus.c: what the machine is --- */

void facts_gather(EFI_HANDLE image, struct handover *h);
int cpus_gather(struct handover *h);

/* --- files.c: the config and what it names --- */

/*
 * Read the config and return its mode (enum config_mode). Without a readable config that is
 * CONFIG_MODE_RUN, and h->config_status says why.
 */
uint32_t config_load(EFI_HANDLE image, struct handover *h);
/* Only lack of memory for the bookkeeping fails; what is wrong with a file goes into its status. */
int files_load(struct handover *h);

/* --- leave.c --- */

/* Prepare everything that leaving needs. 0, -ENOMEM, or -EIO when firmware tells of no memory. */
int leave_prepare(struct handover *h);
/* Leave boot services and jump. Returns only when firmware refuses to let go. */
EFI_STATUS leave(EFI_HANDLE image, struct handover *h, uint64_t entry);
