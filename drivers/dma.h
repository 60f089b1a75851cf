/*
 * What the machine's devices may reach of its memory. A driver claims the function that it drives,
 * and gives it no address that it has not mapped, or had from dma_alloc(); drivers/disk_queue.c
 * maps what requests name, while the hardware has them. Where there is an IOMMU in use nothing else
 * is within reach; where there is none this costs a test, and holds nobody back. An address is the
 * physical one in either case.
 */
#pragma once

#include "mm/frame.h"

#define DMA_READ  BIT(0) /* the device reads there */
#define DMA_WRITE BIT(1)

struct host_pci;
struct dma;

struct dma_ops {
    int (*map)(struct dma *d, paddr at, uint64_t size, unsigned rights);
    void (*unmap)(struct dma *d, paddr at, uint64_t size);
    void (*settle)(struct dma *d);
};

/* One function; or several, where the hardware cannot tell which of them it is. */
struct dma {
    const struct dma_ops *ops; /* NULL: it reaches all memory */
    paddr highest;             /* that can be mapped */
};

/*
 * The function is that driver's, who is told by fault(), on processor 0 with no lock held, that it
 * has reached for something else; once, however often it did, until it is told again. It reaches
 * nothing yet. NULL: it cannot be used, and that has been said.
 */
struct dma *dma_claim(const struct host_pci *p, const char *driver,
                      void (*fault)(const struct host_pci *p)) MUST_CHECK;

/* Whether an IOMMU stands between it and memory. */
static inline bool dma_is_guarded(const struct dma *d)
{
    return d && UNLIKELY(d->ops != NULL);
}

/*
 * It may reach all pages that the range touches, until it is unmapped as often as it was mapped. 0;
 * -ENOMEM, -ERANGE; -EAGAIN: not now.
 */
static inline int dma_map(struct dma *d, paddr at, uint64_t size, unsigned rights)
{
    return dma_is_guarded(d) ? d->ops->map(d, at, size, rights) : 0;
}

static inline void dma_unmap(struct dma *d, paddr at, uint64_t size)
{
    if (dma_is_guarded(d))
        d->ops->unmap(d, at, size);
}

/* When it returns, nothing is within reach that was unmapped before. */
static inline void dma_settle(struct dma *d)
{
    if (dma_is_guarded(d))
        d->ops->settle(d);
}

/* Memory for a driver and its device, cleared, and the device's for good; its last byte at limit at
 * most. NULL: there is none. */
void *dma_alloc(struct dma *d, unsigned order, paddr limit, paddr *at) MUST_CHECK;
/* It has never been given to the device. */
void dma_free(struct dma *d, paddr at, unsigned order);
