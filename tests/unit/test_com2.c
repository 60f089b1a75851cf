/* links: guest/com2/frame.c guest/com2/mux.c arch/x86/lib/crc32.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* Who has the second serial port, on a model of the port: a ring that is sent when the test says
 * so, and a cable. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/run/run.h"
#include "guest/com2/com2.c" /* compiled here: each test begins with its variables anew */

struct serial_port com2;
uint64_t tsc_hz = 1000000;
bool spin_forsaken;

static struct {
    bool stuck;
    uint8_t ring[SERIAL_TX_SIZE], cable[1 << 20], input[4096];
    size_t waiting, sent, input_size, input_at;
    void (*handler)(void);
    unsigned interrupts, attention, flushes;
} line;
static uint64_t ticks;

uint64_t test_tsc(void)
{
    return ticks;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    fail_msg("nobody else holds a lock");
}

void run_attention(unsigned n)
{
    assert_int_equal(n, 0);
    line.attention++;
}

bool serial_present(const struct serial_port *p)
{
    return p->present;
}

size_t serial_room(const struct serial_port *p)
{
    return SERIAL_TX_SIZE - line.waiting;
}

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    size_t taken = MIN(size, serial_room(p));

    memcpy(line.ring + line.waiting, data, taken);
    line.waiting += taken;
    return taken;
}

bool serial_sending(const struct serial_port *p)
{
    return line.waiting;
}

/* The line takes so many bytes. */
static void carry(size_t size)
{
    size = MIN(size, line.waiting);
    memcpy(line.cable + line.sent, line.ring, size);
    memmove(line.ring, line.ring + size, line.waiting - size);
    line.sent += size;
    line.waiting -= size;
}

bool serial_poll(struct serial_port *p)
{
    return line.input_at < line.input_size;
}

int serial_read(struct serial_port *p)
{
    return line.input_at < line.input_size ? line.input[line.input_at++] : -1;
}

void serial_flush(struct serial_port *p)
{
    assert_true(line.flushes++ < 100);
    if (!line.stuck)
        carry(SIZE_MAX);
}

void serial_set_rx_handler(struct serial_port *p, void (*fn)(void))
{
    line.handler = fn;
}

int serial_enable_interrupts(struct serial_port *p)
{
    line.interrupts++;
    return 0;
}

static void forget(void)
{
    framed = false;
    owner = 0;
    plain_sent = plain_heard = plain_lost = 0;
    memset(&mux, 0, sizeof(mux));
}

static int fresh(void **state)
{
    memset(&line, 0, sizeof(line));
    memset(&com2, 0, sizeof(com2));
    com2.present = true;
    ticks = 5;
    forget();
    return 0;
}

/* --- plain --- */

static void no_port(void **state)
{
    com2.present = false;
    com2_init(false);
    assert_false(com2_may_open(COM2_TRACE));
    assert_int_equal(com2_open(COM2_TRACE), -ENODEV);
    assert_int_equal(com2_open(COM2_GDB), -ENODEV);
    com2_init(true);
    assert_false(com2_framed());
    assert_int_equal(com2_open(COM2_GDB), -ENODEV);
    assert_false(com2_state().present);
    assert_int_equal(line.interrupts, 0);
}

static void plain_is_one_users(void **state)
{
    com2_init(false);
    assert_int_equal(com2_state().owner, 0);
    assert_true(com2_may_open(COM2_TRACE) && com2_may_open(COM2_GDB));
    assert_int_equal(com2_open(COM2_TRACE), 0);
    assert_int_equal(com2_open(COM2_TRACE), 0);
    assert_null(line.handler); /* it does not listen */
    assert_int_equal(line.interrupts, 0);
    assert_false(com2_may_open(COM2_GDB));
    assert_int_equal(com2_open(COM2_GDB), -EBUSY);
    assert_int_equal(com2_state().owner, COM2_TRACE);
    com2_write(COM2_TRACE, "abc", 3);
    com2_flush(); /* what the trace has left does not hold the machine up */
    assert_int_equal(line.sent, 0);
    forget();
    assert_int_equal(com2_open(COM2_GDB), 0);
    assert_non_null(line.handler);
    assert_int_equal(line.interrupts, 1);
    line.handler();
    assert_int_equal(line.attention, 1);
    assert_int_equal(com2_open(COM2_TRACE), -EBUSY);
    com2_flush();
    assert_int_equal(line.sent, 3);
}

/* What is on the line is what the user said, and nothing else. */
static void plain_bytes_are_as_they_are(void **state)
{
    static uint8_t much[SERIAL_TX_SIZE + 10];

    com2_init(false);
    assert_int_equal(com2_open(COM2_GDB), 0);
    assert_int_equal(com2_room(COM2_GDB), SERIAL_TX_SIZE);
    com2_write(COM2_GDB, "+$OK#9a", 7);
    assert_true(com2_sending(COM2_GDB));
    com2_poll();
    carry(SIZE_MAX);
    assert_false(com2_sending(COM2_GDB));
    assert_int_equal(line.sent, 7);
    assert_memory_equal(line.cable, "+$OK#9a", 7);
    memcpy(line.input, "$g#67", 5);
    line.input_size = 5;
    for (const char *c = "$g#67"; *c; c++)
        assert_int_equal(com2_read(COM2_GDB), *c);
    assert_int_equal(com2_read(COM2_GDB), -1);
    com2_write(COM2_GDB, much, sizeof(much));
    assert_int_equal(com2_state().sent, 7 + SERIAL_TX_SIZE);
    assert_int_equal(com2_state().heard, 5);
    assert_int_equal(com2_state().lost, 10);
    assert_int_equal(com2_state().backlog, SERIAL_TX_SIZE);
    struct com2_channel_state c;
    assert_false(com2_channel_state(COM2_CONTROL, &c));
}

/* --- frames --- */

static struct com2_receiver receiver;
static size_t looked_at;

/* The next frame that the cable has carried, statuses left out; false: none has come. */
static bool heard(struct com2_frame *f)
{
    for (;;) {
        while (!com2_receiver_next(&receiver, f)) {
            if (looked_at == line.sent)
                return false;
            com2_receiver_put(&receiver, line.cable[looked_at++]);
        }
        if (f->channel != COM2_CONTROL)
            return true;
    }
}

static int with_frames(void **state)
{
    fresh(state);
    memset(&receiver, 0, sizeof(receiver));
    looked_at = 0;
    com2_init(true);
    assert_true(com2_framed());
    assert_int_equal(line.interrupts, 1);
    assert_int_equal(com2_open(COM2_TRACE), 0);
    assert_int_equal(com2_open(COM2_GDB), 0);
    return 0;
}

static void say(uint8_t channel, uint16_t sequence, const char *text)
{
    const struct com2_frame f = {channel, sequence, strlen(text), (const uint8_t *)text};

    line.input_size += com2_frame_pack(&f, line.input + line.input_size);
}

static void both_share_it(void **state)
{
    struct com2_frame f;
    struct com2_channel_state c;

    com2_write(COM2_TRACE, "CT records", 10);
    com2_write(COM2_GDB, "$T05#b9", 7);
    while (line.waiting) {
        carry(16);
        com2_pump();
    }
    assert_true(heard(&f));
    assert_int_equal(f.channel, COM2_GDB);
    assert_memory_equal(f.payload, "$T05#b9", 7);
    assert_true(heard(&f));
    assert_int_equal(f.channel, COM2_TRACE);
    assert_memory_equal(f.payload, "CT records", 10);
    assert_int_equal(receiver.skipped, 0);
    say(COM2_GDB, 0, "+$c#63");
    assert_int_equal(com2_read(COM2_GDB), -1);
    assert_int_equal(com2_pump(), ticks + tsc_hz / 720);
    for (const char *text = "+$c#63"; *text; text++)
        assert_int_equal(com2_read(COM2_GDB), *text);
    assert_int_equal(com2_read(COM2_GDB), -1);
    assert_true(com2_channel_state(COM2_GDB, &c));
    assert_string_equal(c.name, "gdb");
    assert_true(c.used);
    assert_int_equal(c.sent.bytes, 7);
    assert_int_equal(c.received.bytes, 6);
    assert_true(com2_channel_state(COM2_TRACE, &c));
    assert_int_equal(c.sent.bytes, 10);
    assert_false(com2_channel_state(COM2_USERS, &c));
}

/* Whatever the trace has to send, gdb's answer waits for no more than a frame and a little. */
static void gdb_does_not_wait_for_the_trace(void **state)
{
    static uint8_t much[COM2_PAYLOAD];
    struct com2_frame f;
    size_t before;

    for (unsigned i = 0; i < 100; i++) {
        if (!com2_sending(COM2_TRACE))
            com2_write(COM2_TRACE, much, sizeof(much));
        carry(16);
        com2_pump();
    }
    while (heard(&f))
        ;
    before = line.sent;
    com2_write(COM2_GDB, "answer", 6);
    do {
        if (!com2_sending(COM2_TRACE))
            com2_write(COM2_TRACE, much, sizeof(much));
        carry(16);
        com2_pump();
        assert_true(line.sent - before < 2 * COM2_FRAME_MAX);
    } while (!heard(&f) || f.channel != COM2_GDB);
    assert_memory_equal(f.payload, "answer", 6);
}

static void what_gdb_says_does_not_get_lost(void **state)
{
    static uint8_t packet[4100];
    struct com2_channel_state c;
    struct com2_frame f;
    size_t got = 0, room = com2_room(COM2_GDB);

    assert_true(room > 2 * sizeof(packet)); /* gdb.c wants it so */
    for (size_t i = 0; i < sizeof(packet); i++)
        packet[i] = (uint8_t)i;
    for (unsigned i = 0; i < 3; i++)
        com2_write(COM2_GDB, packet, sizeof(packet));
    assert_true(com2_room(COM2_GDB) < room);
    for (unsigned i = 0; i < 10; i++) /* does not fit any more */
        com2_write(COM2_GDB, packet, sizeof(packet));
    assert_true(com2_channel_state(COM2_GDB, &c));
    assert_int_not_equal(c.sent.lost_bytes, 0);
    assert_int_equal(c.sent.lost_bytes % sizeof(packet), 0);
    com2_flush();
    while (heard(&f)) {
        assert_memory_equal(f.payload, packet + got % sizeof(packet), f.length);
        got += f.length;
    }
    assert_int_equal(got + c.sent.lost_bytes, 13 * sizeof(packet));
    assert_int_equal(com2_room(COM2_GDB), room);
}

/* The last thing on the line is a status, which has the last counts; a stuck port is given up. */
static void the_end(void **state)
{
    com2_write(COM2_TRACE, "last", 4);
    com2_write(COM2_GDB, "word", 4);
    com2_flush();
    assert_false(com2_sending(COM2_TRACE) || com2_sending(COM2_GDB));
    assert_int_equal(line.waiting, 0);
    unsigned frames = 0, statuses = 0, last = 0;
    struct com2_frame f;
    for (; looked_at < line.sent; looked_at++) {
        com2_receiver_put(&receiver, line.cable[looked_at]);
        while (com2_receiver_next(&receiver, &f)) {
            frames++;
            statuses += f.channel == COM2_CONTROL;
            last = f.channel;
        }
    }
    assert_int_equal(last, COM2_CONTROL);
    assert_int_equal(statuses, 2);
    assert_int_equal(frames, 4);
    line.stuck = true;
    com2_write(COM2_TRACE, "more", 4);
    com2_flush();
    assert_true(serial_sending(&com2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(no_port, fresh),
        cmocka_unit_test_setup(plain_is_one_users, fresh),
        cmocka_unit_test_setup(plain_bytes_are_as_they_are, fresh),
        cmocka_unit_test_setup(both_share_it, with_frames),
        cmocka_unit_test_setup(gdb_does_not_wait_for_the_trace, with_frames),
        cmocka_unit_test_setup(what_gdb_says_does_not_get_lost, with_frames),
        cmocka_unit_test_setup(the_end, with_frames),
    };

    return cmocka_run_group_tests_name("com2", tests, NULL, NULL);
}
