/* The HBA: generic registers, interrupts, its function on the PCI bus (Serial ATA AHCI 1.3.1
 * Specification, "HBA Configuration Registers", "Generic Host Control", "Interrupts"). */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/config/disk.h"
#include "guest/devices/ahci/ahci.h"
#include "mm/heap.h"

#define VENDOR    0x8086
#define DEVICE    0x2922
#define CLASS     0x010601
#define REVISION  2
#define SUBSYSTEM 0x11001af4
#define ABAR      5
#define ABAR_SIZE 0x1000

#define CONFIG_MAP  0x90 /* of Intel's: what the ports are used as; */
#define MAP_AHCI    0x40
#define CONFIG_PCS  0x92 /* which are enabled */
#define MSI_ID      0x05
#define MSI_SIZE    10
#define MSI_CONTROL 2
#define MSI_ENABLE  BIT(0)
#define MSI_ADDRESS 4
#define MSI_DATA    8

/* Registers. */
enum { CAP = 0x00, GHC = 0x04, IS = 0x08, PI = 0x0c, VS = 0x10 };
#define PORTS     0x100
#define PORT_SIZE 0x80

#define CAP_SLOTS (uint32_t)((AHCI_SLOTS - 1) << 8)
#define CAP_PMD   (uint32_t) BIT(15) /* several blocks behind one PIO setup FIS */
#define CAP_SAM   (uint32_t) BIT(18) /* AHCI alone */
#define CAP_SPEED (uint32_t)(2u << 20)
#define CAP_CLO   (uint32_t) BIT(24)
#define CAP_NCQ   (uint32_t) BIT(30)
#define CAP_S64A  (uint32_t) BIT(31)
#define GHC_HR    (uint32_t) BIT(0)
#define GHC_IE    (uint32_t) BIT(1)
#define GHC_AE    (uint32_t) BIT(31)
#define VERSION   0x10301

#define SECTORS_AT_ONCE (2 * MIB / BLOCK_SECTOR) /* of all ports, before the timer comes */
#define LOOK_HZ         1000                     /* how often it looks at what nobody tells it of */

static struct ahci *ahci_of(struct device *d)
{
    return CONTAINER_OF(d, struct ahci, dev);
}

/* --- interrupts --- */

static bool msi_enabled(const struct ahci *h)
{
    return h->function.config[h->msi + MSI_CONTROL] & MSI_ENABLE;
}

static void send_msi(struct ahci *h)
{
    uint32_t address;
    uint16_t data;

    memcpy(&address, h->function.config + h->msi + MSI_ADDRESS, sizeof(address));
    memcpy(&data, h->function.config + h->msi + MSI_DATA, sizeof(data));
    device_msi(&h->dev, address, data);
}

/* "Message Signaled Interrupts": there is one for whatever is new in IS, and for what is left in it
 * when the driver has cleared something. */
void ahci_update(struct ahci *h, bool again)
{
    uint32_t before = h->is;
    bool level;

    for (unsigned i = 0; i < h->ports; i++)
        if (ahci_port_interrupts(&h->port[i]) & h->port[i].ie)
            h->is |= 1u << i;
    level = h->is && (h->ghc & GHC_IE);
    if (msi_enabled(h)) {
        if (level && (again || h->is != before))
            send_msi(h);
        level = false;
    }
    if (level != h->line) {
        h->line = level;
        pci_intx(&h->function, level);
    }
}

/* --- going on --- */

static void run(struct ahci *h, struct ahci_port *p)
{
    if (!h->over && ahci_port_drained(p) && !h->resetting)
        ahci_port_run(p);
}

/* At what can be begun by nobody else. */
static void look_again(struct ahci *h)
{
    struct device *d = &h->dev;
    bool now = false, soon = h->resetting;

    for (unsigned i = 0; i < h->ports; i++) {
        const struct ahci_port *p = &h->port[i];

        now |= (p->disk.waiting && p->disk.left == 0) || ahci_port_runnable(p);
        soon |= p->draining || disk_stuck(&p->disk);
    }
    if (now)
        device_timer_set(d, 0, device_now(d));
    else if (soon)
        device_timer_set(d, 0, device_now(d) + device_tsc_hz(d) / LOOK_HZ);
}

static void go_on(struct ahci *h, struct ahci_port *p)
{
    disk_go_on(&p->disk, SECTORS_AT_ONCE / h->ports);
    run(h, p);
}

static void settled(struct disk_io *d)
{
    struct ahci_port *p = CONTAINER_OF(d, struct ahci_port, disk);

    go_on(p->hba, p);
    ahci_update(p->hba, false);
    look_again(p->hba);
}

/* --- reset --- */

static void drain(struct ahci *h)
{
    for (unsigned i = 0; i < h->ports; i++)
        ahci_port_drain(&h->port[i]);
}

/* Whether nothing is in flight. */
static bool quiet(struct ahci *h)
{
    bool all = true;

    for (unsigned i = 0; i < h->ports; i++)
        all = disk_idle(&h->port[i].disk) && all;
    return all;
}

/* "HBA Reset": it ends when nothing is in flight any more. */
static void try_reset(struct ahci *h)
{
    if (!h->resetting || h->over || !quiet(h))
        return;
    h->resetting = false;
    h->ghc = GHC_AE;
    h->is = 0;
    for (unsigned i = 0; i < h->ports; i++)
        ahci_port_reset(&h->port[i]);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct ahci *h = ahci_of(d);

    try_reset(h);
    for (unsigned i = 0; i < h->ports; i++)
        go_on(h, &h->port[i]);
    ahci_update(h, false);
    look_again(h);
}

static bool idle(struct device *d, bool over)
{
    struct ahci *h = ahci_of(d);

    if (over) {
        h->over = true;
        drain(h);
    }
    if (!quiet(h))
        return false;
    if (h->over)
        return true;
    try_reset(h);
    for (unsigned i = 0; i < h->ports; i++)
        if (!ahci_port_drained(&h->port[i]))
            return false;
    /* What is done is told; what could be begun waits for the timer. */
    for (unsigned i = 0; i < h->ports; i++)
        ahci_port_tell(&h->port[i]);
    ahci_update(h, false);
    look_again(h);
    return true;
}

/* --- registers --- */

static uint32_t read_generic(const struct ahci *h, unsigned at)
{
    switch (at) {
    case CAP:
        return CAP_S64A | CAP_NCQ | CAP_CLO | CAP_SPEED | CAP_SAM | CAP_PMD | CAP_SLOTS |
               (h->ports - 1);
    case GHC:
        return h->ghc | (h->resetting ? GHC_HR : 0);
    case IS:
        return h->is;
    case PI:
        return (1u << h->ports) - 1;
    case VS:
        return VERSION;
    default:
        return 0;
    }
}

static struct ahci_port *port_at(struct ahci *h, unsigned at)
{
    return at >= PORTS && at < PORTS + h->ports * PORT_SIZE ? &h->port[(at - PORTS) / PORT_SIZE]
                                                            : NULL;
}

static uint32_t read_register(struct ahci *h, unsigned at)
{
    struct ahci_port *p = port_at(h, at);

    if (h->resetting || (p && p->draining)) { /* the driver waits for that, perhaps */
        try_reset(h);
        if (p)
            run(h, p);
        ahci_update(h, false);
        look_again(h);
    }
    if (!p)
        return at < PORTS ? read_generic(h, at) : 0;
    return ahci_port_read(p, at % PORT_SIZE);
}

static uint64_t mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    struct ahci *h = ahci_of(d);
    unsigned at = (unsigned)offset & ~3u;

    if (size == 8)
        return mmio_read(d, offset, 4) | mmio_read(d, offset + 4, 4) << 32;
    return read_register(h, at) >> 8 * (offset & 3);
}

static void write_generic(struct ahci *h, unsigned at, uint32_t value)
{
    switch (at) {
    case GHC:
        h->ghc = GHC_AE | (value & GHC_IE);
        if (value & GHC_HR) {
            h->resetting = true;
            drain(h);
            try_reset(h);
        }
        break;
    case IS:
        h->is &= ~value;
        break;
    default:
        break;
    }
}

static void write_register(struct ahci *h, unsigned at, uint32_t value)
{
    struct ahci_port *p = port_at(h, at);

    if (h->resetting)
        return;
    if (p) {
        ahci_port_write(p, at % PORT_SIZE, value);
        run(h, p);
    } else if (at < PORTS) {
        write_generic(h, at, value);
    }
    ahci_update(h, at == IS || at == GHC);
    look_again(h);
}

/* All registers are dwords. */
static void mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    if (size < 4 || offset % 4)
        return;
    write_register(ahci_of(d), (unsigned)offset, (uint32_t)value);
    if (size == 8)
        write_register(ahci_of(d), (unsigned)offset + 4, (uint32_t)(value >> 32));
}

static void config_written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct ahci *h = CONTAINER_OF(f, struct ahci, function);

    if (offset >= h->msi + MSI_SIZE || offset + size <= h->msi)
        return;
    device_lock(&h->dev);
    ahci_update(h, true);
    device_unlock(&h->dev);
}

static const struct pci_function_ops function_ops = {.written = config_written};

/* --- life --- */

static void reset(struct device *d)
{
    struct ahci *h = ahci_of(d);

    drain(h);
    while (!quiet(h))
        ;
    h->over = false;
    h->resetting = true;
    try_reset(h);
    h->line = false;
    for (unsigned i = 0; i < h->ports; i++)
        h->port[i].clb = h->port[i].fb = 0;
}

static void save(struct device *d, struct state_writer *w)
{
    const struct ahci *h = ahci_of(d);

    state_put_u32(w, h->ghc);
    state_put_u32(w, h->is);
    state_put_u8(w, h->line);
    for (unsigned i = 0; i < h->ports; i++)
        ahci_port_save(&h->port[i], w);
}

static int load(struct device *d, struct state_reader *r)
{
    struct ahci *h = ahci_of(d);

    h->ghc = GHC_AE | (state_get_u32(r) & GHC_IE);
    h->is = state_get_u32(r) & ((1u << h->ports) - 1);
    h->line = state_get_u8(r) & 1;
    for (unsigned i = 0; i < h->ports; i++)
        ahci_port_load(&h->port[i], r);
    look_again(h);
    return 0;
}

static const struct device_ops device_ops = {
    .name = "ahci",
    .version = 1,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .timer = timer,
    .idle = idle,
    .reset = reset,
    .save = save,
    .load = load,
};

static int attach(struct ahci *h, struct pci *pci)
{
    struct pci_function *f = &h->function;
    const uint32_t subsystem = SUBSYSTEM;
    int at, error;

    pci_function_init(f, &function_ops, VENDOR, DEVICE, CLASS);
    f->config[PCI_REVISION] = REVISION;
    f->config[PCI_INTERRUPT_PIN] = 1;
    memcpy(f->config + PCI_SUBSYSTEM_VENDOR_ID, &subsystem, sizeof(subsystem));
    f->config[CONFIG_MAP] = MAP_AHCI;
    f->config[CONFIG_PCS] = (uint8_t)((1u << h->ports) - 1);
    f->writable[CONFIG_PCS] = (1u << AHCI_PORTS) - 1;
    at = pci_function_capability(f, MSI_ID, MSI_SIZE);
    if (at < 0)
        return at;
    h->msi = (unsigned)at;
    f->writable[at + MSI_CONTROL] = MSI_ENABLE;
    memset(f->writable + at + MSI_ADDRESS, 0xff, MSI_SIZE - MSI_ADDRESS);
    f->writable[at + MSI_ADDRESS] = 0xfc;
    h->range = (struct bus_range){.device = &h->dev, .size = ABAR_SIZE, .space = BUS_MEMORY};
    if ((error = pci_function_bar(f, ABAR, ABAR_SIZE, 0)) < 0 ||
        (error = pci_function_map(f, ABAR, pci->bus, &h->range)) < 0)
        return error;
    return pci_add_device(pci, f);
}

static int check(const char *text, size_t length, char *error)
{
    return config_disk_is_at(CONFIG_DISK_AHCI, text, length, error);
}

/* Connect the disk of the line that is in s to the next port. */
static int connect(struct ahci *h, struct device_setup *s)
{
    struct ahci_port *p = &h->port[h->ports];
    int error = s->host->disk(s->host->context, s->text, s->length, &p->source, s->error);

    if (error < 0)
        return error;
    p->slot = heap_alloc(AHCI_SLOTS * sizeof(p->slot[0]));
    if (!p->slot) {
        p->source.close(p->source.block);
        return -ENOMEM;
    }
    memset(p->slot, 0, AHCI_SLOTS * sizeof(p->slot[0]));
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        p->slot[i].port = p;
        p->slot[i].number = (uint8_t)i;
    }
    if (!p->source.serial[0]) /* every drive has one */
        format(p->source.serial, sizeof(p->source.serial), "corbel-%u", s->line);
    p->hba = h;
    p->disk = (struct disk_io){.block = p->source.block,
                               .dev = &h->dev,
                               .counts = p->source.counts,
                               .finished = ahci_port_finished,
                               .settled = settled};
    h->ports++;
    return 0;
}

static void disconnect(struct ahci *h)
{
    while (h->ports) {
        struct ahci_port *p = &h->port[--h->ports];
        heap_free(p->slot);
        p->source.close(p->source.block);
    }
}

static int create(struct device *d, struct device_setup *s)
{
    struct ahci *h = ahci_of(d);
    int error;

    do
        error = connect(h, s);
    while (error == 0 && h->ports < AHCI_PORTS && device_setup_next(s));
    if (error == 0)
        error = attach(h, s->pci);
    if (error < 0) {
        disconnect(h);
        return error;
    }
    for (unsigned i = 0; i < h->ports; i++)
        disk_go_on(&h->port[i].disk, SECTORS_AT_ONCE / h->ports);
    return 0;
}

static void destroy(struct device *d)
{
    struct ahci *h = ahci_of(d);

    drain(h);
    while (!quiet(h))
        ;
    disconnect(h);
}

/* By this name OVMF knows that ports are behind it. */
static bool boots(struct device *d, enum device_boot kind, unsigned index, char *path)
{
    struct ahci *h = ahci_of(d);
    char behind[24];

    if (kind != DEVICE_BOOT_DISK || index >= h->ports)
        return false;
    format(behind, sizeof(behind), "/drive@%x/disk@0", index);
    pci_boot_path(&h->function, "pci8086,2922", behind, path);
    return true;
}

const struct device_class ahci_class = {
    .ops = &device_ops,
    .size = sizeof(struct ahci),
    .key = "disk",
    .check = check,
    .boots = boots,
    .create = create,
    .destroy = destroy,
};
