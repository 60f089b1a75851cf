/* The 8259s deliver through LINT0: vectors, masks, priorities, EOI and the spurious interrupt. */
#include "guest.h"

static volatile unsigned timer;

static void on_timer(struct frame *f)
{
    timer++;
    outb(0x20, 0x20);
}

static volatile unsigned rtc;

static void on_rtc(struct frame *f)
{
    rtc++;
    cmos_read(0xc);
    outb(0xa0, 0x20);
    outb(0x20, 0x20);
}

/* Whole milliseconds: one that was kept from running counts, too. */
static unsigned since(uint64_t start)
{
    return (unsigned)((rdtsc() - start) * 1000 / tsc_hz());
}

void test(void)
{
    uint64_t start;

    lapic_on(false);
    lapic_write(0x350, 0x700); /* LINT0: ExtINT */
    pic_init(0x20);
    handle(0x20, on_timer);
    handle(0x28, on_rtc);
    pit_start(2, 1193);
    sti();
    delay_us(3000);
    CHECK(timer == 0, "a masked input delivers");
    start = rdtsc();
    outb(0x21, 0xfe);
    delay_us(10500);
    unsigned n = timer, ms = since(start);
    CHECK(n >= 9 && n <= ms + 2, "%u timer interrupts in %u ms", n, ms);
    lapic_write(0x350, 0x10700);
    delay_us(3000);
    bool masked = timer <= n + 1;
    n = timer;
    lapic_write(0x350, 0x700);
    delay_us(3000);
    CHECK(timer > n + 1, "no interrupts after LINT0 was unmasked");
    outb(0x21, 0xff);
    /* the slave's input 0 */
    cmos_write(0xa, 0x26);
    cmos_write(0xb, (uint8_t)(cmos_read(0xb) | 0x40)); /* periodic, 1024 Hz */
    cmos_read(0xc);
    start = rdtsc();
    outb(0xa1, 0xfe);
    outb(0x21, 0xfb);
    delay_us(10000);
    cmos_write(0xb, (uint8_t)(cmos_read(0xb) & ~0x40));
    ms = since(start);
    CHECK(rtc >= 8 && rtc <= ms + 2, "%u RTC interrupts in %u ms", rtc, ms);
    cli();
    outb(0x21, 0xff);
    /* IRR and ISR */
    outb(0x20, 0x0a);
    delay_us(2000);
    CHECK(inb(0x20) & 1, "IRR does not show the timer");
    outb(0x20, 0x0b);
    CHECK(inb(0x20) == 0, "ISR is %x", inb(0x20));
    CHECK(inb(0x21) == 0xff, "IMR is %x", inb(0x21));
    CHECK(masked, "LINT0 is masked, but interrupts come");
}
