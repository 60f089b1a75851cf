/* What guest_memory.c and guest_layers.c share. */
#pragma once

#include "mm/guest_memory.h"

/*
 * One word for each 2 MiB of guest-physical space that a range touches: an address, and in its low
 * bits what is there. A 1 GiB block is 512 such words, the first of which gives it back. While a
 * layer lies over a part of it, the word claims to be a table, so that nobody takes the short way,
 * and its kind stands beside that.
 */
#define KIND_NONE 0u
#define KIND_2M   1u /* a 2 MiB block */
#define KIND_1G   2u /* this chunk's part of a 1 GiB block */
#define KIND_TABLE                                                                                 \
    GUEST_CHUNK_TABLE /* a frame with one word per page: 0, or the page's address                  \
                       */
#define KIND_MASK GUEST_CHUNK_KIND
#define LAYERED   BIT(2)
#define KIND_REAL 3 /* shift of the kind of a chunk that is layered */

#define TABLE_ENTRIES 512u

/* A chunk's word as it is without layers. */
static inline uint64_t plain(uint64_t chunk)
{
    if (LIKELY(!(chunk & LAYERED)))
        return chunk;
    return ALIGN_DOWN(chunk, PAGE_SIZE) | (chunk >> KIND_REAL & KIND_MASK);
}

static inline uint32_t chunk_index(const struct guest_memory_range *r, uint64_t gpa)
{
    return (uint32_t)(gpa / GUEST_CHUNK - r->gpa / GUEST_CHUNK);
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

/* The word of the page at gpa in a chunk's table: its frame's address; 0: it has none, or is no
 * RAM. */
static inline uint64_t *table_entry(paddr table, uint64_t gpa)
{
    return (uint64_t *)phys_to_virt(table) + gpa / PAGE_SIZE % TABLE_ENTRIES;
}

/* What stands for a byte of RAM that has no frame: to be read, zeroes; to be written, its new one;
 * FRAME_NONE: there is none. */
paddr guest_balloon_page(const struct guest_memory *gm, uint64_t gpa, bool write);
void guest_balloon_destroy(struct guest_balloon *b);
