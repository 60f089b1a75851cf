/*
 * The host's serial ports, 16550s at 115200 8n1: com1 is the console, com2 is guest/com2's. On a
 * port that is not there every call does nothing. Any CPU may call; what one serial_write() takes
 * stays together.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "arch/x86/spinlock.h"

#define SERIAL_TX_SIZE 16384u /* powers of two */
#define SERIAL_RX_SIZE 1024u
#define SERIAL_FIFO    16u

struct serial_port {
    const char *name;
    uint16_t base;
    uint8_t isa_irq;
    bool present;
    bool interrupts;          /* in use */
    void (*rx_handler)(void); /* after bytes have arrived: IF=0, any CPU, maybe with locks held */
    struct spinlock lock;     /* over all below, and the UART */
    uint8_t ier;              /* as last written */
    bool hung_up;             /* and nobody has asked yet */
    uint8_t tx[SERIAL_TX_SIZE], rx[SERIAL_RX_SIZE];
    unsigned tx_head, tx_tail, rx_head, rx_tail; /* free-running; head is written, tail is read */
};

extern struct serial_port com1, com2;

/* Probe and set up; polled until serial_enable_interrupts(). Returns 0 or -ENODEV. */
int serial_init(struct serial_port *p);
bool serial_present(const struct serial_port *p);
/* Use the port's IRQ by way of the I/O APIC. 0, or a negative errno: then serial_poll() must be
 * called now and then. */
int serial_enable_interrupts(struct serial_port *p);
/* An interrupt may have been lost. */
void serial_missed(struct serial_port *p);
/* Whether interrupts are in use. Without them serial_poll() must be called now and then. */
bool serial_interrupts(const struct serial_port *p);

/* Take as much as there is room for, and send it by and by. Returns how much was taken (everything
 * without a port). */
size_t serial_write(struct serial_port *p, const void *data, size_t size);
size_t serial_room(const struct serial_port *p);
/* Whether something waits to be sent. */
bool serial_sending(const struct serial_port *p);
/* The next byte received, or -1. */
int serial_read(struct serial_port *p);
/* Drop what was received before the first such byte; whether there is one. */
bool serial_received(struct serial_port *p, uint8_t byte);
/* Whether the other end has gone since the last call: DSR or DCD went. On a line without them it
 * never does. */
bool serial_hung_up(struct serial_port *p);
void serial_set_rx_handler(struct serial_port *p, void (*fn)(void));
/* Move bytes between the rings and the UART without waiting. Whether one waits to be read. */
bool serial_poll(struct serial_port *p);
/* Wait until everything is sent (at most about a second for each FIFO of a port that is stuck). */
void serial_flush(struct serial_port *p);
