/* See capture.h. */
#include "guest/capture/capture.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/com2/com2.h"
#include "guest/vm/nets.h"
#include "mm/heap.h"

#define NS_PER_SECOND 1000000000u

/* While something is captured, or still to be sent. Processor 0 makes it and gives it back, and
 * nobody else has it longer than he has the lock. */
static struct capture {
    struct packets packets; /* with the lock held */
    /* Processor 0's: a block that goes out, piece by piece. A block begins with a frame of the
     * line's. */
    size_t length, sent;
    uint8_t block[PACKETS_BLOCK];
} * capture;

static struct spinlock lock = SPINLOCK(RANK_CAPTURE); /* over these */
static bool on;
static struct capture_what what;
static uint64_t epoch; /* nanoseconds from 1970 to the TSC's 0 */

static uint64_t greetings; /* that were answered */
static uint64_t moved;     /* bytes that the port has taken */
static unsigned number;    /* of captures that there have been */

static uint64_t now(void)
{
    return epoch + tsc_to_ns(rdtsc());
}

/* --- what passes: on any processor --- */

static bool is_wanted(const struct net_port *port, bool sent)
{
    size_t length = strlen(what.card);

    if (what.on)
        return sent && port->on == what.on;
    if (what.card[length - 1] != '/')
        length++; /* all of the name */
    return memcmp(port->what.name, what.card, length) == 0;
}

static void watch(const struct net_port *port, const struct net_frame *frame, bool sent,
                  enum net_drop why)
{
    spin_lock(&lock);
    if (on && is_wanted(port, sent)) {
        const struct packets_frame f = {
            .port = port, .frame = frame, .sent = sent, .why = why, .time = now()};

        packets_see(&capture->packets, &f);
    }
    spin_unlock(&lock);
}

static void watch_switches(bool begins)
{
    struct net_switch *s;

    for (unsigned i = 0; (s = nets_get(i)); i++)
        net_switch_watch(s, begins && (!what.on || s == what.on) ? watch : NULL);
}

/* --- on and off --- */

/* Clocks of the wall are read once: so a capture's times never go back. */
static void set_epoch(void)
{
    int64_t seconds;
    uint32_t microseconds;

    wall_clock_now(&seconds, &microseconds);
    epoch = (uint64_t)seconds * NS_PER_SECOND + microseconds * 1000u - tsc_to_ns(rdtsc());
}

int capture_start(const struct capture_what *w)
{
    struct packets *p;

    if (!com2_framed() || com2_open(COM2_CAPTURE) < 0)
        return -ENODEV;
    if (!capture)
        capture = heap_alloc(sizeof(*capture));
    if (!capture)
        return -ENOMEM;
    p = &capture->packets;
    spin_lock(&lock);
    set_epoch();
    what = *w;
    packets_init(p, now());
    format(p->about, sizeof(p->about), "capture %u, begun %lu: %s", ++number,
           p->began / NS_PER_SECOND, w->about);
    p->filter = w->filter;
    p->keep = w->keep;
    on = true;
    spin_unlock(&lock);
    watch_switches(true);
    return 0;
}

void capture_stop(void)
{
    watch_switches(false);
    spin_lock(&lock);
    if (on)
        packets_end(&capture->packets);
    on = false;
    spin_unlock(&lock);
}

/* --- out --- */

static void finish(void)
{
    uint64_t matched = 0, lost = 0;

    for (unsigned i = 0; i < capture->packets.count; i++) {
        matched += capture->packets.interface[i].matched;
        lost += capture->packets.interface[i].lost;
    }
    heap_free(capture);
    capture = NULL;
    log_info("capture: %s: all of its packets are sent: %lu; for %lu there was no room", what.about,
             matched - lost, lost);
}

/* Whether there is a block that goes out. */
static bool next_block(struct capture *c)
{
    bool over;

    if (c->sent < c->length)
        return true;
    spin_lock(&lock);
    c->length = packets_next(&c->packets, c->block, now());
    c->sent = 0;
    over = packets_over(&c->packets);
    spin_unlock(&lock);
    if (c->length == 0 && over)
        finish();
    return capture && c->length > 0;
}

static void greet(struct capture *c)
{
    uint64_t heard = com2_greetings();

    if (heard == greetings)
        return;
    greetings = heard;
    spin_lock(&lock);
    packets_again(&c->packets);
    spin_unlock(&lock);
}

uint64_t capture_pump(void)
{
    struct capture *c = capture;

    if (!c)
        return UINT64_MAX;
    greet(c);
    while (com2_room(COM2_CAPTURE) >= COM2_PAYLOAD && next_block(c)) {
        size_t piece = MIN(c->length - c->sent, COM2_PAYLOAD);

        com2_write(COM2_CAPTURE, c->block + c->sent, piece);
        c->sent += piece;
        moved += piece;
    }
    return UINT64_MAX; /* com2_pump() comes as often as the line takes something */
}

uint64_t capture_left(void)
{
    static uint64_t since, before;
    uint64_t now_ticks = rdtsc();
    uint32_t held;

    if (moved != before || now_ticks - since > 2 * tsc_hz) {
        before = moved;
        since = now_ticks;
    }
    if (!capture || now_ticks - since > tsc_hz)
        return 0;
    held = capture_state().held;
    return MAX(held, 1u);
}

/* --- for the monitor --- */

struct capture_state capture_state(void)
{
    struct capture_state s = {.sending = capture};

    spin_lock(&lock);
    s.on = on;
    memcpy(s.about, what.about, sizeof(s.about));
    if (capture) {
        s.interfaces = capture->packets.count;
        s.held = capture->packets.held;
        s.bytes = capture->packets.used;
        s.beyond = capture->packets.beyond;
    }
    spin_unlock(&lock);
    return s;
}

bool capture_interface(unsigned index, struct packets_interface *out)
{
    bool found;

    spin_lock(&lock);
    found = capture && index < capture->packets.count;
    if (found)
        *out = capture->packets.interface[index];
    spin_unlock(&lock);
    return found;
}
