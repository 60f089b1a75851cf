/* ELF kernels that take a struct hvm_start_info: by the PVH entry of their note, or, without one,
 * in 64-bit mode. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* Whether it is a sound ELF file with a note XEN_ELFNOTE_PHYS32_ENTRY. */
bool pvh_recognise(const void *kernel, uint64_t size);

/* Whether it begins as ELF files of 64 bits do. */
bool elf64_recognise(const void *kernel, uint64_t size);

/*
 * Both as kernel_load(). An initrd is the first module. A PVH kernel starts at the note's address
 * in 32-bit protected mode with EBX = hvm_start_info. Any other ELF64 starts at its entry point,
 * with the first 4 GiB mapped at their own addresses, RDI = hvm_start_info, the first argument of a
 * C function, and no stack: RSP is 0.
 */
int pvh_load(const struct guest_image *image, const struct gpa_layout *layout,
             const struct guest_sink *sink, struct guest_start *start, char *error) MUST_CHECK;
int elf64_load(const struct guest_image *image, const struct gpa_layout *layout,
               const struct guest_sink *sink, struct guest_start *start, char *error) MUST_CHECK;
