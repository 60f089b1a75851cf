/* See ps2.h: the keyboard. */
#include "guest/devices/ps2/ps2_queue.h"

#define ACK    0xfa
#define RESEND 0xfe
#define PASSED 0xaa /* its self test */
#define PREFIX 0xe0

enum {
    SET_LEDS = 0xed,
    ECHO = 0xee,
    SET_CODES = 0xf0,
    IDENTIFY = 0xf2,
    SET_RATE = 0xf3,
    ENABLE = 0xf4,
    DISABLE = 0xf5,
    SET_DEFAULTS = 0xf6,
    RESET = 0xff,
};

#define DEFAULT_RATE 0x2b

/* An 8042's own table: set 1 for what set 2 has. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
#define F7 0x41 /* in set 1 */

uint8_t ps2_translated(uint8_t byte)
{
    return byte == PS2_F7 ? F7 : translation[byte & 0x7f];
}

/* The other way round. */
static uint8_t in_set_2(uint8_t code)
{
    unsigned i = 1;

    if (code == F7)
        return PS2_F7;
    while (i < sizeof(translation) - 1 && translation[i] != code)
        i++;
    return (uint8_t)i;
}

int ps2_take(struct ps2_queue *q)
{
    uint8_t byte = q->bytes[q->first];

    if (q->count == 0)
        return -1;
    q->first = (q->first + 1) % PS2_QUEUE;
    q->count--;
    return byte;
}

/* What it does after power-on and by defaults, but for whether it scans. */
static void set_defaults(struct ps2_keyboard *k)
{
    k->set = 2;
    k->rate = DEFAULT_RATE;
    k->command = 0;
    ps2_clear(&k->out);
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    set_defaults(k);
    k->leds = 0;
    k->scanning = true;
}

static void parameter(struct ps2_keyboard *k, uint8_t command, uint8_t byte)
{
    if (command == SET_CODES && byte > 2) {
        ps2_put(&k->out, RESEND);
        return;
    }
    ps2_put(&k->out, ACK);
    if (command == SET_LEDS)
        k->leds = byte & 7;
    else if (command == SET_RATE)
        k->rate = byte & 0x7f;
    else if (byte == 0)
        ps2_put(&k->out, k->set);
    else
        k->set = byte;
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
    uint8_t command = k->command;

    k->command = 0;
    if (command && byte < SET_LEDS) {
        parameter(k, command, byte);
        return;
    }
    switch (byte) {
    case SET_LEDS:
    case SET_CODES:
    case SET_RATE:
        k->command = byte;
        ps2_put(&k->out, ACK);
        break;
    case ECHO:
        ps2_put(&k->out, ECHO);
        break;
    case IDENTIFY:
        ps2_put(&k->out, ACK);
        ps2_put(&k->out, 0xab);
        ps2_put(&k->out, 0x83);
        break;
    case ENABLE:
    case DISABLE:
    case SET_DEFAULTS:
        if (byte != ENABLE)
            set_defaults(k);
        ps2_clear(&k->out);
        k->scanning = byte != DISABLE;
        ps2_put(&k->out, ACK);
        break;
    case RESET:
        ps2_keyboard_reset(k);
        ps2_put(&k->out, ACK);
        ps2_put(&k->out, PASSED);
        break;
    default:
        ps2_put(&k->out, RESEND);
        break;
    }
}

bool ps2_keyboard_key(struct ps2_keyboard *k, uint16_t key)
{
    uint8_t code = key & 0x7f;

    if (!k->scanning || k->command || k->out.count)
        return false;
    if (key & PS2_EXTENDED)
        ps2_put(&k->out, PREFIX);
    if (k->set == 1) {
        ps2_put(&k->out, (uint8_t)key);
        return true;
    }
    if (key & PS2_RELEASE)
        ps2_put(&k->out, PS2_BREAK);
    ps2_put(&k->out, in_set_2(code));
    return true;
}
