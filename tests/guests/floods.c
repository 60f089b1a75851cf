/* A guest that says more than any port can send, for ever. */
#include "guest.h"

void test(void)
{
    for (unsigned n = 0;; n++)
        say("%u\n", n);
}
