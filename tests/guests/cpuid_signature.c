/* Corbel names itself at 40000000h and shows KVM's signature without features at 40000100h. */
#include "guest.h"

void test(void)
{
    struct regs r = cpuid(0x40000000, 0);
    CHECK(cpuid(1, 0).ecx >> 31, "CPUID.1:ECX.31 is clear");
    CHECK(memcmp(&r.ebx, "CorbelCorbel", 12) == 0, "leaf 40000000h is %x %x %x", r.ebx, r.ecx,
          r.edx);
    CHECK(r.eax >= 0x40000000 && r.eax < 0x40000100, "highest leaf is %x", r.eax);
    r = cpuid(0x40000100, 0);
    CHECK(memcmp(&r.ebx, "KVMKVMKVM\0\0\0", 12) == 0, "leaf 40000100h is %x %x %x", r.ebx, r.ecx,
          r.edx);
    CHECK(r.eax == 0x40000101, "KVM's highest leaf is %x", r.eax);
    CHECK(cpuid(0x40000101, 0).eax == 0, "KVM features %x", cpuid(0x40000101, 0).eax);
}
