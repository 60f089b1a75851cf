/* IDE controllers on PCI: where their channels' ports and interrupts are ("PCI IDE Controller
 * Specification", revision 1.0). */
#include "drivers/ata.h"

#include "arch/x86/apic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/trap.h"
#include "drivers/drives.h"
#include "drivers/ioapic.h"
#include "drivers/pci.h"
#include "mm/heap.h"

/* In the interface's byte; a channel that is not native is where a PC/AT has it. */
#define NATIVE(channel) BIT(2 * (channel))
#define BUS_MASTER      BIT(7)

static struct io ports(uint64_t base, uint64_t size)
{
    return (struct io){.base = base, .size = size, .ports = true};
}

static bool find_ports(const struct host_pci *p, unsigned channel, struct ata_channel *c)
{
    static const uint16_t command[] = {0x1f0, 0x170}, control[] = {0x3f6, 0x376};
    struct host_pci_bar a, b;

    if (!(p->interface & NATIVE(channel))) {
        c->command = ports(command[channel], 8);
        c->control = ports(control[channel], 1);
        return true;
    }
    if (host_pci_bar(p, 2 * channel, &a) || host_pci_bar(p, 2 * channel + 1, &b) || !a.ports ||
        !b.ports || a.size < 8 || b.size < 4)
        return false;
    c->command = ports(a.base, 8);
    c->control = ports(b.base + 2, 1);
    return true;
}

/* In a table below 4 GiB, which the controller reads itself. */
static void find_master(const struct host_pci *p, struct dma *dma, unsigned channel,
                        struct ata_channel *c)
{
    struct host_pci_bar bar;

    if (!(p->interface & BUS_MASTER) || host_pci_bar(p, 4, &bar) || !bar.ports || bar.size < 16)
        return;
    c->prds = dma_alloc(dma, FRAME_ORDER_4K, UINT32_MAX, &c->prds_at);
    if (!c->prds)
        return;
    c->master = ports(bar.base + 8 * channel, 8);
}

/* A PC/AT's channels have interrupts of their own; where a native one's arrives only AML knows. */
static void connect(const struct host_pci *p, unsigned channel, struct ata_channel *c)
{
    unsigned irq = 14 + channel, vector = VECTOR_ISA + irq;

    if (p->interface & NATIVE(channel))
        return;
    if (interrupt_register(vector, disk_interrupt, &c->unit.queues[0]))
        return;
    if (ioapic_route_isa(irq, vector, apic_id()) == 0)
        c->unit.interrupting = true;
}

void ata_probe(const struct host_pci *p)
{
    struct dma *dma = dma_claim(p, "IDE", disks_strayed);
    static unsigned number;

    if (!dma)
        return;
    host_pci_command(p, HOST_PCI_IO, 0);
    for (unsigned channel = 0; channel < 2; channel++, number++) {
        struct ata_channel *c = heap_alloc(sizeof(*c));

        if (!c) {
            log_error("no memory for an IDE channel's drives");
            return;
        }
        drive_unit_of(p, dma, &c->unit);
        if (!find_ports(p, channel, c)) {
            heap_free(c);
            continue;
        }
        find_master(p, dma, channel, c);
        if (ata_channel_init(c, number) == 0) {
            host_pci_command(p, HOST_PCI_MASTER, 0); /* only commands move anything */
            connect(p, channel, c);
            continue;
        }
        if (c->master.size)
            dma_free(dma, c->prds_at, FRAME_ORDER_4K);
        heap_free(c);
    }
}
