/* virtio on PCI: where a device's structures are ("Virtio Structure PCI Capabilities"). */
#include "arch/x86/lib/log.h"
#include "drivers/pci_driver.h"
#include "drivers/virtio.h"
#include "mm/space.h"

#define CAP_COMMON 1
#define CAP_NOTIFY 2
#define CAP_DEVICE 4

#define COMMON_LEAST 0x38
#define RING_ORDER   1

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

bool virtio_pci_find(const struct host_pci *p, uint64_t least, struct virtio *v)
{
    unsigned notify = find(p, CAP_NOTIFY, 2, &v->notify);

    if (!notify || !find(p, CAP_COMMON, COMMON_LEAST, &v->common) ||
        !find(p, CAP_DEVICE, least, &v->device))
        return false;
    v->notify_multiplier = host_pci_read(p, notify + 16);
    return true;
}

bool virtio_pci_ring(struct dma *dma, struct virtio_queue *q)
{
    q->ring = dma_alloc(dma, RING_ORDER, UINT64_MAX, &q->ring_at);
    return q->ring != NULL;
}

void virtio_pci_warn(const struct virtio *v, const struct dma *dma, const char *name)
{
    if (dma_is_guarded(dma) && !(v->features & VIRTIO_F_PLATFORM))
        log_warn("%s: the hypervisor below has it reach memory past the IOMMU "
                 "(VIRTIO_F_ACCESS_PLATFORM is not offered)",
                 name);
}
