/* The keyboard controller's reset pulse, port CF9h and port 92h each restart the VM. */
#include "guest.h"

#define BYTE_OF_RUN 0x50

void test(void)
{
    uint8_t run = cmos_read(BYTE_OF_RUN);
    cmos_write(BYTE_OF_RUN, (uint8_t)(run < 0x81 || run > 0x83 ? 0x81 : run + 1));
    say("run %x\n", run);
    switch (cmos_read(BYTE_OF_RUN)) {
    case 0x81:
        outb(0x64, 0xfe);
        break;
    case 0x82:
        outb(0xcf9, 2);
        outb(0xcf9, 6);
        break;
    case 0x83:
        outb(0x92, 1);
        break;
    default:
        return;
    }
    delay_us(100000);
    fail("reset number %x did not come", cmos_read(BYTE_OF_RUN));
}
