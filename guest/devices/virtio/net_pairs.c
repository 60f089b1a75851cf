/* See net_pairs.h. */
#include "guest/devices/virtio/net_pairs.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/net/lane.h"
#include "mm/heap.h"

#define TELL_BROKEN BIT(31)
#define LOOKS       64u /* at a queue of which somebody says again and again that there is more */

_Static_assert(CARD_PAIRS < 31, "a bit each");

static bool is_on(const struct card *n, unsigned queue)
{
    return virtio_running(&n->virtio) && n->virtio.queue[queue].enabled;
}

/* Of so many pairs the driver may use queues. */
static unsigned agreed_on(const struct card *n)
{
    return n->virtio.accepted & F_MQ ? n->pairs->count : 1;
}

/* "Virtqueues" of "Network Device": which one the control queue is. */
static unsigned control_of(const struct card *n)
{
    return 2 * agreed_on(n);
}

/* --- sending: with the card's lock held --- */

/* When there is more than what the driver may ask for at once, or than its rate allows. */
static void look_again(struct card *n)
{
    struct device *d = &n->virtio.dev;
    uint64_t now = device_now(d), at = n->sender.waiting ? now : TIMER_OFF;

    for (unsigned i = 0; i < n->pairs->count; i++) {
        const struct card_pair *p = n->pairs->pair[i];

        if (!p->busy && p->s.waiting) {
            bool rests = p->s.left > 0 && p->s.work > 0; /* for its rate alone */

            at = MIN(at, now + (rests ? net_lane_wait(p->s.port) : 0));
        }
    }
    if (at != TIMER_OFF)
        device_timer_set(d, CARD_TIMER_GO_ON, at);
}

/* What is in that pair's queue. Without the lock: the queue is the caller's. */
static void send_once(struct card *n, unsigned pair)
{
    struct virtio *v = &n->virtio;
    struct virtq *q = &v->queue[card_sends(pair)];
    bool good, tell;

    device_unlock(&v->dev);
    good = card_send(n, &n->pairs->pair[pair]->s, pair);
    tell = virtq_interrupts(q);
    device_lock(&v->dev);
    if (!is_on(n, card_sends(pair)))
        return;
    if (tell)
        virtio_interrupt(v, card_sends(pair));
    if (!good || q->broken)
        card_break(n);
}

/* The driver asks once in an exit, or a few times: so each time it may have as much. */
static void send_all(struct card *n, unsigned pair)
{
    struct card_pair *p = n->pairs->pair[pair];
    unsigned looks = 0;

    if (p->busy) {
        p->asked = true;
        return;
    }
    if (p->s.waiting)
        return;
    p->s.left = CARD_AT_ONCE;
    p->s.work = CARD_WORK;
    p->busy = true;
    do {
        p->asked = false;
        send_once(n, pair);
    } while (p->asked && !p->s.waiting && is_on(n, card_sends(pair)) && ++looks < LOOKS);
    p->busy = false;
    p->s.waiting = (p->s.waiting || p->asked) && is_on(n, card_sends(pair));
    look_again(n);
}

static void ask(struct card *n)
{
    unsigned queue = control_of(n);
    bool good = card_ask(n, &n->virtio.queue[queue]);

    virtio_returned(&n->virtio, queue);
    if (!good || n->virtio.queue[queue].broken)
        card_break(n);
}

/* One pair's queue at a time; the next one by the next timer, which whoever comes by may run. */
static void go_on(struct card *n)
{
    struct card_pairs *m = n->pairs;

    n->sender.left = CARD_AT_ONCE;
    if (n->sender.waiting) {
        n->sender.waiting = false;
        if (is_on(n, control_of(n)))
            ask(n);
    }
    for (unsigned i = 0; i < m->count; i++) {
        unsigned pair = (m->turn + i) % m->count;
        struct card_pair *p = m->pair[pair];

        if (p->busy || !p->s.waiting)
            continue;
        p->s.waiting = false;
        m->turn = pair + 1;
        look_again(n);
        if (is_on(n, card_sends(pair)))
            send_all(n, pair);
        break;
    }
    look_again(n);
}

/* --- receiving: with the port's lock held --- */

/* "Automatic receive steering in multiqueue mode" */
static unsigned choose(const struct card_pairs *m, const struct net_frame *f)
{
    unsigned used = __atomic_load_n(&m->used, __ATOMIC_RELAXED), last;
    uint32_t flow;

    if (used == 1)
        return 0;
    flow = net_flow(f->piece[0].data, f->piece[0].length);
    last = __atomic_load_n(&m->flow[flow % CARD_FLOWS], __ATOMIC_RELAXED);
    return last && last <= used ? last - 1 : flow % used;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct card *n = owner;
    struct net_port *port = n->port;
    enum net_drop why;
    struct card_pair *p;
    unsigned pair;
    uint32_t left;

    if (!card_wants(n, f))
        return NET_DROP_FILTERED;
    pair = choose(n->pairs, f);
    p = n->pairs->pair[pair];
    left = net_port_leave(port);
    net_port_lock(p->s.port);
    why = p->ready ? card_put(n, &p->r, &n->virtio.queue[card_receives(pair)], f) : NET_DROP_FULL;
    net_port_unlock(p->s.port);
    if (why == NET_TAKEN || why == NET_DROP_BROKEN)
        __atomic_fetch_or(&n->pairs->arrived, 1u << pair, __ATOMIC_RELAXED);
    return net_port_return(port, left) ? why : NET_DROP_CLOSED;
}

/* --- telling the driver --- */

/* What has arrived in these pairs' queues and is to be told. Without the port's lock; false:
 * nothing. */
static bool look(struct card *n, uint32_t pairs)
{
    uint32_t what = 0;

    for (; pairs; pairs &= pairs - 1) {
        unsigned pair = (unsigned)__builtin_ctz(pairs);
        struct card_pair *p = n->pairs->pair[pair];
        struct virtq *q = &n->virtio.queue[card_receives(pair)];

        net_port_lock(p->s.port);
        if (p->r.arrived && virtq_interrupts(q))
            what |= 1u << pair;
        if (q->broken)
            what |= (uint32_t)TELL_BROKEN;
        p->r.arrived = false;
        net_port_unlock(p->s.port);
    }
    if (what)
        __atomic_fetch_or(&n->pairs->pending, what, __ATOMIC_SEQ_CST);
    return what != 0;
}

/* With the card's lock held. */
static void tell(struct card *n)
{
    uint32_t what = __atomic_exchange_n(&n->pairs->pending, 0, __ATOMIC_SEQ_CST);

    if (!virtio_running(&n->virtio))
        return;
    for (uint32_t pairs = what & (uint32_t)~TELL_BROKEN; pairs; pairs &= pairs - 1)
        virtio_interrupt(&n->virtio, card_receives((unsigned)__builtin_ctz(pairs)));
    if (what & TELL_BROKEN)
        virtio_broken(&n->virtio);
}

/* Whoever has the card's lock may be waiting for who is inside: nobody waits for it here. */
static void received(void *owner)
{
    struct card *n = owner;
    struct net_port *port = n->port;
    uint32_t pairs = __atomic_exchange_n(&n->pairs->arrived, 0, __ATOMIC_RELAXED), left;

    if (!pairs)
        return;
    left = net_port_leave(port);
    if (look(n, pairs)) {
        if (device_trylock(&n->virtio.dev)) {
            tell(n);
            device_unlock(&n->virtio.dev);
        } else {
            device_timer_soon(&n->virtio.dev, CARD_TIMER_TELL);
        }
    }
    (void)net_port_return(port, left);
}

static const struct net_port_ops port_ops = {receive, received};

/* --- what the driver does --- */

static void open_port(struct card *n)
{
    if (is_on(n, CARD_RECEIVE))
        net_port_open(n->port, card_can(n));
}

/* The driver has put buffers there. */
static void refilled(struct card *n, unsigned pair)
{
    struct card_pair *p = n->pairs->pair[pair];

    net_port_lock(p->s.port);
    p->ready = true;
    p->r.starved = false;
    virtq_silence(&n->virtio.queue[card_receives(pair)]);
    net_port_unlock(p->s.port);
    open_port(n);
}

/* After idle(), load() or the reset of a queue: the port is closed, who has sent something could
 * not say so, and the driver will not say anew what is there. */
static void come_back(struct card *n)
{
    for (unsigned i = 0; i < agreed_on(n); i++) {
        struct card_pair *p = n->pairs->pair[i];

        net_port_lock(p->s.port);
        p->ready = is_on(n, card_receives(i));
        net_port_unlock(p->s.port);
    }
    open_port(n);
}

static void notify(struct virtio *v, unsigned queue)
{
    struct card *n = card_of(&v->dev);
    unsigned control = control_of(n);

    if (queue == control) { /* whose driver stands still until it has answers */
        ask(n);
        look_again(n);
    } else if (queue < control && queue % 2 == CARD_SEND) {
        send_all(n, queue / 2);
    } else if (queue < control) {
        refilled(n, queue / 2);
    }
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct card *n = card_of(d);

    if (number == CARD_TIMER_GO_ON) {
        go_on(n);
        return;
    }
    (void)look(n, __atomic_exchange_n(&n->pairs->arrived, 0, __ATOMIC_RELAXED));
    tell(n);
    card_follow_link(n);
    come_back(n);
}

bool card_pairs_set(struct card *n, uint16_t pairs)
{
    if (pairs == 0 || pairs > n->pairs->count)
        return false;
    __atomic_store_n(&n->pairs->used, pairs, __ATOMIC_RELAXED);
    net_port_settle(n->port); /* nothing comes to the others any more */
    return true;
}

static void stop(struct virtio *v)
{
    struct card *n = card_of(&v->dev);
    struct card_pairs *m = n->pairs;

    net_port_close(n->port);
    net_port_settle(n->port);
    for (unsigned i = 0; i < m->count; i++) {
        struct card_pair *p = m->pair[i];

        p->ready = p->r.starved = p->r.arrived = false;
        if (!p->busy)
            p->s.waiting = false;
    }
    for (unsigned i = 0; i < CARD_FLOWS; i++)
        __atomic_store_n(&m->flow[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&m->used, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&m->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&m->pending, 0, __ATOMIC_SEQ_CST);
    card_wipe(n);
    n->sender.waiting = false;
    device_timer_set(&v->dev, CARD_TIMER_GO_ON, TIMER_OFF);
    device_timer_set(&v->dev, CARD_TIMER_TELL, TIMER_OFF);
}

/* What comes to other queues is lost, too, until the timer comes. */
static bool queue_reset(struct virtio *v, unsigned queue)
{
    struct card *n = card_of(&v->dev);
    unsigned pair = queue / 2;
    struct card_pair *p;

    if (queue >= control_of(n))
        return true;
    p = n->pairs->pair[pair];
    if (queue % 2 == CARD_SEND) {
        if (!p->busy)
            p->s.waiting = false;
        return !p->busy;
    }
    net_port_close(n->port);
    net_port_settle(n->port);
    p->ready = p->r.starved = p->r.arrived = false;
    __atomic_fetch_and(&n->pairs->pending, ~(1u << pair), __ATOMIC_SEQ_CST);
    device_timer_soon(&v->dev, CARD_TIMER_TELL);
    return true;
}

/* Nobody sends any more. */
static bool nobody_busy(struct virtio *v)
{
    const struct card_pairs *m = card_of(&v->dev)->pairs;

    for (unsigned i = 0; i < m->count; i++)
        if (m->pair[i]->busy)
            return false;
    return true;
}

static const struct virtio_ops pairs_ops = {
    .type = CARD_TYPE,
    .class = CARD_CLASS,
    .notify = notify,
    .stop = stop,
    .queue_reset = queue_reset,
    .idle = nobody_busy,
};

/* --- life --- */

/* What others send goes on without the guest's processors: none of it comes until these go on. */
static bool idle(struct device *d, bool over)
{
    struct card *n = card_of(d);

    if (!over) {
        net_port_close(n->port);
        net_port_settle(n->port);
        (void)look(n, (1u << n->pairs->count) - 1);
        tell(n);
        device_timer_soon(d, CARD_TIMER_TELL);
    }
    return virtio_idle(d, over);
}

static void save(struct device *d, struct state_writer *w)
{
    const struct card *n = card_of(d);
    const struct card_pairs *m = n->pairs;

    state_put_u16(w, (uint16_t)m->count);
    virtio_save(d, w);
    card_save(n, w);
    state_put_u8(w, n->sender.waiting);
    state_put_u16(w, m->used);
    for (unsigned i = 0; i < m->count; i++)
        state_put_u8(w, m->pair[i]->s.waiting);
    state_put(w, m->flow, sizeof(m->flow));
}

/* With what was agreed on loaded: what are other pairs' queues else is the control queue. */
static int load_pairs(struct card *n, struct state_reader *r)
{
    struct card_pairs *m = n->pairs;
    bool good = true;

    m->used = state_get_u16(r);
    if (m->used == 0 || m->used > agreed_on(n)) {
        m->used = 1;
        good = false;
    }
    for (unsigned i = 0; i < m->count; i++) {
        bool waiting = state_get_u8(r) & 1; /* the timer is the bus's to load */

        m->pair[i]->s.waiting = waiting && i < agreed_on(n);
        good = good && m->pair[i]->s.waiting == waiting;
    }
    state_get(r, m->flow, sizeof(m->flow));
    for (unsigned i = 0; i < CARD_FLOWS; i++)
        if (m->flow[i] > m->count) {
            m->flow[i] = 0;
            good = false;
        }
    return good ? 0 : -EBADMSG;
}

static int load(struct device *d, struct state_reader *r)
{
    struct card *n = card_of(d);
    int error;

    if (state_get_u16(r) != n->pairs->count)
        return -EBADMSG;
    error = virtio_load(d, r);
    if (card_load(n, r) < 0)
        error = -EBADMSG;
    n->sender.waiting = state_get_u8(r) & 1;
    if (load_pairs(n, r) < 0)
        error = -EBADMSG;
    /* Frames come when the guest goes on: what is loaded behind this one takes interrupts away. */
    if (error == 0)
        device_timer_soon(d, CARD_TIMER_TELL);
    return error;
}

static const struct device_ops device_ops = {
    .name = CARD_NAME,
    .version = 3, /* 2: a card with one pair */
    .mmio_read = virtio_mmio_read,
    .mmio_write = virtio_mmio_write,
    .timer = timer,
    .idle = idle,
    .reset = virtio_reset,
    .save = save,
    .load = load,
};

static struct card_pair *make_pair(struct net_port *port)
{
    struct card_pair *p = heap_alloc(sizeof(*p));

    if (!p)
        return NULL;
    p->s.left = CARD_AT_ONCE;
    p->s.work = CARD_WORK;
    p->s.out.scratch = heap_alloc(NET_MAX_FRAME);
    if (p->s.out.scratch && net_lane_add(port, &p->s.port) == 0)
        return p;
    heap_free(p->s.out.scratch);
    heap_free(p);
    return NULL;
}

int card_pairs_create(struct card *n, unsigned count)
{
    struct card_pairs *m = heap_alloc(sizeof(*m));

    n->pairs = m;
    if (!m)
        return -ENOMEM;
    m->used = 1;
    for (; m->count < count; m->count++) {
        m->pair[m->count] = make_pair(n->port);
        if (!m->pair[m->count])
            return -ENOMEM;
    }
    net_port_lock(n->port);
    n->port->what.ops = &port_ops;
    net_port_unlock(n->port);
    n->virtio.ops = &pairs_ops;
    n->virtio.queue_count = 2 * count + 1;
    n->virtio.dev.ops = &device_ops;
    return 0;
}

/* Their lanes go with the port. */
void card_pairs_destroy(struct card *n)
{
    struct card_pairs *m = n->pairs;

    for (unsigned i = 0; m && i < m->count; i++) {
        heap_free(m->pair[i]->s.out.scratch);
        heap_free(m->pair[i]);
    }
    heap_free(m);
}
