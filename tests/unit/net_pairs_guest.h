/* A guest of net_guest.h whose card has several pairs of queues, all of them used, or few: queue n
 * has its rings at PAIR_RINGS(n), without indirect tables, and a page for its buffers. */
#pragma once

#include "tests/unit/net_guest.h"

#define PAIRS         3u
#define QUEUES        (2 * PAIRS + 1)
#define MQ            (UINT64_C(1) << 22)
#define PAIR_RINGS(n) (0x1000 + 0x400 * (n))
#define PAIR_PAGE(n)  (0x4000 + 0x1000 * (n))
#define PAIR_BUFFER   0x100u /* of a receive queue: so many bytes each */

struct pairs_guest {
    struct guest guest;
    struct driver queue[QUEUES];
};

static inline void pairs_ring(struct pairs_guest *p, unsigned n, bool packed)
{
    uint64_t base = PAIR_RINGS(n);

    p->queue[n] = (struct driver){.board = &p->guest.board,
                                  .packed = packed,
                                  .size = DRIVER_SIZE,
                                  .descriptors = base,
                                  .driver = base + 0x100,
                                  .device = base + 0x200,
                                  .avail_wrap = true,
                                  .used_wrap = true,
                                  .free_slots = DRIVER_SIZE};
    memset(p->guest.board.memory + base, 0, 0x400);
}

/* All queues up to `queues` are there. */
static inline void pairs_start(struct pairs_guest *p, uint64_t features, unsigned queues)
{
    struct guest *g = &p->guest;

    negotiate(g, features);
    for (unsigned i = 0; i < queues; i++) {
        pairs_ring(p, i, features >> 34 & 1);
        out(g, 0x16, 2, i);
        out(g, 0x18, 2, DRIVER_SIZE);
        out(g, 0x20, 8, p->queue[i].descriptors);
        out(g, 0x28, 8, p->queue[i].driver);
        out(g, 0x30, 8, p->queue[i].device);
        out(g, 0x1c, 2, 1);
    }
    out(g, 0x14, 1, 0xf);
    assert_int_equal(in(g, 0x14, 1), 0xf);
}

/* A request: the answer, or -1. */
static inline int pairs_ask(struct pairs_guest *p, unsigned queue, uint8_t class, uint8_t command,
                            const void *data, uint32_t size)
{
    uint64_t at = PAIR_PAGE(QUEUES - 1);
    const struct driver_segment s[3] = {
        {at, 2, false}, {at + 2, size, false}, {at + 0x80, 1, true}};
    uint8_t *memory = p->guest.board.memory;
    uint32_t written;
    int id;

    memory[at] = class;
    memory[at + 1] = command;
    memcpy(memory + at + 2, data, size);
    memory[at + 0x80] = 0xee;
    id = driver_offer(&p->queue[queue], s, 3, false);
    assert_true(id >= 0);
    kick(&p->guest, queue);
    if (driver_take(&p->queue[queue], &written) != id)
        return -1;
    return memory[at + 0x80];
}

static inline int pairs_use(struct pairs_guest *p, uint16_t pairs)
{
    return pairs_ask(p, QUEUES - 1, 4, 0, &pairs, sizeof(pairs));
}

static inline void pairs_refill(struct pairs_guest *p, unsigned pair, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct driver_segment s = {0, PAIR_BUFFER, true};
        unsigned id = 0;

        while (id < DRIVER_SIZE && p->queue[2 * pair].slots[id])
            id++;
        s.gpa = PAIR_PAGE(2 * pair) + id * PAIR_BUFFER;
        assert_int_equal(driver_offer(&p->queue[2 * pair], &s, 1, false), id);
    }
    kick(&p->guest, 2 * pair);
}

/* The next frame that has come to that pair: its bytes behind the header, or -1. */
static inline int pairs_taken(struct pairs_guest *p, unsigned pair, uint8_t *data)
{
    uint32_t written;
    int id = driver_take(&p->queue[2 * pair], &written);

    if (id < 0)
        return -1;
    assert_true(written >= HEADER_SIZE);
    memcpy(data,
           p->guest.board.memory + PAIR_PAGE(2 * pair) + (unsigned)id * PAIR_BUFFER + HEADER_SIZE,
           written - HEADER_SIZE);
    return (int)(written - HEADER_SIZE);
}

/* Offer a frame to be sent by that pair; the id, or -1: there is no room. */
static inline int pairs_offer(struct pairs_guest *p, unsigned pair, const uint8_t *frame,
                              uint32_t length)
{
    struct driver *v = &p->queue[2 * pair + 1];
    struct driver_segment s = {0, HEADER_SIZE + length, false};
    unsigned id = 0;

    while (id < DRIVER_SIZE && v->slots[id])
        id++;
    if (id == DRIVER_SIZE)
        return -1;
    s.gpa = PAIR_PAGE(2 * pair + 1) + id * PAIR_BUFFER;
    memset(p->guest.board.memory + s.gpa, 0, HEADER_SIZE);
    memcpy(p->guest.board.memory + s.gpa + HEADER_SIZE, frame, length);
    return driver_offer(v, &s, 1, false);
}

/* How many of those have been sent and come back. */
static inline unsigned pairs_back(struct pairs_guest *p, unsigned pair)
{
    unsigned count = 0;
    uint32_t written;

    while (driver_take(&p->queue[2 * pair + 1], &written) >= 0)
        count++;
    return count;
}

/* UDP from a port of one guest's to a port of another's, by their numbers. */
static inline void pairs_udp(uint8_t *frame, uint8_t from, uint16_t from_port, uint8_t to,
                             uint16_t to_port)
{
    static const uint8_t head[34] = {2,  0, 0, 0, 0, 0,  2,  0, 0, 0,  0, 0, 8, 0,  0x45, 0, 0,
                                     46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0, 10, 0,    0, 0};

    memset(frame, 0, 60);
    memcpy(frame, head, sizeof(head));
    frame[NET_MAC - 1] = frame[33] = to;
    frame[2 * NET_MAC - 1] = frame[29] = from;
    frame[34] = (uint8_t)(from_port >> 8);
    frame[35] = (uint8_t)from_port;
    frame[36] = (uint8_t)(to_port >> 8);
    frame[37] = (uint8_t)to_port;
}
