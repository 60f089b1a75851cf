/* The machine's drives: which controllers there are, and who drives them. */
#pragma once

#include "drivers/disk.h"
#include "drivers/pci_driver.h"

/* Find PCI functions and their drives; once, on the boot processor, when all others are up. */
void drives_init(void);

/* For disk_do() at start-up: until something happens, a millisecond at most. */
void drives_wait(void);

/* Each driver's look at a function of its kind; what it finds is known to disk_get(). */
void ata_probe(const struct host_pci *p);
void ahci_probe(const struct host_pci *p);
void nvme_probe(const struct host_pci *p);
void virtio_blk_probe(const struct host_pci *p);

/* --- for them --- */

/* The unit is that function's, which is bus master until the last of its units is lost. */
void drive_unit_of(const struct host_pci *p, struct dma *dma, struct disk_unit *u);
