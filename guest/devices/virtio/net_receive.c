/* virtio-net: what comes. See net_card.h; all but card_tell() is with the port's lock held. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/virtio/net_card.h"

/* A sender's time is not for a driver to spend that offers crumbs: so much is looked at for one
 * frame. Linux' smallest buffers take 64 KiB in 44 chains. */
#define MOST_CHAINS      64u
#define MOST_DESCRIPTORS 256u

unsigned card_can(const struct card *n)
{
    uint64_t f = n->virtio.accepted & n->filter.offloads;

    if (!(f & F_GUEST_CSUM))
        return 0;
    return NET_CAN_CHECKSUM | (f & F_GUEST_TSO4 ? NET_CAN_TCP4 : 0) |
           (f & F_GUEST_TSO6 ? NET_CAN_TCP6 : 0) | (f & F_GUEST_ECN ? NET_CAN_ECN : 0) |
           (f & F_GUEST_USO4 ? NET_CAN_UDP4 : 0) | (f & F_GUEST_USO6 ? NET_CAN_UDP6 : 0);
}

/* --- whether the driver wants it --- */

static bool is_in(const uint8_t (*table)[NET_MAC], unsigned count, const uint8_t *mac)
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(table[i], mac, NET_MAC) == 0)
            return true;
    return false;
}

static bool wants_address(const struct card_filter *f, const uint8_t *mac)
{
    uint8_t how = f->how | f->overflow;

    if (net_mac_is_broadcast(mac))
        return !(how & HEAR_NO_BCAST);
    if (net_mac_is_group(mac))
        return !(how & HEAR_NO_MULTI) &&
               ((how & HEAR_ALL_MULTI) || is_in(f->multicast, f->multicasts, mac));
    return !(how & HEAR_NO_UNI) && ((how & HEAR_ALL_UNI) || memcmp(mac, f->mac, NET_MAC) == 0 ||
                                    is_in(f->unicast, f->unicasts, mac));
}

static bool wants_vlan(const struct card *n, const uint8_t *head, uint32_t length)
{
    unsigned vid;

    if (!(n->virtio.accepted & F_CTRL_VLAN) || length < NET_ETHER + NET_TAG ||
        net_get16(head + 2 * NET_MAC) != NET_TYPE_TAGGED)
        return true;
    vid = net_get16(head + NET_ETHER) & NET_VID_MASK;
    return vid == 0 || (n->filter.vlans[vid / 64] >> vid % 64 & 1);
}

CARD_INLINE bool wants(const struct card *n, const struct net_frame *f)
{
    const uint8_t *head = f->piece[0].data;

    return (n->filter.how & HEAR_ALL) ||
           (wants_address(&n->filter, head) && wants_vlan(n, head, f->length));
}

/* --- into the driver's buffers --- */

/* What is copied: the header, then the frame's pieces. */
struct source {
    const struct net_frame *frame;
    struct card_header header;
    unsigned piece;       /* 0: the header; else one more than the frame's */
    uint32_t offset;      /* in it */
    uint32_t at, left;    /* in all */
    uint64_t count_at[2]; /* gpa of num_buffers' two bytes */
};

CARD_INLINE void make_header(struct source *s)
{
    static const uint8_t types[] = {[NET_GSO_TCP4] = GSO_TCP4,
                                    [NET_GSO_TCP6] = GSO_TCP6,
                                    [NET_GSO_UDP4] = GSO_UDP,
                                    [NET_GSO_UDP6] = GSO_UDP};
    const struct net_offload *o = &s->frame->offload;
    struct card_header *h = &s->header;

    *h = (struct card_header){.num_buffers = 1};
    if (!o->checksum)
        return;
    h->flags = HEADER_NEEDS_CSUM;
    h->csum_start = o->start;
    h->csum_offset = (uint16_t)(o->field - o->start);
    if (!o->gso)
        return;
    h->gso_type = (uint8_t)(types[o->gso] | (o->ecn ? GSO_ECN : 0));
    h->hdr_len = o->headers;
    h->gso_size = o->segment;
}

/* As much as goes from that address on. */
CARD_INLINE bool copy(struct card *n, struct source *s, uint64_t gpa, uint32_t room)
{
    while (room > 0 && s->left > 0) {
        const struct net_piece *p = s->piece ? &s->frame->piece[s->piece - 1] : NULL;
        const uint8_t *data = p ? p->data : (const uint8_t *)&s->header;
        uint32_t length = p ? p->length : sizeof(s->header), size = MIN(length - s->offset, room);
        uint32_t count = offsetof(struct card_header, num_buffers);

        if (device_memory_write(&n->virtio.dev, gpa, data + s->offset, size) < 0)
            return false;
        for (unsigned i = 0; i < 2; i++)
            if (!p && count + i >= s->offset && count + i < s->offset + size)
                s->count_at[i] = gpa + count + i - s->offset;
        s->offset += size;
        if (s->offset == length) {
            s->piece++;
            s->offset = 0;
        }
        s->at += size;
        s->left -= size;
        gpa += size;
        room -= size;
    }
    return true;
}

static uint64_t room_in(const struct virtq_chain *c)
{
    uint64_t room = 0;

    for (unsigned i = 0; i < c->count; i++)
        room += c->segment[i].length;
    return room;
}

/* The next chain, filled. */
CARD_INLINE enum net_drop fill(struct card *n, struct card_receiver *r, struct virtq *q,
                               struct source *s, struct virtq_done *done)
{
    struct virtq_chain *c = &r->buffer;
    uint32_t before = s->at;
    int result = virtq_next(q, c);

    if (result == 0) { /* what comes in between may be taken away again: it is looked at once */
        r->starved = !virtq_listen(q);
        result = r->starved ? 0 : virtq_next(q, c);
    }
    if (result == 0 && !q->broken)
        return NET_DROP_FULL;
    if (result <= 0 || c->readable > 0 || c->count == 0)
        return NET_DROP_BROKEN;
    if (!(n->virtio.accepted & F_MRG_RXBUF) && room_in(c) < s->left)
        return NET_DROP_FULL;
    for (unsigned i = 0; i < c->count && s->left > 0; i++)
        if (!copy(n, s, c->segment[i].gpa, c->segment[i].length))
            return NET_DROP_BROKEN;
    *done = (struct virtq_done){c->id, c->slots, s->at - before};
    return NET_TAKEN;
}

/* All of it, in as many chains as it takes. */
CARD_INLINE enum net_drop put(struct card *n, struct card_receiver *r, struct virtq *q,
                              const struct net_frame *f)
{
    struct source s = {.frame = f, .left = (uint32_t)sizeof(s.header) + f->length};
    struct virtq_done done[MOST_CHAINS];
    unsigned chains = 0, seen = 0;
    enum net_drop why;

    make_header(&s);
    do {
        if (chains == MOST_CHAINS || seen >= MOST_DESCRIPTORS)
            return NET_DROP_FULL;
        why = fill(n, r, q, &s, &done[chains++]);
        if (why != NET_TAKEN)
            return why;
        seen += r->buffer.slots + r->buffer.table;
    } while (s.left > 0);
    for (unsigned i = 0; i < 2 && chains > 1; i++) {
        uint8_t byte = i == 0 ? (uint8_t)chains : 0;

        if (device_memory_write(&n->virtio.dev, s.count_at[i], &byte, 1) < 0)
            return NET_DROP_BROKEN;
    }
    virtq_return_all(q, done, chains);
    return NET_TAKEN;
}

/* Where there are buffers, as far as is known. */
CARD_INLINE enum net_drop try_to_put(struct card *n, struct card_receiver *r, struct virtq *q,
                                     const struct net_frame *f)
{
    struct virtq_mark mark = virtq_mark(q);
    enum net_drop why;

    if (r->starved)
        return NET_DROP_FULL;
    why = put(n, r, q, f);
    if (why == NET_DROP_FULL)
        virtq_take_back(q, mark);
    if (why == NET_DROP_BROKEN)
        q->broken = true;
    r->arrived = r->arrived || why == NET_TAKEN;
    return why;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct card *n = owner;
    struct virtq *q = &n->virtio.queue[CARD_RECEIVE];

    if (q->broken)
        return NET_DROP_BROKEN;
    if (!wants(n, f))
        return NET_DROP_FILTERED;
    return try_to_put(n, &n->receiver, q, f);
}

bool card_wants(const struct card *n, const struct net_frame *f)
{
    return wants(n, f);
}

enum net_drop card_put(struct card *n, struct card_receiver *r, struct virtq *q,
                       const struct net_frame *f)
{
    return q->broken ? NET_DROP_BROKEN : try_to_put(n, r, q, f);
}

/* --- telling the driver --- */

/* Whether somebody with the card's lock has to do something. */
static bool look(struct card *n)
{
    struct virtq *q = &n->virtio.queue[CARD_RECEIVE];
    uint8_t what = 0;

    if (n->receiver.arrived && virtq_interrupts(q))
        what |= CARD_TELL_ARRIVED;
    if (q->broken)
        what |= CARD_TELL_BROKEN;
    n->receiver.arrived = false;
    if (what)
        __atomic_fetch_or(&n->pending, what, __ATOMIC_SEQ_CST);
    return what != 0;
}

void card_tell(struct card *n)
{
    uint8_t what = __atomic_exchange_n(&n->pending, 0, __ATOMIC_SEQ_CST);

    if ((what & CARD_TELL_ARRIVED) && virtio_running(&n->virtio))
        virtio_interrupt(&n->virtio, CARD_RECEIVE);
    if (what & CARD_TELL_BROKEN)
        virtio_broken(&n->virtio);
}

/* The sender has a card's lock, his own: so he does not wait for this one's. Whoever has it may be
 * waiting for the port. */
static void received(void *owner)
{
    struct card *n = owner;

    if (!look(n))
        return;
    if (device_trylock(&n->virtio.dev)) {
        card_tell(n);
        device_unlock(&n->virtio.dev);
    } else {
        device_timer_soon(&n->virtio.dev, CARD_TIMER_TELL);
    }
}

const struct net_port_ops card_port_ops = {receive, received};

/* --- for the card --- */

void card_refilled(struct card *n)
{
    net_port_lock(n->port);
    n->receiver.starved = false;
    virtq_silence(&n->virtio.queue[CARD_RECEIVE]);
    net_port_unlock(n->port);
}

void card_settle(struct card *n)
{
    net_port_lock(n->port);
    (void)look(n);
    net_port_unlock(n->port);
    card_tell(n);
}
