/* Addresses where there is neither RAM nor a device read as ones, drop what is written, and can be
 * hit for ever. */
#include "guest.h"

void test(void)
{
    static const uint64_t holes[] = {0xd0000000, 0xe0000000, 0xfffff000, 0xfed00000};
    for (unsigned i = 0; i < ARRAY_SIZE(holes); i++) {
        volatile uint8_t *p8 = (volatile uint8_t *)holes[i];
        for (unsigned n = 0; n < 200; n++)
            write32(holes[i] + 4 * n, n);
        write32(holes[i], 0x12345678);
        CHECK(read32(holes[i]) == 0xffffffff, "%lx reads %x", holes[i], read32(holes[i]));
        CHECK(*p8 == 0xff && *(volatile uint64_t *)holes[i] == ~0ULL, "%lx reads %x as a byte",
              holes[i], *p8);
    }
}
