/* links: guest/capture/capture.c guest/capture/packets.c guest/capture/pcapng.c guest/capture/filter.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * Captures that come and go while threads send at a switch, each a VM that ends and comes back. It
 * is built with the thread sanitizer (see Makefile), which tells of every access that no lock
 * orders; and each packet of the file is a frame of the card that it is told of.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/capture/capture.h"
#include "guest/vm/nets.h"
#include "tests/unit/pcapng_reader.h"
#include "tests/unit/threads.h"

#define LINE_USER COM2_CAPTURE
#include "tests/unit/com2_line.h"

enum { THREADS = 4, STEPS = 3000, SIZE = 300 };

uint64_t tsc_hz = 1000000;
static uint64_t ticks; /* atomic */

uint64_t test_tsc(void)
{
    return __atomic_add_fetch(&ticks, 100, __ATOMIC_RELAXED);
}

uint64_t tsc_to_ns(uint64_t t)
{
    return t * 1000;
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = 1764547200;
    *microseconds = 0;
}

void log_line(enum log_level level, const char *fmt, ...)
{
}

static struct net_switch sw;

struct net_switch *nets_get(unsigned index)
{
    return index == 0 ? &sw : NULL;
}

/* --- the line, which is processor 0's --- */

static struct reader reader;
static unsigned packets, wrong;
static uint64_t last;

static void look_at_packet(void)
{
    const struct read_packet *p = &reader.packet;
    const struct read_interface *i = &reader.interface[p->interface];
    bool sent = p->flags & PCAPNG_OUTBOUND;

    packets++;
    wrong += sent && (p->data[11] != i->mac[5] || i->name[1] != '0' + i->mac[5]);
    wrong += !sent && p->data[11] == i->mac[5];
    for (uint32_t n = NET_ETHER; n < p->kept; n++)
        wrong += p->data[n] != p->data[11];
    wrong += p->time < last;
    last = p->time;
}

/* All that has come, but for the block that is on its way. */
static void look_at_stream(void)
{
    size_t length;

    for (;;) {
        const uint8_t *b = stream + reader.at;

        if (streamed - reader.at < 8 || (length = reader_number(b + 4, 4)) > streamed - reader.at)
            break;
        reader.bytes = stream;
        reader.size = reader.at + length;
        int64_t type = reader_next(&reader);
        assert_true(type > 0);
        if (type == 0x0a0d0d0a && reader.described == 0)
            last = 0;
        if (type == 6)
            look_at_packet();
    }
    memmove(stream, stream + reader.at, streamed - reader.at);
    streamed -= reader.at;
    reader.at = 0;
}

/* --- cards --- */

static pthread_barrier_t together;
static unsigned senders; /* that are not done; atomic */

static struct card {
    struct net_port *port;
    unsigned number, failed;
    uint32_t seed;
    uint8_t scratch[NET_MAX_FRAME];
} cards[THREADS];

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 8;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    return f->length % 7 ? NET_TAKEN : NET_DROP_FULL;
}

static void received(void *owner)
{
}

static const struct net_port_ops ops = {receive, received};

static void come(struct card *c)
{
    struct net_port_setup what = {
        .mac = {2, 0, 0, 0, 0, (uint8_t)c->number}, .ops = &ops, .owner = c};

    snprintf(what.name, sizeof(what.name), "v%u/0", c->number);
    c->failed += net_port_attach(&sw, &what, &c->port) != 0;
    net_port_open(c->port, 0);
}

static void say(struct card *c)
{
    uint8_t data[SIZE] = {2, 0, 0, 0, 0, (uint8_t)(next(&c->seed) % THREADS), 2};
    uint32_t length = NET_HEAD + 1 + next(&c->seed) % (SIZE - NET_HEAD);
    const struct net_piece piece[2] = {{data, NET_HEAD}, {data + NET_HEAD, length - NET_HEAD}};
    struct net_frame f = {.piece = piece, .count = 2, .length = length, .scratch = c->scratch};

    if (next(&c->seed) % 4 == 0)
        memset(data, 0xff, NET_MAC);
    memset(data + NET_MAC + 5, (int)c->number, SIZE - NET_MAC - 5);
    net_port_send(c->port, &f);
}

static void *run(void *arg)
{
    struct card *c = arg;

    come(c);
    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < STEPS; i++) {
        if (next(&c->seed) % 50 > 0) {
            say(c);
        } else {
            net_port_detach(c->port);
            come(c);
        }
        if (i % 16 == 0)
            sched_yield();
    }
    net_port_detach(c->port);
    __atomic_fetch_sub(&senders, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

/* --- processor 0 --- */

static void start(uint32_t how)
{
    static const char *const filters[] = {"", "not arp", "mac 02:00:00:00:00:01 or vlan 3"};
    const char *filter = filters[how % 3];
    struct capture_what what = {.on = how & 4 ? &sw : NULL, .keep = how & 8 ? 64 : 1514};
    char error[FILTER_ERROR];

    snprintf(what.card, sizeof(what.card), "v%u/", how >> 4 & 3);
    assert_int_equal(filter_parse(filter, strlen(filter), &what.filter, error), 0);
    assert_int_equal(capture_start(&what), 0);
}

static void look_on(void)
{
    struct packets_interface i;
    uint32_t seed = 99;

    while (__atomic_load_n(&senders, __ATOMIC_SEQ_CST) > 0) {
        uint32_t what = next(&seed) % 100;

        if (what < 3)
            start(next(&seed));
        else if (what < 5)
            capture_stop();
        else if (what < 7)
            greetings++;
        else if (what < 10)
            (void)(capture_state().on && capture_interface(0, &i));
        room = next(&seed) % 8192;
        (void)capture_pump();
        look_at_stream();
        sched_yield();
    }
}

static void all_at_once(void **state)
{
    pthread_t threads[THREADS];

    sw = (struct net_switch){.name = "lan", .mtu = 1500, .now = test_tsc, .hz = 1000000};
    net_switch_init(&sw, 1);
    pthread_barrier_init(&together, NULL, THREADS + 1);
    senders = THREADS;
    for (unsigned i = 0; i < THREADS; i++) {
        cards[i].number = cards[i].seed = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &cards[i]), 0);
    }
    pthread_barrier_wait(&together);
    start(4);
    look_on();
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(cards[i].failed, 0);
    }
    capture_stop();
    while (capture_state().sending) {
        room = 8192;
        (void)capture_pump();
        look_at_stream();
    }
    assert_int_equal(streamed, 0);
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    assert_int_equal(wrong, 0);
    assert_true(packets > 100);
    net_switch_destroy(&sw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
