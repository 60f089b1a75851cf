/* links: guest/devices/virtio/net.c guest/devices/virtio/net_pairs.c guest/net/flow.c guest/devices/network.c guest/devices/virtio/net_receive.c guest/devices/virtio/net_control.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c guest/config/net.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c guest/board/state.c tests/unit/mock_heap.c */
/*
 * Three VMs with a network card each, by threads that are their processors: they send to each other
 * and to all, have buffers or not, reset their cards, are saved and loaded, end and begin again. It
 * is built with the thread sanitizer (see Makefile), which tells of every access that no lock
 * orders; what a frame holds is what one VM has sent.
 */
#include <pthread.h>

#include "tests/unit/net_board_threads.h"
#include "tests/unit/threads.h"

enum { GUESTS = 3, LIVES = 8, STEPS = 500, SIZE = 200 };

/* --- what devices ask of a board --- */

int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length)
{
    *address = (paddr)d->board->memory + gpa;
    *length = size;
    d->board->pins++;
    return 0;
}

void device_memory_unpin(struct device *d, paddr address, uint64_t length)
{
    d->board->pins--;
}

/* --- a VM, by its thread --- */

static struct guest guests[GUESTS];
static struct vm {
    uint32_t seed;
    unsigned heard;
} vms[GUESTS];
static pthread_barrier_t together;

static uint32_t random_of(unsigned n)
{
    vms[n].seed = vms[n].seed * 1103515245 + 12345;
    return vms[n].seed >> 8;
}

/* Its buffers are under its port's lock here; a guest's memory would be atomic. */
static struct net_port *port_of(unsigned n)
{
    struct net_port *own = NULL;

    spin_lock(&net_lan.lock);
    for (unsigned i = 0; i < net_lan.count; i++)
        if (net_lan.port[i]->attached && net_lan.port[i]->what.mac[5] == n + 1)
            own = net_lan.port[i];
    spin_unlock(&net_lan.lock);
    return own;
}

static void begin(unsigned n)
{
    static const uint64_t features[] = {0, PACKED_RING, MRG_RXBUF, MRG_RXBUF | GUEST_CSUM};

    start(&guests[n], CSUM | features[random_of(n) % 4]);
}

static void say(unsigned n)
{
    struct guest *g = &guests[n];
    uint8_t frame[SIZE], header[HEADER_SIZE] = {random_of(n) % 2, [6] = 20, [8] = 6};
    uint8_t to[NET_MAC] = {2, 0, 0, 0, 0, (uint8_t)(random_of(n) % GUESTS + 1)};

    if (random_of(n) % 3 == 0)
        memset(to, 0xff, NET_MAC);
    memset(frame, (int)random_of(n), SIZE);
    memcpy(frame, to, NET_MAC);
    memcpy(frame + NET_MAC, g->what.mac, NET_MAC);
    device_lock(card(g));
    (void)offer(g, header, frame, SIZE, 2);
    device_unlock(card(g));
    kick(g, 1);
    device_lock(card(g));
    for (uint32_t written; driver_take(&g->queue[1], &written) >= 0;)
        ;
    device_unlock(card(g));
}

static void make_room(unsigned n, struct net_port *port)
{
    struct guest *g = &guests[n];

    net_port_lock(port);
    for (unsigned i = random_of(n) % 4; i > 0; i--) {
        struct driver_segment s = {0, 0x100, true};
        unsigned id = 0;

        while (id < DRIVER_SIZE && g->queue[0].slots[id])
            id++;
        if (id == DRIVER_SIZE)
            break;
        s.gpa = BUFFERS + id * 0x100u;
        assert_int_equal(driver_offer(&g->queue[0], &s, 1, false), id);
    }
    net_port_unlock(port);
    kick(g, 0);
}

/* All of a frame is one VM's, but for a checksum. */
static void hear(unsigned n, struct net_port *port)
{
    struct guest *g = &guests[n];
    uint32_t written;
    int id;

    net_port_lock(port);
    while ((id = driver_take(&g->queue[0], &written)) >= 0) {
        const uint8_t *frame = g->board.memory + BUFFERS + id * 0x100 + HEADER_SIZE;

        assert_int_equal(written, HEADER_SIZE + SIZE);
        assert_true(frame[NET_MAC + 5] != n + 1);
        for (unsigned i = 2 * NET_MAC; i < SIZE; i++)
            assert_true(frame[i] == frame[SIZE - 1] || i == 26 || i == 27);
        vms[n].heard++;
    }
    net_port_unlock(port);
}

static void reload(unsigned n)
{
    static __thread uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};
    struct bus *bus = &guests[n].board.bus;

    while (!bus_idle(bus, false))
        ;
    bus_save(bus, &w);
    while (!bus_idle(bus, true))
        ;
    bus_reset(bus);
    r.size = w.used;
    assert_int_equal(bus_load(bus, &r), 0);
}

static void *live(void *arg)
{
    unsigned n = (unsigned)(uintptr_t)arg;
    struct guest *g = &guests[n];

    pthread_barrier_wait(&together);
    for (unsigned life = 0; life < LIVES; life++) {
        assert_int_equal(net_guest_init(g, (uint8_t)(n + 1), (struct net_port_setup){0}), 0);
        struct net_port *port = port_of(n);
        begin(n);
        for (unsigned i = 0; i < STEPS; i++) {
            uint32_t what = random_of(n) % 100;

            if (what < 45)
                say(n);
            else if (what < 65)
                make_room(n, port);
            else if (what < 85)
                hear(n, port);
            else if (what < 95)
                bus_run_timers(&g->board.bus, threads_now());
            else if (what < 97)
                begin(n);
            else if (what < 98)
                virtio_net_plug(card(g), random_of(n) % 2);
            else
                reload(n);
        }
        bus_reset(&g->board.bus);
        assert_int_equal(g->board.pins, 0);
        net_guest_end(g);
    }
    return NULL;
}

static void all_at_once(void **state)
{
    pthread_t threads[GUESTS];
    unsigned heard = 0;

    net_lan = (struct net_switch){.name = "lan", .mtu = 1500, .now = threads_now, .hz = 1000000};
    net_switch_init(&net_lan, 1);
    pthread_barrier_init(&together, NULL, GUESTS);
    for (unsigned i = 0; i < GUESTS; i++) {
        vms[i].seed = i;
        assert_int_equal(pthread_create(&threads[i], NULL, live, (void *)(uintptr_t)i), 0);
    }
    for (unsigned i = 0; i < GUESTS; i++) {
        pthread_join(threads[i], NULL);
        heard += vms[i].heard;
    }
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
    assert_true(heard > 100);
    net_switch_destroy(&net_lan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
