/* links: guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c arch/x86/spinlock.c tests/unit/mock_heap.c */
/* The learning switch, by ports that write down what they hear. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/net/lane.h"

enum { PORTS = 5, HZ = 1000000 };

static struct net_switch sw;
static uint64_t now;

static uint64_t clock_now(void)
{
    return now;
}

static struct ear {
    struct net_port *port;
    unsigned heard, told;
    uint8_t last[200];
    uint32_t length;
    enum net_drop answer;
} ears[PORTS];

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct ear *e = owner;
    uint32_t at = 0;

    if (e->answer != NET_TAKEN)
        return e->answer;
    e->heard++;
    e->length = f->length;
    for (unsigned i = 0; i < f->count; at += f->piece[i++].length)
        if (at + f->piece[i].length <= sizeof(e->last))
            memcpy(e->last + at, f->piece[i].data, f->piece[i].length);
    assert_int_equal(at, f->length);
    return NET_TAKEN;
}

static void received(void *owner)
{
    ((struct ear *)owner)->told++;
}

static const struct net_port_ops ops = {receive, received};

static void mac_of(uint8_t *mac, unsigned n)
{
    const uint8_t m[NET_MAC] = {2, 0, 0, 0, (uint8_t)(n >> 8), (uint8_t)n};

    memcpy(mac, m, NET_MAC);
}

/* Port n has the address n, and is what else `what` says. */
static int plug(unsigned n, struct net_port_setup what)
{
    int error;

    ears[n] = (struct ear){0};
    if (!what.mac[0])
        mac_of(what.mac, n);
    what.ops = &ops;
    what.owner = &ears[n];
    error = net_port_attach(&sw, &what, &ears[n].port);
    if (error == 0)
        net_port_open(ears[n].port, 0);
    return error;
}

static int setup(void **state)
{
    now = 1000 * HZ;
    sw = (struct net_switch){.name = "lan", .mtu = 1500, .now = clock_now, .hz = HZ};
    net_switch_init(&sw, 0x1234567);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < PORTS; i++)
        if (ears[i].port)
            net_port_detach(ears[i].port);
    memset(ears, 0, sizeof(ears));
    net_switch_destroy(&sw);
    return 0;
}

static uint8_t frame[2000];
static uint8_t scratch[NET_MAX_FRAME];

static struct net_offload to_do; /* of what is sent */

/* From port n, of that length, with what is in `frame`. */
static void send_frame(unsigned n, uint32_t length)
{
    const struct net_piece piece[2] = {{frame, MIN(length, NET_HEAD)},
                                       {frame + NET_HEAD, length - MIN(length, NET_HEAD)}};
    const struct net_frame f = {.piece = piece,
                                .count = length > NET_HEAD ? 2 : 1,
                                .length = length,
                                .offload = to_do,
                                .scratch = scratch};

    net_port_send(ears[n].port, &f);
    net_port_sent(ears[n].port);
}

static void address(const uint8_t *to, const uint8_t *from, unsigned type)
{
    memcpy(frame, to, NET_MAC);
    memcpy(frame + NET_MAC, from, NET_MAC);
    frame[12] = (uint8_t)(type >> 8);
    frame[13] = (uint8_t)type;
}

static const uint8_t everybody[NET_MAC] = {255, 255, 255, 255, 255, 255};

/* From port n, from address `from` to address `to`: a bit for each port that has heard it. */
static unsigned say(unsigned n, unsigned from, unsigned to)
{
    uint8_t a[NET_MAC], b[NET_MAC];
    unsigned heard = 0, before[PORTS];

    mac_of(a, to);
    mac_of(b, from);
    address(to ? a : everybody, b, 0x1234);
    for (unsigned i = 0; i < PORTS; i++)
        before[i] = ears[i].heard;
    send_frame(n, 100);
    for (unsigned i = 0; i < PORTS; i++)
        heard |= ears[i].heard != before[i] ? 1u << i : 0;
    return heard;
}

static uint64_t dropped(unsigned n, enum net_drop why)
{
    return ears[n].port->counts.dropped[why];
}

/* --- where frames go --- */

static void test_to_one_and_to_all(void **state)
{
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(plug(i, (struct net_port_setup){0}), 0);
    assert_int_equal(say(1, 1, 2), 1 << 2); /* nothing has to be learned */
    assert_memory_equal(ears[2].last, frame, 100);
    assert_int_equal(ears[2].told, 1);
    assert_int_equal(ears[3].told, 0);
    assert_int_equal(say(1, 1, 0), 1 << 2 | 1 << 3);
    assert_int_equal(say(2, 2, 2), 0); /* no hairpin */
    assert_int_equal(dropped(2, NET_DROP_NOBODY), 1);
    assert_int_equal(say(2, 2, 77), 0); /* nobody can be there */
    assert_int_equal(dropped(2, NET_DROP_NOBODY), 2);
    assert_int_equal(ears[1].port->counts.sent, 2);
    assert_int_equal(ears[1].port->counts.sent_bytes, 200);
    assert_int_equal(ears[2].port->counts.received, 2);
    assert_int_equal(ears[3].port->counts.received_bytes, 100);
    assert_int_equal(say(1, 1, 2), 1 << 2);
    send_frame(1, 1514); /* in two pieces */
    assert_int_equal(ears[2].length, 1514);
}

static void test_forged(void **state)
{
    uint8_t group[NET_MAC] = {3, 0, 0, 0, 0, 1}, own[NET_MAC];

    for (unsigned i = 1; i <= 2; i++)
        assert_int_equal(plug(i, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(say(1, 2, 3), 0); /* another one's */
    assert_int_equal(say(1, 99, 3), 0);
    assert_int_equal(dropped(1, NET_DROP_FORGED), 2);
    assert_int_equal(say(3, 99, 1), 1 << 1); /* it may */
    assert_int_equal(say(3, 1, 2), 0);       /* but not from what is another port's own */
    assert_int_equal(dropped(3, NET_DROP_FORGED), 1);
    mac_of(own, 1);
    address(own, group, 0x1234);
    send_frame(3, 100);
    memset(frame + NET_MAC, 0, NET_MAC);
    send_frame(3, 100);
    assert_int_equal(dropped(3, NET_DROP_FORGED), 3);
    assert_int_equal(say(2, 2, 1), 1 << 1); /* all are where they were */
    assert_int_equal(say(1, 1, 2), 1 << 2);
}

static void test_learning(void **state)
{
    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(say(1, 1, 50), 1 << 2 | 1 << 3); /* whoever may have it behind him */
    assert_int_equal(say(3, 50, 1), 1 << 1);
    assert_int_equal(say(1, 1, 50), 1 << 3);
    assert_int_equal(say(2, 50, 1), 1 << 1); /* it has moved */
    assert_int_equal(say(1, 1, 50), 1 << 2);
    now += NET_AGE_SECONDS * (uint64_t)HZ;
    assert_int_equal(say(1, 1, 50), 1 << 2);
    now += 1;
    assert_int_equal(say(1, 1, 50), 1 << 2 | 1 << 3); /* forgotten */
    assert_int_equal(say(3, 50, 1), 1 << 1);
    net_port_detach(ears[3].port);
    ears[3].port = NULL;
    assert_int_equal(say(1, 1, 50), 1 << 2);
    /* Nobody's address is learned once it is a port's. */
    assert_int_equal(say(2, 4, 1), 1 << 1);
    assert_int_equal(plug(4, (struct net_port_setup){0}), 0);
    assert_int_equal(say(1, 1, 4), 1 << 4);
    assert_int_equal(say(2, 4, 1), 0);
}

/* A flood of addresses takes nobody else's place, and is forgotten. */
static void test_limits(void **state)
{
    struct net_port_view view;

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(say(3, 7, 1), 1 << 1);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(say(2, 1000 + i, 1), 1 << 1);
    assert_int_equal(net_switch_look(&sw, 1, &view), 1);
    assert_int_equal(view.learned, NET_LEARNED_EACH);
    assert_int_equal(say(1, 1, 7), 1 << 3);
    assert_int_equal(say(1, 1, 1000), 1 << 2);
    assert_int_equal(say(1, 1, 3999), 1 << 2 | 1 << 3); /* not learned */
    assert_int_equal(say(2, 7, 1), 1 << 1);             /* with no room left nothing moves either */
    assert_int_equal(say(1, 1, 7), 1 << 3);
    now += NET_AGE_SECONDS * (uint64_t)HZ + 1;
    for (unsigned i = 0; i < NET_ENTRIES; i++)
        assert_int_equal(say(2, 2, 1), 1 << 1);
    assert_int_equal(net_switch_look(&sw, 1, &view), 1);
    assert_int_equal(view.learned, 0);
    assert_int_equal(say(2, 3999, 1), 1 << 1);
    assert_int_equal(say(1, 1, 3999), 1 << 2);
    assert_int_equal(net_switch_look(&sw, 3, &view), -ENOENT);
}

static void test_who_hears_whom(void **state)
{
    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.isolated = true}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.isolated = true, .any_mac = true}), 0);
    assert_int_equal(say(2, 2, 0), 1 << 1);
    assert_int_equal(say(2, 2, 3), 0);
    assert_int_equal(dropped(2, NET_DROP_NOBODY), 1);
    assert_int_equal(say(2, 2, 60), 0);
    assert_int_equal(say(1, 1, 0), 1 << 2 | 1 << 3);
    assert_int_equal(say(3, 3, 1), 1 << 1);
    assert_int_equal(say(1, 1, 3), 1 << 3);
}

static void test_vlans(void **state)
{
    sw.vlans = true;
    assert_int_equal(plug(1, (struct net_port_setup){.vlan = 5}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.vlan = 5}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.vlan = 6}), 0);
    assert_int_equal(plug(4, (struct net_port_setup){.vlan = 6, .mac = {2, 0, 0, 0, 0, 1}}), 0);
    assert_int_equal(say(1, 1, 0), 1 << 2);
    assert_int_equal(say(3, 3, 0), 1 << 4);
    assert_int_equal(say(1, 1, 3), 0);
    assert_int_equal(say(3, 3, 1), 1 << 4); /* that address is another one there */
    assert_int_equal(say(2, 2, 1), 1 << 1);
    for (unsigned service = 0; service < 2; service++) { /* nobody chooses his VLAN */
        say(1, 1, 2);
        frame[12] = service ? 0x88 : 0x81;
        frame[13] = service ? 0xa8 : 0;
        frame[14] = 0x20;
        frame[15] = 6;
        send_frame(1, 100);
        assert_int_equal(dropped(1, NET_DROP_TAGGED), service + 1);
    }
    frame[15] = 0; /* a priority is none */
    send_frame(1, 100);
    assert_int_equal(ears[2].last[14], 0x20);
    for (unsigned service = 0; service < 2; service++) { /* but one may stand behind it */
        frame[16] = service ? 0x88 : 0x81;
        frame[17] = service ? 0xa8 : 0;
        frame[18] = 0;
        frame[19] = service ? 0 : 6;
        send_frame(1, 100);
        assert_int_equal(dropped(1, NET_DROP_TAGGED), service + 3);
    }
    send_frame(1, 17); /* there is none */
    frame[16] = 8;
    send_frame(1, 18);
    assert_int_equal(dropped(1, NET_DROP_TAGGED), 4);
    sw.vlans = false; /* tags are the VMs' own affair */
    frame[15] = 6;
    send_frame(1, 1500 + 18);
    assert_int_equal(ears[2].length, 1518);
    assert_int_equal(dropped(1, NET_DROP_TAGGED), 4);
}

static void test_what_is_no_frame(void **state)
{
    uint8_t pause[NET_MAC] = {1, 0x80, 0xc2, 0, 0, 1}, own[NET_MAC];

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    say(1, 1, 0);
    send_frame(1, 13);
    assert_int_equal(dropped(1, NET_DROP_SHORT), 1);
    send_frame(1, 14);
    send_frame(1, 1514);
    assert_int_equal(ears[2].heard, 3);
    send_frame(1, 1515);
    assert_int_equal(dropped(1, NET_DROP_LONG), 1);
    mac_of(own, 1);
    address(pause, own, 0x8808);
    send_frame(1, 60);
    assert_int_equal(dropped(1, NET_DROP_RESERVED), 1);
    frame[5] = 16;
    frame[12] = 0x12;
    send_frame(1, 60);
    assert_int_equal(ears[2].heard, 4);
    say(1, 1, 2); /* a pause to one alone, also behind tags */
    for (unsigned tags = 0; tags < 3; tags++) {
        memcpy(frame + 12 + 4 * tags, tags == 1 ? "\x88\xa8\0\1" : "\x81\0\0\1", 4);
        memcpy(frame + 12 + 4 * (tags + 1), "\x88\x08\0\1", 4);
        send_frame(1, 60);
        assert_int_equal(dropped(1, NET_DROP_RESERVED), tags + 2);
    }
    memcpy(frame + 12, "\x88\x08\0\1", 4);
    send_frame(1, 60);
    assert_int_equal(dropped(1, NET_DROP_RESERVED), 5);
    for (unsigned i = 12; i < sizeof(frame); i += 4)
        memcpy(frame + i, "\x81\0\0\1", 4);
    send_frame(1, 1500);
    send_frame(1, 18);
    assert_int_equal(ears[2].heard, 7);
    address(everybody, own, 0x0800);
    to_do = (struct net_offload){.gso = NET_GSO_TCP4, .headers = 54, .segment = 1000};
    send_frame(1, 1514); /* nobody means that for a group */
    to_do = (struct net_offload){0};
    assert_int_equal(dropped(1, NET_DROP_MALFORMED), 1);
}

/* --- receivers, cables --- */

static void test_receivers(void **state)
{
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(plug(i, (struct net_port_setup){0}), 0);
    ears[2].answer = NET_DROP_FULL;
    assert_int_equal(say(1, 1, 0), 1 << 3); /* costs nobody else anything */
    assert_int_equal(dropped(2, NET_DROP_FULL), 1);
    assert_int_equal(dropped(1, NET_DROP_FULL), 0);
    net_port_close(ears[3].port);
    assert_int_equal(say(1, 1, 3), 0);
    assert_int_equal(dropped(3, NET_DROP_CLOSED), 1);
    net_port_open(ears[3].port, 0);
    net_port_plug(ears[3].port, false);
    assert_int_equal(say(1, 1, 3), 0);
    assert_int_equal(dropped(3, NET_DROP_CLOSED), 2);
    assert_int_equal(say(3, 3, 1), 0);
    assert_int_equal(dropped(3, NET_DROP_UNPLUGGED), 1);
    net_port_plug(ears[3].port, true);
    assert_int_equal(say(3, 3, 1), 1 << 1);
}

static void test_attach(void **state)
{
    struct net_port_view view;

    assert_int_equal(plug(1, (struct net_port_setup){.name = "a/0"}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.mac = {2, 0, 0, 0, 0, 1}}), -EEXIST);
    assert_int_equal(plug(2, (struct net_port_setup){.name = "b/0"}), 0); /* the same place */
    assert_int_equal(sw.count, 2);
    assert_int_equal(say(1, 1, 2), 1 << 2);
    net_port_detach(ears[1].port);
    assert_int_equal(net_switch_look(&sw, 0, &view), 0);
    assert_int_equal(plug(3, (struct net_port_setup){.name = "c/0", .mac = {2, 0, 0, 0, 0, 1}}), 0);
    assert_ptr_equal(ears[3].port, ears[1].port);
    ears[1].port = NULL;
    assert_int_equal(net_switch_look(&sw, 0, &view), 1);
    assert_string_equal(view.name, "c/0");
    assert_int_equal(view.counts.sent, 0);
    assert_true(view.open && view.plugged);
}

/* --- how much --- */

static void test_rates(void **state)
{
    unsigned sent = 0;

    assert_int_equal(plug(1, (struct net_port_setup){.rate = 100000}), 0); /* a byte in 10 ticks */
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    say(1, 1, 2);
    while (net_port_wait(ears[1].port) == 0) {
        send_frame(1, 1000);
        sent++;
    }
    assert_int_equal(sent, NET_BURST / 1000);
    assert_int_equal(ears[2].heard, sent + 1);
    uint64_t wait = net_port_wait(ears[1].port);
    assert_true(wait > 0 && wait <= 10000);
    now += wait - 1;
    assert_int_equal(net_port_wait(ears[1].port), 1);
    now += 1;
    sent = 0;
    for (uint64_t end = now + 10 * HZ; now < end; now += MAX(net_port_wait(ears[1].port), 1u)) {
        send_frame(1, 1000);
        sent++;
    }
    assert_true(sent >= 999 && sent <= 1001); /* 100 kB/s for ten seconds */
    now += 100 * HZ;
    ears[1].heard = 0;
    say(2, 2, 1);
    for (unsigned i = 0; i < 1000; i++) /* who sends to it has no limit of his own */
        send_frame(2, 1000);
    assert_int_equal(ears[1].heard, NET_BURST / 1000 + 1);
    assert_int_equal(dropped(1, NET_DROP_RATE), 1001 - ears[1].heard);
    assert_int_equal(net_port_wait(ears[2].port), 0);
}

/* Of what is to be cut each segment has the headers, and counts as if it had been sent so. */
static void test_rate_of_segments(void **state)
{
    const uint64_t cost = 54 + 128 + 127 * 54;
    unsigned sent = 0;

    assert_int_equal(plug(1, (struct net_port_setup){.rate = 1000000}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.rate = 1000000}), 0);
    net_port_open(ears[2].port, NET_CAN_CHECKSUM | NET_CAN_TCP4);
    say(1, 1, 2);
    to_do = (struct net_offload){.gso = NET_GSO_TCP4,
                                 .checksum = true,
                                 .start = 34,
                                 .field = 50,
                                 .headers = 54,
                                 .segment = 1};
    for (uint64_t end = now + 10 * HZ; now < end; now += MAX(net_port_wait(ears[1].port), 1u)) {
        send_frame(1, 54 + 128);
        sent++;
    }
    to_do = (struct net_offload){0};
    assert_true(sent * cost <= 10 * 1000000 + NET_BURST + 2 * cost);
    assert_true(sent * cost >= 10 * 1000000);
    assert_int_equal(dropped(2, NET_DROP_RATE), 0); /* who gets it has the same limit */
    net_port_detach(ears[1].port);
    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    now += 100 * HZ;
    ears[2].heard = 0;
    to_do.gso = NET_GSO_TCP4;
    to_do.headers = 54;
    to_do.segment = 1;
    for (unsigned i = 0; i < 100; i++)
        send_frame(1, 54 + 128);
    to_do = (struct net_offload){0};
    assert_int_equal(ears[2].heard, NET_BURST / cost + 1);
}

static uint64_t work_of(unsigned n, uint32_t length)
{
    const struct net_piece piece = {frame, length};
    const struct net_frame f = {
        .piece = &piece, .count = 1, .length = length, .offload = to_do, .scratch = scratch};

    return net_port_send(ears[n].port, &f);
}

/* Whoever sends in vain has kept the processor busy all the same. */
static void test_work(void **state)
{
    for (unsigned i = 1; i <= 3; i++)
        assert_int_equal(plug(i, (struct net_port_setup){0}), 0);
    say(1, 1, 2);
    assert_int_equal(work_of(1, 100), NET_PORT_WORK + 100);
    ears[2].answer = NET_DROP_FULL;
    assert_int_equal(work_of(1, 100), NET_PORT_WORK + 100);
    to_do = (struct net_offload){.checksum = true, .start = 34, .field = 50};
    assert_int_equal(work_of(1, 100), NET_PORT_WORK + 2 * 100); /* it is completed first */
    to_do = (struct net_offload){0};
    net_port_close(ears[2].port);
    assert_int_equal(work_of(1, 100), NET_PORT_WORK);
    memset(frame, 255, 6);
    assert_int_equal(work_of(1, 100), 3 * NET_PORT_WORK + 100);
}

/* One way out is as good as an address that is known: there is no storm, and nobody else is asked.
 * A flood of addresses from there does not slow down who is inside. */
static void test_one_way_out(void **state)
{
    unsigned heard;

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(plug(3, (struct net_port_setup){0}), 0);
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(say(1, 1, 2000 + i), 1 << 2);
    assert_int_equal(work_of(1, 100), NET_PORT_WORK + 100);
    assert_int_equal(say(2, 2000, 2001), 0); /* behind itself, if anywhere */
    assert_int_equal(dropped(2, NET_DROP_NOBODY), 1);
    assert_int_equal(plug(4, (struct net_port_setup){.any_mac = true}), 0);
    assert_int_equal(say(2, 2000, 2001), 1 << 4);
    heard = ears[2].heard;
    for (unsigned i = 0; i < 3000; i++)
        say(1, 1, 6000 + i); /* from now on there are two */
    assert_int_equal(ears[2].heard - heard, NET_STORM_BURST + 1);
    assert_int_equal(dropped(1, NET_DROP_STORM), 3000 - NET_STORM_BURST - 1);
    net_port_detach(ears[2].port);
    ears[2].port = NULL;
    for (unsigned i = 0; i < 3000; i++)
        assert_int_equal(say(1, 1, 6000 + i), 1 << 4);
    net_port_detach(ears[4].port);
    ears[4].port = NULL;
    assert_int_equal(say(1, 1, 6000), 0);
    assert_int_equal(work_of(1, 100), 0);
    assert_int_equal(dropped(1, NET_DROP_NOBODY), 2);
}

static void test_storm(void **state)
{
    unsigned heard;

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    for (unsigned i = 0; i < 3000; i++)
        say(1, 1, 0);
    heard = ears[2].heard;
    assert_int_equal(heard, NET_STORM_BURST + 1);
    assert_int_equal(dropped(1, NET_DROP_STORM), 3000 - heard);
    assert_int_equal(say(1, 1, 2), 1 << 2); /* to one goes what is for one */
    assert_int_equal(say(2, 2, 0), 1 << 1); /* and others may */
    now += HZ / 10;
    for (unsigned i = 0; i < 3000; i++)
        say(1, 1, 0);
    heard = ears[2].heard - heard - 1;
    assert_true(heard >= NET_STORM_RATE / 10 - 1 && heard <= NET_STORM_RATE / 10 + 1);
}

/* A group may get UDP that is to be cut: each of its segments counts as one that goes to several.
 */
static void test_storm_of_segments(void **state)
{
    unsigned sent = 0;

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    net_port_open(ears[2].port, NET_CAN_CHECKSUM | NET_CAN_UDP4);
    say(1, 1, 0); /* whose addresses stay */
    to_do = (struct net_offload){.gso = NET_GSO_UDP4,
                                 .checksum = true,
                                 .start = 34,
                                 .field = 40,
                                 .headers = 42,
                                 .segment = 10};
    for (ears[2].heard = 0; dropped(1, NET_DROP_STORM) == 0; sent++)
        send_frame(1, 42 + 995); /* a hundred of them */
    to_do = (struct net_offload){0};
    assert_int_equal(sent, NET_STORM_BURST / 100 + 1);
    assert_int_equal(ears[2].heard, sent - 1);
}

/* What is cut for whom: by what is left to do, and what the receiver can. */
static void test_who_can_what(void **state)
{
    static const uint8_t can[] = {NET_CAN_TCP4, NET_CAN_TCP6, NET_CAN_UDP4, NET_CAN_UDP6};
    uint8_t to[NET_MAC], from[NET_MAC];

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    mac_of(to, 2);
    mac_of(from, 1);
    for (unsigned i = 0; i < 4; i++)
        for (unsigned what = 0; what < 32; what++) {
            unsigned all = what & 1 ? NET_CAN_CHECKSUM : 0;

            for (unsigned j = 0; j < 4; j++)
                all |= what >> (1 + j) & 1 ? can[j] : 0;
            net_port_open(ears[2].port, all);
            address(to, from, i % 2 ? 0x86dd : 0x0800);
            to_do = (struct net_offload){.gso = (uint8_t)(NET_GSO_TCP4 + i),
                                         .checksum = true,
                                         .start = i % 2 ? 54 : 34,
                                         .field = (uint16_t)((i % 2 ? 54 : 34) + (i < 2 ? 16 : 6)),
                                         .headers = 74,
                                         .segment = 100};
            ears[2].heard = 0;
            send_frame(1, 74 + 300);
            assert_int_equal(ears[2].heard, (what & 1) && (what >> (1 + i) & 1) ? 1 : 3);
        }
    to_do = (struct net_offload){0};
}

/* --- an owner that lets go of its port's lock --- */

static enum { MEANWHILE_NOTHING, MEANWHILE_CLOSED, MEANWHILE_ANOTHERS } meanwhile;
static unsigned inside; /* so often */

static enum net_drop receive_outside(void *owner, const struct net_frame *f)
{
    struct ear *e = owner;
    struct net_port *port = e->port;
    uint32_t left = net_port_leave(port);

    inside++;
    if (meanwhile == MEANWHILE_CLOSED) {
        net_port_close(port);
        net_port_open(port, 0);
    } else if (meanwhile == MEANWHILE_ANOTHERS) {
        net_port_detach(port);
        assert_int_equal(plug(3, (struct net_port_setup){0}), 0);
        assert_ptr_equal(ears[3].port, port);
        e->port = NULL;
    }
    return net_port_return(port, left) ? NET_TAKEN : NET_DROP_CLOSED;
}

/* Of what is cut nothing more comes to a port that was closed meanwhile, whosever it is then. */
static void test_closed_meanwhile(void **state)
{
    static const struct net_port_ops outside = {receive_outside, received};
    uint8_t to[NET_MAC], from[NET_MAC];

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    assert_int_equal(plug(2, (struct net_port_setup){0}), 0);
    ears[2].port->what.ops = &outside;
    mac_of(to, 2);
    mac_of(from, 1);
    address(to, from, 0x0800);
    to_do = (struct net_offload){.gso = NET_GSO_TCP4,
                                 .checksum = true,
                                 .start = 34,
                                 .field = 50,
                                 .headers = 54,
                                 .segment = 100};
    for (unsigned i = MEANWHILE_NOTHING; i <= MEANWHILE_ANOTHERS; i++) {
        meanwhile = i;
        inside = 0;
        send_frame(1, 54 + 500);
        assert_int_equal(inside, i == MEANWHILE_NOTHING ? 5 : 1);
    }
    to_do = (struct net_offload){0};
    assert_int_equal(ears[3].heard, 0);
    assert_int_equal(ears[3].port->inside, 0);
    net_port_close(ears[3].port);
    net_port_settle(ears[3].port);
}

static bool gone;

static void *leaves_later(void *port)
{
    usleep(20000);
    __atomic_store_n(&gone, true, __ATOMIC_SEQ_CST);
    (void)net_port_return(port, 0);
    net_port_unlock(port);
    return NULL;
}

static void test_settle_waits(void **state)
{
    struct net_port *port;
    pthread_t thread;

    assert_int_equal(plug(1, (struct net_port_setup){0}), 0);
    port = ears[1].port;
    gone = false;
    net_port_lock(port);
    (void)net_port_leave(port);
    net_port_close(port);
    assert_int_equal(pthread_create(&thread, NULL, leaves_later, port), 0);
    net_port_settle(port);
    assert_true(__atomic_load_n(&gone, __ATOMIC_SEQ_CST));
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_to_one_and_to_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_learning, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_hears_whom, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vlans, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_receivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_attach, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rates, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_of_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_work, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_way_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_storm, setup, teardown),
        cmocka_unit_test_setup_teardown(test_storm_of_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_can_what, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_settle_waits, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
