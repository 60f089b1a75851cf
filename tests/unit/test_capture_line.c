/* links: guest/capture/capture.c guest/capture/packets.c guest/capture/pcapng.c guest/capture/filter.c guest/net/switch.c guest/net/lane.c guest/net/table.c guest/net/finish.c arch/x86/spinlock.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* A capture's file on a line that is slow, and for readers that come late. */
#include "tests/unit/capture_model.h"

/* --- a slow line --- */

/* What there is no room for is counted: at the interface, by the next packet, by statistics. Frames
 * go all the same. */
static void test_too_slow(void **state)
{
    unsigned said = 0, read = 0, told = 0;
    struct packets_interface seen;
    uint8_t mark = 0;

    start(&switches[0], "", "", 1514);
    while (said < 2000) {
        say(0, 2, 1514, (uint8_t)said);
        said++;
    }
    assert_int_equal(cards[2].heard, 2000);
    assert_int_equal(cards[0].port->counts.sent, 2000);
    assert_true(capture_interface(0, &seen));
    assert_int_equal(seen.matched, 2000);
    assert_int_equal(capture_state().held, 2000 - seen.lost);
    assert_true(seen.lost > 1800 && capture_state().bytes <= PACKETS_RING);
    for (; said < 3000; said++) {
        pump(1514 + said % 700);
        say(0, 2, 100 + said % 1400, (uint8_t)said);
    }
    capture_stop();
    for (unsigned i = 0; i < 1000; i++)
        pump(1000);
    while (next_packet()) {
        told += (unsigned)reader.packet.lost;
        mark = (uint8_t)(mark + reader.packet.lost);
        assert_int_equal(reader.packet.data[14], mark);
        mark++;
        read++;
    }
    assert_int_equal(reader.interface[0].seen, 3000);
    assert_int_equal(reader.interface[0].matched, 3000);
    assert_int_equal(read + reader.interface[0].lost, 3000);
    assert_true(told <= reader.interface[0].lost && told > 1800);
    assert_int_equal(cards[2].heard, 3000);
    assert_false(capture_state().sending);
}

/* A port that takes nothing costs nothing but what it does not get. */
static void test_stuck(void **state)
{
    start(&switches[0], "", "", 64);
    for (unsigned i = 0; i < 10000; i++) {
        say(0, 2, 64, 0);
        pump(COM2_PAYLOAD - 1);
    }
    assert_int_equal(streamed, 0);
    assert_int_equal(cards[2].heard, 10000);
    capture_stop();
    assert_true(capture_state().sending);
    assert_false(capture_state().on);
    /* Who waits for it does not wait for ever, */
    assert_int_equal(capture_left(), capture_state().held);
    for (unsigned i = 0; i < 20; i++, ticks += HZ / 20)
        assert_true(capture_left() > 0);
    ticks += HZ / 10;
    assert_int_equal(capture_left(), 0);
    for (unsigned i = 0; i < 100; i++, ticks += HZ / 10) { /* but as long as something goes */
        pump(COM2_PAYLOAD);
        assert_true(capture_left() > 0);
    }
    for (unsigned i = 0; i < 100 && capture_state().held; i++)
        pump(8192);
    assert_int_equal(capture_state().held, 0);
    pump(1 << 20);
    assert_int_equal(capture_left(), 0);
}

/* --- readers that come late, captures that come and go --- */

static void test_sections(void **state)
{
    start(&switches[0], "", "", 100);
    say(0, 2, 60, 1);
    say(2, 0, 60, 2);
    pump(1 << 20);
    greetings++;
    pump(1 << 20);
    say(1, 0, 60, 3);
    pump(1 << 20);
    expect_packet(0, 60, 60, 1, PCAPNG_OUTBOUND, "");
    expect_packet(1, 60, 60, 2, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.sections, 1);
    expect_packet(2, 60, 60, 3, PCAPNG_OUTBOUND, "");
    assert_int_equal(reader.sections, 2);
    assert_int_equal(reader.statistics, 2);
    assert_int_equal(reader.described, 3);
    for (unsigned i = 0; i < 100; i++) { /* with time they come by themselves, behind packets */
        ticks += HZ;
        pump(1 << 20);
    }
    while (next_block() > 0)
        ;
    assert_int_equal(reader.sections, 3);
    for (unsigned i = 0; i < 100; i++) {
        say(0, 2, 60, 4);
        ticks += HZ / 2;
        pump(600);
    }
    while (next_block() > 0)
        ;
    assert_true(reader.sections >= 3 + 15 && reader.sections <= 3 + 18); /* every 2.75 s, of 50 */
    capture_stop();
    say(0, 2, 60, 5);
    pump(1 << 20);
    while (next_block() > 0)
        ;
    assert_int_equal(reader.interface[0].seen, 101);
    assert_int_equal(reader.packets, 103);
}

/* A late reader of what is still to be sent behind the end. */
static void test_greeted_at_the_end(void **state)
{
    start(&switches[0], "", "", 100);
    for (unsigned i = 0; i < 10; i++)
        say(0, 2, 60, 1);
    pump(600);
    capture_stop();
    greetings++;
    for (unsigned i = 0; i < 10; i++)
        pump(600);
    while (next_block() > 0)
        ;
    assert_int_equal(reader.sections, 2);
    assert_int_equal(reader.packets, 10);
    assert_int_equal(reader.interface[0].matched, 10);
    assert_false(capture_state().sending);
}

/* The next one takes its place in the middle of a block: that one is finished. */
static void test_one_after_the_other(void **state)
{
    unsigned packets = 0;

    start(&switches[0], "", "", 1514);
    for (unsigned i = 0; i < 10; i++)
        say(0, 2, 1514, 1);
    pump(2500);
    start(NULL, "b/", "", 100);
    assert_int_equal(capture_state().held, 0);
    say(0, 1, 60, 2);
    say(0, 2, 60, 3);
    pump(1 << 20);
    while (next_packet()) {
        packets++;
        assert_true(reader.packet.kept == 1514 || reader.packet.data[14] == 3);
    }
    assert_int_equal(packets, 3); /* two of the first */
    assert_int_equal(reader.sections, 2);
    assert_string_equal(reader.interface[0].name, "b/0");
    assert_null(strstr(reader.about, "lan"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_too_slow),
        TEST(test_stuck),
        TEST(test_sections),
        TEST(test_greeted_at_the_end),
        TEST(test_one_after_the_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
