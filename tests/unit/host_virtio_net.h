/* A virtio-net device of the machine, as a model, and its driver on it, for tests. */
#pragma once

#include "arch/x86/lib/errno.h"
#include "drivers/virtio_net.h"
#include "tests/unit/net_card_user.h"

#include "tests/unit/host_virtio.h"

#define BUFFER VIRTIO_NET_BUFFER
#define HEADER VIRTIO_NET_HEADER

#define F_MTU       BIT(3)
#define F_MAC       BIT(5)
#define F_MERGEABLE BIT(15)
#define F_STATUS    BIT(16)
#define F_VERSION_1 BIT(32)
#define F_ALL       UINT64_MAX /* whatever there may be */

/* --- a model of the device --- */

static struct {
    uint8_t mac[6];
    uint16_t link, mtu, mtu_grows; /* with each look at it */
} m;

static inline uint16_t half(uint64_t at)
{
    uint16_t v;

    memcpy(&v, reach(at, 2, DMA_READ), 2);
    return v;
}

static inline void put_used(struct queue *q, uint32_t id, uint32_t written)
{
    uint32_t element[2] = {id, written};

    memcpy(reach(q->used_ring + 4 + q->used % q->size * 8, 8, DMA_WRITE), element, 8);
    q->used++;
    memcpy(reach(q->used_ring + 2, 2, DMA_WRITE), &q->used, 2);
}

/* The next chain that is there. */
static inline bool take_chain(struct queue *q, uint16_t *head)
{
    if (!(registers.status & 4) || !q->enabled || q->seen == half(q->available + 2))
        return false;
    *head = half(q->available + 4 + q->seen % q->size * 2);
    q->seen++;
    assert_true(*head < q->size);
    return true;
}

static inline void read_descriptor(const struct queue *q, unsigned n, struct virtio_descriptor *d)
{
    memcpy(d, reach(q->descriptors + n * 16, 16, DMA_READ), 16);
    assert_true(d->length > 0 && d->length <= BUFFER && d->address + d->length <= RAM);
}

static inline void transmit(void)
{
    static const uint8_t zero[HEADER];
    struct virtio_descriptor d;
    uint16_t head;

    while (!wire.mute && take_chain(&registers.queue[1], &head)) {
        struct sent *s = &wire.sent[wire.sent_count % SENT];
        unsigned n = head;

        s->length = 0;
        do {
            read_descriptor(&registers.queue[1], n, &d);
            assert_int_equal(d.flags & ~1, 0);
            assert_true(s->length + d.length <= sizeof(s->data));
            memcpy(s->data + s->length, reach(d.address, d.length, DMA_READ), d.length);
            s->length += d.length;
            n = d.next;
        } while (d.flags & 1);
        assert_true(s->length >= HEADER + 60);
        assert_memory_equal(s->data, zero, HEADER);
        wire.sent_count++;
        put_used(&registers.queue[1], head, 0);
    }
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    if (wire.gone)
        return UINT64_MAX;
    if (io->base == DEVICE) {
        assert_true(registers.accepted & F_MAC);
        if (offset < 6)
            return m.mac[offset];
        assert_int_equal(size, 2);
        assert_true(registers.accepted & (offset == 6 ? F_STATUS : F_MTU));
        if (offset == 6)
            return m.link;
        m.mtu = (uint16_t)(m.mtu + m.mtu_grows);
        return m.mtu;
    }
    assert_int_equal(io->base, COMMON);
    return read_common(offset);
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    if (wire.gone)
        return;
    if (io->base == NOTIFY) {
        if (write_notify(offset, size, value) == &registers.queue[1])
            transmit();
        return;
    }
    assert_int_equal(io->base, COMMON);
    write_common(offset, value);
}

/* One buffer's worth, with a header that says that so many are of this frame, where there is one.
 * written: as the device says. */
static inline bool put(const uint8_t *data, uint32_t size, unsigned buffers, uint32_t written)
{
    struct virtio_descriptor d;
    uint16_t head, count = (uint16_t)buffers;
    uint32_t skip = buffers ? HEADER : 0;

    if (!take_chain(&registers.queue[0], &head))
        return false;
    read_descriptor(&registers.queue[0], head, &d);
    assert_true(d.flags == 2 && d.length == BUFFER && skip + size <= BUFFER);
    if (buffers) {
        memset(reach(d.address, BUFFER, DMA_WRITE), 0xff, HEADER);
        memcpy(ram + d.address + 10, &count, 2);
    }
    if (data)
        memcpy(reach(d.address + skip, size, DMA_WRITE), data, size);
    put_used(&registers.queue[0], head, written);
    return true;
}

static inline bool arrives(const uint8_t *data, uint32_t length)
{
    unsigned buffers = (length + HEADER + BUFFER - 1) / BUFFER;
    uint32_t size = MIN(length, BUFFER - HEADER);

    if (!put(data, size, buffers, size + HEADER))
        return false;
    for (uint32_t at = size; at < length; at += size) {
        size = MIN(length - at, BUFFER);
        if (!put(data + at, size, 0, size))
            return false;
    }
    return true;
}

/* --- the driver on it --- */

static struct virtio_net the_card, *const v = &the_card;
static const struct host_pci function = {.vendor = VIRTIO_VENDOR};

static inline void new_queue(struct virtio_net_queue *q)
{
    paddr behind;

    q->ring.ring = new_page(&q->ring.ring_at);
    (void)new_page(&behind);
    for (unsigned i = 0; i < VIRTIO_NET_PAGES; i++)
        q->page[i] = new_page(&q->page_at[i]);
}

int virtio_net_prepare(struct net_card *c)
{
    assert_ptr_equal(c, card);
    if (!v->in.page[0]) {
        new_queue(&v->in);
        new_queue(&v->out);
    }
    return 0;
}

/* Another one, for who looks after cards in the old one's place. */
static inline void new_card(void)
{
    struct spinlock lock = card->lock;

    memset(v, 0, sizeof(*v));
    card->lock = lock;
    host_virtio_place(&v->virtio, 0x18);
    v->vectors = 2;
    card->pci = &function;
}

static inline int setup(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    memset(&m, 0, sizeof(m));
    begin(&the_card.card);
    host_virtio_begin(2, F_ALL & ~F_MTU);
    m.link = 1;
    memcpy(m.mac, mac, 6);
    new_card();
    return 0;
}

static inline void start_up_to(uint32_t longest)
{
    assert_int_equal(virtio_net_init(v), 0);
    run(longest);
}

static inline void start(void)
{
    start_up_to(1518);
}
