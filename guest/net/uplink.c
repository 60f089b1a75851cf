/* See uplink.h. */
#include "guest/net/uplink.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

/* --- out: with the port's lock held, on any processor --- */

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct uplink *u = owner;

    return net_card_send(u->card, f->piece, f->count, f->length) ? NET_TAKEN : NET_DROP_FULL;
}

static void received(void *owner)
{
    struct uplink *u = owner;

    net_card_sent(u->card);
}

static const struct net_port_ops port_ops = {receive, received};

/* --- in: on processor 0 --- */

/* As the switch wants it: a first piece that nobody changes, with all that is looked at. */
static void on_frame(void *context, const struct net_arrival *a)
{
    struct uplink *u = context;
    struct net_piece piece[NET_CARD_PIECES + 1];
    uint32_t first = MIN(a->piece[0].length, NET_HEAD);
    struct net_frame f = {.piece = piece, .count = 1, .length = a->length};

    memcpy(u->head, a->piece[0].data, first);
    piece[0] = (struct net_piece){u->head, first};
    if (a->piece[0].length > first)
        piece[f.count++] = (struct net_piece){(const uint8_t *)a->piece[0].data + first,
                                              a->piece[0].length - first};
    for (unsigned i = 1; i < a->count; i++)
        piece[f.count++] = a->piece[i];
    (void)net_port_send(u->port, &f);
}

static void on_end(void *context)
{
    struct uplink *u = context;

    net_port_sent(u->port);
}

static void on_link(void *context, bool up)
{
    struct uplink *u = context;

    net_port_plug(u->port, up);
}

static const struct net_card_user card_user = {on_frame, on_end, on_link};

int uplink_start(struct uplink *u, struct net_switch *on, struct net_card *card)
{
    struct net_port_setup what = {.any_mac = true, .ops = &port_ops, .owner = u};
    int error;

    *u = (struct uplink){.on = on, .card = card};
    format(what.name, sizeof(what.name), "uplink %s", card->name);
    memcpy(what.mac, card->mac, NET_MAC);
    error = net_port_attach(on, &what, &u->port);
    if (error)
        return error;
    net_port_plug(u->port, false);
    net_port_open(u->port, 0);
    error = net_card_start(card, &card_user, u, on->mtu + NET_ETHER + NET_TAG);
    if (error)
        net_port_detach(u->port);
    return error;
}

void uplink_stop(struct uplink *u)
{
    net_card_stop(u->card);
    net_port_detach(u->port);
}
