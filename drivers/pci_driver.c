/* See pci_driver.h. */
#include "drivers/pci_driver.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "arch/x86/trap.h"
#include "drivers/iommu.h"
#include "mm/space.h"

#define VECTOR_END  0xc0
#define MSI_ADDRESS 0xfee00000u
#define MSIX_ENTRY  16
#define ID_MAX      0xfeu /* eight bits of destination: beyond is interrupt remapping */

/* --- finding them --- */

unsigned host_pci_find(void)
{
    static unsigned count;
    unsigned stopped;

    if (count)
        return count;
    count = host_pci_init(host_pci_access_init());
    log_debug("PCI: %u functions", count);
    stopped = host_pci_quiet();
    if (stopped)
        log_debug("PCI: firmware left %u of them as bus masters, which they are not any more",
                  stopped);
    for (unsigned i = 0; i < count; i++) {
        const struct host_pci *p = host_pci_get(i);

        log_debug("PCI %02x:%02x.%u: %04x:%04x, class %02x%02x%02x", p->address >> 8,
                  p->address >> 3 & 31, p->address & 7, p->vendor, p->device, p->class, p->subclass,
                  p->interface);
    }
    return count;
}

/* --- interrupts --- */

static unsigned vector_next = VECTOR_PCI;

/* A vector of its own for fn(arg). */
static int new_vector(void (*fn)(void *), void *arg)
{
    int error;

    if (vector_next == VECTOR_END)
        return -ENOSPC;
    error = interrupt_register(vector_next, fn, arg);
    return error ? error : (int)vector_next++;
}

int host_interrupt_message(void (*fn)(void *), void *arg, struct host_pci_message *m)
{
    uint32_t id = cpu_by_number(0)->apic_id;
    int vector = id > ID_MAX ? -ENODEV : new_vector(fn, arg);

    *m = (struct host_pci_message){MSI_ADDRESS | id << 12, (uint32_t)vector};
    return MIN(vector, 0);
}

/* The message by which p raises a vector of its own on a processor. */
static int new_message(const struct host_pci *p, void (*fn)(void *), void *arg, unsigned cpu,
                       struct host_pci_message *m)
{
    uint32_t id = cpu_by_number(cpu)->apic_id;
    int error = 0, vector = new_vector(fn, arg);

    if (vector < 0 || iommu_message(p, (unsigned)vector, id, m, &error))
        return MIN(vector, error);
    if (id > ID_MAX)
        return -ENODEV;
    *m = (struct host_pci_message){MSI_ADDRESS | id << 12, (uint32_t)vector};
    return 0;
}

unsigned host_pci_msix_begin(const struct host_pci *p, struct io *table)
{
    struct host_pci_bar at;
    unsigned bar, count;
    uint32_t offset;
    void *mapped;

    count = host_pci_msix(p, &bar, &offset);
    if (!count || host_pci_bar(p, bar, &at) || at.ports || offset >= at.size ||
        (uint64_t)count * MSIX_ENTRY > at.size - offset)
        return 0;
    mapped = map_mmio(at.base + offset, (uint64_t)count * MSIX_ENTRY, CACHE_UC);
    if (!mapped)
        return 0;
    *table = (struct io){.base = (uint64_t)mapped, .size = (uint64_t)count * MSIX_ENTRY};
    for (unsigned i = 0; i < count; i++)
        io_write32(table, i * MSIX_ENTRY + 12, 1);
    host_pci_msix_enable(p, true);
    return count;
}

int host_pci_msix_connect(const struct host_pci *p, const struct io *table, unsigned n,
                          void (*fn)(void *), void *arg, unsigned cpu)
{
    struct host_pci_message m;
    int error = new_message(p, fn, arg, cpu, &m);

    if (!error)
        host_pci_msix_set(table, n, &m);
    return error;
}

int host_pci_msi_connect(const struct host_pci *p, void (*fn)(void *), void *arg)
{
    struct host_pci_message m;
    int error;

    if (!host_pci_capability(p, HOST_PCI_CAP_MSI, 0))
        return -ENODEV;
    error = new_message(p, fn, arg, 0, &m);
    return error ? error : host_pci_msi_enable(p, &m);
}

/* --- memory --- */

bool host_pci_map(const struct host_pci *p, unsigned bar, uint64_t least, struct io *out)
{
    struct host_pci_bar at;
    void *mapped;

    if (host_pci_bar(p, bar, &at) || at.ports || at.size < least)
        return false;
    mapped = map_mmio(at.base, MIN(at.size, 64 * KIB), CACHE_UC);
    *out = (struct io){.base = (uint64_t)mapped, .size = MIN(at.size, 64 * KIB)};
    return mapped != NULL;
}
