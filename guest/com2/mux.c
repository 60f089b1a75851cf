#include "guest/com2/mux.h"

#include "arch/x86/lib/string.h"

/* --- queues --- */

static void queue_put(struct com2_queue *q, const void *data, size_t size)
{
    size_t head = (q->tail + q->used) % q->size, first = MIN(size, q->size - head);

    memcpy(q->bytes + head, data, first);
    memcpy(q->bytes, (const uint8_t *)data + first, size - first);
    q->used += (unsigned)size;
}

static void queue_get(struct com2_queue *q, void *data, size_t size)
{
    size_t first = MIN(size, q->size - q->tail);

    memcpy(data, q->bytes + q->tail, first);
    memcpy((uint8_t *)data + first, q->bytes, size - first);
    q->tail = (unsigned)((q->tail + size) % q->size);
    q->used -= (unsigned)size;
}

/* --- channels --- */

size_t com2_mux_memory(const struct com2_kind *kinds, unsigned count)
{
    size_t bytes = 0;

    for (unsigned i = 0; i < count; i++)
        bytes += kinds[i].out + kinds[i].in;
    return bytes;
}

void com2_mux_init(struct com2_mux *m, const struct com2_kind *kinds, unsigned count,
                   uint8_t *memory, uint64_t now, uint64_t second)
{
    *m = (struct com2_mux){.count = count, .began = now, .second = second, .asked = true};
    for (unsigned i = 0; i < count; i++) {
        struct com2_channel *c = &m->channel[i];

        c->kind = &kinds[i];
        c->out = (struct com2_queue){.bytes = memory, .size = kinds[i].out};
        c->in = (struct com2_queue){.bytes = memory + kinds[i].out, .size = kinds[i].in};
        memory += kinds[i].out + kinds[i].in;
    }
    m->channel[COM2_CONTROL].used = true;
}

bool com2_mux_waits(const struct com2_mux *m, unsigned channel)
{
    return m->channel[channel].out.used;
}

/* --- to the line --- */

/* A queue holds pieces, one for each frame: their length in two bytes, and their bytes. */
#define PIECE_LENGTH 2u

size_t com2_mux_room(const struct com2_mux *m, unsigned channel)
{
    const struct com2_queue *q = &m->channel[channel].out;
    size_t left = q->size - q->used, whole = left / (PIECE_LENGTH + COM2_PAYLOAD),
           rest = left % (PIECE_LENGTH + COM2_PAYLOAD);

    return whole * COM2_PAYLOAD + (rest > PIECE_LENGTH ? rest - PIECE_LENGTH : 0);
}

bool com2_mux_put(struct com2_mux *m, unsigned channel, const void *data, size_t size)
{
    struct com2_channel *c = &m->channel[channel];
    const uint8_t *bytes = data;

    m->changes += channel != COM2_CONTROL;
    if (size > com2_mux_room(m, channel)) {
        c->sent.lost_frames += (size + COM2_PAYLOAD - 1) / COM2_PAYLOAD;
        c->sent.lost_bytes += size;
        return false;
    }
    /* Who has had nothing to say saves up no turns for later. */
    if (!c->out.used)
        c->served = MAX(c->served, m->served[c->kind->class]);
    while (size) {
        size_t piece = MIN(size, COM2_PAYLOAD);
        const uint8_t length[PIECE_LENGTH] = {(uint8_t)piece, (uint8_t)(piece >> 8)};

        queue_put(&c->out, length, sizeof(length));
        queue_put(&c->out, bytes, piece);
        bytes += piece;
        size -= piece;
    }
    return true;
}

/* The channel of a class that waits and has had the least; NULL when none waits. */
static struct com2_channel *least_served(struct com2_mux *m, enum com2_class class)
{
    struct com2_channel *found = NULL;

    for (unsigned i = 0; i < m->count; i++) {
        struct com2_channel *c = &m->channel[i];

        if (c->kind->class == class && c->out.used && (!found || c->served < found->served))
            found = c;
    }
    return found;
}

static struct com2_channel *choose(struct com2_mux *m)
{
    struct com2_channel *urgent = least_served(m, COM2_URGENT), *bulk = least_served(m, COM2_BULK);

    if (!bulk || !urgent)
        m->ahead = 0;
    return urgent && m->ahead < COM2_AHEAD ? urgent : bulk ? bulk : urgent;
}

static size_t take(struct com2_mux *m, struct com2_channel *c, uint8_t out[COM2_FRAME_MAX])
{
    uint8_t payload[COM2_PAYLOAD], piece[PIECE_LENGTH];
    size_t length;

    queue_get(&c->out, piece, PIECE_LENGTH);
    length = piece[0] | (size_t)piece[1] << 8;
    queue_get(&c->out, payload, length);
    const struct com2_frame f = {.channel = (uint8_t)(c - m->channel),
                                 .sequence = c->sequence++,
                                 .length = length,
                                 .payload = payload};
    c->sent.frames++;
    c->sent.bytes += length;
    length = com2_frame_pack(&f, out);
    m->served[c->kind->class] = c->served;
    c->served += length;
    m->ahead = c->kind->class == COM2_URGENT ? m->ahead + (unsigned)length : 0;
    return length;
}

/* --- status --- */

#define STATUS_HEAD    (2 + 8 + 3 * 4) /* bytes */
#define STATUS_CHANNEL (3 + COM2_NAME_MAX + 7 * 4)

_Static_assert(STATUS_HEAD + 6 * STATUS_CHANNEL <= COM2_PAYLOAD, "a status of six channels fits");

static uint8_t *put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

/* What does not fit is left out. */
static void put_status(struct com2_mux *m)
{
    uint8_t status[COM2_PAYLOAD], *at = status;

    at = put(at, COM2_STATUS, 1);
    at = put(at, COM2_VERSION, 1);
    at = put(at, m->began, 8);
    at = put(at, m->receiver.skipped, 4);
    at = put(at, m->receiver.damaged, 4);
    at = put(at, m->strangers, 4);
    for (unsigned i = 0; i < m->count && at + STATUS_CHANNEL <= status + sizeof(status); i++) {
        const struct com2_channel *c = &m->channel[i];
        size_t length = MIN(strlen(c->kind->name), COM2_NAME_MAX);

        at = put(at, i, 1);
        at = put(at, c->used, 1);
        at = put(at, length, 1);
        memcpy(at, c->kind->name, length);
        at = put(at + length, c->sent.frames, 4);
        at = put(at, c->sent.lost_frames, 4);
        at = put(at, c->sent.lost_bytes, 4);
        at = put(at, c->received.frames, 4);
        at = put(at, c->received.missing, 4);
        at = put(at, c->received.lost_frames, 4);
        at = put(at, c->received.lost_bytes, 4);
    }
    (void)com2_mux_put(m, COM2_CONTROL, status, (size_t)(at - status));
}

void com2_mux_tell(struct com2_mux *m)
{
    m->asked = true;
}

static void status_if_due(struct com2_mux *m, uint64_t now)
{
    if (com2_mux_waits(m, COM2_CONTROL) ||
        !(m->asked || (m->changes != m->told && now >= m->next_status)))
        return;
    m->asked = false;
    m->told = m->changes;
    m->next_status = now + m->second / COM2_STATUS_PER_SECOND;
    put_status(m);
}

size_t com2_mux_next(struct com2_mux *m, uint64_t now, uint8_t out[COM2_FRAME_MAX])
{
    struct com2_channel *c;

    status_if_due(m, now);
    c = choose(m);
    return c ? take(m, c, out) : 0;
}

/* --- from the line --- */

/* The other end has begun: its frames count from 0, and it wants to know how things are. */
static void hello(struct com2_mux *m)
{
    for (unsigned i = 0; i < m->count; i++)
        m->channel[i].heard = false;
    m->asked = true;
    m->greetings++;
}

static void arrived(struct com2_mux *m, const struct com2_frame *f)
{
    struct com2_channel *c;

    m->changes++;
    if (f->channel >= m->count) {
        m->strangers++;
        return;
    }
    c = &m->channel[f->channel];
    if (f->channel == COM2_CONTROL && f->length && f->payload[0] == COM2_HELLO)
        hello(m);
    if (c->heard)
        c->received.missing += (uint16_t)(f->sequence - c->expected);
    c->heard = true;
    c->expected = (uint16_t)(f->sequence + 1);
    if (f->channel != COM2_CONTROL && f->length > c->in.size - c->in.used) {
        c->received.lost_frames++;
        c->received.lost_bytes += f->length;
        return;
    }
    c->received.frames++;
    c->received.bytes += f->length;
    if (f->channel != COM2_CONTROL && f->length)
        queue_put(&c->in, f->payload, f->length);
}

static void take_frames(struct com2_mux *m)
{
    struct com2_frame f;

    while (com2_receiver_next(&m->receiver, &f))
        arrived(m, &f);
}

void com2_mux_input(struct com2_mux *m, uint8_t byte, uint64_t now)
{
    uint64_t skipped = m->receiver.skipped;

    m->heard_at = now;
    com2_receiver_put(&m->receiver, byte);
    take_frames(m);
    m->changes += m->receiver.skipped != skipped;
}

void com2_mux_idle(struct com2_mux *m, uint64_t now)
{
    if (!m->receiver.used || now - m->heard_at <= m->second)
        return;
    while (com2_receiver_give_up(&m->receiver))
        take_frames(m);
    m->changes++;
}

int com2_mux_get(struct com2_mux *m, unsigned channel)
{
    struct com2_queue *q = &m->channel[channel].in;
    uint8_t byte;

    if (!q->used)
        return -1;
    queue_get(q, &byte, 1);
    return byte;
}
