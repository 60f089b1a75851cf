/*
 * What a device may reach, for models of hardware: they ask before each access, and what no driver
 * has mapped for them fails the test, as an IOMMU would block it.
 */
#pragma once

#include "drivers/dma.h"

#define DMA_RANGES 8192

static struct {
    struct dma_range {
        paddr at;
        uint64_t size;
        unsigned rights; /* 0: nothing is mapped here any more */
        bool own;        /* the driver's, for good */
    } range[DMA_RANGES];
    unsigned count, unsettled, mapped;
    int error; /* of the next map(), when `before` others have passed */
    unsigned before;
} dma_model;

static int dma_model_map(struct dma *d, paddr at, uint64_t size, unsigned rights)
{
    struct dma_range *r = dma_model.range;

    if (dma_model.error && !dma_model.before--) {
        int error = dma_model.error;

        dma_model.error = 0;
        return error;
    }
    while (r < dma_model.range + dma_model.count && r->rights)
        r++;
    assert_true(r < dma_model.range + DMA_RANGES);
    if (r == dma_model.range + dma_model.count)
        dma_model.count++;
    *r = (struct dma_range){at, size, rights, false};
    dma_model.mapped++;
    return 0;
}

static void dma_model_unmap(struct dma *d, paddr at, uint64_t size)
{
    for (unsigned i = 0; i < dma_model.count; i++) {
        struct dma_range *r = &dma_model.range[i];

        if (!r->rights || r->own || r->at != at || r->size != size)
            continue;
        r->rights = 0;
        dma_model.mapped--;
        dma_model.unsettled++;
        return;
    }
    fail_msg("%lx+%lx is taken from a device that does not have it", at, size);
}

static void dma_model_settle(struct dma *d)
{
    dma_model.unsettled = 0;
}

static const struct dma_ops dma_model_ops = {dma_model_map, dma_model_unmap, dma_model_settle};
static struct dma dma_of_model = {&dma_model_ops, UINT64_MAX};

static void dma_model_reset(void)
{
    dma_model.count = dma_model.unsettled = dma_model.mapped = dma_model.before = 0;
    dma_model.error = 0;
}

/* As dma_alloc() has it. */
static inline void dma_model_own(paddr at, uint64_t size)
{
    assert_int_equal(dma_model_map(&dma_of_model, at, size, DMA_READ | DMA_WRITE), 0);
    dma_model.range[dma_model.count - 1].own = true;
    dma_model.mapped--;
}

/* The device's access: all of it is in one thing that was mapped. Returns the address. */
static inline paddr dma_reach(paddr at, uint64_t size, unsigned rights)
{
    for (unsigned i = 0; i < dma_model.count; i++) {
        const struct dma_range *r = &dma_model.range[i];

        if ((r->rights & rights) == rights && at >= r->at && size <= r->size &&
            at - r->at <= r->size - size)
            return at;
    }
    fail_msg("the device %s %lx+%lx, which is not its", rights & DMA_WRITE ? "writes" : "reads", at,
             size);
    return at;
}

/* Nothing of a request's is left to the device. */
static inline void dma_model_is_idle(void)
{
    assert_int_equal(dma_model.mapped, 0);
    assert_int_equal(dma_model.unsettled, 0);
}
