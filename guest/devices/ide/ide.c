/* The controller: a function on the PCI bus with the drives that the config gives it. */
#include "guest/devices/ide/ide.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"
#include "guest/config/disk.h"
#include "guest/devices/cdrom.h"

#define VENDOR       0x8086
#define DEVICE       0x7010
#define CLASS        0x010180 /* mass storage, IDE, a bus master; channels where a PC/AT has them */
#define MASTER_BAR   4
#define MASTER_PORTS 16

/* IDETIM, two bytes of each channel, and SIDETIM: timings that mean nothing here, and whether the
 * channel's ports are there. */
#define TIMING         0x40
#define TIMING_SIZE    5
#define TIMING_DECODES 0x80 /* of the second byte */

#define SECTORS_AT_ONCE (2 * MIB / BLOCK_SECTOR)
#define STUCK_HZ        1000 /* how often it tries where guest memory is pinned by others */

static const struct {
    uint16_t command, control;
    uint8_t irq;
} places[IDE_CHANNELS] = {
    {PORT_IDE1, PORT_IDE1_CONTROL, GSI_IDE1},
    {PORT_IDE2, PORT_IDE2_CONTROL, GSI_IDE2},
};

static struct ide *ide_of(struct device *d)
{
    return CONTAINER_OF(d, struct ide, dev);
}

static struct ide_drive *drive_of(struct ide *ide, unsigned i)
{
    return &ide->channel[i / IDE_DRIVES].drive[i % IDE_DRIVES];
}

/* --- what waits --- */

static void look_again(struct ide *ide)
{
    struct device *d = &ide->dev;

    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
        const struct disk_io *disk = &drive_of(ide, i)->disk;

        if (disk->waiting && disk->left == 0)
            device_timer_set(d, 0, device_now(d));
        else if (disk_stuck(disk))
            device_timer_set(d, 0, device_now(d) + device_tsc_hz(d) / STUCK_HZ);
    }
}

/* What the guest may keep the processor busy with is renewed here alone. */
static void go_on(struct ide *ide)
{
    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++)
        if (drive_of(ide, i)->kind)
            disk_go_on(&drive_of(ide, i)->disk, SECTORS_AT_ONCE);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_channel_settle(&ide->channel[i]);
    look_again(ide);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    go_on(ide_of(d));
}

static void settled(struct disk_io *disk)
{
    go_on(CONTAINER_OF(disk, struct ide_drive, disk)->channel->ide);
}

static bool idle(struct device *dev, bool over)
{
    struct ide *ide = ide_of(dev);
    bool idle = true;

    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
        struct ide_drive *d = drive_of(ide, i);

        if (!d->kind)
            continue;
        if (over)
            ide_cancel(d);
        idle = disk_idle(&d->disk) && !d->under_way && idle;
    }
    for (unsigned i = 0; i < IDE_CHANNELS && !over; i++)
        ide_channel_settle(&ide->channel[i]);
    look_again(ide);
    return idle;
}

/* --- ports --- */

static uint32_t master_read(struct ide *ide, unsigned at, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size && at + i < MASTER_PORTS; i++)
        value |= (uint32_t)ide_master_read(&ide->channel[(at + i) / 8], (at + i) % 8) << 8 * i;
    return value;
}

static void master_write(struct ide *ide, unsigned at, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size && at + i < MASTER_PORTS; i++, value >>= 8)
        ide_master_write(&ide->channel[(at + i) / 8], (at + i) % 8, (uint8_t)value);
}

static uint32_t port_read(struct device *d, uint16_t port, unsigned size)
{
    struct ide *ide = ide_of(d);
    uint32_t value;

    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];

        if (port == places[i].control) {
            value = ide_control_read(c);
        } else if ((unsigned)port - places[i].command < IDE_COMMAND_PORTS) {
            value = ide_command_read(c, port - places[i].command, size);
        } else {
            continue;
        }
        look_again(ide);
        return value;
    }
    return master_read(ide, port % MASTER_PORTS, size);
}

static void port_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct ide *ide = ide_of(d);

    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];

        if (port == places[i].control) {
            ide_control_write(c, (uint8_t)value);
        } else if ((unsigned)port - places[i].command < IDE_COMMAND_PORTS) {
            ide_command_write(c, port - places[i].command, size, value);
        } else {
            continue;
        }
        look_again(ide);
        return;
    }
    master_write(ide, port % MASTER_PORTS, size, value);
    look_again(ide);
}

/* --- config space --- */

static bool has_drives(const struct ide_channel *c)
{
    return c->drive[0].kind || c->drive[1].kind;
}

static void place(struct ide *ide, struct bus_range *r, bool there, uint16_t base)
{
    struct bus *bus = ide->function.pci->bus;

    if (!there || bus_place(bus, r, base) < 0)
        bus_withdraw(bus, r);
}

/* A channel without drives is as one that is not there: its ports read ones. */
static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct ide *ide = CONTAINER_OF(f, struct ide, function);

    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];
        bool there = has_drives(c) && (f->config[PCI_COMMAND] & PCI_COMMAND_IO) &&
                     (f->config[TIMING + 2 * i + 1] & TIMING_DECODES);

        place(ide, &c->command_ports, there, places[i].command);
        place(ide, &c->control_port, there, places[i].control);
    }
}

static const struct pci_function_ops function_ops = {.written = config_written};

static int add_range(struct ide *ide, struct bus *bus, struct bus_range *r, unsigned ports)
{
    *r = (struct bus_range){
        .device = &ide->dev, .size = ports, .space = BUS_PORTS, .priority = BUS_FIXED};
    return bus_add_range(bus, r);
}

/* At the first free device, as firmware leaves it: with its ports. */
static int attach(struct ide *ide, struct pci *pci)
{
    struct pci_function *f = &ide->function;
    int error = 0;

    pci_function_init(f, &function_ops, VENDOR, DEVICE, CLASS);
    memset(f->writable + TIMING, 0xff, TIMING_SIZE);
    f->config[TIMING + 1] = f->config[TIMING + 3] = TIMING_DECODES;
    f->config[PCI_COMMAND] = PCI_COMMAND_IO;
    for (unsigned i = 0; i < IDE_CHANNELS && error == 0; i++) {
        struct ide_channel *c = &ide->channel[i];

        error = add_range(ide, pci->bus, &c->command_ports, IDE_COMMAND_PORTS);
        if (error == 0)
            error = add_range(ide, pci->bus, &c->control_port, 1);
    }
    ide->master_ports =
        (struct bus_range){.device = &ide->dev, .size = MASTER_PORTS, .space = BUS_PORTS};
    if (error < 0 || (error = pci_function_bar(f, MASTER_BAR, MASTER_PORTS, PCI_BAR_IO)) < 0 ||
        (error = pci_function_map(f, MASTER_BAR, pci->bus, &ide->master_ports)) < 0)
        return error;
    return pci_add_device(pci, f);
}

/* --- life --- */

static void reset(struct device *d)
{
    struct ide *ide = ide_of(d);

    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_channel_reset(&ide->channel[i]);
}

static void save(struct device *d, struct state_writer *w)
{
    struct ide *ide = ide_of(d);

    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        ide_channel_save(&ide->channel[i], w);
}

static int load(struct device *d, struct state_reader *r)
{
    struct ide *ide = ide_of(d);
    bool good = true;

    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        good = good && ide_channel_load(&ide->channel[i], r);
    if (good)
        return 0;
    reset(d);
    return -EBADMSG;
}

static const struct device_ops device_ops = {
    .name = "ide",
    .version = 2,
    .port_read = port_read,
    .port_write = port_write,
    .timer = timer,
    .idle = idle,
    .reset = reset,
    .save = save,
    .load = load,
};

/* The first drive of those that is not there yet; NULL: all four are. */
static struct ide_drive *free_drive(struct ide *ide, const uint8_t order[4])
{
    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++)
        if (!drive_of(ide, order[i])->kind)
            return drive_of(ide, order[i]);
    return NULL;
}

static void close_source(struct ide_drive *d)
{
    if (d->source.block)
        d->source.close(d->source.block);
}

static int add_drive(struct ide *ide, struct device_setup *s)
{
    static const uint8_t disks[] = {0, 1, 2, 3}, cds[] = {2, 3, 0, 1};
    bool cd = s->key && strcmp(s->key, CDROM_KEY) == 0;
    struct ide_drive *d = free_drive(ide, cd ? cds : disks);
    const struct device_host *host = s->host;
    int error;

    if (!d) {
        format(s->error, DEVICE_ERROR, "IDE has %u drives at most", IDE_CHANNELS * IDE_DRIVES);
        return -EINVAL;
    }
    error = (cd ? host->disc : host->disk)(host->context, s->text, s->length, &d->source, s->error);
    if (error < 0)
        return error;
    d->buffer_at = frame_alloc_below(IDE_BUFFER_ORDER, FRAME_KERNEL,
                                     cd ? UINT64_MAX : d->source.block->highest_address);
    if (d->buffer_at == FRAME_NONE) {
        close_source(d);
        return -ENOMEM;
    }
    d->buffer = phys_to_virt(d->buffer_at);
    memset(d->buffer, 0, IDE_BUFFER);
    d->source.read_only |= cd || d->source.block->read_only;
    d->disk = (struct disk_io){.block = d->source.block,
                               .dev = &ide->dev,
                               .counts = d->source.counts,
                               .finished = ide_finished,
                               .settled = settled,
                               .left = SECTORS_AT_ONCE};
    d->kind = cd ? &ide_cd : &ide_disk;
    return 0;
}

static void destroy(struct device *dev)
{
    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
        struct ide_drive *d = drive_of(ide_of(dev), i);

        if (!d->kind)
            continue;
        ide_end(d);
        frame_free(d->buffer_at, IDE_BUFFER_ORDER);
        close_source(d);
    }
}

static int create(struct device *dev, struct device_setup *s)
{
    struct ide *ide = ide_of(dev);
    int error;

    for (unsigned i = 0; i < IDE_CHANNELS; i++) {
        struct ide_channel *c = &ide->channel[i];

        c->ide = ide;
        c->irq = places[i].irq;
        for (unsigned j = 0; j < IDE_DRIVES; j++)
            c->drive[j].channel = c;
    }
    do
        error = add_drive(ide, s);
    while (error == 0 && device_setup_next(s));
    if (error == 0)
        error = attach(ide, s->pci);
    if (error < 0)
        destroy(dev);
    return error;
}

static int check(const char *text, size_t length, char *error)
{
    return config_disk_is_at(CONFIG_DISK_IDE, text, length, error);
}

static bool boots(struct device *dev, enum device_boot kind, unsigned index, char *path)
{
    struct ide *ide = ide_of(dev);
    const struct ide_kind *wanted = kind == DEVICE_BOOT_DISK ? &ide_disk
                                    : kind == DEVICE_BOOT_CD ? &ide_cd
                                                             : NULL;
    char behind[24];

    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
        const struct ide_kind *is = drive_of(ide, i)->kind;

        if (!is || is != wanted || index-- > 0)
            continue;
        format(behind, sizeof(behind), "/drive@%x/disk@%x", i / IDE_DRIVES, i % IDE_DRIVES);
        pci_boot_path(&ide->function, "ide", behind, path);
        return true;
    }
    return false;
}

const struct device_class ide_class = {
    .ops = &device_ops,
    .size = sizeof(struct ide),
    .key = "disk",
    .also = CDROM_KEY,
    .check = check,
    .boots = boots,
    .create = create,
    .destroy = destroy,
};

/* --- discs, changed from outside --- */

/* The first CD-ROM drive; NULL: there is none. */
static struct ide_drive *cd_of(struct device *dev)
{
    for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++)
        if (drive_of(ide_of(dev), i)->kind == &ide_cd)
            return drive_of(ide_of(dev), i);
    return NULL;
}

int cdrom_eject(struct device *dev, bool now)
{
    struct ide_drive *d = cd_of(dev);

    if (!d)
        return -ENODEV;
    device_lock(dev);
    int result = ide_cd_eject(d, now);
    device_unlock(dev);
    return result;
}

int cdrom_insert(struct device *dev, const struct device_disk *disc)
{
    struct ide_drive *d = cd_of(dev);
    struct device_disk old = {0};
    int result;

    if (!d)
        return -ENODEV;
    device_lock(dev);
    result = ide_cd_insert(d, disc, &old);
    device_unlock(dev);
    if (old.block)
        old.close(old.block);
    return result;
}
