/* links: guest/devices/virtio/balloon.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/board/msix.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-balloon by a driver that finds it on the bus. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "guest/devices/virtio/balloon.h"
#include "tests/unit/virtio_function.h"

#define RINGS(q) (0x1000u + 0x3000u * (q)) /* rings, and tables */
#define DATA     (overcommits ? 0xd000u : 0xa000u)
#define LOW      256u /* pages below 1 MiB */
#define AT_ONCE  1024u
#define RETRY    12000000u /* ticks of the mock's TSC: a two-hundredth of a second */

enum { INFLATE, DEFLATE, STATS, REPORT, ALL_QUEUES };
#define QUEUES    (overcommits ? ALL_QUEUES : REPORT)
#define REPORTING 32u /* feature */

extern const struct device_class virtio_balloon_class;

static struct device_list devices;
static struct device *balloon;
static struct driver v[ALL_QUEUES];
static bool wanted, overcommits;

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    assert_string_equal(key, "balloon");
    *length = 3;
    return wanted && index == 0 ? "yes" : NULL;
}

/* --- the driver --- */

static void begin(uint64_t features)
{
    negotiate(features);
    for (unsigned q = 0; q < QUEUES; q++) {
        driver_init(&v[q], &board, features & PACKED_RING, DRIVER_SIZE, RINGS(q));
        out(0x16, 2, q);
        out(0x18, 2, DRIVER_SIZE);
        out(0x20, 8, v[q].descriptors);
        out(0x28, 8, v[q].driver);
        out(0x30, 8, v[q].device);
        out(0x1a, 2, q + 1);
        out(0x1c, 2, 1);
    }
    memset(board.memory + DATA, 0, MOCK_MEMORY - DATA);
}

static void start(uint64_t features)
{
    begin(features);
    out(0x14, 1, 0xf);
    assert_int_equal(in(0x14, 1), 0xf);
}

static void kick(unsigned q)
{
    out(0x3000 + 4 * q, 2, q);
}

/* count page numbers from first on, each one more, at gpa. */
static void pages(uint32_t gpa, uint32_t first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        driver_put(&v[0], gpa + 4 * i, first + i, 4);
}

static int offer(unsigned q, uint32_t first, unsigned count)
{
    struct driver_segment s = {DATA, 4 * count, false};

    pages(DATA, first, count);
    return driver_offer(&v[q], &s, 1, false);
}

static bool is_back(unsigned q, int id)
{
    uint32_t written = 77;
    int taken = driver_take(&v[q], &written);

    if (taken < 0)
        return false;
    assert_int_equal(taken, id);
    assert_int_equal(written, 0);
    return true;
}

static void done(unsigned q, uint32_t first, unsigned count)
{
    int id = offer(q, first, count);

    kick(q);
    mock_ticks(&board, 1);
    assert_true(is_back(q, id));
}

static struct balloon_state look(void)
{
    struct balloon_state s;

    balloon_look(balloon, &s);
    return s;
}

static int setup_with(bool yes)
{
    static const struct device_class *const classes[] = {&pci_class, &virtio_balloon_class};
    static struct device_host host;
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    host = (struct device_host){.line = line, .overcommits = overcommits};
    wanted = yes;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    if (device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    bus_reset(&board.bus);
    balloon = device_list_find(&devices, &virtio_balloon_class, 0);
    return 0;
}

static int setup(void **state)
{
    overcommits = false;
    return setup_with(true);
}

static int setup_without_promise(void **state)
{
    overcommits = true;
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
    assert_int_equal(config(0, 4), 0x10451af4);
    assert_int_equal(config(PCI_REVISION, 4), 0xff000001);
    config_write(PCI_COMMAND, 2, 2);
    out(0, 4, 0);
    assert_int_equal(in(4, 4), INDIRECT | EVENT | 7);
    out(0, 4, 1);
    assert_int_equal(in(4, 4), 5);
    assert_int_equal(in(0x12, 2), 3); /* queues */
    assert_int_equal(in(0x2000, 8), 0);
    assert_int_equal(teardown(NULL), 0);
    assert_int_equal(setup_with(false), 0);
    assert_true(config(0, 4) == UINT32_MAX);
    assert_null(balloon);
}

static void there_and_back(void **state)
{
    static const uint64_t kinds[] = {0, PACKED_RING, EVENT, PACKED_RING | EVENT};

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        start(V1 | INDIRECT | kinds[i]);
        int id = offer(INFLATE, 0x300, 256);
        kick(INFLATE);
        assert_true(is_back(INFLATE, id));
        assert_int_equal(board.all_given, 256);
        assert_true(board.given[0x300] && board.given[0x3ff] && !board.given[0x400]);
        assert_int_equal(board.leaving, 0);
        assert_true(board.irq[10]);
        assert_int_equal(in(0x1000, 1), 1);
        unsigned told = board.told;
        done(DEFLATE, 0x340, 64);
        assert_true(board.told > told); /* what leaves has left before it is another one's */
        assert_int_equal(board.all_given, 192);
        assert_false(board.given[0x340] || board.given[0x37f]);
        done(DEFLATE, 0x300, 64);
        done(DEFLATE, 0x380, 128);
        assert_int_equal(board.all_given, 0);
        assert_int_equal(look().kept, 0);
        assert_true(mock_ticks(&board, 10 * RETRY) <= 1);
        assert_int_equal(mock_ticks(&board, 10 * RETRY), 0); /* no timer without need */
        in(0x1000, 1);
    }
}

/* Page numbers that cross descriptors, come twice, are below 1 MiB, no RAM, or not whole. */
static void of_any_shape(void **state)
{
    struct driver_segment s[] = {
        {DATA, 5, false}, {DATA + 5, 6, false}, {DATA + 11, 8, false}, {DATA + 0x100, 4, true}};

    for (unsigned kind = 0; kind < 4; kind++) {
        start(V1 | INDIRECT | (kind & 1 ? PACKED_RING : 0));
        pages(DATA, 0x500, 4);
        driver_put(&v[0], DATA + 16, 0xffffff, 3);
        int id = driver_offer(&v[INFLATE], s, 4, kind & 2);
        kick(INFLATE);
        assert_true(is_back(INFLATE, id));
        assert_int_equal(board.all_given, 4);
        assert_true(board.given[0x500] && board.given[0x503]);
        done(DEFLATE, 0x500, 4);
    }
    for (unsigned i = 0; i < 3; i++)
        done(INFLATE, 0x600, 2);
    assert_int_equal(board.all_given, 2);
    assert_int_equal(look().kept, 0);
    done(INFLATE, LOW - 2, 3); /* but for the last one */
    assert_int_equal(board.all_given, 3);
    assert_true(board.given[LOW]);
    assert_int_equal(look().kept, 2);
    done(INFLATE, MOCK_PAGES - 1, 3);
    done(INFLATE, UINT32_MAX, 1);
    assert_int_equal(board.all_given, 4);
    done(DEFLATE, UINT32_MAX, 1);
    done(DEFLATE, 0, 500);
    assert_int_equal(board.all_given, 3);
    done(INFLATE, 0, 0); /* zero-length descriptors mean nothing: a chain of no page */
    assert_int_equal(in(0x14, 1), 0xf);
}

static void what_stays(void **state)
{
    static const int errors[] = {-EBUSY, -ENOMEM};

    start(V1);
    for (unsigned i = 0; i < 2; i++) {
        board.give_error = errors[i];
        done(INFLATE, 0x400, 10);
        assert_int_equal(look().kept, 10 * (i + 1));
    }
    assert_int_equal(board.all_given, 0);
}

/* --- how much at once --- */

static void so_many_at_once(void **state)
{
    struct driver_segment s[8];

    for (unsigned kind = 0; kind < 4; kind++) {
        start(V1 | INDIRECT | (kind & 1 ? PACKED_RING : 0));
        mock_ticks(&board, 1);
        pages(DATA, 0x200, 0x800);
        for (unsigned i = 0; i < 8; i++)
            s[i] = (struct driver_segment){DATA + 0x400 * i, 0x400, false};
        int id = driver_offer(&v[INFLATE], s, 8, kind & 2);
        kick(INFLATE);
        assert_false(is_back(INFLATE, id));
        assert_uint_in_range(board.all_given, 1, AT_ONCE);
        unsigned given = board.all_given;
        for (unsigned i = 0; i < 50; i++)
            kick(INFLATE); /* that changes nothing */
        kick(DEFLATE);
        assert_int_equal(board.all_given, given);
        assert_true(mock_round_trip(&board)); /* nor does that */
        unsigned steps = 0;
        while (!is_back(INFLATE, id)) {
            board.now++;
            bus_run_timers(&board.bus, board.now);
            assert_true(board.all_given <= given + AT_ONCE);
            given = board.all_given;
            assert_true(steps++ < 4);
        }
        assert_int_equal(board.all_given, 0x800);
        mock_ticks(&board, 100);
        id = driver_offer(&v[DEFLATE], s, 8, kind & 2);
        kick(DEFLATE);
        mock_ticks(&board, 100);
        assert_true(is_back(DEFLATE, id));
        assert_int_equal(board.all_given, 0);
        mock_ticks(&board, RETRY);
    }
}

/* Where frames have to leave first it goes on after a while; none is forgotten, none done twice. */
static void no_place_to_leave(void **state)
{
    start(V1);
    board.leaving_most = 100;
    int id = offer(INFLATE, 0x200, 250);
    kick(INFLATE);
    assert_int_equal(board.all_given, 100);
    assert_int_equal(board.leaving, 0); /* they are told of */
    assert_false(is_back(INFLATE, id));
    assert_int_equal(mock_ticks(&board, RETRY), 1);
    assert_int_equal(board.all_given, 200);
    assert_int_equal(mock_ticks(&board, RETRY), 1);
    assert_true(is_back(INFLATE, id));
    assert_int_equal(board.all_given, 250);
    assert_int_equal(mock_ticks(&board, 10 * RETRY), 0);
}

/* Pages that are wanted back wait for memory, and what comes behind them waits, too. */
static void no_memory(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(V1 | (packed ? PACKED_RING : 0));
        done(INFLATE, 0x200, 20);
        board.frames = 7;
        int id = offer(DEFLATE, 0x200, 20);
        kick(DEFLATE);
        assert_int_equal(board.all_given, 13);
        assert_true(look().starved);
        assert_false(is_back(DEFLATE, id));
        assert_int_equal(mock_ticks(&board, 3 * RETRY), 3);
        assert_false(is_back(DEFLATE, id));
        board.frames = 1;
        assert_true(mock_round_trip(&board));
        mock_ticks(&board, RETRY);
        assert_int_equal(board.all_given, 12);
        assert_true(look().starved);
        board.frames = 100;
        mock_ticks(&board, RETRY);
        assert_true(is_back(DEFLATE, id));
        assert_int_equal(board.all_given, 0);
        assert_false(look().starved);
        assert_int_equal(mock_ticks(&board, 10 * RETRY), 0);
    }
}

/* --- what the owner wants --- */

static void resized(void **state)
{
    start(V1);
    assert_false(board.irq[10]);
    uint8_t generation = (uint8_t)in(0x15, 1);
    balloon_set(balloon, 0x1234);
    assert_int_equal(in(0x2000, 4), 0x1234);
    assert_int_not_equal(in(0x15, 1), generation);
    assert_true(board.irq[10]);
    assert_int_equal(in(0x1000, 1), 2);
    out(0x2000, 4, 5); /* is not the driver's */
    out(0x2004, 4, 0x1000);
    out(0x2004, 2, 7);
    out(0x2006, 2, 7);
    out(0x2005, 4, 7);
    out(0x2008, 4, 7);
    assert_true(in(0x2000, 8) == 0x100000001234);
    struct balloon_state s = look();
    assert_int_equal(s.target, 0x1234);
    assert_int_equal(s.actual, 0x1000);
    assert_true(s.running);
    /* A reset knows what it is to be, not what was in it. */
    out(0x14, 1, 0);
    s = look();
    assert_int_equal(s.target, 0x1234);
    assert_int_equal(s.actual, 0);
    assert_false(s.running);
    balloon_set(balloon, 3);
    assert_false(board.irq[10]); /* nobody to tell */
    begin(V1);
    assert_int_equal(in(0x2000, 4), 3);
    bus_idle(&board.bus, true);
    bus_reset(&board.bus);
    config_write(PCI_COMMAND, 2, 2);
    assert_int_equal(in(0x2000, 4), 3);
}

/* --- statistics --- */

static int tell(const uint16_t *tag, const uint64_t *value, unsigned count)
{
    struct driver_segment s = {DATA, 10 * count, false};

    for (unsigned i = 0; i < count; i++) {
        driver_put(&v[STATS], DATA + 10 * i, tag[i], 2);
        driver_put(&v[STATS], DATA + 10 * i + 2, value[i], 8);
    }
    return driver_offer(&v[STATS], &s, 1, false);
}

static void statistics(void **state)
{
    static const uint64_t kinds[] = {0, PACKED_RING, EVENT, PACKED_RING | EVENT};
    const uint16_t tags[] = {4, 5, 77, 0, 8, 6};
    const uint64_t values[] = {100, 200, 300, 400, 500, 600}, others[] = {1, 2, 3, 4, 5, 6};

    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        unsigned before = look().updates;
        start(V1 | kinds[i]);
        assert_int_equal(look().known, 0);
        balloon_ask(balloon); /* nobody has said anything yet */
        int id = tell(tags, values, 6);
        kick(STATS);
        assert_false(is_back(STATS, id));
        struct balloon_state s = look();
        assert_int_equal(s.updates, before + 1);
        assert_int_equal(s.known, 0x71);
        assert_int_equal(s.stat[BALLOON_FREE], 100);
        assert_int_equal(s.stat[BALLOON_TOTAL], 200);
        assert_int_equal(s.stat[BALLOON_SWAP_IN], 400);
        assert_int_equal(s.stat[BALLOON_AVAILABLE], 600);
        kick(STATS); /* without reason */
        assert_int_equal(look().updates, before + 1);
        assert_false(board.irq[10]);
        assert_true(mock_round_trip(&board));
        before = look().updates;
        for (unsigned n = 0; n < 20; n++) {
            balloon_ask(balloon);
            assert_true(is_back(STATS, id));
            assert_true(board.irq[10]);
            in(0x1000, 1);
            balloon_ask(balloon);
            assert_int_equal(look().updates, before + n);
            if (kinds[i] == EVENT)
                driver_put(&v[STATS], v[STATS].driver + 4 + 2 * v[STATS].size, v[STATS].used, 2);
            id = tell(tags, others, 2);
            kick(STATS);
            s = look();
            assert_int_equal(s.updates, before + 1 + n);
            assert_int_equal(s.known, 0x30);
            assert_int_equal(s.stat[BALLOON_FREE], 1);
        }
    }
    out(0x14, 1, 0);
    balloon_ask(balloon);
    assert_int_equal(look().known, 0);
}

/* --- what means nothing --- */

static void expect_broken(void)
{
    assert_int_equal(in(0x14, 1), 0x4f);
    for (unsigned q = 0; q < QUEUES; q++)
        kick(q);
    mock_ticks(&board, 2 * RETRY);
    balloon_ask(balloon);
    start(V1 | INDIRECT); /* nothing but reset helps, and it does */
    done(INFLATE, 0x700, 1);
    done(DEFLATE, 0x700, 1);
}

static void broken(void **state)
{
    struct driver_segment out_of_ram = {MOCK_MEMORY - 8, 16, false};

    start(V1 | INDIRECT);
    for (unsigned q = 0; q < QUEUES; q++) {
        unsigned given = board.all_given;
        driver_offer(&v[q], &out_of_ram, 1, false);
        kick(q);
        assert_int_equal(board.all_given, given);
        expect_broken();
        driver_put(&v[q], v[q].driver + 2, 1000, 2); /* an index that jumps */
        kick(q);
        expect_broken();
    }
    /* While more than can be done at once is under way. */
    mock_ticks(&board, RETRY);
    int id = offer(INFLATE, 0x100, 0xf00);
    kick(INFLATE);
    assert_false(is_back(INFLATE, id));
    driver_put(&v[INFLATE], v[INFLATE].descriptors + 8, 0xffffffff, 4);
    mock_ticks(&board, RETRY);
    expect_broken();
}

/* Another vCPU offers and takes back for ever: each exit comes to its end. */
static void flickers(void **state)
{
    start(V1);
    board.flickers = v[INFLATE].driver + 2;
    board.flicker = 1;
    for (unsigned i = 0; i < 10; i++) {
        board.flicks = 0;
        kick(INFLATE);
        assert_true(board.flicks < 5 * AT_ONCE);
        board.flicks = 0;
        board.now++;
        bus_run_timers(&board.bus, board.now);
        assert_true(board.flicks < 5 * AT_ONCE);
    }
    board.flickers = 0;
}

/* What a reset ends is over: no page that comes late. */
static void reset_in_between(void **state)
{
    start(V1);
    int id = offer(INFLATE, 0x100, 0xf00);
    kick(INFLATE);
    assert_false(is_back(INFLATE, id));
    unsigned given = board.all_given;
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    assert_int_equal(mock_ticks(&board, 10 * RETRY), 0);
    assert_int_equal(board.all_given, given);
    start(V1);
    id = offer(INFLATE, 0xe00, 1); /* from its first page on */
    kick(INFLATE);
    mock_ticks(&board, RETRY);
    assert_true(is_back(INFLATE, id));
    assert_true(board.given[0xe00]);
    assert_true(bus_idle(&board.bus, true));
    offer(INFLATE, 0xfff, 1);
    kick(INFLATE);
    mock_ticks(&board, RETRY);
    assert_false(board.given[0xfff]);
    bus_reset(&board.bus);
}

/* --- what is free in the guest --- */

static void expect_blocks(unsigned mask)
{
    for (unsigned i = 0; i < MOCK_PAGES; i++)
        assert_int_equal(board.given[i], mask >> (i / 512) & 1);
}

static void forget_given(void)
{
    memset(board.given, 0, sizeof(board.given));
    board.all_given = 0;
}

/* Whole blocks in it are given; it comes back when no processor has them, and not before. */
static void reported(void **state)
{
    struct driver_segment s[] = {{0x200000, 0x400000, true},
                                 {0x600000 + 4096, 0x400000, true}, /* one that is whole */
                                 {0xc00000, 0x1fffff, true},
                                 {0xe00000, 0x200000, false}};

    start(V1 | INDIRECT); /* who does not know of it */
    for (unsigned kind = 0; kind < 4; kind++) {
        start(V1 | INDIRECT | REPORTING | (kind & 1 ? PACKED_RING : 0));
        forget_given();
        board.unsettled = true;
        int id = driver_offer(&v[REPORT], s, 3, kind & 2);
        kick(REPORT);
        expect_blocks(0x16);
        assert_false(is_back(REPORT, id));
        assert_int_equal(mock_ticks(&board, 3 * RETRY), 3);
        assert_false(is_back(REPORT, id));
        assert_true(mock_round_trip(&board));
        board.unsettled = false;
        unsigned told = board.told;
        mock_ticks(&board, 2 * RETRY);
        assert_true(is_back(REPORT, id));
        assert_true(board.told > told);
        assert_int_equal(mock_ticks(&board, 10 * RETRY), 0);
        expect_blocks(0x16);
    }
    /* What is free already, or none at all, waits for nothing. */
    int id = driver_offer(&v[REPORT], s, 3, false);
    kick(REPORT);
    assert_true(is_back(REPORT, id));
    id = driver_offer(&v[REPORT], &s[2], 1, false);
    kick(REPORT);
    assert_true(is_back(REPORT, id));
    assert_int_equal(look().kept, 0);
    /* Below 1 MiB nothing is; and what hardware has just then stays. */
    struct driver_segment low = {0, 0x200000, true};
    forget_given();
    id = driver_offer(&v[REPORT], &low, 1, false);
    kick(REPORT);
    assert_true(is_back(REPORT, id));
    board.give_error = -EBUSY;
    id = driver_offer(&v[REPORT], s, 1, false);
    kick(REPORT);
    assert_true(is_back(REPORT, id));
    expect_blocks(0);
}

static void reported_a_lot(void **state)
{
    struct driver_segment huge[3] = {
        {0x200000, 0xffe00000, true}, {0, 0xffffffff, true}, {0x12345678, 0xffffffff, true}};

    start(V1 | REPORTING);
    board.leaving_most = 3;
    int id = driver_offer(&v[REPORT], huge, 3, false);
    kick(REPORT);
    assert_int_equal(board.all_given, 3 * 512);
    unsigned steps = 0;
    while (!is_back(REPORT, id)) {
        steps += mock_ticks(&board, RETRY);
        assert_true(steps < 20);
    }
    assert_true(steps > 5); /* some six thousand blocks, a thousand at a time */
    expect_blocks(0xfe);
    /* A reset ends it in the middle. */
    forget_given();
    board.unsettled = true;
    id = driver_offer(&v[REPORT], huge, 1, false);
    kick(REPORT);
    assert_false(is_back(REPORT, id));
    out(0x14, 1, 0);
    assert_int_equal(mock_ticks(&board, 10 * RETRY), 0);
    board.unsettled = false;
    start(V1 | REPORTING);
    struct driver_segment one = {0xe00000, 0x200000, true};
    forget_given();
    id = driver_offer(&v[REPORT], &one, 1, false);
    kick(REPORT);
    mock_ticks(&board, 2 * RETRY);
    assert_true(is_back(REPORT, id));
    expect_blocks(0x80);
}

static void reporting_is_seen(void **state)
{
    config_write(PCI_COMMAND, 2, 2);
    out(0, 4, 0);
    assert_int_equal(in(4, 4), INDIRECT | EVENT | REPORTING | 7);
    assert_int_equal(in(0x12, 2), 4);
}

int main(void)
{
#define TEST(t)    cmocka_unit_test_setup_teardown(t, setup, teardown)
#define REPORTS(t) cmocka_unit_test_setup_teardown(t, setup_without_promise, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_seen), TEST(there_and_back),    TEST(of_any_shape),
        TEST(what_stays),   TEST(so_many_at_once),   TEST(no_place_to_leave),
        TEST(no_memory),    TEST(resized),           TEST(statistics),
        TEST(broken),       TEST(flickers),          TEST(reset_in_between),
        REPORTS(reported),  REPORTS(reported_a_lot), REPORTS(reporting_is_seen),

    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
