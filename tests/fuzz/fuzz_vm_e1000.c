/* links: guest/devices/e1000/card.c guest/devices/e1000/interrupts.c guest/devices/e1000/statistics.c guest/devices/e1000/send.c guest/devices/e1000/receive.c guest/devices/e1000/chip.c guest/devices/network.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * A driver of a VM's 82540EM that does anything: registers by memory and by ports, descriptors and
 * data of all kinds, while frames come, its cable is pulled and its state is saved, wiped and
 * loaded. What it sends is from its own address, no longer than may be, and finished; no memory of
 * its stays pinned.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/nic_board.h"

#define ACTIONS 300
#define MTU     1500u

static enum net_drop peer_receive(void *owner, const struct net_frame *f)
{
    static const uint8_t from[NET_MAC] = {2, 0, 0, 0, 0, 1};
    const uint8_t *head = f->piece[0].data;
    uint32_t sum = 0;
    uint8_t bytes = 0;

    REQUIRE(f->length >= NET_ETHER && f->length <= MTU + NET_ETHER + NET_TAG);
    REQUIRE(f->piece[0].length >= MIN(f->length, NET_ETHER) &&
            memcmp(head + NET_MAC, from, NET_MAC) == 0);
    REQUIRE(!f->offload.checksum && !f->offload.gso);
    for (unsigned i = 0; i < f->count; sum += f->piece[i++].length)
        for (uint32_t n = 0; n < f->piece[i].length; n++)
            bytes ^= ((const uint8_t *)f->piece[i].data)[n];
    REQUIRE(sum == f->length && bytes <= 255);
    return NET_TAKEN;
}

static void write_register(uint32_t at, uint32_t value)
{
    (void)bus_mmio_write(&board.bus, &view, BAR + at, 4, value);
}

/* Mostly one that does something. */
static uint32_t some_register(void)
{
    static const uint16_t often[] = {
        0x0000, 0x0008, 0x0010, 0x0014, 0x0020, 0x00c0, 0x00c8, 0x00d0, 0x00d8, 0x0100, 0x0400,
        0x2800, 0x2804, 0x2808, 0x2810, 0x2818, 0x3800, 0x3804, 0x3808, 0x3810, 0x3818, 0x5400,
        0x5404, 0x5200, 0x5600, 0x1000, 0x0038, 0x4074, 0x3818, 0x3818, 0x2818, 0x2818};
    uint8_t what = next();

    return what < 0xe0 ? often[what % ARRAY_SIZE(often)] : next32() & 0x1ffff;
}

static void set_up(void)
{
    write_register(0x2800, 0x1000);
    write_register(0x2804, 0);
    write_register(0x2808, 0x200);
    write_register(0x2810, 0);
    write_register(0x2818, 31);
    write_register(0x3800, 0x2000);
    write_register(0x3804, 0);
    write_register(0x3808, 0x200);
    write_register(0x3810, 0);
    write_register(0x3818, 0);
    write_register(0x400, 2);
    write_register(0x100, 0x801a | (uint32_t)next() << 16);
    for (unsigned i = 0; i < 32; i++) {
        uint64_t at = 0x4000 + i * 1024;

        memcpy(board.memory + 0x1000 + 16 * i, &at, 8);
    }
}

/* A descriptor as a good driver might write it, and a tail behind it. */
static void describe(void)
{
    unsigned n = next() % 32;
    uint64_t first = 0xc000 + next() * 16u;
    uint32_t third = (uint32_t)next() << 24 | (uint32_t)(next() & 0x3f) << 20 | (next32() & 0x1fff),
             fourth = next32();

    if (next() & 1)
        memcpy(&first, board.memory + 0xc000 + next(), 8);
    memcpy(board.memory + 0x2000 + 16 * n, &first, 8);
    memcpy(board.memory + 0x2008 + 16 * n, &third, 4);
    memcpy(board.memory + 0x200c + 16 * n, &fourth, 4);
    write_register(0x3818, (n + 1) % 32);
}

/* TCP over IPv4, as far as headers go. */
static void make_tcp(void)
{
    static const uint8_t head[54] = {2, 0, 0, 0, 0, 2,  2, 0, 0, 0,  0, 1, 8, 0,  0x45, 0, 0,
                                     0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0,    0, 2};

    memcpy(board.memory + 0xc000, head, sizeof(head));
    board.memory[0xc000 + 46] = 0x50;
    board.memory[0xc000 + next() % 64] = next();
}

static void comes(void)
{
    static uint8_t data[2048];
    uint32_t length = 14 + next32() % 1500, most = NET_HEAD + next() % 2000u,
             first = MIN(length, most);
    struct net_piece piece[2] = {{data, first}, {data + first, length - first}};
    struct net_frame f = {.piece = piece, .count = first < length ? 2 : 1, .length = length};

    memcpy(data, next() & 1 ? "\2\0\0\0\0\1" : "\xff\xff\xff\xff\xff\xff", 6);
    memcpy(data + 6, "\2\0\0\0\0\2", 6);
    data[12] = next() & 1 ? 0x81 : 8;
    data[13] = 0;
    (void)net_port_send(peer, &f);
    if (next() & 1)
        net_port_sent(peer);
}

static void act(struct device *d)
{
    uint64_t value;
    uint8_t what = next();

    switch (what % 10) {
    case 0:
        write_register(some_register(), next32());
        break;
    case 1:
        (void)bus_mmio_read(&board.bus, &view, BAR + some_register(), 4, &value);
        break;
    case 2:
        for (unsigned i = 0; i < 16; i++)
            board.memory[next32() % MOCK_MEMORY] = next();
        break;
    case 3:
        comes();
        break;
    case 4:
        (void)mock_ticks(&board, next32() % 1000000);
        break;
    case 5:
        bus_port_write(&board.bus, (uint16_t)(PORTS_AT + next() % 64), 4, next32());
        break;
    case 6:
        e1000_plug(d, what & 0x40);
        break;
    case 7:
        if (what & 0x80)
            REQUIRE(mock_round_trip(&board));
        else
            set_up();
        break;
    case 8:
        make_tcp();
        break;
    default:
        describe();
    }
    REQUIRE(board.pins == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct net_port_ops peer_ops = {peer_receive, peer_received};
    struct device *d;

    take_input(data, size);
    REQUIRE(nic_board_init(MTU, &peer_ops) == 0);
    set_up();
    d = device_list_find(&devices, &e1000_class, 0);
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act(d);
    nic_board_destroy();
    return 0;
}
