/* links: guest/devices/virtio/net.c guest/devices/virtio/net_pairs.c guest/net/flow.c guest/devices/network.c guest/devices/virtio/net_receive.c guest/devices/virtio/net_control.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c guest/board/state.c tests/unit/mock_heap.c */
/*
 * Two VMs whose cards have several pairs of queues, and threads that are their processors, one for
 * each pair: they send and hear by their own pair, and the first one of each VM also asks for other
 * numbers of pairs, resets the card, pulls its cable, saves and loads it, and lets it end. It is
 * built with the thread sanitizer (see Makefile). Memory of guests is atomic here, as it is there:
 * what the sanitizer tells of is Corbel's. What a frame holds is what one pair has sent.
 */
#include <pthread.h>

static void memory_read(const void *from, void *data, unsigned long size);
static void memory_write(void *to, const void *data, unsigned long size);
#define DRIVER_READ(data, from, size) memory_read(from, data, size)
#define DRIVER_WRITE(to, data, size)  memory_write(to, data, size)
#define GUEST_VIEW(g)                 (&view)

#include "guest/board/device.h"

static __thread struct bus_view view; /* each processor has one */

#include "tests/unit/net_board_threads.h"
#include "tests/unit/net_pairs_guest.h"
#include "tests/unit/threads.h"

enum { GUESTS = 2, LIVES = 4, STEPS = 400, SIZE = 200 };

/* --- what devices ask of a board --- */

/* Words as they are aligned, so that none is seen in half. */
static unsigned long step(unsigned long at, unsigned long size)
{
    return at % 8 == 0 && size >= 8   ? 8
           : at % 4 == 0 && size >= 4 ? 4
           : at % 2 == 0 && size >= 2 ? 2
                                      : 1;
}

static void memory_read(const void *from, void *data, unsigned long size)
{
    for (unsigned long n; size > 0;
         size -= n, from = (const char *)from + n, data = (char *)data + n) {
        uint64_t v;

        n = step((unsigned long)from, size);
        v = n == 8   ? __atomic_load_n((const uint64_t *)from, __ATOMIC_ACQUIRE)
            : n == 4 ? __atomic_load_n((const uint32_t *)from, __ATOMIC_ACQUIRE)
            : n == 2 ? __atomic_load_n((const uint16_t *)from, __ATOMIC_ACQUIRE)
                     : __atomic_load_n((const uint8_t *)from, __ATOMIC_ACQUIRE);
        memcpy(data, &v, n);
    }
}

static void memory_write(void *to, const void *data, unsigned long size)
{
    for (unsigned long n; size > 0; size -= n, to = (char *)to + n, data = (const char *)data + n) {
        uint64_t v = 0;

        n = step((unsigned long)to, size);
        memcpy(&v, data, n);
        if (n == 8)
            __atomic_store_n((uint64_t *)to, v, __ATOMIC_RELEASE);
        else if (n == 4)
            __atomic_store_n((uint32_t *)to, (uint32_t)v, __ATOMIC_RELEASE);
        else if (n == 2)
            __atomic_store_n((uint16_t *)to, (uint16_t)v, __ATOMIC_RELEASE);
        else
            __atomic_store_n((uint8_t *)to, (uint8_t)v, __ATOMIC_RELEASE);
    }
}

int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    *address = (paddr)d->board->memory + gpa;
    *length = size;
    __atomic_fetch_add(&d->board->pins, 1, __ATOMIC_RELAXED);
    return 0;
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    __atomic_fetch_sub(&d->board->pins, 1, __ATOMIC_RELAXED);
}

/* --- processors --- */

static struct pairs_guest guests[GUESTS];
static pthread_barrier_t together, of_guest[GUESTS];

static struct vcpu {
    unsigned guest, pair;
    uint32_t seed;
    unsigned heard, said;
} vcpus[GUESTS][PAIRS];

static uint32_t random_of(struct vcpu *c)
{
    c->seed = c->seed * 1103515245 + 12345;
    return c->seed >> 8;
}

static struct pairs_guest *guest_of(const struct vcpu *c)
{
    return &guests[c->guest];
}

static uint8_t number_of(unsigned guest)
{
    return (uint8_t)(guest + 1);
}

/* A frame of the pair's own flow, or to all; each is one more than the one before. */
static void say(struct vcpu *c)
{
    struct pairs_guest *p = guest_of(c);
    uint8_t frame[SIZE];

    (void)pairs_back(p, c->pair);
    pairs_udp(frame, number_of(c->guest), (uint16_t)(100 + c->pair), number_of(!c->guest),
              (uint16_t)(100 + c->pair));
    if (random_of(c) % 5 == 0)
        memset(frame, 0xff, NET_MAC);
    memset(frame + 60, ++c->said % 256, SIZE - 60);
    frame[60] = (uint8_t)c->pair;
    (void)pairs_offer(p, c->pair, frame, SIZE);
    kick(&p->guest, 2 * c->pair + 1);
}

static void hear(struct vcpu *c)
{
    struct pairs_guest *p = guest_of(c);
    uint8_t got[PAIR_BUFFER];
    unsigned used = 0;
    int n;

    while ((n = pairs_taken(p, c->pair, got)) >= 0) {
        assert_int_equal(n, SIZE);
        assert_int_equal(got[NET_MAC + 5], number_of(!c->guest));
        assert_true(got[60] < PAIRS);
        assert_int_equal(got[35], 100 + got[60]);
        for (unsigned i = 61; i < SIZE; i++)
            assert_int_equal(got[i], got[61]);
        c->heard++;
        used++;
    }
    if (used)
        pairs_refill(p, c->pair, used);
}

static void restart(struct pairs_guest *p, uint32_t how)
{
    static const uint64_t features[] = {0, PACKED_RING, MRG_RXBUF, EVENT_INDEX};

    pairs_start(p, MQ | CTRL_VQ | features[how % 4], QUEUES);
    assert_int_equal(pairs_use(p, PAIRS), 0);
}

static void reload(struct pairs_guest *p)
{
    static __thread uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};
    struct bus *bus = &p->guest.board.bus;

    while (!bus_idle(bus, false))
        ;
    bus_save(bus, &w);
    while (!bus_idle(bus, true))
        ;
    bus_reset(bus);
    r.size = w.used;
    assert_int_equal(bus_load(bus, &r), 0);
}

/* What the first processor of a guest does while the others do not run, or do. */
static void manage_alone(struct vcpu *c, unsigned life)
{
    struct pairs_guest *p = guest_of(c);

    if (life % 4 == 0) {
        if (p->guest.board.bus.device_count) {
            bus_reset(&p->guest.board.bus);
            assert_int_equal(p->guest.board.pins, 0);
            net_guest_end(&p->guest);
        }
        assert_int_equal(
            net_guest_init(&p->guest, number_of(c->guest), (struct net_port_setup){.pairs = PAIRS}),
            0);
        restart(p, random_of(c));
        for (unsigned i = 0; i < PAIRS; i++)
            pairs_refill(p, i, DRIVER_SIZE);
    } else {
        reload(p);
    }
    virtio_net_plug(card(&p->guest), true);
}

static void manage(struct vcpu *c)
{
    struct pairs_guest *p = guest_of(c);
    uint32_t what = random_of(c) % 100;

    if (what < 10)
        assert_int_equal(pairs_use(p, (uint16_t)(1 + random_of(c) % PAIRS)), 0);
    else if (what < 13)
        virtio_net_plug(card(&p->guest), random_of(c) % 4);
}

/* The card is reset while others send: they notice by nothing, but that nothing comes back. */
static void reset_meanwhile(struct vcpu *c)
{
    struct pairs_guest *p = guest_of(c);

    out(&p->guest, 0x14, 1, 0);
    while (in(&p->guest, 0x14, 1) != 0)
        sched_yield();
}

static void *live(void *arg)
{
    struct vcpu *c = arg;
    struct pairs_guest *p = guest_of(c);

    for (unsigned life = 0; life < 4 * LIVES; life++) {
        pthread_barrier_wait(&of_guest[c->guest]);
        view = (struct bus_view){0};
        if (c->pair == 0)
            manage_alone(c, life);
        pthread_barrier_wait(&together);
        for (unsigned i = 0; i < STEPS / 4; i++) {
            uint32_t what = random_of(c) % 100;

            if (what < 50)
                say(c);
            else if (what < 80)
                hear(c);
            else if (what < 95)
                bus_run_timers(&p->guest.board.bus, threads_now());
            else if (c->pair == 0)
                manage(c);
        }
        if (c->pair == 0 && life % 4 == 3)
            reset_meanwhile(c);
    }
    return NULL;
}

static void all_at_once(void **state)
{
    pthread_t threads[GUESTS][PAIRS];
    unsigned heard[PAIRS] = {0};

    net_lan = (struct net_switch){.name = "lan", .mtu = 1500, .now = threads_now, .hz = 1000000};
    net_switch_init(&net_lan, 1);
    pthread_barrier_init(&together, NULL, GUESTS * PAIRS);
    for (unsigned i = 0; i < GUESTS; i++)
        pthread_barrier_init(&of_guest[i], NULL, PAIRS);
    for (unsigned i = 0; i < GUESTS; i++)
        for (unsigned j = 0; j < PAIRS; j++) {
            vcpus[i][j] = (struct vcpu){.guest = i, .pair = j, .seed = 10 * i + j};
            assert_int_equal(pthread_create(&threads[i][j], NULL, live, &vcpus[i][j]), 0);
        }
    for (unsigned i = 0; i < GUESTS; i++)
        for (unsigned j = 0; j < PAIRS; j++) {
            pthread_join(threads[i][j], NULL);
            heard[j] += vcpus[i][j].heard;
        }
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    for (unsigned j = 0; j < PAIRS; j++)
        assert_true(heard[j] > 20);
    for (unsigned i = 0; i < GUESTS; i++) {
        bus_reset(&guests[i].guest.board.bus);
        assert_int_equal(guests[i].guest.board.pins, 0);
        net_guest_end(&guests[i].guest);
    }
    net_switch_destroy(&net_lan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
