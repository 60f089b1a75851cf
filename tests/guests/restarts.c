/* Resets itself as soon as it runs, for ever. */
#include "guest.h"

void test(void)
{
    outb(0xcf9, 6);
    for (;;)
        ;
}
