/* AHCI controllers on PCI. */
#include "drivers/ahci.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "drivers/drives.h"
#include "mm/heap.h"

#define BAR          5
#define TABLES_ORDER 3 /* of frames: AHCI_SLOTS tables */

_Static_assert(AHCI_SLOTS *AHCI_TABLE == PAGE_SIZE << TABLES_ORDER, "AHCI");

/* A port's memory; it is the controller's from now on. */
static struct ahci_port *new_port(const struct ahci *a, struct dma *dma)
{
    struct ahci_port *p = heap_alloc(sizeof(*p));
    paddr limit = a->wide ? UINT64_MAX : UINT32_MAX;

    if (!p)
        return NULL;
    p->lists = dma_alloc(dma, FRAME_ORDER_4K, limit, &p->lists_at);
    p->tables = dma_alloc(dma, TABLES_ORDER, limit, &p->tables_at);
    if (p->lists && p->tables)
        return p;
    if (p->lists)
        dma_free(dma, p->lists_at, FRAME_ORDER_4K);
    if (p->tables)
        dma_free(dma, p->tables_at, TABLES_ORDER);
    heap_free(p);
    return NULL;
}

/* Whether something touches its memory still, nobody knows for sure: so that is not given back. */
static void add_port(struct ahci *a, unsigned n, const struct host_pci *pci, struct dma *dma)
{
    static unsigned number;
    struct ahci_port *p = new_port(a, dma);
    char name[16];

    if (!p) {
        log_error("no memory for an AHCI port's drive");
        return;
    }
    drive_unit_of(pci, dma, &p->unit);
    format(name, sizeof(name), "sata%u", number);
    if (ahci_port_init(a, n, p, name) == 0)
        number++;
}

static void connect(struct ahci *a, const struct host_pci *p)
{
    struct io table;
    int error = -ENODEV;

    if (host_pci_msix_begin(p, &table)) {
        error = host_pci_msix_connect(p, &table, 0, ahci_interrupt, a, 0);
        if (error)
            host_pci_msix_enable(p, false);
    }
    if (error)
        error = host_pci_msi_connect(p, ahci_interrupt, a);
    for (unsigned n = 0; n < AHCI_PORTS && !error; n++)
        if (a->port[n])
            a->port[n]->unit.interrupting = true;
}

void ahci_probe(const struct host_pci *p)
{
    struct dma *dma = dma_claim(p, "AHCI", disks_strayed);
    struct ahci *a = dma ? heap_alloc(sizeof(*a)) : NULL;

    if (!a)
        return;
    host_pci_command(p, HOST_PCI_MEMORY, 0);
    if (!host_pci_map(p, BAR, 0x180, &a->registers) || ahci_init(a)) {
        log_warn("AHCI: the controller does not answer");
        heap_free(a);
        return;
    }
    host_pci_command(p, HOST_PCI_MASTER, 0);
    for (unsigned n = 0; n < AHCI_PORTS; n++)
        if ((a->ports >> n & 1) && 0x180 + n * 0x80 <= a->registers.size && ahci_port_there(a, n))
            add_port(a, n, p, dma);
    connect(a, p);
}
