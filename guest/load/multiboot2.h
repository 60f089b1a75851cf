/* Kernels by the Multiboot2 Specification, version 2.0: ELF files of either class, and flat images
 * whose header says where they go. Entered in 32-bit protected mode. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* Whether a header stands where it must and can be meant, as multiboot_recognise(). */
bool multiboot2_recognise(const void *kernel, uint64_t size);

/* Whether one stands there, whatever it asks for. */
bool multiboot2_has_header(const void *kernel, uint64_t size);

/* As multiboot_load(). A header that asks for a screen of points gets one where the VM has a
 * display; a VM without one is refused when the header insists. */
int multiboot2_load(const struct guest_image *image, const struct gpa_layout *layout,
                    const struct guest_sink *sink, struct guest_start *start,
                    char *error) MUST_CHECK;
