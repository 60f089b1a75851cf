/* See disks.h. */
#include "guest/vm/disks.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "drivers/drives.h"
#include "guest/devices/disk.h"
#include "guest/run/run.h"
#include "guest/storage/ram.h"
#include "guest/storage/sources.h"
#include "guest/vm/files.h"
#include "guest/vm/layers.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

/* A VM's disk that is open; they are listed in the order in which that was done. Processor 0's. */
struct open_disk {
    struct vm_disk disk;
    const struct vm *vm;
    unsigned number;           /* among those of its VM, as long as it is open */
    struct source_claim claim; /* of a drive's that is only read */
    struct vm_layer *layer;    /* of one that is written to */
    void (*close)(struct open_disk *o);
    struct open_disk *next;
    char text[]; /* that disk.config is of: it may have been typed */
};

static struct open_disk *all_open;
static bool wanted; /* drives are */

static void close_ram(struct open_disk *o)
{
    ram_disk_destroy(o->disk.block);
}

static int open_ram(struct open_disk *o, char *error)
{
    struct config_span name = o->disk.config.name;
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
    o->disk.block = ram_disk_create(file.data, file.size, o->vm->memory.owner);
    o->close = close_ram;
    return o->disk.block ? 0 : -ENOMEM;
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

void disks_begin(const struct config *config, const struct vm_config *vms)
{
    struct disk *d;

    wanted = config->state.data != NULL;
    for (size_t i = 0; i < config->vm_count; i++)
        wanted |= !vms[i].broken && wants_drive(&vms[i]);
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

static void close_drive(struct open_disk *o)
{
    if (o->layer)
        vm_layer_close(o->layer);
    else
        source_release(&o->claim);
}

static int open_drive(struct open_disk *o, char *error)
{
    const struct source_wish wish = {.text = o->disk.config.source.data,
                                     .length = o->disk.config.source.length,
                                     .owner = o->vm->name,
                                     .read_only = o->disk.config.read_only,
                                     .whole_allowed = o->vm->config->allow_whole_disk};
    char why[SOURCE_MESSAGE];
    int result;

    if (!wanted) {
        format(
            error, DEVICE_ERROR,
            "disk = %.*s: this machine's drives were not looked for when it started, as no VM of "
            "corbel.conf names one",
            (int)MIN(wish.length, (size_t)60), wish.text);
        return -EINVAL;
    }
    if (wish.read_only)
        result = source_claim(&wish, &o->claim, why);
    else
        result = vm_layer_open(o->vm, &wish, &o->layer, why);
    if (result < 0 && result != -ENOMEM)
        format(error, DEVICE_ERROR, "disk = %.*s: %s", (int)MIN(wish.length, (size_t)60), wish.text,
               why);
    if (result < 0)
        return result == -ENOMEM ? result : -EINVAL;
    struct source_claim *claim = o->layer ? vm_layer_claim(o->layer) : &o->claim;
    o->disk.block = &claim->slice.device;
    o->disk.drive = claim->disk;
    o->disk.first = claim->slice.first;
    o->close = close_drive;
    return 0;
}

/* --- which are open --- */

static void close_source(struct block_device *block)
{
    struct open_disk **at = &all_open, *o;

    while ((*at)->disk.block != block)
        at = &(*at)->next;
    o = *at;
    *at = o->next;
    o->close(o);
    heap_free(o);
}

static int open_source(struct open_disk *o, struct device_disk *out, char *error)
{
    struct open_disk **at = &all_open;
    int result = o->disk.config.kind == CONFIG_DISK_RAM ? open_ram(o, error) : open_drive(o, error);

    if (result < 0)
        return result;
    for (; *at; at = &(*at)->next)
        if ((*at)->vm == o->vm)
            o->number = (*at)->number + 1;
    *at = o;
    *out = (struct device_disk){.block = o->disk.block,
                                .close = close_source,
                                .read_only = o->disk.config.read_only,
                                .counts = &o->disk.counts};
    memcpy(out->serial, o->disk.config.serial, sizeof(out->serial));
    return 0;
}

int disk_open(void *context, const char *text, size_t length, struct device_disk *out, char *error)
{
    struct open_disk *o = heap_alloc(sizeof(*o) + length);
    int result;

    if (!o)
        return -ENOMEM;
    o->vm = context;
    memcpy(o->text, text, length);
    result = config_disk_parse(o->text, length, &o->disk.config, error);
    if (result == 0)
        result = open_source(o, out, error);
    if (result < 0)
        heap_free(o);
    return result;
}

const struct vm_disk *vm_disk(const struct vm *vm, unsigned index)
{
    for (const struct open_disk *o = all_open; o; o = o->next)
        if (o->vm == vm && index-- == 0)
            return &o->disk;
    return NULL;
}

bool disks_wanted(void)
{
    return wanted;
}

/* --- who looks on --- */

static vm_disk_observer observer;

static void request_seen(const struct device_disk_counts *of, const struct device_disk_event *event)
{
    const struct open_disk *o = CONTAINER_OF(of, const struct open_disk, disk.counts);
    vm_disk_observer told = __atomic_load_n(&observer, __ATOMIC_RELAXED);

    if (told)
        told(o->vm, o->number, event);
}

void vm_disks_set_observer(vm_disk_observer fn)
{
    __atomic_store_n(&observer, fn, __ATOMIC_RELAXED);
    disk_set_observer(fn ? request_seen : NULL);
}
