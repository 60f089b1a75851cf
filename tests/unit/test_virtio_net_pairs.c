/* links: guest/devices/virtio/net.c guest/devices/virtio/net_pairs.c guest/net/flow.c guest/devices/network.c guest/devices/virtio/net_receive.c guest/devices/virtio/net_control.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-net with several pairs of queues. Another processor of the guest's is whoever watches the
 * switch: he is called in the middle of sending. */
#include "tests/unit/net_pairs_guest.h"

static struct pairs_guest a, b;
static uint8_t frame[256], got[256];

static int setup_with(struct net_port_setup what)
{
    what.pairs = PAIRS;
    net_now = 1000000;
    net_lan = (struct net_switch){.name = "lan", .mtu = 1500, .now = net_clock, .hz = 1000000};
    net_switch_init(&net_lan, 1);
    if (net_guest_init(&a.guest, 1, what) < 0 || net_guest_init(&b.guest, 2, what) < 0)
        return -1;
    return 0;
}

static int setup(void **state)
{
    return setup_with((struct net_port_setup){0});
}

static int teardown(void **state)
{
    bool good = mock_round_trip(&a.guest.board) && mock_round_trip(&b.guest.board);

    good = good && a.guest.board.pins == 0 && b.guest.board.pins == 0;
    net_guest_end(&a.guest);
    net_guest_end(&b.guest);
    net_switch_destroy(&net_lan);
    return good ? 0 : -1;
}

static uint64_t dropped(unsigned port, enum net_drop why)
{
    struct net_port_view view;

    assert_int_equal(net_switch_look(&net_lan, port, &view), 1);
    return view.counts.dropped[why];
}

static void start_both(uint64_t features)
{
    pairs_start(&a, MQ | CTRL_VQ | RING_RESET | features, QUEUES);
    pairs_start(&b, MQ | CTRL_VQ | RING_RESET | features, QUEUES);
}

static void use_all(void)
{
    assert_int_equal(pairs_use(&a, PAIRS), 0);
    assert_int_equal(pairs_use(&b, PAIRS), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        pairs_refill(&a, i, DRIVER_SIZE);
        pairs_refill(&b, i, DRIVER_SIZE);
    }
}

/* Sends the frame by that pair; it comes back. */
static void send_by(struct pairs_guest *from, unsigned pair)
{
    assert_true(pairs_offer(from, pair, frame, 60) >= 0);
    kick(&from->guest, 2 * pair + 1);
    mock_ticks(&from->guest.board, 1); /* enough may have been sent for one exit */
    assert_int_equal(pairs_back(from, pair), 1);
}

/* By which pair the frame has come; -1: by none. */
static int heard_by(struct pairs_guest *by)
{
    int pair = -1;

    for (unsigned i = 0; i < PAIRS; i++) {
        int n = pairs_taken(by, i, got);

        if (n < 0)
            continue;
        assert_int_equal(pair, -1);
        assert_int_equal(n, 60);
        assert_memory_equal(got, frame, 60);
        pair = (int)i;
        pairs_refill(by, i, 1);
    }
    return pair;
}

static void test_what_is_seen(void **state)
{
    struct guest *g = &a.guest;

    out(g, 0, 4, 0);
    assert_int_equal(in(g, 4, 4) >> 22 & 1, 1);
    assert_int_equal(in(g, 0x12, 2), QUEUES);
    assert_int_equal(in(g, 0x2008, 2), PAIRS);
    out(g, 0x16, 2, QUEUES - 1);
    assert_int_equal(in(g, 0x18, 2), 128);
    out(g, 0x16, 2, QUEUES);
    assert_int_equal(in(g, 0x18, 2), 0);
}

/* At first, and where the driver knows of no more, there is one pair. */
static void test_one_is_used(void **state)
{
    uint16_t pairs = 2;

    for (unsigned mq = 0; mq < 2; mq++) {
        uint64_t features = CTRL_VQ | (mq ? MQ : 0);

        pairs_start(&a, features, mq ? QUEUES : 3);
        pairs_start(&b, features, mq ? QUEUES : 3);
        for (unsigned i = 0; i < (mq ? PAIRS : 1); i++)
            pairs_refill(&b, i, DRIVER_SIZE);
        for (uint16_t port = 1; port < 40; port++) {
            pairs_udp(frame, 1, port, 2, 7);
            send_by(&a, 0);
            assert_int_equal(pairs_taken(&b, 0, got), 60);
            pairs_refill(&b, 0, 1);
        }
        if (!mq)
            assert_int_equal(pairs_ask(&b, 2, 4, 0, &pairs, 2), 1);
    }
    assert_int_equal(pairs_taken(&b, 1, got), -1);
    assert_int_equal(pairs_taken(&b, 2, got), -1);
}

static void test_how_many(void **state)
{
    uint16_t two = 2;

    start_both(0);
    assert_int_equal(pairs_use(&a, 0), 1);
    assert_int_equal(pairs_use(&a, PAIRS + 1), 1);
    assert_int_equal(pairs_use(&a, 0x101), 1);
    assert_int_equal(pairs_ask(&a, QUEUES - 1, 4, 0, &two, 1), 1);
    assert_int_equal(pairs_ask(&a, QUEUES - 1, 4, 1, &two, 2), 1);
    for (uint16_t i = 1; i <= PAIRS; i++)
        assert_int_equal(pairs_use(&a, i), 0);
}

/* By whichever pair a flow is sent last, what comes of it comes by that one. */
static void test_steering(void **state)
{
    unsigned spread[PAIRS] = {0};

    for (unsigned packed = 0; packed < 2; packed++) {
        start_both(packed ? PACKED_RING : 0);
        use_all();
        for (uint16_t port = 1; port < 100; port++) {
            unsigned pair = port % PAIRS;
            int first;

            pairs_udp(frame, 1, port, 2, 7);
            send_by(&a, pair);
            first = heard_by(&b); /* of which nobody has sent anything: always the same one */
            assert_true(first >= 0);
            spread[first]++;
            send_by(&a, (pair + 1) % PAIRS);
            assert_int_equal(heard_by(&b), first);
            for (unsigned by = 0; by < PAIRS; by++) {
                pairs_udp(frame, 2, 7, 1, port);
                send_by(&b, by);
                assert_int_equal(heard_by(&a), (pair + 1) % PAIRS);
                pairs_udp(frame, 1, port, 2, 7);
                send_by(&a, (pair + 1) % PAIRS);
                assert_int_equal(heard_by(&b), by);
            }
        }
    }
    for (unsigned i = 0; i < PAIRS; i++)
        assert_true(spread[i] > 20);
}

/* Of pairs that are not used any more nothing is left. */
static void test_fewer(void **state)
{
    start_both(0);
    use_all();
    pairs_udp(frame, 2, 7, 1, 8);
    send_by(&b, 2);
    assert_true(heard_by(&a) >= 0);
    pairs_udp(frame, 1, 8, 2, 7);
    send_by(&a, 1);
    assert_int_equal(heard_by(&b), 2);
    assert_int_equal(pairs_use(&b, 2), 0);
    send_by(&a, 1);
    assert_int_in_range(heard_by(&b), 0, 1);
    assert_int_equal(pairs_use(&b, 1), 0);
    send_by(&a, 1);
    assert_int_equal(heard_by(&b), 0);
    assert_int_equal(pairs_use(&b, 3), 0);
    send_by(&a, 1);
    assert_int_equal(heard_by(&b), 2);
}

/* A reset forgets who has sent what. */
static void test_forgotten(void **state)
{
    uint16_t port = 0;

    start_both(0);
    use_all();
    do { /* one that comes by the first, as long as nothing is known of it */
        pairs_udp(frame, 1, ++port, 2, 7);
        send_by(&a, 0);
    } while (heard_by(&b) != 0);
    pairs_udp(frame, 2, 7, 1, port);
    send_by(&b, 2);
    assert_true(heard_by(&a) >= 0);
    pairs_udp(frame, 1, port, 2, 7);
    send_by(&a, 0);
    assert_int_equal(heard_by(&b), 2);
    start_both(0);
    use_all();
    send_by(&a, 0);
    assert_int_equal(heard_by(&b), 0);
}

/* A queue without a driver's word, or without buffers, takes nothing, and costs others nothing. */
static void test_no_buffers(void **state)
{
    start_both(0);
    assert_int_equal(pairs_use(&b, PAIRS), 0);
    pairs_refill(&b, 0, 2);
    pairs_udp(frame, 2, 7, 1, 8);
    assert_true(pairs_offer(&b, 1, frame, 60) >= 0);
    kick(&b.guest, 3);
    pairs_udp(frame, 1, 8, 2, 7);
    for (unsigned i = 0; i < 3; i++)
        send_by(&a, 2);
    assert_int_equal(dropped(1, NET_DROP_FULL), 3);
    pairs_refill(&b, 1, 1);
    send_by(&a, 2);
    assert_int_equal(heard_by(&b), 1); /* which refills one */
    send_by(&a, 2);
    send_by(&a, 2);
    assert_int_equal(dropped(1, NET_DROP_FULL), 4);
    pairs_udp(frame, 2, 7, 1, 8);
    assert_true(pairs_offer(&b, 0, frame, 60) >= 0);
    kick(&b.guest, 1);
    pairs_udp(frame, 1, 8, 2, 7);
    assert_int_equal(pairs_taken(&b, 1, got), 60);
    send_by(&a, 0);
    assert_int_equal(pairs_taken(&b, 0, got), 60);
}

/* As many frames of 56 KiB as there is room for, all of them the same memory. */
static void offer_big(unsigned pair)
{
    uint64_t at = PAIR_PAGE(2 * pair + 1);
    const struct driver_segment s[2] = {{at, HEADER_SIZE + 54, false}, {0, 0xe000, false}};
    const uint8_t header[HEADER_SIZE] = {1, 1, [4] = 0xe8, [5] = 3, [6] = 34, [8] = 16};
    uint8_t *head = a.guest.board.memory + at + HEADER_SIZE;

    memcpy(a.guest.board.memory + at, header, HEADER_SIZE);
    pairs_udp(frame, 1, 8, 2, 7);
    memcpy(head, frame, 54);
    head[23] = 6;
    head[46] = 0x50;
    for (unsigned i = 0; i < DRIVER_SIZE / 2; i++)
        assert_true(driver_offer(&a.queue[2 * pair + 1], s, 2, false) >= 0);
}

/* However much there is in one queue, an exit ends, and the others' go on; the timer takes one
 * queue at a time. */
static void test_at_once(void **state)
{
    start_both(CSUM | HOST_TSO4);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned pair = 0; pair < PAIRS; pair += 2) {
            offer_big(pair);
            kick(&a.guest, 2 * pair + 1);
            assert_int_equal(pairs_back(&a, pair), 5); /* 256 KiB, and what is begun */
            kick(&a.guest, 2 * pair + 1);
            assert_int_equal(pairs_back(&a, pair), 0);
        }
        for (unsigned pair = 0; pair < PAIRS; pair += 2) {
            bus_run_timers(&a.guest.board.bus, a.guest.board.now);
            assert_int_equal(pairs_back(&a, pair), 3);
            assert_int_equal(pairs_back(&a, PAIRS - 1 - pair), 0);
        }
        assert_int_equal(a.guest.board.bus.next_deadline, TIMER_OFF);
    }
}

/* What is limited is so for the card. */
static void test_rate(void **state)
{
    unsigned sent = 0;
    bool any = true;

    teardown(NULL);
    assert_int_equal(setup_with((struct net_port_setup){.rate = 1000000}), 0); /* a byte a tick */
    start_both(0);
    pairs_udp(frame, 1, 8, 2, 7);
    while (any) {
        any = false;
        for (unsigned pair = 0; pair < PAIRS; pair++) {
            unsigned back;

            while (pairs_offer(&a, pair, frame, 60) >= 0)
                ;
            kick(&a.guest, 2 * pair + 1);
            mock_ticks(&a.guest.board, 1);
            back = pairs_back(&a, pair);
            sent += back;
            any = any || back;
        }
    }
    assert_int_equal(sent, NET_BURST / 60 + 1);
    net_now += 600;
    mock_ticks(&a.guest.board, 600);
    for (unsigned pair = 0; pair < PAIRS; pair++)
        sent += pairs_back(&a, pair);
    assert_uint_in_range(sent, NET_BURST / 60 + 10, NET_BURST / 60 + 12);
}

static void test_storm(void **state)
{
    start_both(0);
    use_all();
    pairs_udp(frame, 1, 8, 2, 7);
    memset(frame, 0xff, NET_MAC);
    for (unsigned i = 0; i < 1200; i++)
        send_by(&a, i % PAIRS);
    assert_uint_in_range(dropped(0, NET_DROP_STORM), 190, 200);
    assert_int_equal(heard_by(&a), -1); /* by no pair of the sender's */
}

/* The counters, the cable and the way out are the port's. */
static void test_one_port(void **state)
{
    struct net_port_view view;
    uint8_t nobody[NET_MAC] = {2, 0, 0, 0, 0, 99};

    start_both(0);
    use_all();
    pairs_udp(frame, 1, 8, 2, 7);
    for (unsigned i = 0; i < PAIRS; i++) {
        send_by(&a, i);
        assert_true(heard_by(&b) >= 0);
    }
    assert_int_equal(net_switch_look(&net_lan, 0, &view), 1);
    assert_int_equal(view.counts.sent, PAIRS);
    assert_int_equal(view.counts.sent_bytes, PAIRS * 60);
    assert_int_equal(net_switch_look(&net_lan, 1, &view), 1);
    assert_int_equal(view.counts.received, PAIRS);
    memcpy(frame, a.guest.what.mac, NET_MAC); /* nothing goes back to where it came from */
    send_by(&a, 1);
    memcpy(frame, nobody, NET_MAC);
    send_by(&a, 1);
    assert_int_equal(dropped(0, NET_DROP_NOBODY), 2);
    net_guest_end(&b.guest); /* it comes back as one behind whom others may be */
    assert_int_equal(
        net_guest_init(&b.guest, 2, (struct net_port_setup){.any_mac = true, .pairs = PAIRS}), 0);
    pairs_start(&b, MQ | CTRL_VQ, QUEUES);
    pairs_refill(&b, 0, 4);
    send_by(&a, 2);
    assert_int_equal(heard_by(&b), 0);
    virtio_net_plug(card(&a.guest), false);
    for (unsigned i = 0; i < PAIRS; i++)
        send_by(&a, i);
    assert_int_equal(dropped(0, NET_DROP_UNPLUGGED), PAIRS);
    virtio_net_plug(card(&a.guest), true);
    virtio_net_plug(card(&b.guest), false);
    send_by(&a, 2);
    assert_int_equal(dropped(1, NET_DROP_CLOSED), 1);
    virtio_net_plug(card(&b.guest), true);
}

/* A sender waits for nobody who runs the receiver; who does is told soon. */
static void test_busy_receiver(void **state)
{
    struct guest *g = &b.guest;

    start_both(0);
    use_all();
    (void)in(g, 0x1000, 1);
    pairs_udp(frame, 1, 8, 2, 7);
    device_lock(card(g));
    send_by(&a, 1);
    device_unlock(card(g));
    assert_true(heard_by(&b) >= 0);
    assert_int_equal(in(g, 0x1000, 1), 0);
    mock_ticks(&g->board, 1);
    assert_int_equal(in(g, 0x1000, 1), 1);
    send_by(&a, 2);
    assert_int_equal(in(g, 0x1000, 1), 1);
    assert_int_equal(in(g, 0x1000, 1), 0);
    device_lock(card(g)); /* of a queue that is reset meanwhile nothing is told */
    send_by(&a, 1);
    device_unlock(card(g));
    int pair = heard_by(&b);
    assert_true(pair >= 0);
    out(g, 0x16, 2, 2 * (unsigned)pair);
    out(g, 0x3a, 2, 1);
    mock_ticks(&g->board, 1);
    assert_int_equal(in(g, 0x1000, 1), 0);
}

/* --- another processor, in the middle of sending --- */

static enum {
    OTHER_KICKS,
    OTHER_KICKS_ALWAYS,
    OTHER_RESETS,
    OTHER_RESETS_QUEUE,
    OTHER_ENDS_THAT
} other;
static unsigned others;

static void in_the_middle(const struct net_port *port, const struct net_frame *f, bool sent,
                          enum net_drop why)
{
    struct guest *g = &a.guest;

    if (!sent || memcmp(f->piece[0].data, frame, 60) != 0 || (others++ && other == OTHER_KICKS))
        return;
    switch (other) {
    case OTHER_KICKS: /* which has more, by two queues */
        assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
        kick(g, 1);
        assert_int_equal(pairs_back(&a, 0), 0); /* who is at it sends that, too */
        assert_true(pairs_offer(&a, 1, frame, 60) >= 0);
        kick(g, 3);
        assert_int_equal(pairs_back(&a, 1), 1);
        break;
    case OTHER_KICKS_ALWAYS:
        kick(g, 1);
        break;
    case OTHER_RESETS:
        if (others > 1)
            return;
        out(g, 0x14, 1, 0);
        assert_int_not_equal(in(g, 0x14, 1), 0); /* somebody sends yet */
        assert_false(bus_idle(&g->board.bus, false));
        break;
    case OTHER_RESETS_QUEUE:
        if (others > 1)
            return;
        out(g, 0x16, 2, 1);
        out(g, 0x3a, 2, 1);
        assert_int_equal(in(g, 0x3a, 2), 1); /* somebody sends yet */
        out(g, 0x1c, 2, 1);
        out(g, 0x20, 8, 0);
        assert_int_equal(in(g, 0x1c, 2), 0);
        kick(g, 1);
        break;
    case OTHER_ENDS_THAT: /* the receiver's driver is gone */
        out(&b.guest, 0x14, 1, 0);
        assert_int_equal(in(&b.guest, 0x14, 1), 0);
        break;
    }
}

static void with_other(unsigned what)
{
    start_both(0);
    use_all();
    pairs_udp(frame, 1, 8, 2, 7);
    (void)in(&a.guest, 0x1000, 1);
    others = 0;
    other = what;
    net_switch_watch(&net_lan, in_the_middle);
    assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
    assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
    kick(&a.guest, 1);
    net_switch_watch(&net_lan, NULL);
}

static void test_kicked_meanwhile(void **state)
{
    with_other(OTHER_KICKS);
    assert_int_equal(pairs_back(&a, 0), 3);
    with_other(OTHER_KICKS_ALWAYS);
    assert_int_equal(pairs_back(&a, 0), 2);
}

static enum net_drop ear_receive(void *owner, const struct net_frame *f)
{
    return NET_TAKEN;
}

/* Who sends has seen that there is no more. */
static void ear_received(void *owner)
{
    if (others++ > 0)
        return;
    assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
    kick(&a.guest, 1);
}

static void test_kicked_at_the_end(void **state)
{
    static const struct net_port_ops ops = {ear_receive, ear_received};
    const struct net_port_setup what = {.mac = {2, 0, 0, 0, 0, 9}, .ops = &ops};
    struct net_port *ear;

    assert_int_equal(net_port_attach(&net_lan, &what, &ear), 0);
    net_port_open(ear, 0);
    start_both(0);
    use_all();
    pairs_udp(frame, 1, 8, 9, 7);
    others = 0;
    assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
    kick(&a.guest, 1);
    assert_int_equal(pairs_back(&a, 0), 2);
    assert_int_equal(others, 2);
    net_port_detach(ear);
}

static void test_reset_meanwhile(void **state)
{
    struct guest *g = &a.guest;

    with_other(OTHER_RESETS);
    assert_int_equal(in(g, 0x14, 1), 0);
    assert_true(bus_idle(&g->board.bus, false));
    assert_int_equal(in(g, 0x1000, 1), 0);
    start_both(0);
    use_all();
    send_by(&a, 0);
    assert_true(heard_by(&b) >= 0);
}

static void pairs_queue(struct pairs_guest *p, unsigned i)
{
    struct guest *g = &p->guest;

    pairs_ring(p, i, false);
    out(g, 0x16, 2, i);
    out(g, 0x18, 2, DRIVER_SIZE);
    out(g, 0x20, 8, p->queue[i].descriptors);
    out(g, 0x28, 8, p->queue[i].driver);
    out(g, 0x30, 8, p->queue[i].device);
    out(g, 0x1c, 2, 1);
}

/* Of one queue, while it is sent from; and of one that buffers are in. */
static void test_queue_reset(void **state)
{
    struct guest *g = &a.guest;

    with_other(OTHER_RESETS_QUEUE);
    assert_int_equal(in(g, 0x1000, 1), 0); /* nothing is told of it any more */
    assert_int_equal(in(g, 0x3a, 2), 0);
    assert_int_equal(in(g, 0x1c, 2), 0);
    send_by(&a, 1);
    assert_true(heard_by(&b) >= 0);
    pairs_queue(&a, 1);
    while (pairs_taken(&b, 0, got) >= 0 || pairs_taken(&b, 1, got) >= 0 ||
           pairs_taken(&b, 2, got) >= 0)
        ;
    send_by(&a, 0);
    assert_true(heard_by(&b) >= 0);
    /* b's frames go by pair 2 to a, which resets that queue. */
    pairs_udp(frame, 1, 8, 2, 7);
    send_by(&a, 2);
    assert_true(heard_by(&b) >= 0);
    out(g, 0x16, 2, 4);
    out(g, 0x3a, 2, 1);
    assert_int_equal(in(g, 0x3a, 2), 0);
    pairs_udp(frame, 2, 7, 1, 8);
    send_by(&b, 0);
    mock_ticks(&g->board, 1);
    send_by(&b, 0);
    assert_int_equal(dropped(0, NET_DROP_CLOSED), 1);
    assert_int_equal(dropped(0, NET_DROP_FULL), 1);
    pairs_queue(&a, 4);
    pairs_refill(&a, 2, 4);
    send_by(&b, 0);
    assert_int_equal(heard_by(&a), 2);
}

static void test_receiver_gone_meanwhile(void **state)
{
    with_other(OTHER_ENDS_THAT);
    assert_int_equal(pairs_back(&a, 0), 2);
    assert_true(dropped(1, NET_DROP_CLOSED) > 0);
}

/* --- state --- */

static void test_state(void **state)
{
    for (unsigned i = 0; i < 12; i++) {
        if (i % 4 == 0) {
            start_both(i > 4 ? PACKED_RING : 0);
            use_all();
        }
        pairs_udp(frame, 2, 7, 1, 8);
        send_by(&b, i % PAIRS);
        assert_true(heard_by(&a) >= 0);
        assert_true(mock_round_trip(&b.guest.board) && mock_round_trip(&a.guest.board));
        pairs_udp(frame, 1, 8, 2, 7);
        send_by(&a, 1); /* no interrupt could be told of it yet */
        assert_int_equal(heard_by(&b), -1);
        mock_ticks(&b.guest.board, 1);
        mock_ticks(&a.guest.board, 1);
        send_by(&a, 1);
        assert_int_equal(heard_by(&b), i % PAIRS);
    }
    while (!bus_idle(&b.guest.board.bus, false))
        ;
    send_by(&a, 1);
    assert_int_equal(heard_by(&b), -1);
    mock_ticks(&b.guest.board, 1);
    send_by(&a, 1);
    assert_true(heard_by(&b) >= 0);
}

/* What waits is sent when its state is loaded. */
static void test_waiting_saved(void **state)
{
    start_both(CSUM | HOST_TSO4);
    offer_big(2);
    kick(&a.guest, 5);
    assert_int_equal(pairs_back(&a, 2), 5);
    assert_true(mock_round_trip(&a.guest.board));
    kick(&a.guest, 5);
    assert_int_equal(pairs_back(&a, 2), 0);
    mock_ticks(&a.guest.board, 1);
    assert_int_equal(pairs_back(&a, 2), 3);
}

/* Each field that may lie. From the end: flows, who waits, how many are used. */
static void test_bad_state(void **state)
{
    static uint8_t data[65536], bad[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct bus *bus = &a.guest.board.bus;

    start_both(0);
    assert_int_equal(pairs_use(&a, 2), 0);
    while (!bus_idle(bus, false))
        ;
    bus_save(bus, &w);
    for (unsigned i = 0; i < 8; i++) {
        struct state_reader r = {.data = bad, .size = w.used};
        size_t used = w.used - 512 - PAIRS - 2;

        memcpy(bad, data, w.used);
        if (i == 1)
            bad[w.used - 1] = PAIRS;
        if (i == 2)
            bad[w.used - 1] = PAIRS + 1;
        if (i == 3)
            bad[w.used - 512] = 0xff;
        if (i == 4)
            bad[used] = PAIRS;
        if (i == 5)
            bad[used] = PAIRS + 1;
        if (i == 6)
            bad[used] = 0;
        if (i == 7)
            bad[used + 1] = 1;
        while (!bus_idle(bus, true))
            ;
        bus_reset(bus);
        assert_int_equal(data[used], 2);
        assert_int_equal(bus_load(bus, &r), i == 0 || i == 1 || i == 4 ? 0 : -EBADMSG);
    }
    /* More than was agreed on: what would be the second pair's is the control queue. */
    pairs_start(&a, CTRL_VQ, 3);
    while (!bus_idle(bus, false))
        ;
    w.used = 0;
    bus_save(bus, &w);
    for (unsigned i = 0; i < 3; i++) {
        struct state_reader r = {.data = bad, .size = w.used};

        memcpy(bad, data, w.used);
        if (i == 1)
            bad[w.used - 512 - PAIRS - 2] = 2;
        if (i == 2)
            bad[w.used - 512 - PAIRS + 1] = 1;
        while (!bus_idle(bus, true))
            ;
        bus_reset(bus);
        assert_int_equal(bus_load(bus, &r), i == 0 ? 0 : -EBADMSG);
    }
    /* Of a card with another number of pairs, and of one with one. */
    for (uint8_t pairs = 0; pairs < 3; pairs += 2) {
        struct state_reader r = {.data = data, .size = w.used};

        net_guest_end(&a.guest);
        assert_int_equal(net_guest_init(&a.guest, 1, (struct net_port_setup){.pairs = pairs}), 0);
        assert_int_equal(bus_load(bus, &r), -EBADMSG);
        bus_reset(bus);
    }
}

/* --- what no driver means --- */

static void test_lies(void **state)
{
    const struct driver_segment little = {PAIR_PAGE(3), HEADER_SIZE - 1, false};
    const struct driver_segment unwritable = {MOCK_MEMORY - 20, 400, true};

    start_both(0);
    use_all();
    assert_true(driver_offer(&a.queue[3], &little, 1, false) >= 0);
    kick(&a.guest, 3);
    assert_int_equal(in(&a.guest, 0x14, 1), 0x4f);
    pairs_udp(frame, 1, 8, 2, 7);
    assert_true(pairs_offer(&a, 0, frame, 60) >= 0);
    kick(&a.guest, 1);
    assert_int_equal(pairs_back(&a, 0), 0);
    start_both(0);
    assert_int_equal(pairs_use(&b, PAIRS), 0);
    for (unsigned i = 0; i < PAIRS; i++) {
        assert_true(driver_offer(&b.queue[2 * i], &unwritable, 1, false) >= 0);
        kick(&b.guest, 2 * i);
    }
    pairs_udp(frame, 1, 8, 2, 7);
    send_by(&a, 0);
    assert_int_equal(dropped(1, NET_DROP_BROKEN), 1);
    assert_int_equal(in(&b.guest, 0x14, 1), 0x4f);
    assert_int_equal(in(&a.guest, 0x14, 1), 0xf);
    kick(&a.guest, QUEUES);           /* there is no such queue */
    pairs_start(&a, CTRL_VQ, QUEUES); /* queues that nothing is agreed on about */
    for (unsigned i = 0; i < QUEUES; i++)
        kick(&a.guest, i);
    assert_int_equal(in(&a.guest, 0x14, 1), 0xf);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_seen),
        TEST(test_one_is_used),
        TEST(test_how_many),
        TEST(test_steering),
        TEST(test_fewer),
        TEST(test_no_buffers),
        TEST(test_at_once),
        TEST(test_rate),
        TEST(test_storm),
        TEST(test_one_port),
        TEST(test_busy_receiver),
        TEST(test_kicked_meanwhile),
        TEST(test_reset_meanwhile),
        TEST(test_receiver_gone_meanwhile),
        TEST(test_forgotten),
        TEST(test_queue_reset),
        TEST(test_state),
        TEST(test_waiting_saved),
        TEST(test_bad_state),
        TEST(test_lies),
        TEST(test_kicked_at_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
