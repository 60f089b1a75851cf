/* What guest_memory.c, guest_ram.c, guest_balloon.c and guest_layers.c share. */
#pragma once

#include "mm/guest_memory.h"

/*
 * One word for each 2 MiB of guest-physical space that a range touches, a chunk: an address, and in
 * its low bits what is there. While a layer lies over a part of it, the word claims to be a table,
 * so that nobody takes the short way, and its kind stands beside that.
 */
#define KIND_NONE  0u                /* no RAM; as a word: see UNTOUCHED */
#define KIND_2M    GUEST_CHUNK_BLOCK /* a 2 MiB block */
#define KIND_TABLE 3u                /* a frame with one word per page */
#define KIND_MASK  GUEST_CHUNK_KIND
#define LAYERED    BIT(2)
#define KIND_REAL  3      /* shift of the kind of a chunk that is layered */
#define BUSY       BIT(5) /* somebody is just making its first frames */

#define UNTOUCHED 0u /* a chunk's word, plain: nobody has touched it, and it has no frame */

#define TABLE_ENTRIES 512u
/* A page's word is its frame's address; without a frame, that it has been given back, or: */
#define PAGE_LATER 1u /* it has been promised its first one */

struct guest_ram {
    struct spinlock lock; /* RANK_MEMORY: over changes of which page of a table has a frame */
    struct frame_promise promise; /* what is left of it */
    struct frame_promise tables;  /* and for tables of EPT, */
    uint64_t fixed_tables;        /* which takes so many in any case */
    bool promised;                /* else it is nobody's business but the machine's what is left */
    paddr zero;                   /* a frame of zeroes: what is read where there is none */
    uint64_t begun;               /* chunks that are not untouched; atomic, as: */
    uint64_t there;               /* pages that have frames */
    uint64_t given;               /* pages that had been promised one, and were given back */
};

/* A chunk's word as it is without layers. */
static inline uint64_t plain(uint64_t chunk)
{
    if (LIKELY(!(chunk & LAYERED)))
        return chunk & ~(uint64_t)BUSY;
    return ALIGN_DOWN(chunk, PAGE_SIZE) | (chunk >> KIND_REAL & KIND_MASK);
}

/* The word of a chunk that is so, with a layer over a part of it. */
static inline uint64_t layered_word(uint64_t real)
{
    return ALIGN_DOWN(real, PAGE_SIZE) | (real & KIND_MASK) << KIND_REAL | LAYERED | KIND_TABLE;
}

static inline uint32_t chunk_index(const struct guest_memory_range *r, uint64_t gpa)
{
    return (uint32_t)(gpa / GUEST_CHUNK - r->gpa / GUEST_CHUNK);
}

static inline uint64_t chunk_word(const struct guest_memory_range *r, uint64_t gpa)
{
    return __atomic_load_n(&r->chunks[chunk_index(r, gpa)], __ATOMIC_ACQUIRE);
}

/* The layer that shows at gpa, if one does; is_ram: RAM stands there. *end, until when what stands
 * there does, becomes less where that layer ends, or another one begins. */
bool guest_memory_find_layer(const struct guest_memory *gm, uint64_t gpa, bool is_ram,
                             struct guest_memory_layer *out, uint64_t *end);

static inline const struct guest_memory_range *guest_memory_range(const struct guest_memory *gm,
                                                                  uint64_t gpa)
{
    for (uint32_t i = 0; i < gm->range_count; i++)
        if (gpa - gm->ranges[i].gpa < gm->ranges[i].size)
            return &gm->ranges[i];
    return NULL;
}

/* The word of the page at gpa in a chunk's table, and the frame of which it tells: 0, none. */
static inline uint64_t *table_entry(paddr table, uint64_t gpa)
{
    return (uint64_t *)phys_to_virt(table) + gpa / PAGE_SIZE % TABLE_ENTRIES;
}

static inline paddr frame_of(uint64_t entry)
{
    return ALIGN_DOWN(entry, PAGE_SIZE);
}

/* --- guest_ram.c --- */

/* The page of RAM at gpa has a frame; so many bytes of the machine's memory are left to others
 * where it was not promised. sparing: that page, and nothing beside it. -EFAULT: it is no RAM;
 * -ENOMEM. */
int guest_ram_back(const struct guest_memory *gm, uint64_t gpa, uint64_t keep,
                   bool sparing) MUST_CHECK;
/* The 2 MiB at gpa, if nobody has touched them and nothing lies over them, get a block that is made
 * with that content. False: it was not so. */
bool guest_ram_write_block(const struct guest_memory *gm, uint64_t gpa, const void *content,
                           uint64_t keep) MUST_CHECK;
/* A chunk's table in which no page has a frame yet. FRAME_NONE: there is no memory for it, or as
 * much as is to be left to others. */
paddr guest_ram_table(uint64_t keep) MUST_CHECK;
/* Whether all of the chunk around gpa is RAM. */
bool guest_ram_whole(const struct guest_memory_range *r, uint64_t gpa);

void guest_balloon_destroy(struct guest_balloon *b);
