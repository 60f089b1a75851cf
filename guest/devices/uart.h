/*
 * A 16550A serial port (PC16550D data sheet). The line is infinitely fast: a byte leaves when the
 * host takes it, and transmission stalls, as flow control would stall it, while the host cannot.
 * Only the character timeout takes its time, that of 115200 baud.
 */
#pragma once

#include "guest/board/class.h"

#define UART_FIFO 16
#define UART_RX_WAITING                                                                            \
    1024 /* bytes that wait on the line for room in the receive FIFO; a power of two */

struct uart {
    struct device dev;
    uint16_t base;
    uint8_t gsi;
    bool (*put)(void *context, uint8_t byte);
    void *context;

    uint8_t ier, lcr, mcr, fcr, scr, dll, dlm;
    uint8_t lsr_errors; /* OE; cleared by reading LSR */
    uint8_t msr_delta;  /* cleared by reading MSR */
    bool thre_pending;  /* a transmitter-empty interrupt waits */
    bool handshake;     /* the guest has raised DTR or RTS since reset */
    bool irq;
    bool rx_timed_out;   /* what is in the receive FIFO has waited for four characters' time */
    uint64_t rx_timeout; /* else: when it will have, in guest TSC ticks */

    uint8_t tx[UART_FIFO], rx[UART_FIFO];
    uint8_t tx_count, rx_count; /* oldest byte first, at index 0 */
    uint8_t waiting[UART_RX_WAITING];
    uint32_t waiting_head, waiting_count;
};

/* The PC's first serial port. Its bytes go to device_host.serial_put; one that is refused is tried
 * again by uart_output_ready(), and whenever the guest reads LSR. */
extern const struct device_class uart_class;

/* Bytes for the guest: returns how many were taken, from the front. */
size_t uart_receive(struct uart *u, const uint8_t *data, size_t size);
size_t uart_receive_room(struct uart *u);
/* The host may be able to take bytes again: send what waits, and let the guest go on. At any time.
 */
void uart_output_ready(struct uart *u);
/* Whether a byte waits because put refused it, or is on its way: no more than a hint, which needs
 * no lock. */
static inline bool uart_output_waits(const struct uart *u)
{
    return __atomic_load_n(&u->tx_count, __ATOMIC_RELAXED) != 0;
}
