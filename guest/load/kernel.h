/* Which loader a kernel's file is for: the one place that knows them all. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* What a kernel's file is, such as "a Linux bzImage"; NULL when no loader knows it. */
const char *kernel_kind(const void *kernel, uint64_t size);

/*
 * Write a kernel and what belongs to it through sink, and fill *start. Returns 0, or an error and a
 * sentence in error[LOAD_ERROR]. -EBADMSG: the kernel's file is not usable; -ENOMEM: memory (or the
 * part below the hole) is too small, the sentence names how much it takes; -E2BIG: the command line
 * is too long for it, or it takes none; -ERANGE: the same of the initrd; -ENOTSUP: the same of
 * modules; or the sink's error. Memory not written is expected to be zero, as a fresh VM's is.
 */
int kernel_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error) MUST_CHECK;
