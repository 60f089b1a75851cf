#include "drivers/ioapic.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "drivers/acpi.h"
#include "drivers/iommu.h"
#include "mm/space.h"

#define IOAPIC_DEFAULT 0xfec00000u
#define IOAPIC_MAX     8
#define PINS_MAX       240
#define ISA_IRQS       16
#define ID_MAX         0xfeu /* eight bits of destination: beyond is interrupt remapping */

/* Registers are reached through a window: index at 0, data at 10h. */
#define SELECT      0
#define WINDOW      (0x10 / 4)
#define REG_VERSION 0x01
#define REG_PIN(n)  (0x10 + 2 * (n))
#define PIN_MASKED  0x10000u
#define PIN_LEVEL   0x8000u
#define PIN_LOW     0x2000u

/* MPS INTI flags of a MADT override. */
#define FLAGS_POLARITY(f) ((f)&3)
#define FLAGS_TRIGGER(f)  ((f) >> 2 & 3)
#define POLARITY_LOW      3
#define TRIGGER_LEVEL     3

struct ioapic {
    volatile uint32_t *window;
    uint32_t gsi_base;
    unsigned pins, id;
};

/* Of an ISA interrupt; vector 0: it has none. */
struct route {
    uint8_t vector;
    uint32_t apic_id;
};

static struct ioapic ioapics[IOAPIC_MAX];
static unsigned ioapic_count;
static struct acpi_madt madt;
static struct route routes[ISA_IRQS];

static uint32_t read_register(const struct ioapic *io, unsigned index)
{
    io->window[SELECT] = index;
    return io->window[WINDOW];
}

static void write_register(const struct ioapic *io, unsigned index, uint32_t value)
{
    io->window[SELECT] = index;
    io->window[WINDOW] = value;
}

static void add(uint32_t address, uint32_t gsi_base, unsigned id)
{
    struct ioapic *io = &ioapics[ioapic_count];
    uint32_t version;

    if (ioapic_count == IOAPIC_MAX)
        return;
    io->window = map_mmio(address, 0x20, CACHE_UC);
    if (!io->window)
        return;
    version = read_register(io, REG_VERSION);
    io->gsi_base = gsi_base;
    io->id = id;
    io->pins = (version >> 16 & 0xff) + 1;
    if (version == UINT32_MAX || !(version & 0xff) || io->pins > PINS_MAX) {
        log_warn("no I/O APIC answers at %x", address);
        return;
    }
    for (unsigned pin = 0; pin < io->pins; pin++)
        write_register(io, REG_PIN(pin), PIN_MASKED);
    ioapic_count++;
}

int host_ioapic_init(void)
{
    if (acpi_read_madt(&madt) == 0) {
        for (unsigned i = 0; i < madt.ioapic_count; i++)
            add(madt.ioapics[i].address, madt.ioapics[i].gsi_base, madt.ioapics[i].id);
    } else {
        add(IOAPIC_DEFAULT, 0, 0);
    }
    return ioapic_count ? 0 : -ENODEV;
}

/* Where ISA interrupt irq arrives: one to one, active high, edge, unless the MADT says otherwise.
 */
static const struct ioapic *find_isa(unsigned irq, unsigned *pin, uint32_t *mode)
{
    uint32_t gsi = irq;

    *mode = 0;
    for (unsigned i = 0; i < madt.override_count; i++) {
        if (madt.overrides[i].isa_irq != irq)
            continue;
        gsi = madt.overrides[i].gsi;
        if (FLAGS_POLARITY(madt.overrides[i].flags) == POLARITY_LOW)
            *mode |= PIN_LOW;
        if (FLAGS_TRIGGER(madt.overrides[i].flags) == TRIGGER_LEVEL)
            *mode |= PIN_LEVEL;
    }
    for (unsigned i = 0; i < ioapic_count; i++) {
        if (gsi < ioapics[i].gsi_base || gsi - ioapics[i].gsi_base >= ioapics[i].pins)
            continue;
        *pin = gsi - ioapics[i].gsi_base;
        return &ioapics[i];
    }
    return NULL;
}

int ioapic_route_isa(unsigned irq, unsigned vector, uint32_t apic_id)
{
    const struct ioapic *io;
    unsigned pin;
    uint32_t mode;
    uint64_t entry = (uint64_t)apic_id << 56 | vector;
    int error = 0;

    if (irq >= ISA_IRQS || vector < 0x10 || vector > 0xfe)
        return -EINVAL;
    io = find_isa(irq, &pin, &mode);
    if (!io)
        return -ENODEV;
    write_register(io, REG_PIN(pin), PIN_MASKED);
    if (!iommu_pin(io->id, vector, apic_id, mode & PIN_LEVEL, &entry, &error) && apic_id > ID_MAX)
        error = -EINVAL;
    if (error)
        return error;
    routes[irq] = (struct route){(uint8_t)vector, apic_id};
    write_register(io, REG_PIN(pin) + 1, (uint32_t)(entry >> 32));
    write_register(io, REG_PIN(pin), mode | (uint32_t)entry);
    return 0;
}

void ioapic_reroute(void)
{
    for (unsigned irq = 0; irq < ISA_IRQS; irq++)
        if (routes[irq].vector && ioapic_route_isa(irq, routes[irq].vector, routes[irq].apic_id))
            log_warn("ISA interrupt %u arrives no more", irq);
}

bool ioapic_id(unsigned n, unsigned *id)
{
    *id = n < ioapic_count ? ioapics[n].id : 0;
    return n < ioapic_count;
}

void ioapic_mask_isa(unsigned irq)
{
    const struct ioapic *io;
    unsigned pin;
    uint32_t mode;

    io = irq >= ISA_IRQS ? NULL : find_isa(irq, &pin, &mode);
    if (!io)
        return;
    write_register(io, REG_PIN(pin), PIN_MASKED);
    routes[irq].vector = 0;
}
