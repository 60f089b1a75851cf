/*
 * The machine's IOMMUs: which function's memory goes through which unit, what it may reach (dma.h),
 * who is told of what was blocked, and whose interrupts are whose.
 */
#pragma once

#include "drivers/pci.h"

enum iommu_state {
    IOMMU_NONE, /* firmware describes none */
    IOMMU_OFF,  /* it is not wanted */
    IOMMU_BAD,  /* it cannot be used; the log says why */
    IOMMU_ON,
    IOMMU_ON_WITH_INTERRUPTS /* and interrupts come from whom they should */
};

/*
 * Look for remapping units, and where `use` says so all devices are blocked from now on, but for
 * what dma_claim() lets one have. On the boot processor, before any driver claims anything.
 */
void iommu_init(bool use);
enum iommu_state iommu_state(void);

/*
 * Where interrupts are remapped: the message with which that function raises a vector on a
 * processor. false: it is not remapped; whoever asks makes it himself. *error: there is no room.
 */
bool iommu_message(const struct host_pci *p, unsigned vector, uint32_t apic_id,
                   struct host_pci_message *out, int *error);
/* The same of a pin of the I/O APIC of that id: the entry of its table, but for polarity, trigger
 * mode and mask. */
bool iommu_pin(unsigned id, unsigned vector, uint32_t apic_id, bool level, uint64_t *out,
               int *error);

/* Faults that came too fast to be told: processor 0 calls this. Returns the TSC at which it wants
 * to be called again, or UINT64_MAX. */
uint64_t iommu_work(void);
/* Called on processor 0 when iommu_work() has something to do earlier than it said. */
void iommu_set_attention(void (*fn)(void));

/* For tests: from now on, or no longer, what requests name is not mapped, though devices are told
 * of it. Nothing is under way at either moment. */
void iommu_test_forget(bool on);
