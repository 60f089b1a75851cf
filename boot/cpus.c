#include "boot/cpu.h"
#include "boot/loader.h"
#include "boot/madt.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define CPUS_MAX 4096u

/* UEFI PI specification, "MP Services Protocol"; gnu-efi has no header for it. */
struct mp_processor {
    uint64_t id; /* APIC id */
    uint32_t status;
    uint32_t location[3];
    uint32_t extended[6];
};
#define MP_STATUS_BSP     1u
#define MP_STATUS_ENABLED 2u
#define MP_STATUS_HEALTHY 4u

struct mp_services {
    EFI_STATUS(EFIAPI *get_number_of_processors)(struct mp_services *, UINTN *all, UINTN *enabled);
    EFI_STATUS(EFIAPI *get_processor_info)(struct mp_services *, UINTN n, struct mp_processor *);
};

static uint32_t own_apic_id(void)
{
    if (cpuid(0).eax >= 0xb && cpuid(0xb).ebx)
        return cpuid(0xb).edx;
    return cpuid(1).ebx >> 24;
}

static uint32_t read32(uint64_t at)
{
    uint32_t v;

    memcpy(&v, (const void *)(uintptr_t)at, sizeof(v));
    return v;
}

static uint64_t read64(uint64_t at)
{
    return read32(at) | (uint64_t)read32(at + 4) << 32;
}

/*
 * The MADT's address, found through the XSDT (or RSDT), or 0.
 * ACPI, "Root System Description Pointer (RSDP)": revision at 15, RSDT at 16, XSDT at 24.
 */
static uint64_t find_madt(uint64_t rsdp)
{
    bool wide = *(const uint8_t *)(uintptr_t)(rsdp + 15) >= 2 && read64(rsdp + 24);
    uint64_t root = wide ? read64(rsdp + 24) : read32(rsdp + 16);
    uint32_t length, step = wide ? 8 : 4;

    if (!root)
        return 0;
    length = MIN(read32(root + 4), 64 * (uint32_t)KIB);
    for (uint32_t at = 36; at + step <= length; at += step) {
        uint64_t table = wide ? read64(root + at) : read32(root + at);

        if (table && memcmp((const void *)(uintptr_t)table, "APIC", 4) == 0)
            return table;
    }
    return 0;
}

static int from_madt(uint64_t rsdp, struct handover_cpu *cpus)
{
    uint64_t madt = rsdp ? find_madt(rsdp) : 0;

    if (!madt)
        return -ENOENT;
    return madt_cpus((const uint8_t *)(uintptr_t)madt, MIN(read32(madt + 4), (uint32_t)MIB),
                     own_apic_id(), cpus, CPUS_MAX);
}

static int from_mp_services(struct handover_cpu *cpus)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
    struct mp_services *mp;
    UINTN all, enabled;
    uint32_t n = 0;

    if (firmware->BootServices->LocateProtocol(&guid, NULL, (void **)&mp) != EFI_SUCCESS ||
        mp->get_number_of_processors(mp, &all, &enabled) != EFI_SUCCESS)
        return -ENOENT;
    for (UINTN i = 0; i < all && n < CPUS_MAX; i++) {
        struct mp_processor p = {0};

        if (mp->get_processor_info(mp, i, &p) != EFI_SUCCESS || !(p.status & MP_STATUS_HEALTHY))
            continue;
        cpus[n].apic_id = (uint32_t)p.id;
        cpus[n].flags = (p.status & MP_STATUS_ENABLED ? HANDOVER_CPU_ENABLED : 0) |
                        (p.status & MP_STATUS_BSP ? HANDOVER_CPU_BSP : 0);
        n++;
    }
    return (int)n;
}

int cpus_gather(struct handover *h)
{
    struct handover_cpu *cpus = memory_allocate(CPUS_MAX * sizeof(*cpus));
    int n;

    if (!cpus)
        return -ENOMEM;
    n = from_madt(h->rsdp, cpus);
    if (n <= 0)
        n = from_mp_services(cpus);
    if (n <= 0) {
        say("firmware tells of no processors, by ACPI or MP services: this one is used alone.");
        cpus[0].apic_id = own_apic_id();
        cpus[0].flags = HANDOVER_CPU_ENABLED | HANDOVER_CPU_BSP;
        n = 1;
    }
    h->cpus = (uintptr_t)cpus;
    h->cpu_count = (uint32_t)n;
    return 0;
}
