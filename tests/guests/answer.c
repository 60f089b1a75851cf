/* Sleeps, looks at COM1 a hundred times per second, and says what was typed: is this VM still
 * there? 'q' ends it. */
#include "guest.h"

#define VECTOR 0x40

static void on_timer(struct frame *f)
{
    lapic_eoi();
}

void test(void)
{
    unsigned count = 0;

    handle(VECTOR, on_timer);
    lapic_on(true);
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20000 | VECTOR);
    lapic_write(0x380, (uint32_t)(apic_hz() / 100));
    say("listening\n");
    for (char c = 0; c != 'q';) {
        asm volatile("sti; hlt; cli" ::: "memory");
        while (inb(COM1 + 5) & 1) {
            c = (char)inb(COM1);
            say("%u: '%c'\n", ++count, c);
        }
    }
}
