/* virtio-blk on PCI: where its structures are ("Virtio Structure PCI Capabilities"). */
#include "drivers/virtio_blk.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "drivers/drives.h"
#include "mm/heap.h"
#include "mm/space.h"

#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_DEVICE 4

#define RING_ORDER   1
#define TABLES_ORDER 4

_Static_assert(DISK_SLOTS *VIRTIO_TABLE == PAGE_SIZE << TABLES_ORDER, "virtio-blk");

/* The first capability of that type: what lies there, mapped. */
static unsigned find(const struct host_pci *p, unsigned type, uint64_t least, struct io *out)
{
    unsigned at = 0;

    while ((at = host_pci_capability(p, HOST_PCI_CAP_VENDOR, at))) {
        unsigned bar = host_pci_read(p, at + 4) & 0xff;
        uint64_t offset = host_pci_read(p, at + 8), length = host_pci_read(p, at + 12);
        struct host_pci_bar where;
        void *mapped;

        if (host_pci_read(p, at) >> 24 != type || host_pci_bar(p, bar, &where) || where.ports ||
            offset > where.size || length > where.size - offset || length < least)
            continue;
        length = MIN(length, 64 * KIB);
        mapped = map_mmio(where.base + offset, length, CACHE_UC);
        if (!mapped)
            continue;
        *out = (struct io){.base = (uint64_t)mapped, .size = length};
        return at;
    }
    return 0;
}

static bool find_all(const struct host_pci *p, struct virtio_blk *v)
{
    unsigned notify = find(p, CAP_NOTIFY, 2, &v->notify);

    if (!notify || !find(p, CAP_COMMON, 0x38, &v->common) || !find(p, CAP_DEVICE, 36, &v->device))
        return false;
    v->notify_multiplier = host_pci_read(p, notify + 16);
    return true;
}

static bool new_queue(struct virtio_queue *q)
{
    q->ring_at = frame_alloc(RING_ORDER, FRAME_KERNEL);
    q->tables_at = frame_alloc(TABLES_ORDER, FRAME_KERNEL);
    if (q->ring_at == FRAME_NONE || q->tables_at == FRAME_NONE)
        return false;
    q->ring = phys_to_virt(q->ring_at);
    q->tables = phys_to_virt(q->tables_at);
    return true;
}

static void connect(struct virtio_blk *v, const struct io *table)
{
    for (unsigned i = 0; i < v->queues; i++)
        if (host_pci_msix_connect(table, i, disk_interrupt, &v->unit.queues[i], i))
            return;
    v->unit.interrupting = v->vectors;
}

void virtio_blk_probe(const struct host_pci *p)
{
    static unsigned number;
    struct virtio_blk *v = heap_alloc(sizeof(*v));
    unsigned vectors, most;
    struct io table;
    char name[16];
    int error;

    if (!v)
        return;
    drive_unit_of(p, &v->unit);
    format(name, sizeof(name), "virtio%u", number++);
    host_pci_command(p, HOST_PCI_MEMORY | HOST_PCI_MASTER, 0);
    if (!find_all(p, v)) {
        log_warn("%s: a device without the registers of virtio 1.0", name);
        heap_free(v);
        return;
    }
    vectors = host_pci_msix_begin(p, &table);
    v->vectors = vectors != 0;
    most = v->vectors ? MIN(MIN(vectors, DISK_QUEUES), smp_cpus) : 1;
    while (v->queues < most && new_queue(&v->queue[v->queues]))
        v->queues++;
    /* What it may touch is its own for good, whatever becomes of it. */
    error = v->queues ? virtio_blk_init(v, name) : -1;
    if (error)
        log_warn("%s: the device does not work as it should (error %d)", name, -error);
    else if (v->vectors)
        connect(v, &table);
}
