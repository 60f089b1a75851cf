/* links: guest/devices/virtio/net.c guest/devices/virtio/net_pairs.c guest/net/flow.c guest/devices/network.c guest/devices/virtio/net_receive.c guest/devices/virtio/net_control.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * Two network cards at one switch, with one pair of queues or three, under hostile drivers: any
 * access to their BARs and to config space, rings, headers and control requests of any shape,
 * resets, cables pulled, saved state in between. Nothing stays pinned, and a card that nobody has
 * touched is as it was.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/board/pci.h"
#include "guest/devices/virtio/net.h"
#include "guest/net/switch.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"

#define ACTIONS 400
#define BAR     0xc0000000u
#define GUESTS  2
#define PAIRS   3

/* Of queue n: descriptors, and what the driver and the device write. */
#define RINGS(n)  (0x1000 + 0x800 * (n))
#define DRIVER(n) (RINGS(n) + 0x200)
#define DEVICE(n) (RINGS(n) + 0x400)

static struct guest {
    struct board board;
    struct device_list devices;
    struct bus_view view;
} guests[GUESTS];
static struct net_switch lan;
static uint64_t now;
static uint8_t how_ports;

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr virt_to_phys(const void *va)
{
    return (paddr)va;
}

static uint64_t clock_now(void)
{
    return now;
}

static int find(void *context, const char *text, size_t length, struct net_switch **on,
                struct net_port_setup *what, char *error)
{
    unsigned n = (unsigned)((struct guest *)context - guests);

    what->mac[0] = 2;
    what->mac[5] = (uint8_t)n;
    what->any_mac = how_ports >> n & 1;
    what->rate = how_ports & 4 ? 100000 : 0;
    what->pairs = how_ports >> (3 + n) & 1 ? PAIRS : 1;
    *on = &lan;
    return 0;
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    *length = 3;
    return index == 0 ? "lan" : NULL;
}

static void write_bar(struct guest *g, uint32_t at, unsigned size, uint64_t value)
{
    bus_mmio_write(&g->board.bus, &g->view, BAR + at, size, value);
}

/* A driver that gets as far as DRIVER_OK, so that what comes next finds queues. */
static void start(struct guest *g, uint8_t how)
{
    uint32_t low = 1u << 28 | (how & 1u) << 29 | (how & 2 ? 1u << 15 : 0) |
                   (how & 4 ? 3u | 7u << 7 | 7u << 11 : 0) | (how & 8 ? 0xbfu << 16 | 4u : 0) |
                   (how & 32 ? 1u << 22 : 0);

    bus_port_write(&g->board.bus, 0xcf8, 4, 0x80000804);
    bus_port_write(&g->board.bus, 0xcfc, 2, 6);
    write_bar(g, 0x14, 1, 0);
    write_bar(g, 0x14, 1, 3);
    write_bar(g, 8, 4, 0);
    write_bar(g, 12, 4, low);
    write_bar(g, 8, 4, 1);
    write_bar(g, 12, 4, (how & 16 ? 5u : 1u) | (how & 64 ? 7u << 22 | 1u << 8 : 0));
    write_bar(g, 0x14, 1, 0xb);
    for (unsigned i = 0; i <= 2 * PAIRS; i++) {
        write_bar(g, 0x16, 2, i);
        write_bar(g, 0x18, 2, 8);
        write_bar(g, 0x20, 8, RINGS(i));
        write_bar(g, 0x28, 8, DRIVER(i));
        write_bar(g, 0x30, 8, DEVICE(i));
        write_bar(g, 0x1c, 2, 1);
    }
    write_bar(g, 0x14, 1, 0xf);
}

static void put(struct guest *g, uint64_t at, uint64_t value, unsigned size)
{
    memcpy(g->board.memory + at % (MOCK_MEMORY - 8), &value, size);
}

/* Whether the driver gives the device buffers there, where it knows what it does. */
static bool is_for_buffers(const struct guest *g, unsigned queue)
{
    return queue % 2 == 0 && queue < (how_ports >> (3 + (g - guests)) & 1 ? 2 * PAIRS : 2);
}

/* A chain of up to three descriptors in a split ring, and the index that offers it. */
static void offer(struct guest *g, unsigned queue)
{
    uint64_t base = RINGS(queue), index = DRIVER(queue) + 2;
    uint8_t shape = next();
    unsigned first = next() & 7, at = first;

    for (unsigned i = 0; i <= (shape & 3u) % 3; i++) {
        unsigned follows = (at + 1) & 7;
        put(g, base + 16 * at, 0xa000 + next() * 64u, 8);
        put(g, base + 16 * at + 8, shape & 4 ? next() : next() * 16u, 4);
        put(g, base + 16 * at + 12,
            (is_for_buffers(g, queue) || (shape & 8 && i > 0) ? 2u : 0) |
                (i < (shape & 3u) % 3 ? 1u : 0),
            2);
        put(g, base + 16 * at + 14, follows, 2);
        at = follows;
    }
    put(g, index + 2 + 2 * (g->board.memory[index] & 7), first, 2);
    put(g, index, (uint64_t)g->board.memory[index] + 1, 2);
    if (shape & 0x40)
        write_bar(g, 0x3000 + 4 * queue, 2, 0);
}

/* A header, and the frame behind it, or a request. */
static void fill(struct guest *g)
{
    uint64_t at = 0xa000 + next() * 64u;
    unsigned n = (unsigned)(g - guests), kind = next();

    if (kind & 1) {
        put(g, at, next() % 6, 1);
        put(g, at + 1, next() % 8, 1);
        put(g, at + 2, kind & 2 ? next() % (PAIRS + 2) : next32(), 4);
        return;
    }
    put(g, at, kind >> 1 & 1, 1);
    put(g, at + 1, kind & 4 ? next() : 0, 1);
    put(g, at + 2, next32(), 4);
    put(g, at + 6, kind & 8 ? next32() : 34 | 16 << 16, 4);
    for (unsigned i = 0; i < NET_MAC; i++) {
        put(g, at + 12 + i, kind & 16 ? 0xff : i == 0 ? 2 : i == 5 ? !n : 0, 1);
        put(g, at + 18 + i, i == 0 ? 2 : i == 5 ? n : 0, 1);
    }
    put(g, at + 24, 0x00450008, 4);
    put(g, at + 35, kind & 64 ? 17 : 6, 1);
    put(g, at + 58, 0x50, 1);
    if (kind & 64) {
        put(g, at + 1, 5, 1);
        put(g, at + 8, 6, 2);
    }
    if (kind & 32)
        put(g, at + next() % 80, next(), 1);
}

static void act(void)
{
    static const uint8_t sizes[] = {1, 2, 4, 8};
    uint8_t what = next();
    struct guest *g = &guests[what & 1];
    unsigned size = sizes[what >> 1 & 3];
    uint64_t value;

    switch (next() % 16) {
    case 0:
        start(g, next());
        break;
    case 1:
        write_bar(g, next32() % 0x8000, size, next32());
        break;
    case 2:
        bus_mmio_read(&g->board.bus, &g->view, BAR + next32() % 0x8000, size, &value);
        break;
    case 3:
        write_bar(g, next() & 0x3f, size, next32());
        break;
    case 4:
        bus_port_write(&g->board.bus, 0xcf8, 4, 0x80000800 | (next() & 0xfcu));
        bus_port_write(&g->board.bus, 0xcfc, size & 7 ? size : 4, next32());
        break;
    case 5:
    case 6:
    case 7:
        offer(g, next() % (2 * PAIRS + 1));
        break;
    case 8:
    case 9:
        fill(g);
        break;
    case 10:
    case 11:
        write_bar(g, 0x3000 + 4 * (next() % (2 * PAIRS + 2)), 2, 0);
        break;
    case 12:
        now += next() * 100u;
        mock_ticks(&g->board, next());
        break;
    case 13:
        virtio_net_plug(device_list_find(&g->devices, &virtio_net_class, 0), next() & 3);
        break;
    case 14:
        put(g, next32(), next32(), 4);
        break;
    default:
        if (next() > 200)
            REQUIRE(mock_round_trip(&g->board));
        else if (next() > 250)
            bus_reset(&g->board.bus);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_net_class};
    static struct device_host hosts[GUESTS];

    take_input(data, size);
    now = 0;
    how_ports = next();
    lan = (struct net_switch){.name = "lan", .mtu = 1500, .now = clock_now, .hz = 1000000};
    net_switch_init(&lan, 1);
    for (unsigned i = 0; i < GUESTS; i++) {
        struct guest *g = &guests[i];
        hosts[i] = (struct device_host){.context = g, .line = line, .net = find};
        struct device_setup s = {.board = &g->board, .bus = &g->board.bus, .host = &hosts[i]};

        mock_init(&g->board);
        g->view = (struct bus_view){0};
        g->devices = (struct device_list){0};
        REQUIRE(device_list_fill(&g->devices, classes, 2, &s) == 0);
        bus_reset(&g->board.bus);
    }
    for (unsigned i = 0; i < ACTIONS && left > 0; i++)
        act();
    for (unsigned i = 0; i < GUESTS; i++) {
        struct guest *g = &guests[i];

        bus_reset(&g->board.bus);
        REQUIRE(g->board.pins == 0);
        mock_destroy(&g->board);
        device_list_destroy(&g->devices);
    }
    net_switch_destroy(&lan);
    return 0;
}
