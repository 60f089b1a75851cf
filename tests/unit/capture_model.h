/*
 * What a capture stands on, for tests: switches whose ports say what the test wants, a second
 * serial port that takes as much as the test wants, and a strict reader of the file that comes out
 * of it.
 */
#pragma once

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

static inline void sink(enum log_level level, const char *line, size_t length)
{
    snprintf(logged, sizeof(logged), "%.*s", (int)length, line);
}

/* --- the line --- */

/* So much goes over the line. */
static inline void pump(size_t bytes)
{
    room = bytes;
    assert_int_equal(capture_pump(), UINT64_MAX);
    room = 0;
}

static struct reader reader;

/* The next block of what has come; each begins with a frame of the line's. */
static inline int64_t next_block(void)
{
    reader.bytes = stream;
    reader.size = streamed;
    if (reader.at < streamed)
        assert_true(begins[reader.at]);
    return reader_next(&reader);
}

/* The next packet, behind whatever comes before it; false: there is none. */
static inline bool next_packet(void)
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

static inline enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct card *c = owner;

    c->heard++;
    return c->answer;
}

static inline void received(void *owner)
{
}

static const struct net_port_ops ops = {receive, received};
static const char *names[CARDS] = {"a/0", "a/1", "b/0", "a/10", "aa/0"};

static inline void plug_at(struct net_switch *s, unsigned n, unsigned vlan, unsigned can)
{
    struct net_port_setup what = {
        .mac = {2, 0, 0, 0, 0, (uint8_t)(n + 1)}, .vlan = (uint16_t)vlan, .ops = &ops};

    what.owner = &cards[n];
    strcpy(what.name, names[n]);
    assert_int_equal(net_port_attach(s, &what, &cards[n].port), 0);
    net_port_open(cards[n].port, can);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
static inline void say(unsigned from, unsigned to, uint32_t length, uint8_t mark)
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

static inline void start(const struct net_switch *on, const char *card, const char *filter,
                         uint32_t keep)
{
    struct capture_what what = {.on = on, .keep = keep};
    char error[FILTER_ERROR];

    snprintf(what.about, sizeof(what.about), "%s %s", on ? on->name : card, filter);
    strcpy(what.card, card);
    assert_int_equal(filter_parse(filter, strlen(filter), &what.filter, error), 0);
    assert_int_equal(capture_start(&what), 0);
}

static inline void expect_packet(unsigned interface, uint32_t kept, uint32_t length, uint8_t mark,
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
