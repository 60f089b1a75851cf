/* What iommu.c, iommu_faults.c and iommu_interrupts.c share. */
#pragma once

#include "drivers/dma.h"
#include "drivers/dmar.h"
#include "drivers/iommu.h"
#include "drivers/vtd.h"

struct iommu_domain {
    struct dma dma;
    struct vtd *unit; /* NULL: there is none, and it reaches everything */
    struct vtd_space space;
    struct spinlock lock; /* RANK_DMA: the space */
    unsigned number;
    uint16_t address; /* by which the hardware knows it */
    const char *driver;
    void (*fault)(const struct host_pci *p);
    const struct host_pci *pci;
    bool told; /* of a fault, in this round of them */
    struct iommu_domain *next;
};

extern struct vtd iommu_units[DMAR_UNITS];
extern unsigned iommu_unit_count;
extern struct dmar iommu_table;

/* The domain of the function that is known by that address, or NULL. */
struct iommu_domain *iommu_domain_of(uint16_t address);
struct iommu_domain *iommu_first_domain(void);

/* Faults are told of from now on (iommu_faults.c). */
void iommu_faults_init(void);
/* Whether interrupts are remapped from now on (iommu_interrupts.c). */
bool iommu_interrupts_init(void);
