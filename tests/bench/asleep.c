/* Sleeps, with a timer set that does not go off while anybody measures. */
#include "bench.h"

void test(void)
{
    lapic_on(true);
    set_gate(VECTOR, (uint64_t)on_interrupt, 0xe, 0, 0);
    lapic_write(0x320, 0x40000 | VECTOR);
    WRMSR(0x6e0, ticks() + 3600 * tsc_hz());
    for (;;)
        asm volatile("sti; hlt" ::: "memory");
}
