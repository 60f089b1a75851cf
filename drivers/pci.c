/* Configuration space is a device's: whatever it says is bounded here. */
#include "drivers/pci.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"

#define BUSES          256
#define DEVICES        32
#define FUNCTIONS      8
#define BRIDGE_DEPTH   16
#define MULTI_FUNCTION 0x80u
#define HEADER_BRIDGE  1
#define CLASS_BRIDGE   6
#define STATUS_LIST    BIT(4 + 16) /* in the command register's dword */
#define CAPS_FIRST     0x40u

#define BAR_IO        1u
#define BAR_TYPE(bar) ((bar) >> 1 & 3)
#define BAR_64        2u

#define EXPRESS_TYPE(c) ((c) >> 20 & 0xf) /* of its capability's first dword */
#define EXPRESS_TO_PCI  7u

#define MSI_ENABLE    BIT(16) /* message control is the upper half of the first dword */
#define MSI_COUNT     (7u << 20)
#define MSI_64        BIT(23)
#define MSI_MASKABLE  BIT(24)
#define MSIX_MASK_ALL BIT(30)
#define MSIX_ENABLE   BIT(31)

#define MSIX_ENTRY  16
#define MSIX_MASKED 1u

static const struct host_pci_access *config;
static struct host_pci functions[HOST_PCI_MAX];
static unsigned function_count, left_out;
static bool bus_seen[BUSES];
static uint16_t bus_speaker[BUSES];    /* whose address its functions have beyond; 0: their own */
static uint8_t was_master[BUSES * 32]; /* a bit for each address */

uint32_t host_pci_read_at(uint16_t address, unsigned offset)
{
    return config->read(address, offset);
}

uint32_t host_pci_read(const struct host_pci *p, unsigned offset)
{
    return config->read(p->address, offset);
}

void host_pci_write(const struct host_pci *p, unsigned offset, uint32_t value)
{
    config->write(p->address, offset, value);
}

void host_pci_command(const struct host_pci *p, uint16_t set, uint16_t clear)
{
    uint32_t value = host_pci_read(p, HOST_PCI_COMMAND) & 0xffff; /* status: ones would clear */

    host_pci_write(p, HOST_PCI_COMMAND, (value & ~(uint32_t)clear) | set);
}

/* --- finding them --- */

static void scan_bus(unsigned bus, unsigned depth);

/* "Transaction ID" of the PCI Express to PCI Bridge Specification: on a bus of conventional PCI
 * nothing says whose a request is, so the bridge does. */
static uint16_t speaker(const struct host_pci *p, unsigned secondary)
{
    unsigned express = host_pci_capability(p, HOST_PCI_CAP_EXPRESS, 0);

    if (bus_speaker[p->address >> 8])
        return bus_speaker[p->address >> 8];
    if (!express)
        return p->address;
    return EXPRESS_TYPE(host_pci_read(p, express)) == EXPRESS_TO_PCI ? (uint16_t)(secondary << 8)
                                                                     : 0;
}

static void scan_bridge(const struct host_pci *p, unsigned depth)
{
    uint32_t buses = host_pci_read(p, HOST_PCI_BUSES);
    unsigned secondary = buses >> 8 & 0xff, subordinate = buses >> 16 & 0xff;

    /* Firmware left it unused, or it leads back. */
    if (secondary <= (p->address >> 8) || subordinate < secondary)
        return;
    if (!bus_seen[secondary])
        bus_speaker[secondary] = speaker(p, secondary);
    scan_bus(secondary, depth + 1);
}

/* Returns the header type; ones where there is nothing. */
static uint8_t scan_function(uint16_t address, unsigned depth)
{
    uint32_t id = config->read(address, HOST_PCI_ID), class;
    struct host_pci p = {.address = address};
    uint8_t header;

    if ((id & 0xffff) == 0xffff || (id & 0xffff) == 0)
        return 0xff;
    class = config->read(address, HOST_PCI_CLASS);
    header = (uint8_t)(config->read(address, HOST_PCI_HEADER) >> 16);
    p.vendor = (uint16_t)id;
    p.device = (uint16_t)(id >> 16);
    p.class = (uint8_t)(class >> 24);
    p.subclass = (uint8_t)(class >> 16);
    p.interface = (uint8_t)(class >> 8);
    if ((header & 0x7f) == HEADER_BRIDGE) {
        scan_bridge(&p, depth);
        return header;
    }
    if (header & 0x7f)
        return header; /* a CardBus bridge, or what nobody knows: its BARs lie elsewhere */
    if (function_count < HOST_PCI_MAX)
        functions[function_count++] = p;
    else
        left_out++;
    return header;
}

static void scan_bus(unsigned bus, unsigned depth)
{
    if (bus_seen[bus] || depth > BRIDGE_DEPTH)
        return;
    bus_seen[bus] = true;
    for (unsigned device = 0; device < DEVICES; device++) {
        uint16_t address = (uint16_t)(bus << 8 | device << 3);
        uint8_t header = scan_function(address, depth);

        /* A missing function 0 means that there are none. */
        if (header == 0xff || !(header & MULTI_FUNCTION))
            continue;
        for (uint16_t f = 1; f < FUNCTIONS; f++)
            (void)scan_function(address | f, depth);
    }
}

static void sort(void)
{
    for (unsigned i = 1; i < function_count; i++) {
        struct host_pci p = functions[i];
        unsigned at = i;

        for (; at && functions[at - 1].address > p.address; at--)
            functions[at] = functions[at - 1];
        functions[at] = p;
    }
}

unsigned host_pci_init(const struct host_pci_access *access)
{
    config = access;
    function_count = left_out = 0;
    memset(bus_seen, 0, sizeof(bus_seen));
    memset(bus_speaker, 0, sizeof(bus_speaker));
    scan_bus(0, 0);
    /* A large machine has several host bridges, and only AML knows their buses. */
    if (access->all_buses)
        for (unsigned bus = 1; bus < BUSES; bus++)
            scan_bus(bus, 0);
    sort();
    if (left_out)
        log_warn("PCI: %u functions beyond the first %u are not used", left_out, HOST_PCI_MAX);
    return function_count;
}

struct host_pci *host_pci_get(unsigned index)
{
    return index < function_count ? &functions[index] : NULL;
}

uint16_t host_pci_requester(const struct host_pci *p)
{
    uint16_t other = bus_speaker[p->address >> 8];

    return other ? other : p->address;
}

/* --- what firmware left running --- */

unsigned host_pci_quiet(void)
{
    static unsigned stopped;

    for (unsigned i = 0; i < function_count; i++) {
        const struct host_pci *p = &functions[i];

        if (p->class == CLASS_BRIDGE || !(host_pci_read(p, HOST_PCI_COMMAND) & HOST_PCI_MASTER))
            continue;
        host_pci_command(p, 0, HOST_PCI_MASTER);
        (void)host_pci_read(p, HOST_PCI_COMMAND); /* what it wrote before has arrived */
        was_master[p->address / 8] |= (uint8_t)(1u << p->address % 8);
        stopped++;
    }
    return stopped;
}

void host_pci_unquiet(const struct host_pci *p)
{
    if (was_master[p->address / 8] >> p->address % 8 & 1)
        host_pci_command(p, HOST_PCI_MASTER, 0);
}

/* --- capabilities and BARs --- */

unsigned host_pci_capability(const struct host_pci *p, uint8_t id, unsigned after)
{
    uint64_t seen = 0; /* a bit for each place: a list that loops ends where it comes back */
    uint32_t capability;
    unsigned at;

    if (!(host_pci_read(p, HOST_PCI_COMMAND) & STATUS_LIST))
        return 0;
    at = host_pci_read(p, HOST_PCI_CAPABILITIES) & 0xfc;
    for (; at >= CAPS_FIRST && !(seen & BIT(at / 4)); at = capability >> 8 & 0xfc) {
        capability = host_pci_read(p, at);
        seen |= BIT(at / 4);
        if (capability == UINT32_MAX)
            return 0;
        if (!after && (capability & 0xff) == id)
            return at;
        if (at == after)
            after = 0;
    }
    return 0;
}

/* Writing ones shows which bits are decoded. */
static uint32_t size_mask(const struct host_pci *p, unsigned offset)
{
    uint32_t before = host_pci_read(p, offset), mask;

    host_pci_write(p, offset, UINT32_MAX);
    mask = host_pci_read(p, offset);
    host_pci_write(p, offset, before);
    return mask;
}

int host_pci_bar(const struct host_pci *p, unsigned n, struct host_pci_bar *out)
{
    unsigned offset = HOST_PCI_BAR + 4 * n;
    uint32_t command, bar;
    uint64_t mask, base;
    bool wide;

    if (n > 5)
        return -ENODEV;
    bar = host_pci_read(p, offset);
    wide = !(bar & BAR_IO) && BAR_TYPE(bar) == BAR_64;
    if (wide && n == 5)
        return -ENODEV;
    command = host_pci_read(p, HOST_PCI_COMMAND) & 0xffff;
    host_pci_write(p, HOST_PCI_COMMAND, command & ~(HOST_PCI_IO | HOST_PCI_MEMORY));
    mask = size_mask(p, offset);
    base = bar;
    if (wide) {
        mask |= (uint64_t)size_mask(p, offset + 4) << 32;
        base |= (uint64_t)host_pci_read(p, offset + 4) << 32;
    } else if (mask & 0xfffffff0u) {
        mask |= 0xffffffff00000000; /* of an I/O BAR the upper 16 bits may read 0 */
    }
    host_pci_write(p, HOST_PCI_COMMAND, command);
    out->ports = bar & BAR_IO;
    if (out->ports)
        mask = (mask & 0xfffc) | ~0xffffULL;
    else
        mask &= ~0xfULL;
    out->size = ~mask + 1;
    out->base = base & (out->ports ? 0xfffcULL : ~0xfULL);
    /* Sizes are powers of two, and places multiples of them. */
    if (!(uint32_t)mask && !wide)
        return -ENODEV;
    if (!mask || (out->size & (out->size - 1)) || !out->base || (out->base & (out->size - 1)))
        return -ENODEV;
    return 0;
}

/* --- interrupts by message --- */

/* Only one of the two may be on ("MSI and MSI-X Operation"). */
static void switch_off(const struct host_pci *p, uint8_t capability, uint64_t enable)
{
    unsigned at = host_pci_capability(p, capability, 0);
    uint32_t value = at ? host_pci_read(p, at) : 0;

    if (value & enable)
        host_pci_write(p, at, value & ~(uint32_t)enable);
}

unsigned host_pci_msix(const struct host_pci *p, unsigned *bar, uint32_t *offset)
{
    unsigned at = host_pci_capability(p, HOST_PCI_CAP_MSIX, 0);
    uint32_t table;

    if (!at)
        return 0;
    table = host_pci_read(p, at + 4);
    *bar = table & 7;
    *offset = table & ~7u;
    return (host_pci_read(p, at) >> 16 & 0x7ff) + 1;
}

void host_pci_msix_set(const struct io *table, unsigned n, const struct host_pci_message *m)
{
    io_write32(table, n * MSIX_ENTRY + 12, MSIX_MASKED);
    io_write64(table, n * MSIX_ENTRY, m->address);
    io_write32(table, n * MSIX_ENTRY + 8, m->data);
    io_write32(table, n * MSIX_ENTRY + 12, 0);
}

void host_pci_msix_enable(const struct host_pci *p, bool on)
{
    unsigned at = host_pci_capability(p, HOST_PCI_CAP_MSIX, 0);
    uint32_t value;

    if (!at)
        return;
    if (on)
        switch_off(p, HOST_PCI_CAP_MSI, MSI_ENABLE);
    value = host_pci_read(p, at) & ~(MSIX_MASK_ALL | MSIX_ENABLE);
    host_pci_write(p, at, on ? (uint32_t)(value | MSIX_ENABLE) : (uint32_t)value);
    if (on)
        host_pci_command(p, HOST_PCI_INTX_OFF, 0);
}

int host_pci_msi_enable(const struct host_pci *p, const struct host_pci_message *m)
{
    unsigned at = host_pci_capability(p, HOST_PCI_CAP_MSI, 0);
    uint32_t control;

    if (!at)
        return -ENODEV;
    control = host_pci_read(p, at);
    if (!(control & MSI_64) && m->address >> 32)
        return -ENODEV;
    switch_off(p, HOST_PCI_CAP_MSIX, MSIX_ENABLE);
    control &= ~(uint32_t)(MSI_ENABLE | MSI_COUNT); /* one vector */
    host_pci_write(p, at, control);
    host_pci_write(p, at + 4, (uint32_t)m->address);
    if (control & MSI_64)
        host_pci_write(p, at + 8, (uint32_t)(m->address >> 32));
    host_pci_write(p, at + (control & MSI_64 ? 12 : 8), m->data);
    if (control & MSI_MASKABLE)
        host_pci_write(p, at + (control & MSI_64 ? 16 : 12), 0);
    host_pci_write(p, at, (uint32_t)(control | MSI_ENABLE));
    host_pci_command(p, HOST_PCI_INTX_OFF, 0);
    return 0;
}
