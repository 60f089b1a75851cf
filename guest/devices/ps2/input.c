/*
 * See input.h. Keys that are typed from outside wait here, and reach the keyboard one by one, each
 * a while after the guest has read the one before: a driver that is just probing never finds more
 * than a person could have typed.
 */
#include "guest/devices/ps2/input.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/keyboard.h"

#define KEYS_PER_SECOND 100
#define BUTTONS         (PS2_LEFT | PS2_RIGHT | PS2_MIDDLE)

struct input {
    struct device dev; /* its lock is the controller's */
    struct keyboard *controller;
    struct ps2_ports ports;
    uint16_t typed[INPUT_TYPED], first, count;
    bool due; /* the timer is set */
};

static struct input *input_of(struct device *d)
{
    return CONTAINER_OF(d, struct input, dev);
}

static void press_later(struct input *i, uint64_t ticks)
{
    if (i->count == 0 || i->due)
        return;
    i->due = true;
    device_timer_set(&i->dev, 0, device_now(&i->dev) + ticks);
}

static void taken(struct ps2_ports *p)
{
    struct input *i = CONTAINER_OF(p, struct input, ports);

    press_later(i, device_tsc_hz(&i->dev) / KEYS_PER_SECOND);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct input *i = input_of(d);

    i->due = false;
    /* When the guest wants it, taken() comes. */
    if (i->count == 0 || !keyboard_is_on(i->controller) ||
        !ps2_keyboard_key(&i->ports.keyboard, i->typed[i->first]))
        return;
    i->first = (i->first + 1) % INPUT_TYPED;
    i->count--;
    keyboard_fill(i->controller);
}

bool input_type(struct device *d, const uint16_t *keys, unsigned count)
{
    struct input *i = input_of(d);
    bool room;

    device_lock(d);
    room = count <= INPUT_TYPED - i->count;
    for (unsigned n = 0; n < count && room; n++)
        i->typed[(i->first + i->count++) % INPUT_TYPED] = keys[n];
    press_later(i, 0);
    device_unlock(d);
    return room;
}

unsigned input_waiting(struct device *d)
{
    device_lock(d);
    unsigned count = input_of(d)->count;
    device_unlock(d);
    return count;
}

void input_mouse(struct device *d, int x, int y, uint8_t buttons)
{
    struct input *i = input_of(d);

    device_lock(d);
    ps2_mouse_move(&i->ports.mouse, x, y, buttons);
    keyboard_fill(i->controller);
    device_unlock(d);
}

/* --- life --- */

/* What was typed for the system that was there before is not for the next one. */
static void reset(struct device *d)
{
    struct input *i = input_of(d);

    ps2_keyboard_reset(&i->ports.keyboard);
    ps2_mouse_reset(&i->ports.mouse);
    i->first = i->count = 0;
    i->due = false;
}

static void save_queue(struct state_writer *w, const struct ps2_queue *q)
{
    state_put_u8(w, q->count);
    for (unsigned i = 0; i < q->count; i++)
        state_put_u8(w, q->bytes[(q->first + i) % PS2_QUEUE]);
}

static int load_queue(struct state_reader *r, struct ps2_queue *q)
{
    uint8_t count = state_get_u8(r);

    *q = (struct ps2_queue){.count = MIN(count, PS2_QUEUE)};
    state_get(r, q->bytes, q->count);
    return count > PS2_QUEUE ? -EBADMSG : 0;
}

static void save(struct device *d, struct state_writer *w)
{
    const struct input *i = input_of(d);
    const struct ps2_keyboard *k = &i->ports.keyboard;
    const struct ps2_mouse *m = &i->ports.mouse;
    const uint8_t bytes[] = {k->scanning, k->set,        k->leds,    k->rate,    k->command,
                             m->reports,  m->remote,     m->echoes,  m->scaled,  m->rate,
                             m->id,       m->resolution, m->buttons, m->command, m->knock[0],
                             m->knock[1], i->due,        m->told};

    save_queue(w, &k->out);
    save_queue(w, &m->out);
    state_put(w, bytes, sizeof(bytes));
    state_put_u32(w, (uint32_t)m->x);
    state_put_u32(w, (uint32_t)m->y);
    state_put_u32(w, (uint32_t)m->z);
    state_put_u16(w, i->count);
    for (unsigned n = 0; n < i->count; n++)
        state_put_u16(w, i->typed[(i->first + n) % INPUT_TYPED]);
}

static int load(struct device *d, struct state_reader *r)
{
    struct input *i = input_of(d);
    struct ps2_keyboard *k = &i->ports.keyboard;
    struct ps2_mouse *m = &i->ports.mouse;
    int error = load_queue(r, &k->out) | load_queue(r, &m->out);
    uint8_t bytes[18];
    uint16_t count;

    state_get(r, bytes, sizeof(bytes));
    k->scanning = bytes[0] & 1;
    k->set = bytes[1];
    k->leds = bytes[2];
    k->rate = bytes[3];
    k->command = bytes[4];
    m->reports = bytes[5] & 1;
    m->remote = bytes[6] & 1;
    m->echoes = bytes[7] & 1;
    m->scaled = bytes[8] & 1;
    m->rate = bytes[9];
    m->id = bytes[10];
    m->resolution = bytes[11];
    m->buttons = bytes[12] & BUTTONS;
    m->command = bytes[13];
    m->knock[0] = bytes[14];
    m->knock[1] = bytes[15];
    i->due = bytes[16] & 1;
    m->told = bytes[17] & BUTTONS;
    m->x = (int32_t)state_get_u32(r);
    m->y = (int32_t)state_get_u32(r);
    m->z = (int32_t)state_get_u32(r);
    count = state_get_u16(r);
    i->first = 0;
    i->count = (uint16_t)MIN(count, INPUT_TYPED);
    for (unsigned n = 0; n < i->count; n++)
        i->typed[n] = state_get_u16(r);
    return error || count > INPUT_TYPED ? -EBADMSG : 0;
}

static const struct device_ops input_ops = {
    .name = "input",
    .version = 2,
    .timer = timer,
    .reset = reset,
    .save = save,
    .load = load,
};

static int check(const char *text, size_t length, char *error)
{
    return !(length == 4 && memcmp(text, "none", 4) == 0);
}

static int create(struct device *d, struct device_setup *s)
{
    struct input *i = input_of(d);

    i->controller = s->keyboard;
    i->ports.taken = taken;
    d->lock = i->controller->dev.lock;
    i->controller->ports = &i->ports;
    return 0;
}

const struct device_class input_class = {
    .ops = &input_ops,
    .size = sizeof(struct input),
    .key = "display",
    .check = check,
    .create = create,
};
