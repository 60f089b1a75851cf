/* IA32_APIC_BASE: from xAPIC to x2APIC, and #GP for every transition that the SDM calls illegal. */
#include "guest.h"

#define EN   BIT(11)
#define EXTD BIT(10)

void test(void)
{
    uint64_t base = rdmsr(0x1b), value;
    CHECK((base & (EN | EXTD)) == EN, "IA32_APIC_BASE starts as %lx", base);
    CHECK((base & ~0xfffULL) == LAPIC, "the APIC lies at %lx", base & ~0xfffUL);
    CHECK(base & BIT(8), "this is not the boot processor");
    CHECK(try_rdmsr(0x802, &value) == GP, "x2APIC registers exist in xAPIC mode");
    uint32_t id = read32(LAPIC + 0x20) >> 24, version = read32(LAPIC + 0x30);
    CHECK((version & 0xff) >= 0x10 && (version & 0xff) < 0x20, "version %x", version);
    CHECK(try_wrmsr(0x1b, base | BIT(0)) == GP, "bit 0 is taken");
    CHECK(try_wrmsr(0x1b, base | BIT(63)) == GP, "bit 63 is taken");
    CHECK(try_wrmsr(0x1b, (base & ~EN) | EXTD) == GP, "EXTD without EN is taken");
    write32(LAPIC + 0x80, 0x20);

    wrmsr(0x1b, base | EXTD);
    CHECK(rdmsr(0x1b) == (base | EXTD), "IA32_APIC_BASE is %lx", rdmsr(0x1b));
    CHECK(rdmsr(0x802) == id, "the id is %lx, was %x", rdmsr(0x802), id);
    CHECK(rdmsr(0x803) == version, "the version is %lx, was %x", rdmsr(0x803), version);
    CHECK(rdmsr(0x808) == 0x20, "TPR is %lx, was 20", rdmsr(0x808));
    CHECK(try_wrmsr(0x1b, base) == GP, "x2APIC to xAPIC is taken");
    CHECK(try_wrmsr(0x802, 0) == GP, "the id can be written");
    CHECK(try_wrmsr(0x80d, 0) == GP, "LDR can be written");
    CHECK(try_rdmsr(0x80b, &value) == GP, "EOI can be read");
    CHECK(try_wrmsr(0x80b, 1) == GP, "EOI takes 1");
    CHECK(try_rdmsr(0x80e, &value) == GP, "DFR exists");
    CHECK(try_rdmsr(0x831, &value) == GP, "ICR2 exists");
    CHECK(try_rdmsr(0x83f, &value) == GP, "SELF IPI can be read");
    CHECK(try_wrmsr(0x808, 0x100) == GP, "TPR takes bit 8");
    CHECK(try_wrmsr(0x828, 1) == GP, "ESR takes 1");
    CHECK(try_wrmsr(0x8ff, 0) == GP, "8FFh exists");
    CHECK(try_wrmsr(0x83f, 0x150) == GP, "SELF IPI takes bit 8");
    static const uint16_t missing[] = {0x800, 0x801, 0x804, 0x807, 0x809, 0x80c, 0x829,
                                       0x82f, 0x831, 0x83a, 0x83d, 0x840, 0x8ff};
    for (unsigned i = 0; i < ARRAY_SIZE(missing); i++)
        CHECK(try_rdmsr(missing[i], &value) == GP, "%xh can be read", missing[i]);
    CHECK(rdmsr(0x80f) <= 0x1ff, "SVR is %lx", rdmsr(0x80f));

    wrmsr(0x1b, base & ~EN);
    CHECK(!(rdmsr(0x1b) & (EN | EXTD)), "it is not off: %lx", rdmsr(0x1b));
    CHECK(!(cpuid(1, 0).edx >> 9 & 1), "CPUID still shows the APIC that is off");
    CHECK(try_rdmsr(0x802, &value) == GP, "x2APIC registers exist when it is off");
    CHECK(try_wrmsr(0x1b, base | EXTD) == GP, "off to x2APIC is taken");
    wrmsr(0x1b, base);
    CHECK(cpuid(1, 0).edx >> 9 & 1, "CPUID does not show the APIC that is on");
    CHECK(read32(LAPIC + 0x20) >> 24 == id, "the id is %x, was %x", read32(LAPIC + 0x20) >> 24, id);
    wrmsr(0x1b, base | EXTD);
    CHECK(rdmsr(0x802) == id, "x2APIC does not come back");
    CHECK(rdmsr(0x80d) == (id >> 4 << 16 | 1u << (id & 15)), "LDR is %lx", rdmsr(0x80d));
}
