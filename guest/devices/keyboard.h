/*
 * An 8042 keyboard controller: self test, configuration, A20 and reset lines. Nothing is plugged in
 * unless the VM has a display: then a keyboard and a mouse (ps2/input.h), and it is the controller
 * of a PS/2 with two ports.
 */
#pragma once

#include "guest/board/class.h"

struct ps2_ports;

struct keyboard {
    struct device dev;
    uint8_t status; /* OBF, SYS, A2, TIMEOUT */
    uint8_t config;
    uint8_t output_port;
    uint8_t data;
    uint8_t command;         /* 0, or the command whose parameter the next write to port 60h is */
    uint8_t ram[32];         /* byte 0 lives in config */
    struct ps2_ports *ports; /* NULL: nothing is plugged in */
    /* With ports: an answer of the controller's that waits, as a byte of theirs is in its place. */
    bool held, held_aux;
    uint8_t held_byte;
};

extern const struct device_class keyboard_class;

/* With the lock held: whether the guest has the keyboard's port switched on. */
bool keyboard_is_on(const struct keyboard *k);
/* What is plugged in has something for the guest. */
void keyboard_fill(struct keyboard *k);
