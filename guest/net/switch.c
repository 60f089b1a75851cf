/* See switch.h. */
#include "guest/net/switch.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/net/finish.h"
#include "guest/net/lane.h"
#include "mm/heap.h"

#define STORM_BYTES 2048u /* that many of one frame count as another one */

const char *net_drop_text(enum net_drop why)
{
    static const char *const texts[NET_DROPS] = {[NET_TAKEN] = "taken",
#define NET_DROP_TEXT(symbol, words) [NET_DROP_##symbol] = (words),
                                                 NET_DROP_LIST(NET_DROP_TEXT)
#undef NET_DROP_TEXT
    };

    return texts[why];
}

/* --- life --- */

void net_switch_init(struct net_switch *s, uint64_t seed)
{
    spin_init(&s->lock, RANK_SWITCH);
    s->count = 0;
    net_table_init(&s->table, seed, NET_AGE_SECONDS * s->hz);
}

void net_switch_watch(struct net_switch *s, net_watch_fn watch)
{
    __atomic_store_n(&s->watch, watch, __ATOMIC_RELEASE);
}

void net_switch_destroy(struct net_switch *s)
{
    for (unsigned i = 0; i < s->count; i++)
        heap_free(s->port[i]);
    s->count = 0;
}

/* One that nobody uses, or another one. With the switch's lock held. */
static struct net_port *free_port(struct net_switch *s)
{
    struct net_port *p;

    for (unsigned i = 0; i < s->count; i++)
        if (!s->port[i]->attached)
            return s->port[i];
    if (s->count == NET_PORTS)
        return NULL;
    p = heap_alloc(sizeof(*p));
    if (!p)
        return NULL;
    p->on = s;
    p->number = s->count;
    spin_init(&p->lock, RANK_PORT);
    s->port[s->count] = p;
    __atomic_store_n(&s->count, s->count + 1, __ATOMIC_RELEASE);
    return p;
}

/* In a VLAN: behind whom others may be, for each of its ports. With the switch's lock held. */
static void find_ways_out(struct net_switch *s, uint16_t vlan)
{
    unsigned count = 0, way[2] = {NET_NOWHERE, NET_NOWHERE}; /* the first ones */

    for (unsigned i = 0; i < s->count; i++)
        if (s->port[i]->attached && s->port[i]->what.vlan == vlan && s->port[i]->what.any_mac) {
            if (count < 2)
                way[count] = i;
            count++;
        }
    for (unsigned i = 0; i < s->count; i++) {
        struct net_port *p = s->port[i];

        if (p->attached && p->what.vlan == vlan) {
            p->ways_out = count - p->what.any_mac;
            p->way_out = way[way[0] == i];
            for (struct net_port *l = p->lanes; l; l = l->lanes) {
                l->ways_out = p->ways_out;
                l->way_out = p->way_out;
            }
        }
    }
}

int net_port_attach(struct net_switch *s, const struct net_port_setup *what, struct net_port **out)
{
    struct net_port *p;
    int error;

    spin_lock(&s->lock);
    p = free_port(s);
    error = p                      ? net_table_fix(&s->table, what->mac, what->vlan, p->number)
            : s->count < NET_PORTS ? -ENOMEM
                                   : -ENOSPC;
    if (error == 0) {
        spin_lock(&p->lock);
        p->what = *what;
        p->counts = (struct net_counts){0};
        __atomic_store_n(&p->unplugged, false, __ATOMIC_RELAXED);
        bucket_init(&p->out, what->rate, NET_BURST, s->hz);
        bucket_init(&p->in, what->rate, NET_BURST, s->hz);
        bucket_init(&p->storm, NET_STORM_RATE, NET_STORM_BURST, s->hz);
        memset(p->reached, 0, sizeof(p->reached));
        p->open = false;
        p->attached = true;
        spin_unlock(&p->lock);
        find_ways_out(s, what->vlan);
        *out = p;
    }
    spin_unlock(&s->lock);
    return error;
}

void net_port_detach(struct net_port *p)
{
    struct net_switch *s = p->on;

    spin_lock(&s->lock);
    net_table_forget(&s->table, p->number);
    spin_lock(&p->lock);
    p->open = p->attached = false;
    p->closed++;
    spin_unlock(&p->lock);
    find_ways_out(s, p->what.vlan);
    net_lanes_free(p);
    spin_unlock(&s->lock);
}

void net_port_open(struct net_port *p, unsigned can)
{
    spin_lock(&p->lock);
    p->can = (uint8_t)can;
    p->open = true;
    spin_unlock(&p->lock);
}

void net_port_close(struct net_port *p)
{
    spin_lock(&p->lock);
    p->open = false;
    p->closed++;
    spin_unlock(&p->lock);
}

void net_port_lock(struct net_port *p)
{
    spin_lock(&p->lock);
}

void net_port_unlock(struct net_port *p)
{
    spin_unlock(&p->lock);
}

void net_port_plug(struct net_port *p, bool in)
{
    for (; p; p = p->lanes)
        __atomic_store_n(&p->unplugged, !in, __ATOMIC_RELAXED);
}

bool net_port_plugged(const struct net_port *p)
{
    return !__atomic_load_n(&p->unplugged, __ATOMIC_RELAXED);
}

/* --- counters --- */

/* Each has one writer at a time. */
static void add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

void net_port_refuse(struct net_port *p, enum net_drop why)
{
    add(&p->counts.dropped[why], 1);
}

/* --- what may be sent --- */

static bool has_tag(const uint8_t *head, uint32_t length)
{
    uint16_t type = net_get16(head + 2 * NET_MAC);

    return (type == NET_TYPE_TAGGED || type == NET_TYPE_SERVICE) && length >= NET_ETHER + NET_TAG;
}

/* Its type, behind all tags that it has. */
static uint16_t type_of(const uint8_t *head, uint32_t length)
{
    for (length = MIN(length, NET_HEAD); has_tag(head, length); length -= NET_TAG)
        head += NET_TAG;
    return net_get16(head + 2 * NET_MAC);
}

/* "Bridge group addresses" of IEEE 802.1Q, and what one end of a cable says to the other: no bridge
 * passes them on. A pause need not be to a group, so it is known by its type. */
static bool is_reserved(const uint8_t *head, uint32_t length)
{
    static const uint8_t reserved[] = {0x01, 0x80, 0xc2, 0x00, 0x00};

    return (memcmp(head, reserved, sizeof(reserved)) == 0 && head[5] < 16) ||
           type_of(head, length) == NET_TYPE_CONTROL;
}

/* A lane has no limit of its own. */
static inline __attribute__((always_inline)) bool storm_allows(struct net_port *p, uint64_t units,
                                                               uint64_t now)
{
    if (UNLIKELY(!p->storm.price))
        return net_lane_storm(p, units, now);
    return bucket_take(&p->storm, units, now);
}

/* Whether that port may send that frame at all. */
static enum net_drop check(struct net_port *p, const struct net_frame *f, uint64_t now)
{
    const struct net_offload *o = &f->offload;
    const uint8_t *head = f->piece[0].data;
    uint32_t most = p->on->mtu + NET_ETHER;

    if (!net_port_plugged(p))
        return NET_DROP_UNPLUGGED;
    if (f->length < NET_ETHER)
        return NET_DROP_SHORT;
    if (has_tag(head, f->length)) {
        if (p->on->vlans && ((net_get16(head + NET_ETHER) & NET_VID_MASK) != 0 ||
                             has_tag(head + NET_TAG, f->length - NET_TAG)))
            return NET_DROP_TAGGED; /* its VLAN is not for it to choose, nor behind a priority */
        most += NET_TAG;
    }
    if (f->length > NET_MAX_FRAME ||
        (o->gso ? (uint32_t)o->headers + o->segment : f->length) > most)
        return NET_DROP_LONG;
    if (net_mac_is_group(head + NET_MAC) ||
        (!p->what.any_mac && memcmp(head + NET_MAC, p->what.mac, NET_MAC) != 0))
        return NET_DROP_FORGED;
    if (o->gso && net_mac_is_group(head)) { /* TCP has no groups; of UDP each segment counts */
        if (o->gso == NET_GSO_TCP4 || o->gso == NET_GSO_TCP6)
            return NET_DROP_MALFORMED;
        if (!storm_allows(p, net_frame_more(f), now))
            return NET_DROP_STORM;
    }
    return is_reserved(head, f->length) ? NET_DROP_RESERVED : NET_TAKEN;
}

/* --- to whom --- */

struct passage {
    struct net_port *from, *to;
    const struct net_frame *frame;
    bool (*hand_over)(void *context, const struct net_frame *f);
    net_watch_fn watch; /* of who is told, if that is hand_over_watched() */
    uint64_t now, work;
    enum net_drop why; /* of the last one */
};

/* Of a frame that may have been finished, one or several. */
static bool hand_over(void *context, const struct net_frame *f)
{
    struct passage *g = context;
    struct net_counts *c = &g->to->counts;

    g->why = g->to->what.ops->receive(g->to->what.owner, f);
    g->work += f->length; /* taken or not: it may have been copied before it was found not to fit */
    if (g->why != NET_TAKEN) {
        add(&c->dropped[g->why], 1);
        return false;
    }
    add(&c->received, 1);
    add(&c->received_bytes, f->length);
    return true;
}

static bool hand_over_watched(void *context, const struct net_frame *f)
{
    struct passage *g = context;
    bool taken = hand_over(g, f);

    g->watch(g->to, f, false, g->why);
    return taken;
}

/* With the port's lock held: it may have become another one's since it was found. */
static bool may_hear(const struct net_port *from, const struct net_port *to, unsigned number)
{
    return to->attached && number != from->number && to->what.vlan == from->what.vlan &&
           !(to->what.isolated && from->what.isolated);
}

static uint8_t needs(const struct net_offload *o)
{
    static const uint8_t to_cut[] = {[NET_GSO_TCP4] = NET_CAN_TCP4,
                                     [NET_GSO_TCP6] = NET_CAN_TCP6,
                                     [NET_GSO_UDP4] = NET_CAN_UDP4,
                                     [NET_GSO_UDP6] = NET_CAN_UDP6};

    return (o->checksum ? NET_CAN_CHECKSUM : 0) | to_cut[o->gso] |
           (o->gso && o->ecn ? NET_CAN_ECN : 0);
}

static void give(struct passage *g)
{
    struct net_port *to = g->to;
    const struct net_frame *f = g->frame;

    if (!to->open || !net_port_plugged(to)) {
        add(&to->counts.dropped[NET_DROP_CLOSED], 1);
        return;
    }
    if (!bucket_take(&to->in, net_frame_bytes(f), g->now)) {
        add(&to->counts.dropped[NET_DROP_RATE], 1);
        return;
    }
    g->from->reached[to->number / 64] |= BIT(to->number % 64);
    if (needs(&f->offload) & ~to->can) {
        g->work += f->length;
        net_finish(f, to->can, g->hand_over, g);
    } else {
        g->hand_over(g, f);
    }
}

/* False: it is not for that port. */
static bool pass_to(struct passage *g, unsigned number, bool only_any_mac)
{
    bool heard;

    g->to = g->from->on->port[number];
    g->work += NET_PORT_WORK;
    spin_lock(&g->to->lock);
    heard = may_hear(g->from, g->to, number) && (g->to->what.any_mac || !only_any_mac);
    if (heard)
        give(g);
    spin_unlock(&g->to->lock);
    return heard;
}

/* To all, or to all behind whom others may be. */
static bool flood(struct passage *g, bool only_any_mac)
{
    unsigned count = __atomic_load_n(&g->from->on->count, __ATOMIC_ACQUIRE);
    bool heard = false;

    for (unsigned i = 0; i < count; i++)
        heard = pass_to(g, i, only_any_mac) || heard;
    return heard;
}

/* Learn where it comes from, and find where it goes to; NET_NOWHERE: to several, perhaps. */
static enum net_drop look_up(const struct passage *g, unsigned *number)
{
    struct net_switch *s = g->from->on;
    const struct net_port_setup *what = &g->from->what;
    const uint8_t *head = g->frame->piece[0].data;
    enum net_drop why = NET_TAKEN;
    bool group = net_mac_is_group(head);

    spin_lock(&s->lock);
    if (what->any_mac && net_table_learn(&s->table, head + NET_MAC, what->vlan, g->from->number,
                                         g->now) == NET_LEARNED_FORGED)
        why = NET_DROP_FORGED;
    else
        *number = group ? NET_NOWHERE : net_table_find(&s->table, head, what->vlan, g->now);
    if (!group && why == NET_TAKEN && *number == NET_NOWHERE) {
        if (g->from->ways_out == 0)
            why = NET_DROP_NOBODY;
        else if (g->from->ways_out == 1)
            *number = g->from->way_out;
    }
    spin_unlock(&s->lock);
    return why;
}

static enum net_drop pass(struct passage *g)
{
    struct net_port *p = g->from;
    unsigned number;
    enum net_drop why = check(p, g->frame, g->now);

    if (why == NET_TAKEN)
        why = look_up(g, &number);
    if (why != NET_TAKEN)
        return why;
    if (number != NET_NOWHERE)
        return pass_to(g, number, false) ? NET_TAKEN : NET_DROP_NOBODY;
    if (!storm_allows(p, 1 + g->frame->length / STORM_BYTES, g->now))
        return NET_DROP_STORM;
    return flood(g, !net_mac_is_group(g->frame->piece[0].data)) ? NET_TAKEN : NET_DROP_NOBODY;
}

uint64_t net_port_wait(struct net_port *p)
{
    return bucket_wait(&p->out, p->on->now());
}

/* What comes of it. */
static enum net_drop send_frame(struct passage *g)
{
    struct net_port *p = g->from;
    enum net_drop why;

    /* Who cares has asked net_port_wait(). */
    (void)bucket_take(&p->out, net_frame_bytes(g->frame), g->now);
    why = pass(g);
    if (why != NET_TAKEN) {
        net_port_refuse(p, why);
        return why;
    }
    add(&p->counts.sent, 1);
    add(&p->counts.sent_bytes, g->frame->length);
    return NET_TAKEN;
}

/* Out of line, so that nobody pays for it who is not watched. */
static __attribute__((noinline)) uint64_t
send_watched(struct net_port *p, const struct net_frame *f, net_watch_fn watch)
{
    struct passage g = {
        .from = p, .frame = f, .hand_over = hand_over_watched, .watch = watch, .now = p->on->now()};
    enum net_drop why = send_frame(&g);

    watch(p, f, true, why);
    return g.work;
}

uint64_t net_port_send(struct net_port *p, const struct net_frame *f)
{
    net_watch_fn watch = __atomic_load_n(&p->on->watch, __ATOMIC_ACQUIRE);

    if (UNLIKELY(watch))
        return send_watched(p, f, watch);
    struct passage g = {.from = p, .frame = f, .hand_over = hand_over, .now = p->on->now()};

    (void)send_frame(&g);
    return g.work;
}

void net_port_sent(struct net_port *p)
{
    for (unsigned i = 0; i < ARRAY_SIZE(p->reached); i++) {
        for (uint64_t left = p->reached[i]; left; left &= left - 1) {
            struct net_port *to = p->on->port[64 * i + (unsigned)__builtin_ctzll(left)];

            spin_lock(&to->lock);
            if (to->attached && to->open)
                to->what.ops->received(to->what.owner);
            spin_unlock(&to->lock);
        }
        p->reached[i] = 0;
    }
}

/* --- for people --- */

static void add_counts(struct net_counts *sum, const struct net_counts *more)
{
    const uint64_t *from = (const uint64_t *)more;
    uint64_t *to = (uint64_t *)sum;

    for (unsigned i = 0; i < sizeof(*sum) / sizeof(*to); i++)
        to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

int net_switch_look(struct net_switch *s, unsigned index, struct net_port_view *out)
{
    struct net_port *p;
    int result = 0;

    spin_lock(&s->lock);
    if (index >= s->count) {
        result = -ENOENT;
    } else if ((p = s->port[index])->attached) {
        result = 1;
        spin_lock(&p->lock);
        memcpy(out->name, p->what.name, sizeof(out->name));
        memcpy(out->mac, p->what.mac, NET_MAC);
        out->vlan = p->what.vlan;
        out->isolated = p->what.isolated;
        out->any_mac = p->what.any_mac;
        out->rate = p->what.rate;
        out->plugged = net_port_plugged(p);
        out->open = p->open;
        out->learned = s->table.learned_at[index];
        out->counts = (struct net_counts){0};
        for (const struct net_port *l = p; l; l = l->lanes)
            add_counts(&out->counts, &l->counts);
        spin_unlock(&p->lock);
    }
    spin_unlock(&s->lock);
    return result;
}
