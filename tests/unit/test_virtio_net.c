/* links: guest/devices/virtio/net.c guest/devices/virtio/net_pairs.c guest/net/flow.c guest/devices/network.c guest/devices/virtio/net_receive.c guest/devices/virtio/net_control.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-net: guests that send frames to each other through a switch, and some that lie. */
#include "tests/unit/net_guest.h"
#include "tests/unit/boots.h"

static struct guest a, b;
static uint8_t frame[0x2000], got[0x2000];
static const uint8_t plain[HEADER_SIZE];

static int setup_with(struct net_port_setup what)
{
    net_now = 1000000;
    net_lan = (struct net_switch){.name = "lan", .mtu = 1500, .now = net_clock, .hz = 1000000};
    net_switch_init(&net_lan, 1);
    if (net_guest_init(&a, 1, what) < 0 || net_guest_init(&b, 2, (struct net_port_setup){0}) < 0)
        return -1;
    frame_to(&a, frame, b.what.mac, sizeof(frame));
    return 0;
}

static int setup(void **state)
{
    return setup_with((struct net_port_setup){0});
}

static int teardown(void **state)
{
    bool good = mock_round_trip(&a.board) && mock_round_trip(&b.board);

    good = good && a.board.pins == 0 && b.board.pins == 0;
    net_guest_end(&a);
    net_guest_end(&b);
    net_switch_destroy(&net_lan);
    return good ? 0 : -1;
}

static uint64_t dropped(unsigned port, enum net_drop why)
{
    return net_lan.port[port]->counts.dropped[why];
}

/* From a; it comes back at once. */
static void send_frame(const uint8_t *header, uint32_t length, unsigned segments)
{
    uint32_t written;
    int id = offer(&a, header, frame, length, segments);

    kick(&a, 1);
    mock_ticks(&a.board, 1); /* enough may have been sent for one exit */
    assert_int_equal(driver_take(&a.queue[1], &written), id);
    assert_int_equal(written, 0);
}

/* b gets the frame, with nothing left to do, in one buffer. */
static void expect_plain(uint32_t length)
{
    static const uint8_t header[HEADER_SIZE] = {[10] = 1};

    assert_int_equal(taken(&b, got), HEADER_SIZE + length);
    assert_memory_equal(got, header, HEADER_SIZE);
    assert_memory_equal(got + HEADER_SIZE, frame, length);
}

static void expect_nothing(void)
{
    assert_int_equal(taken(&b, got), -1);
}

static bool interrupted(struct guest *g)
{
    return in(g, 0x1000, 1) & 1;
}

static void test_what_is_seen(void **state)
{
    uint64_t offered;

    bus_port_write(&a.board.bus, 0xcf8, 4, 0x80000800);
    assert_int_equal(bus_port_read(&a.board.bus, 0xcfc, 4), 0x10411af4);
    bus_port_write(&a.board.bus, 0xcf8, 4, 0x80000808);
    assert_int_equal(bus_port_read(&a.board.bus, 0xcfc, 4) >> 8, 0x020000);
    out(&a, 0, 4, 0);
    offered = in(&a, 4, 4);
    assert_int_equal(offered, 1 << 28 | 1 << 29 | 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 5 |
                                  7 << 7 | 7 << 11 | 1 << 15 | 1 << 16 | 1 << 17 | 1 << 18 |
                                  1 << 19 | 1 << 20 | 1 << 21 | 1 << 23);
    out(&a, 0, 4, 1);
    assert_int_equal(in(&a, 4, 4), 1 << 0 | 1 << 2 | 1 << 8 | 7 << 22);
    assert_int_equal(in(&a, 0x12, 2), 3);
    for (unsigned i = 0; i < NET_MAC; i++)
        assert_int_equal(in(&a, 0x2000 + i, 1), a.what.mac[i]);
    assert_int_equal(in(&a, 0x2006, 2), 1);
    assert_int_equal(in(&a, 0x200a, 2), 1500);
}

static void test_frames(void **state)
{
    for (unsigned how = 0; how < 8; how++) {
        uint64_t features = (how & 1 ? PACKED_RING : 0) | (how & 2 ? EVENT_INDEX : 0) |
                            (how & 4 ? MRG_RXBUF : 0) | INDIRECT;

        start(&a, features);
        start(&b, features);
        for (unsigned i = 0; i < 40; i++) {
            refill(&b, 1, 1526, i % 2);
            send_frame(plain, i % 3 ? 60 : 1514, 1 + i % 3);
            expect_plain(i % 3 ? 60 : 1514);
            assert_true(how & 2 || interrupted(&b));
            expect_nothing();
        }
    }
    assert_int_equal(dropped(0, NET_DROP_NOBODY), 0);
}

/* A frame in as many buffers as it takes, the header in two of them, and all at once. */
static void test_merged(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        uint32_t at = 0;

        start(&a, (packed ? PACKED_RING : 0));
        start(&b, MRG_RXBUF | INDIRECT | (packed ? PACKED_RING : 0));
        refill(&b, 1, 11, false);
        refill(&b, 9, 200, true);
        send_frame(plain, 1514, 2);
        for (unsigned i = 0; i < 9; i++) {
            int n = taken(&b, got + at);
            assert_int_equal(n, i == 0 ? 11 : i < 8 ? 200 : 1526 - 11 - 7 * 200);
            at += (uint32_t)n;
        }
        expect_nothing();
        assert_int_equal(got[10] | got[11] << 8, 9);
        assert_memory_equal(got + HEADER_SIZE, frame, 1514);
        send_frame(plain, 1514, 1); /* one is left, which does not do */
        expect_nothing();
        assert_int_equal(dropped(1, NET_DROP_FULL), 2 * packed + 1);
        send_frame(plain, 100, 1); /* it says when there are more */
        expect_nothing();
        assert_int_equal(dropped(1, NET_DROP_FULL), 2 * packed + 2);
        refill(&b, 1, 100, false);
        send_frame(plain, 250, 1);
        assert_int_equal(taken(&b, got), 200);
        assert_int_equal(taken(&b, got), 62);
        expect_nothing();
    }
}

static void test_no_buffers(void **state)
{
    start(&a, EVENT_INDEX);
    start(&b, EVENT_INDEX);
    send_frame(plain, 100, 1);
    assert_int_equal(dropped(1, NET_DROP_FULL), 1);
    for (unsigned i = 0; i < 20; i++) /* it costs the sender nothing */
        send_frame(plain, 100, 1);
    assert_int_equal(dropped(1, NET_DROP_FULL), 21);
    refill(&b, 1, 50, false); /* too small for that one: it stays */
    send_frame(plain, 100, 1);
    send_frame(plain, 38, 1);
    expect_plain(38);
    refill(&b, 2, 200, false);
    send_frame(plain, 100, 1);
    expect_plain(100);
    assert_true(interrupted(&b));
    assert_int_equal(net_lan.port[1]->counts.received, 2);
    out(&b, 0x14, 1, 0);
    send_frame(plain, 100, 1);
    assert_int_equal(dropped(1, NET_DROP_CLOSED), 1);
    assert_false(interrupted(&b));
}

static void test_checksum(void **state)
{
    uint8_t header[HEADER_SIZE] = {1, [6] = 34, [8] = 16, [10] = 1};
    uint32_t sum = 0;

    start(&a, CSUM);
    start(&b, GUEST_CSUM);
    refill(&b, 2, 1526, false);
    send_frame(header, 200, 2);
    assert_int_equal(taken(&b, got), 212);
    assert_memory_equal(got, header, HEADER_SIZE);
    assert_memory_equal(got + HEADER_SIZE, frame, 200);
    start(&b, 0);
    refill(&b, 2, 1526, false);
    send_frame(header, 200, 2);
    assert_int_equal(taken(&b, got), 212);
    assert_int_equal(got[0], 0);
    for (unsigned i = 34; i < 200; i += 2)
        sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    assert_int_equal(got[HEADER_SIZE + 50] << 8 | got[HEADER_SIZE + 51],
                     ~((sum & 0xffff) + (sum >> 16)) & 0xffff);
    start(&a, 0); /* who has not agreed on it means nothing by it */
    send_frame(header, 200, 2);
    expect_plain(200);
    start(&a, CSUM);
    header[8] = 199 - 34;
    send_frame(header, 200, 1);
    header[6] = header[7] = header[8] = header[9] = 0xff;
    send_frame(header, 200, 1);
    expect_nothing();
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 2);
}

static void make_tcp(uint32_t length)
{
    frame[12] = 8;
    frame[13] = 0;
    frame[14] = 0x45;
    frame[16] = (uint8_t)((length - 14) >> 8);
    frame[17] = (uint8_t)(length - 14);
    frame[23] = 6;
    frame[46] = 0x50;
}

static void test_segments(void **state)
{
    uint8_t header[HEADER_SIZE] = {1, 1, 99, 0, 0xe8, 3, 34, 0, 16, 0, 1};

    make_tcp(3554);
    start(&a, CSUM | HOST_TSO4 | INDIRECT);
    start(&b, GUEST_CSUM | GUEST_TSO4);
    refill(&b, 1, 0xff0, false);
    send_frame(header, 3554, 3);
    assert_int_equal(taken(&b, got), 3566);
    header[2] = 54; /* how long the headers are, they say themselves */
    assert_memory_equal(got, header, HEADER_SIZE);
    assert_memory_equal(got + HEADER_SIZE, frame, 3554);
    start(&b, 0);
    for (unsigned i = 0; i < 2; i++) {
        refill(&b, 1, 1600, false);
        send_frame(header, 3554, 3); /* as many as there is room for */
        assert_int_equal(taken(&b, got), HEADER_SIZE + 54 + 1000);
        assert_int_equal(got[0] | got[1], 0);
        assert_memory_equal(got + HEADER_SIZE + 54, frame + 54, 1000);
    }
    header[1] = 3; /* UDP */
    send_frame(header, 3554, 1);
    header[1] = 1;
    header[5] = 8; /* longer than the MTU */
    send_frame(header, 3554, 1);
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 1);
    assert_int_equal(dropped(0, NET_DROP_LONG), 1);
    start(&a, CSUM | INDIRECT);
    header[5] = 3;
    send_frame(header, 3554, 1);
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 2);
}

/* UDP is handed on as it is where the receiver has agreed on it, of that IP; else it is cut. */
static void test_datagrams(void **state)
{
    uint8_t header[HEADER_SIZE] = {1, 5, 42, 0, 0xe8, 3, 34, 0, 6, 0, 1};

    make_tcp(3542);
    frame[23] = 17;
    start(&a, CSUM | HOST_USO | INDIRECT);
    start(&b, GUEST_CSUM | GUEST_USO4);
    refill(&b, 1, 0xff0, false);
    header[2] = 99;
    send_frame(header, 3542, 3);
    assert_int_equal(taken(&b, got), HEADER_SIZE + 3542);
    header[2] = 42;
    assert_memory_equal(got, header, HEADER_SIZE);
    assert_memory_equal(got + HEADER_SIZE, frame, 3542);
    for (unsigned i = 0; i < 3; i++) {
        start(&b, i == 0 ? GUEST_CSUM | GUEST_USO6 | GUEST_TSO4 : i == 1 ? GUEST_USO4 : 0);
        refill(&b, 2, 1600, false);
        send_frame(header, 3542, 3); /* as many as there is room for */
        for (unsigned j = 0; j < 2; j++) {
            assert_int_equal(taken(&b, got), HEADER_SIZE + 42 + 1000);
            assert_int_equal(got[0], i == 0);
            assert_int_equal(got[1], 0);
            assert_memory_equal(got + HEADER_SIZE + 42, frame + 42 + 1000 * j, 1000);
        }
    }
    header[1] = 0x85; /* there is no such thing as ECN of it */
    send_frame(header, 3542, 1);
    header[1] = 5;
    header[8] = 16;
    send_frame(header, 3542, 1);
    header[8] = 6;
    frame[23] = 6;
    send_frame(header, 3542, 1);
    frame[23] = 17;
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 3);
    header[5] = 8; /* longer than the MTU */
    send_frame(header, 3542, 1);
    assert_int_equal(dropped(0, NET_DROP_LONG), 1);
    header[5] = 3;
    start(&a, CSUM | HOST_TSO4 | INDIRECT); /* not agreed on */
    send_frame(header, 3542, 1);
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 4);
}

/* --- the control queue --- */

/* b asks: the answer, or -1. */
static int ask(uint8_t class, uint8_t command, const void *data, uint32_t size)
{
    const struct driver_segment s[3] = {
        {REQUEST, 2, false}, {REQUEST + 2, size, false}, {REQUEST + 0xff0, 1, true}};
    uint32_t written;

    b.board.memory[REQUEST] = class;
    b.board.memory[REQUEST + 1] = command;
    memcpy(b.board.memory + REQUEST + 2, data, size);
    b.board.memory[REQUEST + 0xff0] = 0xee;
    int id = driver_offer(&b.queue[2], s, 3, true);
    kick(&b, 2);
    if (driver_take(&b.queue[2], &written) != id)
        return -1;
    assert_int_equal(written, 1);
    return b.board.memory[REQUEST + 0xff0];
}

/* What is left to the driver it may say anew at any time. */
static void test_offloads(void **state)
{
    const uint8_t header[HEADER_SIZE] = {1, 0, [6] = 20, [8] = 6};
    uint64_t none = 0, sum = GUEST_CSUM, more = GUEST_CSUM | GUEST_TSO4;
    uint32_t half = 0;

    start(&a, CSUM | INDIRECT);
    start(&b, INDIRECT | CTRL_VQ | CTRL_OFFLOADS | GUEST_CSUM);
    frame_to(&a, frame, b.what.mac, 100);
    for (unsigned i = 0; i < 3; i++) {
        refill(&b, 1, 200, false);
        send_frame(header, 100, 1);
        assert_int_equal(taken(&b, got), HEADER_SIZE + 100);
        assert_int_equal(got[0], i != 1); /* whether a checksum is still to be computed */
        assert_int_equal(ask(5, 0, i ? &sum : &none, 8), 0);
    }
    assert_int_equal(ask(5, 0, &more, 8), 1); /* it has not agreed on that */
    more = GUEST_CSUM | GUEST_USO6;
    assert_int_equal(ask(5, 0, &more, 8), 1);
    assert_int_equal(ask(5, 1, &sum, 8), 1);
    assert_int_equal(ask(5, 0, &half, 4), 1);
    assert_int_equal(ask(5, 0, &none, 8), 0);
    start(&b, INDIRECT | CTRL_VQ | GUEST_CSUM); /* begins with all of them */
    assert_int_equal(ask(5, 0, &none, 8), 1);
    refill(&b, 1, 200, false);
    send_frame(header, 100, 1);
    assert_int_equal(taken(&b, got), HEADER_SIZE + 100);
    assert_int_equal(got[0], 1);
}

static bool hears(const uint8_t *to, unsigned vid)
{
    int n;

    frame_to(&a, frame, to, 100);
    if (vid) {
        frame[12] = 0x81;
        frame[13] = 0;
        frame[14] = (uint8_t)(vid >> 8);
        frame[15] = (uint8_t)vid;
    }
    refill(&b, 1, 200, false);
    send_frame(plain, 100, 1);
    n = taken(&b, got);
    if (n < 0) /* take the buffer back by having it filled */
        start(&b, INDIRECT | CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_EXTRA);
    return n > 0;
}

static void test_filter(void **state)
{
    static const uint8_t everybody[NET_MAC] = {255, 255, 255, 255, 255, 255};
    static const uint8_t group[NET_MAC] = {1, 0, 0x5e, 0, 0, 5};
    uint8_t on = 1, off = 0, tables[8 + 2 * NET_MAC] = {1, 0, 0, 0, 2, 9, 9, 9, 9, 9, 1};
    uint64_t features = INDIRECT | CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_EXTRA;
    uint16_t vid = 5;

    memcpy(tables + 14, group, NET_MAC);
    start(&a, 0);
    start(&b, features);
    assert_true(hears(everybody, 0) && hears(group, 0) && hears(b.what.mac, 0)); /* all, at first */
    assert_int_equal(ask(0, 0, &off, 1), 0);
    assert_true(hears(everybody, 0) && hears(b.what.mac, 0));
    assert_false(hears(group, 0));
    assert_int_equal(dropped(1, NET_DROP_FILTERED), 1);
    ask(0, 0, &off, 1);
    assert_int_equal(ask(0, 1, &on, 1), 0); /* ALLMULTI */
    assert_true(hears(group, 0));
    assert_int_equal(ask(0, 1, &off, 1), 0);
    assert_int_equal(ask(1, 0, tables, sizeof(tables)), 0);
    assert_true(hears(group, 0));
    assert_int_equal(ask(1, 0, tables, 9), 1); /* cut short: nothing changes */
    assert_true(hears(group, 0));
    memset(tables, 0, sizeof(tables));
    assert_int_equal(ask(1, 0, tables, 8), 0);
    assert_false(hears(group, 0));
    ask(0, 0, &off, 1);
    assert_false(hears(b.what.mac, 5));
    ask(0, 0, &off, 1);
    assert_int_equal(ask(2, 0, &vid, 2), 0);
    assert_true(hears(b.what.mac, 5));
    assert_int_equal(ask(2, 1, &vid, 2), 0);
    assert_false(hears(b.what.mac, 5));
    ask(0, 0, &off, 1);
    assert_int_equal(ask(0, 5, &on, 1), 0); /* NOBCAST */
    assert_false(hears(everybody, 0));
    ask(0, 0, &off, 1);
    assert_int_equal(ask(0, 4, &on, 1), 0); /* NOUNI */
    assert_false(hears(b.what.mac, 0));
    vid = 4096;
    assert_int_equal(ask(2, 0, &vid, 2), 1);
    assert_int_equal(ask(0, 6, &on, 1), 1);
    assert_int_equal(ask(4, 0, &vid, 2), 1);
    assert_int_equal(ask(1, 1, everybody, 6), 1);
    start(&b, INDIRECT | CTRL_VQ);
    assert_int_equal(ask(0, 0, &off, 1), 1); /* not agreed on */
}

static void test_many_addresses(void **state)
{
    static uint8_t tables[8 + 100 * NET_MAC];
    uint8_t off = 0, group[NET_MAC] = {1, 0, 0x5e, 0, 0, 5};

    start(&a, 0);
    start(&b, INDIRECT | CTRL_VQ | CTRL_RX);
    ask(0, 0, &off, 1);
    tables[4] = 100;
    assert_int_equal(ask(1, 0, tables, sizeof(tables)), 0);
    assert_true(hears(group, 0));
    memset(tables, 0xff, 8);
    assert_int_equal(ask(1, 0, tables, sizeof(tables)), 1);
}

static void test_own_address(void **state)
{
    uint8_t other[NET_MAC] = {2, 0, 0, 0, 0, 77};

    start(&b, INDIRECT | CTRL_VQ | CTRL_MAC);
    assert_int_equal(ask(1, 1, other, 6), 1); /* it may send from its own alone */
    assert_int_equal(ask(1, 1, b.what.mac, 6), 0);
    net_guest_end(&b);
    assert_int_equal(net_guest_init(&b, 2, (struct net_port_setup){.any_mac = true}), 0);
    start(&b, INDIRECT | CTRL_VQ | CTRL_MAC);
    assert_int_equal(ask(1, 1, other, 6), 0);
    assert_int_equal(in(&b, 0x2005, 1), 77);
    assert_true(mock_round_trip(&b.board));
    assert_int_equal(in(&b, 0x2005, 1), 77);
    start(&b, 0);
    assert_int_equal(in(&b, 0x2005, 1), 2); /* after a reset it is what it was */
}

static void test_cable(void **state)
{
    uint8_t none = 0;

    start(&a, 0);
    start(&b, INDIRECT | CTRL_VQ | ANNOUNCE);
    refill(&b, 2, 200, false);
    virtio_net_plug(card(&b), false);
    assert_int_equal(in(&b, 0x1000, 1), 2);
    assert_int_equal(in(&b, 0x2006, 2), 0);
    send_frame(plain, 100, 1);
    expect_nothing();
    virtio_net_plug(card(&b), true);
    virtio_net_plug(card(&b), true);
    assert_int_equal(in(&b, 0x1000, 1), 2);
    assert_int_equal(in(&b, 0x2006, 2), 3);
    assert_int_equal(ask(3, 0, &none, 0), 0);
    assert_int_equal(in(&b, 0x2006, 2), 1);
    send_frame(plain, 100, 1);
    expect_plain(100);
}

/* What is loaded knows of a cable that was in, or out. */
static void test_cable_since(void **state)
{
    static uint8_t data[65536];

    start(&b, INDIRECT | CTRL_VQ);
    for (unsigned in_then = 0; in_then < 2; in_then++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        virtio_net_plug(card(&b), in_then);
        (void)in(&b, 0x1000, 1);
        bus_save(&b.board.bus, &w);
        virtio_net_plug(card(&b), !in_then);
        (void)in(&b, 0x1000, 1);
        bus_reset(&b.board.bus);
        r.size = w.used;
        assert_int_equal(bus_load(&b.board.bus, &r), 0);
        assert_int_equal(in(&b, 0x2006, 2), in_then);
        assert_int_equal(in(&b, 0x1000, 1), 0);
        mock_ticks(&b.board, 1);
        assert_int_equal(in(&b, 0x1000, 1), 2);
        assert_int_equal(in(&b, 0x2006, 2), !in_then);
        mock_ticks(&b.board, 1000);
        assert_int_equal(in(&b, 0x1000, 1), 0);
    }
    virtio_net_plug(card(&b), true);
}

/* "Virtqueue Reset": one queue is as it was before it was set up, and the others go on. */
static void test_queue_reset(void **state)
{
    struct guest *g = &b;

    start(&a, 0);
    start(&b, RING_RESET | INDIRECT | CTRL_VQ | CTRL_RX);
    for (unsigned i = 0; i < 3; i++) {
        uint8_t off = 0;

        refill(&b, 1, 200, false);
        send_frame(plain, 100, 1);
        expect_plain(100);
        out(g, 0x16, 2, i);
        out(g, 0x1a, 2, 1);
        out(g, 0x3a, 2, 0);
        out(g, 0x3a, 2, 2);
        assert_int_equal(in(g, 0x1c, 2), 1);
        out(g, 0x3a, 2, 1);
        assert_int_equal(in(g, 0x3a, 2), 0);
        assert_int_equal(in(g, 0x1c, 2), 0);
        assert_int_equal(in(g, 0x18, 2), 128);
        assert_int_equal(in(g, 0x1a, 2), 0xffff);
        assert_int_equal(in(g, 0x20, 8) | in(g, 0x28, 8) | in(g, 0x30, 8), 0);
        kick(g, i);
        assert_int_equal(in(g, 0x14, 1), 0xf);
        send_frame(plain, 100, 1);
        assert_int_equal(dropped(1, i ? NET_DROP_FULL : NET_DROP_CLOSED), i ? i : 1);
        assert_int_equal(ask(0, 0, &off, 1), i < 2 ? 0 : -1);
        assert_true(mock_round_trip(&b.board));
        mock_ticks(&b.board, 1);
        start_queue(g, i, false);
    }
    refill(&b, 1, 200, false);
    send_frame(plain, 100, 1);
    expect_plain(100);
    start(&b, 0); /* not agreed on */
    out(g, 0x3a, 2, 1);
    assert_int_equal(in(g, 0x1c, 2), 1);
    assert_int_equal(in(g, 0x3a, 2), 0);
}

/* --- limits, locks, state --- */

static void test_rate(void **state)
{
    uint32_t written;

    teardown(NULL);
    assert_int_equal(setup_with((struct net_port_setup){.rate = 1000000}), 0); /* a byte a tick */
    start(&a, 0);
    start(&b, 0);
    while (net_lan.port[0]->counts.sent_bytes <= NET_BURST)
        send_frame(plain, 1000, 1);
    int id = offer(&a, plain, frame, 1000, 1);
    kick(&a, 1);
    assert_int_equal(driver_take(&a.queue[1], &written), -1);
    mock_ticks(&a.board, 10);
    assert_int_equal(driver_take(&a.queue[1], &written), -1);
    net_now += 1000;
    mock_ticks(&a.board, 1000);
    assert_int_equal(driver_take(&a.queue[1], &written), id);
}

/* However much there is, an exit ends; the timer goes on. */
static void test_at_once(void **state)
{
    unsigned back = 0, more;
    uint32_t written;

    start(&a, 0);
    start(&b, 0);
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned n = 0; n < 16; n++)
            assert_true(offer(&a, plain, frame, 60, 1) >= 0);
        kick(&a, 1);
        for (more = 0; driver_take(&a.queue[1], &written) >= 0; more++)
            ;
        assert_int_equal(more, i < 4 ? 16 : 0);
        back += more;
        if (i == 4)
            break;
    }
    mock_ticks(&a.board, 1);
    for (more = 0; driver_take(&a.queue[1], &written) >= 0; more++)
        ;
    assert_int_equal(back + more, 80);
}

/* A sender waits for nobody who runs the receiver; who does is told soon. */
static void test_busy_receiver(void **state)
{
    start(&a, 0);
    start(&b, 0);
    refill(&b, 1, 200, false);
    device_lock(card(&b));
    send_frame(plain, 100, 1);
    device_unlock(card(&b));
    expect_plain(100);
    assert_false(interrupted(&b));
    mock_ticks(&b.board, 1);
    assert_true(interrupted(&b));
    start(&b, RING_RESET); /* of a queue that is reset meanwhile nothing is told */
    refill(&b, 1, 200, false);
    device_lock(card(&b));
    send_frame(plain, 100, 1);
    device_unlock(card(&b));
    expect_plain(100);
    out(&b, 0x16, 2, 0);
    out(&b, 0x3a, 2, 1);
    mock_ticks(&b.board, 1);
    assert_false(interrupted(&b));
}

/* Saved and loaded in the middle, of both, with frames before, meanwhile and after. */
static void test_state(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(&a, packed ? PACKED_RING : 0);
        start(&b, packed ? PACKED_RING : 0);
        refill(&b, 8, 200, false);
        for (unsigned i = 0; i < 5; i++) {
            send_frame(plain, 100, 1);
            assert_true(mock_round_trip(&b.board) && mock_round_trip(&a.board));
            send_frame(plain, 100, 1); /* no interrupt could be told of it yet */
            assert_int_equal(dropped(1, NET_DROP_CLOSED), 6 * packed + i + 1);
            mock_ticks(&b.board, 1);
        }
        while (!bus_idle(&b.board.bus, false))
            ;
        send_frame(plain, 100, 1); /* nothing is written while the state is being saved */
        assert_int_equal(dropped(1, NET_DROP_CLOSED), 6 * packed + 6);
        mock_ticks(&b.board, 1);
        send_frame(plain, 100, 1);
        for (unsigned i = 0; i < 6; i++)
            expect_plain(100);
        expect_nothing();
    }
}

/* --- what no driver means --- */

static void test_lies(void **state)
{
    const struct driver_segment little = {OUT, HEADER_SIZE - 1, false};
    const struct driver_segment readable[2] = {{BUFFERS, 10, false}, {BUFFERS, 1000, true}};
    const struct driver_segment nowhere[2] = {{OUT, 20, false}, {MOCK_MEMORY - 20, 400, false}};
    const struct driver_segment unwritable = {MOCK_MEMORY - 20, 400, true};
    const struct driver_segment silent = {REQUEST, 2, false};
    const struct driver_segment huge[5] = {{OUT, 0x4000, false},
                                           {OUT, 0x4000, false},
                                           {OUT, 0x4000, false},
                                           {OUT, 0x4000, false},
                                           {OUT, 0x1000, false}};
    uint32_t written;

    start(&a, 0);
    start(&b, 0);
    refill(&b, 4, 200, false);
    send_frame(plain, 0, 1);
    send_frame(plain, 13, 1);
    assert_int_equal(dropped(0, NET_DROP_SHORT), 2);
    assert_true(driver_offer(&a.queue[1], huge, 5, false) >= 0);
    kick(&a, 1);
    assert_true(driver_take(&a.queue[1], &written) >= 0);
    assert_int_equal(dropped(0, NET_DROP_LONG), 1);
    assert_true(driver_offer(&a.queue[1], nowhere, 2, false) >= 0);
    kick(&a, 1);
    assert_true(driver_take(&a.queue[1], &written) >= 0);
    assert_int_equal(dropped(0, NET_DROP_MALFORMED), 1);
    assert_int_equal(a.board.pins, 0);
    assert_true(driver_offer(&a.queue[1], &little, 1, false) >= 0);
    kick(&a, 1);
    assert_int_equal(in(&a, 0x14, 1), 0x4f);
    expect_nothing();
    assert_int_equal(in(&b, 0x14, 1), 0xf);
    for (unsigned i = 0; i < 2; i++) { /* buffers that are none are their owner's trouble */
        start(&a, 0);
        start(&b, 0);
        assert_true(driver_offer(&b.queue[0], i ? &unwritable : readable, i ? 1 : 2, false) >= 0);
        kick(&b, 0);
        send_frame(plain, 100, 1);
        assert_int_equal(dropped(1, NET_DROP_BROKEN), i + 1);
        assert_int_equal(in(&b, 0x14, 1), 0x4f);
        assert_int_equal(in(&a, 0x14, 1), 0xf);
    }
    start(&b, CTRL_VQ);
    assert_true(driver_offer(&b.queue[2], &silent, 1, false) >= 0);
    kick(&b, 2);
    assert_int_equal(in(&b, 0x14, 1), 0x4f);
}

static void test_where_it_starts_from(void **state)
{
    expect_boots(&a.devices, &virtio_net_class, DEVICE_BOOT_NET, 0,
                 "/pci@i0cf8/ethernet@1/ethernet-phy@0");
    expect_boots(&a.devices, &virtio_net_class, DEVICE_BOOT_NET, 1, NULL);
    expect_boots(&a.devices, &virtio_net_class, DEVICE_BOOT_DISK, 0, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_where_it_starts_from, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_buffers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checksum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_datagrams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offloads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_filter, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_own_address, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_reset, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cable_since, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_busy_receiver, setup, teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lies, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
