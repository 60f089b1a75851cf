/* links: guest/capture/capture.c guest/capture/packets.c guest/capture/pcapng.c guest/capture/filter.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/com2/frame.c guest/com2/mux.c arch/x86/spinlock.c arch/x86/lib/crc32.c arch/x86/lib/format.c arch/x86/lib/log.c */
/*
 * What is captured, and how much of it. With `--stream FILE` it writes the line's frames of such a
 * capture, some of them lost on the way, for tools/com2, and says what is in it.
 */
#include "tests/unit/capture_model.h"

static void test_a_switch(void **state)
{
    const struct read_interface *i = reader.interface;

    plug_at(&switches[1], 3, 0, 0);
    say(0, 2, 60, 1);
    start(&switches[0], "", "", 128);
    say(0, 2, 60, 2);     /* each frame once, */
    say(2, CARDS, 60, 3); /* however many hear it, */
    say(3, CARDS, 60, 4); /* not those of another switch, */
    say(1, 77, 200, 5);   /* with those that come to nothing */
    net_port_plug(cards[0].port, false);
    say(0, 2, 61, 6);
    cards[2].answer = NET_DROP_FULL; /* which is its own affair */
    say(1, 2, 60, 7);
    capture_stop();
    say(0, 2, 60, 8);
    pump(1 << 20);
    expect_packet(0, 60, 60, 2, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.packet.time, BEGAN * 1000000000 + (5 * HZ + 20) * UINT64_C(1000));
    expect_packet(1, 60, 60, 3, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.packet.time, BEGAN * 1000000000 + (5 * HZ + 30) * UINT64_C(1000));
    expect_packet(2, 128, 200, 5, PCAPNG_OUTBOUND, "not passed on: nobody there");
    expect_packet(0, 61, 61, 6, PCAPNG_OUTBOUND, "not passed on: link down");
    expect_packet(2, 60, 60, 7, PCAPNG_OUTBOUND, "");
    assert_false(next_packet());
    assert_int_equal(reader.sections, 1);
    assert_string_equal(reader.about + strlen("capture 1, begun 1764547205: "), "lan ");
    assert_int_equal(reader.interfaces, 3);
    assert_string_equal(i[0].name, "a/0");
    assert_string_equal(i[0].about, "switch lan");
    assert_string_equal(i[1].name, "b/0");
    assert_string_equal(i[2].name, "a/1");
    assert_int_equal(i[2].mac[5], 2);
    assert_int_equal(i[0].seen, 2);
    assert_int_equal(i[0].matched, 2);
    assert_int_equal(i[0].lost, 0);
    assert_int_equal(i[0].statistics, 1); /* as viewers expect */
    assert_int_equal(i[0].began, BEGAN * 1000000000 + (5 * HZ + 10) * UINT64_C(1000));
    assert_string_equal(logged,
                        "capture: lan : all of its packets are sent: 5; for 0 there was no room");
}

static void test_a_vm(void **state)
{
    plug_at(&switches[1], 3, 0, 0);
    plug_at(&switches[1], 4, 0, 0);
    start(NULL, "a/", "", 128);
    say(0, 2, 60, 1);
    say(2, 0, 60, 2);
    say(2, CARDS, 60, 3); /* both of its cards hear that */
    cards[1].answer = NET_DROP_FULL;
    say(0, 1, 60, 4); /* from one of them to the other */
    say(3, 4, 60, 5); /* at another switch */
    say(4, 3, 60, 6);
    say(2, 77, 60, 7); /* nobody's */
    pump(1 << 20);
    expect_packet(0, 60, 60, 1, PCAPNG_OUTBOUND, "");
    expect_packet(0, 60, 60, 2, PCAPNG_INBOUND, "");
    expect_packet(0, 60, 60, 3, PCAPNG_INBOUND, "");
    expect_packet(1, 60, 60, 3, PCAPNG_INBOUND, "");
    expect_packet(1, 60, 60, 4, PCAPNG_INBOUND, "not taken: no buffers");
    expect_packet(0, 60, 60, 4, PCAPNG_OUTBOUND, "");
    expect_packet(2, 60, 60, 5, PCAPNG_OUTBOUND, "");
    expect_packet(2, 60, 60, 6, PCAPNG_INBOUND, "");
    assert_false(next_packet());
    assert_string_equal(reader.interface[2].name, "a/10");
    assert_string_equal(reader.interface[2].about, "switch wan");
}

static void test_a_card(void **state)
{
    plug_at(&switches[1], 3, 0, 0);
    start(NULL, "a/1", "", 128);
    say(2, CARDS, 60, 1);
    say(3, CARDS, 60, 2); /* a/10's */
    say(0, 2, 60, 3);
    say(1, 2, 60, 4);
    pump(1 << 20);
    expect_packet(0, 60, 60, 1, PCAPNG_INBOUND, "");
    expect_packet(0, 60, 60, 4, PCAPNG_OUTBOUND, "");
    assert_false(next_packet());
}

/* A filter, and how much is kept of each; frames in pieces. */
static void test_how_much(void **state)
{
    const uint32_t lengths[] = {14, 15, 191, 192, 193, 194, 500, 501, 1514, 9014};

    for (unsigned i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 7);
    for (unsigned k = 0; k < 3; k++) {
        const uint32_t keep = (const uint32_t[]){PACKETS_KEEP_LEAST, 193, PACKETS_KEEP_MOST}[k];

        start(&switches[0], "", k ? "" : "not vlan 7 and not arp", keep);
        for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
            say(0, 2, lengths[i], (uint8_t)i);
            pump(1 << 20);
            assert_true(next_packet());
            assert_int_equal(reader.packet.kept, MIN(lengths[i], keep));
            assert_int_equal(reader.packet.length, lengths[i]);
            assert_memory_equal(reader.packet.data, frame, reader.packet.kept);
        }
    }
    start(&switches[0], "", "host 10.0.0.1", 100);
    say(0, 2, 60, 1);
    assert_int_equal(capture_state().held, 0);
    struct packets_interface seen;
    assert_true(capture_interface(0, &seen));
    assert_int_equal(seen.seen, 1);
    assert_int_equal(seen.matched, 0);
    assert_false(capture_interface(1, &seen));
    pump(1 << 20);
    assert_false(next_packet());
}

static void test_vlans(void **state)
{
    switches[1].vlans = true;
    plug_at(&switches[1], 3, 10, 0);
    plug_at(&switches[1], 4, 20, 0);
    start(&switches[1], "", "vlan 20", 100);
    say(3, CARDS, 60, 1);
    say(4, CARDS, 60, 2);
    pump(1 << 20);
    expect_packet(1, 60, 60, 2, PCAPNG_OUTBOUND, "not passed on: nobody there");
    assert_false(next_packet());
    assert_string_equal(reader.interface[1].about, "switch wan, VLAN 20");
}

/* What is still to be done is marked, and segments are what their receiver gets. */
static void test_offloads(void **state)
{
    static const uint8_t ip[] = {0x45, 0, 0, 0, 0,  0, 0, 0, 64, 6, 0, 0,
                                 10,   0, 0, 1, 10, 0, 0, 2, 1,  2, 0, 80};

    net_port_open(cards[2].port, 0);
    start(NULL, "a/0", "", 100);
    to_do = (struct net_offload){.checksum = true, .start = 34, .field = 40};
    say(0, 2, 100, 1);
    to_do = (struct net_offload){0};
    capture_stop();
    pump(1 << 20);
    expect_packet(0, 100, 100, 1, PCAPNG_OUTBOUND | PCAPNG_NO_SUM, "");

    start(NULL, "b/0", "", 60);
    to_do = (struct net_offload){.gso = NET_GSO_TCP4,
                                 .checksum = true,
                                 .start = 34,
                                 .field = 50,
                                 .headers = 54,
                                 .segment = 1000};
    memcpy(frame + 14, ip, sizeof(ip));
    frame[46] = 0x50;
    const struct net_piece piece[2] = {{frame, NET_HEAD}, {frame + NET_HEAD, 54 + 2500 - NET_HEAD}};
    const struct net_frame f = {
        .piece = piece, .count = 2, .length = 54 + 2500, .offload = to_do, .scratch = scratch};
    memcpy(frame, cards[2].port->what.mac, NET_MAC);
    memcpy(frame + NET_MAC, cards[0].port->what.mac, NET_MAC);
    frame[12] = 8;
    frame[13] = 0;
    net_port_send(cards[0].port, &f);
    pump(1 << 20);
    for (unsigned i = 0; i < 3; i++)
        expect_packet(0, 60, i == 2 ? 554 : 1054, 0x45, PCAPNG_INBOUND, "");
    assert_false(next_packet());
    start(&switches[0], "", "", 60);
    net_port_send(cards[0].port, &f);
    pump(1 << 20);
    expect_packet(0, 60, 2554, 0x45, PCAPNG_OUTBOUND | PCAPNG_NO_SUM | PCAPNG_UNCUT, "");
    to_do = (struct net_offload){0};
}

static void test_where_it_cannot_be(void **state)
{
    const struct capture_what what = {.on = &switches[0], .keep = 100};

    framed = false;
    assert_int_equal(capture_start(&what), -ENODEV);
    framed = true;
    no_memory = true;
    assert_int_equal(capture_start(&what), -ENOMEM);
    assert_null(switches[0].watch);
    assert_false(capture_state().on || capture_state().sending);
    no_memory = false;
    capture_stop();
    pump(1 << 20);
    assert_int_equal(streamed, 0);
    assert_int_equal(capture_start(&what), 0);
    assert_non_null(switches[0].watch);
    assert_null(switches[1].watch);
    capture_stop();
    assert_null(switches[0].watch);
    pump(1 << 20);
    assert_false(capture_state().sending);
}

/* A VM that ends and comes back has the same cards, wherever they are plugged in. */
static void test_cards_that_come_and_go(void **state)
{
    start(&switches[0], "", "", 100);
    say(0, 2, 60, 1);
    say(1, 2, 60, 2);
    net_port_detach(cards[0].port);
    net_port_detach(cards[1].port);
    plug_at(&switches[0], 1, 0, 0);
    plug_at(&switches[0], 0, 0, 0);
    say(0, 2, 60, 3);
    say(1, 2, 60, 4);
    net_port_detach(cards[1].port);
    plug_at(&switches[0], 4, 0, 0);
    say(4, 2, 60, 5);
    /* Another one with its address is another one. */
    net_port_detach(cards[4].port);
    names[4] = "c/0";
    plug_at(&switches[0], 4, 0, 0);
    names[4] = "aa/0";
    say(4, 2, 60, 6);
    pump(1 << 20);
    for (unsigned i = 0; i < 6; i++)
        expect_packet((const unsigned[]){0, 1, 0, 1, 2, 3}[i], 60, 60, (uint8_t)(i + 1),
                      PCAPNG_OUTBOUND, "");
}

static void test_many_cards(void **state)
{
    static struct net_port *ports[100];
    struct packets_interface seen;

    start(&switches[1], "", "", 100);
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++) {
        struct net_port_setup what = {.mac = {2, 1, 0, 0, 0, (uint8_t)i}, .ops = &ops};

        what.owner = &cards[0];
        snprintf(what.name, sizeof(what.name), "m%u/0", i);
        assert_int_equal(net_port_attach(&switches[1], &what, &ports[i]), 0);
        cards[4].port = ports[i];
        say(4, 4, 60, 1);
    }
    assert_int_equal(capture_state().interfaces, PACKETS_INTERFACES);
    assert_int_equal(capture_state().beyond, ARRAY_SIZE(ports) - PACKETS_INTERFACES);
    assert_true(capture_interface(PACKETS_INTERFACES - 1, &seen));
    assert_string_equal(seen.name, "m63/0");
    pump(1 << 20);
    while (next_packet())
        ;
    assert_int_equal(reader.packets, PACKETS_INTERFACES);
}

/* --- for tools/com2 --- */

/* The line's frames of what has been streamed since; every so many is lost. */
static void write_frames(FILE *f, size_t from, unsigned lose, unsigned *lost)
{
    static uint16_t sequence;

    for (size_t at = from, end; at < streamed; at = end) {
        struct com2_frame out = {.channel = COM2_CAPTURE, .sequence = sequence++};
        uint8_t bytes[COM2_FRAME_MAX];

        for (end = at + 1; end < streamed && !begins[end];)
            end++;
        out.payload = stream + at;
        out.length = end - at;
        if (lose && sequence % lose == 0)
            (*lost)++;
        else
            fwrite(bytes, com2_frame_pack(&out, bytes), 1, f);
    }
}

static int make_stream(const char *path)
{
    FILE *f = fopen(path, "wb");
    unsigned lost = 0;
    size_t at = 0;

    if (!f)
        return 1;
    setup(NULL);
    for (unsigned i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 7);
    start(&switches[0], "", "", 300);
    for (unsigned i = 0; i < 100; i++) {
        say(i % 3, (i + 1) % 3, 60 + i % 7 * 100, (uint8_t)i);
        pump(1 << 20);
    }
    say(0, 77, 60, 100);
    write_frames(f, at, 0, &lost);
    at = streamed;
    for (unsigned i = 0; i < 1000; i++) { /* on a line that loses frames */
        say(i % 3, (i + 1) % 3, 60 + i % 7 * 100, 200);
        ticks += HZ / 20;
        pump(1 << 20);
    }
    write_frames(f, at, 100, &lost);
    at = streamed;
    greetings++; /* as somebody does who has lost something */
    for (unsigned i = 0; i < 1000; i++)
        say(1, 2, 1514, 201);
    capture_stop();
    pump(1 << 24);
    pump(1 << 24);
    write_frames(f, at, 0, &lost);
    at = streamed;
    start(NULL, "b/", "", 64);
    say(0, 2, 64, 202);
    capture_stop();
    pump(1 << 20);
    write_frames(f, at, 0, &lost);
    fclose(f);
    while (next_packet())
        ;
    printf("packets %u lost-frames %u\n", reader.packets, lost);
    return teardown(NULL);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_switch),
        TEST(test_a_vm),
        TEST(test_a_card),
        TEST(test_how_much),
        TEST(test_vlans),
        TEST(test_offloads),
        TEST(test_where_it_cannot_be),
        TEST(test_cards_that_come_and_go),
        TEST(test_many_cards),
    };

    if (argc == 3 && strcmp(argv[1], "--stream") == 0)
        return make_stream(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
