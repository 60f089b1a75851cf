/* links: drivers/virtio_net.c drivers/virtio.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * A virtio device that lies: its registers read as anything, its used rings have any index, any
 * identifier and any length, its headers any number of buffers, whenever it wants.
 */
#include "drivers/virtio_net.h"
#include "tests/fuzz/hostile_card.h"

#define COMMON  1
#define DEVICE  2
#define NOTIFY  3
#define USED_AT 0x1400

static uint8_t status;
static uint16_t size_of_queues;
static uint64_t features;
static struct virtio_net *v;

uint64_t model_read(const struct io *r, unsigned offset, unsigned size)
{
    static uint32_t select;

    REQUIRE(offset + size <= r->size);
    if (lies)
        return next32();
    if (r->base == DEVICE)
        return offset == 0 ? 0x52 : offset == 6 ? next() : 1500;
    switch (offset) {
    case 4:
        return (uint32_t)(features >> (32 * (select++ & 1)));
    case 0x14:
        return status;
    case 0x18:
        return size_of_queues;
    case 0x1a:
        return 0;
    case 0x1e:
        return 1;
    default:
        return 0;
    }
}

void model_write(const struct io *r, unsigned offset, unsigned size, uint64_t value)
{
    REQUIRE(offset + size <= r->size);
    if (r->base == COMMON && offset == 0x14)
        status = (uint8_t)value;
}

static void new_queue(struct virtio_net_queue *q, paddr at)
{
    q->ring.ring_at = at;
    q->ring.ring = ram + at;
    for (unsigned i = 0; i < VIRTIO_NET_PAGES; i++) {
        q->page_at[i] = at + (2 + i) * PAGE_SIZE;
        q->page[i] = ram + q->page_at[i];
    }
}

int virtio_net_prepare(struct net_card *c)
{
    new_queue(&v->in, 0);
    new_queue(&v->out, MIB);
    return 0;
}

static void put16(const struct virtio_queue *q, unsigned offset, uint16_t value)
{
    memcpy(q->ring + offset, &value, 2);
}

static void put_used(const struct virtio_queue *q, unsigned n, uint32_t id, uint32_t written)
{
    uint32_t element[2] = {id, written};

    memcpy(q->ring + USED_AT + 4 + n % q->size * 8, element, 8);
}

/* It has been told of none where it said that it has room for none. */
static bool is_there(const struct virtio_queue *q)
{
    return q->size != 0;
}

static void lie_in_a_ring(struct virtio_queue *q)
{
    uint8_t what = next();

    if (!is_there(q))
        return;
    if (what & 1)
        put16(q, USED_AT + 2, (uint16_t)(q->used + (int8_t)next()));
    if (what & 2)
        put_used(q, next(), what & 4 ? next32() : next(), next32());
    if (what & 8)
        put16(q, USED_AT, what >> 4);
}

/* As a good device, mostly. */
static void some_arrive(void)
{
    const struct virtio_queue *q = &v->in.ring;
    unsigned at = q->used;

    if (!is_there(q))
        return;
    for (unsigned i = next() % 64; i > 0; i--, at++) {
        uint16_t id, count = next() % 8;

        memcpy(&id, q->ring + 0x1000 + 4 + at % q->size * 2, 2);
        id %= VIRTIO_RING;
        memcpy(v->in.page[id / 2] + id % 2 * VIRTIO_NET_BUFFER + 10, &count, 2);
        put_used(q, at, id, next() * 9u);
    }
    put16(q, USED_AT + 2, (uint16_t)at);
}

static void some_have_gone(void)
{
    const struct virtio_queue *q = &v->out.ring;
    unsigned at = q->used;

    if (!is_there(q))
        return;
    for (unsigned i = next() % 64; i > 0; i--, at++) {
        uint16_t id;

        memcpy(&id, q->ring + 0x1000 + 4 + at % q->size * 2, 2);
        put_used(q, at, id, 0);
    }
    put16(q, USED_AT + 2, (uint16_t)at);
}

static void act(void)
{
    uint8_t what = next();

    switch (what % 8) {
    case 0:
        lie_in_a_ring(&v->in.ring);
        break;
    case 1:
        lie_in_a_ring(&v->out.ring);
        break;
    case 2:
        some_arrive();
        break;
    case 3:
        if (what & 0x40)
            virtio_net_changed(v);
        else
            net_card_interrupt(&v->card);
        break;
    case 4:
        now += tsc_hz / 3;
        (void)net_cards_work();
        break;
    case 5:
        lies = what & 0x40;
        break;
    case 6:
        some_have_gone();
        break;
    default:
        some_go(&v->card);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct virtio_net card;

    begin(data, size);
    memset(ram, 0, RAM);
    buffers = ram + 2 * PAGE_SIZE;
    size_of_queues = (uint16_t)(1u << next() % 12);
    features = UINT64_C(0x300010020) | (next() & 1 ? BIT(15) : 0) | (next() & 1 ? BIT(3) : 0);
    status = 0;
    v = &card;
    v->virtio.common = (struct io){.base = COMMON, .size = 0x38};
    v->virtio.device = (struct io){.base = DEVICE, .size = 12};
    v->virtio.notify = (struct io){.base = NOTIFY, .size = 0x1000};
    v->virtio.notify_multiplier = 4;
    v->vectors = 0;
    add(&card.card);
    if (virtio_net_init(v) == 0)
        run(&v->card, act);
    return 0;
}
