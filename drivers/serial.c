#include "drivers/serial.h"

#include "arch/x86/cpu.h"
#include "arch/x86/apic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/trap.h"
#include "drivers/ioapic.h"

/* 16550 registers (PC16550D datasheet), from COM1's base. */
#define COM1     0x3f8
#define RBR      (COM1 + 0) /* receiver buffer, read */
#define THR      (COM1 + 0) /* transmitter holding, write */
#define DLL      (COM1 + 0) /* divisor, with DLAB */
#define DLM      (COM1 + 1)
#define IER      (COM1 + 1)
#define IIR      (COM1 + 2)
#define FCR      (COM1 + 2)
#define LCR      (COM1 + 3)
#define MCR      (COM1 + 4)
#define LSR      (COM1 + 5)
#define MSR      (COM1 + 6)
#define SCRATCH  (COM1 + 7)
#define COM1_IRQ 4

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
#define LSR_DATA      0x01
#define LSR_THRE      0x20
#define LSR_IDLE      0x40

#define FIFO_SIZE 16
#define TX_SIZE   16384u /* powers of two */
#define RX_SIZE   1024u
/* A port read takes about a microsecond on hardware: more than a FIFO's 1.4 ms many times over. */
#define STUCK_POLLS 1000000u

static bool present;
static bool interrupts;
static uint8_t ier; /* as last written */
static void (*rx_handler)(void);

static uint8_t tx[TX_SIZE], rx[RX_SIZE];
static unsigned tx_head, tx_tail, rx_head,
    rx_tail; /* free-running; head is written, tail is read */

static bool probe(void)
{
    uint8_t modem = inb(MCR), status;

    outb(SCRATCH, 0x5a);
    if (inb(SCRATCH) != 0x5a)
        return false;
    outb(SCRATCH, 0xa5);
    if (inb(SCRATCH) != 0xa5)
        return false;
    /* In loopback the modem outputs RTS and OUT2 come back as CTS and DCD. */
    outb(MCR, MCR_LOOPBACK | 0x0a);
    status = inb(MSR) & 0xf0;
    outb(MCR, modem);
    return status == 0x90;
}

int serial_init(void)
{
    if (!probe())
        return -ENODEV;
    outb(IER, 0);
    outb(LCR, LCR_DLAB | LCR_8N1);
    outb(DLL, 1); /* 115200 */
    outb(DLM, 0);
    outb(LCR, LCR_8N1);
    outb(FCR, FCR_ENABLE | FCR_RESET | FCR_TRIGGER_8);
    outb(MCR, MCR_DTR_RTS | MCR_OUT2);
    present = true;
    return 0;
}

bool serial_present(void)
{
    return present;
}

static void set_ier(uint8_t value)
{
    if (value == ier)
        return;
    ier = value;
    outb(IER, value);
}

static void receive(void)
{
    bool any = false;

    /* Bounded: a port that is not there any more reads as all ones. */
    for (int i = 0; i < 4 * FIFO_SIZE && (inb(LSR) & LSR_DATA); i++) {
        uint8_t byte = inb(RBR);

        if (rx_head - rx_tail < RX_SIZE)
            rx[rx_head++ % RX_SIZE] = byte;
        any = true;
    }
    if (any && rx_handler)
        rx_handler();
}

static void transmit(void)
{
    if (tx_head != tx_tail && (inb(LSR) & LSR_THRE))
        for (int i = 0; i < FIFO_SIZE && tx_head != tx_tail; i++)
            outb(THR, tx[tx_tail++ % TX_SIZE]);
    /* The transmitter interrupts only while there is something left to send. */
    if (interrupts)
        set_ier(IER_RX | (tx_head != tx_tail ? IER_TX : 0));
}

void serial_poll(void)
{
    if (!present)
        return;
    receive();
    transmit();
}

static void interrupt(void *arg)
{
    /* The line is edge-triggered: it must have been low once before it can rise again, so every
     * cause must go. */
    for (int i = 0; i < 32 && !(inb(IIR) & IIR_NONE); i++) {
        serial_poll();
        (void)inb(MSR);
    }
}

bool serial_interrupts(void)
{
    return interrupts;
}

int serial_enable_interrupts(void)
{
    int error;

    if (!present)
        return -ENODEV;
    error = interrupt_register(VECTOR_ISA + COM1_IRQ, interrupt, NULL);
    if (!error)
        error = ioapic_route_isa(COM1_IRQ, VECTOR_ISA + COM1_IRQ, apic_id());
    if (error)
        return error;
    interrupts = true;
    serial_poll();
    return 0;
}

size_t serial_room(void)
{
    return present ? TX_SIZE - (tx_head - tx_tail) : TX_SIZE;
}

size_t serial_write(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t taken;

    if (!present)
        return size;
    taken = MIN(size, serial_room());
    for (size_t i = 0; i < taken; i++)
        tx[tx_head++ % TX_SIZE] = bytes[i];
    transmit();
    return taken;
}

bool serial_sending(void)
{
    return tx_head != tx_tail;
}

int serial_read(void)
{
    return rx_head == rx_tail ? -1 : rx[rx_tail++ % RX_SIZE];
}

void serial_set_rx_handler(void (*fn)(void))
{
    rx_handler = fn;
}

void serial_flush(void)
{
    unsigned polls = 0;

    while (present && tx_head != tx_tail && polls < STUCK_POLLS) {
        unsigned before = tx_tail;

        transmit();
        polls = tx_tail == before ? polls + 1 : 0;
    }
    for (polls = 0; present && !(inb(LSR) & LSR_IDLE) && polls < STUCK_POLLS; polls++)
        cpu_pause();
}
