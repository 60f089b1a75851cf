/* links: guest/net/uplink.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c drivers/net_card.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/*
 * A switch with a way out, by threads: some are VMs that send out and to each other, one is
 * processor 0, which takes what comes, looks after the card, and resets it, as it hangs now and
 * then; one looks at the counters. It is built with the thread sanitizer (see Makefile), which
 * tells of every access that no lock orders.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/tsc.h"
#include "drivers/pci.h"
#include "guest/net/uplink.h"
#include "tests/unit/threads.h"

enum { VMS = 3, STEPS = 3000, SIZE = 300, ROOM = 20 };

uint64_t tsc_hz = 100000;
static uint64_t ticks; /* atomic */

uint64_t test_tsc(void)
{
    return __atomic_add_fetch(&ticks, 10, __ATOMIC_RELAXED);
}

static uint64_t clock_now(void)
{
    return test_tsc();
}

void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear)
{
}

static struct net_switch sw;
static struct net_card card;
static struct uplink uplink;
static pthread_barrier_t together;
static bool over; /* atomic */

/* --- the card: plain memory, which its locks have to protect --- */

static unsigned queued, told, sent, resets;
static bool mute;         /* what was told does not go; processor 0's, and with the card's lock */
static unsigned arriving; /* processor 0's */

static int card_prepare(struct net_card *c)
{
    return 0;
}

static int card_start(struct net_card *c)
{
    queued = told = 0;
    resets++;
    return 0;
}

static void card_stop(struct net_card *c)
{
    queued = told = 0;
}

static bool card_send(struct net_card *c, const struct net_piece *piece, unsigned count,
                      uint32_t length)
{
    if (queued == ROOM)
        return false;
    queued++;
    return true;
}

static void card_kick(struct net_card *c)
{
    told = queued;
}

static unsigned card_settle(struct net_card *c)
{
    if (!__atomic_load_n(&mute, __ATOMIC_RELAXED)) {
        sent += told;
        c->gone += told;
        queued -= told;
        told = 0;
    }
    return queued;
}

static unsigned card_causes(struct net_card *c)
{
    return NET_CARD_CAUSE_ANY;
}

static int card_take(struct net_card *c, struct net_arrival *a)
{
    static uint8_t frame[SIZE];

    if (arriving == 0)
        return 0;
    arriving--;
    frame[0] = 2;
    frame[5] = (uint8_t)(arriving % VMS);
    frame[6] = 0x52;
    *a = (struct net_arrival){.piece = {{frame, SIZE}}, .count = 1, .length = SIZE};
    return 1;
}

static void card_give(struct net_card *c)
{
}

static bool card_link(struct net_card *c)
{
    return true;
}

static bool card_gone(struct net_card *c)
{
    return false;
}

static void card_quiet(struct net_card *c, bool on)
{
}

static const struct net_card_ops card_ops = {
    .prepare = card_prepare,
    .start = card_start,
    .stop = card_stop,
    .send = card_send,
    .kick = card_kick,
    .settle = card_settle,
    .causes = card_causes,
    .take = card_take,
    .give = card_give,
    .link = card_link,
    .gone = card_gone,
    .raise = card_stop,
    .quiet = card_quiet,
};

/* --- the VMs --- */

static struct vm {
    struct net_port *port;
    unsigned number, heard;
    uint32_t seed;
} vms[VMS];

static uint32_t next(struct vm *v)
{
    v->seed = v->seed * 1103515245 + 12345;
    return v->seed >> 8;
}

static enum net_drop receive(void *owner, const struct net_frame *f)
{
    ((struct vm *)owner)->heard++;
    return NET_TAKEN;
}

static void received(void *owner)
{
}

static const struct net_port_ops ops = {receive, received};

static void *run_vm(void *arg)
{
    struct vm *v = arg;

    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < STEPS; i++) {
        uint8_t data[SIZE] = {2, 0, 0, 0, 0, (uint8_t)(next(v) % (2 * VMS)), 2};
        const struct net_piece piece[2] = {{data, NET_HEAD}, {data + NET_HEAD, SIZE - NET_HEAD}};
        struct net_frame f = {.piece = piece, .count = 2, .length = SIZE};

        data[NET_MAC + 5] = (uint8_t)v->number;
        net_port_send(v->port, &f);
        if (next(v) % 4 == 0)
            net_port_sent(v->port);
    }
    net_port_sent(v->port);
    return NULL;
}

static void *run_processor_0(void *arg)
{
    unsigned n = 0;

    pthread_barrier_wait(&together);
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        __atomic_store_n(&mute, ++n % 400 > 300, __ATOMIC_RELAXED);
        arriving = n % 7;
        if (n % 3 == 0)
            net_card_interrupt(&card);
        else
            (void)net_cards_work();
        sched_yield();
    }
    return NULL;
}

static void *run_looker(void *arg)
{
    struct net_card_counts counts;
    struct net_port_view view;

    pthread_barrier_wait(&together);
    while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE)) {
        (void)net_card_look(&card, &counts);
        (void)!net_switch_look(&sw, VMS, &view);
        sched_yield();
    }
    return NULL;
}

static void all_at_once(void **state)
{
    pthread_t thread[VMS + 2];
    unsigned heard = 0;

    sw = (struct net_switch){.name = "lan", .mtu = 1500, .now = clock_now, .hz = tsc_hz};
    net_switch_init(&sw, 99);
    card =
        (struct net_card){.ops = &card_ops, .model = "mock", .mac = {0x52, 0x54}, .longest = 1600};
    assert_int_equal(net_card_add(&card), 0);
    for (unsigned i = 0; i < VMS; i++) {
        struct net_port_setup what = {
            .mac = {2, 0, 0, 0, 0, (uint8_t)i}, .ops = &ops, .owner = &vms[i]};

        vms[i] = (struct vm){.number = i, .seed = i + 1};
        assert_int_equal(net_port_attach(&sw, &what, &vms[i].port), 0);
        net_port_open(vms[i].port, 0);
    }
    assert_int_equal(uplink_start(&uplink, &sw, &card), 0);
    pthread_barrier_init(&together, NULL, VMS + 2);
    for (unsigned i = 0; i < VMS; i++)
        pthread_create(&thread[i], NULL, run_vm, &vms[i]);
    pthread_create(&thread[VMS], NULL, run_processor_0, NULL);
    pthread_create(&thread[VMS + 1], NULL, run_looker, NULL);
    for (unsigned i = 0; i < VMS; i++)
        pthread_join(thread[i], NULL);
    __atomic_store_n(&over, true, __ATOMIC_RELEASE);
    pthread_join(thread[VMS], NULL);
    pthread_join(thread[VMS + 1], NULL);
    for (unsigned i = 0; i < VMS; i++)
        heard += vms[i].heard;
    assert_true(heard > 0 && sent > 0 && card.counts.received > 0);
    assert_int_equal(uplink.port[0]->port->counts.received, card.counts.sent);
    uplink_stop(&uplink);
    for (unsigned i = 0; i < VMS; i++)
        net_port_detach(vms[i].port);
    net_switch_destroy(&sw);
    assert_int_equal(reports, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_once)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
