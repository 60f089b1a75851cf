/*
 * The MC146818A real-time clock with 128 bytes of battery-backed RAM, and 128 more at 72h/73h
 * (MC146818A data sheet; the RAM's layout is the PC's). Its time begins as the VM's wall
 * clock, and goes on by that clock's seconds from what the guest has set.
 */
#pragma once

#include "guest/board/class.h"

struct rtc {
    struct device dev;
    uint8_t index, extended_index;
    uint8_t ram[128]; /* the time's bytes as they were after the last update */
    uint8_t extended[128];
    int64_t
        offset; /* microseconds, below a second, that the updates come before the wall clock's */
    int64_t updated;   /* the second, by the wall clock and that, of the last update */
    uint64_t periodic; /* the number of the periodic interrupt whose flag was raised last */
    bool irq;
};

extern const struct device_class rtc_class;
