/* virtio-blk (VIRTIO 1.2, "Block Device"): when another hypervisor is below. */
#pragma once

#include "drivers/disk.h"
#include "drivers/virtio.h"

#define VIRTIO_SEGMENTS 60
#define VIRTIO_TABLE    1024 /* bytes of a slot: its descriptors, and its header and status */

struct virtio_blk_queue {
    struct virtio_queue ring;
    uint8_t *tables; /* DISK_SLOTS of VIRTIO_TABLE bytes */
    paddr tables_at;
};

struct virtio_blk {
    struct disk_unit unit;
    struct disk disk;
    struct virtio virtio;
    unsigned queues;
    bool vectors; /* queue n interrupts by vector n */
    struct virtio_blk_queue queue[DISK_QUEUES];
    uint64_t step_until;
    uint8_t step;
};

/* Start the device with as many of the queues provided as it has: 0 or an error. */
int virtio_blk_init(struct virtio_blk *v, const char *name) MUST_CHECK;
