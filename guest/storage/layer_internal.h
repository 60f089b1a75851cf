/* Blocks of a layer as requests have them: for layer.c and layer_restore.c. */
#pragma once

#include "guest/storage/layer.h"

#define LAYER_SECTORS (PAST_SIZE / BLOCK_SECTOR)

/* How many sectors those blocks are: the last one of the disk may be shorter. */
static inline uint32_t layer_sectors_of(const struct block_layer *l, uint64_t block, unsigned count)
{
    uint64_t sector = block * LAYER_SECTORS;

    return (uint32_t)MIN((uint64_t)count * LAYER_SECTORS, l->device->sectors - sector);
}

static inline uint32_t layer_bytes_of(const struct block_layer *l, uint64_t block)
{
    return layer_sectors_of(l, block, 1) * BLOCK_SECTOR;
}

/* How many blocks one request may have. */
static inline unsigned layer_run(const struct block_layer *l)
{
    unsigned most = MIN(l->device->max_sectors / LAYER_SECTORS, (uint32_t)l->device->max_segments);

    return MIN(most, LAYER_RUN);
}
