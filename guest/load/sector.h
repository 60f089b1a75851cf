/* Flat images that start as a boot sector does: in real mode at 0:7c00. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* Whether bytes 510 and 511 are 55h and AAh. */
bool sector_recognise(const void *kernel, uint64_t size);

/* As kernel_load(). The whole file lies at 7c00h, up to the EBDA at most; for the BIOS, see bios.h.
 */
int sector_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error) MUST_CHECK;
