/* links: drivers/e1000.c drivers/e1000_ring.c drivers/e1000_models.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* Cards that work as they should, and frames that are none. */
#include "tests/unit/e1000_model.h"

static void address(void **state)
{
    static const uint8_t by_register[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56},
                         by_eeprom[] = {0x02, 0x01, 0x04, 0x03, 0x06, 0x05};

    assert_int_equal(e1000_init(e), 0);
    assert_memory_equal(card->mac, by_register, 6);
    for (unsigned i = 0; i < 2; i++) { /* both layouts of EERD */
        m.keeps = true;
        m.igb = false;
        m.pcie = i == 1;
        e->model = e1000_find(m.pcie ? 0x10d3 : 0x100e);
        REG(0x5400) = REG(0x5404) = REG(0x14) = 0;
        m.eeprom[0] = 0x0102;
        m.eeprom[1] = 0x0304;
        m.eeprom[2] = 0x0506;
        assert_int_equal(e1000_init(e), 0);
        assert_memory_equal(card->mac, by_eeprom, 6);
    }
    m.eeprom[0] = 0x0103; /* a group's */
    assert_int_equal(e1000_init(e), -EIO);
    m.no_eeprom = true;
    assert_int_equal(e1000_init(e), -EIO);
    wire.gone = true;
    assert_int_equal(e1000_init(e), -EIO);
    assert_null(e1000_find(0x1234));
    assert_null(e1000_find(0));
}

/* What firmware had under way goes nowhere, also where a reset resets nothing. */
static void begins_anew(void **state)
{
    m.keeps = true;
    REG(0x100) = 2;
    REG(0x400) = 2;
    REG(0x2810) = 77;
    REG(0x3810) = REG(0x3818) = 99;
    m.ims = UINT32_MAX;
    m.icr = 0x84;
    start();
    assert_int_equal(REG(0x2810), 0);
    assert_int_equal(REG(0x2818), E1000_RING - 1);
    assert_int_equal(m.ims, 0xd4);
    fill(1);
    assert_true(send(100));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, 1);
    assert_true(arrives(pattern, 64));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    m.stuck_reset = true;
    net_card_stop(card);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
    m.stuck_reset = false;
    REG(0) = 0x40;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EBUSY);
}

static void sends(void **state)
{
    static const uint32_t lengths[] = {14, 59, 60, 61, 1514, 2047, 2048, 2049, 4096, 9234};

    start_up_to(9234);
    assert_int_equal(REG(0x100) & 0x20, 0x20); /* RCTL.LPE */
    for (unsigned round = 0; round < 60; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            const struct sent *s = &wire.sent[wire.sent_count % SENT];

            fill((uint8_t)(round + i));
            assert_true(send(lengths[i]));
            net_card_sent(card);
            assert_int_equal(s->length, MAX(lengths[i], 60u));
            assert_memory_equal(s->data, pattern, lengths[i]);
            for (uint32_t at = lengths[i]; at < s->length; at++)
                assert_int_equal(s->data[at], 0);
        }
    assert_int_equal(card->counts.sent, 600);
    assert_int_equal(card->counts.no_room, 0);
    assert_false(send(9235));
    assert_int_equal(card->counts.no_room, 1);
}

static void too_long_for_it(void **state)
{
    assert_int_equal(e1000_init(e), 0);
    assert_int_equal(net_card_start(card, &user, &heard, 9235), -EINVAL);
    assert_int_equal(card->state, NET_CARD_IDLE);
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
    assert_int_equal(n, E1000_RING - 1);
    net_card_sent(card);
    wire.mute = false;
    net_card_sent(card); /* nothing new: no register is written */
    assert_int_equal(wire.sent_count, 0);
    model_write(NULL, 0x400, 4, REG(0x400));
    assert_int_equal(wire.sent_count, E1000_RING - 1);
    assert_true(send(300));
    net_card_sent(card);
    assert_int_equal(wire.sent_count, E1000_RING);
}

static void receives(void **state)
{
    static const uint32_t lengths[] = {14, 60, 1514, 2048, 2049, 9234};

    start_up_to(9234);
    for (unsigned round = 0; round < 200; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            fill((uint8_t)(round + i));
            hears(lengths[i]);
        }
    assert_int_equal(heard.ends, heard.frames);
    assert_int_equal(card->counts.bad, 0);
}

/* Not before its last piece is there. */
static void in_pieces(void **state)
{
    start_up_to(9234);
    fill(9);
    assert_true(put(pattern, 2048, 1, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 0);
    assert_true(put(pattern + 2048, 100, 3, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    assert_int_equal(heard.length, 2148);
    assert_memory_equal(heard.data, pattern, 2148);
    assert_true(put(pattern, NET_CARD_FIRST, 1, 0));
    assert_true(put(pattern + NET_CARD_FIRST, 1, 3, 0));
    net_card_interrupt(card);
    assert_int_equal(heard.length, NET_CARD_FIRST + 1);
}

/* A card that says anything: such frames are counted and nobody hears them, and what follows is as
 * good as ever. */
static void bad_frames(void **state)
{
    static const struct {
        unsigned pieces;
        uint16_t length;
        uint8_t errors;
        unsigned bad;
    } cases[] = {
        {1, 100, 0x01, 1}, {1, 100, 0x02, 1}, {1, 100, 0x10, 1}, {1, 100, 0x80, 1},
        {1, 0, 0, 1},      {1, 13, 0, 1},     {1, 2049, 0, 1},   {1, 65535, 0, 1},
        {1, 1519, 0, 1},   {2, 2048, 0, 1},   {5, 0, 0, 1},      {6, 2048, 0, 2},
        {2, 13, 0, 1},     {2, 255, 0, 1},    {13, 2048, 0, 3},  {100, 65535, 0xff, 20},
    };
    unsigned bad = 0;

    start();
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned n = 1; n <= cases[i].pieces; n++)
            assert_true(put(NULL, cases[i].length, n == cases[i].pieces ? 3 : 1, cases[i].errors));
        fill((uint8_t)i);
        assert_true(arrives(pattern, 77));
        net_card_interrupt(card);
        bad += cases[i].bad;
        assert_int_equal(card->counts.bad, bad);
        assert_int_equal(heard.frames, i + 1);
        assert_int_equal(heard.length, 77);
        assert_memory_equal(heard.data, pattern, 77);
    }
}

/* The same where so much may be of one frame. */
static void bad_long_frames(void **state)
{
    static const struct {
        unsigned pieces;
        uint16_t length;
        unsigned bad;
    } cases[] = {{1, 2049, 1}, {1, 9000, 1}, {2, 2049, 1}, {5, 2048, 1}, {6, 2048, 2}, {13, 64, 3}};
    unsigned bad = 0;

    start_up_to(9234);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        for (unsigned n = 1; n <= cases[i].pieces; n++)
            assert_true(put(NULL, cases[i].length, n == cases[i].pieces ? 3 : 1, 0));
        fill((uint8_t)i);
        assert_true(arrives(pattern, 77));
        net_card_interrupt(card);
        bad += cases[i].bad;
        assert_int_equal(card->counts.bad, bad);
        assert_int_equal(heard.frames, i + 1);
        assert_memory_equal(heard.data, pattern, 77);
    }
}

static void a_link(void **state)
{
    start();
    REG(8) &= ~2u;
    m.icr |= 4;
    net_card_interrupt(card);
    assert_int_equal(heard.downs, 1);
    REG(8) |= 2; /* and nobody says so */
    second(1);
    assert_int_equal(heard.ups, 2);
    net_card_interrupt(card);
    assert_int_equal(heard.ups, 2);
}

static void polled(void **state)
{
    start();
    hears_by_polling();
}

/* The chipset's: no EERD, a register of its own before each reset, queues that are enabled. */
static void a_chipset(void **state)
{
    static const uint16_t ids[] = {0x153a, 0x15a3, 0x156f, 0x550d};

    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        setup(NULL);
        new_card(ids[i]);
        m.pcie = m.chipset = true;
        m.mulr = i > 1;
        start();
        assert_false(card->tried);
        assert_int_equal(card->longest, 1518);
        assert_true(REG(0x3828) & REG(0x2828) & 1u << 25);
        fill((uint8_t)i);
        assert_true(send(1518));
        net_card_sent(card);
        assert_memory_equal(wire.sent[0].data, pattern, 1518);
        net_card_stop(card);
        m.keeps = true;
        REG(0x5404) = 0;
        assert_int_equal(e1000_init(e), -EIO);
    }
}

static void an_i210(void **state)
{
    new_card(0x1533);
    REG(0x2404) = 1; /* as somebody else has left them, and a reset, too */
    REG(0x3404) = 1;
    start_up_to(9234);
    assert_int_equal(REG(0x2404), 0xa2);
    assert_int_equal(REG(0x3404), 0x04000014);
    assert_int_equal(REG(0x5004), 9238);
    fill(1);
    assert_true(arrives(pattern, 9234));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    assert_memory_equal(heard.data, pattern, 9234);
    net_card_stop(card);
    m.stuck_queue = true;
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(address),  TEST(begins_anew), TEST(sends),      TEST(too_long_for_it), TEST(full),
        TEST(receives), TEST(in_pieces),   TEST(bad_frames), TEST(bad_long_frames), TEST(a_link),
        TEST(polled),   TEST(a_chipset),   TEST(an_i210),
    };

    return RUN_ON_BOTH(tests);
}
