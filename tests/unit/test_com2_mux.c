/* links: guest/com2/frame.c guest/com2/mux.c arch/x86/lib/crc32.c */
/* Frames and channels of the second serial port. That tools/com2 understands them is
 * tests/machine/com2.py's to show. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/crc32.h"
#include "guest/com2/mux.h"

enum { GDB = 1, TRACE, CAPTURE, USERS };

#define SECOND 1000u
#define ROOM   1024u

static const struct com2_kind kinds[USERS] = {[COM2_CONTROL] = COM2_CONTROL_KIND,
                                              [GDB] = {"gdb", COM2_URGENT, 4096, 64},
                                              [TRACE] = {"trace", COM2_BULK, ROOM, 0},
                                              [CAPTURE] = {"capture", COM2_BULK, ROOM, 0}};
static uint8_t memory[COM2_FRAME_MAX + 4096 + 64 + ROOM + ROOM];

static struct com2_mux mux;
static struct com2_receiver receiver;
static uint64_t now;
static uint8_t bytes[1024], wire[COM2_FRAME_MAX];

static int fresh(void **state)
{
    now = 77;
    assert_int_equal(com2_mux_memory(kinds, USERS), sizeof(memory));
    com2_mux_init(&mux, kinds, USERS, memory, now, SECOND);
    memset(&receiver, 0, sizeof(receiver));
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    return 0;
}

/* The next frame on the line. */
static bool next(struct com2_frame *f)
{
    size_t length = com2_mux_next(&mux, now, wire);

    assert_true(length <= COM2_FRAME_MAX);
    for (size_t i = 0; i < length; i++) {
        com2_receiver_put(&receiver, wire[i]);
        assert_int_equal(com2_receiver_next(&receiver, f), i + 1 == length);
    }
    assert_int_equal(receiver.skipped, 0);
    return length;
}

/* The same, without statuses. */
static bool next_of_users(struct com2_frame *f)
{
    do {
        if (!next(f))
            return false;
    } while (f->channel == COM2_CONTROL);
    return true;
}

/* As many of these as there is room for. */
static void fill(unsigned channel, size_t size)
{
    unsigned n = 0;

    while (com2_mux_put(&mux, channel, bytes, size))
        assert_true(n++ < 1000);
}

static void say(uint8_t channel, uint16_t sequence, const void *payload, size_t length)
{
    const struct com2_frame f = {channel, sequence, length, payload};
    size_t size = com2_frame_pack(&f, wire);

    for (size_t i = 0; i < size; i++)
        com2_mux_input(&mux, wire[i], now);
}

/* --- frames --- */

static void a_frame_byte_by_byte(void **state)
{
    static const uint8_t is[] = {0xa5, 0xc2, 0x02, 0x34, 0x12, 0x03, 0x00, 0x43,
                                 'a',  'b',  'c',  0x31, 0x9c, 0x87, 0x8d};
    const struct com2_frame f = {
        .channel = 2, .sequence = 0x1234, .length = 3, .payload = (const uint8_t *)"abc"};

    assert_int_equal(com2_frame_pack(&f, wire), sizeof(is));
    assert_memory_equal(wire, is, sizeof(is));
}

static void frames_of_every_length(void **state)
{
    struct com2_frame f;

    for (size_t length = 0; length <= COM2_PAYLOAD; length++) {
        const struct com2_frame is = {
            .channel = (uint8_t)length, .sequence = 0xffff, .length = length, .payload = bytes};
        size_t size = com2_frame_pack(&is, wire);

        assert_int_equal(size, length + 12);
        for (size_t i = 0; i < size; i++) {
            assert_false(com2_receiver_next(&receiver, &f));
            com2_receiver_put(&receiver, wire[i]);
        }
        assert_true(com2_receiver_next(&receiver, &f));
        assert_int_equal(f.channel, is.channel);
        assert_int_equal(f.sequence, 0xffff);
        assert_int_equal(f.length, length);
        assert_memory_equal(f.payload, bytes, length);
        assert_false(com2_receiver_next(&receiver, &f));
    }
    assert_int_equal(receiver.skipped, 0);
}

/* Two good frames with something before, between and behind them: both are found, and the rest is
 * counted. */
static void garbage_is_skipped(void **state)
{
    static const char *const garbage[] = {"x",
                                          "\xa5",
                                          "\xa5\xa5\xa5",
                                          "\xa5\xc2",
                                          "\xa5\xc2\x01\x01\x01\x01\x01\x01\x01\x01",
                                          "\xc2\xa5",
                                          "corbel: \xa5\xc2 and more of it \xa5\xc2\x02\x34\x12"};
    const struct com2_frame is = {.channel = 1, .length = 5, .payload = (const uint8_t *)"hello"};
    struct com2_frame f;
    size_t size = com2_frame_pack(&is, wire);

    for (unsigned g = 0; g < ARRAY_SIZE(garbage); g++) {
        unsigned found = 0;

        memset(&receiver, 0, sizeof(receiver));
        for (unsigned times = 0; times < 3; times++) {
            for (const char *c = garbage[g]; *c; c++) {
                com2_receiver_put(&receiver, (uint8_t)*c);
                assert_false(com2_receiver_next(&receiver, &f));
            }
            for (size_t i = 0; i < size && times < 2; i++) {
                com2_receiver_put(&receiver, wire[i]);
                while (com2_receiver_next(&receiver, &f)) {
                    assert_int_equal(f.length, 5);
                    assert_memory_equal(f.payload, "hello", 5);
                    found++;
                }
            }
        }
        while (com2_receiver_give_up(&receiver))
            assert_false(com2_receiver_next(&receiver, &f));
        assert_int_equal(found, 2);
        assert_int_equal(receiver.skipped, 3 * strlen(garbage[g]));
    }
}

/* Each bit of a frame may be another one: what follows is found all the same. */
static void a_damaged_frame_costs_itself_only(void **state)
{
    const struct com2_frame is = {.channel = 1, .length = 20, .payload = bytes};
    size_t size = com2_frame_pack(&is, wire);
    struct com2_frame f;

    for (unsigned bit = 0; bit < 8 * size; bit++) {
        unsigned found = 0;

        memset(&receiver, 0, sizeof(receiver));
        for (size_t i = 0; i < 2 * size; i++) {
            uint8_t wrong = i == bit / 8 ? (uint8_t)(1 << bit % 8) : 0;

            com2_receiver_put(&receiver, wire[i % size] ^ wrong);
            while (com2_receiver_next(&receiver, &f)) {
                assert_memory_equal(f.payload, bytes, 20);
                found++;
            }
        }
        assert_int_equal(found, 1);
        assert_int_equal(receiver.skipped, size);
        assert_int_equal(receiver.damaged, bit >= 8 * COM2_HEADER_SIZE);
    }
}

/* What is in a frame may look like one, and a frame's beginning may promise more than comes. */
static void frames_within_frames(void **state)
{
    const struct com2_frame inner = {.channel = 3, .length = 9, .payload = bytes};
    uint8_t packed[COM2_FRAME_MAX];
    struct com2_frame f,
        outer = {.channel = 1, .length = com2_frame_pack(&inner, packed), .payload = packed};
    size_t size = com2_frame_pack(&outer, wire);

    for (size_t i = 0; i < size; i++) {
        com2_receiver_put(&receiver, wire[i]);
        assert_int_equal(com2_receiver_next(&receiver, &f), i + 1 == size);
    }
    assert_int_equal(f.channel, 1);
    /* Its end is lost: the inner one is found, when it is clear that nothing follows. */
    for (size_t i = 0; i < size - 1; i++) {
        com2_receiver_put(&receiver, wire[i]);
        assert_false(com2_receiver_next(&receiver, &f));
    }
    unsigned found = 0;
    while (com2_receiver_give_up(&receiver))
        for (; com2_receiver_next(&receiver, &f); found++)
            assert_int_equal(f.channel, 3);
    assert_int_equal(found, 1);
    assert_int_equal(receiver.used, 0);
    /* A length that is too large is none. */
    wire[5] = 1;
    wire[6] = 1;
    wire[7] = (uint8_t)crc32(0, wire, 7);
    for (size_t i = 0; i < COM2_HEADER_SIZE; i++)
        com2_receiver_put(&receiver, wire[i]);
    assert_int_equal(receiver.used, 0);
}

/* --- to the line --- */

static void what_is_put_comes_out_in_order(void **state)
{
    struct com2_frame f;

    for (unsigned i = 0; i < 300; i++) {
        size_t length = 1 + i % 300;

        assert_true(com2_mux_put(&mux, GDB, bytes, length));
        assert_true(com2_mux_waits(&mux, GDB));
        for (size_t at = 0; at < length; at += f.length) {
            assert_true(next_of_users(&f));
            assert_int_equal(f.channel, GDB);
            assert_int_equal(f.length, MIN(length - at, COM2_PAYLOAD));
            assert_memory_equal(f.payload, bytes + at, f.length);
        }
        assert_false(com2_mux_waits(&mux, GDB));
    }
    assert_int_equal(mux.channel[GDB].sent.lost_frames, 0);
    assert_int_equal(mux.channel[GDB].sent.frames, f.sequence + 1);
}

static void sequences_are_of_each_channel(void **state)
{
    struct com2_frame f;
    unsigned expected[USERS] = {0};

    for (unsigned i = 0; i < 70000; i++) {
        assert_true(com2_mux_put(&mux, i % 3 ? TRACE : CAPTURE, bytes, 1));
        while (next_of_users(&f))
            assert_int_equal(f.sequence, expected[f.channel]++ & 0xffff);
    }
    assert_int_equal(expected[TRACE] + expected[CAPTURE], 70000);
}

static void what_does_not_fit_is_dropped_whole(void **state)
{
    struct com2_frame f;
    size_t room = com2_mux_room(&mux, TRACE), sent = 0;

    assert_int_equal(room, ROOM - 2 * 4); /* in four pieces */
    assert_false(com2_mux_put(&mux, TRACE, memory, room + 1));
    assert_int_equal(mux.channel[TRACE].sent.lost_frames, 4);
    assert_int_equal(mux.channel[TRACE].sent.lost_bytes, room + 1);
    assert_int_equal(com2_mux_room(&mux, TRACE), room);
    while (sent < 100 && com2_mux_put(&mux, TRACE, bytes + sent, 100))
        sent++;
    assert_int_equal(sent, 10);
    assert_true(com2_mux_room(&mux, TRACE) < 100);
    assert_int_equal(mux.channel[TRACE].sent.lost_frames, 5);
    assert_true(com2_mux_put(&mux, TRACE, bytes, com2_mux_room(&mux, TRACE)));
    assert_int_equal(com2_mux_room(&mux, TRACE), 0);
    assert_true(com2_mux_put(&mux, CAPTURE, bytes, 100)); /* is not concerned */
    for (unsigned i = 0; i < sent;) {
        assert_true(next_of_users(&f));
        if (f.channel == CAPTURE)
            continue;
        assert_int_equal(f.length, 100);
        assert_memory_equal(f.payload, bytes + i, 100);
        assert_int_equal(f.sequence, i++);
    }
    assert_int_equal(mux.channel[CAPTURE].sent.lost_frames, 0);
}

/* gdb goes ahead, and yet a bulk channel is not held up for ever. */
static void urgent_goes_ahead(void **state)
{
    struct com2_frame f;
    unsigned gdb = 0, trace = 0, ahead = 0, most = 0;

    for (unsigned i = 0; i < 1000; i++) {
        fill(GDB, 100);
        fill(TRACE, 200);
        assert_true(next_of_users(&f));
        if (i == 0)
            assert_int_equal(f.channel, GDB);
        if (f.channel == GDB) {
            gdb += 112;
            ahead += 112;
        } else {
            trace += 212;
            most = MAX(most, ahead);
            ahead = 0;
        }
    }
    assert_true(most + 150 >= COM2_AHEAD && most <= COM2_AHEAD + 112); /* and a status */
    assert_int_equal(gdb / trace, 5);
    while (next_of_users(&f))
        ;
    /* Whoever comes while bulk waits waits for no more than what is on the line. */
    assert_true(com2_mux_put(&mux, TRACE, bytes, 600));
    assert_true(next_of_users(&f));
    assert_true(com2_mux_put(&mux, GDB, bytes, 1));
    assert_true(next_of_users(&f));
    assert_int_equal(f.channel, GDB);
}

/* Two bulk channels, one of whose frames are small: each gets half of the line. Who was silent has
 * saved nothing up. */
static void equals_share_the_line(void **state)
{
    struct com2_frame f;
    uint64_t served[USERS] = {0};

    for (unsigned i = 0; i < 100; i++) {
        assert_true(com2_mux_put(&mux, TRACE, bytes, 256));
        assert_true(next_of_users(&f));
    }
    for (unsigned i = 0; i < 3000; i++) {
        fill(TRACE, 256);
        fill(CAPTURE, 20);
        assert_true(next_of_users(&f));
        served[f.channel] += f.length + 12;
        assert_true(served[TRACE] <= served[CAPTURE] + 2 * COM2_FRAME_MAX);
        assert_true(served[CAPTURE] <= served[TRACE] + 2 * COM2_FRAME_MAX);
    }
}

/* --- from the line --- */

static void expect_heard(unsigned channel, const char *text)
{
    for (; *text; text++)
        assert_int_equal(com2_mux_get(&mux, channel), *text);
    assert_int_equal(com2_mux_get(&mux, channel), -1);
}

static void bytes_come_to_their_channel(void **state)
{
    say(GDB, 0, "$g", 2);
    say(GDB, 1, "", 0);
    say(GDB, 2, "#67", 3);
    expect_heard(GDB, "$g#67");
    assert_int_equal(mux.channel[GDB].received.frames, 3);
    assert_int_equal(mux.channel[GDB].received.bytes, 5);
    assert_int_equal(mux.channel[GDB].received.missing, 0);
    for (unsigned i = 3; i < 1000; i++) { /* round the queue */
        say(GDB, (uint16_t)i, "0123456789", 10);
        expect_heard(GDB, "0123456789");
    }
}

static void hostile_frames_are_counted(void **state)
{
    say(GDB, 0, bytes, 60);
    say(GDB, 1, bytes, 5); /* there is room for 4 */
    assert_int_equal(mux.channel[GDB].received.lost_frames, 1);
    assert_int_equal(mux.channel[GDB].received.lost_bytes, 5);
    say(GDB, 2, bytes, 4);
    assert_int_equal(mux.channel[GDB].received.lost_frames, 1);
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(com2_mux_get(&mux, GDB), bytes[i % 60]);
    say(TRACE, 0, bytes, 1); /* nobody reads it */
    assert_int_equal(com2_mux_get(&mux, TRACE), -1);
    say(TRACE, 1, "", 0);
    assert_int_equal(mux.channel[TRACE].received.lost_frames, 1);
    for (unsigned channel = USERS; channel < 256; channel++)
        say((uint8_t)channel, 0, bytes, COM2_PAYLOAD);
    assert_int_equal(mux.strangers, 256 - USERS);
    say(COM2_CONTROL, 0, "", 0);
    say(COM2_CONTROL, 1, bytes, COM2_PAYLOAD);
    assert_int_equal(mux.channel[COM2_CONTROL].received.lost_frames, 0);
    assert_int_equal(com2_mux_get(&mux, COM2_CONTROL), -1);
}

static void gaps_are_counted(void **state)
{
    say(GDB, 40000, "a", 1);
    say(GDB, 40001, "b", 1);
    assert_int_equal(mux.channel[GDB].received.missing, 0);
    say(GDB, 40004, "c", 1);
    assert_int_equal(mux.channel[GDB].received.missing, 2);
    say(GDB, 65535, "d", 1);
    say(GDB, 0, "e", 1);
    assert_int_equal(mux.channel[GDB].received.missing, 2 + 65535 - 40005);
    assert_int_equal(mux.greetings, 0);
    say(COM2_CONTROL, 0, "\1", 1); /* another one has come to the other end */
    assert_int_equal(mux.greetings, 1);
    say(GDB, 7, "f", 1);
    say(GDB, 9, "g", 1);
    assert_int_equal(mux.channel[GDB].received.missing, 3 + 65535 - 40005);
    expect_heard(GDB, "abcdefg");
}

/* A frame whose end does not come holds up nobody who comes a second later. */
static void half_a_frame_is_given_up(void **state)
{
    const struct com2_frame f = {.channel = GDB, .length = 200, .payload = bytes};

    com2_frame_pack(&f, wire);
    for (size_t i = 0; i < 30; i++)
        com2_mux_input(&mux, wire[i], now);
    now += SECOND;
    com2_mux_idle(&mux, now);
    assert_int_equal(mux.receiver.used, 30);
    now++;
    com2_mux_idle(&mux, now);
    assert_int_equal(mux.receiver.used, 0);
    assert_int_equal(mux.receiver.skipped, 30);
    say(GDB, 0, "x", 1);
    expect_heard(GDB, "x");
}

/* --- what the other end is told --- */

static uint64_t number(const uint8_t *at, unsigned size)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

/* The numbers that a status has of a channel. */
static void look_up(const struct com2_frame *f, unsigned channel, uint32_t numbers[7], bool *used)
{
    const uint8_t *at = f->payload + 22;

    assert_int_equal(f->channel, COM2_CONTROL);
    assert_int_equal(f->payload[0], COM2_STATUS);
    assert_int_equal(f->payload[1], COM2_VERSION);
    assert_int_equal(number(f->payload + 2, 8), 77);
    for (unsigned i = 0; i < channel; i++)
        at += 3 + at[2] + 7 * 4;
    assert_int_equal(at[0], channel);
    *used = at[1];
    assert_int_equal(at[2], strlen(kinds[channel].name));
    assert_memory_equal(at + 3, kinds[channel].name, at[2]);
    for (unsigned i = 0; i < 7; i++)
        numbers[i] = (uint32_t)number(at + 3 + at[2] + 4 * i, 4);
    assert_true(at + 3 + at[2] + 28 <= f->payload + f->length);
}

static void a_status_comes_first(void **state)
{
    struct com2_frame f;
    uint32_t n[7];
    bool used;

    assert_true(com2_mux_put(&mux, GDB, "x", 1));
    assert_true(next(&f));
    assert_int_equal(f.sequence, 0);
    for (unsigned i = 0; i < USERS; i++) {
        look_up(&f, i, n, &used);
        assert_int_equal(used, i == COM2_CONTROL);
    }
    assert_true(next(&f));
    assert_int_equal(f.channel, GDB);
    assert_false(next(&f));
}

static void losses_are_told(void **state)
{
    struct com2_frame f;
    uint32_t n[7];
    bool used;

    assert_true(next(&f)); /* the first one */
    mux.channel[TRACE].used = true;
    assert_true(com2_mux_put(&mux, TRACE, bytes, 300));
    assert_false(com2_mux_put(&mux, TRACE, memory, ROOM));
    say(TRACE, 5, "xy", 2);
    say(TRACE, 8, "z", 1);
    say(GDB, 0, "z", 1);
    say(200, 0, "z", 1);
    com2_mux_input(&mux, 'x', now);
    assert_true(next(&f));
    assert_int_equal(f.channel, TRACE);
    assert_true(next(&f));
    assert_int_equal(f.channel, TRACE);
    assert_false(next(&f)); /* not within a second */
    now += SECOND;
    assert_true(next(&f));
    look_up(&f, TRACE, n, &used);
    assert_true(used);
    const uint32_t trace[] = {2, 4, ROOM, 0, 2, 2, 3};
    assert_memory_equal(n, trace, sizeof(n));
    look_up(&f, GDB, n, &used);
    const uint32_t gdb[] = {0, 0, 0, 1, 0, 0, 0};
    assert_memory_equal(n, gdb, sizeof(n));
    assert_int_equal(number(f.payload + 10, 4), 1);
    assert_int_equal(number(f.payload + 14, 4), 0);
    assert_int_equal(number(f.payload + 18, 4), 1);
    now += 10 * SECOND;
    assert_false(next(&f)); /* nothing is new */
    com2_mux_tell(&mux);
    assert_true(next(&f));
    assert_false(next(&f));
    say(COM2_CONTROL, 0, "\1", 1);
    assert_true(next(&f));
    look_up(&f, COM2_CONTROL, n, &used);
    assert_int_equal(n[0], 3); /* this one is the fourth */
    assert_int_equal(n[3], 1);
    assert_false(next(&f));
}

/* --- for tools/com2 --- */

/* Two channels with a status now and then; one frame in 50 is lost on the line, one damaged, and
 * there is text between them. Prints what was lost where. */
static void write_stream(const char *path)
{
    FILE *f = fopen(path, "wb");
    unsigned lost = 0, garbage = 0, frames = 0;
    bool ended = false;

    if (!f)
        exit(1);
    (void)fresh(NULL);
    mux.channel[TRACE].used = mux.channel[GDB].used = true;
    garbage += (unsigned)fwrite("BdsDxe: loading Boot0001\r\n", 1, 26, f);
    for (unsigned i = 0; !ended; i++) {
        char text[16];
        size_t length;

        now += 10;
        if (i < 2000) {
            (void)com2_mux_put(&mux, TRACE, bytes, 1 + i % 250);
            if (i % 20 == 0)
                (void)com2_mux_put(&mux, GDB, text, (size_t)snprintf(text, 16, "<%u>", i));
        } else {
            com2_mux_tell(&mux);
        }
        for (unsigned n = 0; n < (i % 700 < 600 ? 2 : 0); n++) {
            length = com2_mux_next(&mux, now, wire);
            if (!length)
                break;
            if (wire[2] == TRACE && ++frames % 50 == 0) {
                lost++;
                if (frames % 100)
                    continue;
                wire[length - 5] ^= 4;
                garbage += (unsigned)length;
            }
            fwrite(wire, length, 1, f);
        }
        ended = i >= 2000 && !com2_mux_waits(&mux, TRACE) && !com2_mux_waits(&mux, GDB);
    }
    printf("dropped %lu lost %u garbage %u sent %lu\n",
           (unsigned long)mux.channel[TRACE].sent.lost_frames, lost, garbage,
           (unsigned long)mux.channel[TRACE].sent.frames);
    fclose(f);
}

/* What the other end has said, in a file: what came for gdb, and what was counted. */
static void read_stream(const char *path)
{
    FILE *f = fopen(path, "rb");
    int c;

    if (!f)
        exit(1);
    (void)fresh(NULL);
    while ((c = fgetc(f)) != EOF) {
        com2_mux_input(&mux, (uint8_t)c, now);
        while ((c = com2_mux_get(&mux, GDB)) >= 0)
            putchar(c);
    }
    printf("\nhello %d frames %lu missing %lu skipped %lu damaged %lu\n",
           mux.channel[COM2_CONTROL].heard, (unsigned long)mux.channel[GDB].received.frames,
           (unsigned long)mux.channel[GDB].received.missing, (unsigned long)mux.receiver.skipped,
           (unsigned long)mux.receiver.damaged);
    fclose(f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_frame_byte_by_byte, fresh),
        cmocka_unit_test_setup(frames_of_every_length, fresh),
        cmocka_unit_test_setup(garbage_is_skipped, fresh),
        cmocka_unit_test_setup(a_damaged_frame_costs_itself_only, fresh),
        cmocka_unit_test_setup(frames_within_frames, fresh),
        cmocka_unit_test_setup(what_is_put_comes_out_in_order, fresh),
        cmocka_unit_test_setup(sequences_are_of_each_channel, fresh),
        cmocka_unit_test_setup(what_does_not_fit_is_dropped_whole, fresh),
        cmocka_unit_test_setup(urgent_goes_ahead, fresh),
        cmocka_unit_test_setup(equals_share_the_line, fresh),
        cmocka_unit_test_setup(bytes_come_to_their_channel, fresh),
        cmocka_unit_test_setup(hostile_frames_are_counted, fresh),
        cmocka_unit_test_setup(gaps_are_counted, fresh),
        cmocka_unit_test_setup(half_a_frame_is_given_up, fresh),
        cmocka_unit_test_setup(a_status_comes_first, fresh),
        cmocka_unit_test_setup(losses_are_told, fresh),
    };

    if (argc == 3 && strcmp(argv[1], "--stream") == 0) {
        write_stream(argv[2]);
        return 0;
    }
    if (argc == 3 && strcmp(argv[1], "--read") == 0) {
        read_stream(argv[2]);
        return 0;
    }
    return cmocka_run_group_tests_name("com2_mux", tests, NULL, NULL);
}
