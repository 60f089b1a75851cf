/* NVMe controllers on PCI. */
#include "drivers/nvme.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "drivers/drives.h"
#include "mm/heap.h"

#define LISTS_ORDER 4 /* of frames: NVME_DEPTH lists of pages */

_Static_assert(NVME_DEPTH *NVME_LIST == PAGE_SIZE << LISTS_ORDER, "NVMe");

static bool new_queue(struct dma *dma, struct nvme_queue *q)
{
    q->submissions = dma_alloc(dma, FRAME_ORDER_4K, UINT64_MAX, &q->submissions_at);
    q->completions = dma_alloc(dma, FRAME_ORDER_4K, UINT64_MAX, &q->completions_at);
    q->lists = dma_alloc(dma, LISTS_ORDER, UINT64_MAX, &q->lists_at);
    return q->submissions && q->completions && q->lists;
}

static struct nvme_namespace *new_namespace(void)
{
    return heap_alloc(sizeof(struct nvme_namespace));
}

/* The admin's queue and as many as there are processors, or memory for. */
static bool new_queues(struct nvme *n, unsigned most)
{
    struct dma *dma = n->unit.dma;

    n->page = dma_alloc(dma, FRAME_ORDER_4K, UINT64_MAX, &n->page_at);
    if (!n->page || !new_queue(dma, &n->queue[0]))
        return false;
    while (n->queues < most && new_queue(dma, &n->queue[n->queues + 1]))
        n->queues++;
    return n->queues != 0;
}

/* Queue n by vector n; the admin's is polled. With MSI all queues share one. */
static void connect(struct nvme *n, const struct host_pci *p, const struct io *table)
{
    struct disk_queue *queues = n->unit.queues;

    for (unsigned i = 0; i < n->queues && n->vectors; i++)
        if (host_pci_msix_connect(p, table, i + 1, disk_interrupt, &queues[i], i))
            return;
    if (!n->vectors && (n->queues > 1 || host_pci_msi_connect(p, disk_interrupt, &queues[0])))
        return;
    n->unit.interrupting = true;
}

void nvme_probe(const struct host_pci *p)
{
    static unsigned number;
    struct dma *dma = dma_claim(p, "NVMe", disks_strayed);
    struct nvme *n = dma ? heap_alloc(sizeof(*n)) : NULL;
    unsigned vectors;
    struct io table;
    char name[16];
    int error;

    if (!n)
        return;
    drive_unit_of(p, dma, &n->unit);
    format(name, sizeof(name), "nvme%u", number++);
    host_pci_command(p, HOST_PCI_MEMORY, 0);
    if (!host_pci_map(p, 0, 2 * PAGE_SIZE, &n->registers)) {
        log_warn("%s: its registers cannot be reached", name);
        return;
    }
    nvme_stop(n); /* what firmware has left there names memory that is ours now */
    host_pci_command(p, HOST_PCI_MASTER, 0);
    vectors = host_pci_msix_begin(p, &table);
    n->vectors = vectors > 1;
    /* What it may touch is its own for good, whatever becomes of it. */
    if (!new_queues(n, n->vectors ? MIN(MIN(vectors - 1, DISK_QUEUES), smp_cpus) : 1)) {
        log_error("%s: no memory for its queues", name);
        return;
    }
    error = nvme_init(n, name, new_namespace);
    if (error)
        log_warn("%s: the controller does not work as it should (error %d)", name, -error);
    else
        connect(n, p, &table);
}
