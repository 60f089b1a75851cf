#include "drivers/ahci.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

/* Of the controller. */
#define CAP       0x00
#define CAP_S64A  BIT(31)
#define GHC       0x04
#define GHC_IRQ   BIT(1)
#define GHC_AHCI  BIT(31)
#define IS        0x08
#define PI        0x0c
#define CAP2      0x24
#define CAP2_BOH  BIT(0)
#define BOHC      0x28
#define BOHC_BIOS BIT(0)
#define BOHC_OS   BIT(1)
#define PORTS     0x100
#define PORT_SIZE 0x80

/* Of a port. */
#define CLB         0x00
#define FB          0x08
#define PXIS        0x10
#define PXIE        0x14
#define CMD         0x18
#define CMD_ST      BIT(0)
#define CMD_SUD     BIT(1)
#define CMD_POD     BIT(2)
#define CMD_FRE     BIT(4)
#define CMD_FR      BIT(14)
#define CMD_CR      BIT(15)
#define CMD_ICC     (0xfu << 28)
#define TFD         0x20
#define SIG         0x24
#define SIG_ATA     0x101u
#define SSTS        0x28
#define SSTS_DET(s) ((s)&0xf)
#define DET_THERE   3u
#define SCTL        0x2c
#define SERR        0x30
#define CI          0x38

#define IRQ_ERRORS (BIT(30) | BIT(29) | BIT(28) | BIT(27) | BIT(26) | BIT(24) | BIT(23))
#define IRQ_LINK   (BIT(22) | BIT(6)) /* something was plugged or pulled */
#define IRQ_DONE   0x2fu
#define IRQ_ALL    ((uint32_t)(IRQ_ERRORS | IRQ_LINK | IRQ_DONE))

#define FIS_AT       0x400 /* in the page of lists */
#define HEADER       32
#define PRDT         0x80 /* in a table */
#define PRD_MAX      (4 * MIB)
#define HEADER_WRITE BIT(6)
#define MAX_SECTORS  1024

static uint32_t get(const struct ahci_port *p, unsigned reg)
{
    return io_read32(&p->registers, reg);
}

static void put(const struct ahci_port *p, unsigned reg, uint64_t value)
{
    io_write32(&p->registers, reg, (uint32_t)value);
}

static bool wait_clear(const struct io *io, unsigned reg, uint64_t bits, unsigned ms)
{
    uint64_t until = rdtsc() + tsc_hz / 1000 * ms;

    while (io_read32(io, reg) & bits)
        if (rdtsc() >= until)
            return false;
    return true;
}

/* --- a command --- */

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* The frame that carries a task file to the drive (Serial ATA, "Register Host to Device FIS"). */
static void make_fis(uint8_t *fis, const struct ata_task *t)
{
    memset(fis, 0, 20);
    fis[0] = 0x27;
    fis[1] = 0x80; /* it is a command */
    fis[2] = t->command;
    fis[3] = t->feature;
    for (unsigned i = 0; i < 3; i++) {
        fis[4 + i] = (uint8_t)(t->lba >> (8 * i));
        fis[8 + i] = t->wide ? (uint8_t)(t->lba >> (24 + 8 * i)) : 0;
    }
    fis[7] = t->device;
    fis[12] = (uint8_t)t->count;
    fis[13] = t->wide ? (uint8_t)(t->count >> 8) : 0;
}

static int make_command(const struct ahci_port *p, unsigned slot, const struct ata_task *t,
                        const struct block_segment *segments, unsigned count, bool write)
{
    uint8_t *table = p->tables + (size_t)slot * AHCI_TABLE;
    uint8_t *header = p->lists + (size_t)slot * HEADER;
    uint32_t flags = 5 | (write ? (uint32_t)HEADER_WRITE : 0) | count << 16; /* 5 dwords of FIS */

    if (count > AHCI_SEGMENTS)
        return -EINVAL;
    make_fis(table, t);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *prd = table + PRDT + 16 * i;
        uint32_t last = segments[i].length - 1;

        if ((segments[i].address | segments[i].length) & 1 || last >= PRD_MAX)
            return -EINVAL;
        put64(prd, segments[i].address);
        put64(prd + 8, (uint64_t)last << 32);
    }
    memcpy(header, &flags, 4);
    memset(header + 4, 0, 4); /* bytes moved: the controller's */
    put64(header + 8, p->tables_at + (uint64_t)slot * AHCI_TABLE);
    return 0;
}

/* A FLUSH goes alone: whether it failed must be known for sure (collect_error()). */
static int start(struct disk_queue *q, unsigned slot)
{
    struct ahci_port *p = CONTAINER_OF(q->unit, struct ahci_port, unit);
    const struct block_request *r = q->slots[slot].request;
    bool flush = r->op == BLOCK_FLUSH;
    struct ata_task task;

    if (q->busy > 1 && (flush || p->flushes))
        return -EAGAIN;
    p->flushes = flush;
    ata_task(&p->id, r, p->disk.sector_shift, true, &task);
    if (make_command(p, slot, &task, r->segments, flush ? 0 : r->count, r->op == BLOCK_WRITE))
        return -EINVAL;
    put(p, CI, BIT(slot));
    return 0;
}

/* The one that is under way, where only one is. */
static unsigned only(const struct disk_queue *q)
{
    unsigned slot = 0;

    while (slot < q->depth && !q->slots[slot].request)
        slot++;
    return slot;
}

/*
 * The controller stops at a command that fails; which one that is PxCMD.CCS tells, but not
 * everywhere, and some clear its bit in PxCI, too, or go on. So what was under way together is
 * carried out once more, one by one. PxIE: nobody looks any more at what interrupts from here on.
 */
static void collect_error(struct ahci_port *p, struct disk_queue *q, uint32_t interrupts)
{
    uint32_t tfd = get(p, TFD);
    int error = ata_outcome((uint8_t)tfd, (uint8_t)(tfd >> 8));

    put(p, PXIE, 0);
    if (SSTS_DET(get(p, SSTS)) != DET_THERE || (interrupts & IRQ_LINK)) {
        p->hard = true;
        disk_want_reset(q, true);
    } else if (q->busy > 1) {
        disk_want_each_alone(q);
    } else {
        if (q->busy)
            disk_finish(q, only(q), error ? error : -EAGAIN);
        disk_want_reset(q, !error);
    }
}

static void collect(struct disk_queue *q)
{
    struct ahci_port *p = CONTAINER_OF(q->unit, struct ahci_port, unit);
    uint32_t interrupts = get(p, PXIS), issued, errors;

    put(p, PXIS, interrupts);
    issued = get(p, CI);
    if (interrupts == UINT32_MAX && issued == UINT32_MAX) { /* the controller has gone */
        disk_want_reset(q, true);
        return;
    }
    errors = get(p, PXIS) & (uint32_t)(IRQ_ERRORS | IRQ_LINK); /* one may have failed since */
    if (errors)
        put(p, PXIS, errors);
    interrupts |= errors;
    if (interrupts & (IRQ_ERRORS | IRQ_LINK)) {
        collect_error(p, q, interrupts);
        return;
    }
    for (unsigned slot = 0; slot < q->depth; slot++)
        if (q->slots[slot].request && !(issued >> slot & 1))
            disk_finish(q, slot, 0);
}

/* --- starting and stopping a port --- */

enum step { STOP, STOPPED, LINK, LINKED, READY };

static void next(struct ahci_port *p, enum step step, unsigned ms)
{
    p->step = (uint8_t)step;
    p->step_until = rdtsc() + tsc_hz / 1000 * ms;
}

static bool in_time(const struct ahci_port *p)
{
    return rdtsc() < p->step_until;
}

/* "Restarting": not before nothing is running any more, and errors are cleared. */
static void run(const struct ahci_port *p)
{
    put(p, SERR, UINT32_MAX);
    put(p, PXIS, UINT32_MAX);
    put(p, CMD, (get(p, CMD) & ~(uint32_t)CMD_ICC) | CMD_FRE | CMD_SUD | CMD_POD);
}

/*
 * One step towards a port that takes commands: it stops, its link is made anew where that may
 * help, the drive gets ready, it starts.
 */
static int step(struct ahci_port *p)
{
    uint32_t cmd = get(p, CMD);

    if (cmd == UINT32_MAX)
        return -ENODEV;
    switch ((enum step)p->step) {
    case STOP:
        put(p, PXIE, 0);
        put(p, CMD, cmd & ~(CMD_ST | CMD_ICC));
        next(p, STOPPED, 500);
        return -EAGAIN;
    case STOPPED:
        if ((cmd & CMD_CR) && in_time(p))
            return -EAGAIN;
        if ((cmd & CMD_CR) || (get(p, TFD) & (ATA_BSY | ATA_DRQ)))
            p->hard = true;
        if (!p->hard) {
            next(p, READY, 1000);
            run(p);
            return -EAGAIN;
        }
        run(p);
        put(p, SCTL, (get(p, SCTL) & ~0xfu) | 1);
        next(p, LINK, 2);
        return -EAGAIN;
    case LINK:
        if (in_time(p)) /* at least a millisecond */
            return -EAGAIN;
        put(p, SCTL, get(p, SCTL) & ~0xfu);
        next(p, LINKED, 1000);
        return -EAGAIN;
    case LINKED:
        if (SSTS_DET(get(p, SSTS)) != DET_THERE)
            return in_time(p) ? -EAGAIN : -ENODEV;
        run(p);
        next(p, READY, 30000); /* it may have to spin up */
        return -EAGAIN;
    case READY:
        if (get(p, TFD) & (ATA_BSY | ATA_DRQ))
            return in_time(p) ? -EAGAIN : -EIO;
        put(p, CMD, get(p, CMD) | CMD_ST);
        p->hard = false;
        return 0;
    }
    return -EIO;
}

static int reset(struct disk_unit *u, bool begin)
{
    struct ahci_port *p = CONTAINER_OF(u, struct ahci_port, unit);
    int error;

    if (begin) {
        p->hard |= u->doubt;
        p->step = STOP;
    }
    error = step(p);
    if (!error)
        put(p, PXIE, IRQ_ALL);
    return error;
}

static void cut(struct disk_unit *u)
{
    struct ahci_port *p = CONTAINER_OF(u, struct ahci_port, unit);

    put(p, PXIE, 0);
    put(p, CMD, get(p, CMD) & ~(uint32_t)CMD_ST);
    (void)wait_clear(&p->registers, CMD, CMD_CR, 500);
    put(p, SCTL, (get(p, SCTL) & ~0xfu) | 4); /* the link is off */
    put(p, CMD, get(p, CMD) & ~(uint32_t)CMD_FRE);
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- finding drives --- */

static struct io port_registers(const struct ahci *a, unsigned n)
{
    return (struct io){.base = a->registers.base + PORTS + n * PORT_SIZE, .size = PORT_SIZE};
}

/* It takes no commands, and puts nothing of what the drive sends into memory. False: not so. */
static bool silence(const struct io *port)
{
    bool stopped;

    io_write32(port, CMD, io_read32(port, CMD) & ~(uint32_t)CMD_ST);
    stopped = wait_clear(port, CMD, CMD_CR, 500);
    io_write32(port, CMD, io_read32(port, CMD) & ~(uint32_t)CMD_FRE);
    return wait_clear(port, CMD, CMD_FR, 500) && stopped;
}

int ahci_init(struct ahci *a)
{
    const struct io *io = &a->registers;
    uint32_t cap = io_read32(io, CAP);
    struct io port;

    if (cap == UINT32_MAX)
        return -ENODEV;
    /* The specification gives the BIOS 25 ms, and 2 s when it says that it is busy. */
    if (io_read32(io, CAP2) & CAP2_BOH) {
        io_write32(io, BOHC, io_read32(io, BOHC) | (uint32_t)BOHC_OS);
        if (!wait_clear(io, BOHC, BOHC_BIOS, 2000))
            log_warn("AHCI: firmware does not give the controller up: it is taken");
    }
    io_write32(io, GHC, (io_read32(io, GHC) | (uint32_t)GHC_AHCI) & ~(uint32_t)GHC_IRQ);
    a->slots = MIN((cap >> 8 & 31) + 1, AHCI_SLOTS);
    a->wide = cap & CAP_S64A;
    a->ports = io_read32(io, PI);
    for (unsigned n = 0; n < AHCI_PORTS; n++) {
        port = port_registers(a, n);
        if ((a->ports >> n & 1) && PORTS + (n + 1) * PORT_SIZE <= io->size)
            (void)silence(&port);
    }
    return 0;
}

/* Polled, with nothing else under way. */
static int identify(const struct ahci_port *p, struct ata_identity *id)
{
    const struct block_segment into = {p->lists_at + 0x800, 512}; /* the page has room */
    const struct ata_task task = {.command = ATA_IDENTIFY};
    uint16_t words[256];

    if (make_command(p, 0, &task, &into, 1, false))
        return -EINVAL;
    put(p, CI, 1);
    if (!wait_clear(&p->registers, CI, 1, 5000) || (get(p, TFD) & (ATA_ERR | ATA_DF)))
        return -EIO;
    put(p, PXIS, UINT32_MAX);
    memcpy(words, p->lists + 0x800, sizeof(words));
    return ata_identify(words, id);
}

static void describe(struct ahci_port *p, const struct ahci *a)
{
    struct block_device *b = &p->disk.block;

    ata_describe(&p->id, &p->disk);
    p->disk.how = "AHCI";
    b->max_sectors = p->id.lba48 ? MAX_SECTORS : 256;
    b->max_segments = AHCI_SEGMENTS;
    b->segment_align = 2;
    b->highest_address = a->wide ? UINT64_MAX : UINT32_MAX;
}

static int bring_up(struct ahci_port *p)
{
    int error;

    p->step = STOP;
    while ((error = step(p)) == -EAGAIN)
        tsc_delay_us(10);
    return error;
}

bool ahci_port_there(const struct ahci *a, unsigned n)
{
    struct ahci_port p = {.registers = port_registers(a, n)};

    if (SSTS_DET(get(&p, SSTS)) == DET_THERE)
        return true;
    cut(&p.unit);
    return false;
}

int ahci_port_init(struct ahci *a, unsigned n, struct ahci_port *p, const char *name)
{
    int error;

    p->registers = port_registers(a, n);
    /* Firmware's lists go out of use before ours come in. */
    p->hard = !silence(&p->registers);
    io_write64(&p->registers, CLB, p->lists_at);
    io_write64(&p->registers, FB, p->lists_at + FIS_AT);
    error = bring_up(p);
    if (error || get(p, SIG) != SIG_ATA) {
        cut(&p->unit);
        return -ENODEV; /* a CD-ROM, for one */
    }
    format(p->disk.block.name, sizeof(p->disk.block.name), "%s", name);
    format(p->unit.name, sizeof(p->unit.name), "%s", name);
    error = identify(p, &p->id);
    if (error || !p->id.dma) {
        log_warn("%s (%s): a drive of a kind that is not supported", name, p->id.model);
        cut(&p->unit);
        return -ENODEV;
    }
    error = disk_unit_init(&p->unit, &ops, 1, a->slots);
    if (!error) {
        describe(p, a);
        error = disk_add(&p->unit, &p->disk);
    }
    if (error) {
        cut(&p->unit);
        return error;
    }
    disk_unit_add(&p->unit);
    a->port[n] = p;
    put(p, PXIE, IRQ_ALL);
    io_write32(&a->registers, GHC, io_read32(&a->registers, GHC) | (uint32_t)GHC_IRQ);
    return 0;
}

void ahci_interrupt(void *ahci)
{
    struct ahci *a = ahci;
    uint32_t which = io_read32(&a->registers, IS);

    for (unsigned n = 0; n < AHCI_PORTS; n++)
        if ((which >> n & 1) && a->port[n])
            disk_interrupt(&a->port[n]->unit.queues[0]);
    io_write32(&a->registers, IS, which); /* behind the ports' own, or it rises again */
}
