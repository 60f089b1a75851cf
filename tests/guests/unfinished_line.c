/* What Corbel has to say while the guest is in the middle of a line waits for that line's end, and
 * the end of the VM ends the line. */
#include "guest.h"

void test(void)
{
    uint64_t value;

    say("one ");
    (void)try_rdmsr(0x12345678, &value);
    say("line\nPASS unfinished_line\nand no");
    (void)try_rdmsr(0x12345679, &value);
    say(" end");
    power_off();
}
