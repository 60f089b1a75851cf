/* An 8042 keyboard controller with nothing plugged in: self test, configuration, A20 and reset
 * lines. */
#pragma once

#include "guest/board/class.h"

struct keyboard {
    struct device dev;
    uint8_t status; /* OBF, SYS, A2, TIMEOUT */
    uint8_t config;
    uint8_t output_port;
    uint8_t data;
    uint8_t command; /* 0, or the command whose parameter the next write to port 60h is */
    uint8_t ram[32]; /* byte 0 lives in config */
};

extern const struct device_class keyboard_class;
