/* All vCPUs do everything that leaves the guest, for ever: for a VM that is killed, paused or reset
 * in the middle of it. No NMIs: Bochs delivers virtual interrupts within their handlers
 * (docs/CAVEATS.md), and the IRET of those lets the next NMI onto the same stack. */
#include "smp.h"

#define VECTOR 0x44

static volatile uint32_t turns[SMP_MAX];

static void on_ipi(struct frame *f)
{
    lapic_eoi();
}

static void storm(unsigned self)
{
    unsigned count = smp_count();

    for (uint32_t n = self;; n++) {
        unsigned other = n % count;
        smp_send(other, SMP_FIXED(VECTOR));
        if (n % 5 == 0)
            ioapic_write(0x10, 0x10000);
        if (n % 13 == 0)
            pit_start(2, (uint16_t)(1000 + n));
        if (n % 17 == 0)
            cmos_read((uint8_t)(n % 64));
        if (other && other != self && n % 29 == 0)
            smp_restart(other);
        if (n % 7 == 0)
            asm volatile("sti; hlt; cli" ::: "memory"); /* somebody sends an IPI soon */
        asm volatile("sti; nop; pause; cli" ::: "memory");
        turns[self]++;
    }
}

void test(void)
{
    handle(VECTOR, on_ipi);
    lapic_on(true);
    smp_start(true, storm);
    say("storm\n");
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20000 | VECTOR);
    lapic_write(0x380, (uint32_t)(apic_hz() / 1000));
    storm(0);
}
