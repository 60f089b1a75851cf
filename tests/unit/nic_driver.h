/* A driver of a VM's 82540EM (nic_board.h) that does as the manual says, and its peer. */
#pragma once

#include "arch/x86/lib/errno.h"
#include "tests/unit/nic_board.h"

#include "tests/unit/function_io.h"

#define IN_RING  0x1000
#define OUT_RING 0x2000
#define RING     32u
#define BUFFERS  0x4000 /* of 2 KiB, so many as RING / 2 */
#define OUT      0xc000

static unsigned in_next, out_next;

static struct {
    unsigned frames;
    uint32_t length;
    uint8_t data[65536];
} heard;

/* --- who is on the other end --- */

static inline enum net_drop peer_receive(void *owner, const struct net_frame *f)
{
    heard.length = 0;
    for (unsigned i = 0; i < f->count; heard.length += f->piece[i++].length)
        memcpy(heard.data + heard.length, f->piece[i].data, f->piece[i].length);
    assert_int_equal(heard.length, f->length);
    assert_false(f->offload.checksum && !(peer->can & NET_CAN_CHECKSUM));
    assert_false(f->offload.gso && !(peer->can & NET_CAN_TCP4));
    heard.frames++;
    return NET_TAKEN;
}

static const struct net_port_ops peer_ops = {peer_receive, peer_received};

static inline struct nic *nic(void)
{
    return nic_of(device_list_find(&devices, &e1000_class, 0));
}

static inline int setup(void **state)
{
    memset(&heard, 0, sizeof(heard));
    return nic_board_init(9000, &peer_ops);
}

static inline int teardown(void **state)
{
    bool good = mock_round_trip(&board) && board.pins == 0;

    nic_board_destroy();
    return good ? 0 : -1;
}

/* --- the driver --- */

static inline void put_memory(uint64_t gpa, uint64_t value, unsigned size)
{
    memcpy(board.memory + gpa, &value, size);
}

static inline uint64_t get_memory(uint64_t gpa, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, board.memory + gpa, size);
    return value;
}

static inline void start(uint32_t rctl)
{
    for (unsigned i = 0; i < RING; i++) {
        put_memory(IN_RING + 16 * i, BUFFERS + i % 16 * 2048, 8);
        put_memory(IN_RING + 16 * i + 8, 0, 8);
    }
    out(0x2800, 4, IN_RING);
    out(0x2804, 4, 0);
    out(0x2808, 4, RING * 16);
    out(0x2810, 4, 0);
    out(0x2818, 4, RING - 1);
    out(0x3800, 4, OUT_RING);
    out(0x3808, 4, RING * 16);
    out(0x3810, 4, 0);
    out(0x3818, 4, 0);
    out(0x400, 4, 2);
    out(0xd0, 4, 0x9f);
    out(0x100, 4, rctl);
    in_next = out_next = 0;
}

static inline void describe(uint64_t first, uint32_t third, uint32_t fourth)
{
    put_memory(OUT_RING + 16 * out_next, first, 8);
    put_memory(OUT_RING + 16 * out_next + 8, third, 4);
    put_memory(OUT_RING + 16 * out_next + 12, fourth, 4);
    out_next = (out_next + 1) % RING;
}

static inline void kick(void)
{
    out(0x3818, 4, out_next);
}

/* From the card's own address to the peer's, or to whom. */
static inline void make_frame(uint8_t *at, const uint8_t *to, uint32_t length)
{
    static const uint8_t addresses[12] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1};

    for (uint32_t i = 0; i < length; i++)
        at[i] = (uint8_t)(i * 3 + length);
    memcpy(at, addresses, 12);
    if (to)
        memcpy(at, to, 6);
    at[12] = 0x88;
    at[13] = 0xb5;
}

/* The peer sends. */
static inline void comes(const uint8_t *to, uint32_t length, unsigned pieces)
{
    static const uint8_t us[6] = {2, 0, 0, 0, 0, 1};
    static uint8_t data[10000];
    struct net_piece piece[3] = {{data, length}};
    struct net_frame f = {.piece = piece, .count = 1, .length = length};

    make_frame(data, to ? to : us, length);
    memcpy(data + 6, "\2\0\0\0\0\2", 6);
    if (pieces == 3 && length > 400) {
        piece[0].length = 200;
        piece[1] = (struct net_piece){data + 200, 1};
        piece[2] = (struct net_piece){data + 201, length - 201};
        f.count = 3;
    }
    board.now += board.hz / 1000;
    (void)net_port_send(peer, &f);
    net_port_sent(peer);
}

static inline uint64_t dropped(enum net_drop why)
{
    return nic()->port->counts.dropped[why];
}

/* Takes what is in the next descriptors: the frame's length, 0 where there is none. */
static inline uint32_t take(uint8_t *data)
{
    uint32_t length = 0, status;

    do {
        uint32_t size = (uint32_t)get_memory(IN_RING + 16 * in_next + 8, 2);

        status = (uint32_t)get_memory(IN_RING + 16 * in_next + 12, 4);
        if (!(status & 1))
            return 0;
        assert_int_equal(status >> 8 & 0xff, 0);
        memcpy(data + length, board.memory + get_memory(IN_RING + 16 * in_next, 8), size);
        length += size;
        put_memory(IN_RING + 16 * in_next + 8, 0, 8);
        in_next = (in_next + 1) % RING;
    } while (!(status & 2));
    out(0x2818, 4, (in_next + RING - 1) % RING);
    return length;
}

/* --- TCP --- */

static inline uint32_t sum(const uint8_t *p, uint32_t length, uint32_t s)
{
    for (uint32_t i = 0; i + 1 < length; i += 2)
        s += (uint32_t)(p[i] << 8 | p[i + 1]);
    if (length % 2)
        s += (uint32_t)p[length - 1] << 8;
    while (s >> 16)
        s = (s & 0xffff) + (s >> 16);
    return s;
}

/* TCP over IPv4, the sum of the pseudo header in its place; with_length: as for one segment. */
static inline void make_tcp(uint8_t *at, uint32_t payload, bool with_length)
{
    static const uint8_t ip[20] = {0x45, 0, 0,  0, 0, 1, 0,  0, 64, 6,
                                   0,    0, 10, 0, 0, 1, 10, 0, 0,  2};
    uint8_t *tcp = at + 34;
    uint32_t s;

    make_frame(at, NULL, 54 + payload);
    at[12] = 8;
    at[13] = 0;
    memcpy(at + 14, ip, 20);
    memset(tcp, 0, 20);
    tcp[12] = 5 << 4;
    s = sum(ip + 12, 8, 6 + (with_length ? 20 + payload : 0));
    tcp[16] = (uint8_t)(s >> 8);
    tcp[17] = (uint8_t)s;
}

#define CONTEXT      (14u | 24u << 8 | (uint64_t)33 << 16 | (uint64_t)34 << 32 | (uint64_t)50 << 40)
#define CONTEXT_TCP4 0x23000000u
