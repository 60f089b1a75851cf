/*
 * A drive with a volatile cache under Corbel's own partition. Its power goes when it has been asked
 * for so many things more; of what is in its cache then each sector is kept, or is not. Requests
 * that nobody waits for come back when the test says so.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "drivers/disk.h"
#include "guest/storage/store.h"

#define DRIVE_SIZE  (2 * MIB)
#define DRIVE_CACHE 8000
#define DRIVE_HELD  8
#define FOREVER     UINT_MAX

static uint8_t medium[DRIVE_SIZE];
static struct cached {
    uint64_t sector;
    uint8_t data[BLOCK_SECTOR];
} cache[DRIVE_CACHE];
static unsigned cached, asked_left = FOREVER, asked;
static struct block_request *held[DRIVE_HELD];
static unsigned holding;
static bool hold;           /* requests that are not waited for */
static int next_error;      /* of the next WRITE or FLUSH */
static unsigned unreliable; /* one in so many fails; 0: none */
static struct block_device drive;
static uint64_t seed = 1;
static unsigned frames;

static unsigned chance(unsigned n)
{
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (unsigned)(seed >> 33) % n;
}

static void write_back(void)
{
    for (unsigned i = 0; i < cached; i++)
        memcpy(medium + cache[i].sector * BLOCK_SECTOR, cache[i].data, BLOCK_SECTOR);
    cached = 0;
}

/* The power is back. What was under way never is. */
static void cut(void)
{
    for (unsigned i = 0; i < cached; i++)
        if (chance(2))
            memcpy(medium + cache[i].sector * BLOCK_SECTOR, cache[i].data, BLOCK_SECTOR);
    cached = holding = 0;
    asked_left = FOREVER;
    unreliable = 0;
    next_error = 0;
}

static void keep_sector(uint64_t sector, const uint8_t *data)
{
    assert_true(cached < DRIVE_CACHE);
    cache[cached].sector = sector;
    memcpy(cache[cached++].data, data, BLOCK_SECTOR);
}

static void read_sector(uint64_t sector, uint8_t *data)
{
    memcpy(data, medium + sector * BLOCK_SECTOR, BLOCK_SECTOR);
    for (unsigned i = 0; i < cached; i++)
        if (cache[i].sector == sector)
            memcpy(data, cache[i].data, BLOCK_SECTOR);
}

static int drive_do(const struct block_request *r)
{
    int error = r->op == BLOCK_READ ? 0 : next_error;
    uint8_t *data;

    assert_int_equal(block_check(&drive, r), 0);
    asked++;
    if (r->op != BLOCK_READ && unreliable && !chance(unreliable))
        error = -EIO;
    if (r->op != BLOCK_READ)
        next_error = 0;
    if (r->op == BLOCK_FLUSH) {
        if (!error)
            write_back();
        return error;
    }
    assert_true(r->count == 1 && r->segments->length == r->sectors * BLOCK_SECTOR);
    data = (uint8_t *)r->segments->address;
    for (unsigned i = 0; i < r->sectors; i++) {
        if (r->op == BLOCK_READ)
            read_sector(r->sector + i, data + i * BLOCK_SECTOR);
        else if (!error || chance(2))
            keep_sector(r->sector + i, data + i * BLOCK_SECTOR);
    }
    return error;
}

/* false: the power has gone. */
static bool has_power(void)
{
    if (asked_left == 0)
        return false;
    asked_left -= asked_left != FOREVER;
    return true;
}

int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void))
{
    return has_power() ? drive_do(r) : -EIO;
}

static void drive_submit(struct block_device *d, struct block_request *r)
{
    assert_true(holding < DRIVE_HELD && r->owner);
    if (hold)
        held[holding++] = r;
    else if (has_power())
        r->done(r, drive_do(r));
}

/* One of those that are held comes back. */
static inline void one_back(void)
{
    unsigned which = chance(holding);
    struct block_request *r = held[which];

    held[which] = held[--holding];
    if (has_power())
        r->done(r, drive_do(r));
}

static void drive_poll(struct block_device *d, const void *owner)
{
    for (unsigned i = 0; i < holding; i++)
        if (held[i]->owner == owner) {
            struct block_request *r = held[i];

            held[i] = held[--holding];
            r->done(r, drive_do(r));
            return;
        }
}

static const struct block_ops drive_ops = {.submit = drive_submit, .poll = drive_poll};

static void drive_init(void)
{
    memset(medium, 0, sizeof(medium));
    cut();
    hold = false;
    asked = 0;
    drive = (struct block_device){.ops = &drive_ops,
                                  .name = "part:state",
                                  .sectors = DRIVE_SIZE / BLOCK_SECTOR,
                                  .logical_block = 512,
                                  .physical_block = 4096,
                                  .max_sectors = 8,
                                  .max_segments = 1,
                                  .segment_align = 512,
                                  .highest_address = UINT32_MAX,
                                  .has_flush = true};
}

static void drive_wait(void)
{
}

/* --- memory: at its own addresses, which phys_to_virt() is to know --- */

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    assert_true(order == FRAME_ORDER_4K && limit == UINT32_MAX);
    frames++;
    return (paddr)aligned_alloc(PAGE_SIZE, PAGE_SIZE);
}

void frame_free(paddr base, unsigned order)
{
    frames--;
    free((void *)base);
}
