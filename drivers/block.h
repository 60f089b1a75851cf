/*
 * Block devices: the seam between who wants blocks (a VM's disk controller, whatever it is) and who
 * has them (a driver of the machine's hardware, a partition of another block device, memory).
 *
 * A request is given to the device by submit() and comes back by its done(), once. In between it,
 * its segments and the memory that they name belong to the device: nobody changes or frees them,
 * and memory of a guest stays pinned. Several requests may be under way, and they may come back in
 * any order: a FLUSH covers what had come back before it was submitted.
 *
 * done() is called with none of the device's locks held: from inside submit() or poll() of the same
 * owner, who may hold locks of his own then, or later on any processor, from an interrupt. It may
 * submit another request. A device that has stopped answering gives its requests back with an error
 * all the same, in bounded time.
 */
#pragma once

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/types.h"
#include "mm/frame.h"

#define BLOCK_SECTOR 512u /* bytes; the unit of positions and lengths, whatever the disk's own */
#define BLOCK_NAME   32   /* with the final 0 */
#define BLOCK_SERIAL 21   /* with the final 0 */

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,        /* nothing of the request but op and done counts */
    BLOCK_DISCARD,      /* what these sectors hold matters no more */
    BLOCK_WRITE_ZEROES, /* these sectors read as zeroes */
    BLOCK_OPS
};

/* Flags. */
#define BLOCK_FUA   BIT(0) /* WRITE, WRITE_ZEROES: done() when it is on the medium */
#define BLOCK_UNMAP BIT(1) /* WRITE_ZEROES: their space may be given back */

/* Host-physical memory: contiguous, but it may cross pages. */
struct block_segment {
    paddr address;
    uint32_t length; /* bytes, not 0 */
};

struct block_request;

/* error: 0, or -EIO (the medium, or the drive is gone), -EROFS, -EINVAL (out of the device's range
 * or against its limits), -ENOTSUP, -ENOMEM, -ETIMEDOUT. */
typedef void (*block_done)(struct block_request *r, int error);

struct block_request {
    uint8_t op;       /* enum block_op */
    uint8_t flags;    /* BLOCK_FUA, BLOCK_UNMAP */
    uint16_t count;   /* READ, WRITE: of segments */
    uint32_t sectors; /* how many, not 0; READ, WRITE: as long as the segments together */
    uint64_t sector;  /* the first one; another one, perhaps, when it comes back */
    const struct block_segment *segments;
    block_done done;
    const void *owner; /* whoever he is: others' submit() and poll() do not call done() */
    /* Whoever has the request keeps these: a link of his list, and what he notes with it. */
    struct block_request *next;
    uint64_t note[3];
};

struct block_device;

struct block_ops {
    /* Begin the request. In root mode with IF=0, on any processor, with locks held of RANK_BOARD at
     * the most. */
    void (*submit)(struct block_device *d, struct block_request *r);
    /* Look whether something of that owner's has come back, for who cannot wait for the interrupt;
     * or NULL. The same conditions. */
    void (*poll)(struct block_device *d, const void *owner);
};

struct block_device {
    const struct block_ops *ops;
    char name[BLOCK_NAME];     /* for people: "ata0", "nvme0n1p2" */
    char serial[BLOCK_SERIAL]; /* of the drive, printable, without spaces at its ends; or empty */
    uint64_t sectors;
    /* Bytes, powers of two from 512: requests begin and end at logical blocks; physical ones are
     * what the drive writes at once. */
    uint32_t logical_block, physical_block;

    /* What a READ or WRITE may be; who submits it cuts what he has into such. */
    uint32_t max_sectors;   /* at least 8 */
    uint16_t max_segments;  /* at least 1 */
    uint16_t segment_align; /* power of two, 1 to 512: of each segment's address and length */
    /* Segments join at multiples of 4 KiB only (NVMe's PRP lists): all but the first begin there
     * and all but the last end there. */
    bool no_gaps;
    paddr highest_address; /* that a segment may have a byte at (4 GiB - 1 with 32-bit DMA) */

    bool read_only;
    bool has_flush;                /* it has a volatile cache; without one FLUSH succeeds at once */
    bool has_fua;                  /* else FUA is -ENOTSUP: a FLUSH behind it does the same */
    uint32_t discard_sectors;      /* at most, in one DISCARD; 0: -ENOTSUP */
    uint32_t write_zeroes_sectors; /* the same of WRITE_ZEROES */
};

/*
 * What every device asks of a request before it looks at it: 0; -EINVAL when it is not on the
 * device, -EROFS, -ENOTSUP. Whether the segments keep to the limits, and to the length, is for who
 * submits it to see to: a fault of Corbel's otherwise.
 */
static inline int block_check(const struct block_device *d, const struct block_request *r)
{
    uint32_t most = r->op == BLOCK_DISCARD        ? d->discard_sectors
                    : r->op == BLOCK_WRITE_ZEROES ? d->write_zeroes_sectors
                                                  : d->max_sectors;

    if (r->op == BLOCK_FLUSH)
        return 0;
    if (r->op > BLOCK_WRITE_ZEROES || most == 0 || ((r->flags & BLOCK_FUA) && !d->has_fua))
        return -ENOTSUP;
    if (r->op != BLOCK_READ && d->read_only)
        return -EROFS;
    if (r->sectors == 0 || r->sectors > most || r->sector > d->sectors ||
        r->sectors > d->sectors - r->sector)
        return -EINVAL;
    return 0;
}

static inline void block_submit(struct block_device *d, struct block_request *r)
{
    d->ops->submit(d, r);
}
