/* links: guest/com2/com2.c guest/com2/frame.c guest/com2/mux.c arch/x86/lib/crc32.c arch/x86/lib/format.c arch/x86/lib/log.c */
/*
 * The second serial port in frames, by threads: some are processors whose exits send the trace, one
 * is processor 0, which looks after the port and answers what comes for gdb, one looks at the
 * counters, and one is the line. It is built with the thread sanitizer (see Makefile), which tells
 * of every access that no lock orders.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/cpu.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/com2/com2.h"
#include "guest/run/run.h"
#include "tests/unit/threads.h"

enum { TRACERS = 3, PACKETS = 200, QUESTIONS = 50, PACKET = 120 };

struct serial_port com2;
uint64_t tsc_hz = 1000000;
static uint64_t ticks; /* atomic */
static bool over;      /* atomic */

uint64_t test_tsc(void)
{
    return __atomic_add_fetch(&ticks, 1, __ATOMIC_RELAXED);
}

void run_attention(unsigned n)
{
}

/* --- the port, whose rings a lock protects, as the real one's --- */

static pthread_mutex_t port = PTHREAD_MUTEX_INITIALIZER;
static struct ring {
    uint8_t bytes[SERIAL_TX_SIZE];
    size_t used;
} to_line, from_line;

static size_t ring_put(struct ring *r, const void *data, size_t size)
{
    pthread_mutex_lock(&port);
    size = MIN(size, sizeof(r->bytes) - r->used);
    memcpy(r->bytes + r->used, data, size);
    r->used += size;
    pthread_mutex_unlock(&port);
    return size;
}

static size_t ring_get(struct ring *r, void *data, size_t size)
{
    pthread_mutex_lock(&port);
    size = MIN(size, r->used);
    memcpy(data, r->bytes, size);
    memmove(r->bytes, r->bytes + size, r->used - size);
    r->used -= size;
    pthread_mutex_unlock(&port);
    return size;
}

static size_t ring_used(struct ring *r)
{
    size_t used;

    pthread_mutex_lock(&port);
    used = r->used;
    pthread_mutex_unlock(&port);
    return used;
}

bool serial_present(const struct serial_port *p)
{
    return true;
}

size_t serial_room(const struct serial_port *p)
{
    return SERIAL_TX_SIZE - ring_used(&to_line);
}

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    return ring_put(&to_line, data, size);
}

bool serial_sending(const struct serial_port *p)
{
    return ring_used(&to_line);
}

bool serial_poll(struct serial_port *p)
{
    return false;
}

int serial_read(struct serial_port *p)
{
    uint8_t byte;

    return ring_get(&from_line, &byte, 1) ? byte : -1;
}

void serial_flush(struct serial_port *p)
{
    while (ring_used(&to_line))
        sched_yield();
}

void serial_set_rx_handler(struct serial_port *p, void (*fn)(void))
{
}

int serial_enable_interrupts(struct serial_port *p)
{
    return 0;
}

/* --- the threads --- */

static pthread_mutex_t stream = PTHREAD_MUTEX_INITIALIZER;
static unsigned packets; /* made so far: stream */

/* As trace_pump() does: who has the stream's lock makes the next packet when the last one is off.
 */
static void *trace(void *arg)
{
    bool more = true;

    while (more) {
        if (pthread_mutex_trylock(&stream) != 0) {
            sched_yield();
            continue;
        }
        if (com2_sending(COM2_TRACE)) {
            com2_poll();
        } else if (packets < PACKETS) {
            uint8_t packet[PACKET];

            memset(packet, (int)(packets % 251), sizeof(packet));
            packets++;
            com2_write(COM2_TRACE, packet, sizeof(packet));
        } else {
            more = false;
        }
        pthread_mutex_unlock(&stream);
        sched_yield();
    }
    return NULL;
}

/* Processor 0: each byte that comes for gdb is answered with two. */
static void *processor_0(void *arg)
{
    int byte;

    while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
        (void)com2_pump();
        while (com2_room(COM2_GDB) > 2 && (byte = com2_read(COM2_GDB)) >= 0) {
            const uint8_t answer[2] = {(uint8_t)byte, (uint8_t)~byte};
            com2_write(COM2_GDB, answer, sizeof(answer));
        }
        sched_yield();
    }
    return NULL;
}

static void *look(void *arg)
{
    struct com2_channel_state c;
    uint64_t frames = 0;

    while (!__atomic_load_n(&over, __ATOMIC_SEQ_CST)) {
        (void)com2_state();
        for (unsigned i = 0; com2_channel_state(i, &c); i++)
            if (i == COM2_TRACE) {
                assert_true(c.sent.frames >= frames);
                frames = c.sent.frames;
            }
        sched_yield();
    }
    return NULL;
}

static unsigned traced, answered, sequence[COM2_USERS];

static void judge(const struct com2_frame *f)
{
    assert_true(f->channel < COM2_USERS);
    assert_int_equal(f->sequence, sequence[f->channel]++);
    if (f->channel == COM2_TRACE) {
        assert_int_equal(f->length, PACKET);
        for (unsigned i = 0; i < PACKET; i++)
            assert_int_equal(f->payload[i], traced % 251);
        traced++;
    }
    for (unsigned i = 0; i < f->length && f->channel == COM2_GDB; i++, answered++)
        assert_int_equal(f->payload[i], (uint8_t)(answered & 1 ? ~(answered / 2) : answered / 2));
}

static void all_share_the_port(void **state)
{
    static struct com2_receiver receiver;
    pthread_t thread[TRACERS + 2];
    struct com2_frame f;
    uint8_t bytes[64], frame[COM2_FRAME_MAX];
    unsigned asked = 0;

    com2_init(true);
    assert_int_equal(com2_open(COM2_GDB), 0);
    assert_int_equal(com2_open(COM2_TRACE), 0);
    for (unsigned i = 0; i < TRACERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, trace, NULL), 0);
    assert_int_equal(pthread_create(&thread[TRACERS], NULL, processor_0, NULL), 0);
    assert_int_equal(pthread_create(&thread[TRACERS + 1], NULL, look, NULL), 0);
    while (traced < PACKETS || answered < 2 * QUESTIONS) {
        if (asked < QUESTIONS && asked <= answered / 2 + 5) {
            const uint8_t question = (uint8_t)asked;
            const struct com2_frame ask = {COM2_GDB, (uint16_t)asked, 1, &question};

            asked++;
            ring_put(&from_line, frame, com2_frame_pack(&ask, frame));
        }
        size_t size = ring_get(&to_line, bytes, sizeof(bytes));

        for (size_t i = 0; i < size; i++) {
            com2_receiver_put(&receiver, bytes[i]);
            while (com2_receiver_next(&receiver, &f))
                judge(&f);
        }
        if (!size)
            sched_yield();
    }
    __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < ARRAY_SIZE(thread); i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(receiver.skipped, 0);
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_share_the_port)};

    return cmocka_run_group_tests_name("com2_threads", tests, NULL, NULL);
}
