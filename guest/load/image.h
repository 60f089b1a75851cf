/* What every guest loader is given: the files of a VM and what the config says about them. */
#pragma once

#include "arch/x86/lib/types.h"

/* An error sentence, with its terminator, fits into this. It is to be written after the kernel's
 * file name, such as "is truncated" or "needs memory=96M at least". */
#define LOAD_ERROR      256
#define LOAD_NOT_COPIED "could not be copied into the VM's memory (error %d)"

/* A screen of points that a kernel may ask for, and what it is told of it. */
struct guest_screen {
    uint64_t gpa; /* of its first point; rows follow each other by pitch bytes */
    uint32_t pitch, width, height;
    uint8_t depth; /* bits of a point: 15, 16, 24 or 32 */
};

struct guest_display {
    /* Show points, in the mode that is nearest to the one that *screen asks for, and say which. */
    void (*show)(void *ctx, struct guest_screen *screen);
    void *ctx;
};

#define LOAD_MODULES 17 /* the initrd, and as many modules as the config may name */

/* Texts are not terminated, and may be NULL when their size is 0. */
struct guest_module {
    const void *data;
    uint64_t size;
    const char *path, *args;
    size_t path_size, args_size;
};

struct guest_image {
    const void *kernel; /* the whole file */
    uint64_t kernel_size;
    const char *path; /* the kernel's, as the config has it */
    size_t path_size;
    const char *cmdline;
    size_t cmdline_size;
    const void *initrd; /* NULL and 0 when there is none */
    uint64_t initrd_size;
    const char *initrd_path;
    size_t initrd_path_size;
    struct guest_module module[LOAD_MODULES - 1];
    unsigned module_count;
    uint64_t rsdp;                       /* guest-physical address of the RSDP, or 0 */
    const void *rsdp_copy;               /* its ACPI_RSDP_SIZE bytes; NULL when there is none */
    const struct guest_display *display; /* NULL: the VM has none */
};
