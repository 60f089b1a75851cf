/*
 * Physical memory and its frame allocator for unit tests: 8 GiB of addresses of which the first
 * MOCK_REAL bytes have memory of their own; all above shares one 2 MiB window, so that huge blocks
 * cost nothing.
 */
#pragma once

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "mm/frame.h"
#include "mm/heap.h"

/* For who calls them from several threads: taken at the beginning of a function, until its end. */
#ifndef MOCK_GUARD
#define MOCK_GUARD
#endif

#define MOCK_FRAMES (8 * GIB / PAGE_SIZE)
#define MOCK_REAL   (64 * MIB)

static uint16_t mock_owner[MOCK_FRAMES];
static uint8_t mock_order[MOCK_FRAMES];
static uint16_t mock_pins[MOCK_FRAMES];
static uint16_t mock_most_pins;        /* of one frame */
static uint64_t mock_used, mock_limit; /* in frames */
static uint64_t mock_promised;         /* the same: of what is not used */
static paddr mock_cleared;             /* a block that was cleared ahead; 0: none */
static uint64_t mock_first;            /* frames below are never handed out */
static unsigned mock_max_order;
static long mock_heap_left; /* heap_alloc fails when it reaches 0 */
static long mock_heap_blocks;
static uint8_t *mock_memory;

static void mock_reset(void)
{
    memset(mock_owner, 0, sizeof(mock_owner));
    memset(mock_pins, 0, sizeof(mock_pins));
    mock_most_pins = UINT8_MAX;
    mock_used = mock_promised = mock_cleared = 0;
    mock_limit = MOCK_FRAMES;
    mock_first = 1;
    mock_max_order = FRAME_ORDER_1G;
    mock_heap_left = 1000;
    mock_heap_blocks = 0;
    if (!mock_memory)
        mock_memory = mmap(NULL, MOCK_REAL + 2 * MIB, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    memset(mock_memory, 0xa5, 8 * MIB);
    memset(mock_memory + MOCK_REAL, 0xa5, 2 * MIB);
}

void *phys_to_virt(paddr pa)
{
    return pa < MOCK_REAL ? mock_memory + pa : mock_memory + MOCK_REAL + pa % (2 * MIB);
}

/* keep: that must be left beside it, in frames. */
static paddr mock_take(unsigned order, uint16_t owner, uint64_t keep)
{
    uint64_t n = BIT(order);

    if (order > mock_max_order || mock_used + mock_promised + n + keep > mock_limit)
        return FRAME_NONE;
    for (uint64_t f = ALIGN_UP(mock_first, n); f + n <= MOCK_FRAMES; f += n) {
        uint64_t i = 0;
        while (i < n && !mock_owner[f + i])
            i++;
        if (i < n)
            continue;
        for (i = 0; i < n; i++)
            mock_owner[f + i] = owner;
        mock_order[f] = (uint8_t)order;
        mock_used += n;
        return f * PAGE_SIZE;
    }
    return FRAME_NONE;
}

paddr frame_alloc(unsigned order, uint16_t owner)
{
    MOCK_GUARD
    return mock_take(order, owner, 0);
}

paddr frame_alloc_keeping(unsigned order, uint16_t owner, uint64_t keep)
{
    MOCK_GUARD
    return mock_take(order, owner, keep / PAGE_SIZE);
}

void frame_free(paddr base, unsigned order)
{
    MOCK_GUARD
    uint64_t f = base / PAGE_SIZE;

    assert_int_equal(base % (PAGE_SIZE << order), 0);
    assert_int_equal(mock_order[f], order);
    for (uint64_t i = 0; i < BIT(order); i++) {
        assert_int_not_equal(mock_owner[f + i], 0);
        assert_int_equal(mock_pins[f + i], 0);
        mock_owner[f + i] = 0;
    }
    mock_used -= BIT(order);
}

static void mock_promise(struct frame_promise *p, uint64_t blocks, uint64_t pages)
{
    p->blocks += blocks;
    p->pages += pages;
    mock_promised += blocks * BIT(FRAME_ORDER_2M) + pages;
}

void frame_promise_end(struct frame_promise *p)
{
    MOCK_GUARD
    mock_promise(p, -p->blocks, -p->pages);
}

bool frame_promise(struct frame_promise *p, uint64_t blocks, uint64_t pages, uint64_t extra)
{
    MOCK_GUARD
    struct frame_promise before = *p;

    frame_promise_end(p);
    if (mock_max_order < FRAME_ORDER_2M) {
        pages += blocks * (BIT(FRAME_ORDER_2M) + extra);
        blocks = 0;
    }
    bool kept = mock_used + mock_promised + blocks * BIT(FRAME_ORDER_2M) + pages <= mock_limit;
    mock_promise(p, kept ? blocks : before.blocks, kept ? pages : before.pages);
    return kept;
}

bool frame_promise_more(struct frame_promise *p, uint64_t pages)
{
    MOCK_GUARD
    bool there = mock_used + mock_promised + pages <= mock_limit;

    if (there)
        mock_promise(p, 0, pages);
    return there;
}

void frame_promise_less(struct frame_promise *p, uint64_t pages)
{
    MOCK_GUARD
    mock_promise(p, 0, -MIN(pages, p->pages));
}

void frame_promise_split(struct frame_promise *p)
{
    MOCK_GUARD
    if (p->blocks)
        mock_promise(p, -1ULL, BIT(FRAME_ORDER_2M));
}

paddr frame_redeem(struct frame_promise *p, unsigned order, uint16_t owner)
{
    MOCK_GUARD
    if (order < FRAME_ORDER_2M && !p->pages)
        frame_promise_split(p);
    uint64_t blocks = order == FRAME_ORDER_2M && p->blocks, pages = blocks ? 0 : BIT(order);

    if (pages > p->pages || order > mock_max_order)
        return FRAME_NONE;
    mock_promise(p, -blocks, -pages);
    return mock_take(order, owner, 0);
}

void frame_return(struct frame_promise *p, paddr base, unsigned order)
{
    MOCK_GUARD
    bool block = order == FRAME_ORDER_2M;

    frame_free(base, order);
    mock_promise(p, block, block ? 0 : BIT(order));
}

paddr frame_cleared(struct frame_promise *p, uint16_t owner, uint64_t keep)
{
    MOCK_GUARD
    paddr base = mock_cleared;

    if (!base || (p && !p->blocks))
        return FRAME_NONE;
    if (p)
        mock_promise(p, -1ULL, 0);
    for (uint64_t i = 0; i < BIT(FRAME_ORDER_2M); i++)
        mock_owner[base / PAGE_SIZE + i] = owner;
    mock_cleared = 0;
    return base;
}

bool frame_pin(paddr frame)
{
    MOCK_GUARD
    if (mock_pins[frame / PAGE_SIZE] == mock_most_pins)
        return false;
    mock_pins[frame / PAGE_SIZE]++;
    return true;
}

void frame_unpin(paddr frame)
{
    MOCK_GUARD
    assert_int_not_equal(mock_pins[frame / PAGE_SIZE], 0);
    mock_pins[frame / PAGE_SIZE]--;
}

void frame_split(paddr base, unsigned order, unsigned into)
{
    MOCK_GUARD
    assert_int_equal(mock_order[base / PAGE_SIZE], order);
    for (uint64_t i = 0; i < BIT(order); i += BIT(into))
        mock_order[base / PAGE_SIZE + i] = (uint8_t)into;
}

bool frame_pinned(paddr base, unsigned order)
{
    MOCK_GUARD
    bool any = false;

    for (uint64_t i = 0; i < BIT(order); i++)
        any |= mock_pins[base / PAGE_SIZE + i] != 0;
    return any;
}

void *heap_alloc(size_t size)
{
    if (mock_heap_left-- <= 0)
        return NULL;
    mock_heap_blocks++;
    return calloc(1, size);
}

void heap_free(void *p)
{
    mock_heap_blocks -= p != NULL;
    free(p);
}
