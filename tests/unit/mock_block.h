/* A block device that keeps requests until it is told to give them back, for disk controllers. */
#pragma once

#include <string.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/class.h"
#include "guest/storage/block.h"

#define MOCK_SECTORS 5000
#define MOCK_HELD    100

static uint8_t medium[MOCK_SECTORS * 512];
static struct block_request *held[MOCK_HELD];
static unsigned holding, closed, submitted;
static bool at_once; /* requests come back from inside submit() */
static int next_error;
static struct block_request last, before_last;      /* the last one, and the one before it */
static struct block_device block, *behind = &block; /* behind: what a disk is opened with */
static const char *mock_serial;
static struct device_disk_counts counts;

static inline void carry_out(struct block_request *r)
{
    uint64_t at = r->sector * 512;
    int error = next_error;

    next_error = 0;
    for (unsigned i = 0; i < r->count && error == 0 && r->op <= BLOCK_WRITE; i++) {
        uint8_t *memory = (uint8_t *)r->segments[i].address;
        if (r->op == BLOCK_READ)
            memcpy(memory, medium + at, r->segments[i].length);
        else
            memcpy(medium + at, memory, r->segments[i].length);
        at += r->segments[i].length;
    }
    if (error == 0 && (r->op == BLOCK_WRITE_ZEROES || r->op == BLOCK_DISCARD))
        memset(medium + at, 0, r->sectors * 512);
    r->done(r, error);
}

static inline void mock_submit(struct block_device *d, struct block_request *r)
{
    assert_int_equal(block_check(d, r), 0);
    assert_true(holding < MOCK_HELD);
    submitted++;
    before_last = last;
    last = *r;
    if (at_once)
        carry_out(r);
    else
        held[holding++] = r;
}

static inline void mock_back(unsigned which)
{
    struct block_request *r = held[which];

    assert_true(holding > which);
    memmove(held + which, held + which + 1, (--holding - which) * sizeof(held[0]));
    carry_out(r);
}

/* Give back the one that has waited longest. */
static inline void one_back(void)
{
    mock_back(0);
}

static inline void mock_poll(struct block_device *d, const void *owner)
{
    while (holding)
        one_back();
}

static const struct block_ops mock_block_ops = {.submit = mock_submit, .poll = mock_poll};
static const struct block_ops mock_unhurried __attribute__((unused)) = {.submit = mock_submit};

static inline void mock_close(struct block_device *b)
{
    closed++;
}

/* `disk` of struct device_host: one whose text has "ro" in it is read-only. */
static inline int mock_open(void *context, const char *text, size_t length, struct device_disk *out,
                            char *error)
{
    *out = (struct device_disk){.block = behind,
                                .close = mock_close,
                                .counts = &counts,
                                .read_only = strstr(text, ",ro") != NULL};
    strncpy(out->serial, mock_serial, DEVICE_SERIAL);
    return 0;
}

static inline void mock_block_init(void)
{
    block = (struct block_device){
        .ops = &mock_block_ops,
        .sectors = MOCK_SECTORS,
        .logical_block = 512,
        .physical_block = 4096,
        .max_sectors = 16,
        .max_segments = 4,
        .segment_align = 1,
        .highest_address = UINT64_MAX,
        .has_flush = true,
        .discard_sectors = 5,
        .write_zeroes_sectors = 7,
    };
    at_once = true;
    holding = closed = submitted = 0;
    next_error = 0;
    mock_serial = "serial-1";
    counts = (struct device_disk_counts){0};
    for (unsigned i = 0; i < sizeof(medium); i++)
        medium[i] = (uint8_t)(i / 512 * 7 + i);
}
