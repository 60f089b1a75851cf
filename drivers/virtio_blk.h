/* virtio-blk over PCI (VIRTIO 1.2, "Virtio Over PCI Bus", "Block Device"): when another hypervisor
 * is below. */
#pragma once

#include "drivers/disk.h"

#define VIRTIO_RING     256 /* descriptors of a queue at most; its three parts share two pages */
#define VIRTIO_SEGMENTS 60
#define VIRTIO_TABLE    1024 /* bytes of a slot: its descriptors, and its header and status */

struct virtio_queue {
    uint8_t *ring;   /* two pages */
    uint8_t *tables; /* DISK_SLOTS of VIRTIO_TABLE bytes */
    paddr ring_at, tables_at;
    uint16_t size, available, used;
    uint16_t notify; /* its place in the notification area */
};

struct virtio_blk {
    struct disk_unit unit;
    struct disk disk;
    struct io common, device, notify;
    uint32_t notify_multiplier;
    unsigned queues;
    bool vectors; /* queue n interrupts by vector n */
    uint64_t features;
    struct virtio_queue queue[DISK_QUEUES];
    uint64_t step_until;
    uint8_t step;
};

/* Start the device with as many of the queues provided as it has: 0 or an error. */
int virtio_blk_init(struct virtio_blk *v, const char *name) MUST_CHECK;
