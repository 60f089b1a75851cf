/* See uplink.h. */
#include "guest/net/uplink.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"

#define ADDRESSES (2u * NET_MAC)

_Static_assert(NET_HEAD + NET_TAG <= NET_CARD_FIRST, "a frame's head is in its first piece");

/* --- out: with the port's lock held, on any processor --- */

/* The frame with its VLAN's tag behind the addresses; a priority that it had stays. */
static enum net_drop send_tagged(struct uplink_port *p, const struct net_frame *f)
{
    const uint8_t *head = f->piece[0].data;
    bool has_tag =
        f->length >= NET_ETHER + NET_TAG && net_get16(head + ADDRESSES) == NET_TYPE_TAGGED;
    unsigned tag = (has_tag ? net_get16(head + NET_ETHER) & ~NET_VID_MASK : 0) | p->vlan, count = 2;
    uint32_t skip = ADDRESSES + (has_tag ? NET_TAG : 0);

    if (f->count + 2 > UPLINK_PIECES)
        return NET_DROP_FULL;
    p->tag[0] = NET_TYPE_TAGGED >> 8;
    p->tag[1] = NET_TYPE_TAGGED & 0xff;
    p->tag[2] = (uint8_t)(tag >> 8);
    p->tag[3] = (uint8_t)tag;
    p->piece[0] = (struct net_piece){head, ADDRESSES};
    p->piece[1] = (struct net_piece){p->tag, NET_TAG};
    if (f->piece[0].length > skip)
        p->piece[count++] = (struct net_piece){head + skip, f->piece[0].length - skip};
    for (unsigned i = 1; i < f->count; i++)
        p->piece[count++] = f->piece[i];
    return net_card_send(p->of->card, p->piece, count, f->length + ADDRESSES + NET_TAG - skip)
               ? NET_TAKEN
               : NET_DROP_FULL;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct uplink_port *p = owner;

    if (p->vlan)
        return send_tagged(p, f);
    return net_card_send(p->of->card, f->piece, f->count, f->length) ? NET_TAKEN : NET_DROP_FULL;
}

static void received(void *owner)
{
    struct uplink_port *p = owner;

    net_card_sent(p->of->card);
}

static const struct net_port_ops port_ops = {receive, received};

/* --- in: on processor 0 --- */

/* Whose it is, and how much of it is its VLAN's tag; NULL: nobody's. */
static struct uplink_port *find_port(const struct uplink *u, const struct net_piece *first,
                                     uint32_t *tag)
{
    const uint8_t *head = first->data;

    *tag = u->on->vlans ? NET_TAG : 0;
    if (!u->on->vlans)
        return u->port[0];
    if (first->length < NET_ETHER + NET_TAG || net_get16(head + ADDRESSES) != NET_TYPE_TAGGED)
        return NULL;
    for (unsigned i = 0; i < u->count; i++)
        if (u->port[i]->vlan == (net_get16(head + NET_ETHER) & NET_VID_MASK))
            return u->port[i];
    return NULL;
}

static void tell(struct uplink *u)
{
    if (u->arrived)
        net_port_sent(u->arrived->port);
    u->arrived = NULL;
}

/* As the switch wants it: a first piece that nobody changes, with all that is looked at. */
static void on_frame(void *context, const struct net_arrival *a)
{
    struct uplink *u = context;
    struct net_piece piece[NET_CARD_PIECES + 1];
    const uint8_t *data = a->piece[0].data;
    uint32_t tag, length = a->piece[0].length, first, addresses;
    struct uplink_port *p = find_port(u, &a->piece[0], &tag);
    struct net_frame f = {.piece = piece, .count = 1, .length = a->length - tag};

    if (!p) {
        __atomic_store_n(&u->elsewhere, u->elsewhere + 1, __ATOMIC_RELAXED);
        return;
    }
    first = MIN(length - tag, NET_HEAD);
    addresses = MIN(first, ADDRESSES);
    memcpy(u->head, data, addresses);
    memcpy(u->head + addresses, data + addresses + tag, first - addresses);
    piece[0] = (struct net_piece){u->head, first};
    if (length > first + tag)
        piece[f.count++] = (struct net_piece){data + first + tag, length - first - tag};
    for (unsigned i = 1; i < a->count; i++)
        piece[f.count++] = a->piece[i];
    if (p != u->arrived)
        tell(u);
    u->arrived = p;
    (void)net_port_send(p->port, &f);
}

static void on_end(void *context)
{
    tell(context);
}

static void on_link(void *context, bool up)
{
    struct uplink *u = context;

    for (unsigned i = 0; i < u->count; i++)
        net_port_plug(u->port[i]->port, up);
}

static const struct net_card_user card_user = {on_frame, on_end, on_link};

/* --- life --- */

static int add_port(struct uplink *u, uint16_t vlan)
{
    struct net_port_setup what = {.any_mac = true, .vlan = vlan, .ops = &port_ops};
    struct uplink_port *p;
    int error;

    if (u->count == UPLINK_VLANS)
        return -ENOSPC;
    p = heap_alloc(sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->of = u;
    p->vlan = vlan;
    what.owner = p;
    format(what.name, sizeof(what.name), "uplink %s", u->card->name);
    memcpy(what.mac, u->card->mac, NET_MAC);
    error = net_port_attach(u->on, &what, &p->port);
    if (error) {
        heap_free(p);
        return error;
    }
    net_port_plug(p->port, u->card->up);
    net_port_open(p->port, 0);
    u->port[u->count++] = p;
    return 0;
}

static void remove_ports(struct uplink *u)
{
    while (u->count > 0) {
        struct uplink_port *p = u->port[--u->count];

        net_port_detach(p->port);
        heap_free(p);
    }
}

int uplink_start(struct uplink *u, struct net_switch *on, struct net_card *card)
{
    int error;

    *u = (struct uplink){.on = on, .card = card};
    error = on->vlans ? 0 : add_port(u, 0);
    if (error == 0)
        error = net_card_start(card, &card_user, u, on->mtu + NET_ETHER + NET_TAG);
    if (error)
        remove_ports(u);
    return error;
}

int uplink_add_vlan(struct uplink *u, uint16_t vlan)
{
    for (unsigned i = 0; i < u->count; i++)
        if (u->port[i]->vlan == vlan)
            return 0;
    return add_port(u, vlan);
}

void uplink_stop(struct uplink *u)
{
    net_card_stop(u->card);
    remove_ports(u);
}
