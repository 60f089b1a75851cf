/* The UART: loopback of data and modem lines, scratch, divisor latch, FIFO, interrupt
 * identification, and an interrupt for each byte that has left. */
#include "guest.h"

static volatile unsigned interrupts;

/* It does not ask the UART for the reason. */
static void on_uart(struct frame *f)
{
    interrupts++;
    outb(0x20, 0x20);
}

static void each_byte_interrupts(void)
{
    lapic_on(false);
    lapic_write(0x350, 0x700); /* LINT0: ExtINT */
    pic_init(0x20);
    handle(0x24, on_uart);
    outb(COM1 + 2, 0);
    outb(COM1 + 4, 0x0b);
    outb(0x21, 0xef);
    sti();
    outb(COM1 + 1, 2);
    delay_us(1000);
    CHECK(interrupts == 1, "%u interrupts of an empty transmitter", interrupts);
    for (unsigned i = 0; i < 20; i++) {
        while (!(inb(COM1 + 5) & 0x20))
            ;
        outb(COM1, i == 19 ? '\n' : ' ');
        delay_us(1000);
    }
    cli();
    outb(COM1 + 1, 0);
    outb(0x21, 0xff);
    CHECK(interrupts == 21, "20 bytes gave %u interrupts", interrupts - 1);
}

void test(void)
{
    for (unsigned v = 0; v < 256; v++) {
        outb(COM1 + 7, (uint8_t)v);
        CHECK(inb(COM1 + 7) == v, "scratch keeps %x as %x", v, inb(COM1 + 7));
    }
    uint8_t lcr = inb(COM1 + 3);
    outb(COM1 + 3, lcr | 0x80);
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    CHECK(inb(COM1) == 1 && inb(COM1 + 1) == 0, "the divisor is %x%02x", inb(COM1 + 1), inb(COM1));
    outb(COM1 + 3, lcr);
    while (!(inb(COM1 + 5) & 0x40))
        ;
    outb(COM1 + 2, 0x07); /* FIFOs on and empty */
    CHECK((inb(COM1 + 2) & 0xc0) == 0xc0, "no FIFO: IIR is %x", inb(COM1 + 2));
    outb(COM1 + 4, 0x1f);
    CHECK((inb(COM1 + 6) & 0xf0) == 0xf0, "loopback: MSR is %x", inb(COM1 + 6));
    outb(COM1 + 4, 0x1a);
    CHECK((inb(COM1 + 6) & 0xf0) == 0x90, "loopback: MSR is %x for RTS and OUT2", inb(COM1 + 6));
    outb(COM1 + 4, 0x10);
    for (unsigned i = 0; i < 64; i++) {
        outb(COM1, (uint8_t)(i * 37));
        for (unsigned n = 0; n < 100000 && !(inb(COM1 + 5) & 1); n++)
            ;
        CHECK(inb(COM1 + 5) & 1, "looped byte %u does not arrive", i);
        uint8_t v = inb(COM1);
        CHECK(v == (uint8_t)(i * 37), "looped byte %x is %x", (uint8_t)(i * 37), v);
    }
    CHECK(!(inb(COM1 + 5) & 1), "data ready with nothing there");
    outb(COM1, 0x42);
    while (!(inb(COM1 + 5) & 1))
        ;
    outb(COM1 + 1, 1);
    CHECK((inb(COM1 + 2) & 0x0f) == 4 || (inb(COM1 + 2) & 0x0f) == 0xc, "IIR with data is %x",
          inb(COM1 + 2));
    inb(COM1);
    outb(COM1 + 1, 2);
    CHECK((inb(COM1 + 2) & 0x0f) == 2, "IIR with an empty transmitter is not 2");
    CHECK((inb(COM1 + 2) & 0x0f) == 1, "reading IIR did not clear it");
    outb(COM1 + 1, 0);
    outb(COM1 + 4, 0x03);
    each_byte_interrupts();
    outb(COM1 + 4, 0x03);
}
