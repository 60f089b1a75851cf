/* EIP wraps behind an emulated instruction that ends at 4 GiB of its segment: even user code can
 * put one there. */
#include "guest.h"

#define BASE 0x30000ULL

void test(void)
{
    static const struct {
        uint32_t offset;
        uint16_t selector;
    } PACKED target = {0xfffffffe, 0x48};
    static const uint8_t code[] = {0x0f, 0xa2, 0xcb}; /* cpuid; retf */

    memcpy((void *)(BASE - 2), code, sizeof(code));
    boot_gdt[9] |= BASE << 16; /* 32-bit code */
    for (unsigned i = 0; i < 3; i++) {
        uint32_t a = 0, b, c = 0, d;
        asm volatile("lcall *%4" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : "m"(target) : "memory");
        CHECK(a == cpuid(0, 0).eax, "CPUID gives %x", a);
    }
}
