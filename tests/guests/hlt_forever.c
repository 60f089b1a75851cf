/* HLT with interrupts off and nothing that could wake it: the VM waits, or is ended with a
 * sentence. */
#include "guest.h"

void test(void)
{
    say("PASS hlt_forever, if Corbel is alive after this\n");
    for (;;)
        asm volatile("cli; hlt" ::: "memory");
}
