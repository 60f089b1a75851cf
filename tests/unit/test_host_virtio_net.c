/* links: drivers/virtio_net.c drivers/virtio.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include "arch/x86/lib/errno.h"
#include "drivers/virtio_net.h"
#include "tests/unit/net_card_user.h"

#define COMMON 1
#define DEVICE 2
#define NOTIFY 3
#define BUFFER VIRTIO_NET_BUFFER
#define HEADER VIRTIO_NET_HEADER

#define F_MTU       BIT(3)
#define F_MAC       BIT(5)
#define F_MERGEABLE BIT(15)
#define F_STATUS    BIT(16)
#define F_VERSION_1 BIT(32)
#define F_ALL       UINT64_MAX /* whatever there may be */

/* --- a model of the device --- */

struct queue {
    uint16_t size, vector, enabled, seen, used, notified;
    uint64_t descriptors, available, used_ring;
};

static struct {
    uint8_t status;
    uint32_t select, driver_select;
    uint64_t offered, accepted;
    struct queue queue[2];
    uint16_t number, config_vector, biggest;
    uint8_t mac[6];
    uint16_t link, mtu;
    unsigned resets, slow;
    bool refuses, no_reset, no_vectors;
} m;

static void power_on(void)
{
    m.status = 0;
    m.accepted = 0;
    m.config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < 2; i++)
        m.queue[i] = (struct queue){.size = m.biggest, .vector = VIRTIO_NO_VECTOR};
}

static uint16_t half(uint64_t at)
{
    uint16_t v;

    memcpy(&v, ram + at, 2);
    return v;
}

static void put_used(struct queue *q, uint32_t id, uint32_t written)
{
    uint32_t element[2] = {id, written};

    memcpy(ram + q->used_ring + 4 + q->used % q->size * 8, element, 8);
    q->used++;
    memcpy(ram + q->used_ring + 2, &q->used, 2);
}

/* The next chain that is there. */
static bool take_chain(struct queue *q, uint16_t *head)
{
    if (!(m.status & 4) || !q->enabled || q->seen == half(q->available + 2))
        return false;
    *head = half(q->available + 4 + q->seen % q->size * 2);
    q->seen++;
    assert_true(*head < q->size);
    return true;
}

static void read_descriptor(const struct queue *q, unsigned n, struct virtio_descriptor *d)
{
    memcpy(d, ram + q->descriptors + n * 16, 16);
    assert_true(d->length > 0 && d->length <= BUFFER && d->address + d->length <= RAM);
}

static void transmit(void)
{
    static const uint8_t zero[HEADER];
    struct virtio_descriptor d;
    uint16_t head;

    while (!wire.mute && take_chain(&m.queue[1], &head)) {
        struct sent *s = &wire.sent[wire.sent_count % SENT];
        unsigned n = head;

        s->length = 0;
        do {
            read_descriptor(&m.queue[1], n, &d);
            assert_int_equal(d.flags & ~1, 0);
            assert_true(s->length + d.length <= sizeof(s->data));
            memcpy(s->data + s->length, ram + d.address, d.length);
            s->length += d.length;
            n = d.next;
        } while (d.flags & 1);
        assert_true(s->length >= HEADER + 60);
        assert_memory_equal(s->data, zero, HEADER);
        wire.sent_count++;
        put_used(&m.queue[1], head, 0);
    }
}

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    const struct queue *q = &m.queue[m.number & 1];

    if (wire.gone)
        return UINT64_MAX;
    if (io->base == DEVICE) {
        assert_true(m.accepted & F_MAC);
        if (offset < 6)
            return m.mac[offset];
        assert_int_equal(size, 2);
        assert_true(m.accepted & (offset == 6 ? F_STATUS : F_MTU));
        return offset == 6 ? m.link : m.mtu;
    }
    assert_int_equal(io->base, COMMON);
    switch (offset) {
    case 0x04:
        return m.select < 2 ? (uint32_t)(m.offered >> (32 * m.select)) : 0;
    case 0x14:
        if (m.slow) {
            m.slow--;
            return 4;
        }
        return m.status;
    case 0x18:
        return q->size;
    case 0x1a:
        return q->vector;
    case 0x1e:
        return m.number + 3u;
    default:
        fail_msg("read of %x", offset);
    }
    return 0;
}

static void put_half(uint64_t *field, unsigned high, uint64_t value)
{
    *field = high ? (uint32_t)*field | value << 32 : (*field & ~0xffffffffull) | value;
}

static void set_status(uint8_t value)
{
    if (!value) {
        if (!m.no_reset) {
            power_on();
            m.resets++;
            m.slow = 3;
        }
        return;
    }
    assert_true((value & 15) == 1 || (value & 15) == 3 || (value & 15) == 11 || (value & 15) == 15);
    m.status = value;
    if (value & 8)
        assert_int_equal(m.accepted & ~m.offered, 0);
    if (m.refuses)
        m.status &= (uint8_t)~8;
    if (value & 4)
        assert_true(m.queue[0].enabled && m.queue[1].enabled);
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    struct queue *q = &m.queue[m.number & 1];

    if (wire.gone)
        return;
    if (io->base == NOTIFY) {
        assert_true(size == 2 && value < 2 && offset == 4 * (value + 3));
        assert_true(m.status & 4);
        m.queue[value].notified++;
        if (value == 1)
            transmit();
        return;
    }
    assert_int_equal(io->base, COMMON);
    switch (offset) {
    case 0x00:
        m.select = (uint32_t)value;
        break;
    case 0x08:
        m.driver_select = (uint32_t)value;
        break;
    case 0x0c:
        put_half(&m.accepted, m.driver_select, value);
        break;
    case 0x10:
        m.config_vector = (uint16_t)value;
        break;
    case 0x14:
        set_status((uint8_t)value);
        break;
    case 0x16:
        assert_true(value < 2);
        m.number = (uint16_t)value;
        break;
    case 0x18:
        q->size = (uint16_t)value;
        break;
    case 0x1a:
        q->vector = m.no_vectors ? VIRTIO_NO_VECTOR : (uint16_t)value;
        break;
    case 0x1c:
        q->enabled = (uint16_t)value;
        break;
    default:
        if (offset >= 0x20 && offset < 0x38) {
            uint64_t *field[] = {&q->descriptors, &q->available, &q->used_ring};

            put_half(field[(offset - 0x20) / 8], offset & 4, value);
        } else {
            fail_msg("write of %x", offset);
        }
    }
}

/* One buffer's worth, with a header that says that so many are of this frame, where there is one.
 * written: as the device says. */
static bool put(const uint8_t *data, uint32_t size, unsigned buffers, uint32_t written)
{
    struct virtio_descriptor d;
    uint16_t head, count = (uint16_t)buffers;
    uint32_t skip = buffers ? HEADER : 0;

    if (!take_chain(&m.queue[0], &head))
        return false;
    read_descriptor(&m.queue[0], head, &d);
    assert_true(d.flags == 2 && d.length == BUFFER && skip + size <= BUFFER);
    if (buffers) {
        memset(ram + d.address, 0xff, HEADER);
        memcpy(ram + d.address + 10, &count, 2);
    }
    if (data)
        memcpy(ram + d.address + skip, data, size);
    put_used(&m.queue[0], head, written);
    return true;
}

static bool arrives(const uint8_t *data, uint32_t length)
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

static void new_queue(struct virtio_net_queue *q)
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
static void new_card(void)
{
    struct spinlock lock = card->lock;

    memset(v, 0, sizeof(*v));
    card->lock = lock;
    v->virtio.common = (struct io){.base = COMMON, .size = 0x38};
    v->virtio.device = (struct io){.base = DEVICE, .size = 0x18};
    v->virtio.notify = (struct io){.base = NOTIFY, .size = 0x100};
    v->virtio.notify_multiplier = 4;
    v->vectors = 2;
    card->pci = &function;
}

static int setup(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    memset(&m, 0, sizeof(m));
    begin(&the_card.card);
    m.biggest = 256;
    power_on();
    m.status = 15; /* firmware has used it */
    m.offered = F_ALL & ~F_MTU;
    m.link = 1;
    memcpy(m.mac, mac, 6);
    new_card();
    return 0;
}

static void start_up_to(uint32_t longest)
{
    assert_int_equal(virtio_net_init(v), 0);
    run(longest);
}

static void start(void)
{
    start_up_to(1518);
}

static void what_it_is(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    assert_int_equal(virtio_net_init(v), 0);
    assert_memory_equal(card->mac, mac, 6);
    assert_int_equal(card->longest, 9234);
    assert_int_equal(m.status, 0);
    m.offered = F_MTU | F_MAC | F_VERSION_1 | F_MERGEABLE;
    m.mtu = 1460;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 1478);
    m.offered = F_MAC | F_VERSION_1;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 2036);
    m.offered = F_ALL;
    v->virtio.device.size = 8; /* it has no room for what it says that it has */
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 9234);
}

static void what_it_takes(void **state)
{
    start();
    assert_int_equal(m.accepted, F_MAC | F_MERGEABLE | F_STATUS | F_VERSION_1 | BIT(33));
    assert_int_equal(m.queue[0].vector, 0);
    assert_int_equal(m.queue[1].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(m.config_vector, 1);
    assert_int_equal(half(m.queue[0].available + 2), 256);
    net_card_stop(card);
    assert_int_equal(m.status, 0);
    v->vectors = 1;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(m.queue[0].vector, 0);
    assert_int_equal(m.config_vector, VIRTIO_NO_VECTOR);
    net_card_stop(card);
    v->vectors = 0;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(m.queue[0].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EBUSY);
}

static void cannot_be_used(void **state)
{
    m.offered &= ~F_VERSION_1;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    m.offered = F_ALL & ~F_MAC;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    m.offered = F_ALL;
    m.refuses = true;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    m.refuses = false;
    m.mac[0] = 1; /* a group's */
    assert_int_equal(virtio_net_init(v), -EIO);
    memset(m.mac, 0, 6);
    assert_int_equal(virtio_net_init(v), -EIO);
    m.mac[5] = 1;
    m.no_reset = true;
    m.status = 15;
    assert_int_equal(virtio_net_init(v), -EIO);
    wire.gone = true;
    assert_int_equal(virtio_net_init(v), -EIO);
}

static void cannot_be_started(void **state)
{
    m.offered &= ~F_MTU;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 9235), -EINVAL);
    m.biggest = 8;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -ENOTSUP);
    m.biggest = 100;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -ENOTSUP);
    m.biggest = 256;
    v->virtio.notify.size = 17; /* the second one's place is at 16 */
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    v->virtio.notify.size = 0x100;
    m.no_vectors = true;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    assert_int_equal(m.status, 0);
    assert_int_equal(card->state, NET_CARD_IDLE);
}

static void sends(void **state)
{
    static const uint32_t lengths[] = {14, 59, 60, 61, 1514, 2035, 2036, 2037, 4084, 4085, 9234};
    unsigned rounds = 60;

    start_up_to(9234);
    for (unsigned round = 0; round < rounds; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            const struct sent *s = &wire.sent[wire.sent_count % SENT];

            fill((uint8_t)(round + i));
            assert_true(send(lengths[i]));
            net_card_sent(card);
            assert_int_equal(s->length - HEADER, MAX(lengths[i], 60u));
            assert_memory_equal(s->data + HEADER, pattern, lengths[i]);
            for (uint32_t at = lengths[i] + HEADER; at < s->length; at++)
                assert_int_equal(s->data[at], 0);
        }
    assert_int_equal(card->counts.sent, rounds * ARRAY_SIZE(lengths));
    assert_int_equal(card->counts.no_room, 0);
    assert_false(send(9235));
    assert_int_equal(card->counts.no_room, 1);
}

/* A ring of as many descriptors as the device wants. */
static void small_ring(void **state)
{
    m.biggest = 16;
    start_up_to(9234);
    assert_int_equal(half(m.queue[0].available + 2), 16);
    for (unsigned i = 0; i < 100; i++) {
        fill((uint8_t)i);
        assert_true(send(9234));
        net_card_sent(card);
        assert_memory_equal(wire.sent[i % SENT].data + HEADER, pattern, 9234);
        hears(9234);
    }
}

/* Several are told of at once; where the ring is full nothing is lost but what comes then. */
static void full(void **state)
{
    unsigned n = 0;

    start();
    fill(3);
    wire.mute = true;
    while (send(300))
        n++;
    assert_int_equal(n, 256);
    assert_int_equal(m.queue[1].notified, 0);
    net_card_sent(card);
    assert_int_equal(m.queue[1].notified, 1);
    wire.mute = false;
    net_card_sent(card); /* nothing new: no register is written */
    assert_int_equal(wire.sent_count, 0);
    transmit();
    assert_int_equal(wire.sent_count, 256);
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 257);
}

/* A device that looks by itself is not told. */
static void looks_by_itself(void **state)
{
    start();
    ram[m.queue[1].used_ring] = 1;
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(m.queue[1].notified, 0);
    transmit();
    assert_int_equal(wire.sent_count, 1);
    ram[m.queue[1].used_ring] = 0;
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 2);
}

/* They may come back in any order. */
static void out_of_order(void **state)
{
    static const uint16_t order[] = {2, 0, 1};

    start_up_to(9234);
    wire.mute = true;
    for (unsigned i = 0; i < 3; i++)
        assert_true(send(9234));
    net_card_sent(card);
    for (unsigned i = 0; i < 3; i++) {
        put_used(&m.queue[1], order[i] * 5u, 0);
        second(1);
        assert_int_equal(card->gone, i == 0 ? 0 : i == 1 ? 1 : 3);
    }
    assert_int_equal(card->counts.resets, 0);
}

static void receives(void **state)
{
    static const uint32_t lengths[] = {14, 60, 1514, 2035, 2036, 2037, 4084, 4085, 9234};

    start_up_to(9234);
    for (unsigned round = 0; round < 200; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            fill((uint8_t)(round + i));
            hears(lengths[i]);
        }
    assert_int_equal(heard.ends, heard.frames);
    assert_int_equal(card->counts.bad, 0);
    assert_int_equal(card->counts.resets, 0);
}

/* Where each is in one buffer the header's number is nothing that counts. */
static void not_mergeable(void **state)
{
    m.offered = F_MAC | F_VERSION_1;
    start();
    for (unsigned round = 0; round < 600; round++) {
        fill((uint8_t)round);
        assert_true(put(pattern, 700, 77, 700 + HEADER));
        net_card_interrupt(card);
        assert_int_equal(heard.frames, round + 1);
        assert_int_equal(heard.length, 700);
        assert_memory_equal(heard.data, pattern, 700);
    }
    assert_int_equal(heard.downs, 0); /* nobody says anything about a link: it is up */
    second(2);
    assert_int_equal(heard.downs, 0);
}

/* Not before its last piece is there. */
static void in_pieces(void **state)
{
    start_up_to(9234);
    fill(9);
    assert_true(put(pattern, 2036, 2, BUFFER));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 0);
    assert_true(put(pattern + 2036, 100, 0, 100));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    assert_int_equal(heard.length, 2136);
    assert_memory_equal(heard.data, pattern, 2136);
}

/* Lengths that cannot be: such frames are counted and nobody hears them, and what follows is as
 * good as ever. */
static void bad_frames(void **state)
{
    static const struct {
        unsigned buffers;
        uint32_t first, rest;
    } cases[] = {
        {1, 0, 0},
        {1, 11, 0},
        {1, 12, 0},
        {1, 12 + 13, 0},
        {1, 2049, 0},
        {1, UINT32_MAX, 0},
        {1, 1519 + 12, 0},
        {2, 12, 100},
        {2, BUFFER, 0},
        {2, BUFFER, 2049},
        {2, BUFFER, 1 << 30},
        {5, BUFFER, 0},
        {6, BUFFER, 64},
        {2, HEADER + 13, 100},
        {2, HEADER + 255, 1},
        {100, 100, 65535},
    };

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_true(put(NULL, 0, cases[i].buffers, cases[i].first));
        for (unsigned n = 1; n < cases[i].buffers; n++)
            assert_true(put(NULL, 0, 0, cases[i].rest));
        fill((uint8_t)i);
        hears(77);
        assert_int_equal(card->counts.bad, i + 1);
    }
    assert_true(put(pattern, 77, 65536, 77 + HEADER)); /* of none: it is one */
    net_card_interrupt(card);
    assert_int_equal(heard.frames, ARRAY_SIZE(cases) + 1);
    second(1);
    assert_int_equal(card->counts.resets, 0);
}

/* What it says cannot be: nothing more is taken, and it is reset. */
static void expect_reset(void)
{
    unsigned frames = heard.frames;

    net_card_interrupt(card);
    assert_int_equal(heard.frames, frames);
    assert_int_equal(card->counts.resets, 0);
    second(1);
    assert_int_equal(card->counts.resets, 1);
    fill(8);
    hears(300);
    assert_true(send(300));
    net_card_sent(card);
    second(1);
    assert_int_equal(card->counts.resets, 1);
    assert_int_equal(card->in_vain, 0);
}

static void a_buffer_that_is_none(void **state)
{
    start();
    put_used(&m.queue[0], 256, 100);
    expect_reset();
}

static void a_buffer_of_ours(void **state)
{
    start();
    assert_true(put(pattern, 100, 1, 100 + HEADER));
    put_used(&m.queue[0], 0, 100); /* once more, before it is given back */
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    heard.frames = 0;
    expect_reset();
}

static void the_same_buffer_twice(void **state)
{
    start_up_to(9234);
    assert_true(put(pattern, 2036, 2, BUFFER));
    put_used(&m.queue[0], 0, 100);
    expect_reset();
}

static void more_buffers_than_there_are(void **state)
{
    start();
    assert_true(put(pattern, 100, 257, 100 + HEADER));
    expect_reset();
}

static void an_index_that_is_none(void **state)
{
    start();
    m.queue[0].used = 257;
    memcpy(ram + m.queue[0].used_ring + 2, &m.queue[0].used, 2);
    expect_reset();
}

static void a_frame_that_was_not_sent(void **state)
{
    static const uint16_t bad[] = {1, 256, 65535};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        setup(NULL);
        start();
        wire.mute = true;
        assert_true(send(300));
        net_card_sent(card);
        put_used(&m.queue[1], bad[i], 0);
        second(1);
        assert_int_equal(card->counts.resets, 1);
        net_card_stop(card);
    }
}

static void the_same_frame_twice(void **state)
{
    start();
    wire.mute = true;
    assert_true(send(300));
    assert_true(send(300));
    net_card_sent(card);
    put_used(&m.queue[1], 1, 0);
    put_used(&m.queue[1], 1, 0);
    second(1);
    assert_int_equal(card->counts.resets, 1);
}

static void says_that_it_is_sick(void **state)
{
    start();
    m.status |= 0x40;
    second(1);
    assert_int_equal(card->counts.resets, 1);
    assert_int_equal(m.status, 15);
    fill(1);
    hears(60);
}

static void a_link(void **state)
{
    start();
    m.link = 0;
    net_card_interrupt(card); /* the other vector's */
    assert_int_equal(heard.downs, 0);
    virtio_net_changed(v);
    assert_int_equal(heard.downs, 1);
    m.link = 1; /* and nobody says so */
    second(1);
    assert_int_equal(heard.ups, 2);
}

static void polled(void **state)
{
    v->vectors = 0;
    start();
    hears_by_polling();
}

static void a_hang(void **state)
{
    start();
    fill(2);
    wire.mute = true;
    assert_true(send(300));
    net_card_sent(card);
    second(1);
    assert_int_equal(card->counts.resets, 0);
    second(3);
    assert_int_equal(card->counts.resets, 1);
    wire.mute = false;
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 1);
    hears(60);
    second(20);
    assert_int_equal(card->counts.resets, 1);
}

static void hangs_for_good(void **state)
{
    start();
    wire.mute = true;
    for (unsigned i = 0; i < 30; i++) {
        (void)send(300);
        net_card_sent(card);
        second(1);
    }
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_int_equal(card->counts.resets, NET_CARD_TRIES);
    assert_false(wire.master);
    assert_int_equal(m.status, 0);
    assert_int_equal(heard.downs, 1);
    assert_false(send(300));
}

/* One that does not let go of memory is not started again on it. */
static void is_not_reset(void **state)
{
    start();
    m.status |= 0x40;
    m.no_reset = true;
    second(1);
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_false(wire.master);
}

static void goes_away(void **state)
{
    start();
    is_taken_away();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(what_it_is),
        TEST(what_it_takes),
        TEST(cannot_be_used),
        TEST(cannot_be_started),
        TEST(sends),
        TEST(small_ring),
        TEST(full),
        TEST(looks_by_itself),
        TEST(out_of_order),
        TEST(receives),
        TEST(not_mergeable),
        TEST(in_pieces),
        TEST(bad_frames),
        TEST(a_buffer_that_is_none),
        TEST(a_buffer_of_ours),
        TEST(the_same_buffer_twice),
        TEST(more_buffers_than_there_are),
        TEST(an_index_that_is_none),
        TEST(a_frame_that_was_not_sent),
        TEST(the_same_frame_twice),
        TEST(says_that_it_is_sick),
        TEST(a_link),
        TEST(polled),
        TEST(a_hang),
        TEST(hangs_for_good),
        TEST(is_not_reset),
        TEST(goes_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
