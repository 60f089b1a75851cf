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

#define MOCK_FRAMES (8 * GIB / PAGE_SIZE)
#define MOCK_REAL   (64 * MIB)

static uint16_t mock_owner[MOCK_FRAMES];
static uint8_t mock_order[MOCK_FRAMES];
static uint16_t mock_pins[MOCK_FRAMES];
static uint16_t mock_most_pins;        /* of one frame */
static uint64_t mock_used, mock_limit; /* in frames */
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
    mock_used = 0;
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

paddr frame_alloc(unsigned order, uint16_t owner)
{
    uint64_t n = BIT(order);

    if (order > mock_max_order || mock_used + n > mock_limit)
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

void frame_free(paddr base, unsigned order)
{
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

bool frame_pin(paddr frame)
{
    if (mock_pins[frame / PAGE_SIZE] == mock_most_pins)
        return false;
    mock_pins[frame / PAGE_SIZE]++;
    return true;
}

void frame_unpin(paddr frame)
{
    assert_int_not_equal(mock_pins[frame / PAGE_SIZE], 0);
    mock_pins[frame / PAGE_SIZE]--;
}

void frame_split(paddr base, unsigned order, unsigned into)
{
    assert_int_equal(mock_order[base / PAGE_SIZE], order);
    for (uint64_t i = 0; i < BIT(order); i += BIT(into))
        mock_order[base / PAGE_SIZE + i] = (uint8_t)into;
}

bool frame_pinned(paddr frame)
{
    return mock_pins[frame / PAGE_SIZE] != 0;
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
