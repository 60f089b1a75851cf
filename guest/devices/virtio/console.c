/* virtio-console (Virtio 1.2, "Console Device"), with several ports: port 0 is a console, the
 * others carry bytes. */
#include "guest/devices/virtio/console.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/config/config.h"
#include "guest/devices/virtio/virtio.h"

#define TYPE  3
#define CLASS 0x078000 /* PCI: communication controller, other */

#define F_SIZE      BIT(0)
#define F_MULTIPORT BIT(1)

struct layout {
    uint16_t columns, rows;
    uint32_t max_nr_ports, emerg_wr;
} PACKED;
_Static_assert(sizeof(struct layout) <= VIRTIO_CONFIG_SIZE, "Virtio: struct virtio_console_config");

/* "Multiport Device Operation" */
enum {
    DEVICE_READY,
    DEVICE_ADD,
    DEVICE_REMOVE,
    PORT_READY,
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN,
    PORT_NAME,
};
struct control {
    uint32_t id;
    uint16_t event, value;
} PACKED;
struct control_message {
    struct control c;
    char more[8]; /* a name; or columns and rows */
} PACKED;
/* What there is to tell of a port, in this order. */
static const uint8_t order[] = {DEVICE_ADD, CONSOLE_PORT, PORT_NAME, RESIZE, PORT_OPEN};

/* "Virtqueues" of this device: two for port 0, two for control messages, two for each other port.
 */
#define CONTROL_IN  2u
#define CONTROL_OUT 3u
_Static_assert(2 * (CONFIG_MAX_PORTS + 1) <= VIRTIO_QUEUES, "two for each port");

#define TYPED   1024u /* bytes of a port that wait for the guest */
#define PIECE   64u   /* bytes that are handed on at once */
#define AT_ONCE 4096u /* bytes before the timer comes, */
#define LOOK    32u   /* for as many of which each look at a queue counts */
#define FULL_HZ 500   /* how often it tries where nobody takes what a guest says */

struct port {
    uint32_t sent;    /* bytes of the chain that is the next one it sends from */
    uint8_t pending;  /* events that are to be told: a bit each */
    bool there, open; /* as struct vconsole_port says */
    uint16_t first, count;
    uint8_t typed[TYPED];
    uint64_t dropped;
};

struct console {
    struct virtio virtio; /* first */
    size_t (*put)(void *context, unsigned port, const void *data, size_t size);
    void *context;
    unsigned ports;
    uint32_t waiting; /* queues that are to be looked at again: a bit each */
    uint32_t left;    /* of AT_ONCE */
    struct port port[CONFIG_MAX_PORTS];
    struct virtq_chain chain; /* the one being looked at */
};

static struct console *console_of(struct device *d)
{
    return CONTAINER_OF(d, struct console, virtio.dev);
}

static struct layout *config_of(struct console *c)
{
    return (struct layout *)c->virtio.config;
}

static bool is_multiport(const struct console *c)
{
    return c->virtio.accepted & F_MULTIPORT;
}

static unsigned queue_in(unsigned port)
{
    return port == 0 ? 0 : 2 * port + 2;
}

static bool usable(const struct console *c, unsigned queue)
{
    return virtio_running(&c->virtio) && c->virtio.queue[queue].enabled &&
           (queue < CONTROL_IN || is_multiport(c));
}

/* A driver that knows of one port only has it open all the time. */
static bool is_open(const struct console *c, unsigned port)
{
    return is_multiport(c) ? c->port[port].open : port == 0 && virtio_running(&c->virtio);
}

/* --- to the guest --- */

/* Copy into the part of the chain that is the device's to write, from offset on, as far as that
 * goes: how much that was; 0 also where it is no RAM. */
static uint32_t fill(struct console *c, uint32_t offset, const void *data, uint32_t size)
{
    uint32_t done = 0;

    for (unsigned i = c->chain.readable; i < c->chain.count && done < size; i++) {
        const struct virtq_segment *s = &c->chain.segment[i];

        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        uint32_t n = MIN(size - done, s->length - offset);
        if (device_memory_write(&c->virtio.dev, s->gpa + offset, (const char *)data + done, n) < 0)
            return 0;
        done += n;
        offset = 0;
    }
    return done;
}

/* Into one chain as much as was typed. */
static bool fill_typed(struct console *c, struct port *p, struct virtq *q)
{
    uint32_t done = 0, n;

    do {
        n = fill(c, done, p->typed + p->first, MIN(p->count, TYPED - p->first));
        done += n;
        p->first = (uint16_t)((p->first + n) % TYPED);
        p->count = (uint16_t)(p->count - n);
    } while (n && p->count && p->first == 0);
    virtq_return(q, &c->chain, done);
    return done;
}

/* What was typed, as far as the guest has buffers for it; each of those takes one byte at least. */
static void deliver(struct console *c, unsigned port)
{
    struct virtq *q = &c->virtio.queue[queue_in(port)];
    struct port *p = &c->port[port];
    unsigned looks = 0;
    int result = 0;

    if (!usable(c, queue_in(port)))
        return;
    do {
        while (p->count && (result = virtq_next(q, &c->chain)) > 0)
            if (!fill_typed(c, p, q))
                q->broken = true;
    } while (p->count && looks++ < PIECE && virtq_listen(q));
    if (!p->count)
        virtq_silence(q); /* buffers are of no interest */
    else if (looks > PIECE)
        c->waiting |= 1u << queue_in(port);
    if (result < 0 || q->broken)
        virtio_broken(&c->virtio);
    virtio_returned(&c->virtio, queue_in(port));
}

static uint32_t make_message(const struct console *c, unsigned port, unsigned event,
                             struct control_message *m)
{
    const struct layout *config = (const struct layout *)c->virtio.config;
    static const char name[] = "corbel.";

    *m = (struct control_message){.c = {port, (uint16_t)event, event != DEVICE_ADD}};
    if (event == PORT_NAME) {
        memcpy(m->more, name, sizeof(name) - 1);
        m->more[sizeof(name) - 1] = (char)('0' + port);
        return sizeof(struct control) + sizeof(name);
    }
    if (event == RESIZE) {
        memcpy(m->more, &config->columns, sizeof(config->columns));
        memcpy(m->more + sizeof(config->columns), &config->rows, sizeof(config->rows));
        return sizeof(struct control) + 4;
    }
    return sizeof(struct control);
}

/* The next event that is to be told, and of which port; false: none is. */
static bool next_event(const struct console *c, unsigned *port, unsigned *event)
{
    for (*port = 0; *port < c->ports; ++*port)
        for (unsigned i = 0; i < sizeof(order); i++)
            if (c->port[*port].pending >> order[i] & 1) {
                *event = order[i];
                return true;
            }
    return false;
}

/* At most as many messages as there are bits; the rest when the driver has more buffers. */
static void tell(struct console *c)
{
    struct virtq *q = &c->virtio.queue[CONTROL_IN];
    unsigned port, event, looks = 0;
    struct control_message m;
    int result = 0;

    if (!usable(c, CONTROL_IN))
        return;
    do {
        while (next_event(c, &port, &event) && (result = virtq_next(q, &c->chain)) > 0) {
            uint32_t size = make_message(c, port, event, &m);

            c->port[port].pending &= (uint8_t) ~(1u << event);
            if (fill(c, 0, &m, size) < size)
                q->broken = true;
            virtq_return(q, &c->chain, size);
        }
    } while (next_event(c, &port, &event) && looks++ < PIECE && virtq_listen(q));
    if (!next_event(c, &port, &event))
        virtq_silence(q);
    else if (looks > PIECE)
        c->waiting |= 1u << CONTROL_IN;
    if (result < 0 || q->broken)
        virtio_broken(&c->virtio);
    virtio_returned(&c->virtio, CONTROL_IN);
}

/* --- from the guest --- */

static void hear(struct console *c, const struct control *m)
{
    if (m->event == DEVICE_READY && m->value == 1)
        for (unsigned i = 0; i < c->ports; i++)
            c->port[i].pending = 1u << DEVICE_ADD;
    if (m->id >= c->ports)
        return;
    struct port *p = &c->port[m->id];
    if (m->event == PORT_READY && m->value == 1) {
        p->there = true;
        p->pending |= 1u << PORT_NAME | 1u << PORT_OPEN;
        if (m->id == 0)
            p->pending |= 1u << CONSOLE_PORT;
        if (m->id == 0 && (c->virtio.accepted & F_SIZE) && config_of(c)->columns)
            p->pending |= 1u << RESIZE;
    }
    if (m->event == PORT_OPEN) {
        p->open = m->value == 1;
        if (!p->open) {
            p->dropped += p->count;
            p->count = 0;
        }
    }
}

static void take_control(struct console *c, struct virtq *q)
{
    struct control m;

    if (virtq_readable(&c->chain) < sizeof(m))
        return;
    if (virtq_read(q, &c->chain, 0, &m, sizeof(m)))
        hear(c, &m);
    else
        q->broken = true;
}

/* What the chain says. False: not all of it now. */
static bool take_bytes(struct console *c, struct virtq *q, unsigned port)
{
    struct port *p = &c->port[port];
    uint64_t size = virtq_readable(&c->chain);
    uint8_t piece[PIECE];

    while (p->sent < size) {
        uint64_t most = MIN(PIECE, size - p->sent);
        size_t n = (size_t)MIN(most, c->left), taken;

        if (!virtq_read(q, &c->chain, p->sent, piece, n)) {
            q->broken = true;
            break;
        }
        taken = n ? c->put(c->context, port, piece, n) : 0;
        p->sent += (uint32_t)taken;
        c->left -= (uint32_t)taken;
        if (taken < most)
            return false;
    }
    p->sent = 0;
    return true;
}

static bool take_chain(struct console *c, unsigned queue)
{
    struct virtq *q = &c->virtio.queue[queue];

    if (queue != CONTROL_OUT)
        return take_bytes(c, q, queue == 1 ? 0 : queue / 2 - 1);
    take_control(c, q);
    return true;
}

static void spend(struct console *c, uint32_t much)
{
    c->left -= MIN(c->left, much);
}

/* What can be taken now; the rest when the timer comes. */
static void take(struct console *c, unsigned queue)
{
    struct virtq *q = &c->virtio.queue[queue];
    int result = 0;

    virtq_silence(q);
    do {
        while (c->left > 0 && (result = virtq_next(q, &c->chain)) > 0) {
            spend(c, LOOK);
            if (!take_chain(c, queue)) {
                virtq_put_back(q, &c->chain);
                c->waiting |= 1u << queue;
                return;
            }
            virtq_return(q, &c->chain, 0);
        }
        if (result < 0)
            break;
        if (c->left == 0) {
            c->waiting |= 1u << queue;
            return;
        }
        spend(c, LOOK); /* what has been offered may be taken back each time */
    } while (virtq_listen(q));
    if (q->broken)
        virtio_broken(&c->virtio);
}

/* --- queues --- */

static void wait(struct console *c)
{
    struct device *d = &c->virtio.dev;

    if (c->waiting)
        device_timer_set(d, 0, device_now(d) + (c->left ? device_tsc_hz(d) / FULL_HZ : 0));
}

static void process(struct console *c, unsigned queue)
{
    if (!usable(c, queue))
        return;
    if (queue == CONTROL_IN) {
        tell(c);
    } else if (queue % 2 == 0) {
        deliver(c, queue == 0 ? 0 : queue / 2 - 1);
    } else {
        take(c, queue);
        virtio_returned(&c->virtio, queue);
    }
    if (queue == CONTROL_OUT)
        tell(c);
}

static void process_some(struct console *c, uint32_t queues)
{
    c->waiting &= ~queues;
    for (; queues; queues &= queues - 1)
        process(c, (unsigned)__builtin_ctz(queues));
    wait(c);
}

static void notify(struct virtio *v, unsigned queue)
{
    struct console *c = console_of(&v->dev);

    if (!(c->waiting >> queue & 1))
        process_some(c, 1u << queue);
}

/* However often the guest asks, what it may keep a processor busy with is renewed here alone. */
static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct console *c = console_of(d);

    c->left = AT_ONCE;
    process_some(c, c->waiting);
}

static void stop(struct virtio *v)
{
    struct console *c = console_of(&v->dev);

    for (unsigned i = 0; i < c->ports; i++)
        c->port[i] = (struct port){.dropped = c->port[i].dropped + c->port[i].count};
    c->waiting = 0;
    device_timer_set(&v->dev, 0, TIMER_OFF);
}

static bool idle(struct virtio *v)
{
    return true;
}

static const struct virtio_ops console_ops = {
    .type = TYPE,
    .class = CLASS,
    .notify = notify,
    .stop = stop,
    .idle = idle,
};

/* --- for the VM's owner --- */

void vconsole_look(struct device *d, unsigned port, struct vconsole_port *out)
{
    struct console *c = console_of(d);
    const struct port *p = &c->port[port];

    device_lock(d);
    *out = (struct vconsole_port){
        .there = is_multiport(c) ? p->there : is_open(c, port),
        .open = is_open(c, port),
        .typed = p->count,
        .dropped = p->dropped,
    };
    device_unlock(d);
}

unsigned vconsole_room(struct device *d, unsigned port)
{
    struct console *c = console_of(d);

    device_lock(d);
    unsigned room = is_open(c, port) ? TYPED - c->port[port].count : TYPED;
    device_unlock(d);
    return room;
}

void vconsole_type(struct device *d, unsigned port, uint8_t byte)
{
    struct console *c = console_of(d);
    struct port *p = &c->port[port];

    device_lock(d);
    if (is_open(c, port) && p->count < TYPED) {
        p->typed[(p->first + p->count++) % TYPED] = byte;
        deliver(c, port);
        wait(c);
    } else {
        p->dropped++;
    }
    device_unlock(d);
}

void vconsole_resize(struct device *d, uint16_t columns, uint16_t rows)
{
    struct console *c = console_of(d);

    device_lock(d);
    config_of(c)->columns = columns;
    config_of(c)->rows = rows;
    if (c->virtio.accepted & F_SIZE) {
        virtio_config_changed(&c->virtio);
        if (c->port[0].there)
            c->port[0].pending |= 1u << RESIZE;
        tell(c);
        wait(c);
    }
    device_unlock(d);
}

/* --- life --- */

static void save(struct device *d, struct state_writer *w)
{
    struct console *c = console_of(d);

    virtio_save(d, w);
    state_put_u16(w, config_of(c)->columns);
    state_put_u16(w, config_of(c)->rows);
    state_put_u32(w, c->waiting);
    state_put_u32(w, c->left);
    for (unsigned i = 0; i < c->ports; i++) {
        const struct port *p = &c->port[i];
        state_put_u32(w, p->sent);
        state_put_u8(w, p->pending);
        state_put_u8(w, p->there);
        state_put_u8(w, p->open);
        state_put_u16(w, p->count);
        for (unsigned n = 0; n < p->count; n++)
            state_put_u8(w, p->typed[(p->first + n) % TYPED]);
    }
}

static void load_port(struct port *p, struct state_reader *r)
{
    unsigned events = 0;

    for (unsigned i = 0; i < sizeof(order); i++)
        events |= 1u << order[i];
    *p = (struct port){.sent = state_get_u32(r), .dropped = p->dropped};
    p->pending = (uint8_t)(state_get_u8(r) & events);
    p->there = state_get_u8(r) & 1;
    p->open = state_get_u8(r) & 1;
    p->count = state_get_u16(r);
    p->count = MIN(p->count, TYPED);
    for (unsigned n = 0; n < p->count; n++)
        p->typed[n] = state_get_u8(r);
}

static int load(struct device *d, struct state_reader *r)
{
    struct console *c = console_of(d);
    int error = virtio_load(d, r);

    config_of(c)->columns = state_get_u16(r);
    config_of(c)->rows = state_get_u16(r);
    c->waiting = state_get_u32(r) & ((1u << c->virtio.queue_count) - 1);
    c->left = state_get_u32(r);
    c->left = MIN(c->left, AT_ONCE);
    for (unsigned i = 0; i < c->ports; i++)
        load_port(&c->port[i], r);
    return error; /* the timer that queues wait for is kept by the bus */
}

static const struct device_ops device_ops = {
    .name = "virtio-console",
    .version = 1,
    .mmio_read = virtio_mmio_read,
    .mmio_write = virtio_mmio_write,
    .timer = timer,
    .idle = virtio_idle,
    .reset = virtio_reset,
    .save = save,
    .load = load,
};

static int create(struct device *d, struct device_setup *s)
{
    struct console *c = console_of(d);

    c->put = s->host->port_put;
    c->context = s->host->context;
    for (size_t i = 0; i < s->length; i++) /* a number, says the config's parser */
        c->ports = 10 * c->ports + (unsigned)(s->text[i] - '0');
    c->left = AT_ONCE;
    c->virtio.ops = &console_ops;
    c->virtio.queue_count = 2 * (c->ports + 1);
    c->virtio.offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC |
                        VIRTIO_F_EVENT_IDX | F_SIZE | F_MULTIPORT;
    config_of(c)->columns = 80;
    config_of(c)->rows = 24;
    config_of(c)->max_nr_ports = c->ports;
    c->virtio.config_size = sizeof(struct layout);
    return virtio_attach(&c->virtio, s->pci);
}

const struct device_class virtio_console_class = {
    .ops = &device_ops,
    .size = sizeof(struct console),
    .key = "console",
    .create = create,
};
