/* links: guest/devices/e1000/card.c guest/devices/e1000/interrupts.c guest/devices/e1000/statistics.c guest/devices/e1000/send.c guest/devices/e1000/receive.c guest/devices/e1000/chip.c guest/devices/network.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* What a VM's 82540EM tells its driver: interrupts, how often at most, and what it has counted. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/nic_driver.h"

static bool raised(void)
{
    return board.irq[10] || board.irq[11];
}

/* --- interrupts --- */

static void test_interrupts(void **state)
{
    start(0x8002);
    out(0xd8, 4, 0xffffffff);
    comes(NULL, 100, 1);
    assert_false(raised());
    out(0xd0, 4, 0x80);
    assert_true(raised());
    out(0xd8, 4, 0x80);
    assert_false(raised());
    out(0xd0, 4, 0x84);
    out(0xc0, 4, 0x80);
    assert_false(raised());
    e1000_plug(&nic()->dev, false);
    assert_true(raised());
    assert_int_equal(in(0xc0, 4) & 4, 4);
    assert_int_equal(in(0x08, 4), 0x81);
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_CLOSED), 1);
    e1000_plug(&nic()->dev, true);
    assert_int_equal(in(0xc0, 4) & 4, 4);
    out(0xc8, 4, 4);
    assert_true(raised());
}

#define ITR 20000u /* in 256 ns: 5.12 ms */

static uint64_t quiet_ticks(void)
{
    return ITR * UINT64_C(256) * board.hz / 1000000000;
}

static void test_throttled(void **state)
{
    start(0x8002);
    out(0xc4, 4, 0xabc0000 | ITR);
    assert_int_equal(in(0xc4, 4), ITR);
    comes(NULL, 100, 1);   /* a millisecond passes with each */
    assert_true(raised()); /* the first comes at once, */
    uint64_t at = board.now;
    assert_int_equal(in(0xc0, 4) & 0x80, 0x80);
    assert_false(raised());
    for (unsigned i = 0; i < 4; i++) {
        comes(NULL, 100, 1);
        assert_false(raised()); /* and the next not before its time, */
    }
    mock_ticks(&board, at + quiet_ticks() - 1 - board.now);
    assert_false(raised());
    mock_ticks(&board, 1);
    assert_true(raised()); /* but then, by itself */
    assert_int_equal(in(0xc0, 4) & 0x80, 0x80);
    mock_ticks(&board, quiet_ticks());
    assert_false(raised()); /* nothing has come */
    comes(NULL, 100, 1);
    assert_true(raised());
    /* A line that is raised stays so, whatever comes. */
    for (unsigned i = 0; i < 10; i++) {
        comes(NULL, 100, 1);
        assert_true(raised());
    }
}

static void test_throttling_ends(void **state)
{
    start(0x8002);
    out(0xc4, 4, ITR);
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    assert_false(raised());
    out(0xc4, 4, 0);
    assert_true(raised());
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    assert_true(raised());
    (void)in(0xc0, 4);
    /* With a shorter time than is left of the longer one it counts no more. */
    out(0xc4, 4, 0xffff);
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    assert_false(raised());
    out(0xc4, 4, 1);
    assert_true(raised());
    (void)in(0xc0, 4);
    /* What waits is forgotten with its cause, and with a reset. */
    out(0xc4, 4, ITR);
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    mock_ticks(&board, 2 * quiet_ticks());
    assert_false(raised());
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    out(0, 4, 1 << 26);
    mock_ticks(&board, 2 * quiet_ticks());
    assert_false(raised());
    assert_int_equal(in(0xc4, 4), 0);
}

/* What waits when a VM's state is saved comes when it goes on. */
static void test_throttled_state(void **state)
{
    start(0x8002);
    out(0xc4, 4, ITR);
    comes(NULL, 100, 1);
    (void)in(0xc0, 4);
    comes(NULL, 100, 1);
    assert_true(mock_round_trip(&board));
    assert_false(raised());
    mock_ticks(&board, quiet_ticks());
    assert_true(raised());
    assert_true(mock_round_trip(&board));
    assert_true(raised());
    (void)in(0xc0, 4);
    assert_false(raised());
    mock_ticks(&board, 1);       /* from then on frames come */
    nic()->s.quiet = UINT64_MAX; /* as a state that lies has it */
    comes(NULL, 100, 1);
    assert_true(raised());
}

/* --- statistics --- */

enum {
    MPC = 0x4010,
    PRC64 = 0x405c,
    GPRC = 0x4074,
    BPRC = 0x4078,
    MPRC = 0x407c,
    GPTC = 0x4080,
    GORC = 0x4088,
    GOTC = 0x4090,
    RNBC = 0x40a0,
    ROC = 0x40ac,
    TOR = 0x40c0,
    TOT = 0x40c8,
    TPR = 0x40d0,
    TPT = 0x40d4,
    PTC64 = 0x40d8,
    MPTC = 0x40f0,
    BPTC = 0x40f4,
    TSCTC = 0x40f8,
};

static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 1}, all[6] = {255, 255, 255, 255, 255, 255};

/* 64 bits, in the order that the manual wants. */
static uint64_t wide(uint32_t at)
{
    uint64_t low = in(at, 4);

    assert_int_equal(in(at, 4), low); /* is not forgotten yet */
    return low | in(at + 4, 4) << 32;
}

static void test_counts_what_comes(void **state)
{
    static const uint32_t lengths[] = {14, 60, 61, 123, 124, 251, 252, 507, 508, 1019, 1020, 1514};
    static const uint8_t classes[6] = {2, 2, 2, 2, 2, 2};
    uint64_t bytes = 0;

    start(0x8018); /* everything is wanted, by nobody yet */
    comes(NULL, 100, 1);
    assert_int_equal(in(TPR, 4), 0);
    start(0x801a);
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        comes(i == 3 ? group : i == 4 ? all : NULL, lengths[i], 1);
        bytes += MAX(lengths[i] + 4, 64u);
    }
    assert_int_equal(in(GPRC, 4), ARRAY_SIZE(lengths));
    assert_int_equal(in(GPRC, 4), 0); /* each is read once */
    assert_int_equal(in(TPR, 4), ARRAY_SIZE(lengths));
    assert_int_equal(in(MPRC, 4), 1);
    assert_int_equal(in(BPRC, 4), 1);
    assert_int_equal(wide(GORC), bytes);
    assert_int_equal(wide(GORC), 0);
    assert_int_equal(in(TOR, 8), bytes);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(in(PRC64 + 4 * i, 4), classes[i]);
    assert_int_equal(in(MPC, 4) | in(RNBC, 4) | in(ROC, 4) | in(GPTC, 4) | in(TPT, 4), 0);
}

static void test_counts_what_is_lost(void **state)
{
    start(0x8002);
    comes(group, 100, 1); /* not wanted */
    comes(NULL, 1600, 1); /* too long */
    for (unsigned i = 0; i < RING + 3; i++)
        comes(NULL, 100, 1);
    assert_int_equal(in(TPR, 4), RING + 5);
    assert_int_equal(in(GPRC, 4), RING - 1);
    assert_int_equal(in(MPC, 4), 4);
    assert_int_equal(in(RNBC, 4), 4);
    assert_int_equal(in(ROC, 4), 1);
    assert_int_equal(in(TOR, 8), (RING + 4) * 104 + 1604);
    assert_int_equal(in(GORC, 8), (RING - 1) * 104);
    out(0, 4, 1 << 26);
    assert_int_equal(in(TPR, 4), 0);
}

static void send(const uint8_t *to, uint32_t length)
{
    board.now += board.hz / 1000;
    make_frame(board.memory + OUT, to, length);
    describe(OUT, 0x0b000000 | length, 0);
    kick();
}

static void test_counts_what_is_sent(void **state)
{
    start(0x8002);
    send(NULL, 60);
    send(group, 124);
    send(all, 1514);
    send(NULL, 10); /* is none */
    assert_int_equal(in(GPTC, 4), 3);
    assert_int_equal(in(TPT, 4), 3);
    assert_int_equal(in(MPTC, 4), 1);
    assert_int_equal(in(BPTC, 4), 1);
    assert_int_equal(wide(GOTC), 64 + 128 + 1518);
    assert_int_equal(wide(TOT), 64 + 128 + 1518);
    assert_int_equal(in(PTC64, 4), 1);
    assert_int_equal(in(PTC64 + 8, 4), 1);
    assert_int_equal(in(PTC64 + 20, 4), 1);
    assert_int_equal(in(TSCTC, 4) | in(TPR, 4), 0);
    /* Cut into segments: of 1460, 1460 and 1080 bytes. */
    make_tcp(board.memory + OUT, 4000, false);
    describe(CONTEXT, CONTEXT_TCP4 | 1u << 26 | 4000, (uint32_t)1460 << 16 | 54 << 8);
    describe(OUT, 0x26100000 | 54, 0x300);
    describe(OUT + 54, 0x2f100000 | 4000, 0x300);
    kick();
    assert_int_equal(in(TSCTC, 4), 1);
    assert_int_equal(in(GPTC, 4), 3);
    assert_int_equal(in(GOTC, 8), 4000 + 3 * 58);
    assert_int_equal(in(PTC64 + 20, 4), 3);
    /* No more than goes into one piece. */
    make_tcp(board.memory + OUT, 1460, false);
    describe(OUT, 0x26100000 | 54, 0x300);
    describe(OUT + 54, 0x2f100000 | 1460, 0x300);
    kick();
    assert_int_equal(in(GPTC, 4), 1);
    assert_int_equal(in(GOTC, 8), 1460 + 58);
    e1000_plug(&nic()->dev, false); /* nothing goes */
    send(NULL, 60);
    assert_int_equal(in(GPTC, 4), 0);
}

/* A counter that is read too seldom stands still at its end; what is none reads 0. */
static void test_ends_of_counters(void **state)
{
    start(0x8002);
    nic()->s.count[NIC_IN_GOOD] = UINT32_MAX;
    nic()->s.count[NIC_IN_GOOD_BYTES] = 0x1ffffffff;
    comes(NULL, 100, 1);
    assert_int_equal(in(GPRC, 4), UINT32_MAX);
    assert_int_equal(wide(GORC), 0x1ffffffff + UINT64_C(104));
    for (uint32_t at = 0x4000; at < 0x4100; at += 4) {
        out(at, 4, 0xffffffff);
        (void)in(at, 4);
        assert_int_equal(in(at, 4), at == GORC || at == TOR ? in(at, 4) : 0);
    }
}

static void test_counts_are_saved(void **state)
{
    start(0x8002);
    comes(NULL, 100, 1);
    send(NULL, 60);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(GPRC, 4), 1);
    assert_int_equal(in(GPTC, 4), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_interrupts),          TEST(test_throttled),
        TEST(test_throttling_ends),     TEST(test_throttled_state),
        TEST(test_counts_what_comes),   TEST(test_counts_what_is_lost),
        TEST(test_counts_what_is_sent), TEST(test_ends_of_counters),
        TEST(test_counts_are_saved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
