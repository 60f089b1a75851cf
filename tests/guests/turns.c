/* One vCPU takes all the processor time that it can get; the others run for 100 us and sleep for 1
 * ms, again and again. */
#include "smp.h"

static uint64_t ms; /* in ticks */

static void on_timer(struct frame *f)
{
    lapic_eoi();
}

static void spin(void)
{
    for (;;)
        asm volatile("" ::: "memory");
}

static void run(unsigned self)
{
    lapic_on(true);
    lapic_write(0x320, 0x40061);
    for (;;) {
        wrmsr(0x6e0, rdtsc() + ms);
        asm volatile("sti; hlt; cli" ::: "memory");
        for (uint64_t end = rdtsc() + ms / 10; rdtsc() < end;)
            ;
    }
}

void test(void)
{
    ms = tsc_hz() / 1000;
    handle(0x61, on_timer);
    smp_start(true, run);
    say("in turns\n");
    spin();
}
