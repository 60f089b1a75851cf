/* The keyboard and the mouse of a VM with a display, and who presses their keys. */
#pragma once

#include "guest/board/class.h"
#include "guest/devices/ps2/ps2.h"

/* What the 8042 has at its two ports. */
struct ps2_ports {
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    /* The guest has read a byte of theirs, or has switched the keyboard's port on. */
    void (*taken)(struct ps2_ports *p);
};

#define INPUT_TYPED 1024u /* keys pressed and let go that wait for the guest */

extern const struct device_class input_class;

/* With the device's lock not held. Keys as ps2_keyboard_key() takes them, pressed one after another
 * as the guest reads them. false: so many there is no room for, and none is taken. */
bool input_type(struct device *d, const uint16_t *keys, unsigned count) MUST_CHECK;
/* How many wait. */
unsigned input_waiting(struct device *d);
/* The mouse is moved, and has these buttons pressed now. */
void input_mouse(struct device *d, int x, int y, uint8_t buttons);
