/*
 * A layer below a VM's disk, for its snapshots: from the moment that one is made on, what a block
 * held is kept in memory before it is written to for the first time. What the guest writes and
 * flushes is on the drive as ever. What was kept can be written back. Until the first snapshot is
 * made the layer is not in the way.
 *
 * Snapshots of a disk are a chain: each has what was overwritten since it was made, until the next
 * one was; so a block is, at a snapshot's moment, what the oldest from there on has of it, or else
 * what is on the drive. What is written back is written as a guest's: the newer ones keep their
 * contents, too.
 *
 * A write waits until all of its blocks are kept, those behind it wait for it, and they go to the
 * drive in the order in which they came. Reads and FLUSHes never wait. A DISCARD is answered and
 * not carried out while there is a snapshot: what those sectors hold matters no more, and so may
 * stay.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "guest/storage/block.h"
#include "guest/storage/past.h"

#define LAYER_COPIES 8u  /* reads of old contents under way */
#define LAYER_RUN    16u /* blocks that one of them has, or one write back */

struct block_layer;
struct layer_restore;

/* Of one snapshot: `of` is whatever it is known by. */
struct layer_link {
    const void *of;
    struct past_map map;
    struct layer_link *older;
};

struct layer_copy {
    struct block_layer *layer;
    struct block_request *wanted_by; /* NULL: nothing is under way */
    uint64_t first;                  /* blocks */
    unsigned count;
    struct block_request request;
    struct block_segment segments[LAYER_RUN];
};

/* No memory is left for what a guest wants to write to that layer, so that it waits; or NULL:
 * layer_work() of all is to be called. Called on any processor, with none of their locks held. */
typedef void (*layer_attention)(struct block_layer *starved);

struct block_layer {
    struct block_device *device;   /* whose ops are the layer's own from the first snapshot on */
    const struct block_ops *under; /* what these were */
    struct block_ops ops;
    struct past_memory *memory;
    layer_attention attention;
    bool at_work;              /* atomic; false: no snapshot, and nothing waits */
    struct layer_link *newest; /* NULL: there is no snapshot */
    struct spinlock lock;
    bool pumping;                       /* somebody sees to what is to be done next */
    bool starved;                       /* nothing more is kept as yet */
    bool giving_up;                     /* what has no memory ends with -ENOMEM instead */
    struct block_request *first, *last; /* writes that wait */
    struct layer_copy copies[LAYER_COPIES];
    struct layer_restore *restore;
};

/* 0, or -EINVAL: a device with such blocks cannot have one. The memory outlasts it. */
int layer_init(struct block_layer *l, struct block_device *device, struct past_memory *memory,
               layer_attention attention) MUST_CHECK;

/* --- processor 0's; nothing of the guest's is under way where a snapshot is made or put back ---
 */

/* What the disk holds now is kept from now on. 0, -ENOMEM. */
int layer_keep(struct block_layer *l, const void *of) MUST_CHECK;
/* Nobody will put that back. Nothing happens where there is no such snapshot. Not while one is
 * written back. */
void layer_forget(struct block_layer *l, const void *of);
bool layer_has(const struct block_layer *l, const void *of);
/* How much memory it takes. */
uint64_t layer_size(const struct block_layer *l, const void *of);

/* What a processor has left to this one, as it had done enough. */
void layer_work(struct block_layer *l);
/* What has waited for memory is tried again. */
void layer_go_on(struct block_layer *l);
/* From now on until layer_go_on() nothing waits for memory. */
void layer_give_up(struct block_layer *l);
/* Whether a guest's write waits for memory. */
bool layer_is_starved(const struct block_layer *l);
/* Whether nothing is under way, and nobody is at it. */
bool layer_idle(struct block_layer *l);

/* --- writing back: layer_restore.c --- */

/* Where it failed. */
struct layer_failure {
    uint64_t sector;  /* the first */
    uint32_t sectors; /* 0: a FLUSH has failed */
};

/* How many bytes of memory it takes at most to write that back, for newer snapshots' sake. */
uint64_t layer_restore_cost(const struct block_layer *l, const void *of);
/* Begin. 0, -ENOMEM. */
int layer_restore_begin(struct block_layer *l, const void *of) MUST_CHECK;
/*
 * The next piece: -EAGAIN: not all of it is done, call again soon. 0: all is written and flushed.
 * Else it has failed, and can begin anew: the snapshot is as it was, the disk is partly what it was
 * then. -ENOMEM: newer snapshots take memory that is not there.
 */
int layer_restore_step(struct block_layer *l, struct layer_failure *where) MUST_CHECK;
/* Nobody wants it any more, and nothing more is begun: whether it is over. False: ask again, and
 * let nobody forget the snapshot before. */
bool layer_restore_stop(struct block_layer *l) MUST_CHECK;
