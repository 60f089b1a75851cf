/* links: drivers/virtio_net.c drivers/virtio.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
#include "arch/x86/lib/log.h"
#include "tests/unit/host_virtio_net.h"

static void what_it_is(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    assert_int_equal(virtio_net_init(v), 0);
    assert_memory_equal(card->mac, mac, 6);
    assert_int_equal(card->longest, 9234);
    assert_int_equal(registers.status, 0);
    registers.offered = F_MTU | F_MAC | F_VERSION_1 | F_MERGEABLE;
    m.mtu = 1460;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 1478);
    registers.offered = F_MAC | F_VERSION_1;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 2036);
    registers.offered = F_ALL;
    v->virtio.device.size = 8; /* it has no room for what it says that it has */
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 9234);
}

static void what_it_takes(void **state)
{
    start();
    assert_int_equal(registers.accepted, F_MAC | F_MERGEABLE | F_STATUS | F_VERSION_1 | BIT(33));
    assert_int_equal(registers.queue[0].vector, 0);
    assert_int_equal(registers.queue[1].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(registers.config_vector, 1);
    assert_int_equal(half(registers.queue[0].available + 2), 256);
    net_card_stop(card);
    assert_int_equal(registers.status, 0);
    v->vectors = 1;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(registers.queue[0].vector, 0);
    assert_int_equal(registers.config_vector, VIRTIO_NO_VECTOR);
    net_card_stop(card);
    v->vectors = 0;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(registers.queue[0].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EBUSY);
}

static void cannot_be_used(void **state)
{
    registers.offered &= ~F_VERSION_1;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    registers.offered = F_ALL & ~F_MAC;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    registers.offered = F_ALL;
    registers.refuses = true;
    assert_int_equal(virtio_net_init(v), -ENOTSUP);
    registers.refuses = false;
    m.mac[0] = 1; /* a group's */
    assert_int_equal(virtio_net_init(v), -EIO);
    memset(m.mac, 0, 6);
    assert_int_equal(virtio_net_init(v), -EIO);
    m.mac[5] = 1;
    registers.no_reset = true;
    registers.status = 15;
    assert_int_equal(virtio_net_init(v), -EIO);
    wire.gone = true;
    assert_int_equal(virtio_net_init(v), -EIO);
}

static void says_its_mtu_once(void **state)
{
    registers.offered |= F_MTU;
    m.mtu_grows = 1500;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(card->longest, 1518);
}

static void cannot_be_started(void **state)
{
    registers.offered &= ~F_MTU;
    assert_int_equal(virtio_net_init(v), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 9235), -EINVAL);
    registers.biggest = 8;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -ENOTSUP);
    registers.biggest = 100;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -ENOTSUP);
    registers.biggest = 256;
    v->virtio.notify.size = 17; /* the second one's place is at 16 */
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    v->virtio.notify.size = 0x100;
    registers.no_vectors = true;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    assert_int_equal(registers.status, 0);
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
    registers.biggest = 16;
    start_up_to(9234);
    assert_int_equal(half(registers.queue[0].available + 2), 16);
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
    assert_int_equal(registers.queue[1].notified, 0);
    net_card_sent(card);
    assert_int_equal(registers.queue[1].notified, 1);
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
    ram[registers.queue[1].used_ring] = 1;
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(registers.queue[1].notified, 0);
    transmit();
    assert_int_equal(wire.sent_count, 1);
    ram[registers.queue[1].used_ring] = 0;
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
        put_used(&registers.queue[1], order[i] * 5u, 0);
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

/* More at once than one look takes: the rest comes without interrupts, and then with them. */
static void a_flood(void **state)
{
    const uint16_t *flags;

    start();
    flags = (const uint16_t *)(ram + registers.queue[0].available);
    fill(3);
    for (unsigned i = 0; i < 200; i++)
        assert_true(arrives(pattern, 60));
    assert_int_equal(*flags, 0);
    net_card_interrupt(card);
    net_card_interrupt(card);
    assert_int_equal(heard.frames, NET_CARD_BUDGET);
    assert_int_equal(*flags, 1);
    for (unsigned i = 2; i < 5; i++) {
        now += tsc_hz / 4000;
        (void)net_cards_work();
        assert_int_equal(heard.frames, i * NET_CARD_BUDGET);
        assert_int_equal(*flags, 1);
    }
    now += tsc_hz / 4000;
    (void)net_cards_work();
    assert_int_equal(heard.frames, 200);
    assert_int_equal(*flags, 0);
}

/* Where each is in one buffer the header's number is nothing that counts. */
static void not_mergeable(void **state)
{
    registers.offered = F_MAC | F_VERSION_1;
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

static unsigned lines;

static void count_line(enum log_level level, const char *line, size_t length)
{
    lines++;
}

/* It may change as often as it likes: the log hears of it twice a second at most. */
static void a_link_that_flaps(void **state)
{
    log_set_sink(count_line);
    lines = 0;
    start();
    assert_int_equal(lines, 1);
    for (unsigned i = 0; i < 1001; i++) {
        m.link = !m.link;
        virtio_net_changed(v);
    }
    assert_int_equal(heard.ups + heard.downs, 1002);
    assert_int_equal(lines, 1);
    second(1);
    assert_int_equal(lines, 2);
    second(5);
    assert_int_equal(lines, 2);
    log_set_sink(NULL);
}

static void polled(void **state)
{
    v->vectors = 0;
    start();
    hears_by_polling();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(what_it_is),
        TEST(what_it_takes),
        TEST(cannot_be_used),
        TEST(says_its_mtu_once),
        TEST(cannot_be_started),
        TEST(sends),
        TEST(small_ring),
        TEST(full),
        TEST(looks_by_itself),
        TEST(out_of_order),
        TEST(receives),
        TEST(not_mergeable),
        TEST(in_pieces),
        TEST(a_flood),
        TEST(a_link),
        TEST(a_link_that_flaps),
        TEST(polled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
