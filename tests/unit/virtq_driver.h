/*
 * A driver's side of a virtqueue, for tests: it lays rings out in the mock board's memory, offers
 * chains and takes them back. By Virtio 1.2 alone: it shares no line with the device's side.
 */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "tests/unit/mock_board.h"

#define DRIVER_SIZE 16 /* descriptors of the ring */

/* How it reads and writes them. */
#ifndef DRIVER_READ
#define DRIVER_READ(data, from, size) memcpy(data, from, size)
#define DRIVER_WRITE(to, data, size)  memcpy(to, data, size)
#endif

struct driver_segment {
    uint64_t gpa;
    uint32_t length;
    bool writable;
};

struct driver {
    struct board *board;
    bool packed;
    uint16_t size;
    uint64_t descriptors, driver, device, tables; /* gpa */

    uint16_t avail, used; /* split: run freely; packed: positions */
    bool avail_wrap, used_wrap;
    uint16_t slots[DRIVER_SIZE]; /* descriptors of the ring by id; 0: free */
    uint16_t free_slots;
};

static void driver_put(struct driver *v, uint64_t gpa, uint64_t value, unsigned size)
{
    DRIVER_WRITE(v->board->memory + gpa, &value, size);
}

static uint64_t driver_get(struct driver *v, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    DRIVER_READ(&value, v->board->memory + gpa, size);
    return value;
}

/* Rings at base, which is page aligned, one page each; then a page of indirect tables for each id.
 */
static void driver_init(struct driver *v, struct board *board, bool packed, uint16_t size,
                        uint64_t base)
{
    *v = (struct driver){.board = board,
                         .packed = packed,
                         .size = size,
                         .descriptors = base,
                         .driver = base + 0x1000,
                         .device = base + 0x1800,
                         .tables = base + 0x2000,
                         .avail_wrap = true,
                         .used_wrap = true,
                         .free_slots = size};
    memset(board->memory + base, 0, 0x2000);
}

static void driver_descriptor(struct driver *v, uint64_t at, const struct driver_segment *s,
                              uint16_t id, uint16_t flags, uint16_t next)
{
    driver_put(v, at, s->gpa, 8);
    driver_put(v, at + 8, s->length, 4);
    driver_put(v, at + 12, v->packed ? id : flags, 2);
    driver_put(v, at + 14, v->packed ? flags : next, 2);
}

/* Offer a chain, through an indirect table or not. Its id; -1: there is no room. */
static int driver_offer(struct driver *v, const struct driver_segment *s, unsigned count,
                        bool indirect)
{
    unsigned slots = indirect ? 1 : count, id = 0;

    while (id < v->size && v->slots[id])
        id++;
    if (slots > v->free_slots || id == v->size)
        return -1;
    struct driver_segment table = {v->tables + 0x100 * id, 16 * count, false};
    for (unsigned i = 0; indirect && i < count; i++)
        driver_descriptor(v, table.gpa + 16 * i, &s[i], 0,
                          (s[i].writable ? 2 : 0) | (i + 1 < count && !v->packed ? 1 : 0),
                          (uint16_t)(i + 1));
    if (!v->packed) {
        /* Descriptors that nobody uses: any will do. Ids are those of heads, so a head has its own
         * place and the rest is taken from the end. */
        uint16_t place[DRIVER_SIZE];
        unsigned n = 0;
        place[n++] = (uint16_t)id;
        for (int d = v->size - 1; d >= 0 && n < slots; d--)
            if (!v->slots[d] && (unsigned)d != id)
                place[n++] = (uint16_t)d;
        if (n < slots)
            return -1;
        for (unsigned i = 0; i < slots; i++) {
            v->slots[place[i]] = 0x100;
            driver_descriptor(v, v->descriptors + 16 * place[i], indirect ? &table : &s[i], 0,
                              (indirect ? 4 : 0) | (!indirect && s[i].writable ? 2 : 0) |
                                  (i + 1 < slots ? 1 : 0),
                              i + 1 < slots ? place[i + 1] : 0xdead);
        }
        driver_put(v, v->driver + 4 + 2 * (v->avail % v->size), id, 2);
        driver_put(v, v->driver + 2, ++v->avail, 2);
    } else {
        uint16_t first = v->avail, head = 0;
        for (unsigned i = 0; i < slots; i++) {
            uint16_t flags =
                (uint16_t)((v->avail_wrap ? 0x80 : 0x8000) | (indirect ? 4 : 0) |
                           (!indirect && s[i].writable ? 2 : 0) | (i + 1 < slots ? 1 : 0));
            if (i == 0)
                head = flags;
            driver_descriptor(
                v, v->descriptors + 16u * v->avail, indirect ? &table : &s[i], (uint16_t)id,
                i ? flags : (uint16_t)driver_get(v, v->descriptors + 16u * v->avail + 14, 2), 0);
            if (++v->avail == v->size) {
                v->avail = 0;
                v->avail_wrap = !v->avail_wrap;
            }
        }
        driver_put(v, v->descriptors + 16u * first + 14, head, 2);
    }
    v->slots[id] = (uint16_t)slots;
    v->free_slots = (uint16_t)(v->free_slots - slots);
    return (int)id;
}

/* Take one back: its id and how much was written. -1: none has come. */
static int driver_take(struct driver *v, uint32_t *written)
{
    unsigned id;

    if (!v->packed) {
        uint64_t at = v->device + 4 + 8 * (v->used % v->size);
        if (driver_get(v, v->device + 2, 2) == v->used)
            return -1;
        id = (unsigned)driver_get(v, at, 4);
        *written = (uint32_t)driver_get(v, at + 4, 4);
        v->used++;
        /* Its other descriptors. */
        if (id >= v->size || !v->slots[id] || v->slots[id] == 0x100)
            abort();
        unsigned d = id, n = v->slots[id];
        while (--n > 0) {
            d = (unsigned)driver_get(v, v->descriptors + 16 * d + 14, 2);
            v->slots[d] = 0;
        }
    } else {
        uint64_t at = v->descriptors + 16u * v->used;
        unsigned flags = (unsigned)driver_get(v, at + 14, 2);
        if (!!(flags & 0x80) != v->used_wrap || !!(flags & 0x8000) != v->used_wrap)
            return -1;
        id = (unsigned)driver_get(v, at + 12, 2);
        *written = (uint32_t)driver_get(v, at + 8, 4);
        if (id >= v->size || !v->slots[id])
            abort();
        v->used = (uint16_t)(v->used + v->slots[id]);
        if (v->used >= v->size) {
            v->used = (uint16_t)(v->used - v->size);
            v->used_wrap = !v->used_wrap;
        }
    }
    v->free_slots = (uint16_t)(v->free_slots + v->slots[id]);
    v->slots[id] = 0;
    return (int)id;
}
