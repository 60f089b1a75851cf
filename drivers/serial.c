#include "drivers/serial.h"

#include "arch/x86/cpu.h"
#include "arch/x86/apic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/trap.h"
#include "drivers/ioapic.h"

/* 16550 registers (PC16550D datasheet), from the port's base. */
#define RBR     0 /* receiver buffer, read */
#define THR     0 /* transmitter holding, write */
#define DLL     0 /* divisor, with DLAB */
#define DLM     1
#define IER     1
#define IIR     2
#define FCR     2
#define LCR     3
#define MCR     4
#define LSR     5
#define MSR     6
#define SCRATCH 7

#define IER_RX        0x01
#define IER_TX        0x02
#define IIR_NONE      0x01
#define FCR_ENABLE    0x01
#define FCR_RESET     0x06
#define FCR_TRIGGER_8 0x80
#define LCR_8N1       0x03
#define LCR_DLAB      0x80
#define MCR_DTR_RTS   0x03
#define MCR_OUT2      0x08 /* on a PC this gates the interrupt line */
#define MCR_LOOPBACK  0x10
#define MSR_DDSR      0x02 /* they have changed since the register was last read */
#define MSR_DDCD      0x08
#define MSR_DSR       0x20
#define MSR_DCD       0x80
#define LSR_DATA      0x01
#define LSR_THRE      0x20
#define LSR_IDLE      0x40

/* A port read takes about a microsecond on hardware: more than a FIFO's 1.4 ms many times over. */
#define STUCK_POLLS 1000000u

struct serial_port com1 = {
    .name = "COM1", .base = 0x3f8, .isa_irq = 4, .lock = SPINLOCK(RANK_SERIAL)};
struct serial_port com2 = {
    .name = "COM2", .base = 0x2f8, .isa_irq = 3, .lock = SPINLOCK(RANK_SERIAL)};

static uint8_t in(const struct serial_port *p, unsigned reg)
{
    return inb((uint16_t)(p->base + reg));
}

static void out(const struct serial_port *p, unsigned reg, uint8_t value)
{
    outb((uint16_t)(p->base + reg), value);
}

static bool probe(const struct serial_port *p)
{
    uint8_t modem = in(p, MCR), status;

    out(p, SCRATCH, 0x5a);
    if (in(p, SCRATCH) != 0x5a)
        return false;
    out(p, SCRATCH, 0xa5);
    if (in(p, SCRATCH) != 0xa5)
        return false;
    /* In loopback the modem outputs RTS and OUT2 come back as CTS and DCD. */
    out(p, MCR, MCR_LOOPBACK | 0x0a);
    status = in(p, MSR) & 0xf0;
    out(p, MCR, modem);
    return status == 0x90;
}

int serial_init(struct serial_port *p)
{
    if (!probe(p))
        return -ENODEV;
    out(p, IER, 0);
    out(p, LCR, LCR_DLAB | LCR_8N1);
    out(p, DLL, 1); /* 115200 */
    out(p, DLM, 0);
    out(p, LCR, LCR_8N1);
    out(p, FCR, FCR_ENABLE | FCR_RESET | FCR_TRIGGER_8);
    out(p, MCR, MCR_DTR_RTS | MCR_OUT2);
    p->present = true;
    return 0;
}

bool serial_present(const struct serial_port *p)
{
    return p->present;
}

static void set_ier(struct serial_port *p, uint8_t value)
{
    if (value == p->ier)
        return;
    p->ier = value;
    out(p, IER, value);
}

/* Returns whether anything came. */
static bool receive(struct serial_port *p)
{
    bool any = false;

    /* Bounded: a port that is not there any more reads as all ones. */
    for (unsigned i = 0; i < 4 * SERIAL_FIFO && (in(p, LSR) & LSR_DATA); i++) {
        uint8_t byte = in(p, RBR);

        if (p->rx_head - p->rx_tail == SERIAL_RX_SIZE)
            p->rx_tail++; /* the oldest is lost: the newest may be what ends the flood */
        p->rx[p->rx_head++ % SERIAL_RX_SIZE] = byte;
        any = true;
    }
    return any;
}

static void transmit(struct serial_port *p)
{
    if (p->tx_head != p->tx_tail && (in(p, LSR) & LSR_THRE))
        for (unsigned i = 0; i < SERIAL_FIFO && p->tx_head != p->tx_tail; i++)
            out(p, THR, p->tx[p->tx_tail++ % SERIAL_TX_SIZE]);
    /* The transmitter interrupts only while there is something left to send. */
    if (p->interrupts)
        set_ier(p, IER_RX | (p->tx_head != p->tx_tail ? IER_TX : 0));
}

static void move(struct serial_port *p)
{
    bool any;

    spin_lock(&p->lock);
    any = receive(p);
    transmit(p);
    spin_unlock(&p->lock);
    if (any && p->rx_handler)
        p->rx_handler();
}

bool serial_poll(struct serial_port *p)
{
    if (!p->present)
        return false;
    if (p->tx_head != p->tx_tail || (in(p, LSR) & LSR_DATA))
        move(p);
    return p->rx_head != p->rx_tail;
}

static void look_at_modem(struct serial_port *p)
{
    uint8_t status = in(p, MSR);

    p->hung_up |= ((status & MSR_DDSR) && !(status & MSR_DSR)) ||
                  ((status & MSR_DDCD) && !(status & MSR_DCD));
}

static void interrupt(void *arg)
{
    struct serial_port *p = arg;

    /* The line is edge-triggered: it must have been low once before it can rise again, so every
     * cause must go. */
    for (int i = 0; i < 32 && !(in(p, IIR) & IIR_NONE); i++) {
        (void)serial_poll(p);
        look_at_modem(p);
    }
}

void serial_missed(struct serial_port *p)
{
    if (p->interrupts)
        interrupt(p);
}

bool serial_interrupts(const struct serial_port *p)
{
    return p->interrupts;
}

int serial_enable_interrupts(struct serial_port *p)
{
    unsigned vector = VECTOR_ISA + p->isa_irq;
    int error;

    if (!p->present)
        return -ENODEV;
    error = interrupt_register(vector, interrupt, p);
    if (!error)
        error = ioapic_route_isa(p->isa_irq, vector, apic_id());
    if (error)
        return error;
    spin_lock(&p->lock);
    p->interrupts = true;
    transmit(p);
    spin_unlock(&p->lock);
    return 0;
}

size_t serial_room(const struct serial_port *p)
{
    return p->present ? SERIAL_TX_SIZE - (p->tx_head - p->tx_tail) : SERIAL_TX_SIZE;
}

size_t serial_write(struct serial_port *p, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t taken;

    if (!p->present)
        return size;
    spin_lock(&p->lock);
    taken = MIN(size, serial_room(p));
    for (size_t i = 0; i < taken; i++)
        p->tx[p->tx_head++ % SERIAL_TX_SIZE] = bytes[i];
    transmit(p);
    spin_unlock(&p->lock);
    return taken;
}

bool serial_sending(const struct serial_port *p)
{
    return p->tx_head != p->tx_tail;
}

int serial_read(struct serial_port *p)
{
    int byte = -1;

    if (p->rx_head == p->rx_tail)
        return -1;
    spin_lock(&p->lock);
    if (p->rx_head != p->rx_tail)
        byte = p->rx[p->rx_tail++ % SERIAL_RX_SIZE];
    spin_unlock(&p->lock);
    return byte;
}

bool serial_hung_up(struct serial_port *p)
{
    bool was;

    if (!p->present)
        return false;
    look_at_modem(p);
    was = p->hung_up;
    p->hung_up = false;
    return was;
}

bool serial_received(struct serial_port *p, uint8_t byte)
{
    bool found = false;

    spin_lock(&p->lock);
    for (unsigned i = p->rx_tail; i != p->rx_head && !found; i++)
        if (p->rx[i % SERIAL_RX_SIZE] == byte) {
            p->rx_tail = i;
            found = true;
        }
    spin_unlock(&p->lock);
    return found;
}

void serial_set_rx_handler(struct serial_port *p, void (*fn)(void))
{
    p->rx_handler = fn;
}

void serial_flush(struct serial_port *p)
{
    unsigned polls = 0;

    while (p->present && p->tx_head != p->tx_tail && polls < STUCK_POLLS) {
        unsigned before = p->tx_tail;

        spin_lock(&p->lock); /* for one FIFO at a time: all of it may take a second */
        transmit(p);
        spin_unlock(&p->lock);
        polls = p->tx_tail == before ? polls + 1 : 0;
    }
    for (polls = 0; p->present && !(in(p, LSR) & LSR_IDLE) && polls < STUCK_POLLS; polls++)
        cpu_pause();
}
