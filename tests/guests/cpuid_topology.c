/* CPUID's local APIC ids agree with the local APIC, and the clock leaves with each other. */
#include "guest.h"

void test(void)
{
    lapic_on(false);
    uint32_t id = lapic_read(0x20) >> 24;
    CHECK(cpuid(1, 0).ebx >> 24 == id, "leaf 1 says id %u, the APIC %u", cpuid(1, 0).ebx >> 24, id);
    lapic_on(true);
    id = lapic_read(0x20);
    for (unsigned level = 0; level < 4; level++) {
        struct regs r = cpuid(0xb, level);
        CHECK(r.edx == id, "leaf 0Bh.%u says id %u, the APIC %u", level, r.edx, id);
        CHECK((r.ecx & 0xff) == level, "leaf 0Bh.%u says level %u", level, r.ecx & 0xff);
        CHECK((r.ecx >> 8) == (level < 2 ? level + 1 : 0), "leaf 0Bh.%u has type %u", level,
              r.ecx >> 8);
    }
    struct regs tsc = cpuid(0x15, 0), mhz = cpuid(0x16, 0), top = cpuid(0x12345, 0),
                ext = cpuid(0x80000099, 0);
    CHECK(tsc.eax && tsc.ebx && tsc.ecx, "leaf 15h is %x %x %x", tsc.eax, tsc.ebx, tsc.ecx);
    uint64_t hz = (uint64_t)tsc.ecx * tsc.ebx / tsc.eax;
    CHECK(mhz.eax + 1 >= hz / 1000000 && mhz.eax <= hz / 1000000 + 1,
          "leaf 16h says %u MHz, 15h %lu Hz", mhz.eax, hz);
    CHECK(memcmp(&top, &mhz, sizeof(top)) == 0 && memcmp(&ext, &mhz, sizeof(ext)) == 0,
          "leaves out of range are not the highest basic one");
}
