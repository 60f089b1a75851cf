/* The serial port that the consoles share: how much it takes, and whom it would keep waiting. */
#pragma once

#include "drivers/serial.h"

struct vm;

/* Bytes of the port's ring that are kept free, so that whoever comes to the front can say so at
 * once. */
#define PORT_RESERVE 256u
#define PORT_ESCAPE  0x1d /* Ctrl-]: typed, it leads to the monitor */

/* Whether it takes so many bytes of a guest's. Its interrupt may be held back for as long as a
 * guest runs with interrupts off, so it is looked at before the answer is no. */
static inline bool port_takes(size_t length)
{
    if (LIKELY(serial_room(&com1) >= PORT_RESERVE + length))
        return true;
    (void)serial_poll(&com1);
    return serial_room(&com1) >= PORT_RESERVE + length;
}

/* Wait until it has room for so many bytes, for 20 ms at most, as it may be stuck. */
void port_wait(size_t length);
/*
 * Whether a byte that is typed has somewhere to go: that port of vm, which is in front, takes one
 * now, or there is none (NULL). When a guest takes none for a second, what was typed is dropped up
 * to a Ctrl-], if there is one: a guest that does not read must not keep anybody at its console.
 * *next: the host TSC at which to look again, if that is earlier. On processor 0.
 */
bool port_input_taken(const struct vm *vm, int port, uint64_t *next);
