/* Takes all the processor time that it can get, on all vCPUs, without ever leaving the guest. */
#include "smp.h"

static void spin(unsigned self)
{
    for (;;)
        asm volatile("" ::: "memory");
}

void test(void)
{
    smp_start(true, spin);
    say("spinning\n");
    spin(0);
}
