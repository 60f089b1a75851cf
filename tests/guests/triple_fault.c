/* A triple fault restarts this VM, and nothing else notices. */
#include "guest.h"

#define BYTE_OF_RUN 0x50

void test(void)
{
    if (cmos_read(BYTE_OF_RUN) == 0x77) {
        CHECK(rdmsr(0x1b) & BIT(11), "the local APIC is off after the restart");
        return;
    }
    cmos_write(BYTE_OF_RUN, 0x77);
    say("triple fault\n");
    load_idt(idt, 0);
    asm volatile("int3" ::: "memory");
    fail("INT3 without an IDT went on");
}
