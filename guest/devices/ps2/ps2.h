/*
 * What is plugged into the two ports of an 8042: a keyboard with 102 keys and a mouse with a wheel
 * (IBM, "Keyboards (101- and 102-Key)" and "Mouse"; Microsoft, "IntelliMouse"). Pure: a byte that
 * the host sends is answered by bytes in a queue.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define PS2_QUEUE 32u

struct ps2_queue {
    uint8_t bytes[PS2_QUEUE], first, count;
};

/* The next byte for the host, or -1. */
int ps2_take(struct ps2_queue *q);

/* A key as scan code set 1 has it, of two bytes where the first is E0h; and maybe let go of. */
#define PS2_EXTENDED 0xe000
#define PS2_RELEASE  0x0080

/* Of set 2: what comes before the code of a key that is let go, and a key beyond the others. */
#define PS2_BREAK 0xf0
#define PS2_F7    0x83

struct ps2_keyboard {
    struct ps2_queue out;
    bool scanning;
    uint8_t set, leds, rate;
    uint8_t command; /* 0, or the one whose parameter is the host's next byte */
};

void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
/* A key is pressed or let go. false: not now, as what went before waits for the host, or the host
 * wants none. */
bool ps2_keyboard_key(struct ps2_keyboard *k, uint16_t key);
/* What set 1 has for a byte of set 2 below 80h, as an 8042 translates it. */
uint8_t ps2_translated(uint8_t byte);

struct ps2_mouse {
    struct ps2_queue out;
    bool reports, remote, echoes, scaled;
    uint8_t rate, resolution, id, buttons;
    uint8_t told; /* buttons, as the host knows them */
    uint8_t command;
    uint8_t knock[2]; /* rates set before this one */
    int32_t x, y, z;  /* since the last report */
};

void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
#define PS2_LEFT   1
#define PS2_RIGHT  2
#define PS2_MIDDLE 4
/* It is moved, x to the right and y down, and has these buttons pressed now: reported as soon as
 * the host has read what was before. */
void ps2_mouse_move(struct ps2_mouse *m, int x, int y, uint8_t buttons);
/* The host has read: report what has happened since. */
void ps2_mouse_report(struct ps2_mouse *m);

/* --- what people type, by the layout of the United States --- */

#define PS2_KEYS 8u /* of one chord */

/* The key for a character, and whether shift goes with it; 0: there is none. */
uint16_t ps2_key_of(char c, bool *shift);
/* The keys of a chord such as `ctrl-alt-del`: how many, or 0 where a name is none. */
unsigned ps2_chord(const char *text, size_t length, uint16_t keys[PS2_KEYS]);
