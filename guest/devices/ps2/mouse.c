/* See ps2.h: the mouse. */
#include "guest/devices/ps2/ps2_queue.h"

#define ACK    0xfa
#define RESEND 0xfe
#define PASSED 0xaa

enum {
    SCALE_1 = 0xe6,
    SCALE_2 = 0xe7,
    SET_RESOLUTION = 0xe8,
    STATUS = 0xe9,
    STREAM = 0xea,
    READ = 0xeb,
    ECHO_OFF = 0xec,
    ECHO_ON = 0xee,
    REMOTE = 0xf0,
    IDENTIFY = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    SET_DEFAULTS = 0xf6,
    RESET = 0xff,
};

#define WITH_WHEEL 3 /* its id after rates of 200, 100 and 80 */
#define MOST       255
#define MOST_WHEEL 7

static void set_defaults(struct ps2_mouse *m)
{
    m->reports = m->remote = m->echoes = m->scaled = false;
    m->rate = 100;
    m->resolution = 2;
    m->x = m->y = m->z = 0;
    m->told = m->buttons;
    ps2_clear(&m->out);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    *m = (struct ps2_mouse){0};
    set_defaults(m);
}

static int take(int32_t *moved, int most)
{
    int now = *moved > most ? most : *moved < -most ? -most : *moved;

    *moved -= now;
    return now;
}

/* Three bytes, or four with a wheel; y goes up. */
static void put_report(struct ps2_mouse *m)
{
    int x = take(&m->x, MOST), y = -take(&m->y, MOST);

    m->told = m->buttons;
    ps2_put(&m->out, (uint8_t)(m->buttons | 8 | (x < 0) << 4 | (y < 0) << 5));
    ps2_put(&m->out, (uint8_t)x);
    ps2_put(&m->out, (uint8_t)y);
    if (m->id == WITH_WHEEL)
        ps2_put(&m->out, (uint8_t)take(&m->z, MOST_WHEEL));
}

static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
    if (m->knock[0] == 200 && m->knock[1] == 100 && rate == 80)
        m->id = WITH_WHEEL;
    m->knock[0] = m->knock[1];
    m->knock[1] = rate;
    m->rate = rate;
}

static void put_status(struct ps2_mouse *m)
{
    ps2_put(&m->out, (uint8_t)((m->buttons & PS2_LEFT) << 2 | (m->buttons & PS2_MIDDLE) >> 1 |
                               (m->buttons & PS2_RIGHT) >> 1 | m->scaled << 4 | m->reports << 5 |
                               m->remote << 6));
    ps2_put(&m->out, m->resolution);
    ps2_put(&m->out, m->rate);
}

/* Commands that have no parameter, and ask for nothing more than an acknowledgement. */
static bool set(struct ps2_mouse *m, uint8_t byte)
{
    switch (byte) {
    case SCALE_1:
    case SCALE_2:
        m->scaled = byte == SCALE_2;
        return true;
    case STREAM:
    case REMOTE:
        m->remote = byte == REMOTE;
        return true;
    case ECHO_OFF:
    case ECHO_ON:
        m->echoes = byte == ECHO_ON;
        return true;
    case ENABLE:
    case DISABLE:
        ps2_clear(&m->out);
        m->told = m->buttons;
        m->reports = byte == ENABLE;
        return true;
    case SET_DEFAULTS:
        set_defaults(m);
        return true;
    default:
        return false;
    }
}

static void ask(struct ps2_mouse *m, uint8_t byte)
{
    switch (byte) {
    case SET_RESOLUTION:
    case SET_RATE:
        m->command = byte;
        ps2_put(&m->out, ACK);
        break;
    case STATUS:
        ps2_put(&m->out, ACK);
        put_status(m);
        break;
    case READ:
        ps2_put(&m->out, ACK);
        put_report(m);
        break;
    case IDENTIFY:
        ps2_put(&m->out, ACK);
        ps2_put(&m->out, m->id);
        break;
    case RESET:
        ps2_mouse_reset(m);
        ps2_put(&m->out, ACK);
        ps2_put(&m->out, PASSED);
        ps2_put(&m->out, m->id);
        break;
    default:
        ps2_put(&m->out, RESEND);
        break;
    }
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t command = m->command;

    m->command = 0;
    if (m->echoes && byte != RESET && byte != ECHO_OFF) {
        ps2_put(&m->out, byte);
    } else if (command) {
        if (command == SET_RATE)
            set_rate(m, byte);
        else
            m->resolution = byte & 3;
        ps2_put(&m->out, ACK);
    } else if (set(m, byte)) {
        ps2_put(&m->out, ACK);
    } else {
        ask(m, byte);
    }
}

/* --- what it does by itself --- */

#define FURTHEST 100000 /* that is remembered until the host reads */

static int32_t moved(int32_t before, int by)
{
    int64_t now = (int64_t)before + by;

    return (int32_t)(now > FURTHEST ? FURTHEST : now < -FURTHEST ? -FURTHEST : now);
}

void ps2_mouse_report(struct ps2_mouse *m)
{
    if (m->reports && !m->remote && !m->command && !m->out.count &&
        (m->x || m->y || m->z || m->buttons != m->told))
        put_report(m);
}

void ps2_mouse_move(struct ps2_mouse *m, int x, int y, uint8_t buttons)
{
    bool changed = buttons != m->buttons;

    m->buttons = buttons;
    if (!m->reports)
        return;
    m->x = moved(m->x, x);
    m->y = moved(m->y, y);
    if (changed && !m->remote && !m->command && m->out.count + 4u <= PS2_QUEUE)
        put_report(m);
    else
        ps2_mouse_report(m);
}
