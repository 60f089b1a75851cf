/*
 * The MC146818A real-time clock with 128 bytes of battery-backed RAM, and 128 more at 72h/73h
 * (MC146818A data sheet; the RAM's layout is the PC's). Its time is the VM's wall clock plus an
 * offset that the guest sets.
 */
#pragma once

#include "guest/device.h"

struct rtc {
    struct device dev;
    uint8_t index, extended_index;
    uint8_t ram[128]; /* 0-9 and the century hold the time only while the clock is stopped */
    uint8_t extended[128];
    int64_t offset;  /* microseconds from the wall clock to this one */
    int64_t updated; /* the second up to which update and alarm flags have been raised */
    uint64_t period; /* the periodic tick up to which its flag has been raised, in 32768ths of a
                        second */
    bool irq;
};

void rtc_init(struct rtc *r, struct vm *vm);
int rtc_attach(struct rtc *r, struct bus *bus) MUST_CHECK;
/* The bytes in CMOS RAM from which firmware and old kernels take the size of memory below and above
 * 4 GiB. */
void rtc_set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g);
