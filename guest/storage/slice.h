/* A part of another block device, a partition: the same but for where it begins and ends. */
#pragma once

#include "guest/storage/block.h"

struct block_slice {
    struct block_device device;
    struct block_device *under;
    uint64_t first;
};

/*
 * Sectors [first, first + sectors) of under; what it can and who it is are under's, with that name.
 * -EINVAL: empty, not all on it, or not at the borders of its logical blocks.
 */
int block_slice_init(struct block_slice *s, struct block_device *under, const char *name,
                     uint64_t first, uint64_t sectors) MUST_CHECK;
