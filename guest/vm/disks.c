/* See disks.h. */
#include "guest/vm/disks.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/config/disk.h"
#include "guest/storage/ram.h"
#include "guest/vm/files.h"

static int open_ram(struct vm *vm, struct config_span name, struct device_disk *out, char *error)
{
    struct file file;
    int status = files_find_one(name, &file);

    if (status < 0) {
        format(error, DEVICE_ERROR, "'%.*s' cannot be loaded: %s", (int)name.length, name.data,
               files_status_text(status));
        return -EINVAL;
    }
    if (file.size == 0) {
        format(error, DEVICE_ERROR, "'%.*s' is empty: a disk has one sector at least",
               (int)name.length, name.data);
        return -EINVAL;
    }
    out->block = ram_disk_create(file.data, file.size, vm->memory.owner);
    out->close = ram_disk_destroy;
    return out->block ? 0 : -ENOMEM;
}

int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error)
{
    struct config_disk disk;
    int result = config_disk_parse(text, length, &disk, error);

    if (result < 0)
        return result;
    *out = (struct device_disk){.read_only = disk.read_only};
    memcpy(out->serial, disk.serial, sizeof(out->serial));
    return open_ram(context, disk.name, out, error);
}
