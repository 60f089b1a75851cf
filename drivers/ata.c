/* An IDE channel: two drives, one command at a time. */
#include "drivers/ata.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "mm/heap.h"

#define DATA       0
#define ERROR      1
#define FEATURE    1
#define SECTORS    2
#define LBA        3 /* and 4, 5 */
#define DEVICE     6
#define STATUS     7
#define COMMAND    7
#define CONTROL    0 /* of its own range; read: the alternate status, which acknowledges nothing */
#define NO_IRQ     0x02u
#define SOFT_RESET 0x04u

#define MASTER_COMMAND 0
#define MASTER_STATUS  2
#define MASTER_PRDS    4
#define MASTER_START   0x01u
#define MASTER_TO_RAM  0x08u
#define MASTER_ACTIVE  0x01u
#define MASTER_ERROR   0x02u
#define MASTER_IRQ     0x04u
#define MASTER_KEEP    0x60u /* which drives can: firmware's note */

#define PRD_LAST    BIT(63)
#define PRD_BORDER  0x10000u
#define MAX_SECTORS 256 /* what a count of eight bits can say */
#define PIO_BLOCKS  8   /* moved in one go */

static uint8_t alternate(const struct ata_channel *c)
{
    return io_read8(&c->control, CONTROL);
}

/* 400 ns: a drive has until then to put up its BSY. */
static uint8_t settle(const struct ata_channel *c)
{
    uint8_t status = 0;

    for (unsigned i = 0; i < 5; i++)
        status = alternate(c);
    return status;
}

static uint8_t select(const struct ata_channel *c, unsigned drive, uint8_t bits)
{
    io_write8(&c->command, DEVICE, (uint8_t)(0xa0 | bits | drive << 4));
    return settle(c);
}

static void stop_master(const struct ata_channel *c)
{
    if (!c->master.size)
        return;
    io_write8(&c->master, MASTER_COMMAND, 0);
    io_write8(
        &c->master, MASTER_STATUS,
        (uint8_t)((io_read8(&c->master, MASTER_STATUS) & MASTER_KEEP) | MASTER_IRQ | MASTER_ERROR));
}

/* --- a command --- */

/* The request's memory as regions of which none crosses 64 KiB. */
static int make_prds(struct ata_channel *c, const struct block_request *r)
{
    unsigned n = 0;

    for (unsigned i = 0; i < r->count; i++) {
        paddr at = r->segments[i].address;

        for (uint32_t left = r->segments[i].length; left;) {
            uint32_t size = MIN(left, PRD_BORDER - (uint32_t)(at % PRD_BORDER));

            if (n == ATA_PRDS || at >> 32 || (at | size) & 1)
                return -EINVAL;
            c->prds[n++] = at | (uint64_t)(size & 0xffff) << 32; /* 0: all 64 KiB */
            at += size;
            left -= size;
        }
    }
    if (!n)
        return -EINVAL;
    c->prds[n - 1] |= PRD_LAST;
    return 0;
}

static void put_task(const struct ata_channel *c, const struct ata_task *t)
{
    if (t->wide) {
        io_write8(&c->command, FEATURE, 0);
        io_write8(&c->command, SECTORS, (uint8_t)(t->count >> 8));
        for (unsigned i = 0; i < 3; i++)
            io_write8(&c->command, LBA + i, (uint8_t)(t->lba >> (24 + 8 * i)));
    }
    io_write8(&c->command, FEATURE, t->feature);
    io_write8(&c->command, SECTORS, (uint8_t)t->count);
    for (unsigned i = 0; i < 3; i++)
        io_write8(&c->command, LBA + i, (uint8_t)(t->lba >> (8 * i)));
    io_write8(&c->command, COMMAND, t->command);
}

static bool dma_possible(const struct ata_channel *c, const struct ata_drive *d)
{
    return c->master.size && d->id.dma;
}

static int start(struct disk_queue *q, unsigned slot)
{
    struct ata_channel *c = CONTAINER_OF(q->unit, struct ata_channel, unit);
    const struct block_request *r = q->slots[slot].request;
    struct ata_drive *d = CONTAINER_OF(disk_of(r), struct ata_drive, disk);
    bool data = r->op != BLOCK_FLUSH;
    struct ata_task task;
    uint8_t status;

    c->by_dma = data && dma_possible(c, d);
    c->moved = 0;
    ata_task(&d->id, r, d->disk.sector_shift, c->by_dma, &task);
    if (c->by_dma && make_prds(c, r))
        return -EINVAL;
    status = select(c, d->disk.id, task.device);
    if (status == 0xff)
        return -ENODEV;
    if (status & (ATA_BSY | ATA_DRQ)) {
        disk_want_reset(q, false);
        return -EAGAIN;
    }
    if (c->by_dma) {
        stop_master(c);
        io_write32(&c->master, MASTER_PRDS, (uint32_t)c->prds_at);
        io_write8(&c->master, MASTER_COMMAND, r->op == BLOCK_READ ? MASTER_TO_RAM : 0);
    }
    put_task(c, &task);
    (void)settle(c);
    if (c->by_dma)
        io_write8(&c->master, MASTER_COMMAND,
                  (uint8_t)((r->op == BLOCK_READ ? MASTER_TO_RAM : 0) | MASTER_START));
    return 0;
}

/* --- its end --- */

/* Bytes of a request by position, two at a time. */
struct cursor {
    const struct block_segment *segment;
    uint32_t offset;
};

static uint16_t *word_at(struct cursor *at)
{
    uint16_t *word;

    while (at->offset >= at->segment->length) {
        at->offset -= at->segment->length;
        at->segment++;
    }
    word = (uint16_t *)((char *)phys_to_virt(at->segment->address) + at->offset);
    at->offset += 2;
    return word;
}

static void move_block(struct ata_channel *c, const struct block_request *r, uint32_t size)
{
    struct cursor at = {r->segments, c->moved};

    for (uint32_t i = 0; i < size; i += 2) {
        if (r->op == BLOCK_READ)
            *word_at(&at) = io_read16(&c->command, DATA);
        else
            io_write16(&c->command, DATA, *word_at(&at));
    }
    c->moved += size;
}

static void collect_pio(struct ata_channel *c, struct disk_queue *q, const struct block_request *r)
{
    uint32_t block = disk_of(r)->block.logical_block;
    uint32_t size = r->op == BLOCK_FLUSH ? 0 : r->sectors * BLOCK_SECTOR;

    for (unsigned i = 0; i < PIO_BLOCKS; i++) {
        uint8_t status = alternate(c);

        if (status != 0xff && (status & ATA_BSY))
            return;
        status = io_read8(&c->command, STATUS);
        if (ata_outcome(status, 0) || (!(status & ATA_DRQ) && c->moved == size)) {
            disk_finish(q, 0, ata_outcome(status, io_read8(&c->command, ERROR)));
            return;
        }
        if (!(status & ATA_DRQ) || size - c->moved < block) {
            disk_finish(q, 0, -EAGAIN); /* it wants less than was asked, or more */
            disk_want_reset(q, true);
            return;
        }
        move_block(c, r, block);
        (void)settle(c);
    }
}

static void collect_dma(struct ata_channel *c, struct disk_queue *q)
{
    uint8_t status = alternate(c), master = io_read8(&c->master, MASTER_STATUS);
    int error;

    if (status != 0xff) {
        if (status & ATA_BSY)
            return;
        /* Without an error its data has to be in memory, too. */
        if (!(status & (ATA_ERR | ATA_DF)) && !(master & MASTER_ERROR) &&
            ((status & ATA_DRQ) || (master & MASTER_ACTIVE)))
            return;
    }
    stop_master(c);
    status = io_read8(&c->command, STATUS);
    error = ata_outcome(status, io_read8(&c->command, ERROR));
    if (!error && (master & MASTER_ERROR))
        error = -EAGAIN;
    disk_finish(q, 0, error);
}

static void collect(struct disk_queue *q)
{
    struct ata_channel *c = CONTAINER_OF(q->unit, struct ata_channel, unit);
    const struct block_request *r = q->slots[0].request;

    if (!r) {
        (void)io_read8(&c->command, STATUS); /* whatever interrupted: now it does not */
        if (c->master.size)
            stop_master(c);
        return;
    }
    if (c->by_dma)
        collect_dma(c, q);
    else
        collect_pio(c, q, r);
}

/* --- reset --- */

/* Wait for the drive that is selected, while nothing else is under way: its status. */
static uint8_t wait_idle(const struct ata_channel *c, unsigned ms)
{
    uint64_t until = rdtsc() + tsc_hz / 1000 * ms;
    uint8_t status;

    do
        status = alternate(c);
    while (status != 0xff && (status & ATA_BSY) && rdtsc() < until);
    return status;
}

static void set_mode(const struct ata_channel *c, const struct ata_drive *d)
{
    const struct ata_task t = {
        .command = ATA_SET_FEATURES, .feature = 0x03, .count = d->id.transfer_mode};

    put_task(c, &t);
    (void)settle(c);
    (void)wait_idle(c, 100);
    (void)io_read8(&c->command, STATUS);
}

/* A software reset keeps what a drive's cache holds, and ends what it was doing. */
static int reset(struct disk_unit *u, bool begin)
{
    struct ata_channel *c = CONTAINER_OF(u, struct ata_channel, unit);
    uint8_t status;

    if (begin) {
        stop_master(c);
        io_write8(&c->control, CONTROL, SOFT_RESET | NO_IRQ);
        tsc_delay_us(10);
        io_write8(&c->control, CONTROL, 0);
        c->reset_at = rdtsc() + tsc_hz / 500; /* it may take 2 ms to put up its BSY */
        return -EAGAIN;
    }
    if (rdtsc() < c->reset_at)
        return -EAGAIN;
    status = alternate(c);
    if (status == 0xff)
        return -ENODEV;
    if (status & ATA_BSY)
        return -EAGAIN;
    for (unsigned i = 0; i < ARRAY_SIZE(c->drives); i++)
        if (c->drives[i].present && dma_possible(c, &c->drives[i]) && !(select(c, i, 0) & ATA_BSY))
            set_mode(c, &c->drives[i]);
    stop_master(c);
    return 0;
}

static void cut(struct disk_unit *u)
{
    struct ata_channel *c = CONTAINER_OF(u, struct ata_channel, unit);

    stop_master(c);
    io_write8(&c->control, CONTROL, SOFT_RESET | NO_IRQ);
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- finding drives --- */

static int identify(const struct ata_channel *c, unsigned n, struct ata_identity *id)
{
    uint8_t status = select(c, n, 0);
    uint16_t words[256];

    if (status == 0xff || (status & ATA_BSY && wait_idle(c, 1000) & ATA_BSY))
        return -ENODEV;
    /* Registers that keep nothing: nobody is there. */
    io_write8(&c->command, SECTORS, 0x55);
    io_write8(&c->command, LBA, 0xaa);
    if (io_read8(&c->command, SECTORS) != 0x55 || io_read8(&c->command, LBA) != 0xaa)
        return -ENODEV;
    put_task(c, &(struct ata_task){.command = ATA_IDENTIFY});
    if (!settle(c))
        return -ENODEV;
    status = wait_idle(c, 3000);
    if ((status & (ATA_BSY | ATA_ERR | ATA_DRQ)) != ATA_DRQ) {
        (void)io_read8(&c->command, STATUS);
        return -ENODEV; /* a CD-ROM, for one */
    }
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        words[i] = io_read16(&c->command, DATA);
    (void)settle(c);
    (void)wait_idle(c, 100);
    (void)io_read8(&c->command, STATUS);
    return ata_identify(words, id);
}

static void describe(struct ata_channel *c, struct ata_drive *d)
{
    struct block_device *b = &d->disk.block;
    bool dma = dma_possible(c, d);

    ata_describe(&d->id, &d->disk);
    d->disk.how = dma ? "IDE, bus-master DMA" : "IDE, PIO";
    b->max_sectors = MAX_SECTORS;
    b->max_segments = 128;
    b->segment_align = 2;
    b->highest_address = dma ? UINT32_MAX : UINT64_MAX;
    b->has_fua &= dma;
}

int ata_channel_init(struct ata_channel *c, unsigned number)
{
    bool found = false, added = false;

    format(c->unit.name, sizeof(c->unit.name), "ide%u", number);
    io_write8(&c->control, CONTROL, NO_IRQ);
    stop_master(c);
    for (unsigned i = 0; i < ARRAY_SIZE(c->drives); i++) {
        struct ata_drive *d = &c->drives[i];
        int error = identify(c, i, &d->id);

        d->disk.id = i;
        format(d->disk.block.name, sizeof(d->disk.block.name), "ata%u", 2 * number + i);
        if (error == -ENOTSUP)
            log_warn("%s (%s): a drive of a kind that is not supported", d->disk.block.name,
                     d->id.model);
        d->present = !error;
        found |= d->present;
    }
    if (!found)
        return -ENODEV;
    if (disk_unit_init(&c->unit, &ops, 1, 1))
        return -ENOMEM;
    for (unsigned i = 0; i < ARRAY_SIZE(c->drives); i++) {
        if (!c->drives[i].present)
            continue;
        describe(c, &c->drives[i]);
        c->drives[i].present = disk_add(&c->unit, &c->drives[i].disk) == 0;
        added |= c->drives[i].present;
    }
    if (!added) {
        heap_free(c->unit.queues);
        return -ENOSPC;
    }
    disk_unit_add(&c->unit);
    io_write8(&c->control, CONTROL, 0);
    return 0;
}
