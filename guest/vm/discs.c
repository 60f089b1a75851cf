/* See discs.h. */
#include "guest/vm/discs.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/config/disk.h"
#include "guest/devices/cdrom.h"
#include "guest/storage/ram.h"
#include "guest/vm/files.h"
#include "guest/vm/platform.h"

#define DISC_BLOCK 2048
#define NAME_SHOWN ((size_t)100) /* of a file's name, in a sentence */

int disc_open(void *context, const char *text, size_t length, struct device_disk *out, char *error)
{
    struct config_span name;
    struct file file;
    int status;

    *out = (struct device_disk){.read_only = true};
    if (!config_cdrom_file((struct config_span){text, length}, &name))
        return 0;
    status = files_find_one(name, &file);
    if (status < 0) {
        format(error, DEVICE_ERROR, "'%.*s' cannot be loaded: %s",
               (int)MIN(name.length, NAME_SHOWN), name.data, files_status_text(status));
        return -EINVAL;
    }
    if (file.size == 0 || file.size % DISC_BLOCK) {
        format(error, DEVICE_ERROR,
               "'%.*s' has no whole number of blocks of %u bytes: it is no disc",
               (int)MIN(name.length, NAME_SHOWN), name.data, DISC_BLOCK);
        return -EINVAL;
    }
    out->block = ram_disk_of(virt_to_phys(file.data), file.size);
    out->close = ram_disk_destroy;
    format(out->serial, sizeof(out->serial), "%08x", crc32(0, name.data, name.length));
    return out->block ? 0 : -ENOMEM;
}

/* The controller of a VM that is there; NULL: it is not, or has none, and error says so. */
static struct device *controller(const struct vm_slot *slot, char *error)
{
    struct device *d =
        slot->vm && slot->state != SLOT_MAKING ? platform_device(slot->vm, &ide_class) : NULL;

    if (!slot->vm || slot->state == SLOT_MAKING)
        format(error, CONTROL_ERROR, "%s is not on", slot->name);
    else if (!d)
        format(error, CONTROL_ERROR, "%s has no CD-ROM drive", slot->name);
    return d;
}

static int refuse(const struct vm_slot *slot, int result, char *error)
{
    if (result == -ENODEV)
        format(error, CONTROL_ERROR, "%s has no CD-ROM drive", slot->name);
    else if (result == -EBUSY)
        format(error, CONTROL_ERROR,
               "%s: the guest has locked the tray, and is asked to open it; 'eject %s now' does "
               "not ask",
               slot->name, slot->name);
    else if (result == -EEXIST)
        format(error, CONTROL_ERROR, "%s: there is a disc in the drive: eject it first",
               slot->name);
    else if (result < 0)
        format(error, CONTROL_ERROR, "%s: the drive is just reading: try again", slot->name);
    return result;
}

int discs_eject(struct vm_slot *slot, bool now, char *error)
{
    struct device *d = controller(slot, error);

    return d ? refuse(slot, cdrom_eject(d, now), error) : -EINVAL;
}

int discs_insert(struct vm_slot *slot, const char *name, size_t length, char *error)
{
    struct device *d = controller(slot, error);
    struct device_disk disc = {0};
    int result = 0;

    if (!d)
        return -EINVAL;
    if (length)
        result = disc_open(slot->vm, name, length, &disc, error);
    if (result == -ENOMEM)
        format(error, CONTROL_ERROR, "memory is out");
    if (result < 0)
        return result;
    result = refuse(slot, cdrom_insert(d, length ? &disc : NULL), error);
    if (result < 0 && disc.block)
        disc.close(disc.block);
    return result;
}
