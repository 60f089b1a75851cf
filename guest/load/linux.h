/* Linux bzImage by the 64-bit or the 32-bit boot protocol (Linux, Documentation/arch/x86/boot.rst).
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/load/e820.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

/* What the setup header says, checked against the file's size. */
struct linux_header {
    uint64_t setup_size;   /* bytes of real-mode setup before the protected-mode kernel */
    uint64_t payload_size; /* bytes of the protected-mode kernel in the file */
    uint64_t init_size;    /* memory that the kernel needs from its load address on */
    uint64_t load_address; /* the protected-mode kernel's first byte */
    uint64_t initrd_max;   /* highest address that an initrd's byte may have */
    uint32_t cmdline_size; /* longest command line without its terminator */
    uint16_t version;
    bool is_64; /* it has a 64-bit entry; if not, it starts at its first byte in 32-bit mode */
};

/* Whether a file of size bytes begins as a bzImage does, whatever else is wrong with it. */
bool linux_recognise(const void *kernel, uint64_t size);

/* Whether it is one that can be started, by its 32-bit entry alone. */
bool linux_recognise_32(const void *kernel, uint64_t size);

/* Check a kernel file's setup header. Returns 0 or -EBADMSG, and a sentence in error[LOAD_ERROR].
 */
int linux_parse(const void *kernel, uint64_t size, struct linux_header *header,
                char *error) MUST_CHECK;

/*
 * Write kernel, initrd, command line, boot_params with the E820 map, GDT, for the 64-bit entry
 * identity page tables of the first 4 GiB, and BIOS data area through sink, and fill *start.
 * Returns 0; -EBADMSG: the kernel's file is not usable; -ENOMEM: the VM's memory (or the part below
 * its hole) is too small, the sentence names how much it takes; -E2BIG: the command line is too
 * long for this kernel; -ERANGE: the initrd is too large for it, whatever the memory; -ENOTSUP:
 * there are modules, which it cannot take; or the sink's error. Memory not written is expected to
 * be zero, as a fresh VM's is.
 */
int linux_load(const struct guest_image *image, const struct gpa_layout *layout,
               const struct guest_sink *sink, struct guest_start *start, char *error) MUST_CHECK;

/* The least memory, a multiple of 1 MiB, with which linux_load() finds room, if the hole lies
 * above. */
uint64_t linux_memory_needed(const struct linux_header *header, uint64_t initrd_size);
