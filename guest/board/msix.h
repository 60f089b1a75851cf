/*
 * MSI-X of a PCI function: a table of messages in device memory, each of which the guest may mask,
 * and what is pending of them (PCI Local Bus Specification 3.0, "MSI-X Capability and Table
 * Structures"). Its device hands accesses to the table and to the pending bits on.
 */
#pragma once

#include "guest/board/pci.h"

#define MSIX_VECTORS   64
#define MSIX_ENTRY     16u /* bytes */
#define MSIX_NO_VECTOR 0xffff

struct msix {
    struct pci_function *function;
    struct device *dev; /* who sends the messages */
    unsigned capability, vectors;
    struct msix_entry {
        uint64_t address;
        uint32_t data, control;
    } entry[MSIX_VECTORS];
    uint64_t pending; /* a bit each */
};

/* vectors messages (1 to MSIX_VECTORS), with table and pending bits at these offsets, multiples of
 * 8, of that BAR. Adds the capability. -ENOSPC, -EINVAL. */
int msix_init(struct msix *m, struct pci_function *f, struct device *dev, unsigned vectors,
              unsigned bar, uint32_t table, uint32_t pending) MUST_CHECK;
/* The guest's switch: while it is on the function uses no INTx. */
bool msix_enabled(const struct msix *m);
/* Send message number vector, or keep it until it is unmasked. */
void msix_send(struct msix *m, unsigned vector);
/* The function's config has been written: the two masks may have changed. */
void msix_written(struct msix *m);

/* Offsets from the start of the table and of the pending bits; size 1 to 8. */
uint64_t msix_table_read(const struct msix *m, uint64_t offset, unsigned size);
void msix_table_write(struct msix *m, uint64_t offset, unsigned size, uint64_t value);
uint64_t msix_pending_read(const struct msix *m, uint64_t offset, unsigned size);

void msix_reset(struct msix *m);
void msix_save(const struct msix *m, struct state_writer *w);
void msix_load(struct msix *m, struct state_reader *r);
