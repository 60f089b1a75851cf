/* virtio-blk on PCI: its memory and its interrupts. */
#include "drivers/virtio_blk.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "drivers/drives.h"
#include "mm/heap.h"

#define CONFIG_LEAST 36
#define TABLES_ORDER 4

_Static_assert(DISK_SLOTS *VIRTIO_TABLE == PAGE_SIZE << TABLES_ORDER, "virtio-blk");

static bool new_queue(struct dma *dma, struct virtio_blk_queue *q)
{
    if (!virtio_pci_ring(dma, &q->ring))
        return false;
    q->tables = dma_alloc(dma, TABLES_ORDER, UINT64_MAX, &q->tables_at);
    return q->tables != NULL;
}

static void connect(struct virtio_blk *v, const struct host_pci *p, const struct io *table)
{
    for (unsigned i = 0; i < v->queues; i++)
        if (host_pci_msix_connect(p, table, i, disk_interrupt, &v->unit.queues[i], i))
            return;
    v->unit.interrupting = v->vectors;
}

void virtio_blk_probe(const struct host_pci *p)
{
    static unsigned number;
    struct dma *dma = dma_claim(p, "virtio-blk", disks_strayed);
    struct virtio_blk *v = dma ? heap_alloc(sizeof(*v)) : NULL;
    unsigned vectors, most;
    struct io table;
    char name[16];
    int error;

    if (!v)
        return;
    drive_unit_of(p, dma, &v->unit);
    format(name, sizeof(name), "virtio%u", number++);
    host_pci_command(p, HOST_PCI_MEMORY, 0);
    if (!virtio_pci_find(p, CONFIG_LEAST, &v->virtio)) {
        log_warn("%s: a device without the registers of virtio 1.0", name);
        heap_free(v);
        return;
    }
    (void)virtio_cut(&v->virtio); /* what firmware has left there names memory that is ours now */
    host_pci_command(p, HOST_PCI_MASTER, 0);
    vectors = host_pci_msix_begin(p, &table);
    v->vectors = vectors != 0;
    most = v->vectors ? MIN(MIN(vectors, DISK_QUEUES), smp_cpus) : 1;
    while (v->queues < most && new_queue(dma, &v->queue[v->queues]))
        v->queues++;
    /* What it may touch is its own for good, whatever becomes of it. */
    error = v->queues ? virtio_blk_init(v, name) : -1;
    if (error)
        log_warn("%s: the device does not work as it should (error %d)", name, -error);
    else
        virtio_pci_warn(&v->virtio, dma, name);
    if (!error && v->vectors)
        connect(v, p, &table);
}
