/* The recogniser: loaders are asked in turn whether a file is theirs. */
#include "guest/load/kernel.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/elf.h"
#include "guest/load/linux.h"
#include "guest/load/multiboot.h"
#include "guest/load/multiboot2.h"
#include "guest/load/pvh.h"
#include "guest/load/sector.h"

/* The entry of an ELF file for Multiboot 2 is 32-bit code, whatever is wrong with its header. */
static bool plain_elf64(const void *kernel, uint64_t size)
{
    return elf64_recognise(kernel, size) && !multiboot2_has_header(kernel, size);
}

/* In the order in which they are asked. A file may hold a kind's magic by chance: whoever takes it
 * must be able to start it, as far as the file alone decides. */
static const struct loader {
    const char *kind;
    bool (*recognise)(const void *kernel, uint64_t size);
    int (*load)(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error);
} loaders[] = {
    {"a Linux bzImage with a 32-bit entry only", linux_recognise_32, linux_load},
    {"a Linux bzImage", linux_recognise, linux_load},
    {"a Multiboot kernel", multiboot_recognise, multiboot_load},
    {"a Multiboot 2 kernel", multiboot2_recognise, multiboot2_load},
    {"a PVH kernel", pvh_recognise, pvh_load},
    {"an ELF64 program", plain_elf64, elf64_load},
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

/* What a file may begin with that no loader takes. */
static const struct {
    const char *magic;
    uint8_t size;
    const char *what;
} others[] = {
    {"\x1f\x8b", 2, "it is a gzip file; decompress it"},
    {"\xfd"
     "7zXZ",
     6, "it is an xz file; decompress it"},
    {"\x28\xb5\x2f\xfd", 4, "it is a zstd file; decompress it"},
    {"\x04\x22\x4d\x18", 4, "it is an lz4 file; decompress it"},
    {"\x02\x21\x4c\x18", 4, "it is an lz4 file; decompress it"},
    {"BZh", 3, "it is a bzip2 file; decompress it"},
    {"MZ", 2,
     "it is a program for UEFI or Windows (PE), which only firmware can start (firmware = uefi)"},
};

/* Say what a file that no loader takes seems to be. */
static void describe_other(const uint8_t *k, uint64_t size, char *error)
{
    const char *what = "it is neither a Linux bzImage, nor a Multiboot kernel, nor an ELF file, "
                       "nor a boot sector (55h AAh at byte 510)";
    struct elf elf;

    if (size == 0) {
        what = "it is empty";
    } else if (elf_recognise(k, size)) {
        if (elf_parse(k, size, &elf, error) < 0) {
            return;
        }
        what = "it is an ELF file of 32 bits with neither a Multiboot header nor a PVH note";
    }
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (size >= others[i].size && memcmp(k, others[i].magic, others[i].size) == 0) {
            what = others[i].what;
        }
    }
    format(error, LOAD_ERROR, "is not a kernel that Corbel can start: %s", what);
}

int kernel_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error)
{
    const struct loader *loader = find_loader(image->kernel, image->kernel_size);

    error[0] = '\0';
    if (!loader && multiboot_has_header(image->kernel, image->kernel_size)) {
        return multiboot_load(image, layout, sink, start, error);
    }
    if (!loader && multiboot2_has_header(image->kernel, image->kernel_size)) {
        return multiboot2_load(image, layout, sink, start, error);
    }
    if (!loader) {
        describe_other(image->kernel, image->kernel_size, error);
        return -EBADMSG;
    }
    return loader->load(image, layout, sink, start, error);
}
