/* An MSR that does not exist raises #GP(0) at the instruction, and leaves EDX:EAX alone. */
#include "guest.h"

void test(void)
{
    static const uint32_t unknown[] = {0x2,        0x1c9,      0x3f,       0x48,       0x10a,
                                       0x606,      0x1fff,     0x2000,     0x3fffffff, 0x4b564d00,
                                       0xbfffffff, 0xc0000007, 0xc0002000, 0xffffffff, 0x480};
    for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
        if ((unknown[i] == 0x48 && cpuid(7, 0).edx >> 26 & 1) ||
            (unknown[i] == 0x10a && cpuid(7, 0).edx >> 29 & 1))
            continue; /* known where CPUID shows it: the guest speculation */
        uint32_t low = 0x11111111, high = 0x22222222;
        int vector = TRY("rdmsr", : "+a"(low), "+d"(high) : "c"(unknown[i]) : "memory");
        CHECK(vector == GP && caught.error == 0, "RDMSR %x gave vector %d error %lx", unknown[i],
              vector, caught.error);
        CHECK(low == 0x11111111 && high == 0x22222222, "RDMSR %x changed registers", unknown[i]);
        vector = try_wrmsr(unknown[i], 0);
        CHECK(vector == GP && caught.error == 0, "WRMSR %x gave vector %d", unknown[i], vector);
    }
}
