/* HLT with interrupts off ends with an NMI: the 8254 through an I/O APIC input in NMI mode. */
#include "guest.h"

static volatile unsigned count;

static void on_nmi(struct frame *f)
{
    count++;
}

void test(void)
{
    lapic_on(false);
    handle(NMI, on_nmi);
    pit_start(0, 0xffff);
    ioapic_route(2, 0x400 | (uint64_t)(lapic_read(0x20) >> 24) << 56);
    pit_start(0, 2000);
    asm volatile("cli; hlt" ::: "memory");
    CHECK(count == 1, "HLT ended with %u NMIs", count);
}
