/* Where a kernel's pieces and its modules lie in guest memory, for kernels that say themselves
 * where they want to be. */
#pragma once

#include "guest/load/e820.h"
#include "guest/load/elf.h"
#include "guest/load/image.h"
#include "guest/load/sink.h"

struct load_piece {
    uint64_t gpa, memory_size;
    const void *data;
    uint64_t file_size; /* at most memory_size */
};

struct placement {
    unsigned pieces; /* filled in by the loader, as is piece */
    struct load_piece piece[ELF_SEGMENTS];
    unsigned modules;
    struct guest_module module[LOAD_MODULES]; /* the initrd first, if there is one */
    uint64_t module_gpa[LOAD_MODULES];
    uint64_t end; /* of all that, place() says */
};

/* Take an ELF file's segments as the kernel's pieces, at their physical addresses. */
void place_segments(struct placement *p, const struct elf *elf);

/* A flat image by the addresses of Multiboot's headers: what lies at load_addr follows from where
 * the header is in file and memory. An end of 0: that of the file, or there is no bss. */
struct load_flat {
    uint64_t offset; /* of the header in the file */
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

/* Take a flat image as the kernel's one piece, with its entry in it. 0, or -EBADMSG with a sentence
 * in error[LOAD_ERROR]. */
int place_flat(struct placement *p, const struct guest_image *image, const struct load_flat *flat,
               char *error) MUST_CHECK;

/*
 * Check the kernel's pieces, and choose a page for each module above the kernel's end and 1 MiB.
 * Pieces may lie from GPA_LOAD_LOW to the EBDA and from 1 MiB to the hole, and may not overlap.
 * Returns 0, or as kernel_load() with a sentence in error[LOAD_ERROR].
 */
int place(struct placement *p, const struct guest_image *image, const struct gpa_layout *layout,
          char *error) MUST_CHECK;

/* Write all of it. Returns 0 or the sink's error. */
int place_write(const struct placement *p, const struct guest_sink *sink) MUST_CHECK;

/* --- what a kernel is told, one after the other from GPA_BOOT_INFO on --- */

struct boot_info {
    const struct guest_sink *sink;
    uint64_t next; /* GPA_BOOT_INFO at the start */
    int error;     /* the first one */
};

/* Append size bytes; their guest-physical address, which is a multiple of 8. */
uint64_t info_put(struct boot_info *b, const void *data, size_t size);
/* The same at once behind what is there. */
void info_append(struct boot_info *b, const void *data, size_t size);
/* Append "a b", terminated: without the blank when one of them is empty. */
uint64_t info_text(struct boot_info *b, const char *a, size_t a_size, const char *t, size_t t_size);
