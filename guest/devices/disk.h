/*
 * A VM's requests to the block device behind its disk controller, whichever kind that is: guest
 * memory of any shape is pinned and handed over in pieces that the block device takes, and what
 * comes back on any processor waits until the controller can look at it.
 */
#pragma once

#include "guest/board/class.h"
#include "guest/storage/block.h"

#define DISK_SEGMENTS 32 /* pieces of host memory that are handed over at once */
#define DISK_TIMER    1  /* of the controller: its handler calls disk_go_on() */

struct disk_io;

/* Guest memory, as the controller has it. */
struct disk_segment {
    uint64_t gpa;
    uint32_t length;
};

/* One request of the guest. The controller fills in what comes first, and leaves it alone until it
 * has come back. */
struct disk_request {
    uint8_t op, flags;
    uint32_t sectors; /* READ, WRITE: as many as the segments are long, or an error */
    uint64_t sector;
    const struct disk_segment *segments; /* READ, WRITE */
    unsigned count;
    bool own; /* they are no guest memory, but the controller's, at host-physical addresses */

    struct disk_io *disk;
    struct disk_request *next; /* of those that have come back; atomic */
    int error;
    uint32_t done; /* sectors that are */
    unsigned at;   /* segment, and byte of it, that comes next */
    uint32_t offset;
    uint32_t part;  /* sectors that are under way */
    uint64_t begun; /* the observer's */
    struct block_request block;
    struct block_segment host[DISK_SEGMENTS];
};

struct disk_io {
    struct block_device *block;
    struct device *dev;                /* the controller */
    struct device_disk_counts *counts; /* NULL: nobody asks */
    /* The request is over, with 0 or a negative error, and counted. With the controller's lock
     * held. */
    void (*finished)(struct disk_io *d, struct disk_request *r, int error);
    /* Something has come back from elsewhere than inside the calls below, and finished() was called
     * for it. Where that was not possible at once, the device's timer DISK_TIMER comes instead. */
    void (*settled)(struct disk_io *d);
    unsigned under_way;        /* requests that the block device has; atomic */
    unsigned visitors;         /* who is in done(), on whatever processor; atomic */
    bool busy;                 /* somebody is looking at what has come back; atomic */
    struct disk_request *back; /* newest first; atomic */
    bool stopping;
    uint32_t left; /* sectors that may be begun before disk_go_on() */
    /* For that, or for a frame that is pinned too often: a list, oldest last. */
    struct disk_request *waiting;
};

/* Who is told of each request to a disk with counts, when it begins and when it is over, with the
 * controller's lock held; NULL: nobody. */
typedef void (*disk_observer)(const struct device_disk_counts *of,
                              const struct device_disk_event *event);
void disk_set_observer(disk_observer observer);

/* A zeroed one with block, dev, counts, finished and settled set is ready for disk_go_on(). Begin.
 * finished() may be called from here. With the controller's lock held, like the rest. */
void disk_submit(struct disk_io *d, struct disk_request *r);
/* Something waits, and nothing of this disk's own will come back: the frames are pinned by others.
 * disk_go_on() after a while. */
bool disk_stuck(const struct disk_io *d);
/* No part of any request is handed over any more: they end with errors. Or go on as usual. */
void disk_stop(struct disk_io *d, bool stop);
/*
 * Look at what has come back; so many sectors more may be begun, those of what waits first. A
 * device may carry out in submit() what it is asked: so a guest keeps the processor that long, in
 * one exit, and no longer.
 */
void disk_go_on(struct disk_io *d, uint32_t sectors);
/* Whether nothing is under way, and nobody else at it; what waits is carried out, or ended if it is
 * to stop. Looks whether something has come back. */
bool disk_idle(struct disk_io *d);
