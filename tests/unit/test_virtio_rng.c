/* links: guest/devices/virtio/rng.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/board/msix.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-rng by a driver that finds it on the bus, over a source whose bytes count up. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "tests/unit/virtio_function.h"

#define RINGS  0x1000
#define DATA   0x8000
#define PERIOD 24000000u /* ticks of the mock's TSC: a hundredth of a second */
#define MOST   4         /* answers in one, of */
#define ANSWER 64        /* bytes at most */

extern const struct device_class virtio_rng_class;

static struct device_list devices;
static struct driver v;

/* --- the source --- */

static uint8_t count;           /* the byte that comes next */
static size_t there;            /* how many it has */
static unsigned asked, answers; /* how often, and how many bytes it has given */

static size_t source(void *context, void *data, size_t size)
{
    size_t n = MIN(size, there);

    assert_ptr_equal(context, &count);
    asked++;
    for (size_t i = 0; i < n; i++)
        ((uint8_t *)data)[i] = count++;
    answers += (unsigned)n;
    return n;
}

static bool wanted;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    assert_string_equal(key, "rng");
    *length = 3;
    return wanted && index == 0 ? "yes" : NULL;
}

/* --- the driver --- */

static void start(uint64_t features)
{
    negotiate(features);
    driver_init(&v, &board, features & PACKED_RING, DRIVER_SIZE, RINGS);
    out(0x16, 2, 0);
    out(0x18, 2, DRIVER_SIZE);
    out(0x20, 8, v.descriptors);
    out(0x28, 8, v.driver);
    out(0x30, 8, v.device);
    out(0x1a, 2, 1);
    out(0x1c, 2, 1);
    out(0x14, 1, 0xf);
    assert_int_equal(in(0x14, 1), 0xf);
    memset(board.memory + DATA, 0xee, MOCK_MEMORY - DATA);
    count = 0;
}

static void kick(void)
{
    out(0x3000, 2, 0);
}

/* A buffer of one descriptor. */
static int offer(uint64_t gpa, uint32_t length)
{
    struct driver_segment s = {gpa, length, true};

    return driver_offer(&v, &s, 1, false);
}

static void expect_back(int id, uint32_t written)
{
    uint32_t w = 0;

    assert_int_equal(driver_take(&v, &w), id);
    assert_int_equal(w, written);
}

static void expect_none(void)
{
    uint32_t w;

    assert_int_equal(driver_take(&v, &w), -1);
}

/* From gpa on there are n bytes of the source, from first on, and then no other. */
static void expect_bytes(uint64_t gpa, uint8_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(board.memory[gpa + i], (uint8_t)(first + i));
    assert_int_equal(board.memory[gpa + n], 0xee);
}

static int setup_with(bool yes)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_rng_class};
    static struct device_host host;
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    host = (struct device_host){.line = line, .random = source, .context = &count};
    wanted = yes;
    mock_init(&board);
    board.now = 5 * PERIOD;
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    there = 1000;
    asked = answers = 0;
    if (device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    bus_reset(&board.bus);
    return 0;
}

static int setup(void **state)
{
    return setup_with(true);
}

static int teardown(void **state)
{
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good ? 0 : -1;
}

/* --- */

static void what_is_seen(void **state)
{
    unsigned seen = 0;

    assert_int_equal(config(0, 4), 0x10441af4);
    assert_int_equal(config(PCI_REVISION, 4), 0xff000001);
    for (unsigned at = config(PCI_CAPABILITIES, 1); at; at = config(at + 1, 1))
        if (config(at, 1) == 9)
            seen |= 1u << config(at + 3, 1);
    assert_int_equal(seen, 0x2e); /* no device configuration: there is none */
    config_write(PCI_COMMAND, 2, 2);
    out(0, 4, 0);
    assert_int_equal(in(4, 4), INDIRECT | EVENT);
    out(0, 4, 1);
    assert_int_equal(in(4, 4), 5);
    assert_int_equal(in(0x12, 2), 1); /* queues */
    assert_int_equal(in(0x18, 2), 128);
    assert_int_equal(in(0x2000, 4), 0);
}

static void none_without_the_key(void **state)
{
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(false), 0);
    assert_true(config(0, 4) == UINT32_MAX);
    assert_null(device_list_find(&devices, &virtio_rng_class, 0));
}

static void buffers_are_filled(void **state)
{
    static const uint64_t kinds[] = {0, PACKED_RING, EVENT, PACKED_RING | EVENT};

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        start(V1 | INDIRECT | kinds[i]);
        int id = offer(DATA, ANSWER); /* as Linux asks */
        kick();
        expect_back(id, ANSWER);
        expect_bytes(DATA, 0, ANSWER);
        assert_true(board.irq[10]);
        assert_int_equal(in(0x1000, 1), 1);
        if (kinds[i] == EVENT)
            driver_put(&v, v.driver + 4 + 2 * v.size, v.used, 2); /* "tell me of the next" */
        id = offer(DATA + 0x100, 7);
        kick();
        expect_back(id, 7);
        expect_bytes(DATA + 0x100, ANSWER, 7);
        assert_true(board.irq[10]);
        assert_int_equal(in(0x1000, 1), 1);
        /* What was left of that answer is nobody's. */
        if (kinds[i] == EVENT)
            driver_put(&v, v.driver + 4 + 2 * v.size, v.used, 2);
        id = offer(DATA + 0x200, 1);
        kick();
        expect_back(id, 1);
        expect_bytes(DATA + 0x200, 2 * ANSWER, 1);
        assert_int_equal(in(0x1000, 1), 1);
        mock_ticks(&board, PERIOD);
    }
}

/* Of several pieces, through a table or not; the readable ones are neither read nor written. */
static void pieces(void **state)
{
    struct driver_segment s[] = {{DATA, 16, false},
                                 {DATA + 0x100, 5, true},
                                 {DATA + 0x200, 50, true},
                                 {DATA + 0x300, 1000, true}};

    for (unsigned packed = 0; packed < 2; packed++)
        for (unsigned indirect = 0; indirect < 2; indirect++) {
            start(V1 | INDIRECT | (packed ? PACKED_RING : 0));
            int id = driver_offer(&v, s, 4, indirect);
            kick();
            expect_back(id, ANSWER);
            expect_bytes(DATA, 0, 0);
            expect_bytes(DATA + 0x100, 0, 5);
            expect_bytes(DATA + 0x200, 5, 50);
            expect_bytes(DATA + 0x300, 55, 9);
            mock_ticks(&board, PERIOD);
        }
}

static void large_buffers_in_part(void **state)
{
    start(V1);
    int id = offer(DATA, 0x8000);
    kick();
    expect_back(id, ANSWER);
    expect_bytes(DATA, 0, ANSWER);
    assert_int_equal(answers, ANSWER);
    /* Most of that would not be RAM: nobody gets that far. */
    id = offer(MOCK_MEMORY - ANSWER, UINT32_MAX);
    kick();
    expect_back(id, ANSWER);
    assert_int_equal(in(0x14, 1), 0xf);
}

static void expect_broken(void)
{
    assert_int_equal(in(0x14, 1), 0x4f);
    expect_none();
    kick();
    expect_none();
    start(V1 | INDIRECT); /* nothing but reset helps, and it does */
    mock_ticks(&board, PERIOD);
    int id = offer(DATA, 8);
    kick();
    expect_back(id, 8);
}

static void what_means_nothing(void **state)
{
    struct driver_segment readable[2] = {{DATA, 16, false}, {DATA + 16, 16, false}};
    struct driver_segment mixed[2] = {{DATA, 16, true}, {DATA + 16, 16, false}};

    start(V1 | INDIRECT);
    assert_true(driver_offer(&v, readable, 2, false) >= 0);
    kick();
    expect_broken();
    assert_true(driver_offer(&v, mixed, 2, true) >= 0);
    kick();
    expect_broken();
    assert_true(offer(DATA, 0) >= 0); /* no byte at all */
    kick();
    expect_broken();
    assert_true(offer(MOCK_MEMORY - 8, 16) >= 0); /* not all RAM */
    kick();
    expect_broken();
    assert_true(offer(UINT64_MAX - 3, 16) >= 0);
    kick();
    expect_broken();
    driver_put(&v, v.driver + 2, 1000, 2); /* an index that jumps */
    kick();
    expect_broken();
    driver_put(&v, v.descriptors, DATA, 8); /* a chain that is a loop */
    driver_put(&v, v.descriptors + 8, 16, 4);
    driver_put(&v, v.descriptors + 12, 3, 2);
    driver_put(&v, v.descriptors + 14, 0, 2);
    driver_put(&v, v.driver + 2, v.avail + 1u, 2);
    kick();
    expect_broken();
}

/* What one that breaks its ring has not got is not given to the next. */
static void no_byte_twice(void **state)
{
    start(V1);
    assert_true(offer(MOCK_MEMORY - 8, 16) >= 0);
    kick();
    assert_int_equal(in(0x14, 1), 0x4f);
    uint8_t next = count;
    start(V1);
    count = next;
    mock_ticks(&board, PERIOD);
    int id = offer(DATA, 8);
    kick();
    expect_back(id, 8);
    expect_bytes(DATA, ANSWER, 8);
}

static void rings_that_are_no_ram(void **state)
{
    start(V1);
    out(0x14, 1, 0);
    out(0x14, 1, 3);
    out(8, 4, 1);
    out(12, 4, 1);
    out(0x14, 1, 0xb);
    out(0x20, 8, MOCK_MEMORY);
    out(0x28, 8, UINT64_MAX - 1);
    out(0x30, 8, UINT64_MAX - 3);
    out(0x1c, 2, 1);
    out(0x14, 1, 0xf);
    kick();
    assert_int_equal(in(0x14, 1), 0x4f);
    expect_broken();
}

/* --- the rate --- */

static unsigned take_all(void)
{
    unsigned n = 0;
    uint32_t w;

    while (driver_take(&v, &w) >= 0) {
        assert_int_equal(w, ANSWER);
        n++;
    }
    return n;
}

static void so_many_in_a_period(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | (packed ? PACKED_RING : 0));
        for (unsigned i = 0; i < 11; i++)
            offer(DATA + 0x100 * i, ANSWER);
        answers = 0;
        kick();
        assert_int_equal(take_all(), MOST);
        for (unsigned i = 0; i < 50; i++)
            kick(); /* that changes nothing */
        assert_int_equal(take_all(), 0);
        mock_ticks(&board, PERIOD - 1);
        kick();
        assert_int_equal(take_all(), 0);
        assert_int_equal(in(0x1000, 1), 1);
        mock_ticks(&board, 1);
        assert_int_equal(take_all(), MOST);
        assert_int_equal(in(0x1000, 1), 1);
        assert_int_equal(mock_ticks(&board, PERIOD), 1);
        assert_int_equal(take_all(), 3);
        expect_bytes(DATA + 0x100 * 10, 10 * ANSWER & 0xff, ANSWER);
        assert_int_equal(answers, 11 * ANSWER);
        assert_int_equal(mock_ticks(&board, 10 * PERIOD), 0); /* no timer without need */
    }
}

/* One that asks now and then never waits, and costs no timer. */
static void slowly(void **state)
{
    start(V1);
    for (unsigned i = 0; i < 100; i++) {
        int id = offer(DATA, ANSWER);
        kick();
        expect_back(id, ANSWER);
        assert_int_equal(mock_ticks(&board, PERIOD / MOST + 1), 0);
    }
}

/* As fast as it can, for a second. */
static void fast(void **state)
{
    unsigned n = 0;

    start(V1 | EVENT);
    for (unsigned i = 0; i < 1000; i++) {
        while (offer(DATA, ANSWER) >= 0)
            ;
        kick();
        n += take_all();
        mock_ticks(&board, board.hz / 1000);
        n += take_all();
    }
    assert_uint_in_range(n, 99 * MOST, 102 * MOST);
}

/* A reset does not let a guest have more. */
static void the_rate_over_resets(void **state)
{
    answers = 0;
    for (unsigned i = 0; i < 20; i++) {
        start(V1);
        while (offer(DATA, ANSWER) >= 0)
            ;
        kick();
    }
    assert_uint_in_range(answers, MOST * ANSWER, (MOST + 1) * ANSWER);
    assert_true(bus_idle(&board.bus, true));
    bus_reset(&board.bus);
    start(V1);
    while (offer(DATA, ANSWER) >= 0)
        ;
    kick();
    assert_int_equal(take_all(), 0);
    mock_ticks(&board, PERIOD);
    assert_int_equal(take_all(), MOST);
}

/* --- a source that has nothing --- */

static void nothing_there(void **state)
{
    start(V1);
    there = 0;
    int id = offer(DATA, ANSWER), second = offer(DATA + 0x100, ANSWER);
    kick();
    expect_none();
    assert_int_equal(asked, 1);
    for (unsigned i = 0; i < 10; i++)
        kick();
    assert_int_equal(asked, 1);
    assert_int_equal(mock_ticks(&board, 3 * PERIOD), 3);
    expect_none();
    assert_int_equal(asked, 4);
    there = 5;
    mock_ticks(&board, PERIOD);
    expect_back(id, 5);
    expect_back(second, 5);
    expect_bytes(DATA, 0, 5);
    expect_bytes(DATA + 0x100, 5, 5);
    there = 0; /* and nobody who asks: then nor does it */
    mock_ticks(&board, PERIOD);
    asked = 0;
    kick();
    assert_int_equal(mock_ticks(&board, 10 * PERIOD), 0);
    assert_int_equal(asked, 0);
    there = ANSWER; /* who asks now is answered at once */
    id = offer(DATA + 0x200, ANSWER);
    kick();
    expect_back(id, ANSWER);
}

/* --- resets, saved state, a VM that stands still --- */

static void reset_while_it_waits(void **state)
{
    start(V1);
    for (unsigned i = 0; i < 6; i++)
        offer(DATA + 0x100 * i, ANSWER);
    kick();
    assert_int_equal(take_all(), MOST);
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    memset(board.memory + RINGS, 0x55, 0x2000);
    memset(board.memory + DATA, 0xee, 0x1000);
    assert_int_equal(mock_ticks(&board, 2 * PERIOD), 0);
    for (unsigned i = 0; i < 0x2000; i++)
        assert_int_equal(board.memory[RINGS + i], 0x55);
    for (unsigned i = 0; i < 0x1000; i++)
        assert_int_equal(board.memory[DATA + i], 0xee);
    assert_false(board.irq[10]);
    start(V1);
    int id = offer(DATA, ANSWER);
    kick();
    expect_back(id, ANSWER);
}

static void saved_while_it_waits(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | (packed ? PACKED_RING : 0));
        for (unsigned i = 0; i < 6; i++)
            offer(DATA + 0x100 * i, ANSWER);
        kick();
        assert_int_equal(take_all(), MOST);
        mock_ticks(&board, PERIOD / 2);
        assert_true(mock_round_trip(&board));
        kick();
        assert_int_equal(take_all(), 0);
        mock_ticks(&board, PERIOD / 2);
        assert_int_equal(take_all(), 2);
        mock_ticks(&board, PERIOD);
    }
}

/* The last section's end: waiting, left, renewal; as from elsewhere, of a moment that is far away,
 * with more answers than there are. */
static void load_tampered(bool waiting)
{
    static uint8_t data[8192];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    bus_save(&board.bus, &w);
    r.size = w.used;
    assert_int_equal(data[w.used - 10], waiting);
    data[w.used - 9] = 0xff;
    memset(data + w.used - 8, 0xff, 8);
    bus_reset(&board.bus);
    assert_int_equal(bus_load(&board.bus, &r), 0);
}

static void loaded_from_another_time(void **state)
{
    start(V1);
    for (unsigned i = 0; i < 16; i++)
        offer(DATA, ANSWER);
    kick();
    assert_int_equal(take_all(), MOST);
    load_tampered(true);
    kick();
    assert_int_equal(take_all(), 0);
    for (unsigned i = 0; i < 3; i++) {
        mock_ticks(&board, PERIOD);
        assert_int_equal(take_all(), MOST);
    }
    mock_ticks(&board, PERIOD);
    load_tampered(false);
    for (unsigned i = 0; i < 16; i++)
        offer(DATA, ANSWER);
    kick();
    assert_int_equal(take_all(), MOST);
    mock_ticks(&board, PERIOD);
    assert_int_equal(take_all(), MOST);
}

/* It has nothing under way when its VM stands still or ends, and begins nothing then. */
static void still(void **state)
{
    start(V1);
    for (unsigned i = 0; i < 6; i++)
        offer(DATA, ANSWER);
    kick();
    assert_int_equal(take_all(), MOST);
    assert_true(bus_idle(&board.bus, false));
    mock_ticks(&board, PERIOD);
    assert_int_equal(take_all(), 2);
    assert_true(bus_idle(&board.bus, true));
    offer(DATA, ANSWER);
    kick();
    mock_ticks(&board, 2 * PERIOD);
    assert_int_equal(take_all(), 0);
    bus_reset(&board.bus);
}

/* The queue is not looked at before DRIVER_OK, and then at once. */
static void offered_before_it_runs(void **state)
{
    start(V1);
    out(0x14, 1, 0);
    out(0x14, 1, 3);
    out(8, 4, 1);
    out(12, 4, 1);
    out(0x14, 1, 0xb);
    driver_init(&v, &board, false, DRIVER_SIZE, RINGS);
    out(0x18, 2, DRIVER_SIZE);
    out(0x20, 8, v.descriptors);
    out(0x28, 8, v.driver);
    out(0x30, 8, v.device);
    out(0x1c, 2, 1);
    int id = offer(DATA, ANSWER);
    kick();
    expect_none();
    out(0x14, 1, 0xf);
    expect_back(id, ANSWER);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_seen),
        TEST(none_without_the_key),
        TEST(buffers_are_filled),
        TEST(pieces),
        TEST(large_buffers_in_part),
        TEST(what_means_nothing),
        TEST(no_byte_twice),
        TEST(rings_that_are_no_ram),
        TEST(so_many_in_a_period),
        TEST(slowly),
        TEST(fast),
        TEST(the_rate_over_resets),
        TEST(nothing_there),
        TEST(reset_while_it_waits),
        TEST(saved_while_it_waits),
        TEST(loaded_from_another_time),
        TEST(still),
        TEST(offered_before_it_runs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
