/* The host's first serial port: a 16550 at 3f8h, 115200 8n1. Without one every call does nothing.
 */
#pragma once

#include "arch/x86/lib/types.h"

/* Probe and set up; polled until serial_enable_interrupts(). Returns 0 or -ENODEV. */
int serial_init(void);
bool serial_present(void);
/* Use IRQ 4 by way of the I/O APIC. 0, or a negative errno: then serial_poll() must be called now
 * and then. */
int serial_enable_interrupts(void);
/* Whether interrupts are in use. Without them serial_poll() must be called now and then. */
bool serial_interrupts(void);

/* Take as much as there is room for, and send it by and by. Returns how much was taken (everything
 * without a port). */
size_t serial_write(const void *data, size_t size);
size_t serial_room(void);
/* Whether something waits to be sent. */
bool serial_sending(void);
/* The next byte received, or -1. */
int serial_read(void);
/* Called with IF=0 after bytes have arrived. */
void serial_set_rx_handler(void (*fn)(void));
/* Move bytes between the rings and the UART without waiting. */
void serial_poll(void);
/* Wait until everything is sent (at most about a second for each FIFO of a port that is stuck). */
void serial_flush(void);
