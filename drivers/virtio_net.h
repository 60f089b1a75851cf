/*
 * virtio-net (VIRTIO 1.2, "Network Device"): when another hypervisor is below. One queue each way,
 * no offload, no control queue: without one devices hand all frames through that they get.
 */
#pragma once

#include "drivers/net_card.h"
#include "drivers/virtio.h"

#define VIRTIO_NET_BUFFER 2048u /* with a frame's first piece is the header */
#define VIRTIO_NET_HEADER 12u
#define VIRTIO_NET_PAGES  (VIRTIO_RING / (PAGE_SIZE / VIRTIO_NET_BUFFER)) /* each way */

/* A queue with a buffer for each of its descriptors. */
struct virtio_net_queue {
    struct virtio_queue ring;
    uint8_t *page[VIRTIO_NET_PAGES];
    paddr page_at[VIRTIO_NET_PAGES];
};

struct virtio_net {
    struct net_card card; /* first */
    struct virtio virtio;
    unsigned vectors;     /* the first is of what comes, the second of the link */
    bool changed;         /* so it says of its link */
    bool in_bad, out_bad; /* what it has put into that ring cannot be: nothing of it is taken */
    bool half;            /* of the next frame not all is there, */
    unsigned halves;      /* and so it was when somebody has looked so often */

    struct virtio_net_queue out;
    uint16_t next, last;        /* descriptors: to be filled next, the oldest one that is out */
    uint8_t count[VIRTIO_RING]; /* of the frame that begins there; 0: none does */
    bool sent[VIRTIO_RING];

    struct virtio_net_queue in;
    bool theirs[VIRTIO_RING]; /* the device has that buffer */
    uint16_t taken[VIRTIO_RING], taken_count;
};

extern const struct net_card_ops virtio_net_ops; /* but for prepare() */

/* Its registers and its vectors are set: it is reset, and its address is known. -EIO, -ENOTSUP. */
int virtio_net_init(struct virtio_net *v) MUST_CHECK;
/* The second vector's handler. */
void virtio_net_changed(void *device);
/* Its queues' memory, once; in virtio_net_pci.c. */
int virtio_net_prepare(struct net_card *c) MUST_CHECK;
