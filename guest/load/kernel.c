/* The recogniser: loaders are asked in turn whether a file is theirs. */
#include "guest/load/kernel.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/elf.h"
#include "guest/load/linux.h"
#include "guest/load/multiboot.h"
#include "guest/load/pvh.h"
#include "guest/load/sector.h"

/* In the order in which they are asked. */
static const struct loader {
    const char *kind;
    bool (*recognise)(const void *kernel, uint64_t size);
    int (*load)(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error);
} loaders[] = {
    {"a Linux bzImage", linux_recognise, linux_load},
    {"a Multiboot kernel", multiboot_recognise, multiboot_load},
    {"a PVH kernel", pvh_recognise, pvh_load},
    {"an ELF64 program", elf64_recognise, elf64_load},
    {"a boot sector", sector_recognise, sector_load},
};

static const struct loader *find_loader(const void *kernel, uint64_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(loaders); i++) {
        if (loaders[i].recognise(kernel, size)) {
            return &loaders[i];
        }
    }
    return NULL;
}

const char *kernel_kind(const void *kernel, uint64_t size)
{
    const struct loader *loader = find_loader(kernel, size);

    return loader ? loader->kind : NULL;
}

#define MULTIBOOT_2        0xe85250d6
#define MULTIBOOT_2_SEARCH 32768

static bool is_multiboot_2(const uint8_t *k, uint64_t size)
{
    for (uint64_t at = 0; at + 8 <= MIN(size, (uint64_t)MULTIBOOT_2_SEARCH); at += 8) {
        if (get32(k + at) == MULTIBOOT_2) {
            return true;
        }
    }
    return false;
}

/* Say what a file that no loader takes seems to be. */
static void describe_other(const uint8_t *k, uint64_t size, char *error)
{
    const char *what = "it is neither a Linux bzImage, nor a Multiboot kernel, nor an ELF file, "
                       "nor a boot sector (55h AAh at byte 510)";
    struct elf elf;

    if (size == 0) {
        what = "it is empty";
    } else if (size >= 2 && k[0] == 0x1f && k[1] == 0x8b) {
        what = "it is a gzip file; decompress it";
    } else if (is_multiboot_2(k, size)) {
        what = "it has a Multiboot 2 header; Multiboot 1 is needed";
    } else if (elf_recognise(k, size)) {
        if (elf_parse(k, size, &elf, error) < 0) {
            return;
        }
        what = "it is an ELF file of 32 bits with neither a Multiboot header nor a PVH note";
    }
    format(error, LOAD_ERROR, "is not a kernel that Corbel can start: %s", what);
}

int kernel_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error)
{
    const struct loader *loader = find_loader(image->kernel, image->kernel_size);

    error[0] = '\0';
    if (!loader) {
        describe_other(image->kernel, image->kernel_size, error);
        return -EBADMSG;
    }
    return loader->load(image, layout, sink, start, error);
}
