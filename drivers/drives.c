#include "drivers/drives.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "drivers/virtio.h"

#define CLASS_STORAGE 1
#define SUBCLASS_IDE  1
#define SUBCLASS_SATA 6
#define SUBCLASS_NVM  8
#define AHCI_1        1 /* interfaces */
#define NVME_IO       2
#define VIRTIO_BLK    0x1042
#define VIRTIO_BLK_0  0x1001 /* one that older drivers know, too */

static void master_off(const struct host_pci *p)
{
    host_pci_command(p, 0, HOST_PCI_MASTER);
}

void drive_unit_of(const struct host_pci *p, struct dma *dma, struct disk_unit *u)
{
    u->pci = p;
    u->dma = dma;
    u->master_off = master_off;
}

/* --- finding them --- */

static void probe(const struct host_pci *p)
{
    if (p->vendor == VIRTIO_VENDOR && (p->device == VIRTIO_BLK || p->device == VIRTIO_BLK_0))
        virtio_blk_probe(p);
    if (p->class != CLASS_STORAGE)
        return;
    if (p->subclass == SUBCLASS_IDE)
        ata_probe(p);
    else if (p->subclass == SUBCLASS_SATA && p->interface == AHCI_1)
        ahci_probe(p);
    else if (p->subclass == SUBCLASS_NVM && p->interface == NVME_IO)
        nvme_probe(p);
}

void drives_init(void)
{
    unsigned count = host_pci_find();

    for (unsigned i = 0; i < count; i++)
        probe(host_pci_get(i));
}

void drives_wait(void)
{
    apic_timer_set(rdtsc() + tsc_hz / 1000);
    cpu_idle_once();
}
