/* links: guest/devices/e1000/card.c guest/devices/e1000/interrupts.c guest/devices/e1000/statistics.c guest/devices/e1000/send.c guest/devices/e1000/receive.c guest/devices/e1000/chip.c guest/devices/network.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* A VM's 82540EM, with a driver that does as the manual says, and one that lies. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "tests/unit/nic_driver.h"

/* A bit of the EEPROM's serial line. */
static void clock(uint32_t di)
{
    out(0x10, 4, 0x42 | di);
    out(0x10, 4, 0x43 | di);
    out(0x10, 4, 0x42 | di);
}

static uint16_t read_word(unsigned n)
{
    uint16_t word = 0;

    out(0x10, 4, 0x40);
    assert_true(in(0x10, 4) & 0x80);
    out(0x10, 4, 0x42);
    for (unsigned i = 0; i < 3; i++)
        clock(i < 2 ? 4 : 0);
    for (unsigned i = 0; i < 6; i++)
        clock(n >> (5 - i) & 1 ? 4 : 0);
    for (unsigned i = 0; i < 16; i++) {
        out(0x10, 4, 0x43);
        word = (uint16_t)(word << 1 | (in(0x10, 4) >> 3 & 1));
        out(0x10, 4, 0x42);
    }
    out(0x10, 4, 0);
    return word;
}

static uint16_t phy(unsigned at)
{
    uint64_t value;

    out(0x20, 4, 0x08200000 | at << 16);
    value = in(0x20, 4);
    assert_int_equal(value >> 28 & 7, 1);
    return (uint16_t)value;
}

/* --- tests --- */

static void test_what_it_is(void **state)
{
    uint16_t sum = 0;

    assert_int_equal(config(PCI_VENDOR_ID, 4), 0x100e8086);
    assert_int_equal(config(PCI_REVISION, 4) >> 8, 0x020000);
    assert_int_equal(in(0x08, 4), 0x83);
    assert_int_equal(in(0x5400, 4), 2);
    assert_int_equal(in(0x5404, 4), 0x80000100);
    for (unsigned i = 0; i < 64; i++) {
        uint16_t word = read_word(i);

        sum = (uint16_t)(sum + word);
        out(0x14, 4, i << 8 | 1);
        assert_int_equal(in(0x14, 4), (uint32_t)word << 16 | i << 8 | 0x10);
    }
    assert_int_equal(sum, 0xbaba);
    assert_int_equal(read_word(0), 2);
    assert_int_equal(read_word(2), 0x100);
    assert_int_equal(phy(2), 0x0141);
    assert_int_equal(phy(3), 0x0c20);
    assert_int_equal(phy(1) & 0x24, 0x24);
    assert_int_equal(phy(17) & 0xac00, 0xac00);
    out(0x20, 4, 0x08400000); /* there is no other one */
    assert_true(in(0x20, 4) & 1 << 30);
}

/* As Linux does it: by ports. */
static void test_reset(void **state)
{
    start(0x8002);
    out(0x5400, 4, 0x1234);
    out(0x28, 4, 7);
    bus_port_write(&board.bus, PORTS_AT, 4, 0);
    assert_int_equal(bus_port_read(&board.bus, PORTS_AT + 4, 4), in(0, 4));
    bus_port_write(&board.bus, PORTS_AT + 4, 4, 1 << 26);
    assert_int_equal(in(0x100, 4), 0);
    assert_int_equal(in(0xd0, 4), 0);
    assert_int_equal(in(0x2808, 4), 0);
    assert_int_equal(in(0x3818, 4), 0);
    assert_int_equal(in(0x5400, 4), 2);
    assert_int_equal(in(0x28, 4), 0);
    assert_int_equal(in(0x1000, 4), 0x100030);
    assert_int_equal(in(0, 4) >> 26 & 1, 0);
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_CLOSED), 1);
}

static void test_sends(void **state)
{
    start(0x8002);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t length = 14 + i * 5;

        make_frame(board.memory + OUT, NULL, length);
        board.now += board.hz / 1000;
        if (i % 3 == 0) {
            describe(OUT, 0x0b000000 | length, 0);
        } else {
            describe(OUT, 0x02000000 | 7, 0);
            describe(OUT + 7, 0x02000000 | (length - 8), 0);
            describe(OUT + length - 1, 0x0b000000 | 1, 0);
        }
        kick();
        mock_ticks(&board, 1); /* it does so many at once */
        assert_int_equal(heard.frames, i + 1);
        assert_int_equal(heard.length, length);
        assert_memory_equal(heard.data, board.memory + OUT, length);
        assert_int_equal(in(0x3810, 4), out_next);
        assert_true(get_memory(OUT_RING + 16 * ((out_next + RING - 1) % RING) + 12, 1) & 1);
        assert_true(board.irq[10] || board.irq[11]);
        assert_int_equal(in(0xc0, 4), 3);
        assert_false(board.irq[10] || board.irq[11]);
    }
}

static void test_receives(void **state)
{
    static const uint32_t lengths[] = {14, 60, 1514, 2044, 2045, 6000};
    uint8_t data[8192], expected[8192];

    start(0x8002 | 1 << 5);
    for (unsigned round = 0; round < 40; round++)
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            uint32_t length = lengths[i];

            comes(NULL, length, round % 2 ? 3 : 1);
            assert_true(board.irq[10] || board.irq[11]);
            assert_true(in(0xc0, 4) & 0x80);
            make_frame(expected, (const uint8_t *)"\2\0\0\0\0\1", length);
            memcpy(expected + 6, "\2\0\0\0\0\2", 6);
            assert_int_equal(take(data), MAX(length, 60u) + 4);
            assert_memory_equal(data, expected, length);
            for (uint32_t at = length; at < MAX(length, 60u) + 4; at++)
                assert_int_equal(data[at], 0);
            assert_int_equal(take(data), 0);
        }
    out(0x100, 4, 0x8002 | 1 << 26); /* without the checksum; and nothing long any more */
    comes(NULL, 100, 1);
    assert_int_equal(take(data), 100);
    comes(NULL, 1600, 1);
    assert_int_equal(dropped(NET_DROP_FILTERED), 1);
}

static void test_what_is_wanted(void **state)
{
    static const uint8_t all[6] = {255, 255, 255, 255, 255, 255}, group[6] = {1, 0, 0x5e, 1, 2, 3};
    uint8_t data[4096];

    start(2);
    comes(all, 100, 1);
    comes(group, 100, 1);
    assert_int_equal(dropped(NET_DROP_FILTERED), 2);
    assert_int_equal(take(data), 0);
    out(0x5200 + 4 * ((0x0302 >> 4) / 32), 4, 1u << (0x0302 >> 4) % 32);
    out(0x100, 4, 0x8002);
    comes(all, 100, 1);
    comes(group, 100, 1);
    assert_int_equal(take(data), 104);
    assert_int_equal(take(data), 104);
    out(0x5200 + 4 * ((0x0302 >> 4) / 32), 4, 0);
    comes(group, 100, 1);
    assert_int_equal(take(data), 0);
    out(0x100, 4, 0x8012); /* MPE */
    comes(group, 100, 1);
    assert_int_equal(take(data), 104);
}

static void test_no_room(void **state)
{
    uint8_t data[4096];
    unsigned n = 0;

    start(0x8002);
    while (dropped(NET_DROP_FULL) == 0) {
        comes(NULL, 100, 1);
        n++;
    }
    assert_int_equal(n, RING);
    assert_int_equal(in(0xc0, 4) & 0xd0, 0xd0); /* RXT, RXO, RXDMT */
    for (unsigned i = 0; i < RING - 1; i++)
        assert_int_equal(take(data), 104);
    assert_int_equal(take(data), 0);
    comes(NULL, 100, 1);
    assert_int_equal(take(data), 104);
}

static void check_tcp(uint32_t payload)
{
    const uint8_t *ip = heard.data + 14, *tcp = heard.data + 34;

    assert_int_equal(heard.length, 54 + payload);
    assert_int_equal(ip[2] << 8 | ip[3], 40 + payload);
    assert_int_equal(sum(tcp, 20 + payload, sum(ip + 12, 8, 6 + 20 + payload)), 0xffff);
}

static void test_checksums(void **state)
{
    start(0x8002);
    make_tcp(board.memory + OUT, 101, true);
    board.memory[OUT + 17] = 141;
    describe(CONTEXT, CONTEXT_TCP4, 0);
    describe(OUT, 0x2b100000 | 155, 0x300);
    kick();
    assert_int_equal(heard.frames, 1);
    check_tcp(101);
    assert_int_equal(sum(heard.data + 14, 20, 0), 0xffff);
    /* The context stays; IP's is not asked for. */
    make_tcp(board.memory + OUT, 300, true);
    board.memory[OUT + 16] = 340 >> 8;
    board.memory[OUT + 17] = 340 & 255;
    describe(OUT, 0x2b100000 | 354, 0x200);
    kick();
    check_tcp(300);
    assert_int_equal(heard.data[24] | heard.data[25], 0);
    /* By a legacy descriptor. */
    make_tcp(board.memory + OUT, 60, true);
    board.memory[OUT + 17] = 100;
    describe(OUT, 0x0f000000 | 50 << 16 | 114, 34 << 8);
    kick();
    check_tcp(60);
    assert_int_equal(heard.frames, 3);
}

static void test_segments(void **state)
{
    start(0x8002);
    make_tcp(board.memory + OUT, 4000, false);
    describe(CONTEXT, CONTEXT_TCP4 | 1u << 26 | 4000, (uint32_t)1460 << 16 | 54 << 8);
    describe(OUT, 0x26100000 | 54, 0x300);
    describe(OUT + 54, 0x2f100000 | 4000, 0x300);
    kick();
    assert_int_equal(heard.frames, 3);
    check_tcp(4000 - 2 * 1460);
    assert_int_equal(sum(heard.data + 14, 20, 0), 0xffff);
    assert_int_equal(heard.data[34 + 4] << 24 | heard.data[34 + 5] << 16 | heard.data[34 + 6] << 8 |
                         heard.data[34 + 7],
                     2 * 1460);
    assert_memory_equal(heard.data + 54, board.memory + OUT + 54 + 2 * 1460, 1080);
    /* Who cuts it himself has lengths of the whole, also in the sum that TCP's begins with. */
    net_port_open(peer, NET_CAN_CHECKSUM | NET_CAN_TCP4);
    describe(OUT, 0x26100000 | 54, 0x300);
    describe(OUT + 54, 0x2f100000 | 4000, 0x300);
    kick();
    assert_int_equal(heard.frames, 4);
    assert_int_equal(heard.length, 4054);
    assert_int_equal(heard.data[16] << 8 | heard.data[17], 4040);
    assert_int_equal(heard.data[50] << 8 | heard.data[51], sum(heard.data + 26, 8, 6 + 4020));
}

static void test_tags(void **state)
{
    static const uint8_t tag[4] = {0x81, 0, 0xa0, 7};
    uint8_t data[4096];

    start(0x8002);
    out(0, 4, 0x40000000 | in(0, 4)); /* VME */
    make_frame(board.memory + OUT, NULL, 500);
    describe(OUT, 0x4b000000 | 500, 0xa0070000);
    kick();
    assert_int_equal(heard.length, 504);
    assert_memory_equal(heard.data, board.memory + OUT, 12);
    assert_memory_equal(heard.data + 12, tag, 4);
    assert_memory_equal(heard.data + 16, board.memory + OUT + 12, 488);
    for (unsigned round = 0; round < 2; round++) { /* to itself: what it has sent comes back */
        struct net_piece piece[2] = {{heard.data, 200}, {heard.data + 200, 304}};
        struct net_frame f = {.piece = piece, .count = 2, .length = 504};

        memcpy(heard.data, "\2\0\0\0\0\1\2\0\0\0\0\2", 12);
        out(0x5600, 4, round ? 0 : 1 << 7);
        out(0x100, 4, 0x8002 | 1 << 18);
        (void)net_port_send(peer, &f);
        net_port_sent(peer);
        if (round == 0) {
            assert_int_equal(get_memory(IN_RING + 12, 4), 0xa007000f);
            assert_int_equal(take(data), 504);
            assert_memory_equal(data + 12, board.memory + OUT + 12, 488);
        }
    }
    assert_int_equal(dropped(NET_DROP_FILTERED), 1);
    out(0, 4, 0); /* as they are */
    describe(OUT, 0x4b000000 | 500, 0xa0070000);
    kick();
    assert_int_equal(heard.length, 500);
}

/* What is loaded knows of a cable that was in, or out. */
static void test_cable_since(void **state)
{
    static uint8_t data[65536];

    start(0x8002);
    out(0xd8, 4, 0xffffffff);
    out(0xd0, 4, 4);
    for (unsigned in_then = 0; in_then < 2; in_then++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        e1000_plug(&nic()->dev, in_then);
        (void)in(0xc0, 4);
        bus_save(&board.bus, &w);
        e1000_plug(&nic()->dev, !in_then);
        (void)in(0xc0, 4);
        bus_reset(&board.bus);
        r.size = w.used;
        assert_int_equal(bus_load(&board.bus, &r), 0);
        assert_false(board.irq[10] || board.irq[11]);
        mock_ticks(&board, 1);
        assert_true(board.irq[10] || board.irq[11]);
        assert_int_equal(in(0xc0, 4) & 4, 4);
        assert_int_equal(in(0x08, 4), in_then ? 0x81 : 0x83);
        mock_ticks(&board, 1000);
        assert_int_equal(in(0xc0, 4) & 4, 0);
    }
}

/* A thousand frames in one go: some now, the rest when others have had their turn. */
static void test_takes_turns(void **state)
{
    unsigned turns = 0;

    start(0x8002);
    make_frame(board.memory + OUT, NULL, 60);
    for (unsigned i = 0; i < 40; i++) {
        unsigned before = heard.frames;

        for (unsigned k = 0; k < RING - 1; k++)
            describe(OUT, 0x03000000 | 60, 0);
        kick();
        if (heard.frames == before + RING - 1)
            continue;
        turns++;
        assert_true(heard.frames < before + RING - 1);
        mock_ticks(&board, 1000);
        assert_int_equal(heard.frames, before + RING - 1);
    }
    assert_true(turns >= 3);
}

/* In the middle of a frame. */
static void test_state(void **state)
{
    start(0x8002);
    make_frame(board.memory + OUT, NULL, 300);
    describe(OUT, 0x02000000 | 100, 0);
    kick();
    assert_int_equal(heard.frames, 0);
    assert_true(mock_round_trip(&board));
    describe(OUT + 100, 0x0b000000 | 200, 0);
    kick();
    assert_int_equal(heard.frames, 1);
    assert_memory_equal(heard.data, board.memory + OUT, 300);
    comes(NULL, 100, 1); /* no interrupt could be told of it yet */
    assert_int_equal(dropped(NET_DROP_CLOSED), 1);
    mock_ticks(&board, 1);
    comes(NULL, 100, 1);
    assert_true(get_memory(IN_RING + 12, 1) & 1);
    assert_true(bus_idle(&board.bus, true));
    comes(NULL, 100, 1); /* nor when a reset follows */
    assert_int_equal(dropped(NET_DROP_CLOSED), 2);
}

/* Whatever it says: it is not sent, and what follows is. */
static void test_lies(void **state)
{
    static const struct {
        uint64_t first;
        uint32_t third, fourth;
    } lies[] = {
        {0xfffffffffffff000, 0x0b000000 | 100, 0}, /* no memory */
        {MOCK_MEMORY - 10, 0x0b000000 | 100, 0},
        {OUT, 0x0b000000, 0},                         /* nothing */
        {OUT, 0x0b000000 | 13, 0},                    /* too short */
        {OUT, 0x2b100000 | 0xfffff, 0},               /* too long */
        {OUT, 0x0b000000 | 9100, 0},                  /* longer than the MTU */
        {OUT, 0x0f000000 | 255 << 16 | 60, 255 << 8}, /* a sum behind its end */
        {OUT, 0x2f100000 | 60, 0x300},                /* segments of what is no TCP */
    };

    start(0x8002);
    for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
        describe(lies[i].first, lies[i].third, lies[i].fourth);
        kick();
        assert_int_equal(heard.frames, i);
        assert_int_equal(board.pins, 0);
        make_frame(board.memory + OUT, NULL, 60);
        board.now += board.hz / 1000;
        mock_ticks(&board, 1);
        describe(OUT, 0x0b000000 | 60, 0);
        kick();
        assert_int_equal(heard.frames, i + 1);
    }
    for (unsigned i = 0; i < 4 * NIC_SEGMENTS; i++) { /* more pieces than there may be */
        describe(OUT, 0x02000000 | 1, 0);
        kick();
        mock_ticks(&board, 100);
    }
    describe(OUT, 0x0b000000 | 1, 0);
    kick();
    assert_int_equal(heard.frames, ARRAY_SIZE(lies));
    assert_int_equal(dropped(NET_DROP_MALFORMED), 5);
    assert_int_equal(dropped(NET_DROP_SHORT), 2);
    assert_int_equal(dropped(NET_DROP_LONG), 2);
    describe(OUT, 0x2b000000, 0xffffffff); /* contexts of anything, and types that are none */
    describe(UINT64_MAX, 0x2b000000, 0xffffffff);
    describe(OUT, 0x2f100000 | 60, 0x300);
    describe(OUT, 0x2b900000 | 60, 0x300);
    kick();
    assert_int_equal(heard.frames, ARRAY_SIZE(lies));
}

static void test_rings_that_are_none(void **state)
{
    uint8_t data[4096];

    start(0x8002);
    out(0x3818, 4, RING);
    out(0x3818, 4, 0xffff);
    out(0x2818, 4, RING);
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_FULL), 1);
    out(0x2810, 4, 0xffff);
    out(0x2818, 4, 5);
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_FULL), 2);
    start(0x8002);
    out(0x2804, 4, 0xffffffff);
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_BROKEN), 1);
    out(0x3804, 4, 0xffffffff);
    describe(OUT, 0x0b000000 | 60, 0);
    kick();
    assert_int_equal(in(0x400, 4) & 2, 0); /* it stands still */
    out(0x2808, 4, 0);
    out(0x3808, 4, 0);
    comes(NULL, 100, 1);
    kick();
    out(0x3804, 4, 0);
    start(0x8002);
    put_memory(IN_RING, UINT64_MAX - 100, 8); /* a buffer that is none */
    comes(NULL, 100, 1);
    assert_int_equal(dropped(NET_DROP_BROKEN), 2);
    assert_int_equal(take(data), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(test_what_it_is),  TEST(test_reset),
        TEST(test_sends),       TEST(test_receives),
        TEST(test_no_room),     TEST(test_what_is_wanted),
        TEST(test_checksums),   TEST(test_segments),
        TEST(test_tags),        TEST(test_state),
        TEST(test_cable_since), TEST(test_takes_turns),
        TEST(test_lies),        TEST(test_rings_that_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
