/*
 * What a disk held: blocks of PAST_SIZE bytes by number, each in a frame, but for those that were
 * zeroes, which take none. A block is kept in three steps, so that the last one cannot fail: it
 * gets a place, its frame is filled, it is put there. Nothing here has a lock.
 */
#pragma once

#include "mm/frame.h"

#define PAST_SIZE   PAGE_SIZE
#define PAST_BLOCKS BIT(36) /* numbers are below that */
#define PAST_NONE   UINT64_MAX
#define PAST_ZEROES 1u /* in place of a frame's address */

/* How much memory may be taken: of all that is kept of a VM. */
struct past_memory {
    uint64_t used; /* bytes; atomic */
    uint64_t limit;
    uint64_t spare; /* bytes of the machine's memory that are left to others */
    uint16_t owner; /* whose frames those are */
};

struct past_map {
    struct past_node *root; /* NULL: it is empty */
    uint64_t bytes;         /* of memory that it takes */
};

/* A frame with its last byte at highest at most, to be put somewhere or given back. FRAME_NONE. */
paddr past_take(struct past_memory *memory, paddr highest) MUST_CHECK;
void past_give(struct past_memory *memory, paddr frame);

/* How many bytes a block takes at most where `before`, which is below it, has a place already;
 * PAST_NONE: none has. */
uint64_t past_cost(uint64_t before, uint64_t number);
/* See that block `number` has a place. 0, -ENOMEM. */
int past_place(struct past_map *m, struct past_memory *memory, uint64_t number) MUST_CHECK;
/* Put the frame, or PAST_ZEROES, into its place; false, and nothing changes: it has one, or no
 * place. */
bool past_put(struct past_map *m, uint64_t number, paddr what) MUST_CHECK;
/* 0: it is not kept; PAST_ZEROES; or its frame. */
paddr past_get(const struct past_map *m, uint64_t number);
/* The first one that is kept, from that number on; PAST_NONE. */
uint64_t past_next(const struct past_map *m, uint64_t from);
/* It is not kept any more. */
void past_drop(struct past_map *m, struct past_memory *memory, uint64_t number);
/* What `from` has and `into` has not is moved there, places too; `from` is empty then. It takes no
 * memory. */
void past_merge(struct past_map *into, struct past_map *from, struct past_memory *memory);
void past_clear(struct past_map *m, struct past_memory *memory);
