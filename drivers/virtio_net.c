/* See virtio_net.h. */
#include "drivers/virtio_net.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* Features. */
#define F_MTU       BIT(3)
#define F_MAC       BIT(5)
#define F_MERGEABLE BIT(15) /* a frame may come in several buffers */
#define F_STATUS    BIT(16)
#define WANTED      (F_MTU | F_MERGEABLE | F_STATUS | VIRTIO_F_PLATFORM)
#define NEEDED      (F_MAC | VIRTIO_F_VERSION_1)

/* The device's own configuration. */
#define CONFIG_MAC    0
#define CONFIG_STATUS 6
#define CONFIG_MTU    10
#define CONFIG_END    12
#define LINK_UP       1u

#define QUEUE_IN  0
#define QUEUE_OUT 1
#define LEAST     16u /* descriptors */

#define BUFFERS_AT 10 /* in the header */
#define HALVES     3u /* looks, until what is missing of a frame is not waited for any more */

#define LONGEST (9216u + NET_CARD_HEADER)

static struct virtio_net *of(struct net_card *c)
{
    return CONTAINER_OF(c, struct virtio_net, card);
}

static uint8_t *buffer(const struct virtio_net_queue *q, unsigned n)
{
    return q->page[n / 2] + n % 2 * VIRTIO_NET_BUFFER;
}

static paddr buffer_at(const struct virtio_net_queue *q, unsigned n)
{
    return q->page_at[n / 2] + n % 2 * VIRTIO_NET_BUFFER;
}

/* --- life --- */

static void stop(struct net_card *c)
{
    (void)virtio_cut(&of(c)->virtio);
}

/* Reset, and what both sides can; a short configuration has not all that the features speak of. */
static int begin(struct virtio_net *v)
{
    uint64_t wanted = WANTED;

    if (!virtio_cut(&v->virtio))
        return -EIO;
    if (v->virtio.device.size < CONFIG_END)
        wanted &= ~(F_MTU | F_STATUS);
    return virtio_negotiate(&v->virtio, wanted, NEEDED);
}

int virtio_net_init(struct virtio_net *v)
{
    struct net_card *c = &v->card;
    int error = begin(v);

    for (unsigned i = 0; i < 6 && !error; i++)
        c->mac[i] = io_read8(&v->virtio.device, CONFIG_MAC + i);
    if (!error && !net_card_is_address(c->mac))
        error = -EIO;
    c->ops = &virtio_net_ops;
    c->model = "virtio-net";
    c->tried = true;
    c->longest = LONGEST;
    if (!(v->virtio.features & F_MERGEABLE))
        c->longest = VIRTIO_NET_BUFFER - VIRTIO_NET_HEADER;
    if (!error && (v->virtio.features & F_MTU)) { /* read once: it may say something else next */
        uint32_t says = io_read16(&v->virtio.device, CONFIG_MTU) + (uint32_t)NET_CARD_HEADER;

        c->longest = MIN(c->longest, says);
    }
    stop(c);
    return error;
}

static void fill(struct virtio_net *v)
{
    struct virtio_descriptor *d = virtio_descriptors(&v->in.ring);

    for (unsigned n = 0; n < v->in.ring.size; n++) {
        d[n] =
            (struct virtio_descriptor){buffer_at(&v->in, n), VIRTIO_NET_BUFFER, VIRTIO_D_WRITE, 0};
        v->theirs[n] = true;
        virtio_offer(&v->in.ring, n);
    }
}

static int start(struct net_card *c)
{
    struct virtio_net *v = of(c);
    int error = begin(v);

    v->changed = v->in_bad = v->out_bad = v->half = false;
    v->halves = 0;
    v->next = v->last = v->taken_count = 0;
    memset(v->count, 0, sizeof(v->count));
    memset(v->sent, 0, sizeof(v->sent));
    memset(v->theirs, 0, sizeof(v->theirs));
    virtio_set_config_vector(&v->virtio, v->vectors > 1 ? 1 : VIRTIO_NO_VECTOR);
    if (!error)
        error = virtio_queue_init(&v->virtio, &v->in.ring, QUEUE_IN, LEAST,
                                  v->vectors ? 0 : VIRTIO_NO_VECTOR);
    if (!error) /* what has gone is noticed when there is no room */
        error = virtio_queue_init(&v->virtio, &v->out.ring, QUEUE_OUT, LEAST, VIRTIO_NO_VECTOR);
    if (error)
        return error;
    fill(v);
    virtio_ready(&v->virtio);
    virtio_tell(&v->virtio, &v->in.ring);
    return 0;
}

/* --- sending --- */

static bool take_sent(struct virtio_net *v)
{
    struct virtio_queue *q = &v->out.ring;
    uint32_t head, written;
    int came;

    while ((came = virtio_come_back(q)) > 0) {
        head = virtio_back(q, 0, &written);
        if (head >= q->size || !v->count[head] || v->sent[head])
            return false;
        v->sent[head] = true;
        virtio_taken(q, 1);
    }
    return came == 0;
}

static unsigned settle(struct net_card *c)
{
    struct virtio_net *v = of(c);

    v->out_bad = v->out_bad || !take_sent(v);
    while (v->last != v->next && v->sent[v->last % v->out.ring.size]) {
        unsigned head = v->last % v->out.ring.size;

        v->last = (uint16_t)(v->last + v->count[head]);
        v->count[head] = 0;
        v->sent[head] = false;
        c->gone++;
    }
    return (uint16_t)(v->next - v->last);
}

/* Of those that are to be filled. */
static uint8_t *free_buffer(const void *device, unsigned n)
{
    const struct virtio_net *v = device;

    return buffer(&v->out, (v->next + n) % v->out.ring.size);
}

static bool send(struct net_card *c, const struct net_piece *piece, unsigned count, uint32_t length)
{
    struct virtio_net *v = of(c);
    struct virtio_descriptor *d = virtio_descriptors(&v->out.ring);
    unsigned ring = v->out.ring.size, head = v->next % ring;
    uint32_t total = VIRTIO_NET_HEADER + MAX(length, NET_CARD_SHORT);
    unsigned needs = (total + VIRTIO_NET_BUFFER - 1) / VIRTIO_NET_BUFFER;

    if (needs > ring - (uint16_t)(v->next - v->last))
        return false;
    memset(buffer(&v->out, head), 0, VIRTIO_NET_HEADER);
    net_card_spread(piece, count, VIRTIO_NET_HEADER, VIRTIO_NET_BUFFER, free_buffer, v);
    if (length < NET_CARD_SHORT) /* what an earlier frame has left there is nobody's to see */
        memset(buffer(&v->out, head) + VIRTIO_NET_HEADER + length, 0, NET_CARD_SHORT - length);
    for (uint32_t left = total, size; left; left -= size, v->next++) {
        unsigned n = v->next % ring;

        size = MIN(left, VIRTIO_NET_BUFFER);
        d[n] = (struct virtio_descriptor){buffer_at(&v->out, n), size,
                                          (uint16_t)(size < left ? VIRTIO_D_NEXT : 0),
                                          (uint16_t)((n + 1) % ring)};
    }
    v->count[head] = (uint8_t)needs;
    virtio_offer(&v->out.ring, head);
    return true;
}

static void kick(struct net_card *c)
{
    virtio_tell(&of(c)->virtio, &of(c)->out.ring);
}

/* --- what comes: nothing that the device says is believed --- */

static unsigned causes(struct net_card *c)
{
    struct virtio_net *v = of(c);
    bool changed = v->changed;

    v->changed = false;
    return NET_CARD_CAUSE_ANY | (changed ? NET_CARD_CAUSE_LINK : 0);
}

void virtio_net_changed(void *device)
{
    struct virtio_net *v = device;

    v->changed = true;
    net_card_interrupt(&v->card);
}

/* How many buffers the next frame has, as its header says; 0: it has none, or nothing is there. */
static unsigned buffers_of(struct virtio_net *v)
{
    uint32_t written, id = virtio_back(&v->in.ring, 0, &written);
    uint16_t count = 1;

    if (id < v->in.ring.size && v->theirs[id] && (v->virtio.features & F_MERGEABLE))
        memcpy(&count, buffer(&v->in, id) + BUFFERS_AT, sizeof(count));
    return count ? count : 1;
}

/* Takes the n-th buffer of a frame, which is a good one still if this is true. */
static bool add_piece(struct virtio_net *v, unsigned n, struct net_arrival *a)
{
    uint32_t skip = n ? 0 : VIRTIO_NET_HEADER, written, id = virtio_back(&v->in.ring, n, &written);

    if (id >= v->in.ring.size || !v->theirs[id]) {
        v->in_bad = true;
        return false;
    }
    v->theirs[id] = false;
    v->taken[v->taken_count++] = (uint16_t)id;
    if (written <= skip || written > VIRTIO_NET_BUFFER || a->count == NET_CARD_PIECES)
        return false;
    a->piece[a->count++] = (struct net_piece){buffer(&v->in, id) + skip, written - skip};
    a->length += written - skip;
    return true;
}

static int take(struct net_card *c, struct net_arrival *a)
{
    struct virtio_net *v = of(c);
    int came = v->in_bad ? 0 : virtio_come_back(&v->in.ring);
    bool good = true;
    unsigned count;

    v->in_bad = v->in_bad || came < 0;
    if (came <= 0)
        return 0;
    count = buffers_of(v);
    v->in_bad = count > v->in.ring.size;
    v->half = count > (unsigned)came;
    if (v->half)
        return 0;
    v->halves = 0;
    *a = (struct net_arrival){0};
    for (unsigned n = 0; n < count && !v->in_bad; n++)
        good = add_piece(v, n, a) && good;
    virtio_taken(&v->in.ring, count);
    return good && a->length >= 14 && a->length <= c->longest ? 1 : -EIO;
}

static void give(struct net_card *c)
{
    struct virtio_net *v = of(c);

    for (unsigned i = 0; i < v->taken_count; i++) {
        v->theirs[v->taken[i]] = true;
        virtio_offer(&v->in.ring, v->taken[i]);
    }
    v->taken_count = 0;
    virtio_tell(&v->virtio, &v->in.ring);
}

/* --- what it is like --- */

static bool gone(struct net_card *c)
{
    return virtio_is_gone(&of(c)->virtio);
}

static bool sick(struct net_card *c)
{
    struct virtio_net *v = of(c);

    v->halves += v->half;
    return v->in_bad || v->out_bad || v->halves >= HALVES || virtio_wants_reset(&v->virtio);
}

static bool link(struct net_card *c)
{
    const struct virtio_net *v = of(c);

    if (!(v->virtio.features & F_STATUS))
        return true;
    return !gone(c) && (io_read16(&v->virtio.device, CONFIG_STATUS) & LINK_UP);
}

static void quiet(struct net_card *c, bool on)
{
    virtio_quiet(&of(c)->in.ring, on);
}

const struct net_card_ops virtio_net_ops = {
    .prepare = virtio_net_prepare,
    .start = start,
    .stop = stop,
    .send = send,
    .kick = kick,
    .settle = settle,
    .causes = causes,
    .take = take,
    .give = give,
    .link = link,
    .gone = gone,
    .sick = sick,
    .quiet = quiet,
};
