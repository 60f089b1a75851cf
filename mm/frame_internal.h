/* What frame.c and frame_promise.c share. */
#pragma once

#include "arch/x86/spinlock.h"
#include "mm/frame.h"

struct frame {
    uint16_t owner;
    uint8_t pins;
    uint8_t state;
};
_Static_assert(sizeof(struct frame) == 4, "metadata per frame");

#define BLOCK_FRAMES (1ULL << FRAME_ORDER_2M)

/* All of it under its lock; frames lie where they lie, and their count does not change. */
struct frame_pool {
    struct spinlock lock; /* RANK_FRAMES */
    struct frame *frames;
    uint64_t frame_count;
    struct frame_stats stats;
    uint64_t blocks;                          /* of 2 MiB in the lists, and within larger ones */
    uint64_t promised_blocks, promised_pages; /* of what is in the lists */
    uint64_t ahead; /* blocks that are free and in no list, since they are being cleared, or are */
};
extern struct frame_pool frame_pool;

static inline struct frame *frame_at(paddr pa)
{
    uint64_t n = pa / PAGE_SIZE;

    return n < frame_pool.frame_count ? &frame_pool.frames[n] : NULL;
}

static inline uint64_t frame_block_size(unsigned order)
{
    return PAGE_SIZE << order;
}

/* Pages that are in the lists and that nobody has been promised. */
static inline uint64_t frames_unpromised(void)
{
    return frame_pool.stats.free / PAGE_SIZE -
           (frame_pool.ahead + frame_pool.promised_blocks) * BLOCK_FRAMES -
           frame_pool.promised_pages;
}

/* As frame_alloc_below(), with at least `keep` frames left that are promised to nobody. */
paddr frame_take(unsigned order, uint16_t owner, paddr limit, uint64_t keep);
/* As frame_free(): false after an error on the log, or where frames of it have been retired. */
bool frame_put(paddr base, unsigned order);
/* frame_limit() allows no more. */
bool frame_limited(void);
/* Put a block into the lists that is in none, and that nobody has. */
void frame_insert(paddr base, unsigned order);
/* Its frames are that owner's from now on. */
void frame_change_owner(paddr base, unsigned order, uint16_t owner);
/* What was cleared ahead goes into the lists. False: there was none. */
bool frame_ahead_drain(void);
