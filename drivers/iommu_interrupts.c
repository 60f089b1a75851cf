/* Interrupt remapping: devices name an entry of a table, and only their own ones. */
#include "drivers/iommu_internal.h"

#include "arch/x86/apic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/spinlock.h"
#include "drivers/acpi.h"
#include "drivers/ioapic.h"

/* A message that names an entry ("Remappable Format"). */
#define MESSAGE        0xfee00000u
#define MESSAGE_FORMAT BIT(4)
#define MESSAGE_LOW(n) (((uint64_t)(n)&0x7fff) << 5)
/* The same of an I/O APIC's pin. */
#define PIN_FORMAT BIT(48)
#define PIN_LOW(n) (((uint64_t)(n)&0x7fff) << 49)

_Static_assert(VTD_INTERRUPTS * sizeof(struct vtd_entry) == PAGE_SIZE && VTD_INTERRUPTS <= 0x8000,
               "one page of entries, of numbers of 15 bits");

static struct vtd_entry *table;
static bool coherent, x2apic;
static unsigned used;

static bool all_units_can(void)
{
    bool all = iommu_table.remaps_interrupts && !(x2apic && iommu_table.no_x2apic);

    for (unsigned i = 0; i < iommu_unit_count && all; i++)
        all = iommu_units[i].root && vtd_can_remap(&iommu_units[i], x2apic);
    return all;
}

/* Each I/O APIC that is used has to be known to a unit, or its interrupts would not pass. */
static bool ioapics_are_known(void)
{
    uint16_t address;
    unsigned id;

    for (unsigned i = 0; ioapic_id(i, &id); i++)
        if (!dmar_unit_of_ioapic(&iommu_table, host_pci_read_at, id, &address))
            return false;
    return true;
}

bool iommu_interrupts_init(void)
{
    paddr at;

    x2apic = apic_is_x2apic();
    if (!all_units_can() || !ioapics_are_known())
        return false;
    at = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (at == FRAME_NONE)
        return false;
    table = phys_to_virt(at);
    memset(table, 0, PAGE_SIZE);
    coherent = true;
    for (unsigned i = 0; i < iommu_unit_count; i++)
        coherent = coherent && iommu_units[i].coherent;
    if (!coherent)
        vtd_write_back(table, PAGE_SIZE);
    for (unsigned i = 0; i < iommu_unit_count; i++)
        if (vtd_remap(&iommu_units[i], at, x2apic))
            log_error("VT-d: the unit at %lx does not remap interrupts",
                      iommu_table.units[i].registers);
    ioapic_reroute();
    return true;
}

/* The entry's number, or an error. On the boot processor, while nobody else asks. */
static int new_entry(struct vtd_entry e)
{
    if (used == VTD_INTERRUPTS)
        return -ENOSPC;
    vtd_set_entry(&table[used], e, coherent);
    for (unsigned i = 0; i < iommu_unit_count; i++)
        vtd_forget_interrupts(&iommu_units[i]);
    return (int)used++;
}

bool iommu_message(const struct host_pci *p, unsigned vector, uint32_t apic_id,
                   struct host_pci_message *out, int *error)
{
    int n;

    if (!table)
        return false;
    n = new_entry(vtd_interrupt_entry(vector, apic_id, x2apic, false, host_pci_requester(p)));
    *error = MIN(n, 0);
    *out = (struct host_pci_message){MESSAGE | MESSAGE_FORMAT | MESSAGE_LOW(n), 0};
    return true;
}

bool iommu_pin(unsigned id, unsigned vector, uint32_t apic_id, bool level, uint64_t *out,
               int *error)
{
    uint16_t address;
    int n;

    if (!table)
        return false;
    if (!dmar_unit_of_ioapic(&iommu_table, host_pci_read_at, id, &address)) {
        *error = -ENODEV;
        return true;
    }
    n = new_entry(vtd_interrupt_entry(vector, apic_id, x2apic, level, address));
    *error = MIN(n, 0);
    *out = PIN_FORMAT | PIN_LOW(n) | vector;
    return true;
}
