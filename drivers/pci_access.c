/* How configuration space is reached. */
#include "drivers/pci.h"

#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/spinlock.h"
#include "drivers/acpi.h"
#include "mm/space.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_ENABLE  BIT(31)

#define MCFG_ENTRIES 44
#define MCFG_ENTRY   16

static struct spinlock ports = SPINLOCK(RANK_PCI);
static uint8_t *ecam; /* of bus 0 of segment 0 */
static unsigned ecam_first, ecam_last;

static uint32_t port_read(uint16_t address, unsigned offset)
{
    uint32_t value;

    spin_lock(&ports);
    outl(CONFIG_ADDRESS, (uint32_t)(CONFIG_ENABLE | (uint32_t)address << 8 | (offset & 0xfc)));
    value = inl(CONFIG_DATA);
    spin_unlock(&ports);
    return value;
}

static void port_write(uint16_t address, unsigned offset, uint32_t value)
{
    spin_lock(&ports);
    outl(CONFIG_ADDRESS, (uint32_t)(CONFIG_ENABLE | (uint32_t)address << 8 | (offset & 0xfc)));
    outl(CONFIG_DATA, value);
    spin_unlock(&ports);
}

static volatile uint32_t *ecam_at(uint16_t address, unsigned offset)
{
    unsigned bus = address >> 8;

    if (bus < ecam_first || bus > ecam_last)
        return NULL;
    return (volatile uint32_t *)(ecam + ((uint64_t)(address - (ecam_first << 8)) << 12) +
                                 (offset & 0xffc));
}

static uint32_t ecam_read(uint16_t address, unsigned offset)
{
    volatile uint32_t *at = ecam_at(address, offset);

    return at ? *at : UINT32_MAX;
}

static void ecam_write(uint16_t address, unsigned offset, uint32_t value)
{
    volatile uint32_t *at = ecam_at(address, offset);

    if (at)
        *at = value;
}

/* The MCFG's row of segment 0. */
static bool map_ecam(void)
{
    const struct acpi_header *h = acpi_find("MCFG");
    const uint8_t *table = (const uint8_t *)h;

    for (uint32_t at = MCFG_ENTRIES; h && h->length >= at && h->length - at >= MCFG_ENTRY;
         at += MCFG_ENTRY) {
        uint64_t base;
        uint16_t segment;

        memcpy(&base, table + at, 8);
        memcpy(&segment, table + at + 8, 2);
        ecam_first = table[at + 10];
        ecam_last = table[at + 11];
        if (segment || ecam_last < ecam_first || !base || base % MIB)
            continue;
        /* The base is bus 0's, whichever bus is the first. */
        base += (uint64_t)ecam_first << 20;
        ecam = map_mmio(base, (uint64_t)(ecam_last - ecam_first + 1) << 20, CACHE_UC);
        return ecam != NULL;
    }
    return false;
}

static const struct host_pci_access by_ports = {port_read, port_write, false},
                                    by_memory = {ecam_read, ecam_write, true};

const struct host_pci_access *host_pci_by_ports(void)
{
    return &by_ports;
}

const struct host_pci_access *host_pci_access_init(void)
{
    uint32_t id = port_read(0, HOST_PCI_ID);

    if (!map_ecam())
        return &by_ports;
    /* A table that names the wrong place is believed only where the ports say the same. */
    if (ecam_first || ecam_read(0, HOST_PCI_ID) == id || id == UINT32_MAX)
        return &by_memory;
    log_warn("PCI: the MCFG table is wrong: configuration space by ports");
    return &by_ports;
}
