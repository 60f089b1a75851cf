/* The UART: loopback of data and modem lines, scratch, divisor latch, FIFO, interrupt
 * identification. */
#include "guest.h"

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
}
