/* links: guest/com2/frame.c guest/com2/mux.c arch/x86/lib/crc32.c */
/*
 * Whatever the second serial port carries: the input's first byte says how it is cut, the rest is
 * the line. What has come for a channel is no more than what was on the line, every byte is
 * accounted for, and at the end a good frame is found as ever.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "guest/com2/mux.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GDB    1u
#define GDB_IN 300u
#define SECOND 100u

static const struct com2_kind kinds[] = {
    COM2_CONTROL_KIND, {"gdb", COM2_URGENT, 700, GDB_IN}, {"trace", COM2_BULK, 300, 0}};
#define KINDS 3u
static uint8_t memory[COM2_FRAME_MAX + 700 + GDB_IN + 300];
static struct com2_mux mux;

/* What Corbel says to all that is well-formed, too. */
static void look_at_the_answer(uint64_t now)
{
    static struct com2_receiver other;
    uint8_t frame[COM2_FRAME_MAX];
    struct com2_frame f;
    size_t length = com2_mux_next(&mux, now, frame);

    REQUIRE(length <= sizeof(frame));
    for (size_t i = 0; i < length; i++) {
        com2_receiver_put(&other, frame[i]);
        REQUIRE(com2_receiver_next(&other, &f) == (i + 1 == length));
    }
    REQUIRE(other.skipped == 0 && (!length || f.channel < KINDS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t good[] = "good";
    const struct com2_frame last = {GDB, 0, 4, good};
    uint8_t frame[COM2_FRAME_MAX], said[8];
    size_t length, got = 0, known = 0;
    uint64_t now = 0;
    int byte;

    com2_mux_init(&mux, kinds, KINDS, memory, now, SECOND);
    for (size_t i = 0; i < size; i++) {
        com2_mux_input(&mux, data[i], now);
        REQUIRE(mux.receiver.used < COM2_FRAME_MAX);
        if (data[0] & 1 && i % 7 == 0)
            now += SECOND;
        if (data[0] & 2)
            com2_mux_idle(&mux, now);
        if (data[0] & 4 && i % 16 == 0)
            (void)com2_mux_put(&mux, GDB + i / 16 % 2, data, MIN(i, 100));
        if (data[0] & 8 && i % 8 == 0)
            look_at_the_answer(now);
        while (i % (1 + (data[0] >> 4)) == 0 && com2_mux_get(&mux, GDB) >= 0)
            got++;
    }
    now += SECOND + 1;
    com2_mux_idle(&mux, now);
    REQUIRE(mux.receiver.used == 0);
    while (com2_mux_get(&mux, GDB) >= 0)
        got++;
    REQUIRE(got == mux.channel[GDB].received.bytes);
    for (unsigned i = 0; i < KINDS; i++)
        known += mux.channel[i].received.bytes + mux.channel[i].received.lost_bytes +
                 (mux.channel[i].received.frames + mux.channel[i].received.lost_frames) *
                     (COM2_HEADER_SIZE + COM2_CRC_SIZE);
    REQUIRE(known + mux.receiver.skipped + mux.strangers * (COM2_HEADER_SIZE + COM2_CRC_SIZE) <=
            size);
    REQUIRE(mux.strangers || known + mux.receiver.skipped == size);

    length = com2_frame_pack(&last, frame);
    for (size_t i = 0; i < length; i++)
        com2_mux_input(&mux, frame[i], now);
    for (got = 0; got < sizeof(said) && (byte = com2_mux_get(&mux, GDB)) >= 0; got++)
        said[got] = (uint8_t)byte;
    REQUIRE(got == 4 && memcmp(said, good, 4) == 0);
    for (unsigned i = 0; i < 4; i++)
        look_at_the_answer(now);
    return 0;
}
