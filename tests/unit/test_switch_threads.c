/* links: guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c tests/unit/mock_heap.c */
/*
 * A switch whose ports are used by as many threads at once: they send to each other and to all,
 * come, go, and come back in another VLAN. It is built with the thread sanitizer (see Makefile),
 * which tells of every access that no lock orders; and nobody hears what is not for him.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <string.h>
#include <cmocka.h>

#include "guest/net/switch.h"
#include "tests/unit/threads.h"

enum { THREADS = 6, STEPS = 4000, SIZE = 300 };

static uint64_t ticks; /* atomic */

static uint64_t clock_now(void)
{
    return __atomic_add_fetch(&ticks, 1000, __ATOMIC_RELAXED);
}

static struct net_switch sw;
static pthread_barrier_t together;

static struct card {
    struct net_port *port;
    unsigned number, vlan, failed;
    uint32_t seed;
    bool isolated;
    uint8_t scratch[NET_MAX_FRAME];
    /* with the port's lock held, and not atomic */
    unsigned heard, told, wrong, room;
    uint8_t got[SIZE];
} cards[THREADS];

static uint32_t next(struct card *c)
{
    c->seed = c->seed * 1103515245 + 12345;
    return c->seed >> 8;
}

/* What is in a frame behind its header: its VLAN, and whether its sender is isolated. */
static enum net_drop receive(void *owner, const struct net_frame *f)
{
    struct card *c = owner;
    uint32_t at = 0;

    if (c->room == 0)
        return NET_DROP_FULL;
    c->room--;
    for (unsigned i = 0; i < f->count; at += f->piece[i++].length)
        memcpy(c->got + at, f->piece[i].data, f->piece[i].length);
    c->wrong += at != SIZE || c->got[NET_ETHER] != c->vlan ||
                (c->isolated && c->got[NET_ETHER + 1]) || c->got[NET_MAC + 5] == c->number;
    c->heard++;
    return NET_TAKEN;
}

static void received(void *owner)
{
    ((struct card *)owner)->told++;
}

static const struct net_port_ops ops = {receive, received};

static void come(struct card *c)
{
    struct net_port_setup what = {
        .mac = {2, 0, 0, 0, 0, (uint8_t)c->number}, .ops = &ops, .owner = c};

    what.vlan = (uint16_t)(c->vlan = next(c) % 2 + 1);
    what.isolated = c->isolated = next(c) % 3 == 0;
    what.any_mac = next(c) % 3 == 0;
    c->failed += net_port_attach(&sw, &what, &c->port) != 0;
    net_port_open(c->port, next(c) % 2 ? NET_CAN_CHECKSUM : 0);
}

static void say(struct card *c)
{
    uint8_t data[SIZE] = {2, 0, 0, 0, 0, (uint8_t)(next(c) % (THREADS + 2)), 2};
    const struct net_piece piece[2] = {{data, NET_HEAD}, {data + NET_HEAD, SIZE - NET_HEAD}};
    struct net_frame f = {.piece = piece, .count = 2, .length = SIZE, .scratch = c->scratch};

    if (next(c) % 4 == 0)
        memset(data, 0xff, NET_MAC);
    data[NET_MAC + 5] = (uint8_t)c->number;
    if (next(c) % 8 == 0 && c->port->what.any_mac)
        data[NET_MAC + 4] = (uint8_t)(1 + next(c) % 100);
    data[NET_ETHER] = (uint8_t)c->vlan;
    data[NET_ETHER + 1] = c->isolated;
    if (next(c) % 2)
        f.offload = (struct net_offload){.checksum = true, .start = 100, .field = 150};
    net_port_send(c->port, &f);
}

static void *run(void *arg)
{
    struct card *c = arg;
    struct net_port_view view;

    pthread_barrier_wait(&together);
    come(c);
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t what = next(c) % 100;

        if (what < 60) {
            say(c);
        } else if (what < 75) {
            net_port_sent(c->port);
        } else if (what < 90) {
            net_port_lock(c->port);
            c->room = 20;
            net_port_unlock(c->port);
        } else if (what < 94) {
            net_port_close(c->port);
            net_port_open(c->port, 0);
        } else if (what < 96) {
            net_port_plug(c->port, next(c) % 2);
        } else if (what < 98) {
            c->failed += net_switch_look(&sw, next(c) % THREADS, &view) > 1;
        } else {
            net_port_detach(c->port);
            come(c);
        }
    }
    net_port_plug(c->port, true);
    net_port_detach(c->port);
    return NULL;
}

static void all_at_once(void **state)
{
    pthread_t threads[THREADS];
    unsigned heard = 0;

    sw = (struct net_switch){.mtu = 1500, .now = clock_now, .hz = 1000000};
    net_switch_init(&sw, 1);
    pthread_barrier_init(&together, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        cards[i].number = cards[i].seed = i;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &cards[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(cards[i].wrong + cards[i].failed, 0);
        assert_true(cards[i].told > 0);
        heard += cards[i].heard;
    }
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    assert_true(heard > STEPS / 10);
    assert_int_equal(sw.table.learned, 0);
    assert_true(sw.count <= THREADS);
    net_switch_destroy(&sw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
