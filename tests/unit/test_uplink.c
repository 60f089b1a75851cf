/* links: guest/net/uplink.c guest/net/arp.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* A switch with two VMs and a way out, which is a card that keeps what it sends; and ARP. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/pci.h"
#include "guest/net/arp.h"
#include "guest/net/finish.h"
#include "guest/net/uplink.h"

enum { VMS = 2, KEPT = 64 };

uint64_t tsc_hz = 1000000;
static uint64_t now;

uint64_t test_tsc(void)
{
    return now;
}

void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear)
{
}

/* --- the card --- */

static struct {
    struct {
        uint8_t data[2000];
        uint32_t length;
    } sent[KEPT];
    unsigned count, kicks, room;
    const uint8_t *in[2];
    uint32_t in_length[2];
    bool up;
    int start_error;
} wire;

static int card_prepare(struct net_card *c)
{
    return 0;
}

static int card_start(struct net_card *c)
{
    return wire.start_error;
}

static void card_stop(struct net_card *c)
{
}

static bool card_send(struct net_card *c, const struct net_piece *piece, unsigned count,
                      uint32_t length)
{
    uint32_t at = 0;

    if (wire.room == 0)
        return false;
    wire.room--;
    assert_true(wire.count < KEPT && length <= sizeof(wire.sent[0].data));
    for (unsigned i = 0; i < count; at += piece[i++].length)
        memcpy(wire.sent[wire.count].data + at, piece[i].data, piece[i].length);
    assert_int_equal(at, length);
    wire.sent[wire.count++].length = length;
    return true;
}

static void card_kick(struct net_card *c)
{
    wire.kicks++;
}

static unsigned card_settle(struct net_card *c)
{
    return 0;
}

static unsigned card_causes(struct net_card *c)
{
    return NET_CARD_CAUSE_ANY | NET_CARD_CAUSE_LINK;
}

static int card_take(struct net_card *c, struct net_arrival *a)
{
    if (!wire.in_length[0])
        return 0;
    *a = (struct net_arrival){0};
    for (unsigned i = 0; i < 2 && wire.in_length[i]; i++) {
        a->piece[a->count++] = (struct net_piece){wire.in[i], wire.in_length[i]};
        a->length += wire.in_length[i];
    }
    wire.in_length[0] = 0;
    return 1;
}

static void card_give(struct net_card *c)
{
}

static bool card_link(struct net_card *c)
{
    return wire.up;
}

static bool card_gone(struct net_card *c)
{
    return false;
}

static void card_quiet(struct net_card *c, bool on)
{
}

static const struct net_card_ops card_ops = {
    .prepare = card_prepare,
    .start = card_start,
    .stop = card_stop,
    .send = card_send,
    .kick = card_kick,
    .settle = card_settle,
    .causes = card_causes,
    .take = card_take,
    .give = card_give,
    .link = card_link,
    .gone = card_gone,
    .raise = card_stop,
    .quiet = card_quiet,
};

/* --- the VMs --- */

static struct net_switch sw;
static struct net_card card;
static struct uplink uplink;
static struct vm {
    struct net_port *port;
    uint8_t last[2000];
    uint32_t length;
    unsigned heard, told;
} vms[VMS];

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct vm *v = owner;

    v->length = 0;
    for (unsigned i = 0; i < f->count; v->length += f->piece[i++].length)
        memcpy(v->last + v->length, f->piece[i].data, f->piece[i].length);
    v->heard++;
    return NET_TAKEN;
}

static void received(void *owner)
{
    ((struct vm *)owner)->told++;
}

static const struct net_port_ops ops = {receive, received};

static uint8_t frame[NET_MAX_FRAME], scratch[NET_MAX_FRAME];
static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                     outside[6] = {0x52, 0x54, 0, 1, 2, 3};

static void address(const uint8_t *to, const uint8_t *from)
{
    for (unsigned i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 13);
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    frame[12] = 8;
    frame[13] = 0;
}

static void send_with(unsigned n, uint32_t length, struct net_offload offload)
{
    struct net_piece piece[2] = {{frame, MIN(length, NET_HEAD)},
                                 {frame + NET_HEAD, length - NET_HEAD}};
    struct net_frame f = {.piece = piece,
                          .count = length > NET_HEAD ? 2 : 1,
                          .length = length,
                          .offload = offload,
                          .scratch = scratch};

    assert_true(net_offload_good(&f));
    net_port_send(vms[n].port, &f);
    net_port_sent(vms[n].port);
}

static void send(unsigned n, uint32_t length)
{
    send_with(n, length, (struct net_offload){0});
}

/* From outside, in two pieces where it is long. */
static void arrive(uint32_t length)
{
    uint32_t first = MIN(length, 1000u);

    wire.in[0] = frame;
    wire.in_length[0] = first;
    wire.in[1] = frame + first;
    wire.in_length[1] = length - first;
    net_card_interrupt(&card);
}

static uint64_t clock_now(void)
{
    return now;
}

static int setup(void **state)
{
    now = 1000000;
    memset(&wire, 0, sizeof(wire));
    memset(vms, 0, sizeof(vms));
    wire.up = true;
    wire.room = KEPT;
    sw = (struct net_switch){.name = "lan", .mtu = 1500, .now = clock_now, .hz = 1000000};
    net_switch_init(&sw, 99);
    card = (struct net_card){.ops = &card_ops,
                             .model = "mock",
                             .mac = {0x52, 0x54, 0, 0, 0, 9},
                             .longest = 1600,
                             .name = "net0",
                             .interrupting = true};
    spin_init(&card.lock, RANK_NET_CARD);
    for (unsigned i = 0; i < VMS; i++) {
        struct net_port_setup what = {.mac = {2, 0, 0, 0, 0, (uint8_t)i}, .isolated = true};

        what.ops = &ops;
        what.owner = &vms[i];
        assert_int_equal(net_port_attach(&sw, &what, &vms[i].port), 0);
        net_port_open(vms[i].port, NET_CAN_CHECKSUM | NET_CAN_TCP4);
    }
    assert_int_equal(uplink_start(&uplink, &sw, &card), 0);
    return 0;
}

static int teardown(void **state)
{
    for (unsigned i = 0; i < VMS; i++)
        net_port_detach(vms[i].port);
    uplink_stop(&uplink);
    net_switch_destroy(&sw);
    return 0;
}

static uint64_t dropped(const struct net_port *p, enum net_drop why)
{
    return p->counts.dropped[why];
}

/* What is for nobody here goes out, and nothing else does. */
static void goes_out(void **state)
{
    address(outside, vms[0].port->what.mac);
    send(0, 1514);
    assert_int_equal(wire.count, 1);
    assert_int_equal(wire.sent[0].length, 1514);
    assert_memory_equal(wire.sent[0].data, frame, 1514);
    assert_int_equal(wire.kicks, 1);
    assert_int_equal(vms[1].heard, 0);
    address(vms[0].port->what.mac, vms[1].port->what.mac);
    send(1, 100); /* they are isolated: not even by this way */
    assert_int_equal(wire.count, 1);
    assert_int_equal(vms[0].heard, 0);
    address(everybody, vms[0].port->what.mac);
    send(0, 60);
    assert_int_equal(wire.count, 2);
    address(outside, vms[1].port->what.mac); /* with an address that is not its own */
    send(0, 60);
    assert_int_equal(wire.count, 2);
    assert_int_equal(dropped(vms[0].port, NET_DROP_FORGED), 1);
}

static void comes_in(void **state)
{
    address(vms[1].port->what.mac, outside);
    arrive(1514);
    assert_int_equal(vms[1].heard, 1);
    assert_int_equal(vms[1].told, 1);
    assert_int_equal(vms[1].length, 1514);
    assert_memory_equal(vms[1].last, frame, 1514);
    assert_int_equal(vms[0].heard, 0);
    address(everybody, outside);
    arrive(60);
    assert_int_equal(vms[0].heard + vms[1].heard, 3);
    address((const uint8_t *)"\x52\x54\x00\x77\x77\x77", outside); /* somebody else's out there */
    arrive(60);
    assert_int_equal(vms[0].heard + vms[1].heard, 3);
    address(vms[1].port->what.mac, vms[0].port->what.mac); /* who is not out there */
    arrive(60);
    assert_int_equal(vms[1].heard, 2);
    assert_int_equal(dropped(uplink.port[0]->port, NET_DROP_FORGED), 1);
    arrive(13);
    assert_int_equal(dropped(uplink.port[0]->port, NET_DROP_SHORT), 1);
    assert_int_equal(wire.count, 0); /* nothing is sent back */
}

/* RFC 1071 */
static uint16_t sum_of(const uint8_t *p, uint32_t length, uint32_t sum)
{
    for (uint32_t i = 0; i < length; i++)
        sum += i % 2 ? p[i] : p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void make_tcp(uint32_t length)
{
    uint16_t sum;

    address(outside, vms[0].port->what.mac);
    memset(frame + 14, 0, 40);
    frame[14] = 0x45;
    frame[16] = (uint8_t)((length - 14) >> 8);
    frame[17] = (uint8_t)(length - 14);
    frame[22] = 64;
    frame[23] = 6;
    memcpy(frame + 26, "\x0a\0\0\1\x0a\0\0\2", 8);
    frame[46] = 0x50;
    frame[47] = 0x18;
    sum = sum_of(frame + 26, 8, 6 + length - 34);
    frame[50] = (uint8_t)(sum >> 8);
    frame[51] = (uint8_t)sum;
}

/* Nothing leaves with its checksum, or its cutting, left to others. */
static void completed(void **state)
{
    const struct net_offload checksum = {.checksum = true, .start = 34, .field = 50};
    struct net_offload gso = checksum;
    uint32_t at = 54;

    make_tcp(500);
    send_with(0, 500, checksum);
    assert_int_equal(wire.count, 1);
    assert_int_equal(sum_of(wire.sent[0].data + 34, 466, sum_of(frame + 26, 8, 6 + 466)), 0xffff);
    assert_memory_equal(wire.sent[0].data + 52, frame + 52, 448);
    gso.gso = NET_GSO_TCP4;
    gso.segment = 1460;
    make_tcp(20000);
    send_with(0, 20000, gso);
    assert_int_equal(wire.count, 1 + 14);
    assert_int_equal(wire.kicks, 2);
    for (unsigned i = 1; i < wire.count; i++) {
        const uint8_t *d = wire.sent[i].data;
        uint32_t length = wire.sent[i].length;

        assert_true(length <= 1514);
        assert_int_equal(d[16] << 8 | d[17], length - 14);
        assert_int_equal(sum_of(d + 14, 20, 0), 0xffff);
        assert_int_equal(sum_of(d + 34, length - 34, sum_of(d + 26, 8, 6 + length - 34)), 0xffff);
        assert_memory_equal(d + 54, frame + at, length - 54);
        at += length - 54;
    }
    assert_int_equal(at, 20000);
}

static void full(void **state)
{
    wire.room = 3;
    address(outside, vms[0].port->what.mac);
    for (unsigned i = 0; i < 5; i++)
        send(0, 100);
    assert_int_equal(wire.count, 3);
    assert_int_equal(dropped(uplink.port[0]->port, NET_DROP_FULL), 2);
    assert_int_equal(card.counts.no_room, 2);
}

static void link_down(void **state)
{
    assert_true(net_port_plugged(uplink.port[0]->port));
    wire.up = false;
    net_card_interrupt(&card);
    assert_false(net_port_plugged(uplink.port[0]->port));
    address(outside, vms[0].port->what.mac);
    send(0, 100);
    assert_int_equal(wire.count, 0);
    assert_int_equal(dropped(uplink.port[0]->port, NET_DROP_CLOSED), 1);
    address(vms[1].port->what.mac, outside);
    arrive(100);
    assert_int_equal(vms[1].heard, 0);
    wire.up = true;
    net_card_interrupt(&card);
    arrive(100);
    assert_int_equal(vms[1].heard, 1);
}

static void not_started(void **state)
{
    struct net_switch other = {.name = "other", .mtu = 1500, .now = clock_now, .hz = 1000000};
    struct net_port_setup what = {.ops = &ops, .owner = &vms[0]};
    struct net_port_view view;
    struct net_port *port;
    struct uplink u;

    net_switch_init(&other, 1);
    assert_int_equal(uplink_start(&u, &other, &card), -EBUSY);
    net_card_stop(&card);
    other.mtu = 1583;
    assert_int_equal(uplink_start(&u, &other, &card), -EINVAL);
    other.mtu = 1500;
    wire.start_error = -EIO;
    assert_int_equal(uplink_start(&u, &other, &card), -EIO);
    assert_int_equal(net_switch_look(&other, 0, &view), 0); /* the port has been given back */
    wire.start_error = 0;
    memcpy(what.mac, card.mac, 6);
    assert_int_equal(net_port_attach(&other, &what, &port), 0);
    assert_int_equal(uplink_start(&u, &other, &card), -EEXIST);
    net_port_detach(port);
    net_switch_destroy(&other);
}

/* A tag on the wire, and none inside: each VLAN by itself. */
static void vlans(void **state)
{
    static struct vm a, b;
    struct net_switch other = {
        .name = "parts", .mtu = 1500, .vlans = true, .now = clock_now, .hz = 1000000};
    struct net_port_setup what = {.mac = {2, 0, 0, 0, 1, 1}, .vlan = 10, .ops = &ops, .owner = &a};
    struct uplink u;

    memset(&a, 0, sizeof(a));
    memset(&b, 0, sizeof(b));
    net_card_stop(&card);
    net_switch_init(&other, 5);
    assert_int_equal(uplink_start(&u, &other, &card), 0);
    assert_int_equal(net_port_attach(&other, &what, &a.port), 0);
    what.vlan = 20; /* the same address, in another world */
    what.owner = &b;
    assert_int_equal(net_port_attach(&other, &what, &b.port), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(uplink_add_vlan(&u, 10), 0);
        assert_int_equal(uplink_add_vlan(&u, 20), 0);
    }
    assert_int_equal(u.count, 2);
    net_port_open(a.port, 0);
    net_port_open(b.port, 0);
    vms[0].port = a.port; /* for send() */
    address(outside, a.port->what.mac);
    send(0, 1514);
    assert_int_equal(wire.count, 1);
    assert_int_equal(wire.sent[0].length, 1518);
    assert_memory_equal(wire.sent[0].data, frame, 12);
    assert_memory_equal(wire.sent[0].data + 12, "\x81\0\0\x0a", 4);
    assert_memory_equal(wire.sent[0].data + 16, frame + 12, 1502);
    memcpy(frame + 12, "\x81\0\xa0\0", 4); /* with a priority, in no VLAN */
    send(0, 1518);
    assert_int_equal(wire.count, 2);
    assert_int_equal(wire.sent[1].length, 1518);
    assert_memory_equal(wire.sent[1].data + 12, "\x81\0\xa0\x0a", 4);
    assert_memory_equal(wire.sent[1].data + 16, frame + 16, 1502);
    /* In: the tag is gone. */
    address(a.port->what.mac, outside);
    memcpy(frame + 12, "\x81\0\x60\x14", 4);
    arrive(1518);
    assert_int_equal(a.heard, 0);
    assert_int_equal(b.heard, 1);
    assert_int_equal(b.told, 1);
    assert_int_equal(b.length, 1514);
    assert_memory_equal(b.last, frame, 12);
    assert_memory_equal(b.last + 12, frame + 16, 1502);
    frame[15] = 10;
    arrive(60);
    assert_int_equal(a.heard, 1);
    assert_int_equal(a.length, 56);
    memcpy(frame + 16, "\x81\0\0\x14", 4); /* a second tag, to get elsewhere */
    arrive(60);
    assert_int_equal(a.heard + b.heard, 2);
    assert_int_equal(u.elsewhere, 0);
    frame[15] = 11;
    arrive(60);
    frame[15] = 0;
    arrive(60);
    frame[12] = 8;
    arrive(60);
    frame[12] = 0x81;
    frame[15] = 10; /* a VLAN that is there, but the frame ends before */
    arrive(17);
    assert_int_equal(u.elsewhere, 4);
    assert_int_equal(a.heard + b.heard, 2);
    /* Their cable is the card's. */
    wire.up = false;
    net_card_interrupt(&card);
    assert_false(net_port_plugged(u.port[0]->port) || net_port_plugged(u.port[1]->port));
    for (uint16_t v = 100; v < 100 + UPLINK_VLANS - 2; v++)
        assert_int_equal(uplink_add_vlan(&u, v), 0);
    assert_false(net_port_plugged(u.port[2]->port));
    assert_int_equal(uplink_add_vlan(&u, 300), -ENOSPC);
    uplink_stop(&u);
    net_port_detach(a.port);
    net_port_detach(b.port);
    net_switch_destroy(&other);
    vms[0].port = sw.port[0];
}

static void arp(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, ip[4] = {169, 254, 7, 9},
                         his[4] = {10, 9, 8, 7};
    /* As tcpdump shows an announcement of RFC 5227 */
    static const uint8_t known[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
                                    0x56, 8,    6,    0,    1,    8,    0,    6,    4, 0,    1,
                                    0x52, 0x54, 0,    0x12, 0x34, 0x56, 169,  254,  7, 9,    0,
                                    0,    0,    0,    0,    0,    169,  254,  7,    9};
    uint8_t made[ARP_FRAME], own[4];
    struct arp a;

    arp_make(made, ARP_REQUEST, mac, ip, NULL, ip);
    assert_memory_equal(made, known, sizeof(known));
    arp_make(made, ARP_REPLY, mac, ip, outside, his);
    assert_memory_equal(made, outside, 6);
    assert_true(arp_read(made, sizeof(made), &a));
    assert_int_equal(a.operation, ARP_REPLY);
    assert_memory_equal(a.from_mac, mac, 6);
    assert_memory_equal(a.from_ip, ip, 4);
    assert_memory_equal(a.to_mac, outside, 6);
    assert_memory_equal(a.to_ip, his, 4);
    assert_false(arp_read(made, ARP_FRAME - 1, &a));
    for (unsigned i = 6; i < 22; i++) { /* from another one, of another kind, or to do what */
        made[i] ^= 0x40;
        assert_false(arp_read(made, sizeof(made), &a));
        made[i] ^= 0x40;
    }
    for (unsigned i = 0; i < 1000; i++) {
        const uint8_t each[6] = {2, (uint8_t)i, (uint8_t)(i >> 8), 1, 2, (uint8_t)(i * 7)};

        arp_own_address(each, own);
        assert_true(own[0] == 169 && own[1] == 254 && own[2] >= 1 && own[2] <= 254);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(goes_out),  TEST(comes_in),    TEST(completed), TEST(full),
        TEST(link_down), TEST(not_started), TEST(vlans),     cmocka_unit_test(arp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
