/*
 * A drive's data between the medium and the host: in blocks through the data register (PIO), or by
 * the bus master (DMA), straight to and from the guest's memory where the block device takes what
 * the regions are, else by way of the drive's buffer.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

#define MOST_SECTORS 65536u /* asked of the block device at once; a disk's command has no more */

static bool by_dma(const struct ide_drive *d)
{
    return d->mode == IDE_DMA_IN || d->mode == IDE_DMA_OUT;
}

static void done(struct ide_drive *d, int error)
{
    enum ide_mode mode = d->mode;

    if (by_dma(d))
        ide_master_settle(d->channel);
    d->mode = IDE_NONE;
    d->phase = IDE_IDLE;
    d->kind->done(d, mode, error);
}

/* --- requests to the medium --- */

static void submit(struct ide_drive *d, unsigned op, uint32_t bytes)
{
    struct disk_request *r = &d->request;

    r->op = (uint8_t)op;
    r->flags = 0;
    r->sector = d->sector;
    r->sectors = bytes / BLOCK_SECTOR;
    r->segments = d->segment;
    d->taken = bytes;
    d->under_way = true;
    d->phase = IDE_BUSY;
    disk_submit(&d->disk, r);
}

static void submit_buffer(struct ide_drive *d, unsigned op, uint32_t bytes)
{
    d->segment[0] = (struct disk_segment){d->buffer_at, bytes};
    d->request.count = 1;
    d->request.own = d->by_buffer = true;
    submit(d, op, bytes);
}

static void submit_flush(struct ide_drive *d)
{
    d->flush = false;
    d->request.own = d->by_buffer = true;
    submit(d, BLOCK_FLUSH, 0);
}

static uint32_t most(const struct ide_drive *d)
{
    return MIN(d->left, IDE_BUFFER / BLOCK_SECTOR) * BLOCK_SECTOR;
}

/* --- through the data register --- */

static void offer(struct ide_drive *d, uint32_t bytes)
{
    d->end = d->at + bytes;
    if (d->kind->offer)
        d->kind->offer(d, bytes);
    d->phase = IDE_BLOCK;
    /* "PIO data-out command protocol": the first block is asked for without an interrupt. */
    if (d->mode == IDE_PIO_IN || !d->first)
        ide_interrupt(d);
    d->first = false;
}

static void pio_in(struct ide_drive *d)
{
    if (d->at < d->filled)
        offer(d, MIN(d->block, d->filled - d->at));
    else if (d->left)
        submit_buffer(d, BLOCK_READ, most(d));
    else
        done(d, 0);
}

static void pio_out(struct ide_drive *d)
{
    if (d->at) {
        submit_buffer(d, BLOCK_WRITE, d->at); /* the block that the host has moved */
    } else if (d->left) {
        offer(d, MIN(d->block, d->left * BLOCK_SECTOR));
    } else if (d->flush) {
        submit_flush(d);
    } else {
        done(d, 0);
    }
}

/* --- by the bus master --- */

/* What the block device takes as it is; the rest it gets out of the buffer. */
static bool is_plain(const struct ide_drive *d, unsigned count)
{
    const struct block_device *b = d->disk.block;

    for (unsigned i = 0; i < count; i++)
        if (d->segment[i].gpa % b->segment_align || d->segment[i].length % b->logical_block)
            return false;
    return true;
}

/* Straight to or from guest memory; false: that is not possible here. */
static bool direct(struct ide_drive *d, unsigned op)
{
    struct ide_master *m = &d->channel->master;
    struct ide_master before = *m;
    uint32_t bytes;

    bytes = MIN(d->left, MOST_SECTORS) * BLOCK_SECTOR;
    bytes = ide_master_gather(d->channel, bytes, d->segment, IDE_SEGMENTS, &d->request.count);
    if (!is_plain(d, d->request.count)) {
        *m = before;
        return false;
    }
    d->phase = IDE_MASTER; /* there is no region any more: another table may follow */
    d->request.own = d->by_buffer = false;
    if (bytes)
        submit(d, op, bytes);
    return true;
}

/* Regions take time, too, however short they are. */
static uint32_t copy(struct ide_drive *d, uint32_t size, bool to_memory)
{
    unsigned regions;
    uint32_t bytes = ide_master_copy(d->channel, d->buffer + d->at, size, to_memory, &regions);

    d->disk.left -= MIN(d->disk.left, regions);
    d->at += bytes;
    return bytes;
}

static void dma_in(struct ide_drive *d)
{
    if (d->at == d->filled && !d->left) {
        done(d, 0);
    } else if (!ide_master_moves(d->channel, true)) {
        d->phase = IDE_MASTER;
    } else if (d->at < d->filled) {
        d->phase = IDE_MASTER;
        d->again = copy(d, d->filled - d->at, true) > 0;
    } else if (!direct(d, BLOCK_READ)) {
        submit_buffer(d, BLOCK_READ, most(d));
    }
}

static void dma_out(struct ide_drive *d)
{
    if (d->at && d->at == d->filled) {
        submit_buffer(d, BLOCK_WRITE, d->at);
    } else if (!d->left && d->flush) {
        submit_flush(d);
    } else if (!d->left) {
        done(d, 0);
    } else if (!ide_master_moves(d->channel, false)) {
        d->phase = IDE_MASTER;
    } else if (d->filled || !direct(d, BLOCK_WRITE)) {
        d->filled = most(d);
        d->phase = IDE_MASTER;
        d->again = copy(d, d->filled - d->at, false) > 0;
    }
}

/* --- */

static void verify(struct ide_drive *d)
{
    if (d->left)
        submit_buffer(d, BLOCK_READ, most(d));
    else
        done(d, 0);
}

/* The command itself, without an interrupt that asks for it. */
static void packet(struct ide_drive *d)
{
    if (d->at == 0) {
        offer(d, d->block);
        return;
    }
    d->mode = IDE_NONE;
    d->phase = IDE_IDLE;
    d->kind->packet(d);
}

/* What comes next, while nothing is under way and the host is not at it. */
static void step(struct ide_drive *d)
{
    if (d->left && !d->disk.block) {
        done(d, -EIO); /* the disc is gone */
        return;
    }
    switch (d->mode) {
    case IDE_PIO_IN:
        pio_in(d);
        break;
    case IDE_PIO_OUT:
        pio_out(d);
        break;
    case IDE_DMA_IN:
        dma_in(d);
        break;
    case IDE_DMA_OUT:
        dma_out(d);
        break;
    case IDE_VERIFY:
        verify(d);
        break;
    case IDE_PACKET:
        packet(d);
        break;
    }
}

void ide_run(struct ide_drive *d)
{
    d->again = true;
    if (d->running)
        return; /* whoever does sees it */
    d->running = true;
    while (d->again) {
        d->again = false;
        if (!d->under_way && (d->phase == IDE_BUSY || d->phase == IDE_MASTER))
            step(d);
    }
    d->running = false;
}

static void begin(struct ide_drive *d, uint32_t filled)
{
    d->first = true;
    d->at = d->end = 0;
    d->filled = filled;
    d->phase = IDE_BUSY;
    ide_run(d);
}

void ide_begin(struct ide_drive *d)
{
    begin(d, 0);
}

void ide_begin_reply(struct ide_drive *d, uint32_t bytes)
{
    d->left = 0;
    d->flush = false;
    begin(d, bytes);
}

/* The medium has moved what was asked of it. */
static void moved(struct ide_drive *d)
{
    d->sector += d->taken / BLOCK_SECTOR;
    d->left -= d->taken / BLOCK_SECTOR;
    if (!d->by_buffer)
        return;
    d->at = 0;
    d->filled = d->mode == IDE_PIO_IN || d->mode == IDE_DMA_IN ? d->taken : 0;
}

void ide_finished(struct disk_io *disk, struct disk_request *r, int error)
{
    struct ide_drive *d = CONTAINER_OF(disk, struct ide_drive, disk);

    d->under_way = false;
    ide_master_settle(d->channel);
    if (d->mode == IDE_NONE)
        return; /* it was reset meanwhile */
    if (error == 0) {
        moved(d);
    } else if (error == -EFAULT && !d->by_buffer) {
        ide_master_fail(d->channel);
        d->phase = IDE_STUCK;
    } else {
        d->sector += r->done; /* where it is */
        done(d, error);
    }
    ide_run(d);
}

/* --- the data register --- */

static bool is_moving(const struct ide_drive *d, bool in)
{
    return d->phase == IDE_BLOCK && (d->mode == IDE_PIO_IN) == in;
}

static void block_moved(struct ide_drive *d)
{
    if (d->at < d->end)
        return;
    d->phase = IDE_BUSY;
    ide_run(d);
}

uint32_t ide_data_read(struct ide_drive *d, unsigned size)
{
    uint32_t value = 0;

    if (!is_moving(d, true))
        return 0;
    size = MIN(size, d->end - d->at);
    memcpy(&value, d->buffer + d->at, size);
    d->at += size;
    block_moved(d);
    return value;
}

void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value)
{
    if (!is_moving(d, false))
        return;
    size = MIN(size, d->end - d->at);
    memcpy(d->buffer + d->at, &value, size);
    d->at += size;
    block_moved(d);
}

/* --- an end before the end --- */

void ide_cancel(struct ide_drive *d)
{
    d->mode = IDE_NONE;
    d->phase = IDE_IDLE;
    d->block = d->at = d->end = d->filled = 0;
    d->draining = true;
    disk_stop(&d->disk, true);
}

bool ide_drained(struct ide_drive *d)
{
    if (d->kind && !disk_idle(&d->disk))
        return false;
    disk_stop(&d->disk, false);
    return true;
}

/* --- saved state: nothing is under way --- */

/* Bytes of the buffer that count. */
static uint32_t kept(const struct ide_drive *d)
{
    return d->mode == IDE_PIO_OUT || d->mode == IDE_PACKET ? d->at : d->filled;
}

void ide_transfer_save(const struct ide_drive *d, struct state_writer *w)
{
    state_put_u8(w, d->mode);
    state_put_u8(w, d->phase);
    state_put_u8(w, d->flush);
    state_put_u8(w, d->first);
    state_put_u64(w, d->sector);
    state_put_u32(w, d->left);
    state_put_u32(w, d->block);
    state_put_u32(w, d->at);
    state_put_u32(w, d->end);
    state_put_u32(w, d->filled);
    state_put(w, d->buffer, kept(d));
}

static bool is_possible(const struct ide_drive *d)
{
    switch (d->phase) {
    case IDE_IDLE:
        return d->mode == IDE_NONE;
    case IDE_BLOCK:
        return d->block && d->at < d->end && d->end <= IDE_BUFFER &&
               ((d->mode == IDE_PIO_OUT && d->left <= UINT32_MAX / BLOCK_SECTOR) ||
                (d->mode == IDE_PACKET && d->end == IDE_PACKET_BYTES) ||
                (d->mode == IDE_PIO_IN && d->end <= d->filled));
    case IDE_MASTER:
    case IDE_STUCK:
        return by_dma(d) && d->at <= d->filled &&
               (d->mode == IDE_DMA_IN || d->filled / BLOCK_SECTOR <= d->left);
    default:
        return false;
    }
}

bool ide_transfer_load(struct ide_drive *d, struct state_reader *r)
{
    d->mode = state_get_u8(r);
    d->phase = state_get_u8(r);
    d->flush = state_get_u8(r) & 1;
    d->first = state_get_u8(r) & 1;
    d->sector = state_get_u64(r);
    d->left = state_get_u32(r);
    d->block = state_get_u32(r);
    d->at = state_get_u32(r);
    d->end = state_get_u32(r);
    d->filled = state_get_u32(r);
    if (d->block > IDE_BUFFER || d->filled > IDE_BUFFER || d->at > IDE_BUFFER || !is_possible(d))
        return false;
    state_get(r, d->buffer, kept(d));
    return true;
}
