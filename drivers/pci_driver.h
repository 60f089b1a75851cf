/* What drivers of PCI functions share: finding them, their registers, their interrupts. */
#pragma once

#include "drivers/pci.h"

/* Find all functions, the first time, and quiet them; on the boot processor. How many there are. */
unsigned host_pci_find(void);

/* Map a BAR's registers (64 KiB of them at most); false when there are none, or fewer than least.
 */
bool host_pci_map(const struct host_pci *p, unsigned bar, uint64_t least, struct io *out);
/* Map the MSI-X table, mask all of it and switch MSI-X on. How many vectors there are; 0: none. */
unsigned host_pci_msix_begin(const struct host_pci *p, struct io *table);
/* Entry n of the table calls fn(arg) on a processor: 0 or an error, and it stays masked. */
int host_pci_msix_connect(const struct host_pci *p, const struct io *table, unsigned n,
                          void (*fn)(void *), void *arg, unsigned cpu) MUST_CHECK;
/* MSI calls fn(arg) on the boot processor. */
int host_pci_msi_connect(const struct host_pci *p, void (*fn)(void *), void *arg) MUST_CHECK;
/* A message that calls fn(arg) on the boot processor, and names that one itself: no IOMMU changes
 * it. */
int host_interrupt_message(void (*fn)(void *), void *arg, struct host_pci_message *m) MUST_CHECK;
