/* The 8259's and the APIC's timer interrupts fall together now and then: neither is lost for the
 * other. */
#include "guest.h"

static volatile unsigned pit, apic;

static void on_pit(struct frame *f)
{
    pit++;
    outb(0x20, 0x20);
}

static void on_apic(struct frame *f)
{
    apic++;
    lapic_eoi();
}

void test(void)
{
    lapic_on(true);
    lapic_write(0x350, 0x700); /* LINT0: ExtINT */
    pic_init(0x20);
    handle(0x20, on_pit);
    handle(0x60, on_apic);
    pit_start(2, 298);
    /* A little longer than the PIT's period, so that one moves across the other. */
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20060); /* periodic */
    lapic_write(0x380, (uint32_t)(apic_hz() * 2985 / 11931820));
    outb(0x21, 0xfe);
    sti();
    uint64_t end = rdtsc() + tsc_hz() * 2 / 5;
    while (rdtsc() < end)
        asm volatile("pause");
    cli();
    unsigned p = pit, a = apic;
    CHECK(p > 1440 && p < 1660, "%u interrupts of the 8254 in 0.4 s, not 1600", p);
    CHECK(a > 1440 && a < 1660, "%u interrupts of the APIC's timer in 0.4 s, not 1600", a);
}
