/* virtio-net: its life, and what it sends. See net_card.h. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/devices/virtio/net.h"
#include "guest/devices/virtio/net_pairs.h"
#include "guest/net/finish.h"
#include "guest/net/lane.h"
#include "mm/heap.h"

_Static_assert(sizeof(struct card_header) == 12, "Virtio: struct virtio_net_hdr");
_Static_assert(sizeof(struct card_config) <= VIRTIO_CONFIG_SIZE, "Virtio: virtio_net_config");

/*
 * --- a frame of the driver's ---
 *
 * pair: ONE_PAIR, or which of several; a constant where there is one.
 */
#define ONE_PAIR (-1)

/* The chain's readable part from offset on, as pieces behind the first one. */
CARD_INLINE bool gather(struct card *n, struct card_sender *s, uint64_t offset)
{
    for (unsigned i = 0; i < s->chain.readable; i++)
        if (!network_add(&s->out, &n->virtio.dev, s->chain.segment[i].gpa,
                         s->chain.segment[i].length, &offset))
            return false;
    return true;
}

/* What the header says is left to do; false: that cannot be. */
CARD_INLINE bool read_header(const struct card *n, const struct card_header *h,
                             struct net_offload *o)
{
    uint64_t agreed = n->virtio.accepted;
    uint32_t field = (uint32_t)h->csum_start + h->csum_offset;
    uint8_t type = h->gso_type & (uint8_t)~GSO_ECN;

    *o = (struct net_offload){0};
    if ((agreed & F_CSUM) && (h->flags & HEADER_NEEDS_CSUM)) {
        if (field > UINT16_MAX)
            return false;
        o->checksum = true;
        o->start = h->csum_start;
        o->field = (uint16_t)field;
    }
    if (type == 0)
        return true;
    if (type == GSO_TCP4 && (agreed & F_HOST_TSO4))
        o->gso = NET_GSO_TCP4;
    else if (type == GSO_TCP6 && (agreed & F_HOST_TSO6))
        o->gso = NET_GSO_TCP6;
    else if (type == GSO_UDP && (agreed & F_HOST_USO))
        o->gso = NET_GSO_UDP;
    else
        return false;
    o->ecn = h->gso_type & GSO_ECN;
    o->segment = h->gso_size;
    return true;
}

CARD_INLINE uint64_t hand_over(struct card *n, struct card_sender *s, const struct net_frame *f,
                               int pair)
{
    if (pair == ONE_PAIR)
        return net_port_send(s->port, f);
    card_pairs_learn(n, (unsigned)pair, f);
    return net_lane_send(s->port, f);
}

/* Send what the chain holds: how much work that was. */
CARD_INLINE uint64_t send_frame(struct card *n, struct card_sender *s, struct virtq *q,
                                const struct card_header *h, uint64_t length, int pair)
{
    uint32_t first = (uint32_t)MIN(length, NET_HEAD);
    struct net_frame f = {
        .piece = s->out.piece, .length = (uint32_t)length, .scratch = s->out.scratch};
    uint64_t work = 0;

    s->out.piece[0] = (struct net_piece){s->out.head, first};
    if (length > NET_MAX_FRAME)
        net_port_refuse(s->port, NET_DROP_LONG);
    else if (length == 0)
        net_port_refuse(s->port, NET_DROP_SHORT);
    else if (!virtq_read(q, &s->chain, sizeof(*h), s->out.head, first) ||
             !gather(n, s, sizeof(*h) + first) || !read_header(n, h, &f.offload) ||
             !net_offload_good(&f))
        net_port_refuse(s->port, NET_DROP_MALFORMED);
    else {
        f.count = s->out.pins + 1;
        work = hand_over(n, s, &f, pair);
    }
    network_unpin(&s->out, &n->virtio.dev);
    return work;
}

/* The chain that was taken last. False: it has no header. */
CARD_INLINE bool send_chain(struct card *n, struct card_sender *s, struct virtq *q, int pair)
{
    struct card_header h;
    uint64_t length = 0, work;

    if (!virtq_read(q, &s->chain, 0, &h, sizeof(h)))
        return false;
    for (unsigned i = 0; i < s->chain.readable; i++)
        length += s->chain.segment[i].length;
    work = send_frame(n, s, q, &h, length - sizeof(h), pair);
    s->work -= MIN(s->work, work);
    virtq_return(q, &s->chain, 0);
    return true;
}

/* --- queues --- */

/* Ticks until it may send, by its rate. */
CARD_INLINE uint64_t wait_of(const struct card_sender *s, int pair)
{
    return pair == ONE_PAIR ? net_port_wait(s->port) : net_lane_wait(s->port);
}

CARD_INLINE bool may_go_on(const struct card_sender *s, bool control, int pair)
{
    return s->left > 0 && (control || (s->work > 0 && wait_of(s, pair) == 0));
}

/* What is in that queue, as long as the guest may be kept waiting and its rate allows; the rest
 * later. -EBADMSG: it is broken. */
CARD_INLINE int work_off(struct card *n, struct card_sender *s, struct virtq *q, bool control,
                         int pair)
{
    unsigned looks = 0; /* what has been offered may be taken back each time */
    int result = 0;

    virtq_silence(q);
    do {
        while (may_go_on(s, control, pair) && (result = virtq_next(q, &s->chain)) > 0) {
            s->left--;
            if (!(control ? card_control(n, q) : send_chain(n, s, q, pair)))
                q->broken = true;
        }
        if (result < 0 || q->broken)
            break;
        if (result > 0 || !may_go_on(s, control, pair) || looks++ == CARD_AT_ONCE) {
            s->waiting = true;
            break;
        }
    } while (virtq_listen(q));
    return result;
}

bool card_send(struct card *n, struct card_sender *s, unsigned pair)
{
    struct virtq *q = &n->virtio.queue[card_sends(pair)];
    int result = work_off(n, s, q, false, (int)pair);

    net_port_sent(s->port);
    return result >= 0 && !q->broken;
}

bool card_ask(struct card *n, struct virtq *q)
{
    return work_off(n, &n->sender, q, true, ONE_PAIR) >= 0 && !q->broken;
}

void card_break(struct card *n)
{
    virtio_broken(&n->virtio);
    net_port_close(n->port);
}

static void process(struct card *n, unsigned queue)
{
    struct virtq *q = &n->virtio.queue[queue];
    int result = work_off(n, &n->sender, q, queue == CARD_CONTROL, ONE_PAIR);

    if (queue == CARD_SEND)
        net_port_sent(n->port);
    virtio_returned(&n->virtio, queue);
    if (result < 0 || q->broken)
        card_break(n);
}

/* However often the guest asks for it in one exit, what it may keep the processor busy with is
 * renewed by the timer alone. */
static void look_again(struct card *n)
{
    struct device *d = &n->virtio.dev;
    bool rests = n->sender.left > 0 && n->sender.work > 0; /* for its rate alone */

    if (n->sender.waiting)
        device_timer_set(d, CARD_TIMER_GO_ON, device_now(d) + (rests ? net_port_wait(n->port) : 0));
}

static bool is_on(const struct card *n, unsigned queue)
{
    return virtio_running(&n->virtio) && n->virtio.queue[queue].enabled;
}

/* Frames come, where there is a driver that has buffers for them. */
static void open_port(struct card *n)
{
    if (is_on(n, CARD_RECEIVE))
        net_port_open(n->port, card_can(n));
}

static void notify(struct virtio *v, unsigned queue)
{
    struct card *n = card_of(&v->dev);

    if (queue == CARD_RECEIVE) {
        card_refilled(n);
        open_port(n);
        return;
    }
    if (!n->sender.waiting ||
        queue == CARD_CONTROL) /* whose driver stands still until it has answers */
        process(n, queue);
    look_again(n);
}

static void go_on(struct card *n)
{
    n->sender.left = CARD_AT_ONCE;
    n->sender.work = CARD_WORK;
    if (!n->sender.waiting)
        return;
    n->sender.waiting = false;
    for (unsigned queue = CARD_SEND; queue <= CARD_CONTROL; queue++)
        if (is_on(n, queue))
            process(n, queue);
    look_again(n);
}

/* --- its cable --- */

static uint8_t *link_of(struct card *n)
{
    return n->virtio.config + offsetof(struct card_config, status);
}

static void set_link(struct card *n, uint16_t status)
{
    memcpy(link_of(n), &status, sizeof(status));
}

/* Whether the cable is in, as its driver has been told. */
static bool is_told(struct card *n)
{
    return (*link_of(n) & STATUS_LINK_UP) == (net_port_plugged(n->port) ? STATUS_LINK_UP : 0);
}

/* Whoever comes back may have been forgotten: "Gratuitous Packet Sending". */
void card_follow_link(struct card *n)
{
    bool announce = n->virtio.accepted & F_GUEST_ANNOUNCE;

    if (is_told(n))
        return;
    set_link(n, net_port_plugged(n->port) ? STATUS_LINK_UP | (announce ? STATUS_ANNOUNCE : 0) : 0);
    virtio_config_changed(&n->virtio);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct card *n = card_of(d);

    if (number == CARD_TIMER_GO_ON) {
        go_on(n);
        return;
    }
    card_tell(n);
    card_follow_link(n);
    open_port(n); /* which is closed since idle() or load() */
}

void card_wipe(struct card *n)
{
    memcpy(n->virtio.config, n->port->what.mac, NET_MAC);
    card_filter_init(n);
    set_link(n, net_port_plugged(n->port) ? STATUS_LINK_UP : 0);
}

static void stop(struct virtio *v)
{
    struct card *n = card_of(&v->dev);

    net_port_close(n->port); /* nothing of the receive queue is used from now on */
    n->receiver.starved = n->receiver.arrived = false;
    card_wipe(n);
    __atomic_store_n(&n->pending, 0, __ATOMIC_SEQ_CST);
    n->sender.waiting = false;
    device_timer_set(&v->dev, CARD_TIMER_GO_ON, TIMER_OFF);
    device_timer_set(&v->dev, CARD_TIMER_TELL, TIMER_OFF);
}

/* Who resets one of them has no answers to wait for; what comes is not taken before the driver has
 * buffers anew. */
static bool queue_reset(struct virtio *v, unsigned queue)
{
    struct card *n = card_of(&v->dev);

    if (queue == CARD_RECEIVE) {
        net_port_close(n->port);
        n->receiver.starved = n->receiver.arrived = false;
        __atomic_store_n(&n->pending, 0, __ATOMIC_SEQ_CST);
    }
    return true;
}

/* What is sent is copied at once. */
static bool nothing_under_way(struct virtio *v)
{
    return true;
}

static const struct virtio_ops net_ops = {
    .type = CARD_TYPE,
    .class = CARD_CLASS,
    .notify = notify,
    .stop = stop,
    .queue_reset = queue_reset,
    .idle = nothing_under_way,
};

/* --- life --- */

/* What others send goes on without the guest's processors: none of it comes until these go on. */
static bool idle(struct device *d, bool over)
{
    struct card *n = card_of(d);

    if (!over) {
        net_port_close(n->port);
        card_settle(n);
        device_timer_soon(d, CARD_TIMER_TELL);
    }
    return virtio_idle(d, over);
}

void card_save(const struct card *n, struct state_writer *w)
{
    state_put(w, n->virtio.config, sizeof(struct card_config));
    state_put(w, &n->filter, sizeof(n->filter));
}

int card_load(struct card *n, struct state_reader *r)
{
    uint8_t config[sizeof(struct card_config)];
    struct card_filter *f = &n->filter;
    int error = 0;

    state_get(r, config, sizeof(config));
    state_get(r, f, sizeof(*f));
    if (f->unicasts > CARD_UNICAST || f->multicasts > CARD_MULTICAST) {
        card_filter_init(n);
        error = -EBADMSG;
    }
    if (n->any_mac)
        memcpy(n->virtio.config, config, NET_MAC);
    else
        memcpy(f->mac, n->virtio.config, NET_MAC);
    set_link(n, config[offsetof(struct card_config, status)] & (STATUS_LINK_UP | STATUS_ANNOUNCE));
    return error;
}

static void save(struct device *d, struct state_writer *w)
{
    const struct card *n = card_of(d);

    virtio_save(d, w);
    card_save(n, w);
    state_put_u8(w, n->sender.waiting);
}

static int load(struct device *d, struct state_reader *r)
{
    struct card *n = card_of(d);
    int error = virtio_load(d, r);

    if (card_load(n, r) < 0)
        error = -EBADMSG;
    n->sender.waiting = state_get_u8(r) & 1; /* its timer is the bus's to load */
    /* Frames come when the guest goes on: what is loaded behind this one takes interrupts away. */
    if (error == 0)
        device_timer_soon(d, CARD_TIMER_TELL);
    return error;
}

static const struct device_ops device_ops = {
    .name = CARD_NAME,
    .version = 2,
    .mmio_read = virtio_mmio_read,
    .mmio_write = virtio_mmio_write,
    .timer = timer,
    .idle = idle,
    .reset = virtio_reset,
    .save = save,
    .load = load,
};

void virtio_net_plug(struct device *d, bool in)
{
    struct card *n = card_of(d);

    device_lock(d);
    if (net_port_plugged(n->port) != in) {
        net_port_plug(n->port, in);
        card_follow_link(n);
    }
    device_unlock(d);
}

static void fill_config(struct card *n, const struct net_switch *on,
                        const struct net_port_setup *what)
{
    struct card_config c = {.status = STATUS_LINK_UP,
                            .max_queue_pairs = (uint16_t)MAX(what->pairs, 1),
                            .mtu = (uint16_t)on->mtu};
    struct virtio *v = &n->virtio;

    v->offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_RING_RESET |
                 VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | F_CSUM | F_GUEST_CSUM | F_MTU |
                 F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN | F_HOST_TSO4 | F_HOST_TSO6 |
                 F_HOST_ECN | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN |
                 F_CTRL_RX_EXTRA | F_GUEST_ANNOUNCE | F_CTRL_MAC_ADDR | F_CTRL_OFFLOADS |
                 F_GUEST_USO4 | F_GUEST_USO6 | F_HOST_USO | (what->pairs > 1 ? F_MQ : 0);
    memcpy(c.mac, what->mac, NET_MAC);
    memcpy(v->config, &c, sizeof(c));
    v->config_size = sizeof(c);
}

/* As much as its kind takes beside the rest; with the port there. */
static int prepare(struct card *n, unsigned pairs)
{
    card_filter_init(n);
    n->sender.left = CARD_AT_ONCE;
    n->sender.work = CARD_WORK;
    n->sender.port = n->port;
    if (pairs > 1)
        return card_pairs_create(n, pairs);
    n->virtio.ops = &net_ops;
    n->virtio.queue_count = CARD_QUEUES;
    n->sender.out.scratch = heap_alloc(NET_MAX_FRAME);
    return n->sender.out.scratch ? 0 : -ENOMEM;
}

static void give_back(struct card *n)
{
    net_port_detach(n->port);
    card_pairs_destroy(n);
    heap_free(n->sender.out.scratch);
}

static int create(struct device *d, struct device_setup *s)
{
    struct card *n = card_of(d);
    struct net_port_setup what = {.ops = &card_port_ops, .owner = n};
    struct net_switch *on;
    int error = network_attach(s, &what, &on, &n->port);

    if (error < 0)
        return error;
    n->any_mac = what.any_mac;
    fill_config(n, on, &what);
    error = prepare(n, what.pairs);
    if (error == 0)
        error = virtio_attach(&n->virtio, s->pci);
    if (error < 0)
        give_back(n);
    return error;
}

static void destroy(struct device *d)
{
    struct card *n = card_of(d);

    virtio_end(&n->virtio);
    give_back(n);
}

static int check(const char *text, size_t length, char *error)
{
    return network_check(text, length, false, error);
}

static bool boots(struct device *d, enum device_boot kind, unsigned index, char *path)
{
    if (kind != DEVICE_BOOT_NET || index > 0)
        return false;
    pci_boot_path(&card_of(d)->virtio.function, "ethernet", "/ethernet-phy@0", path);
    return true;
}

const struct device_class virtio_net_class = {
    .ops = &device_ops,
    .size = sizeof(struct card),
    .key = "net",
    .check = check,
    .boots = boots,
    .create = create,
    .destroy = destroy,
};
