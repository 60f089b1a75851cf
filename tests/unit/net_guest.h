/*
 * A guest with a virtio-net card, for tests: a mock board with PCI and the card, and a driver that
 * finds it and keeps to Virtio 1.2. Several of them share a switch.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pci.h"
#include "guest/devices/virtio/net.h"
#include "guest/net/switch.h"
#include "tests/unit/virtq_driver.h"

#define BAR     0xc0000000u
#define RINGS   0x1000 /* of queue n: RINGS + 0x3000 n */
#define BUFFERS 0xa000
#define REQUEST 0xe000
#define OUT     0xb000 /* what is sent */

#define V1            (UINT64_C(1) << 32)
#define PACKED_RING   (UINT64_C(1) << 34)
#define INDIRECT      (UINT64_C(1) << 28)
#define EVENT_INDEX   (UINT64_C(1) << 29)
#define RING_RESET    (UINT64_C(1) << 40)
#define CSUM          (UINT64_C(1) << 0)
#define GUEST_CSUM    (UINT64_C(1) << 1)
#define CTRL_OFFLOADS (UINT64_C(1) << 2)
#define GUEST_TSO4    (UINT64_C(1) << 7)
#define HOST_TSO4     (UINT64_C(1) << 11)
#define MRG_RXBUF     (UINT64_C(1) << 15)
#define CTRL_VQ       (UINT64_C(1) << 17)
#define CTRL_RX       (UINT64_C(1) << 18)
#define CTRL_VLAN     (UINT64_C(1) << 19)
#define CTRL_EXTRA    (UINT64_C(1) << 20)
#define ANNOUNCE      (UINT64_C(1) << 21)
#define CTRL_MAC      (UINT64_C(1) << 23)
#define GUEST_USO4    (UINT64_C(1) << 54)
#define GUEST_USO6    (UINT64_C(1) << 55)
#define HOST_USO      (UINT64_C(1) << 56)
#define HEADER_SIZE   12

#ifndef GUEST_VIEW
#define GUEST_VIEW(g) (&(g)->view)
#endif

struct guest {
    struct board board;
    struct device_list devices;
    struct bus_view view;
    struct driver queue[3];
    uint64_t buffer[DRIVER_SIZE]; /* gpa by id */
    uint8_t number;
    struct net_port_setup what;
};

static struct net_switch net_lan;
static uint64_t net_now;

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr virt_to_phys(const void *va)
{
    return (paddr)va;
}

static inline uint64_t net_clock(void)
{
    return net_now;
}

static inline int net_find(void *context, const char *text, size_t length, struct net_switch **on,
                           struct net_port_setup *what, char *error)
{
    const struct guest *g = context;
    const struct net_port_ops *ops = what->ops;
    void *owner = what->owner;

    *what = g->what;
    what->ops = ops;
    what->owner = owner;
    *on = &net_lan;
    return 0;
}

static inline const char *net_line(void *context, const char *key, unsigned index, size_t *length,
                                   uint32_t *number)
{
    *length = 3;
    return index == 0 ? "lan" : NULL;
}

static inline uint64_t in(struct guest *g, uint32_t at, unsigned size)
{
    uint64_t value;

    assert_true(bus_mmio_read(&g->board.bus, GUEST_VIEW(g), BAR + at, size, &value));
    return value;
}

static inline void out(struct guest *g, uint32_t at, unsigned size, uint64_t value)
{
    assert_true(bus_mmio_write(&g->board.bus, GUEST_VIEW(g), BAR + at, size, value));
}

static inline void pci_write(struct guest *g, unsigned at, unsigned size, uint32_t value)
{
    bus_port_write(&g->board.bus, 0xcf8, 4, 0x80000800 | (at & 0xfc));
    bus_port_write(&g->board.bus, (uint16_t)(0xcfc + (at & 3)), size, value);
}

/* Its address is 02:00:00:00:00:number. */
static inline int net_guest_init(struct guest *g, uint8_t number, struct net_port_setup what)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_net_class};
    struct device_setup s = {.board = &g->board, .bus = &g->board.bus, .host = &g->board.host};
    const uint8_t mac[NET_MAC] = {2, 0, 0, 0, 0, number};

    memcpy(what.mac, mac, NET_MAC);
    g->number = number;
    g->what = what;
    mock_init(&g->board);
    g->view = (struct bus_view){0};
    g->devices = (struct device_list){0};
    g->board.host = (struct device_host){.context = g, .line = net_line, .net = net_find};
    int error = device_list_fill(&g->devices, classes, 2, &s);
    if (error < 0)
        return error;
    bus_reset(&g->board.bus);
    pci_write(g, PCI_COMMAND, 2, 6);
    return 0;
}

static inline void net_guest_end(struct guest *g)
{
    mock_destroy(&g->board);
    device_list_destroy(&g->devices);
}

static inline struct device *card(struct guest *g)
{
    return device_list_find(&g->devices, &virtio_net_class, 0);
}

static inline void start_queue(struct guest *g, unsigned i, bool packed)
{
    struct driver *v = &g->queue[i];

    driver_init(v, &g->board, packed, DRIVER_SIZE, RINGS + 0x3000 * i);
    out(g, 0x16, 2, i);
    out(g, 0x18, 2, DRIVER_SIZE);
    out(g, 0x20, 8, v->descriptors);
    out(g, 0x28, 8, v->driver);
    out(g, 0x30, 8, v->device);
    out(g, 0x1c, 2, 1);
}

/* From a reset to features that are agreed upon. */
static inline void negotiate(struct guest *g, uint64_t features)
{
    out(g, 0x14, 1, 0);
    assert_int_equal(in(g, 0x14, 1), 0);
    out(g, 0x14, 1, 1);
    out(g, 0x14, 1, 3);
    out(g, 8, 4, 0);
    out(g, 12, 4, (uint32_t)features);
    out(g, 8, 4, 1);
    out(g, 12, 4, (features | V1) >> 32);
    out(g, 0x14, 1, 0xb);
    assert_int_equal(in(g, 0x14, 1), 0xb);
}

static inline void start(struct guest *g, uint64_t features)
{
    negotiate(g, features);
    for (unsigned i = 0; i < 3; i++)
        start_queue(g, i, features >> 34 & 1);
    out(g, 0x14, 1, 0xf);
    assert_int_equal(in(g, 0x14, 1), 0xf);
}

static inline void kick(struct guest *g, unsigned queue)
{
    out(g, 0x3000 + 4 * queue, 2, 0);
}

/* count buffers of that size for what comes, each in two segments when it is to be. */
static inline void refill(struct guest *g, unsigned count, uint32_t size, bool split)
{
    for (unsigned i = 0; i < count; i++) {
        struct driver_segment s[2] = {{0, size, true}};
        unsigned id = 0;

        while (g->queue[0].slots[id])
            id++;
        s[0].gpa = BUFFERS + id * 0x100u;
        if (size > 0x100)
            s[0].gpa = BUFFERS + (id % 2) * 0x1000u;
        if (split) {
            s[0].length = 7;
            s[1] = (struct driver_segment){s[0].gpa + 7, size - 7, true};
        }
        int got = driver_offer(&g->queue[0], s, split ? 2 : 1, split);
        assert_true(got >= 0);
        g->buffer[got] = s[0].gpa;
    }
    kick(g, 0);
}

/* The next buffer that has been filled: its bytes in data; how many, or -1. */
static inline int taken(struct guest *g, uint8_t *data)
{
    uint32_t written;
    int id = driver_take(&g->queue[0], &written);

    if (id < 0)
        return -1;
    memcpy(data, g->board.memory + g->buffer[id], written);
    return (int)written;
}

static inline void frame_to(struct guest *g, uint8_t *frame, const uint8_t *to, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        frame[i] = (uint8_t)(i * 7 + i / 256);
    memcpy(frame, to, NET_MAC);
    memcpy(frame + NET_MAC, g->what.mac, NET_MAC);
    frame[12] = 0x12;
    frame[13] = 0x34;
}

/* Put header and frame there and offer them in that many segments; the id. */
static inline int offer(struct guest *g, const uint8_t *header, const uint8_t *frame,
                        uint32_t length, unsigned segments)
{
    struct driver_segment s[8];
    uint32_t size = HEADER_SIZE + length, at = 0;

    memcpy(g->board.memory + OUT, header, HEADER_SIZE);
    memcpy(g->board.memory + OUT + HEADER_SIZE, frame, length);
    for (unsigned i = 0; i < segments; i++) {
        uint32_t n = i + 1 == segments ? size - at : size / segments;
        s[i] = (struct driver_segment){OUT + at, n, false};
        at += n;
    }
    return driver_offer(&g->queue[1], s, segments, segments == 3);
}
