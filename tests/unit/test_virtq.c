/* links: guest/devices/virtio/queue.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* Virtqueues against a driver that keeps to Virtio 1.2, and against some that do not. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/devices/virtio/queue.h"
#include "tests/unit/virtq_driver.h"

#define RINGS 0x1000
#define DATA  0x8000

static struct board board;
static struct device dev = {.board = &board};
static struct virtq q;
static struct driver v;
static struct virtq_chain chain;

static void start(bool packed, bool event_idx)
{
    mock_init(&board);
    driver_init(&v, &board, packed, DRIVER_SIZE, RINGS);
    q = (struct virtq){
        .dev = &dev,
        .descriptors = v.descriptors,
        .driver = v.driver,
        .device = v.device,
        .size = DRIVER_SIZE,
        .enabled = true,
        .packed = packed,
        .event_idx = event_idx,
        .indirect = true,
    };
    virtq_start(&q);
}

static const struct driver_segment three[] = {
    {DATA, 16, false}, {DATA + 0x100, 512, true}, {DATA + 0x800, 1, true}};

static void test_one_chain(void **state)
{
    uint32_t written;

    for (unsigned kind = 0; kind < 4; kind++) {
        start(kind & 1, false);
        assert_int_equal(virtq_next(&q, &chain), 0);
        int id = driver_offer(&v, three, 3, kind & 2);
        assert_int_equal(virtq_next(&q, &chain), 1);
        assert_int_equal(chain.id, id);
        assert_int_equal(chain.count, 3);
        assert_int_equal(chain.readable, 1);
        assert_int_equal(chain.slots, kind & 2 ? 1 : 3);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(chain.segment[i].gpa, three[i].gpa);
            assert_int_equal(chain.segment[i].length, three[i].length);
        }
        assert_int_equal(virtq_next(&q, &chain), 0);
        assert_int_equal(driver_take(&v, &written), -1);
        chain.id = (uint16_t)id;
        chain.slots = kind & 2 ? 1 : 3;
        virtq_return(&q, &chain, 513);
        assert_int_equal(driver_take(&v, &written), id);
        assert_int_equal(written, 513);
        assert_int_equal(driver_take(&v, &written), -1);
    }
}

/* A descriptor of nothing is none. */
static void test_empty_segments(void **state)
{
    static const struct driver_segment s[] = {
        {DATA, 0, false}, {DATA, 1, false}, {0, 0, false}, {DATA + 1, 2, true}, {DATA, 0, false}};

    for (unsigned kind = 0; kind < 4; kind++) {
        start(kind & 1, false);
        assert_true(driver_offer(&v, s, 5, kind & 2) >= 0);
        assert_int_equal(virtq_next(&q, &chain), 1);
        assert_int_equal(chain.count, 2);
        assert_int_equal(chain.readable, 1);
        assert_int_equal(chain.slots, kind & 2 ? 1 : 5);
    }
}

/* Everything at once, for long: many chains of any shape on their way, which come back in any
 * order, a queue that is saved and loaded in between, indices that wrap. */
static void mixed(bool packed, bool event_idx)
{
    static struct virtq_chain held[DRIVER_SIZE];
    unsigned holding = 0, offered = 0, taken = 0;
    uint32_t sums[DRIVER_SIZE] = {0}, written;
    uint8_t saved[256];

    start(packed, event_idx);
    for (unsigned step = 0; step < 400000; step++) {
        unsigned what = (unsigned)random() % 5;
        if (what < 2) {
            struct driver_segment s[8];
            unsigned n = 1 + (unsigned)random() % 8, readable = (unsigned)random() % (n + 1);
            uint32_t sum = 0;
            for (unsigned i = 0; i < n; i++) {
                s[i] = (struct driver_segment){DATA + (uint64_t)(random() % 0x4000),
                                               (uint32_t)(1 + random() % 0x1000), i >= readable};
                sum += (uint32_t)(s[i].length * (i + 1) + s[i].gpa);
            }
            int id = driver_offer(&v, s, n, random() % 2);
            if (id >= 0) {
                sums[id] = sum;
                offered++;
            }
        } else if (what == 2 && holding < DRIVER_SIZE) {
            int result = virtq_next(&q, &held[holding]);
            assert_true(result == 0 || result == 1);
            holding += (unsigned)result;
        } else if (what == 3 && holding) {
            unsigned which = (unsigned)random() % holding;
            virtq_return(&q, &held[which], step);
            held[which] = held[--holding];
        } else if (what == 4) {
            int id = driver_take(&v, &written);
            if (id >= 0) {
                assert_true(written <= step);
                taken++;
            }
        }
        if (what == 2 && holding) {
            const struct virtq_chain *c = &held[holding - 1];
            uint32_t sum = 0;
            for (unsigned i = 0; i < c->count; i++)
                sum += (uint32_t)(c->segment[i].length * (i + 1) + c->segment[i].gpa);
            assert_int_equal(sum, sums[c->id]);
        }
        if (random() % 64 == 0) {
            struct state_writer w = {.data = saved, .capacity = sizeof(saved)};
            state_begin(&w, "q", 1);
            virtq_save(&q, &w);
            state_end(&w);
            struct virtq back = {
                .dev = &dev, .packed = packed, .event_idx = event_idx, .indirect = true};
            struct state_reader r = {.data = saved, .size = w.used};
            assert_int_equal(state_enter(&r, "q", 1), 0);
            assert_true(virtq_load(&back, &r));
            assert_int_equal(state_leave(&r), 0);
            assert_memory_equal(&back, &q, sizeof(q));
            q = back;
        }
        assert_false(q.broken);
    }
    assert_true(taken > 50000);
    assert_true(offered - taken <= 2 * DRIVER_SIZE);
}

static void test_mixed(void **state)
{
    srandom(7);
    for (unsigned kind = 0; kind < 4; kind++)
        mixed(kind & 1, kind & 2);
}

/* --- event suppression --- */

/* One chain there and back. */
static void round_trip(void)
{
    uint32_t written;

    assert_true(driver_offer(&v, three, 1, false) >= 0);
    assert_int_equal(virtq_next(&q, &chain), 1);
    virtq_return(&q, &chain, 0);
    assert_true(driver_take(&v, &written) >= 0);
}

static void test_interrupts_split(void **state)
{
    start(false, false);
    assert_false(virtq_interrupts(&q)); /* nothing was returned */
    round_trip();
    assert_true(virtq_interrupts(&q));
    assert_false(virtq_interrupts(&q));
    driver_put(&v, v.driver, 1, 2);
    round_trip();
    assert_false(virtq_interrupts(&q));

    start(false, true);
    driver_put(&v, v.driver, 1, 2); /* means nothing with EVENT_IDX */
    for (unsigned i = 0; i < 70000; i++) {
        uint16_t wanted = (uint16_t)(i / 3 * 3 + 2); /* each third */
        driver_put(&v, v.driver + 4 + 2 * DRIVER_SIZE, wanted, 2);
        round_trip();
        assert_int_equal(virtq_interrupts(&q), (uint16_t)i == wanted);
    }
}

static void test_interrupts_packed(void **state)
{
    for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
        start(true, event_idx);
        round_trip();
        assert_true(virtq_interrupts(&q));
        assert_false(virtq_interrupts(&q));
        driver_put(&v, v.driver + 2, 1, 2);
        round_trip();
        assert_false(virtq_interrupts(&q));
        driver_put(&v, v.driver + 2, 0, 2);
        round_trip();
        assert_true(virtq_interrupts(&q));
    }
    start(true, true);
    for (unsigned i = 0; i < 1000; i++) {
        unsigned wanted = i / 5 * 5 + 4;
        driver_put(&v, v.driver, wanted % DRIVER_SIZE | (wanted / DRIVER_SIZE % 2 ? 0 : 0x8000), 2);
        driver_put(&v, v.driver + 2, 2, 2);
        round_trip();
        assert_int_equal(virtq_interrupts(&q), i == wanted);
    }
}

/* When the driver is to notify, and that what came in between is not missed. */
static void test_notifications(void **state)
{
    uint64_t avail_event = 0x1800 + RINGS + 4 + 8 * DRIVER_SIZE;

    for (unsigned kind = 0; kind < 4; kind++) {
        bool packed = kind & 1, event_idx = kind & 2;
        start(packed, event_idx);
        for (unsigned i = 0; i < 20; i++)
            round_trip();
        virtq_silence(&q);
        if (packed)
            assert_int_equal(driver_get(&v, v.device + 2, 2), 1);
        else if (!event_idx)
            assert_int_equal(driver_get(&v, v.device, 2), 1);
        assert_false(virtq_listen(&q));
        if (packed && event_idx) {
            assert_int_equal(driver_get(&v, v.device, 2), 4); /* 20 = 16 + 4, second round */
            assert_int_equal(driver_get(&v, v.device + 2, 2), 2);
        } else if (packed) {
            assert_int_equal(driver_get(&v, v.device + 2, 2), 0);
        } else if (event_idx) {
            assert_int_equal(driver_get(&v, avail_event, 2), 20);
        } else {
            assert_int_equal(driver_get(&v, v.device, 2), 0);
        }
        virtq_silence(&q);
        assert_true(driver_offer(&v, three, 2, false) >= 0);
        assert_true(virtq_listen(&q));
    }
}

/* --- drivers that do not keep to it --- */

static void expect_broken(void)
{
    assert_int_equal(virtq_next(&q, &chain), -EBADMSG);
    assert_true(q.broken);
    uint8_t before[MOCK_MEMORY];
    memcpy(before, board.memory, sizeof(before));
    assert_int_equal(virtq_next(&q, &chain), -EBADMSG);
    chain.id = 0;
    chain.slots = 1;
    virtq_return(&q, &chain, 1);
    assert_false(virtq_interrupts(&q));
    assert_false(virtq_listen(&q));
    assert_memory_equal(board.memory + RINGS, before + RINGS, 0x1800);
}

static void descriptor(unsigned at, uint64_t gpa, uint32_t length, uint16_t flags, uint16_t next)
{
    driver_put(&v, v.descriptors + 16 * at, gpa, 8);
    driver_put(&v, v.descriptors + 16 * at + 8, length, 4);
    driver_put(&v, v.descriptors + 16 * at + 12, v.packed ? 0 : flags, 2);
    driver_put(&v, v.descriptors + 16 * at + 14, v.packed ? flags | 0x80 : next, 2);
}

/* Split: entry 0 of the ring names descriptor 0. */
static void make_available(void)
{
    driver_put(&v, v.driver + 2, 1, 2);
}

static void test_index_jumps(void **state)
{
    start(false, false);
    driver_put(&v, v.driver + 2, DRIVER_SIZE + 1, 2);
    expect_broken();
    start(false, false);
    driver_put(&v, v.driver + 2, 0xffff, 2);
    expect_broken();
    uint8_t saved[256]; /* broken as it is, it can be saved and loaded */
    struct state_writer w = {.data = saved, .capacity = sizeof(saved)};
    state_begin(&w, "q", 1);
    virtq_save(&q, &w);
    state_end(&w);
    struct state_reader r = {.data = saved, .size = w.used};
    assert_int_equal(state_enter(&r, "q", 1), 0);
    assert_true(virtq_load(&q, &r));
    start(false, false);
    driver_put(&v, v.driver + 2, DRIVER_SIZE, 2);
    descriptor(0, DATA, 1, 0, 0);
    for (unsigned i = 0; i < DRIVER_SIZE; i++) /* the same one again and again: its own affair */
        assert_int_equal(virtq_next(&q, &chain), 1);
    assert_int_equal(virtq_next(&q, &chain), 0);
}

static void test_head_is_none(void **state)
{
    start(false, false);
    driver_put(&v, v.driver + 4, DRIVER_SIZE, 2);
    make_available();
    expect_broken();
}

static void test_loops(void **state)
{
    start(false, false);
    descriptor(0, DATA, 0, 1, 1); /* even if nothing is in them */
    descriptor(1, DATA, 0, 1, 0);
    make_available();
    expect_broken();

    start(true, false);
    for (unsigned i = 0; i < DRIVER_SIZE; i++)
        descriptor(i, DATA, 0, 1, 0);
    expect_broken();

    start(false, false);
    descriptor(0, DATA, 64, 4, 0);
    driver_put(&v, DATA + 12, 1, 2); /* entry 0 of the table leads to itself */
    make_available();
    expect_broken();

    start(false, false);
    descriptor(0, DATA, 0, 1, DRIVER_SIZE); /* next is none */
    make_available();
    expect_broken();
}

/* The shapes that nobody may give a chain: flags and lengths of descriptor 0, of its indirect
 * table's entry 0. */
static void test_shapes(void **state)
{
    static const struct {
        uint64_t gpa;
        uint32_t length;
        uint16_t flags, table_flags;
    } bad[] = {
        {DATA, 0, 4, 0},               /* a table of nothing */
        {DATA, 17, 4, 0},              /* not of whole descriptors */
        {DATA, 16, 5, 0},              /* NEXT beside INDIRECT */
        {DATA, 16, 4, 4},              /* a table in a table */
        {MOCK_MEMORY - 8, 16, 4, 0},   /* beyond RAM */
        {UINT64_MAX - 8, 16, 4, 0},    /* beyond everything */
        {UINT64_MAX - 8, 0x100, 0, 0}, /* a segment like that */
    };

    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
            start(packed, false);
            descriptor(0, bad[i].gpa, bad[i].length, bad[i].flags, 0);
            driver_put(&v, DATA + 8, 1, 4);
            driver_put(&v, DATA + (packed ? 14 : 12), bad[i].table_flags, 2);
            if (!packed)
                make_available();
            expect_broken();
        }
        /* Readable after writable. */
        start(packed, false);
        descriptor(0, DATA, 1, 3, 1);
        descriptor(1, DATA, 1, 0, 0);
        if (!packed)
            make_available();
        expect_broken();
        /* Not agreed on. */
        start(packed, false);
        q.indirect = false;
        descriptor(0, DATA, 16, 4, 0);
        if (!packed)
            make_available();
        expect_broken();
    }
}

/* Exactly as many as fit, and one more. */
static void test_long_tables(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned n = VIRTQ_MAX_CHAIN; n <= VIRTQ_MAX_CHAIN + 1; n++) {
            start(packed, false);
            descriptor(0, DATA, 16 * n, 4, 0);
            for (unsigned i = 0; i < n; i++) {
                driver_put(&v, DATA + 16 * i, DATA, 8);
                driver_put(&v, DATA + 16 * i + 8, 1, 4);
                driver_put(&v, DATA + 16 * i + 12, packed ? 0 : i + 1 < n, 2);
                driver_put(&v, DATA + 16 * i + 14, packed ? 0 : i + 1, 2);
            }
            if (!packed)
                make_available();
            if (n > VIRTQ_MAX_CHAIN) {
                expect_broken();
                continue;
            }
            assert_int_equal(virtq_next(&q, &chain), 1);
            assert_int_equal(chain.count, n);
            assert_int_equal(chain.readable, n);
        }
    }
}

static void test_rings_that_are_not_there(void **state)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        start(packed, true);
        q.descriptors = MOCK_MEMORY;
        descriptor(0, DATA, 16, 0, 0);
        if (!packed)
            make_available();
        expect_broken();
        start(packed, true);
        q.driver = MOCK_MEMORY;
        if (!packed) {
            expect_broken();
            start(packed, true);
        }
        q.device = MOCK_MEMORY;
        assert_true(driver_offer(&v, three, 1, false) >= 0);
        assert_int_equal(virtq_next(&q, &chain), 1);
        virtq_return(&q, &chain, 0);
        assert_false(virtq_listen(&q));
        assert_true(q.broken);
    }
}

static void test_load_refuses(void **state)
{
    static const struct {
        uint16_t size, avail, used;
    } bad[2][3] = {{{0, 0, 0}, {12, 0, 0}, {256, 0, 0}}, {{129, 0, 0}, {10, 10, 0}, {10, 0, 11}}};
    uint8_t saved[256];

    for (unsigned packed = 0; packed < 2; packed++) {
        for (unsigned i = 0; i < 3; i++) {
            start(packed, false);
            q.size = bad[packed][i].size;
            q.avail = bad[packed][i].avail;
            q.used = bad[packed][i].used;
            struct state_writer w = {.data = saved, .capacity = sizeof(saved)};
            state_begin(&w, "q", 1);
            virtq_save(&q, &w);
            state_end(&w);
            struct state_reader r = {.data = saved, .size = w.used};
            assert_int_equal(state_enter(&r, "q", 1), 0);
            assert_false(virtq_load(&q, &r));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_chain),
        cmocka_unit_test(test_empty_segments),
        cmocka_unit_test(test_mixed),
        cmocka_unit_test(test_interrupts_split),
        cmocka_unit_test(test_interrupts_packed),
        cmocka_unit_test(test_notifications),
        cmocka_unit_test(test_index_jumps),
        cmocka_unit_test(test_head_is_none),
        cmocka_unit_test(test_loops),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_long_tables),
        cmocka_unit_test(test_rings_that_are_not_there),
        cmocka_unit_test(test_load_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
