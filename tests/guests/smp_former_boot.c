/* A boot vCPU that has given its flag away (IA32_APIC_BASE.BSP) and gets INIT waits for a start-up
 * IPI like any other. The board goes on without it: the 8254 ticks for another vCPU, in its loop
 * and out of HLT. */
#include "smp.h"

#define EXTINT 0x700u
#define BSP    BIT(8)

static volatile uint32_t ticks, gone, back;

static void on_timer(struct frame *f)
{
    ticks++;
    outb(0x20, 0x20);
}

static void live(unsigned self)
{
    if (self == 0) {
        back = 1;
        return;
    }
    if (self != 1)
        return;
    CHECK(smp_wait(&gone, 1), "the boot vCPU does not go");
    smp_send(0, SMP_INIT);
    pic_init(0x20);
    handle(0x20, on_timer);
    lapic_write(0x350, EXTINT);
    pit_start(2, 1193);
    outb(0x21, 0xfe);
    sti();
    for (uint64_t end = rdtsc() + tsc_hz(); ticks < 5 && (int64_t)(rdtsc() - end) < 0;)
        pause();
    CHECK(ticks >= 5, "%u ticks in a second", ticks);
    while (ticks < 10)
        asm volatile("hlt" ::: "memory");
    cli();
    CHECK(back == 0, "it runs after INIT");
    smp_send(0, SMP_STARTUP);
    CHECK(smp_wait(&back, 1), "it does not start");
    pass();
}

void test(void)
{
    if (smp_start(false, live) < 2)
        fail("one vCPU is too few");
    wrmsr(0x1b, rdmsr(0x1b) & ~BSP);
    cli();
    gone = 1;
    for (;;)
        cpuid(0, 0); /* exits, so that INIT comes through also without the preemption timer */
}
