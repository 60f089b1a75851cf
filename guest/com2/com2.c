#include "guest/com2/com2.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/run/run.h"

/* With frames: as often as the port's FIFO is empty at 115200 baud, ten bits a byte. */
#define PUMP_HZ (11520 / SERIAL_FIFO)
/* The port is given its next frame when no more than that waits there: what is urgent then waits
 * for one frame and this, some 30 ms. */
#define BACKLOG 64
/* Bytes that are looked at in one go. */
#define INPUT_MAX 256

/* Bytes of the queues. gdb's hold more than two of its packets on their way out, and one that
 * comes. */
#define GDB_OUT     16384u
#define GDB_IN      4096u
#define TRACE_OUT   1024u
#define SCREEN_OUT  12288u /* more than a row of points takes */
#define CAPTURE_OUT 2064u  /* eight whole frames */

static const struct com2_kind kinds[COM2_USERS] = {
    [COM2_CONTROL] = COM2_CONTROL_KIND,
    [COM2_GDB] = {"gdb", COM2_URGENT, GDB_OUT, GDB_IN},
    [COM2_TRACE] = {"trace", COM2_BULK, TRACE_OUT, 0},
    [COM2_SCREEN] = {"screen", COM2_BULK, SCREEN_OUT, 0},
    [COM2_CAPTURE] = {"capture", COM2_BULK, CAPTURE_OUT, 0},
};
static uint8_t memory[COM2_FRAME_MAX + GDB_OUT + GDB_IN + TRACE_OUT + SCREEN_OUT + CAPTURE_OUT];

static bool framed;
static unsigned owner;                               /* plain: whose it is */
static uint64_t plain_sent, plain_heard, plain_lost; /* its owner's calls do not overlap */

static struct spinlock lock = SPINLOCK(RANK_COM2); /* over what is below */
static struct com2_mux mux;

static bool listens(unsigned user)
{
    return kinds[user].in;
}

static void arrived(void)
{
    run_attention(0);
}

static void listen(void)
{
    serial_set_rx_handler(&com2, arrived);
    if (serial_enable_interrupts(&com2) < 0)
        log_debug("%s: the second serial port is polled", framed ? "com2" : kinds[owner].name);
}

/* --- who has it --- */

void com2_init(bool frames)
{
    if (!frames)
        return;
    if (!serial_present(&com2)) {
        log_warn("com2: there is no second serial port (2F8h) for frames");
        return;
    }
    framed = true;
    com2_mux_init(&mux, kinds, COM2_USERS, memory, rdtsc(), tsc_hz);
    listen();
    log_info("com2: the second serial port carries frames: tools/com2 takes them apart");
}

bool com2_framed(void)
{
    return framed;
}

bool com2_may_open(enum com2_user u)
{
    return serial_present(&com2) && (framed || !owner || owner == u);
}

int com2_open(enum com2_user u)
{
    if (!serial_present(&com2))
        return -ENODEV;
    if (framed) {
        spin_lock(&lock);
        mux.channel[u].used = true;
        spin_unlock(&lock);
        return 0;
    }
    if (owner && owner != u)
        return -EBUSY;
    if (!owner && listens(u)) {
        owner = u;
        listen();
    }
    owner = u;
    return 0;
}

/* --- bytes --- */

static unsigned backlog(void)
{
    return (unsigned)(SERIAL_TX_SIZE - serial_room(&com2));
}

/* With the lock held. */
static void move(void)
{
    uint8_t frame[COM2_FRAME_MAX];
    uint64_t now = rdtsc();
    size_t length;
    int byte;

    (void)serial_poll(&com2);
    for (unsigned i = 0; i < INPUT_MAX && (byte = serial_read(&com2)) >= 0; i++)
        com2_mux_input(&mux, (uint8_t)byte, now);
    com2_mux_idle(&mux, now);
    while (backlog() <= BACKLOG && (length = com2_mux_next(&mux, now, frame)))
        serial_write(&com2, frame, length);
}

size_t com2_room(enum com2_user u)
{
    size_t room;

    if (!framed)
        return serial_room(&com2);
    spin_lock(&lock);
    room = com2_mux_room(&mux, u);
    spin_unlock(&lock);
    return room;
}

void com2_write(enum com2_user u, const void *data, size_t size)
{
    if (!framed) {
        size_t taken = serial_write(&com2, data, size);

        plain_sent += taken;
        plain_lost += size - taken;
        return;
    }
    spin_lock(&lock);
    (void)com2_mux_put(&mux, u, data, size);
    move();
    spin_unlock(&lock);
}

bool com2_sending(enum com2_user u)
{
    bool waits;

    if (!framed)
        return serial_sending(&com2);
    spin_lock(&lock);
    waits = com2_mux_waits(&mux, u);
    spin_unlock(&lock);
    return waits;
}

int com2_read(enum com2_user u)
{
    int byte;

    if (!framed) {
        byte = serial_read(&com2);
        plain_heard += byte >= 0;
        return byte;
    }
    spin_lock(&lock);
    byte = com2_mux_get(&mux, u);
    spin_unlock(&lock);
    return byte;
}

void com2_poll(void)
{
    if (!framed) {
        (void)serial_poll(&com2);
    } else if (spin_trylock(&lock)) { /* else another CPU does it */
        move();
        spin_unlock(&lock);
    }
}

uint64_t com2_pump(void)
{
    com2_poll();
    return rdtsc() + tsc_hz / PUMP_HZ;
}

uint64_t com2_greetings(void)
{
    uint64_t greetings;

    spin_lock(&lock);
    greetings = mux.greetings;
    spin_unlock(&lock);
    return greetings;
}

/* Until everything is on its way, or the port is stuck. */
static void drain(void)
{
    unsigned left;

    do {
        spin_lock(&lock);
        move();
        left = backlog();
        spin_unlock(&lock);
        serial_flush(&com2);
    } while (left && !serial_sending(&com2));
}

void com2_flush(void)
{
    if (!framed) {
        if (owner && listens(owner))
            serial_flush(&com2);
        return;
    }
    drain();
    spin_lock(&lock);
    com2_mux_tell(&mux); /* the last word on what was lost */
    spin_unlock(&lock);
    drain();
}

/* --- for the monitor --- */

const char *com2_user_name(unsigned user)
{
    return kinds[user].name;
}

struct com2_state com2_state(void)
{
    struct com2_state s = {
        .present = serial_present(&com2),
        .framed = framed,
        .owner = owner,
        .sent = plain_sent,
        .heard = plain_heard,
        .lost = plain_lost,
        .backlog = backlog(),
    };

    spin_lock(&lock);
    s.skipped = mux.receiver.skipped;
    s.damaged = mux.receiver.damaged;
    s.strangers = mux.strangers;
    spin_unlock(&lock);
    return s;
}

bool com2_channel_state(unsigned channel, struct com2_channel_state *s)
{
    if (!framed || channel >= COM2_USERS)
        return false;
    spin_lock(&lock);
    const struct com2_channel *c = &mux.channel[channel];
    *s = (struct com2_channel_state){.name = c->kind->name,
                                     .used = c->used,
                                     .waiting = c->out.used,
                                     .sent = c->sent,
                                     .received = c->received};
    spin_unlock(&lock);
    return true;
}
