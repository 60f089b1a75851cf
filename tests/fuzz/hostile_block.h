/*
 * The input, and a block device under a disk controller: it answers at once, later, or with errors.
 * Each request that it gets is one that it takes, of memory that is pinned.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/storage/block.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"

#define MOST 100 /* requests that are held back */

static struct board board;
static struct block_request *held[MOST];
static unsigned holding;
static struct block_device block;
static bool later;

static void give_back(unsigned which, uint8_t how)
{
    struct block_request *r = held[which];

    held[which] = held[--holding];
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++)
        memset((void *)r->segments[i].address, how,
               r->op == BLOCK_READ ? r->segments[i].length : 0);
    r->done(r, how > 240 ? -EIO : 0);
}

static void submit(struct block_device *d, struct block_request *r)
{
    uint64_t sum = 0;

    REQUIRE(block_check(d, r) == 0 && holding < MOST);
    REQUIRE(r->op > BLOCK_WRITE || (r->count >= 1 && r->count <= d->max_segments));
    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        const struct block_segment *s = &r->segments[i];
        paddr base = (paddr)board.memory;
        REQUIRE(s->length > 0 && s->address >= base && s->address - base <= MOCK_MEMORY &&
                s->length <= MOCK_MEMORY - (s->address - base));
        sum += s->length;
    }
    REQUIRE(r->op > BLOCK_WRITE || sum == (uint64_t)r->sectors * BLOCK_SECTOR);
    REQUIRE(r->op > BLOCK_WRITE || board.pins >= r->count);
    held[holding++] = r;
    if (!later)
        give_back(holding - 1, next());
}

static void poll(struct block_device *d, const void *owner)
{
    for (unsigned i = holding; i-- > 0;)
        if (i < holding && held[i]->owner == owner)
            give_back(i, 0);
}

static const struct block_ops ops = {.submit = submit, .poll = poll};

static void close_block(struct block_device *b)
{
}

static struct device_disk_counts counts;

static int open_block(void *context, const char *text, size_t length, struct device_disk *out,
                      char *error)
{
    *out = (struct device_disk){
        .block = &block, .close = close_block, .counts = &counts, .read_only = length & 1};
    return 0;
}

/* The first bytes of the input are what it is like. */
static void make_block(const uint8_t *data, size_t size)
{
    take_input(data, size);
    later = next() & 1;
    holding = 0;
    block = (struct block_device){
        .ops = &ops,
        .sectors = 200,
        .logical_block = 512u << (next() & 1),
        .physical_block = 4096,
        .max_sectors = 8u + (next() & 0x3e),
        .max_segments = (uint16_t)(1 + next() % 40),
        .segment_align = (uint16_t)(1u << next() % 10),
        .highest_address = UINT64_MAX,
        .no_gaps = next() & 1,
        .has_flush = true,
        .discard_sectors = next() & 6,
        .write_zeroes_sectors = next() & 6,
    };
}

static void put(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at % (MOCK_MEMORY - 8), &value, size);
}
