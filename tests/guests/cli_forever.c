/* A guest that loops with interrupts off for ever: what it said before still comes out. */
#include "guest.h"

void test(void)
{
    say("a line that is longer than the FIFO of any UART that was ever built into a PC, to be seen "
        "in full\n");
    say("PASS cli_forever\n");
    asm volatile("cli; 1: jmp 1b" ::: "memory");
}
