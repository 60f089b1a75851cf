/* virtio-balloon (Virtio 1.2, "Traditional Memory Balloon Device"): pages that the guest does not
 * use go back to Corbel, and come again; with `overcommit`, also those that it reports as free. */
#include "guest/devices/virtio/balloon.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/devices/virtio/virtio.h"

#define TYPE  5
#define CLASS 0xff0000 /* PCI: of no class that is defined */

#define F_MUST_TELL_HOST BIT(0)
#define F_STATS_VQ       BIT(1)
#define F_DEFLATE_ON_OOM BIT(2)
#define F_REPORTING      BIT(5)

/* REPORT follows at once, since the queue of free-page hints is not there. */
enum { INFLATE, DEFLATE, STATS, REPORT, QUEUES };

struct config {
    uint32_t num_pages, actual;
} PACKED;
_Static_assert(sizeof(struct config) <= VIRTIO_CONFIG_SIZE, "Virtio: struct virtio_balloon_config");

struct stat {
    uint16_t tag;
    uint64_t value;
} PACKED;
#define STATS_READ 32u /* of a buffer, at most */

/* Pages are of 4 KiB, whatever the guest's are. What lies lower is not given: a reset begins
 * there. */
#define PAGE_SHIFT 12
#define LOW_MEMORY MIB

#define AT_ONCE  1024u /* pages, and chains, that are looked at before the timer comes */
#define PIECE    64u   /* page numbers that are read at once */
#define RETRY_HZ 200   /* how often it tries where there is no memory, or no place to leave */

struct balloon {
    struct virtio virtio;  /* first */
    uint32_t done[QUEUES]; /* pages, or blocks, of the chain that is the next one */
    bool reported;         /* all of REPORT's, and when this is so is it the guest's again: */
    uint64_t settles;      /* device_memory_settled() */
    uint32_t waiting;      /* queues that are to be looked at again: a bit each */
    uint32_t left;         /* of AT_ONCE */
    bool starved;
    bool read; /* the next chain of STATS has been read; it is given back for another */
    uint64_t kept;
    uint64_t stat[BALLOON_STATS];
    uint32_t known;
    unsigned updates;
    struct virtq_chain chain; /* the one being looked at */
};

static struct balloon *balloon_of(struct device *d)
{
    return CONTAINER_OF(d, struct balloon, virtio.dev);
}

static struct config *config_of(struct balloon *b)
{
    return (struct config *)b->virtio.config;
}

/* --- pages: false, not now --- */

static bool inflate(struct balloon *b, uint64_t gpa)
{
    int result = gpa < LOW_MEMORY ? -EBUSY : device_memory_give(&b->virtio.dev, gpa);

    b->kept += result == -EBUSY || result == -ENOMEM;
    return result != -EAGAIN;
}

static bool deflate(struct balloon *b, uint64_t gpa)
{
    b->starved = device_memory_back(&b->virtio.dev, gpa) == -ENOMEM;
    return !b->starved;
}

/* --- chains of them --- */

/* All pages of the chain, from the one on that comes next. False: not all of them now. */
static bool carry_out(struct balloon *b, unsigned queue)
{
    struct virtq *q = &b->virtio.queue[queue];
    uint64_t count = virtq_readable(&b->chain) / sizeof(uint32_t);
    uint32_t page[PIECE];

    while (b->done[queue] < count) {
        uint64_t n = MIN(PIECE, count - b->done[queue]);

        if (!virtq_read(q, &b->chain, b->done[queue] * sizeof(page[0]), page,
                        n * sizeof(page[0]))) {
            q->broken = true;
            return true;
        }
        for (unsigned i = 0; i < n; i++) {
            uint64_t gpa = (uint64_t)page[i] << PAGE_SHIFT;
            if (b->left == 0 || !(queue == INFLATE ? inflate(b, gpa) : deflate(b, gpa)))
                return false;
            b->left--;
            b->done[queue]++;
        }
    }
    return true;
}

/* The block of 2 MiB with that number, of those that lie in the chain's buffers. */
static bool block_at(const struct virtq_chain *c, uint32_t number, uint64_t *gpa)
{
    for (unsigned i = 0; i < c->count; i++) {
        const struct virtq_segment *s = &c->segment[i];
        uint64_t skip = -s->gpa % DEVICE_BLOCK;
        uint64_t count = s->length > skip ? (s->length - skip) / DEVICE_BLOCK : 0;

        if (number < count) {
            *gpa = s->gpa + skip + number * DEVICE_BLOCK;
            return true;
        }
        number -= (uint32_t)count;
    }
    return false;
}

/*
 * Memory that is free in the guest. When the chain is back the guest may use it again at any
 * moment, on any vCPU, without telling; so it waits until no processor knows any more what stood
 * there.
 */
static bool report(struct balloon *b)
{
    struct device *d = &b->virtio.dev;
    uint64_t gpa;

    while (!b->reported && block_at(&b->chain, b->done[REPORT], &gpa)) {
        if (b->left == 0 || (gpa >= LOW_MEMORY && device_memory_give_block(d, gpa) == -EAGAIN))
            return false;
        b->left--;
        b->done[REPORT]++;
    }
    if (!b->reported)
        b->settles = device_memory_leaving(d);
    b->reported = true;
    return !b->settles || device_memory_settled(d, b->settles);
}

/* What can be done now; the rest when the timer comes. */
static void process(struct balloon *b, unsigned queue)
{
    struct virtq *q = &b->virtio.queue[queue];
    int result = 0;

    virtq_silence(q);
    do {
        while (b->left > 0 && (result = virtq_next(q, &b->chain)) > 0) {
            b->left--;
            if (!(queue == REPORT ? report(b) : carry_out(b, queue))) {
                virtq_put_back(q, &b->chain);
                b->waiting |= 1u << queue;
                return;
            }
            b->done[queue] = 0;
            b->reported &= queue != REPORT;
            virtq_return(q, &b->chain, 0);
        }
        if (result < 0)
            break;
        if (b->left == 0) {
            b->waiting |= 1u << queue;
            return;
        }
        b->left--; /* what has been offered may be taken back each time */
    } while (virtq_listen(q));
    if (q->broken)
        virtio_broken(&b->virtio);
}

/* --- statistics --- */

static void take_stats(struct balloon *b, struct virtq *q)
{
    uint64_t count = virtq_readable(&b->chain) / sizeof(struct stat);
    struct stat s;

    b->known = 0;
    for (unsigned i = 0; i < MIN(count, STATS_READ); i++) {
        if (!virtq_read(q, &b->chain, i * sizeof(s), &s, sizeof(s))) {
            q->broken = true;
            return;
        }
        if (s.tag < BALLOON_STATS) {
            b->stat[s.tag] = s.value;
            b->known |= 1u << s.tag;
        }
    }
    b->updates++;
}

/* The driver's buffer stays in its ring until there is to be a newer one. */
static void read_stats(struct balloon *b)
{
    struct virtq *q = &b->virtio.queue[STATS];

    if (b->read)
        return;
    int result = virtq_next(q, &b->chain);
    if (result > 0) {
        take_stats(b, q);
        virtq_put_back(q, &b->chain);
        b->read = true;
    }
    if (result < 0 || q->broken)
        virtio_broken(&b->virtio);
}

static void renew_stats(struct balloon *b)
{
    struct virtq *q = &b->virtio.queue[STATS];

    if (!b->read || !virtio_running(&b->virtio))
        return;
    b->read = false;
    if (virtq_next(q, &b->chain) > 0) {
        virtq_return(q, &b->chain, 0);
        if (virtq_listen(q))
            read_stats(b);
    }
    virtio_returned(&b->virtio, STATS);
}

/* --- queues --- */

static void process_some(struct balloon *b, uint32_t queues)
{
    struct device *d = &b->virtio.dev;

    b->waiting &= ~queues;
    for (unsigned i = 0; i < QUEUES; i++) {
        if (!(queues >> i & 1) || !virtio_running(&b->virtio) || !b->virtio.queue[i].enabled)
            continue;
        if (i == STATS)
            read_stats(b);
        else
            process(b, i);
        virtio_returned(&b->virtio, i);
    }
    /* Also for pages that came back: what they were before is nobody's then. */
    if (queues & (1u << INFLATE | 1u << DEFLATE | 1u << REPORT))
        device_memory_given(d);
    if (b->waiting)
        device_timer_set(d, 0, device_now(d) + (b->left ? device_tsc_hz(d) / RETRY_HZ : 0));
}

static void notify(struct virtio *v, unsigned queue)
{
    struct balloon *b = balloon_of(&v->dev);

    if (!(b->waiting >> queue & 1))
        process_some(b, 1u << queue);
}

/* However often the guest asks, what it may keep a processor busy with is renewed here alone. */
static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct balloon *b = balloon_of(d);

    b->left = AT_ONCE;
    process_some(b, b->waiting);
}

static void config_write(struct virtio *v, unsigned at, unsigned size, uint64_t value)
{
    if (at == offsetof(struct config, actual) && size == sizeof(uint32_t))
        config_of(balloon_of(&v->dev))->actual = (uint32_t)value;
}

/* A driver that comes next knows of no page in it: each is there again when it is used. */
static void stop(struct virtio *v)
{
    struct balloon *b = balloon_of(&v->dev);

    config_of(b)->actual = 0;
    b->done[INFLATE] = b->done[DEFLATE] = b->done[REPORT] = 0;
    b->waiting = b->known = 0;
    b->starved = b->read = b->reported = false;
    device_timer_set(&v->dev, 0, TIMER_OFF);
}

static bool idle(struct virtio *v)
{
    return true;
}

static const struct virtio_ops balloon_ops = {
    .type = TYPE,
    .class = CLASS,
    .notify = notify,
    .config_write = config_write,
    .stop = stop,
    .idle = idle,
};

/* --- for the VM's owner --- */

void balloon_look(struct device *d, struct balloon_state *out)
{
    struct balloon *b = balloon_of(d);

    device_lock(d);
    *out = (struct balloon_state){
        .target = config_of(b)->num_pages,
        .actual = config_of(b)->actual,
        .running = virtio_running(&b->virtio),
        .starved = b->starved,
        .kept = b->kept,
        .known = b->known,
        .updates = b->updates,
    };
    memcpy(out->stat, b->stat, sizeof(out->stat));
    device_unlock(d);
}

void balloon_set(struct device *d, uint32_t pages)
{
    struct balloon *b = balloon_of(d);

    device_lock(d);
    config_of(b)->num_pages = pages;
    virtio_config_changed(&b->virtio);
    device_unlock(d);
}

void balloon_ask(struct device *d)
{
    device_lock(d);
    renew_stats(balloon_of(d));
    device_unlock(d);
}

/* --- life --- */

static void save(struct device *d, struct state_writer *w)
{
    struct balloon *b = balloon_of(d);

    virtio_save(d, w);
    state_put_u32(w, config_of(b)->num_pages);
    state_put_u32(w, config_of(b)->actual);
    state_put_u32(w, b->done[INFLATE]);
    state_put_u32(w, b->done[DEFLATE]);
    state_put_u32(w, b->left);
    state_put_u8(w, (uint8_t)b->waiting);
    state_put_u8(w, b->read);
    state_put_u32(w, b->done[REPORT]);
    state_put_u8(w, b->reported);
}

static int load(struct device *d, struct state_reader *r)
{
    struct balloon *b = balloon_of(d);
    int error = virtio_load(d, r);

    config_of(b)->num_pages = state_get_u32(r);
    config_of(b)->actual = state_get_u32(r);
    b->done[INFLATE] = state_get_u32(r);
    b->done[DEFLATE] = state_get_u32(r);
    b->left = state_get_u32(r);
    b->left = MIN(b->left, AT_ONCE);
    b->waiting = state_get_u8(r) & (1u << INFLATE | 1u << DEFLATE | 1u << REPORT);
    b->read = state_get_u8(r) & 1;
    b->done[REPORT] = state_get_u32(r);
    b->reported = state_get_u8(r) & 1;
    b->settles = 0; /* all of the VM's vCPUs begin with no translation */
    return error;   /* the timer that queues wait for is kept by the bus */
}

static const struct device_ops device_ops = {
    .name = "virtio-balloon",
    .version = 2,
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
    struct balloon *b = balloon_of(d);

    b->left = AT_ONCE;
    b->virtio.ops = &balloon_ops;
    b->virtio.queue_count = s->host->overcommits ? QUEUES : REPORT;
    b->virtio.offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC |
                        VIRTIO_F_EVENT_IDX | F_MUST_TELL_HOST | F_STATS_VQ | F_DEFLATE_ON_OOM |
                        (s->host->overcommits ? F_REPORTING : 0);
    b->virtio.config_size = sizeof(struct config);
    return virtio_attach(&b->virtio, s->pci);
}

const struct device_class virtio_balloon_class = {
    .ops = &device_ops,
    .size = sizeof(struct balloon),
    .key = "balloon",
    .create = create,
};
