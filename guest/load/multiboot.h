/* Kernels by the Multiboot Specification, version 0.6.96: ELF files of either class, and flat
 * images whose header says where they go. Entered in 32-bit protected mode. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* Whether a Multiboot header stands where it must and can be meant: its demands are known, and its
 * addresses, or else the ELF file around it, say what to load. */
bool multiboot_recognise(const void *kernel, uint64_t size);

/* Whether one stands there, whatever it asks for. */
bool multiboot_has_header(const void *kernel, uint64_t size);

/* As kernel_load(). The kernel's command line is its path, a blank and cmdline; a module's is its
 * path, a blank and its arguments. An initrd is the first module. */
int multiboot_load(const struct guest_image *image, const struct gpa_layout *layout,
                   const struct guest_sink *sink, struct guest_start *start,
                   char *error) MUST_CHECK;
