/* links: drivers/virtio_net.c drivers/virtio.c drivers/net_card.c arch/x86/spinlock.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* A device that says what cannot be, hangs, or goes away. */
#include "tests/unit/host_virtio_net.h"

struct bad_frame {
    unsigned buffers;
    uint32_t first, rest;
};

/* Lengths that cannot be: such frames are counted and nobody hears them, and what follows is as
 * good as ever. */
static void are_bad(const struct bad_frame *frames, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_true(put(NULL, 0, frames[i].buffers, frames[i].first));
        for (unsigned n = 1; n < frames[i].buffers; n++)
            assert_true(put(NULL, 0, 0, frames[i].rest));
        fill((uint8_t)i);
        hears(77);
        assert_int_equal(card->counts.bad, i + 1);
    }
}

static void bad_frames(void **state)
{
    static const struct bad_frame frames[] = {
        {1, 0, 0},
        {1, 11, 0},
        {1, 12, 0},
        {1, 12 + 13, 0},
        {1, 2049, 0},
        {1, UINT32_MAX, 0},
        {1, 1519 + 12, 0},
        {2, 12, 100},
        {2, BUFFER, 0},
        {2, BUFFER, 2049},
        {2, BUFFER, 1 << 30},
        {5, BUFFER, 0},
        {6, BUFFER, 64},
        {2, HEADER + 13, 100},
        {2, HEADER + 255, 1},
        {100, 100, 65535},
    };

    start();
    are_bad(frames, ARRAY_SIZE(frames));
    assert_true(put(pattern, 77, 65536, 77 + HEADER)); /* of none: it is one */
    net_card_interrupt(card);
    assert_int_equal(heard.frames, ARRAY_SIZE(frames) + 1);
    second(1);
    assert_int_equal(card->counts.resets, 0);
}

/* No buffer has so much, though a frame may. */
static void bad_long_frames(void **state)
{
    static const struct bad_frame frames[] = {{1, 2049, 0}, {1, 9000, 0}, {2, BUFFER, 2049}};

    start_up_to(9234);
    are_bad(frames, ARRAY_SIZE(frames));
}

/* What it says cannot be: nothing more is taken, and it is reset. */
static void expect_reset(void)
{
    unsigned frames = heard.frames;

    net_card_interrupt(card);
    assert_int_equal(heard.frames, frames);
    assert_int_equal(card->counts.resets, 0);
    second(1);
    assert_int_equal(card->counts.resets, 1);
    fill(8);
    hears(300);
    assert_true(send(300));
    net_card_sent(card);
    second(1);
    assert_int_equal(card->counts.resets, 1);
    assert_int_equal(card->in_vain, 0);
}

static void a_buffer_that_is_none(void **state)
{
    start();
    put_used(&registers.queue[0], 256, 100);
    expect_reset();
}

static void a_buffer_of_ours(void **state)
{
    start();
    assert_true(put(pattern, 100, 1, 100 + HEADER));
    put_used(&registers.queue[0], 0, 100); /* once more, before it is given back */
    net_card_interrupt(card);
    assert_int_equal(heard.frames, 1);
    heard.frames = 0;
    expect_reset();
}

static void the_same_buffer_twice(void **state)
{
    start_up_to(9234);
    assert_true(put(pattern, 2036, 2, BUFFER));
    put_used(&registers.queue[0], 0, 100);
    expect_reset();
}

static void more_buffers_than_there_are(void **state)
{
    start();
    assert_true(put(pattern, 100, 257, 100 + HEADER));
    expect_reset();
}

static void an_index_that_is_none(void **state)
{
    start();
    for (unsigned i = 0; i < 256; i++) /* each of them is a good one */
        assert_true(put(pattern, 100, 1, 100 + HEADER));
    registers.queue[0].used = 257;
    memcpy(ram + registers.queue[0].used_ring + 2, &registers.queue[0].used, 2);
    expect_reset();
}

static void a_frame_that_was_not_sent(void **state)
{
    static const uint16_t bad[] = {1, 256, 65535};

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        setup(NULL);
        start();
        wire.mute = true;
        assert_true(send(300));
        net_card_sent(card);
        put_used(&registers.queue[1], bad[i], 0);
        second(1);
        assert_int_equal(card->counts.resets, 1);
        net_card_stop(card);
    }
}

static void the_same_frame_twice(void **state)
{
    start();
    wire.mute = true;
    assert_true(send(300));
    assert_true(send(300));
    net_card_sent(card);
    put_used(&registers.queue[1], 1, 0);
    put_used(&registers.queue[1], 1, 0);
    second(1);
    assert_int_equal(card->counts.resets, 1);
}

static void says_that_it_is_sick(void **state)
{
    start();
    registers.status |= 0x40;
    second(1);
    assert_int_equal(card->counts.resets, 1);
    assert_int_equal(registers.status, 15);
    fill(1);
    hears(60);
}

static void a_hang(void **state)
{
    start();
    hangs_once();
}

static void hangs_for_good(void **state)
{
    start();
    hangs_until_lost();
    assert_int_equal(registers.status, 0);
}

/* A number of buffers that never come: it would wait for them, and hear nothing, for ever. */
static void half_a_frame_for_good(void **state)
{
    start();
    for (unsigned i = 0; i < 3; i++) { /* one that hesitates is good */
        assert_true(put(pattern, 100, 2, 100 + HEADER));
        second(1);
        assert_true(put(NULL, 0, 0, 50));
        second(1);
    }
    assert_int_equal(card->counts.resets, 0);
    assert_true(put(pattern, 100, 2, 100 + HEADER));
    second(2);
    assert_int_equal(card->counts.resets, 1);
    fill(8);
    hears(300);
    second(9);
    assert_int_equal(card->counts.resets, 1);
}

/* It sends between two faults, so none of its resets is in vain. */
static void is_sick(unsigned times, unsigned seconds)
{
    for (unsigned i = 0; i < times && card->state == NET_CARD_RUNS; i++) {
        registers.status |= 0x40;
        second(1);
        assert_true(send(300) == (card->state == NET_CARD_RUNS));
        net_card_sent(card);
        second(seconds - 1);
    }
}

static void sick_again_and_again(void **state)
{
    start();
    is_sick(100, 30);
    assert_int_equal(card->counts.resets, 100);
    assert_int_equal(card->state, NET_CARD_RUNS);
    second(200);
    is_sick(100, 2);
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_true(card->counts.resets >= 100 + NET_CARD_WORN &&
                card->counts.resets <= 100 + NET_CARD_WORN * 3 / 2);
    assert_false(wire.master);
}

/* One that does not let go of memory is not started again on it. */
static void is_not_reset(void **state)
{
    start();
    registers.status |= 0x40;
    registers.no_reset = true;
    second(1);
    assert_int_equal(card->state, NET_CARD_LOST);
    assert_false(wire.master);
}

static void goes_away(void **state)
{
    start();
    is_taken_away();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    static const struct CMUnitTest tests[] = {
        TEST(bad_frames),
        TEST(bad_long_frames),
        TEST(a_buffer_that_is_none),
        TEST(a_buffer_of_ours),
        TEST(the_same_buffer_twice),
        TEST(more_buffers_than_there_are),
        TEST(an_index_that_is_none),
        TEST(a_frame_that_was_not_sent),
        TEST(the_same_frame_twice),
        TEST(says_that_it_is_sick),
        TEST(a_hang),
        TEST(hangs_for_good),
        TEST(half_a_frame_for_good),
        TEST(sick_again_and_again),
        TEST(is_not_reset),
        TEST(goes_away),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
