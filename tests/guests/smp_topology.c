/* CPUID's topology, the local APICs' ids and ACPI's table name the same vCPUs. */
#include "smp.h"

static volatile uint32_t done, ids[SMP_MAX];

static void look(unsigned self)
{
    uint32_t id = lapic_read(0x20), width = 0;
    unsigned count = smp_count();

    CHECK(smp_wait(&done, self), "vCPU %u waits for its turn", self);
    CHECK(cpuid(1, 0).ebx >> 24 == id, "leaf 1 says id %u, the APIC %u", cpuid(1, 0).ebx >> 24, id);
    CHECK((cpuid(1, 0).ebx >> 16 & 0xff) >= count, "leaf 1 has room for %u ids of %u",
          cpuid(1, 0).ebx >> 16 & 0xff, count);
    for (unsigned level = 0; level < 2; level++) {
        struct regs r = cpuid(0xb, level);
        CHECK(r.edx == id, "leaf 0Bh.%u says id %u, the APIC %u", level, r.edx, id);
        width = r.eax & 0x1f;
        CHECK((r.ebx & 0xffff) == (level ? count : 1), "leaf 0Bh.%u counts %u", level,
              r.ebx & 0xffff);
    }
    CHECK(id >> width == 0, "id %u is of another package: %u bits", id, width);
    CHECK(1u << width < 2 * count, "%u bits are too many for %u vCPUs", width, count);
    CHECK((uint32_t)rdmsr(0x80d) == ((id >> 4) << 16 | 1u << (id & 15)), "LDR of %u is %x", id,
          (uint32_t)rdmsr(0x80d));
    CHECK(!(rdmsr(0x1b) & BIT(8)) == (self != 0), "vCPU %u: APIC base is %lx", self, rdmsr(0x1b));
    add(&ids[id], 1);
    add(&done, 1);
}

static const uint8_t *find_madt(void)
{
    for (const uint8_t *p = (const uint8_t *)0xe0000; p < (const uint8_t *)0x100000; p += 4)
        if (memcmp(p, "APIC", 4) == 0 && p[8] < 6) /* its revision */
            return p;
    return NULL;
}

/* Processor Local APIC Structures (ACPI, MADT) that are enabled. */
static unsigned listed(const uint8_t *madt)
{
    unsigned count = 0, length;

    memcpy(&length, madt + 4, 4);
    for (const uint8_t *p = madt + 44; p + 2 <= madt + length && p[1] >= 2; p += p[1])
        if (p[0] == 0 && (p[4] & 1)) {
            CHECK(p[3] < SMP_MAX && ids[p[3]] == 1, "the MADT lists id %u", p[3]);
            count++;
        }
    return count;
}

void test(void)
{
    unsigned count = smp_start(true, look);
    const uint8_t *madt = find_madt();

    look(0);
    CHECK(smp_wait(&done, count), "%u of %u vCPUs have looked", done, count);
    for (unsigned i = 0; i < count; i++)
        CHECK(ids[i] == 1, "%u vCPUs have id %u", ids[i], i);
    CHECK(madt, "no MADT");
    CHECK(listed(madt) == count, "the MADT lists %u processors of %u", listed(madt), count);
    say("%u vCPUs\n", count);
}
