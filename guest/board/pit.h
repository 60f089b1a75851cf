/*
 * The 8254 interval timer, with the PC's system control port B (82C54 data sheet; the 61h port of
 * the chipsets). No counter runs: each is a function of the guest's TSC, evaluated when somebody
 * looks.
 */
#pragma once

#include "guest/board/class.h"

#define PIT_HZ 1193182

struct pit_channel {
    uint8_t mode;   /* 0-5 */
    uint8_t access; /* 1 low byte, 2 high byte, 3 low then high */
    bool bcd;
    bool gate;
    bool loaded;     /* a count was written since the control word */
    bool counting;   /* time passes for it: start is valid; otherwise `held` is */
    bool triggered;  /* modes 1 and 5: a rising gate was seen since the control word */
    bool null_count; /* the written count is not in the counter yet */
    bool write_high; /* the next byte written is the high one of two */
    bool read_high;
    bool status_latched;
    uint8_t latched; /* bytes of latched_count still to read: 0-2 */
    uint8_t status;
    uint8_t write_low;
    uint16_t latched_count;
    uint32_t count; /* 1..65536 (10000 in BCD): period or length that counts now */
    uint32_t
        next_count; /* 0, or the count that takes over: in modes 1 and 5 with the next trigger */
    uint64_t next_switch; /* in modes 2 and 3 when it takes over */
    uint64_t next_start;  /* and what `start` is then */
    uint64_t start;       /* PIT clock at which the counter held `count` */
    int64_t held;         /* clocks that had passed since then when the gate stopped it */
};

struct pit {
    struct device dev;
    struct pit_channel channel[3];
    uint8_t system_b; /* bits 0-3 of port 61h */
    bool irq;
};

extern const struct device_class pit_class;
