/* The machine's drives: which controllers there are, and who drives them. */
#pragma once

#include "drivers/disk.h"
#include "drivers/pci.h"

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
void drive_unit_of(const struct host_pci *p, struct disk_unit *u);

/* Map a BAR's registers (64 KiB of them at most); false when there are none, or fewer than least.
 */
bool drive_map(const struct host_pci *p, unsigned bar, uint64_t least, struct io *out);
/* Map the MSI-X table, mask all of it and switch MSI-X on. How many vectors there are; 0: none. */
unsigned drive_msix_begin(const struct host_pci *p, struct io *table);
/* Entry n of the table calls fn(arg) on a processor: 0 or an error, and it stays masked. */
int drive_msix_connect(const struct io *table, unsigned n, void (*fn)(void *), void *arg,
                       unsigned cpu) MUST_CHECK;
/* MSI calls fn(arg) on the boot processor. */
int drive_msi_connect(const struct host_pci *p, void (*fn)(void *), void *arg) MUST_CHECK;
