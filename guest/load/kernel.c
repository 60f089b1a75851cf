/* The recogniser: loaders are asked in turn whether a file is theirs. */
#include "guest/load/kernel.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/linux.h"

/* In the order in which they are asked. */
static const struct loader {
    const char *kind;
    bool (*recognise)(const void *kernel, uint64_t size);
    int (*load)(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error);
} loaders[] = {
    {"a Linux bzImage", linux_recognise, linux_load},
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

/* What a file that no loader knows seems to be. */
static const char *describe_other(const uint8_t *k, uint64_t size)
{
    if (size == 0) {
        return "it is empty";
    }
    if (size >= 2 && k[0] == 0x1f && k[1] == 0x8b) {
        return "it is a gzip file; decompress it";
    }
    return "it is no Linux bzImage";
}

int kernel_load(const struct guest_image *image, const struct gpa_layout *layout,
                const struct guest_sink *sink, struct guest_start *start, char *error)
{
    const struct loader *loader = find_loader(image->kernel, image->kernel_size);

    if (!loader) {
        format(error, LOAD_ERROR, "is not a kernel that Corbel can start: %s",
               describe_other(image->kernel, image->kernel_size));
        return -EBADMSG;
    }
    return loader->load(image, layout, sink, start, error);
}
