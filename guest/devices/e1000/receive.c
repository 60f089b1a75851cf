/* See nic.h: what comes. All but nic_tell() is with the port's lock held. */
#include "arch/x86/lib/string.h"
#include "guest/devices/e1000/nic.h"

#define RCTL_SBP   BIT(2)
#define RCTL_UPE   BIT(3)
#define RCTL_MPE   BIT(4)
#define RCTL_LPE   BIT(5)
#define RCTL_BAM   BIT(15)
#define RCTL_VFE   BIT(18)
#define RCTL_BSEX  BIT(25)
#define RCTL_SECRC BIT(26)

#define RX_DD   BIT(0)
#define RX_EOP  BIT(1)
#define RX_IXSM BIT(2) /* nobody has looked at checksums */
#define RX_VP   BIT(3)

#define RAH_AV   BIT(31)
#define SHORTEST 60u
#define CHECKSUM 4u /* which nobody has computed */
#define NORMAL   (1518u + NET_TAG)
#define MOST     80u /* descriptors that one frame may take */

/* --- whether the driver wants it --- */

static bool is_filtered_in(const struct nic_state *s, const uint8_t *mac)
{
    for (unsigned i = 0; i < NIC_ADDRESSES; i++)
        if ((s->filter[i][1] & RAH_AV) && memcmp(s->filter[i], mac, NET_MAC) == 0)
            return true;
    return false;
}

/* "Multicast Table Array": twelve bits of the address' end, which ones the driver says. */
static bool is_group_wanted(const struct nic_state *s, const uint8_t *mac)
{
    static const uint8_t shift[] = {4, 3, 2, 0};
    unsigned hash = ((unsigned)mac[5] << 8 | mac[4]) >> shift[s->rctl >> 12 & 3] & 0xfff;

    return s->groups[hash / 32] >> hash % 32 & 1;
}

static bool wants_address(const struct nic_state *s, const uint8_t *mac)
{
    if (is_filtered_in(s, mac) || (net_mac_is_broadcast(mac) && (s->rctl & RCTL_BAM)))
        return true;
    if (net_mac_is_group(mac))
        return (s->rctl & RCTL_MPE) || is_group_wanted(s, mac);
    return s->rctl & RCTL_UPE;
}

static bool is_tagged(const struct net_frame *f)
{
    const uint8_t *head = f->piece[0].data;

    return f->length >= NET_ETHER + NET_TAG && net_get16(head + 2 * NET_MAC) == NET_TYPE_TAGGED;
}

static uint16_t tag_of(const struct net_frame *f)
{
    const uint8_t *head = f->piece[0].data;

    return net_get16(head + NET_ETHER);
}

static bool wants(const struct nic_state *s, const struct net_frame *f)
{
    unsigned vlan = is_tagged(f) ? tag_of(f) & NET_VID_MASK : 0;

    return wants_address(s, f->piece[0].data) &&
           (!(s->rctl & RCTL_VFE) || !is_tagged(f) || (s->vlans[vlan / 32] >> vlan % 32 & 1));
}

/* --- into the driver's buffers --- */

/* What is copied: the frame's pieces, perhaps without its tag, and zeros behind them. */
struct source {
    const struct net_frame *frame;
    unsigned piece;
    uint32_t offset; /* in it */
    uint32_t at;     /* in the frame as it was sent */
    bool strips;
    uint32_t left; /* with the zeros */
};

static uint32_t buffer_size(const struct nic_state *s)
{
    uint32_t size = 2048u >> (s->rctl >> 16 & 3);

    return (s->rctl & RCTL_BSEX) && size < 2048 ? size * 16 : size;
}

static bool put(struct nic *n, uint64_t *gpa, const void *data, uint32_t size)
{
    bool good = device_memory_write(&n->dev, *gpa, data, size) == 0;

    *gpa += size;
    return good;
}

/* As much as goes into one buffer. */
static bool fill(struct nic *n, struct source *s, uint64_t gpa, uint32_t room)
{
    static const uint8_t zeros[SHORTEST + CHECKSUM];

    for (uint32_t size; room > 0 && s->left > 0; room -= size, s->left -= size) {
        const struct net_piece *p = &s->frame->piece[s->piece];

        if (s->piece == s->frame->count) {
            size = MIN(MIN(s->left, room), (uint32_t)sizeof(zeros));
            if (!put(n, &gpa, zeros, size))
                return false;
            continue;
        }
        if (s->strips && s->at == 2 * NET_MAC) { /* the tag is in the first piece as a whole */
            s->offset += NET_TAG;
            s->at += NET_TAG;
        }
        size = MIN(p->length - s->offset, room);
        if (s->strips && s->at < 2 * NET_MAC)
            size = MIN(size, 2 * NET_MAC - s->at);
        if (!put(n, &gpa, (const uint8_t *)p->data + s->offset, size))
            return false;
        s->at += size;
        s->offset += size;
        if (s->offset == p->length) {
            s->piece++;
            s->offset = 0;
        }
    }
    return true;
}

/* The next descriptor, with what is left of the frame. */
static bool put_descriptor(struct nic *n, struct source *s, uint32_t size)
{
    struct nic_ring *r = &n->s.in_ring;
    uint64_t at = nic_descriptor(r, r->head), gpa;
    uint32_t before = s->left, first, second;

    if (device_memory_read(&n->dev, at, &gpa, sizeof(gpa)) < 0 || !fill(n, s, gpa, size))
        return false;
    first = before - s->left;
    second = (uint32_t)(RX_DD | RX_IXSM | (s->left ? 0 : RX_EOP));
    if (s->strips && !s->left)
        second |= (uint32_t)(RX_VP | (uint32_t)tag_of(s->frame) << 16);
    if (device_memory_write(&n->dev, at + 8, &first, sizeof(first)) < 0 ||
        device_memory_write(&n->dev, at + 12, &second, sizeof(second)) < 0)
        return false;
    r->head = (r->head + 1) % nic_ring_size(r);
    return true;
}

static enum net_drop put_frame(struct nic *n, const struct net_frame *f)
{
    struct nic_ring *r = &n->s.in_ring;
    bool strips = n->s.strips && is_tagged(f);
    uint32_t count = nic_ring_size(r), size = buffer_size(&n->s),
             length = f->length - (strips ? NET_TAG : 0), needs, room;
    struct source s = {.frame = f, .strips = strips};

    if (count == 0 || r->head >= count || r->tail >= count)
        return NET_DROP_FULL;
    s.left = MAX(length, SHORTEST) + (n->s.rctl & RCTL_SECRC ? 0 : CHECKSUM);
    if (f->length + CHECKSUM > NORMAL && !(n->s.rctl & (RCTL_LPE | RCTL_SBP))) {
        n->s.count[NIC_IN_LONG]++;
        return NET_DROP_FILTERED;
    }
    room = (r->tail + count - r->head) % count;
    needs = (s.left + size - 1) / size;
    if (needs > room || needs > MOST) {
        n->arrived |= (uint32_t)ICR_RXO;
        return NET_DROP_FULL;
    }
    while (s.left > 0)
        if (!put_descriptor(n, &s, size))
            return NET_DROP_BROKEN;
    n->arrived |= (uint32_t)ICR_RXT;
    if (room - needs <= count >> (1 + (n->s.rctl >> 8 & 3)))
        n->arrived |= (uint32_t)ICR_RXDMT;
    return NET_TAKEN;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct nic *n = owner;
    enum net_drop why = wants(&n->s, f) ? put_frame(n, f) : NET_DROP_FILTERED;

    nic_count_in(n, f, why);
    return why;
}

/* --- telling the driver --- */

static bool look(struct nic *n)
{
    uint32_t what = n->arrived;

    n->arrived = 0;
    if (what)
        __atomic_fetch_or(&n->pending, what, __ATOMIC_SEQ_CST);
    return what != 0;
}

void nic_tell(struct nic *n)
{
    uint32_t what = __atomic_exchange_n(&n->pending, 0, __ATOMIC_SEQ_CST);

    if (what)
        nic_cause(n, what);
}

/* The sender has a card's lock, his own: so he does not wait for this one's. Whoever has it may be
 * waiting for the port. */
static void received(void *owner)
{
    struct nic *n = owner;

    if (!look(n))
        return;
    if (device_trylock(&n->dev)) {
        nic_tell(n);
        device_unlock(&n->dev);
    } else {
        device_timer_soon(&n->dev, NIC_TIMER_TELL);
    }
}

const struct net_port_ops nic_port_ops = {receive, received};

void nic_settle(struct nic *n)
{
    net_port_lock(n->port);
    (void)look(n);
    net_port_unlock(n->port);
    nic_tell(n);
}
