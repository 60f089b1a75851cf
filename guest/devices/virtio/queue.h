/*
 * Virtqueues, the device's side (Virtio 1.2, "Virtqueues"): split and packed rings, indirect
 * descriptors, both directions' event suppression.
 *
 * What lies in the guest's memory may change at any time and mean anything. It is read once, into
 * memory of Corbel's, and checked there; each call does a bounded amount of work. What a driver
 * cannot mean makes the queue broken: nothing moves any more until it is reset, and its device says
 * DEVICE_NEEDS_RESET.
 */
#pragma once

#include "guest/board/device.h"

#define VIRTQ_MAX_SIZE  128
#define VIRTQ_MAX_CHAIN 128 /* descriptors of one chain, those of an indirect table included */

/* Of the features that a device may offer, those which are the queues'. */
#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_RING_PACKED   BIT(34)

struct virtq_segment {
    uint64_t gpa;
    uint32_t length; /* not 0; gpa + length does not wrap */
};

/* One chain of descriptors that the driver has made available. */
struct virtq_chain {
    uint16_t id;       /* what it is returned by */
    uint16_t slots;    /* how many descriptors of the ring it takes */
    uint16_t count;    /* of segments: */
    uint16_t readable; /* so many for the device to read, then those for it to write */
    uint16_t table;    /* descriptors of its indirect table; 0: it has none */
    struct virtq_segment segment[VIRTQ_MAX_CHAIN];
};

struct virtq {
    struct device *dev; /* whose memory the rings are in */

    /* What the driver has set; the transport checks size: 1 to VIRTQ_MAX_SIZE, for split rings a
     * power of two. */
    uint64_t descriptors, driver, device; /* areas: gpa */
    uint16_t size;
    bool enabled;
    bool packed, event_idx, indirect; /* features that were agreed on */

    bool broken;
    bool silent; /* perhaps: virtq_silence() came after virtq_listen() */
    /* Where the device is. Split: indices that run freely. Packed: descriptors 0 to size - 1, and
     * the wrap counters that go with them. */
    uint16_t avail, used;
    uint16_t seen; /* split: the driver's index when it was last read */
    bool avail_wrap, used_wrap;
    uint16_t told; /* `used` when virtq_interrupts() last looked */
};

/* Indices and so on as they are after reset; enabled and what the driver set stay. */
void virtq_start(struct virtq *q);

/* The next chain that is available. 1; 0: none is; -EBADMSG: the queue is broken. */
int virtq_next(struct virtq *q, struct virtq_chain *chain) MUST_CHECK;
/* Whether another one is available, as far as can be told without looking at what virtq_next() has
 * seen already: a split ring's index is not read anew. */
bool virtq_more(struct virtq *q) MUST_CHECK;
/* The chain that was taken last and has not been given back is the next one again. */
void virtq_put_back(struct virtq *q, const struct virtq_chain *chain);
/* How long the part is that the device reads; copy size bytes of it, from offset on: false, it is
 * shorter, or no RAM. */
uint64_t virtq_readable(const struct virtq_chain *chain);
bool virtq_read(const struct virtq *q, const struct virtq_chain *chain, uint64_t offset, void *data,
                size_t size) MUST_CHECK;
/* Give a chain back, of whose writable part the first `written` bytes have been written. */
void virtq_return(struct virtq *q, const struct virtq_chain *chain, uint32_t written);
/* The same, of a chain that had that id and took so many slots. */
void virtq_return_id(struct virtq *q, uint16_t id, uint16_t slots, uint32_t written);
/* Several of them, of which the driver sees all or none. */
struct virtq_done {
    uint16_t id, slots;
    uint32_t written;
};
void virtq_return_all(struct virtq *q, const struct virtq_done *done, unsigned count);
/* Where the device is; chains that were taken since, none of which was given back, are available
 * again. */
struct virtq_mark {
    uint16_t avail;
    bool wrap;
};
struct virtq_mark virtq_mark(const struct virtq *q);
void virtq_take_back(struct virtq *q, struct virtq_mark mark);
/* Whether the driver wants an interrupt for what has been returned since the last time. */
bool virtq_interrupts(struct virtq *q) MUST_CHECK;

/* The driver need not notify: the device will look by itself. A hint. */
void virtq_silence(struct virtq *q);
/* It is to notify from now on. True: something came in between, look again. */
bool virtq_listen(struct virtq *q) MUST_CHECK;

/* Whether the driver need not have notified of all that virtq_next() has not seen: virtq_listen()
 * before the device rests. */
static inline bool virtq_may_miss(const struct virtq *q)
{
    return q->silent || q->event_idx;
}

/* As parts of the device's section; nothing is in flight. load: false for what cannot be. */
void virtq_save(const struct virtq *q, struct state_writer *w);
bool virtq_load(struct virtq *q, struct state_reader *r) MUST_CHECK;

/* Bytes of the area that the device writes to. */
uint64_t virtq_device_size(const struct virtq *q);
