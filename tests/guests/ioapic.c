/* The I/O APIC: edges from the 8254, levels from the UART with remote IRR and EOI, masks, and what
 * the registers keep. */
#include "guest.h"

static volatile unsigned edges, levels;
static bool quiet_uart;

static void on_edge(struct frame *f)
{
    edges++;
    lapic_eoi();
}

static void on_level(struct frame *f)
{
    levels++;
    if (quiet_uart || levels >= 5)
        outb(COM1 + 1, 0);
    lapic_eoi();
}

void test(void)
{
    lapic_on(false);
    uint64_t here = (uint64_t)(lapic_read(0x20) >> 24) << 56;
    CHECK((ioapic_read(1) >> 16 & 0xff) == 23, "%u inputs", (ioapic_read(1) >> 16 & 0xff) + 1);
    CHECK((ioapic_read(0x10) & 0x10000) || boot_params == NULL, "input 0 is not masked: %x",
          ioapic_read(0x10));
    ioapic_write(0x10 + 2 * 9 + 1, 0xff000000);
    CHECK(ioapic_read(0x10 + 2 * 9 + 1) == 0xff000000, "a destination is not kept");
    ioapic_write(0x10 + 2 * 9, 0x1ffff);
    CHECK((ioapic_read(0x10 + 2 * 9) & 0x5000) == 0, "read-only bits can be set: %x",
          ioapic_read(0x10 + 2 * 9));
    ioapic_write(0x10 + 2 * 9, 0x10000);

    /* edges */
    handle(0x70, on_edge);
    pit_start(0, 0xffff);
    ioapic_route(2, here | 0x70);
    edges = 0;
    sti();
    pit_start(0, 1193);
    delay_us(3000);
    CHECK(edges == 1, "mode 0 gave %u edges", edges);
    edges = 0;
    pit_start(2, 1193);
    delay_us(10500);
    unsigned n = edges;
    ioapic_write(0x10 + 2 * 2, 0x10070);
    CHECK(n >= 9 && n <= 12, "mode 2 gave %u edges in 10.5 ms", n);
    delay_us(3000);
    CHECK(edges <= n + 1, "a masked input delivers edges");

    /* levels: the UART's transmitter-empty interrupt stands until it is switched off */
    handle(0x71, on_level);
    outb(COM1 + 4, 0x0b);
    ioapic_route(4, here | 0x8071);
    levels = 0;
    outb(COM1 + 1, 2);
    delay_us(1000);
    CHECK(levels >= 1, "no interrupt from the UART");
    outb(COM1 + 1, 0);
    delay_us(100);
    CHECK(!(ioapic_read(0x10 + 2 * 4) & 0x4000), "remote IRR stands after EOI");
    inb(COM1 + 2);
    delay_us(100);
    unsigned before = levels;
    delay_us(1000);
    CHECK(levels == before, "an interrupt without cause");
    /* held back by the flag, remote IRR shows only what was accepted */
    cli();
    quiet_uart = true;
    outb(COM1 + 1, 0);
    levels = 0;
    outb(COM1 + 1, 2);
    CHECK(ioapic_read(0x10 + 2 * 4) & 0x4000,
          "remote IRR is not set when the local APIC has accepted");
    sti();
    delay_us(10);
    cli();
    CHECK(levels == 1, "%u interrupts for one level", levels);
    CHECK(!(ioapic_read(0x10 + 2 * 4) & 0x4000), "remote IRR stands");
}
