/* links: drivers/e1000.c drivers/e1000_ring.c drivers/e1000_models.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* A card that floods, hangs, interrupts for nothing, or goes away. */
#include "tests/unit/e1000_model.h"

static unsigned calls;

static void called(void)
{
    calls++;
}

/* What comes at once is not all taken at once, however often the card interrupts, which it does not
 * any more: somebody looks at it now and then. */
static void a_flood(void **state)
{
    start();
    calls = 0;
    net_cards_set_attention(called);
    fill(5);
    for (unsigned i = 0; i < E1000_RING - 1; i++)
        assert_true(arrives(pattern, 60));
    assert_false(arrives(pattern, 60));
    for (unsigned i = 0; i < 3; i++) {
        net_card_interrupt(card);
        assert_true(net_cards_work() < now + tsc_hz / 1000);
        assert_int_equal(heard.frames, NET_CARD_BUDGET);
    }
    assert_int_equal(calls, 1);
    assert_int_equal(m.ims, 4); /* it tells of its link alone */
    for (unsigned i = 2; i < 6; i++) {
        now += tsc_hz / 4000;
        assert_true(net_cards_work() < now + tsc_hz / 1000);
        assert_int_equal(heard.frames, i * NET_CARD_BUDGET);
    }
    now += tsc_hz / 4000;
    m.late = true;
    assert_true(net_cards_work() > now + tsc_hz / 1000);
    assert_int_equal(heard.frames, E1000_RING);
    assert_int_equal(m.ims, 0xd4);
    assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, E1000_RING + 1);
    /* A reset ends it, too. */
    for (unsigned i = 0; i < 2 * NET_CARD_BUDGET; i++)
        assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(m.ims, 4);
    wire.mute = true;
    assert_true(send(100));
    net_card_sent(card);
    while (!card->counts.resets) {
        for (unsigned i = 0; i < NET_CARD_BUDGET; i++)
            (void)arrives(pattern, 60);
        now += tsc_hz / 4000;
        (void)net_cards_work();
    }
    assert_int_equal(m.ims, 0xd4);
    hears(60);
    net_cards_set_attention(NULL);
}

/* Each frame goes to many: one look is over when half a millisecond is, and as much is for others
 * before the next one. */
static void a_slow_flood(void **state)
{
    start();
    fill(5);
    heard.ticks = tsc_hz / 1000;
    for (unsigned i = 0; i < 10; i++)
        assert_true(arrives(pattern, 60));
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    for (unsigned i = 2; i <= 10; i++) {
        uint64_t from = now, before = now;

        while (heard.frames < i) {
            before = now += tsc_hz / 20000;
            (void)net_cards_work();
        }
        assert_int_equal(heard.frames, i);
        assert_true(before - from >= tsc_hz / 1000 - tsc_hz / 20000);
    }
    now += tsc_hz / 100;
    (void)net_cards_work();
    assert_int_equal(m.ims, 0xd4);
    heard.ticks = 0;
    hears(60);
}

static unsigned cut;

static void cut_line(struct net_card *c)
{
    cut++;
}

static void somebody_elses_interrupt(void **state)
{
    start();
    cut = 0;
    card->disconnect = cut_line;
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    hears(60); /* it was its own in between */
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    assert_int_equal(cut, 0);
    second(1); /* so many in a longer time are none too many */
    for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++)
        net_card_interrupt(card);
    assert_int_equal(cut, 0);
    assert_true(card->interrupting);
    net_card_interrupt(card);
    net_card_interrupt(card);
    assert_int_equal(cut, 1);
    assert_false(card->interrupting);
    assert_int_equal(card->counts.resets, 0);
}

/* By messages, each of which the card says is its own: but its link is as it was, and nothing has
 * come. */
static void interrupts_for_nothing(void **state)
{
    start();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < NET_CARD_STRAYS - 1; i++) {
            m.icr = 4;
            net_card_interrupt(card);
        }
        second(1);
    }
    assert_int_equal(card->counts.resets, 0);
    for (unsigned round = 0; card->state == NET_CARD_RUNS; round++) {
        assert_int_equal(card->counts.resets, round);
        for (unsigned i = 0; i < NET_CARD_STRAYS; i++) {
            m.icr = 4;
            net_card_interrupt(card);
        }
        second(1);
    }
    assert_int_equal(card->counts.resets, NET_CARD_TRIES);
    assert_false(wire.master);
}

static void a_hang(void **state)
{
    unsigned resets;

    start();
    resets = m.resets;
    hangs_once();
    assert_true(m.resets > resets);
}

/* It has reached for memory that is not its: at the next look, which is soon, it begins anew. */
static void a_stray(void **state)
{
    start();
    net_cards_strayed((const struct host_pci *)&heard); /* another one */
    second(2);
    assert_int_equal(card->counts.resets, 0);
    net_cards_strayed(card->pci);
    (void)net_cards_work();
    assert_int_equal(card->counts.resets, 1);
    second(2);
    assert_int_equal(card->counts.resets, 1);
    assert_true(send(300));
}

/* Without a link nothing goes, and that is no hang. */
static void no_link(void **state)
{
    start();
    wire.mute = true;
    REG(8) &= ~2u;
    second(1);
    assert_true(send(300));
    net_card_sent(card);
    second(20);
    assert_int_equal(card->counts.resets, 0);
    REG(8) |= 2;
    second(1);
    assert_int_equal(card->counts.resets, 0);
}

static void hangs_for_good(void **state)
{
    start();
    hangs_until_lost();
    assert_int_equal(REG(0x100) & 2, 0);
    assert_int_equal(net_card_start(card, &user, &heard, 1518), -EIO);
}

static void goes_away(void **state)
{
    start();
    is_taken_away();
}

static void deaf(void **state)
{
    start();
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(card->counts.resets, 0);
        m.icr |= 0x40;
        net_card_interrupt(card);
        now += tsc_hz;
        (void)net_cards_work();
    }
    assert_int_equal(card->counts.overruns, 3);
    assert_int_equal(card->counts.resets, 1);
    /* Something comes in between, or somebody sends what is bad. */
    for (unsigned i = 0; i < 9; i++) {
        m.icr |= 0x40;
        fill(1);
        assert_true(arrives(pattern, i < 4 ? 60 : 1600));
        net_card_interrupt(card);
        now += tsc_hz;
        (void)net_cards_work();
    }
    assert_int_equal(card->counts.bad, 5);
    assert_int_equal(card->counts.resets, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(a_flood),
        TEST(a_slow_flood),
        TEST(somebody_elses_interrupt),
        TEST(interrupts_for_nothing),
        TEST(a_hang),
        TEST(a_stray),
        TEST(no_link),
        TEST(deaf),
        TEST(hangs_for_good),
        TEST(goes_away),
    };

    return RUN_ON_BOTH(tests);
}
