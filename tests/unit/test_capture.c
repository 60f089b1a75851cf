/* links: guest/capture/capture.c guest/capture/packets.c guest/capture/pcapng.c guest/capture/filter.c guest/net/switch.c guest/net/table.c guest/net/finish.c guest/com2/frame.c guest/com2/mux.c arch/x86/spinlock.c arch/x86/lib/crc32.c arch/x86/lib/format.c arch/x86/lib/log.c */
/*
 * Captures: switches whose ports say what the test wants, a second serial port that takes as much
 * as the test wants, and a strict reader of the file that comes out of it. With `--stream FILE` it
 * writes the line's frames of such a capture, some of them lost on the way, for tools/com2, and
 * says what is in it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/capture/capture.h"
#include "guest/vm/nets.h"
#include "mm/heap.h"
#include "tests/unit/pcapng_reader.h"

#define LINE_USER COM2_CAPTURE
#include "tests/unit/com2_line.h"

enum { CARDS = 5, HZ = 1000000, SWITCHES = 2 };
#define BEGAN UINT64_C(1764547200) /* seconds since 1970 */

/* --- what a capture stands on --- */

uint64_t tsc_hz = HZ;
static uint64_t ticks;
static bool no_memory;
static unsigned allocated;
static char logged[300];

uint64_t test_tsc(void)
{
    return ticks;
}

uint64_t tsc_to_ns(uint64_t t)
{
    return t * 1000;
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = (int64_t)(BEGAN + ticks / HZ);
    *microseconds = (uint32_t)(ticks % HZ);
}

void *heap_alloc(size_t size)
{
    void *p = no_memory ? NULL : calloc(1, size);

    allocated += p != NULL;
    return p;
}

void heap_free(void *p)
{
    allocated -= p != NULL;
    free(p);
}

static struct net_switch switches[SWITCHES];

struct net_switch *nets_get(unsigned index)
{
    return index < SWITCHES ? &switches[index] : NULL;
}

static void sink(enum log_level level, const char *line, size_t length)
{
    snprintf(logged, sizeof(logged), "%.*s", (int)length, line);
}

/* --- the line --- */

/* So much goes over the line. */
static void pump(size_t bytes)
{
    room = bytes;
    assert_int_equal(capture_pump(), UINT64_MAX);
    room = 0;
}

static struct reader reader;

/* The next block of what has come; each begins with a frame of the line's. */
static int64_t next_block(void)
{
    reader.bytes = stream;
    reader.size = streamed;
    if (reader.at < streamed)
        assert_true(begins[reader.at]);
    return reader_next(&reader);
}

/* The next packet, behind whatever comes before it; false: there is none. */
static bool next_packet(void)
{
    int64_t type;

    while ((type = next_block()) > 0)
        if (type == 6)
            return true;
    assert_int_equal(type, 0);
    return false;
}

/* --- cards --- */

static struct card {
    struct net_port *port;
    unsigned heard;
    enum net_drop answer;
} cards[CARDS];

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct card *c = owner;

    c->heard++;
    return c->answer;
}

static void received(void *owner)
{
}

static const struct net_port_ops ops = {receive, received};
static const char *names[CARDS] = {"a/0", "a/1", "b/0", "a/10", "aa/0"};

static void plug_at(struct net_switch *s, unsigned n, unsigned vlan, unsigned can)
{
    struct net_port_setup what = {
        .mac = {2, 0, 0, 0, 0, (uint8_t)(n + 1)}, .vlan = (uint16_t)vlan, .ops = &ops};

    what.owner = &cards[n];
    strcpy(what.name, names[n]);
    assert_int_equal(net_port_attach(s, &what, &cards[n].port), 0);
    net_port_open(cards[n].port, can);
}

static int setup(void **state)
{
    ticks = 5 * HZ;
    line_begin();
    most_at_once = COM2_PAYLOAD;
    no_memory = false;
    memset(&reader, 0, sizeof(reader));
    memset(cards, 0, sizeof(cards));
    logged[0] = '\0';
    log_set_sink(sink);
    log_set_level(LOG_INFO);
    for (unsigned i = 0; i < SWITCHES; i++) {
        switches[i] = (struct net_switch){.mtu = 9000, .now = test_tsc, .hz = HZ};
        strcpy(switches[i].name, i ? "wan" : "lan");
        net_switch_init(&switches[i], 7);
    }
    for (unsigned i = 0; i < 3; i++)
        plug_at(&switches[0], i, 0, 0);
    return 0;
}

static int teardown(void **state)
{
    capture_stop();
    for (unsigned i = 0; i < 100 && capture_state().sending; i++)
        pump(1 << 20);
    assert_false(capture_state().sending);
    for (unsigned i = 0; i < SWITCHES; i++)
        net_switch_destroy(&switches[i]);
    assert_int_equal(allocated, 0);
    return 0;
}

/* --- frames --- */

static uint8_t frame[NET_MAX_FRAME], scratch[NET_MAX_FRAME];
static struct net_offload to_do;

/* From card to card (CARDS: to all), of that length, with a byte to know it by. */
static void say(unsigned from, unsigned to, uint32_t length, uint8_t mark)
{
    const struct net_piece piece[3] = {{frame, MIN(length, NET_HEAD)},
                                       {frame + NET_HEAD, 1},
                                       {frame + NET_HEAD + 1, length - NET_HEAD - 1}};
    const struct net_frame f = {.piece = piece,
                                .count = length <= NET_HEAD       ? 1
                                         : length == NET_HEAD + 1 ? 2
                                                                  : 3,
                                .length = length,
                                .offload = to_do,
                                .scratch = scratch};

    if (to == CARDS)
        memset(frame, 255, NET_MAC);
    else
        memcpy(frame, (const uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(to + 1)}, NET_MAC);
    memcpy(frame + NET_MAC, cards[from].port->what.mac, NET_MAC);
    memcpy(frame + 2 * NET_MAC, (const uint8_t[]){0x12, 0x34, mark}, 3);
    ticks += 10;
    net_port_send(cards[from].port, &f);
    net_port_sent(cards[from].port);
}

static void start(const struct net_switch *on, const char *card, const char *filter, uint32_t keep)
{
    struct capture_what what = {.on = on, .keep = keep};
    char error[FILTER_ERROR];

    snprintf(what.about, sizeof(what.about), "%s %s", on ? on->name : card, filter);
    strcpy(what.card, card);
    assert_int_equal(filter_parse(filter, strlen(filter), &what.filter, error), 0);
    assert_int_equal(capture_start(&what), 0);
}

static void expect_packet(unsigned interface, uint32_t kept, uint32_t length, uint8_t mark,
                          uint32_t flags, const char *comment)
{
    const struct read_packet *p = &reader.packet;

    assert_true(next_packet());
    assert_int_equal(p->interface, interface);
    assert_int_equal(p->kept, kept);
    assert_int_equal(p->length, length);
    assert_int_equal(p->data[14], mark);
    assert_int_equal(p->flags, flags);
    assert_string_equal(p->comment, comment);
}

/* --- the file --- */

/* As the format has them, byte by byte. */
static void test_blocks(void **state)
{
    static const uint8_t section[] = {
        0x0a, 0x0d, 0x0d, 0x0a, 68,  0,   0,   0,   0x4d, 0x3c, 0x2b, 0x1a, 1,   0,   0,   0,   255,
        255,  255,  255,  255,  255, 255, 255, 1,   0,    5,    0,    'h',  'e', 'l', 'l', 'o', 0,
        0,    0,    3,    0,    6,   0,   'C', 'o', 'r',  'b',  'e',  'l',  0,   0,   4,   0,   6,
        0,    'C',  'o',  'r',  'b', 'e', 'l', 0,   0,    0,    0,    0,    0,   68,  0,   0,   0};
    static const uint8_t interface[] = {
        1,   0, 0, 0, 64, 0, 0,   0,   1,   0,   0,   0,   0x12, 0x24, 0, 0, 2,  0, 3, 0, 'a', '/',
        '0', 0, 3, 0, 8,  0, 'i', 's', ' ', 'a', ' ', 'v', 'm',  '!',  6, 0, 6,  0, 2, 0, 0,   0,
        0,   1, 0, 0, 9,  0, 1,   0,   9,   0,   0,   0,   0,    0,    0, 0, 64, 0, 0, 0};
    static const uint8_t head[] = {6, 0, 0, 0, 64, 0, 0, 0, 3, 0, 0, 0, 4, 3,
                                   2, 1, 8, 7, 6,  5, 5, 0, 0, 0, 9, 0, 0, 0};
    static const uint8_t tail[] = {0, 0, 0, 2, 0, 4, 0, 2, 2, 0, 0, 4,  0, 8, 0, 7,
                                   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0};
    static const uint8_t statistics[] = {
        5, 0, 0, 0, 88, 0, 0, 0, 3, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 2, 0, 8, 0, 0,  0, 0, 0, 9, 0,
        0, 0, 3, 0, 8,  0, 4, 3, 2, 1, 8, 7, 6, 5, 4, 0, 8, 0, 1, 2, 0, 0, 0, 0, 0,  0, 5, 0, 8, 0,
        4, 0, 0, 0, 0,  0, 0, 0, 6, 0, 8, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 88, 0, 0, 0};
    const struct pcapng_interface i = {"a/0", "is a vm!", (const uint8_t[]){2, 0, 0, 0, 0, 1},
                                       9234};
    const struct pcapng_packet p = {.interface = 3,
                                    .time = 0x0102030405060708,
                                    .kept = 5,
                                    .length = 9,
                                    .flags = PCAPNG_OUTBOUND | PCAPNG_NO_SUM,
                                    .lost = 7};
    const struct pcapng_statistics s = {3, 0x0102030405060708, 9, 0x201, 3, 4};
    uint8_t out[PCAPNG_SMALL];

    assert_int_equal(pcapng_section(out, "Corbel", "hello"), sizeof(section));
    assert_memory_equal(out, section, sizeof(section));
    assert_int_equal(pcapng_interface(out, &i), sizeof(interface));
    assert_memory_equal(out, interface, sizeof(interface));
    assert_int_equal(pcapng_tail(out, &p), sizeof(tail));
    assert_memory_equal(out, tail, sizeof(tail));
    assert_int_equal(pcapng_head(out, &p, sizeof(tail)), 28 + 5 + sizeof(tail));
    assert_memory_equal(out, head, sizeof(head));
    assert_int_equal(pcapng_statistics(out, &s), sizeof(statistics));
    assert_memory_equal(out, statistics, sizeof(statistics));
}

static void test_longest_texts(void **state)
{
    uint8_t out[PCAPNG_SMALL + 1], mac[6] = {0};
    char text[400];
    struct pcapng_packet p = {.kept = 1, .lost = 1, .comment = text};
    const struct pcapng_interface i = {text, text, mac, 1};

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    assert_true(pcapng_section(out, text, text) <= PCAPNG_SMALL);
    assert_true(pcapng_interface(out, &i) <= PCAPNG_SMALL);
    assert_true(pcapng_tail(out, &p) <= PCAPNG_TAIL);
}

/* --- what is captured --- */

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

/* --- a slow line --- */

/* What there is no room for is counted: at the interface, by the next packet, by statistics. Frames
 * go all the same. */
static void test_too_slow(void **state)
{
    unsigned said = 0, read = 0, told = 0;
    struct packets_interface seen;
    uint8_t mark = 0;

    start(&switches[0], "", "", 1514);
    while (said < 2000) {
        say(0, 2, 1514, (uint8_t)said);
        said++;
    }
    assert_int_equal(cards[2].heard, 2000);
    assert_int_equal(cards[0].port->counts.sent, 2000);
    assert_true(capture_interface(0, &seen));
    assert_int_equal(seen.matched, 2000);
    assert_int_equal(capture_state().held, 2000 - seen.lost);
    assert_true(seen.lost > 1800 && capture_state().bytes <= PACKETS_RING);
    for (; said < 3000; said++) {
        pump(1514 + said % 700);
        say(0, 2, 100 + said % 1400, (uint8_t)said);
    }
    capture_stop();
    for (unsigned i = 0; i < 1000; i++)
        pump(1000);
    while (next_packet()) {
        told += (unsigned)reader.packet.lost;
        mark = (uint8_t)(mark + reader.packet.lost);
        assert_int_equal(reader.packet.data[14], mark);
        mark++;
        read++;
    }
    assert_int_equal(reader.interface[0].seen, 3000);
    assert_int_equal(reader.interface[0].matched, 3000);
    assert_int_equal(read + reader.interface[0].lost, 3000);
    assert_true(told <= reader.interface[0].lost && told > 1800);
    assert_int_equal(cards[2].heard, 3000);
    assert_false(capture_state().sending);
}

/* A port that takes nothing costs nothing but what it does not get. */
static void test_stuck(void **state)
{
    start(&switches[0], "", "", 64);
    for (unsigned i = 0; i < 10000; i++) {
        say(0, 2, 64, 0);
        pump(COM2_PAYLOAD - 1);
    }
    assert_int_equal(streamed, 0);
    assert_int_equal(cards[2].heard, 10000);
    capture_stop();
    assert_true(capture_state().sending);
    assert_false(capture_state().on);
    /* Who waits for it does not wait for ever, */
    assert_int_equal(capture_left(), capture_state().held);
    for (unsigned i = 0; i < 20; i++, ticks += HZ / 20)
        assert_true(capture_left() > 0);
    ticks += HZ / 10;
    assert_int_equal(capture_left(), 0);
    for (unsigned i = 0; i < 100; i++, ticks += HZ / 10) { /* but as long as something goes */
        pump(COM2_PAYLOAD);
        assert_true(capture_left() > 0);
    }
    for (unsigned i = 0; i < 100 && capture_state().held; i++)
        pump(8192);
    assert_int_equal(capture_state().held, 0);
    pump(1 << 20);
    assert_int_equal(capture_left(), 0);
}

/* --- readers that come late, captures that come and go --- */

static void test_sections(void **state)
{
    start(&switches[0], "", "", 100);
    say(0, 2, 60, 1);
    say(2, 0, 60, 2);
    pump(1 << 20);
    greetings++;
    pump(1 << 20);
    say(1, 0, 60, 3);
    pump(1 << 20);
    expect_packet(0, 60, 60, 1, PCAPNG_OUTBOUND, "");
    expect_packet(1, 60, 60, 2, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.sections, 1);
    expect_packet(2, 60, 60, 3, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.sections, 2);
    assert_int_equal(reader.statistics, 2);
    assert_int_equal(reader.described, 3);
    for (unsigned i = 0; i < 100; i++) { /* with time they come by themselves, behind packets */
        ticks += HZ;
        pump(1 << 20);
    }
    while (next_block() > 0)
        ;
    assert_int_equal(reader.sections, 3);
    for (unsigned i = 0; i < 100; i++) {
        say(0, 2, 60, 4);
        ticks += HZ / 2;
        pump(600);
    }
    while (next_block() > 0)
        ;
    assert_true(reader.sections >= 3 + 15 && reader.sections <= 3 + 18); /* every 2.75 s, of 50 */
    capture_stop();
    say(0, 2, 60, 5);
    pump(1 << 20);
    while (next_block() > 0)
        ;
    assert_int_equal(reader.interface[0].seen, 101);
    assert_int_equal(reader.packets, 103);
}

/* A late reader of what is still to be sent behind the end. */
static void test_greeted_at_the_end(void **state)
{
    start(&switches[0], "", "", 100);
    for (unsigned i = 0; i < 10; i++)
        say(0, 2, 60, 1);
    pump(600);
    capture_stop();
    greetings++;
    for (unsigned i = 0; i < 10; i++)
        pump(600);
    while (next_block() > 0)
        ;
    assert_int_equal(reader.sections, 2);
    assert_int_equal(reader.packets, 10);
    assert_int_equal(reader.interface[0].matched, 10);
    assert_false(capture_state().sending);
}

/* The next one takes its place in the middle of a block: that one is finished. */
static void test_one_after_the_other(void **state)
{
    unsigned packets = 0;

    start(&switches[0], "", "", 1514);
    for (unsigned i = 0; i < 10; i++)
        say(0, 2, 1514, 1);
    pump(2500);
    start(NULL, "b/", "", 100);
    assert_int_equal(capture_state().held, 0);
    say(0, 1, 60, 2);
    say(0, 2, 60, 3);
    pump(1 << 20);
    while (next_packet()) {
        packets++;
        assert_true(reader.packet.kept == 1514 || reader.packet.data[14] == 3);
    }
    assert_int_equal(packets, 3); /* two of the first */
    assert_int_equal(reader.sections, 2);
    assert_string_equal(reader.interface[0].name, "b/0");
    assert_null(strstr(reader.about, "lan"));
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
        TEST(test_blocks),
        TEST(test_longest_texts),
        TEST(test_a_switch),
        TEST(test_a_vm),
        TEST(test_a_card),
        TEST(test_how_much),
        TEST(test_vlans),
        TEST(test_offloads),
        TEST(test_too_slow),
        TEST(test_stuck),
        TEST(test_sections),
        TEST(test_greeted_at_the_end),
        TEST(test_one_after_the_other),
        TEST(test_where_it_cannot_be),
        TEST(test_cards_that_come_and_go),
        TEST(test_many_cards),
    };

    if (argc == 3 && strcmp(argv[1], "--stream") == 0)
        return make_stream(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
