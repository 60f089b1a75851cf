/* See packets.h. */
#include "guest/capture/packets.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define PROGRAM "Corbel"

_Static_assert(PACKETS_BLOCK >= PCAPNG_SMALL && PACKETS_BLOCK <= UINT16_MAX, "each block fits");
_Static_assert(2 * PACKETS_BLOCK < PACKETS_RING, "the longest packet fits");

void packets_init(struct packets *p, uint64_t now)
{
    memset(p, 0, offsetof(struct packets, ring));
    p->began = now;
    p->section = true;
}

/* --- the ring --- */

static void ring_put(struct packets *p, const void *data, size_t size)
{
    size_t at = (p->head + p->used) % PACKETS_RING, first = MIN(size, PACKETS_RING - at);

    memcpy(p->ring + at, data, first);
    memcpy(p->ring, (const uint8_t *)data + first, size - first);
    p->used += (uint32_t)size;
}

static void ring_look(const struct packets *p, void *data, size_t size)
{
    size_t first = MIN(size, PACKETS_RING - p->head);

    memcpy(data, p->ring + p->head, first);
    memcpy((uint8_t *)data + first, p->ring, size - first);
}

static void ring_drop(struct packets *p, size_t size)
{
    p->head = (uint32_t)((p->head + size) % PACKETS_RING);
    p->used -= (uint32_t)size;
}

/* The frame's first bytes, that many: its pieces may change meanwhile, but not their lengths. */
static void ring_put_frame(struct packets *p, const struct net_frame *f, uint32_t left)
{
    for (unsigned i = 0; left > 0; i++) {
        uint32_t size = MIN(left, f->piece[i].length);

        ring_put(p, f->piece[i].data, size);
        left -= size;
    }
}

/* --- what is seen --- */

static bool is_it(const struct packets_interface *i, const struct net_port *port)
{
    return memcmp(i->mac, port->what.mac, NET_MAC) == 0 && i->vlan == port->what.vlan &&
           i->on == port->on && strcmp(i->name, port->what.name) == 0;
}

/* A card that comes back, behind whichever port, is the one that it was. */
static struct packets_interface *find(struct packets *p, const struct net_port *port)
{
    struct packets_interface *i;

    for (unsigned n = 0; n < p->count; n++)
        if (is_it(&p->interface[n], port))
            return &p->interface[n];
    if (p->count == PACKETS_INTERFACES)
        return NULL;
    i = &p->interface[p->count++];
    *i = (struct packets_interface){.vlan = port->what.vlan, .on = port->on};
    memcpy(i->name, port->what.name, sizeof(i->name));
    memcpy(i->mac, port->what.mac, NET_MAC);
    return i;
}

/* Why it went no further, in words; NULL where it did. */
static const char *remark(const struct packets_frame *f, char text[PCAPNG_TEXT])
{
    if (f->why == NET_TAKEN)
        return NULL;
    format(text, PCAPNG_TEXT, "%s: %s", f->sent ? "not passed on" : "not taken",
           net_drop_text(f->why));
    return text;
}

void packets_see(struct packets *p, const struct packets_frame *f)
{
    const struct net_frame *frame = f->frame;
    const struct net_offload *o = &frame->offload;
    struct packets_interface *i = find(p, f->port);
    uint8_t head[PCAPNG_HEAD], tail[PCAPNG_TAIL];
    char text[PCAPNG_TEXT];
    size_t size, whole;

    if (!i) {
        p->beyond++;
        return;
    }
    i->seen++;
    if (!filter_match(&p->filter, frame->piece[0].data, frame->piece[0].length, i->vlan))
        return;
    i->matched++;
    const struct pcapng_packet packet = {
        .interface = (uint32_t)(i - p->interface),
        .time = f->time,
        .kept = MIN(frame->length, p->keep),
        .length = frame->length,
        .flags = (uint32_t)((f->sent ? PCAPNG_OUTBOUND : PCAPNG_INBOUND) |
                            (o->checksum ? PCAPNG_NO_SUM : 0) | (o->gso ? PCAPNG_UNCUT : 0)),
        .lost = i->lost - i->told,
        .comment = remark(f, text),
    };
    size = pcapng_tail(tail, &packet);
    whole = pcapng_head(head, &packet, size);
    if (whole > PACKETS_RING - p->used) {
        i->lost++;
        return;
    }
    ring_put(p, head, sizeof(head));
    ring_put_frame(p, frame, packet.kept);
    ring_put(p, tail, size);
    i->told = i->lost;
    p->held++;
}

/* --- what goes out --- */

void packets_again(struct packets *p)
{
    p->counted = 0;
    p->section = true;
    p->any = false;
    p->last = p->ended;
}

void packets_end(struct packets *p)
{
    p->ended = p->last = true;
}

static size_t put_statistics(struct packets *p, uint8_t *out, uint64_t now)
{
    const struct packets_interface *i = &p->interface[p->counted];
    const struct pcapng_statistics s = {.interface = p->counted++,
                                        .time = now,
                                        .began = p->began,
                                        .seen = i->seen,
                                        .matched = i->matched,
                                        .lost = i->lost};

    return pcapng_statistics(out, &s);
}

static size_t put_interface(struct packets *p, uint8_t *out)
{
    const struct packets_interface *i = &p->interface[p->described++];
    char about[PCAPNG_TEXT], vlan[16] = "";

    if (i->vlan)
        format(vlan, sizeof(vlan), ", VLAN %u", i->vlan);
    format(about, sizeof(about), "switch %s%s", i->on->name, vlan);
    const struct pcapng_interface block = {i->name, about, i->mac, PACKETS_KEEP_MOST};

    p->counted = p->described;
    return pcapng_interface(out, &block);
}

static size_t put_packet(struct packets *p, uint8_t *out)
{
    uint8_t length[PCAPNG_LENGTH_AT + 4];
    size_t size;

    ring_look(p, length, sizeof(length));
    size = length[PCAPNG_LENGTH_AT] | (size_t)length[PCAPNG_LENGTH_AT + 1] << 8;
    ring_look(p, out, size);
    ring_drop(p, size);
    p->held--;
    p->any = true;
    return size;
}

size_t packets_next(struct packets *p, uint8_t *out, uint64_t now)
{
    if (p->any && now >= p->next)
        packets_again(p);
    if (p->counted < p->described)
        return put_statistics(p, out, now);
    if (p->section) {
        p->section = false;
        p->described = p->counted = 0;
        p->next = now + PACKETS_AGAIN(p->count);
        return pcapng_section(out, PROGRAM, p->about);
    }
    if (p->described < p->count)
        return put_interface(p, out);
    if (p->used)
        return put_packet(p, out);
    if (!p->last)
        return 0;
    p->last = false;
    p->counted = 0;
    return p->described ? put_statistics(p, out, now) : 0;
}

bool packets_over(const struct packets *p)
{
    return p->ended && !p->section && !p->used && p->described == p->count && !p->last &&
           p->counted == p->described;
}
