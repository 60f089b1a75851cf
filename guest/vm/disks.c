/* See disks.h. */
#include "guest/vm/disks.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "guest/config/disk.h"
#include "drivers/drives.h"
#include "guest/run/run.h"
#include "guest/storage/ram.h"
#include "guest/storage/sources.h"
#include "guest/vm/files.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

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

/* --- drives of the machine --- */

_Static_assert(SOURCE_MESSAGE <= DEVICE_ERROR, "a sentence about a source");

static bool wants_drive(const struct vm_config *config)
{
    struct config_disk disk;
    char error[CONFIG_MESSAGE];

    for (size_t i = 0; i < config->disks.count; i++) {
        const struct config_span text = config->disks.item[i].text;

        if (config_disk_parse(text.data, text.length, &disk, error) == 0 &&
            disk.kind != CONFIG_DISK_RAM)
            return true;
    }
    return false;
}

/* They are looked after on processor 0. */
static void attention(void)
{
    run_attention(0);
}

void disks_begin(const struct vm_config *vms, size_t count)
{
    size_t wanted = 0;
    struct disk *d;

    for (size_t i = 0; i < count; i++)
        wanted += !vms[i].broken && wants_drive(&vms[i]);
    if (!wanted)
        return;
    drives_init();
    tables_read(drives_wait);
    disks_set_attention(attention);
    for (unsigned i = 0; (d = disk_get(i)); i++)
        log_info("disk %s: %lu MiB, %s%s%s; %s, %s", d->block.name,
                 d->block.sectors * BLOCK_SECTOR / MIB, d->model,
                 d->block.serial[0] ? ", serial " : "", d->block.serial, d->how,
                 d->unit->interrupting ? "with interrupts" : "polled");
}

static void close_drive(struct block_device *device)
{
    struct source_claim *claim = CONTAINER_OF(device, struct source_claim, slice.device);

    source_release(claim);
    heap_free(claim);
}

static int open_drive(struct vm *vm, const struct config_disk *disk, struct device_disk *out,
                      char *error)
{
    const struct source_wish wish = {.text = disk->source.data,
                                     .length = disk->source.length,
                                     .owner = vm->name,
                                     .read_only = disk->read_only,
                                     .whole_allowed = vm->config->allow_whole_disk};
    struct source_claim *claim = heap_alloc(sizeof(*claim));
    char why[SOURCE_MESSAGE];

    if (!claim)
        return -ENOMEM;
    if (source_claim(&wish, claim, why)) {
        format(error, DEVICE_ERROR, "disk = %.*s: %s", (int)MIN(wish.length, (size_t)60), wish.text,
               why);
        heap_free(claim);
        return -EINVAL;
    }
    out->block = &claim->slice.device;
    out->close = close_drive;
    return 0;
}

int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error)
{
    struct config_disk disk;
    int result = config_disk_parse(text, length, &disk, error);

    if (result < 0)
        return result;
    *out = (struct device_disk){.read_only = disk.read_only};
    memcpy(out->serial, disk.serial, sizeof(out->serial));
    if (disk.kind == CONFIG_DISK_RAM)
        return open_ram(context, disk.name, out, error);
    return open_drive(context, &disk, out, error);
}
