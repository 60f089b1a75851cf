/* What firmware does with the debug console's ports: recognise them, and write. */
#include "guest.h"

static void to_port(uint16_t port, const char *text)
{
    while (*text)
        outb(port, (uint8_t)*text++);
}

void test(void)
{
    if (inb(0x402) != 0xe9 || inb(0xe9) != 0xe9)
        fail("ports 402h and E9h read as %x and %x", inb(0x402), inb(0xe9));
    to_port(0x402, "a line\r\nhalf of ");
    to_port(0xe9, "another\n\033[2Jthat clears no screen\n");
}
