/* Intel's network cards on PCI: their memory and their interrupts. */
#include "drivers/e1000.h"

#include "arch/x86/apic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "drivers/ioapic.h"
#include "drivers/net_cards.h"
#include "mm/heap.h"

#define BAR       0
#define REGISTERS 0x5bc0u
#define TEST_MS   20 /* until an interrupt has arrived */

/* Below 4 GiB: not all of them are right about addresses beyond, behind old bridges. */
static bool new_ring(struct dma *dma, struct e1000_ring *r)
{
    r->descriptor = dma_alloc(dma, FRAME_ORDER_4K, UINT32_MAX, &r->at);
    if (!r->descriptor)
        return false;
    for (unsigned i = 0; i < E1000_PAGES; i++) {
        r->page[i] = dma_alloc(dma, FRAME_ORDER_4K, UINT32_MAX, &r->page_at[i]);
        if (!r->page[i])
            return false;
    }
    return true;
}

/* What it may touch is its own for good, whatever becomes of it. */
int e1000_prepare(struct net_card *c)
{
    struct e1000 *e = CONTAINER_OF(c, struct e1000, card);

    if (e->out.page[E1000_PAGES - 1])
        return 0;
    return new_ring(c->dma, &e->in) && new_ring(c->dma, &e->out) ? 0 : -ENOMEM;
}

/* --- interrupts --- */

static void disconnect(struct net_card *c)
{
    ioapic_mask_isa(host_pci_read(c->pci, HOST_PCI_INTERRUPT) & 0xff);
}

/* Where INTx arrives only AML knows; but where firmware has put it for who has no I/O APIC, it
 * mostly arrives, too: that is tried. */
static bool connect_line(struct net_card *c)
{
    unsigned irq = host_pci_read(c->pci, HOST_PCI_INTERRUPT) & 0xff, vector = VECTOR_ISA + irq;

    if (irq < 3 || irq > 15 || irq == 8 || irq == 13 ||
        interrupt_register(vector, net_card_interrupt, c))
        return false;
    host_pci_command(c->pci, 0, HOST_PCI_INTX_OFF);
    if (ioapic_route_isa(irq, vector, apic_id()) == 0 && net_card_try_interrupt(c, TEST_MS))
        return true;
    ioapic_mask_isa(irq);
    (void)!interrupt_register(vector, NULL, NULL);
    host_pci_command(c->pci, HOST_PCI_INTX_OFF, 0);
    return false;
}

static void connect(struct net_card *c)
{
    if (host_pci_msi_connect(c->pci, net_card_interrupt, c) == 0) {
        c->interrupting = true;
    } else if (connect_line(c)) {
        c->interrupting = true;
        c->disconnect = disconnect;
    }
}

void e1000_probe(const struct host_pci *p)
{
    const struct e1000_model *model = e1000_find(p->device);
    struct dma *dma = model ? dma_claim(p, model->name, net_cards_strayed) : NULL;
    struct e1000 *e = dma ? heap_alloc(sizeof(*e)) : NULL;

    if (!e)
        return;
    e->model = model;
    e->card.pci = p;
    e->card.dma = dma;
    host_pci_command(p, HOST_PCI_MEMORY, 0);
    if (!host_pci_map(p, BAR, REGISTERS, &e->registers) || e1000_init(e)) {
        log_warn("%s: the network card does not answer as it should", model->name);
        heap_free(e);
        return;
    }
    host_pci_command(p, HOST_PCI_MASTER, 0); /* it has been reset */
    if (net_card_add(&e->card))
        heap_free(e);
    else
        connect(&e->card);
}
