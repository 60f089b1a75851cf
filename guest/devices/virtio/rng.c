/* virtio-rng (Virtio 1.2, "Entropy Device"). */
#include "guest/board/class.h"
#include "guest/devices/virtio/virtio.h"

#define TYPE  4
#define CLASS 0xff0000 /* PCI: of no class that is defined */

#define ANSWER    64  /* bytes of one, at most: the spec lets a buffer be filled in part */
#define AT_ONCE   4   /* answers in a period: */
#define PERIOD_HZ 100 /* so 25 KiB a second */

struct rng {
    struct virtio virtio; /* first */
    size_t (*random)(void *context, void *data, size_t size);
    void *context;
    uint64_t renewal; /* when there are AT_ONCE answers again, by the guest's TSC */
    unsigned left;    /* until then */
    bool waiting;     /* the queue is to be looked at then */
    size_t ready;     /* bytes of answer that nobody has been given */
    uint8_t answer[ANSWER];
    struct virtq_chain chain; /* the one being looked at */
};

static struct rng *rng_of(struct device *d)
{
    return CONTAINER_OF(d, struct rng, virtio.dev);
}

/* --- answers --- */

/* Before a chain is taken, so that none is kept while there is nothing to give. */
static bool get_ready(struct rng *g)
{
    if (g->left == 0)
        return false;
    if (g->ready == 0)
        g->ready = g->random(g->context, g->answer, ANSWER);
    return g->ready > 0;
}

/* Into the part of the chain that is the device's to write, as far as both go. False: there is no
 * such part, or it is no RAM. */
static bool answer(struct rng *g)
{
    const struct virtq_chain *c = &g->chain;
    uint32_t size = (uint32_t)g->ready, done = 0;

    g->ready = 0; /* no byte is given twice */
    g->left--;
    if (c->readable == c->count)
        return false;
    for (unsigned i = c->readable; i < c->count && done < size; i++) {
        uint32_t n = MIN(c->segment[i].length, size - done);
        if (device_memory_write(&g->virtio.dev, c->segment[i].gpa, g->answer + done, n) < 0)
            return false;
        done += n;
    }
    virtq_return(&g->virtio.queue[0], c, done);
    return true;
}

/* --- the queue --- */

/* As many answers as may be now; the rest when the timer comes. However often a guest asks, and
 * whatever it does to the ring meanwhile, it gets no more in a period, and no more is looked at. */
static void process(struct rng *g)
{
    struct virtq *q = &g->virtio.queue[0];
    unsigned looks = 0;
    bool more;

    while ((more = virtq_listen(q)) && looks++ < 2 * AT_ONCE && get_ready(g))
        if (virtq_next(q, &g->chain) > 0 && !answer(g))
            q->broken = true;
    if (more) {
        virtq_silence(q);
        g->waiting = true;
        device_timer_set(&g->virtio.dev, 0, g->renewal);
    }
    virtio_returned(&g->virtio, 0);
}

static uint64_t period(struct device *d)
{
    return device_tsc_hz(d) / PERIOD_HZ;
}

static void renew(struct rng *g, uint64_t now)
{
    g->left = AT_ONCE;
    g->renewal = now + period(&g->virtio.dev);
}

static void notify(struct virtio *v, unsigned queue)
{
    struct rng *g = rng_of(&v->dev);
    uint64_t now = device_now(&v->dev);

    if (g->waiting)
        return;
    if (now >= g->renewal)
        renew(g, now);
    process(g);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct rng *g = rng_of(d);

    g->waiting = false;
    renew(g, now);
    if (virtio_running(&g->virtio) && g->virtio.queue[0].enabled)
        process(g);
}

static void stop(struct virtio *v)
{
    rng_of(&v->dev)->waiting = false;
    device_timer_set(&v->dev, 0, TIMER_OFF);
}

/* An answer is given while it is asked for, or not yet. */
static bool idle(struct virtio *v)
{
    return true;
}

static const struct virtio_ops rng_ops = {
    .type = TYPE,
    .class = CLASS,
    .notify = notify,
    .stop = stop,
    .idle = idle,
};

/* --- life --- */

static void save(struct device *d, struct state_writer *w)
{
    const struct rng *g = rng_of(d);

    virtio_save(d, w);
    state_put_u8(w, g->waiting);
    state_put_u8(w, (uint8_t)g->left);
    state_put_u64(w, g->renewal);
}

static int load(struct device *d, struct state_reader *r)
{
    struct rng *g = rng_of(d);
    int error = virtio_load(d, r);
    uint64_t latest = device_now(d) + period(d);

    g->waiting = state_get_u8(r) & 1;
    g->left = state_get_u8(r);
    g->left = MIN(g->left, AT_ONCE);
    g->renewal = state_get_u64(r);
    g->renewal = MIN(g->renewal, latest);
    if (g->waiting)
        device_timer_set(d, 0, g->renewal);
    return error;
}

static const struct device_ops device_ops = {
    .name = "virtio-rng",
    .version = 1,
    .mmio_read = virtio_mmio_read,
    .mmio_write = virtio_mmio_write,
    .timer = timer,
    .idle = virtio_idle,
    .reset = virtio_reset,
    .save = save,
    .load = load,
};

static int create(struct device *d, struct device_setup *s)
{
    struct rng *g = rng_of(d);

    g->random = s->host->random;
    g->context = s->host->context;
    g->virtio.ops = &rng_ops;
    g->virtio.queue_count = 1;
    g->virtio.offered =
        VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
    return virtio_attach(&g->virtio, s->pci);
}

const struct device_class virtio_rng_class = {
    .ops = &device_ops,
    .size = sizeof(struct rng),
    .key = "rng",
    .create = create,
};
