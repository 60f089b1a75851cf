/*
 * Physical frames: a buddy allocator over the machine's usable RAM, and for each frame who owns it
 * and how often it is pinned for DMA. Frames that the allocator hands out lie in the direct map.
 */
#pragma once

#include "arch/x86/lib/types.h"

typedef uint64_t paddr; /* host-physical address */

enum frame_owner {
    FRAME_FREE = 0,
    FRAME_RESERVED = 1, /* not RAM, or never to be handed out */
    FRAME_KERNEL = 2,   /* heap, tables, stacks */
    FRAME_LOADER = 3,   /* the loader's files, until released */
    FRAME_RETIRED = 4,  /* the machine has lost what was there; it is never handed out again */
    FRAME_VM = 16       /* FRAME_VM + VM id: guest RAM; EPT and VMX structures count as kernel */
};

#define FRAME_ORDER_4K 0u
#define FRAME_ORDER_2M 9u
#define FRAME_ORDER_1G 18u
#define FRAME_NONE     UINT64_MAX

/* 2^order frames, naturally aligned, contents undefined. FRAME_NONE when there are none. */
paddr frame_alloc(unsigned order, uint16_t owner) MUST_CHECK;
/* The same, with its last byte at limit at most: for devices that cannot address all memory. */
paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit) MUST_CHECK;
/* Give back what frame_alloc returned, with its order. A pinned frame is an error that is logged
 * and not freed. */
void frame_free(paddr base, unsigned order);
/* What frame_alloc returned with that order becomes blocks of a lower one, each to be given back by
 * itself. */
void frame_split(paddr base, unsigned order, unsigned into);
/*
 * pages frames in one piece, aligned to a page only; nothing is kept beyond them. frame_run_free()
 * finds the length itself.
 */
paddr frame_run_alloc(uint64_t pages, uint16_t owner) MUST_CHECK;
void frame_run_free(paddr base);
/* Hand a range that was FRAME_LOADER or FRAME_RESERVED over to the allocator. Page aligned. */
void frame_release(paddr base, uint64_t size);

/*
 * --- memory that is promised (mm/frame_promise.c) ---
 *
 * It is free, and still nobody gets it but who has the promise, and he at any time: so memory can
 * be taken late without ever failing.
 */

struct frame_promise {
    uint64_t blocks; /* of 2 MiB, each in one piece */
    uint64_t pages;
};

/*
 * Promise so much instead of what *p promises so far. Where there are not so many blocks in one
 * piece, more pages take their places: 512 and `extra` for each. False: there is not so much, or
 * frame_limit() is reached; *p is what it was.
 */
bool frame_promise(struct frame_promise *p, uint64_t blocks, uint64_t pages,
                   uint64_t extra) MUST_CHECK;
/* Nobody keeps it free any more. */
void frame_promise_end(struct frame_promise *p);
/* So many pages more. False: there are not so many. */
bool frame_promise_more(struct frame_promise *p, uint64_t pages) MUST_CHECK;
/* So many of its pages are not wanted. */
void frame_promise_less(struct frame_promise *p, uint64_t pages);
/* One of its blocks is to come as pages. */
void frame_promise_split(struct frame_promise *p);
/* A block (FRAME_ORDER_2M) or a page (FRAME_ORDER_4K) of what is promised, contents undefined. A
 * block may come for 512 pages. FRAME_NONE: not promised. */
paddr frame_redeem(struct frame_promise *p, unsigned order, uint16_t owner) MUST_CHECK;
/* frame_free(), and it is promised again. */
void frame_return(struct frame_promise *p, paddr base, unsigned order);
/* frame_alloc() that leaves so many bytes to others. */
paddr frame_alloc_keeping(unsigned order, uint16_t owner, uint64_t keep) MUST_CHECK;

/* Clear some memory ahead, for a few microseconds: by a processor that has nothing else to do.
 * False: there is enough of it. */
bool frame_clear_ahead(unsigned cpu);
/* A block of 2 MiB that has been cleared, of what is promised; or, p NULL, as
 * frame_alloc_keeping(). FRAME_NONE: there is none just now. */
paddr frame_cleared(struct frame_promise *p, uint16_t owner, uint64_t keep) MUST_CHECK;

/* For tests: only so many more blocks and runs are handed out; UINT64_MAX: as many as there are. */
void frame_limit(uint64_t blocks);

/* The rest of what the loader left: call it when nothing of the hand-over or its files is needed
 * any more. */
void frame_release_loader(void);

/* Set the allocator up from the loader's memory map; the loader's direct map (or ours) must be
 * there. */
struct handover;
void frame_init(const struct handover *h);

/* A frame that is handed out, and is not to be again: the rest of its block goes back without it.
 */
void frame_retire(paddr frame);
/* From any processor, without a lock. */
uint16_t frame_owner(paddr frame);
/* Once more, for DMA; until all pins are gone the frame is not reused. False: it is pinned as often
 * as can be counted. From any processor, without a lock. */
bool frame_pin(paddr frame) MUST_CHECK;
void frame_unpin(paddr frame);
/* Any frame of that block. */
bool frame_pinned(paddr base, unsigned order);

struct frame_stats {
    uint64_t total;    /* RAM that firmware left us, in bytes like the others */
    uint64_t free;     /* free, and promised to nobody */
    uint64_t promised; /* free, but promised */
    uint64_t kernel;   /* Corbel's own: image, heap, stacks, tables */
    uint64_t metadata; /* Corbel's own: the table of frames */
    uint64_t loader;   /* files and hand-over not released yet */
    uint64_t vm;       /* owned by VMs */
    uint64_t retired;
};
void frame_stats(struct frame_stats *out);

/* Host-virtual address of RAM in the direct map, and back. */
#define DIRECT_MAP 0xffff800000000000ULL
#if __STDC_HOSTED__
void *phys_to_virt(paddr pa); /* unit tests supply these */
paddr virt_to_phys(const void *va);
#else
static inline void *phys_to_virt(paddr pa)
{
    return (void *)(pa + DIRECT_MAP);
}
static inline paddr virt_to_phys(const void *va)
{
    return (uint64_t)va - DIRECT_MAP; /* direct-map addresses only, not the kernel image */
}
#endif
