#include "boot/madt.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* ACPI, "Multiple APIC Description Table (MADT)": entries follow the 36-byte header and two 32-bit
 * fields. */
#define MADT_ENTRIES        44
#define MADT_LOCAL_APIC     0
#define MADT_LOCAL_X2APIC   9
#define MADT_ENABLED        1u
#define MADT_ONLINE_CAPABLE 2u

static uint32_t read32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* Firmware may list one processor both as local APIC and as x2APIC. */
static bool listed(const struct handover_cpu *cpus, uint32_t n, uint32_t apic_id)
{
    for (uint32_t i = 0; i < n; i++)
        if (cpus[i].apic_id == apic_id)
            return true;
    return false;
}

int madt_cpus(const uint8_t *madt, uint32_t size, uint32_t bsp, struct handover_cpu *cpus,
              uint32_t room)
{
    uint32_t n = 0;

    if (size < MADT_ENTRIES || memcmp(madt, "APIC", 4) != 0)
        return -EBADMSG;
    for (uint32_t at = MADT_ENTRIES; size - at >= 2 && n < room; at += madt[at + 1]) {
        const uint8_t *e = madt + at;
        uint32_t apic_id, flags;

        if (e[1] < 2 || e[1] > size - at)
            break;
        if (e[0] == MADT_LOCAL_APIC && e[1] >= 8) {
            apic_id = e[3];
            flags = read32(e + 4);
        } else if (e[0] == MADT_LOCAL_X2APIC && e[1] >= 16) {
            apic_id = read32(e + 4);
            flags = read32(e + 8);
        } else {
            continue;
        }
        if (!(flags & (MADT_ENABLED | MADT_ONLINE_CAPABLE)) || listed(cpus, n, apic_id))
            continue;
        cpus[n].apic_id = apic_id;
        cpus[n].flags = flags & MADT_ENABLED ? HANDOVER_CPU_ENABLED : 0;
        if (apic_id == bsp)
            cpus[n].flags |= HANDOVER_CPU_BSP;
        n++;
    }
    return (int)n;
}
