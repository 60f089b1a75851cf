/* What a Multiboot 2 kernel is told (Multiboot2 Specification, "Boot information format"). */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/place.h"

struct multiboot2_told {
    const struct guest_sink *sink;
    const struct guest_image *image;
    const struct gpa_layout *layout;
    const struct placement *placement;
    const struct elf *elf;             /* NULL: it is a flat image */
    const struct guest_screen *screen; /* NULL: there is none */
    bool relocated;                    /* it is to be told where it lies */
};

/* Write it, and what of an ELF file's sections is not in memory, as far as there is room behind all
 * the rest. *info: where it lies. Returns 0, -ENOSPC when there is more than can be told, or the
 * sink's error. */
int multiboot2_tell(const struct multiboot2_told *told, uint64_t *info) MUST_CHECK;
