/* virtio-net on PCI: its memory and its interrupts. */
#include "drivers/virtio_net.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "drivers/net_cards.h"
#include "mm/heap.h"

#define CONFIG_LEAST 6 /* an address */

static bool new_queue(struct dma *dma, struct virtio_net_queue *q)
{
    if (!virtio_pci_ring(dma, &q->ring))
        return false;
    for (unsigned i = 0; i < VIRTIO_NET_PAGES; i++) {
        q->page[i] = dma_alloc(dma, FRAME_ORDER_4K, UINT64_MAX, &q->page_at[i]);
        if (!q->page[i])
            return false;
    }
    return true;
}

/* What it may touch is its own for good, whatever becomes of it. */
int virtio_net_prepare(struct net_card *c)
{
    struct virtio_net *v = CONTAINER_OF(c, struct virtio_net, card);

    if (v->out.page[VIRTIO_NET_PAGES - 1])
        return 0;
    return new_queue(c->dma, &v->in) && new_queue(c->dma, &v->out) ? 0 : -ENOMEM;
}

/* Nothing makes a device interrupt that does not work yet, so INTx cannot be tried: without MSI-X
 * it is polled. */
static void connect(struct virtio_net *v, const struct io *table)
{
    if (v->vectors && host_pci_msix_connect(v->card.pci, table, 0, net_card_interrupt, &v->card, 0))
        v->vectors = 0;
    if (v->vectors > 1 && host_pci_msix_connect(v->card.pci, table, 1, virtio_net_changed, v, 0))
        v->vectors = 1;
    v->card.interrupting = v->vectors != 0;
    if (!v->vectors)
        host_pci_command(v->card.pci, HOST_PCI_INTX_OFF, 0);
}

void virtio_net_probe(const struct host_pci *p)
{
    struct dma *dma = dma_claim(p, "virtio-net", net_cards_strayed);
    struct virtio_net *v = dma ? heap_alloc(sizeof(*v)) : NULL;
    struct io table;
    int error = -ENOTSUP;

    if (!v)
        return;
    v->card.pci = p;
    v->card.dma = dma;
    host_pci_command(p, HOST_PCI_MEMORY, 0);
    if (virtio_pci_find(p, CONFIG_LEAST, &v->virtio))
        error = virtio_net_init(v);
    if (error) {
        log_warn("virtio-net: the network card does not answer as it should (error %d)", -error);
        heap_free(v);
        return;
    }
    if (net_card_add(&v->card)) {
        heap_free(v);
        return;
    }
    virtio_pci_warn(&v->virtio, dma, v->card.name);
    host_pci_command(p, HOST_PCI_MASTER, 0); /* it has been reset, and has no queues yet */
    v->vectors = host_pci_msix_begin(p, &table);
    connect(v, &table);
}
