/* See uart.h. */
#include "guest/devices/uart.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"

enum {
    REG_DATA = 0, /* RBR and THR; DLL with DLAB */
    REG_IER = 1,  /* DLM with DLAB */
    REG_IIR = 2,  /* FCR when written */
    REG_LCR = 3,
    REG_MCR = 4,
    REG_LSR = 5,
    REG_MSR = 6,
    REG_SCR = 7,
};

#define IER_RDA  0x01
#define IER_THRE 0x02
#define IER_RLS  0x04
#define IER_MS   0x08

#define IIR_NONE    0x01
#define IIR_MS      0x00
#define IIR_THRE    0x02
#define IIR_RDA     0x04
#define IIR_RLS     0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFO    0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_TRIGGER  0xc0

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DELTAS 0x0f
#define MSR_TERI   0x04
#define MSR_CTS    0x10
#define MSR_DSR    0x20
#define MSR_RI     0x40
#define MSR_DCD    0x80
#define MSR_ALWAYS (MSR_CTS | MSR_DSR | MSR_DCD) /* somebody is at the other end, always */

#define TIMEOUTS_PER_SECOND (115200 / (4 * 10)) /* four characters of ten bits each */

static bool fifo_enabled(const struct uart *u)
{
    return u->fcr & FCR_ENABLE;
}

static unsigned rx_size(const struct uart *u)
{
    return fifo_enabled(u) ? UART_FIFO : 1;
}

static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t level[4] = {1, 4, 8, 14};

    return fifo_enabled(u) ? level[u->fcr >> 6] : 1;
}

/* Modem inputs: in loopback the outputs DTR, RTS, OUT1, OUT2 arrive at DSR, CTS, RI, DCD. */
static uint8_t modem_lines(const struct uart *u)
{
    uint8_t lines = 0;

    if (!(u->mcr & MCR_LOOP))
        return MSR_ALWAYS;
    if (u->mcr & MCR_RTS)
        lines |= MSR_CTS;
    if (u->mcr & MCR_DTR)
        lines |= MSR_DSR;
    if (u->mcr & MCR_OUT1)
        lines |= MSR_RI;
    if (u->mcr & MCR_OUT2)
        lines |= MSR_DCD;
    return lines;
}

/* The pending interrupt of highest priority, as IIR shows it. */
static uint8_t interrupt_id(const struct uart *u)
{
    if ((u->ier & IER_RLS) && u->lsr_errors)
        return IIR_RLS;
    if ((u->ier & IER_RDA) && u->rx_count >= rx_trigger(u))
        return IIR_RDA;
    if ((u->ier & IER_RDA) && u->rx_count > 0 && u->rx_timed_out)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MS) && u->msr_delta)
        return IIR_MS;
    return IIR_NONE;
}

/*
 * On a PC the chip's interrupt pin reaches the interrupt controller through OUT2, which loopback
 * disconnects. What withdraws an interrupt calls this before whatever may raise it again: between
 * the two the pin is low, and that is an edge.
 */
static void update_irq(struct uart *u)
{
    bool level =
        u->ier != 0 && (u->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && interrupt_id(u) != IIR_NONE;

    if (level == u->irq)
        return;
    u->irq = level;
    device_irq(&u->dev, u->gsi, level);
}

/* --- receiving --- */

/*
 * The other end honours RTS: what arrives while the guest has it down waits on the line, so that
 * input sent before the guest's operating system has opened the port is not lost. A small guest
 * that never touches DTR or RTS still hears everything.
 */
static bool line_stopped(const struct uart *u)
{
    return (u->mcr & MCR_LOOP) || (u->handshake && !(u->mcr & MCR_RTS));
}

static void fill_rx(struct uart *u)
{
    while (u->waiting_count > 0 && u->rx_count < rx_size(u) && !line_stopped(u)) {
        u->rx[u->rx_count++] = u->waiting[u->waiting_head];
        u->waiting_head = (u->waiting_head + 1) % UART_RX_WAITING;
        u->waiting_count--;
    }
}

static size_t room(const struct uart *u)
{
    return UART_RX_WAITING - u->waiting_count;
}

size_t uart_receive_room(struct uart *u)
{
    device_lock(&u->dev);
    size_t result = room(u);
    device_unlock(&u->dev);
    return result;
}

size_t uart_receive(struct uart *u, const uint8_t *data, size_t size)
{
    device_lock(&u->dev);
    size_t taken = MIN(size, room(u));
    for (size_t i = 0; i < taken; i++)
        u->waiting[(u->waiting_head + u->waiting_count++) % UART_RX_WAITING] = data[i];
    fill_rx(u);
    update_irq(u);
    device_unlock(&u->dev);
    return taken;
}

/*
 * The character timeout (PC16550D, "FIFO Interrupt Mode Operation"). What comes into an empty FIFO
 * has waited on the line long enough. A character that is read begins the time anew for those that
 * are left: a handler that reads them all sees no second interrupt, one that reads one of them
 * does. The timer is set once for many of them, and finds out when it is early.
 */
static void restart_timeout(struct uart *u)
{
    u->rx_timed_out = u->rx_count == 0;
    if (u->rx_timed_out)
        return;
    u->rx_timeout = device_now(&u->dev) + device_tsc_hz(&u->dev) / TIMEOUTS_PER_SECOND;
    if (u->dev.deadline[0] == TIMER_OFF)
        device_timer_set(&u->dev, 0, u->rx_timeout);
}

static void uart_timer(struct device *d, unsigned timer, uint64_t now)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);

    if (u->rx_timed_out)
        return;
    if (now < u->rx_timeout) {
        device_timer_set(d, 0, u->rx_timeout);
        return;
    }
    u->rx_timed_out = true;
    update_irq(u);
}

static uint8_t read_data(struct uart *u)
{
    uint8_t byte = u->rx[0];

    if (u->rx_count > 0) {
        u->rx_count--;
        memmove(u->rx, u->rx + 1, u->rx_count);
        if (u->ier & IER_RDA) /* nobody waits for it otherwise */
            restart_timeout(u);
    }
    if (u->waiting_count > 0) {
        update_irq(u);
        fill_rx(u);
    }
    return byte;
}

/* --- transmitting --- */

static bool send(struct uart *u, uint8_t byte)
{
    if (!(u->mcr & MCR_LOOP))
        return u->put(u->context, byte);
    if (u->rx_count == rx_size(u)) {
        u->lsr_errors |= LSR_OE;
        if (fifo_enabled(u))
            return true; /* the FIFO keeps what it has; without it the new byte replaces the old */
    } else {
        u->rx_count++;
    }
    u->rx[u->rx_count - 1] = byte;
    return true;
}

static void drain_tx(struct uart *u)
{
    unsigned sent = 0;

    while (sent < u->tx_count && send(u, u->tx[sent]))
        sent++;
    if (sent == 0)
        return;
    u->tx_count -= sent;
    memmove(u->tx, u->tx + sent, u->tx_count);
    if (u->tx_count == 0)
        u->thre_pending = true;
}

static void try_again(struct uart *u)
{
    drain_tx(u);
    update_irq(u);
}

void uart_output_ready(struct uart *u)
{
    device_lock(&u->dev);
    try_again(u);
    device_unlock(&u->dev);
}

static void write_data(struct uart *u, uint8_t byte)
{
    u->thre_pending = false;
    if (UNLIKELY(u->irq))
        update_irq(u);
    if (!fifo_enabled(u))
        u->tx_count = 0;
    if (u->tx_count < UART_FIFO)
        u->tx[u->tx_count++] = byte;
    /* Behind a byte that the host has refused, the rest waits for uart_output_ready(). */
    if (u->tx_count == 1 || (u->mcr & MCR_LOOP))
        drain_tx(u);
}

/* --- registers --- */

static void write_fcr(struct uart *u, uint8_t value)
{
    if ((value ^ u->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
    if (!(value & FCR_ENABLE))
        value &= ~FCR_TRIGGER;
    u->fcr = value & (FCR_ENABLE | FCR_TRIGGER);
    if (value & FCR_CLEAR_RX) {
        u->rx_count = 0;
        u->rx_timed_out = true;
        update_irq(u);
    }
    if ((value & FCR_CLEAR_TX) && u->tx_count > 0) {
        u->tx_count = 0;
        u->thre_pending = true;
    }
    fill_rx(u);
}

static void write_mcr(struct uart *u, uint8_t value)
{
    uint8_t before = modem_lines(u), changed;

    u->mcr = value & 0x1f;
    if (value & (MCR_DTR | MCR_RTS))
        u->handshake = true;
    changed = (before ^ modem_lines(u)) & (MSR_CTS | MSR_DSR | MSR_DCD);
    u->msr_delta |= changed >> 4;
    if ((before & MSR_RI) && !(modem_lines(u) & MSR_RI))
        u->msr_delta |= MSR_TERI; /* the ring indicator reports its trailing edge only */
    if (u->tx_count > 0)
        drain_tx(u);
    fill_rx(u);
}

static uint32_t uart_read(struct device *d, uint16_t port, unsigned size)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);
    uint8_t value = 0;

    switch (port - u->base) {
    case REG_LSR: /* first: what a polling guest reads for every byte it sends */
        /* It may wait with interrupts off, and the host's port be unable to interrupt meanwhile:
         * then nobody else calls uart_output_ready(). */
        if (UNLIKELY(u->tx_count > 0))
            try_again(u);
        value = u->lsr_errors | (u->rx_count > 0 ? LSR_DR : 0) |
                (u->tx_count == 0 ? LSR_THRE | LSR_TEMT : 0);
        if (LIKELY(!u->lsr_errors))
            return value;
        u->lsr_errors = 0;
        break;
    case REG_DATA:
        if (u->lcr & LCR_DLAB)
            return u->dll;
        value = read_data(u);
        break;
    case REG_IER:
        return u->lcr & LCR_DLAB ? u->dlm : u->ier;
    case REG_IIR:
        value = interrupt_id(u);
        if (value == IIR_THRE)
            u->thre_pending = false;
        value |= fifo_enabled(u) ? IIR_FIFO : 0;
        break;
    case REG_LCR:
        return u->lcr;
    case REG_MCR:
        return u->mcr;
    case REG_MSR:
        value = modem_lines(u) | u->msr_delta;
        u->msr_delta = 0;
        break;
    case REG_SCR:
        return u->scr;
    default:
        break;
    }
    update_irq(u);
    return value;
}

static void uart_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);
    uint8_t byte = (uint8_t)value;

    switch (port - u->base) {
    case REG_DATA:
        if (u->lcr & LCR_DLAB)
            u->dll = byte;
        else
            write_data(u, byte);
        break;
    case REG_IER:
        if (u->lcr & LCR_DLAB) {
            u->dlm = byte;
        } else {
            /* Enabling the interrupt raises it when the transmitter is empty already: Linux tests
             * for this. */
            if ((byte & ~u->ier & IER_THRE) && u->tx_count == 0)
                u->thre_pending = true;
            u->ier = byte & (IER_RDA | IER_THRE | IER_RLS | IER_MS);
        }
        break;
    case REG_IIR:
        write_fcr(u, byte);
        break;
    case REG_LCR:
        u->lcr = byte;
        return;
    case REG_MCR:
        write_mcr(u, byte);
        break;
    case REG_SCR:
        u->scr = byte;
        return;
    default: /* LSR and MSR are read-only outside the factory's test mode */
        return;
    }
    update_irq(u);
}

/* --- life --- */

static void uart_reset(struct device *d)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);

    u->ier = u->lcr = u->mcr = u->fcr = u->scr = 0;
    u->dll = 1; /* 115200 */
    u->dlm = 0;
    u->lsr_errors = u->msr_delta = 0;
    u->thre_pending = false;
    u->handshake = false;
    u->irq = false;
    u->rx_timed_out = true;
    u->rx_timeout = 0;
    u->tx_count = u->rx_count = 0;
    memset(u->tx, 0, sizeof(u->tx));
    memset(u->rx, 0, sizeof(u->rx));
    fill_rx(u); /* the line does not forget what waits on it */
}

static void uart_save(struct device *d, struct state_writer *w)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);

    state_put_u8(w, u->ier);
    state_put_u8(w, u->lcr);
    state_put_u8(w, u->mcr);
    state_put_u8(w, u->fcr);
    state_put_u8(w, u->scr);
    state_put_u8(w, u->dll);
    state_put_u8(w, u->dlm);
    state_put_u8(w, u->lsr_errors);
    state_put_u8(w, u->msr_delta);
    state_put_u8(w, u->thre_pending);
    state_put_u8(w, u->handshake);
    state_put_u8(w, u->irq);
    state_put_u8(w, u->rx_timed_out);
    state_put_u64(w, u->rx_timeout);
    state_put_u8(w, u->tx_count);
    state_put(w, u->tx, sizeof(u->tx));
    state_put_u8(w, u->rx_count);
    state_put(w, u->rx, sizeof(u->rx));
    state_put_u32(w, u->waiting_count);
    for (uint32_t i = 0; i < u->waiting_count; i++)
        state_put_u8(w, u->waiting[(u->waiting_head + i) % UART_RX_WAITING]);
}

static int uart_load(struct device *d, struct state_reader *r)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);

    u->ier = state_get_u8(r) & 0x0f;
    u->lcr = state_get_u8(r);
    u->mcr = state_get_u8(r) & 0x1f;
    u->fcr = state_get_u8(r) & (FCR_ENABLE | FCR_TRIGGER);
    u->scr = state_get_u8(r);
    u->dll = state_get_u8(r);
    u->dlm = state_get_u8(r);
    u->lsr_errors = state_get_u8(r) & LSR_OE;
    u->msr_delta = state_get_u8(r) & MSR_DELTAS;
    u->thre_pending = state_get_u8(r) & 1;
    u->handshake = state_get_u8(r) & 1;
    u->irq = state_get_u8(r) & 1;
    u->rx_timed_out = state_get_u8(r) & 1;
    u->rx_timeout = state_get_u64(r);
    u->tx_count = state_get_u8(r);
    state_get(r, u->tx, sizeof(u->tx));
    u->rx_count = state_get_u8(r);
    state_get(r, u->rx, sizeof(u->rx));
    u->waiting_head = 0;
    u->waiting_count = state_get_u32(r);
    if (u->tx_count > UART_FIFO || u->rx_count > rx_size(u) || u->waiting_count > UART_RX_WAITING) {
        uart_reset(d);
        u->waiting_count = 0;
        return -EBADMSG;
    }
    state_get(r, u->waiting, u->waiting_count);
    return 0;
}

static const struct device_ops uart_ops = {
    .name = "uart",
    .version = 2,
    .port_width = 1,
    .port_read = uart_read,
    .port_write = uart_write,
    .timer = uart_timer,
    .reset = uart_reset,
    .save = uart_save,
    .load = uart_load,
};

static int uart_create(struct device *d, struct device_setup *s)
{
    struct uart *u = CONTAINER_OF(d, struct uart, dev);

    u->base = PORT_UART1;
    u->gsi = GSI_UART1;
    u->put = s->host->serial_put;
    u->context = s->host->context;
    return 0;
}

const struct device_class uart_class = {
    .ops = &uart_ops,
    .size = sizeof(struct uart),
    .ports = {{PORT_UART1, 8}},
    .create = uart_create,
};
