/* virtio-net on PCI: its memory and its interrupts. */
#include "drivers/virtio_net.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "drivers/net_cards.h"
#include "mm/heap.h"

#define CONFIG_LEAST 6 /* an address */

static bool new_queue(struct virtio_net_queue *q)
{
    if (!virtio_pci_ring(&q->ring))
        return false;
    for (unsigned i = 0; i < VIRTIO_NET_PAGES; i++) {
        q->page_at[i] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
        if (q->page_at[i] == FRAME_NONE)
            return false;
        q->page[i] = phys_to_virt(q->page_at[i]);
    }
    return true;
}

/* What it may touch is its own for good, whatever becomes of it. */
int virtio_net_prepare(struct net_card *c)
{
    struct virtio_net *v = CONTAINER_OF(c, struct virtio_net, card);

    if (v->out.page[VIRTIO_NET_PAGES - 1])
        return 0;
    return new_queue(&v->in) && new_queue(&v->out) ? 0 : -ENOMEM;
}

/* Nothing makes a device interrupt that does not work yet, so INTx cannot be tried: without MSI-X
 * it is polled. */
static void connect(struct virtio_net *v, const struct io *table)
{
    if (v->vectors && host_pci_msix_connect(table, 0, net_card_interrupt, &v->card, 0))
        v->vectors = 0;
    if (v->vectors > 1 && host_pci_msix_connect(table, 1, virtio_net_changed, v, 0))
        v->vectors = 1;
    v->card.interrupting = v->vectors != 0;
    if (!v->vectors)
        host_pci_command(v->card.pci, HOST_PCI_INTX_OFF, 0);
}

void virtio_net_probe(const struct host_pci *p)
{
    struct virtio_net *v = heap_alloc(sizeof(*v));
    struct io table;
    int error = -ENOTSUP;

    if (!v)
        return;
    v->card.pci = p;
    host_pci_command(p, HOST_PCI_MEMORY | HOST_PCI_MASTER, 0);
    if (virtio_pci_find(p, CONFIG_LEAST, &v->virtio))
        error = virtio_net_init(v);
    if (error) {
        log_warn("virtio-net: the network card does not answer as it should (error %d)", -error);
        host_pci_command(p, 0, HOST_PCI_MASTER);
        heap_free(v);
        return;
    }
    if (net_card_add(&v->card)) {
        heap_free(v);
        return;
    }
    v->vectors = host_pci_msix_begin(p, &table);
    connect(v, &table);
}
