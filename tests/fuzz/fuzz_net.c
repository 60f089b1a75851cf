/* links: guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c arch/x86/spinlock.c tests/unit/mock_heap.c */
/*
 * A switch whose ports say anything: frames of any contents and length, from any address, with any
 * lies about what is left to do. Nobody hears what is not for him, nothing that he cannot take, nor
 * more than was said; a flood of addresses stays within its limits.
 */
#include <stdlib.h>
#include <string.h>

#include "guest/net/finish.h"
#include "guest/net/lane.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/require.h"

#define PORTS   6
#define ACTIONS 300

static uint64_t now;
static struct net_switch sw;

static struct card {
    struct net_port *port;
    struct net_port *lane[2]; /* by which it sends: the port, if it has none */
    struct net_port_setup what;
    unsigned can;
    uint8_t answer;
    uint8_t leaves; /* its lock: 1; 2: and is closed and opened meanwhile */
} cards[PORTS];
static struct card *sender;
static uint32_t said; /* bytes of what is being sent */
static uint64_t heard;

static uint64_t clock_now(void)
{
    return now;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    const struct card *c = owner;
    const struct net_offload *o = &f->offload;
    const uint8_t *head = f->piece[0].data;
    unsigned needs =
        (o->checksum ? NET_CAN_CHECKSUM : 0) | (o->gso == NET_GSO_TCP4 ? NET_CAN_TCP4 : 0) |
        (o->gso == NET_GSO_TCP6 ? NET_CAN_TCP6 : 0) | (o->gso == NET_GSO_UDP4 ? NET_CAN_UDP4 : 0) |
        (o->gso == NET_GSO_UDP6 ? NET_CAN_UDP6 : 0) | (o->gso && o->ecn ? NET_CAN_ECN : 0);
    uint32_t sum = 0;
    uint8_t bytes = 0;

    for (unsigned i = 0; i < f->count; sum += f->piece[i++].length)
        for (uint32_t n = 0; n < f->piece[i].length; n++)
            bytes ^= ((const uint8_t *)f->piece[i].data)[n];
    REQUIRE(sum == f->length && sum >= NET_ETHER && sum <= NET_MAX_FRAME && bytes <= 255);
    REQUIRE(c != sender && c->what.vlan == sender->what.vlan);
    REQUIRE(!c->what.isolated || !sender->what.isolated);
    REQUIRE(!(needs & ~c->can) && (!o->checksum || (o->start <= o->field && o->field + 2u <= sum)));
    REQUIRE(f->piece[0].length >= MIN(sum, NET_ETHER + NET_TAG) || o->gso == 0);
    REQUIRE(o->gso || sum <= sw.mtu + NET_ETHER + NET_TAG);
    REQUIRE(!o->gso || o->headers + o->segment <= sw.mtu + NET_ETHER + NET_TAG);
    REQUIRE(!net_mac_is_group(head + NET_MAC) && o->gso < NET_GSO_UDP);
    REQUIRE(!net_mac_is_group(head) || o->gso == 0 || o->gso >= NET_GSO_UDP4);
    if (sender->what.any_mac)
        for (unsigned i = 0; i < PORTS; i++)
            REQUIRE(&cards[i] == sender || !cards[i].port ||
                    cards[i].what.vlan != sender->what.vlan ||
                    memcmp(cards[i].what.mac, head + NET_MAC, NET_MAC) != 0);
    else
        REQUIRE(memcmp(sender->what.mac, head + NET_MAC, NET_MAC) == 0);
    if (c->leaves) {
        uint32_t closed = net_port_leave(c->port);

        if (c->leaves > 1) {
            net_port_close(c->port);
            net_port_open(c->port, c->can);
        }
        if (!net_port_return(c->port, closed)) {
            REQUIRE(c->leaves > 1);
            return NET_DROP_CLOSED;
        }
        REQUIRE(c->leaves == 1);
    }
    if (c->answer)
        return (enum net_drop)(1 + c->answer % (NET_DROPS - 1));
    heard += sum;
    return NET_TAKEN;
}

static void received(void *owner)
{
    REQUIRE(((struct card *)owner)->port);
}

static const struct net_port_ops ops = {receive, received};

static void mac(uint8_t *out, uint8_t n)
{
    const uint8_t m[NET_MAC] = {(uint8_t)(n & 0xc0 ? 2 : n), 0, 0, 0, 0, (uint8_t)(n & 7)};

    memcpy(out, m, NET_MAC);
}

static void attach(struct card *c)
{
    static const uint64_t rates[] = {0, 0, BUCKET_RATE_MIN, 100000000};
    uint8_t how = next();
    int error;

    if (c->port)
        net_port_detach(c->port);
    c->port = NULL;
    c->what = (struct net_port_setup){.ops = &ops, .owner = c};
    mac(c->what.mac, 0xc0 | next());
    c->what.vlan = how & 1;
    c->what.isolated = how >> 1 & 1;
    c->what.any_mac = how >> 2 & 1;
    c->what.rate = rates[how >> 3 & 3];
    error = net_port_attach(&sw, &c->what, &c->port);
    for (unsigned i = 0; i < PORTS && error < 0; i++)
        if (cards[i].port && cards[i].what.vlan == c->what.vlan &&
            memcmp(cards[i].what.mac, c->what.mac, NET_MAC) == 0)
            return; /* another one has it */
    REQUIRE(error == 0);
    c->can = next() & 63;
    c->answer = 0;
    c->leaves = next() % 8 < 6 ? 0 : 1 + next() % 2;
    c->lane[0] = c->lane[1] = c->port;
    for (unsigned i = 0; i < 2 && (how & 32); i++)
        REQUIRE(net_lane_add(c->port, &c->lane[i]) == 0);
    net_port_open(c->port, c->can);
}

static void send_frame(struct card *c)
{
    static uint8_t data[NET_MAX_FRAME], scratch[NET_MAX_FRAME];
    uint32_t length = next16() % (next() & 1 ? 1600 : NET_MAX_FRAME) + 1, at = 0;
    struct net_piece piece[4];
    struct net_frame f = {.piece = piece, .length = length, .scratch = scratch};
    uint8_t how = next();
    struct net_port *by = c->lane[next() & 1];

    memset(data, 0, MIN(length, 2 * NET_HEAD));
    mac(data, next());
    mac(data + NET_MAC, next());
    if (how & 1)
        memcpy(data + NET_MAC, c->what.mac, NET_MAC);
    for (unsigned i = 2 * NET_MAC; i < NET_HEAD && how & 2; i++)
        data[i] = next();
    if (how & 4) { /* as TCP has it, or nearly */
        data[12] = how & 8 ? 0x86 : 0x08;
        data[13] = how & 8 ? 0xdd : 0x00;
        data[14] = how & 8 ? 0x60 : 0x45;
        data[how & 8 ? 20 : 23] = 6;
        f.offload = (struct net_offload){.gso = how & 8 ? NET_GSO_TCP6 : NET_GSO_TCP4,
                                         .checksum = true,
                                         .start = how & 8 ? 54 : 34,
                                         .field = how & 8 ? 70 : 50,
                                         .segment = next16()};
        data[f.offload.start + 12] = next();
        if (next() & 1) { /* UDP, then */
            f.offload.gso = NET_GSO_UDP;
            f.offload.field = (uint16_t)(f.offload.start + 6);
            data[how & 8 ? 20 : 23] = 17;
        }
    }
    if (how & 16) {
        f.offload.checksum = next() & 1;
        f.offload.start = next16();
        f.offload.field = (uint16_t)(f.offload.start + next());
    }
    f.offload.ecn = how & 32;
    if (how & 64)
        data[next() % NET_HEAD] = next();
    for (uint32_t size = MIN(length, NET_HEAD); size > 0;
         size = f.count < 3 ? (length - at + 1) / 2 : length - at) {
        piece[f.count++] = (struct net_piece){data + at, size};
        at += size;
    }
    if (length < NET_ETHER || !net_offload_good(&f)) {
        f.offload = (struct net_offload){0};
        net_port_refuse(by, NET_DROP_MALFORMED);
    }
    sender = c;
    said = length;
    heard = 0;
    uint64_t work = by == c->port ? net_port_send(by, &f) : net_lane_send(by, &f);
    REQUIRE(work >= heard && work <= PORTS * (NET_PORT_WORK + 2 * (uint64_t)said + 130 * NET_HEAD));
    /* Each segment brings its headers. */
    REQUIRE(heard <= (uint64_t)PORTS * (said + 130 * NET_HEAD));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct net_port_view view;

    take_input(bytes, size);
    now = 0;
    memset(cards, 0, sizeof(cards));
    sw = (struct net_switch){.name = "x", .now = clock_now, .hz = 1000000};
    sw.vlans = next() & 1;
    sw.mtu = NET_MTU_MIN + next() * 16u;
    net_switch_init(&sw, next());
    for (unsigned i = 0; i < ACTIONS && left > 0; i++) {
        uint8_t what = next();
        struct card *c = &cards[what % PORTS];

        what /= PORTS;
        if (!c->port || what == 0)
            attach(c);
        else if (what < 30)
            send_frame(c);
        else if (what < 32)
            net_port_sent(c->lane[what & 1]);
        else if (what < 34)
            now += next16() * (what & 1 ? 1 : 100000u);
        else if (what < 36)
            c->answer = next() & next();
        else if (what < 38)
            net_port_plug(c->port, what & 1);
        else if (what == 38)
            net_port_close(c->port);
        else if (what == 39)
            net_port_open(c->port, c->can = next() & 63);
        else
            REQUIRE(net_switch_look(&sw, what % PORTS, &view) <= 1);
    }
    REQUIRE(sw.table.learned <= NET_LEARNED && sw.count <= PORTS);
    for (unsigned i = 0; i < PORTS; i++)
        if (cards[i].port)
            net_port_detach(cards[i].port);
    REQUIRE(sw.table.learned == 0);
    net_switch_destroy(&sw);
    return 0;
}
