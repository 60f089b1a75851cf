/*
 * What drivers of virtio devices share (VIRTIO 1.2, "Virtio Over PCI Bus", "Split Virtqueues"): the
 * common registers, and rings. Nothing that a device writes into a ring is believed: who takes an
 * identifier from one looks whether he has given it.
 */
#pragma once

#include "drivers/dma.h"
#include "drivers/io.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_RING   256 /* descriptors of a queue at most; its three parts share two pages */

#define VIRTIO_NO_VECTOR 0xffff

#define VIRTIO_F_INDIRECT  BIT(28)
#define VIRTIO_F_VERSION_1 BIT(32)
/* ACCESS_PLATFORM: it goes by the IOMMU as other devices do; without it past that. */
#define VIRTIO_F_PLATFORM BIT(33)

#define VIRTIO_D_NEXT     1u
#define VIRTIO_D_WRITE    2u
#define VIRTIO_D_INDIRECT 4u

struct virtio_descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

struct virtio_queue {
    uint8_t *ring; /* two pages */
    paddr ring_at;
    uint16_t size, available, used, number;
    uint16_t notify; /* its place in the notification area */
};

struct virtio {
    struct io common, device, notify;
    uint32_t notify_multiplier;
    uint64_t features;
};

struct host_pci;

/* --- registers --- */

/* Ask for a reset; the device has let go of all memory when it says that it is reset. */
void virtio_ask_reset(const struct virtio *v);
bool virtio_is_reset(const struct virtio *v);
/* Reset it, and wait for that, a second at most: whether it is. */
bool virtio_cut(const struct virtio *v);
/* It says that nothing goes on without a reset. */
bool virtio_wants_reset(const struct virtio *v);
/* It has been taken away. */
bool virtio_is_gone(const struct virtio *v);

/* After a reset: the features are what it has of those wanted. -ENOTSUP: one that is needed is
 * missing. */
int virtio_negotiate(struct virtio *v, uint64_t wanted, uint64_t needed) MUST_CHECK;
/* Give it an empty queue, which interrupts by that vector, or VIRTIO_NO_VECTOR. -ENOTSUP: its size
 * is none that will do, or less than least; -EIO. */
int virtio_queue_init(const struct virtio *v, struct virtio_queue *q, unsigned number,
                      unsigned least, unsigned vector) MUST_CHECK;
/* The vector of changes to what the device says of itself; it may have none for it. */
void virtio_set_config_vector(const struct virtio *v, unsigned vector);
/* From now on it works. */
void virtio_ready(const struct virtio *v);

/* --- rings --- */

struct virtio_descriptor *virtio_descriptors(const struct virtio_queue *q);
/* The chain that begins there is the device's, once that is told: behind the last of several. */
void virtio_offer(struct virtio_queue *q, unsigned head);
void virtio_tell(const struct virtio *v, const struct virtio_queue *q);
/* What comes back need not interrupt; or it does again, and is to be looked for once more. */
void virtio_quiet(struct virtio_queue *q, bool on);
/* How many chains have come back and have not been taken; -EIO: more than there are. */
int virtio_come_back(const struct virtio_queue *q);
/* The n-th of those: where its chain begins, as the device says, and how much it has written. */
uint32_t virtio_back(const struct virtio_queue *q, unsigned n, uint32_t *written);
/* So many have been taken. */
void virtio_taken(struct virtio_queue *q, unsigned count);

/* --- PCI (virtio_pci.c) --- */

/* Map its structures; least: bytes of the device's own. false: it is no virtio 1.0. */
bool virtio_pci_find(const struct host_pci *p, uint64_t least, struct virtio *v) MUST_CHECK;
/* A queue's memory, once; false: there is none. */
bool virtio_pci_ring(struct dma *dma, struct virtio_queue *q) MUST_CHECK;
/* Where an IOMMU is in use, and the device has not said that it goes by it: say so. */
void virtio_pci_warn(const struct virtio *v, const struct dma *dma, const char *name);
