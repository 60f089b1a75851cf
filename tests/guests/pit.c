/* The 8254: modes 0, 2 and 3, latches, read-back, byte order, and channel 2 with its gate. */
#include "guest.h"

static uint16_t latch(unsigned channel)
{
    outb(0x43, (uint8_t)(channel << 6));
    uint8_t low = inb((uint16_t)(0x40 + channel));
    return (uint16_t)(low | inb((uint16_t)(0x40 + channel)) << 8);
}

static uint8_t status(unsigned channel)
{
    outb(0x43, (uint8_t)(0xe0 | 2 << channel));
    return inb((uint16_t)(0x40 + channel));
}

void test(void)
{
    pit_start(0, 50000);
    CHECK((status(0) & 0x3f) == 0x30, "status is %x", status(0));
    CHECK(!(status(0) & 0x80), "mode 0: the output is high before the end");
    uint16_t first = latch(0);
    delay_us(1000);
    uint16_t second = latch(0);
    unsigned counted = (uint16_t)(first - second);
    CHECK(counted > 1150 && counted < 1300, "%u counts in 1 ms", counted);
    pit_start(0, 500);
    delay_us(1000);
    CHECK(status(0) & 0x80, "mode 0: the output is low after the end");
    pit_start(2, 2000);
    for (unsigned i = 0; i < 50; i++) {
        delay_us(137);
        uint16_t v = latch(0);
        CHECK(v >= 1 && v <= 2000, "mode 2 counted to %u", v);
    }
    /* a latch holds until it is read */
    outb(0x43, 0);
    delay_us(200);
    uint8_t low = inb(0x40), high = inb(0x40);
    uint16_t held = (uint16_t)(low | high << 8), now = latch(0);
    CHECK(held != now, "the latch did not hold: %u", held);
    /* low byte only */
    outb(0x43, 0x14);
    outb(0x40, 100);
    for (unsigned i = 0; i < 20; i++) {
        uint8_t v = inb(0x40);
        CHECK(v <= 100, "a low-byte counter of 100 is at %u", v);
    }
    /* channel 2, its gate at port 61h bit 0 and its output at bit 5 */
    outb(0x61, (uint8_t)(inb(0x61) & ~3));
    outb(0x43, 0xb0);
    outb(0x42, 0xe8);
    outb(0x42, 3);
    delay_us(1000);
    uint16_t stopped = latch(2);
    delay_us(500);
    CHECK(latch(2) == stopped, "channel 2 counts without its gate");
    CHECK(!(inb(0x61) & 0x20), "channel 2 has ended without its gate");
    outb(0x61, (uint8_t)((inb(0x61) & ~2) | 1));
    uint64_t start = rdtsc();
    while (!(inb(0x61) & 0x20) && rdtsc() - start < tsc_hz() / 100)
        ;
    uint64_t us = (rdtsc() - start) * 1000000 / tsc_hz();
    CHECK(us > 780 && us < 900, "1000 counts took %lu us, not 838", us);
}
