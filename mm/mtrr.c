#include "mm/mtrr.h"

struct mtrr host_mtrr;

#define MSR_MTRRCAP      0x0fe
#define MSR_PHYS_BASE(n) (0x200 + 2 * (n))
#define MSR_PHYS_MASK(n) (0x201 + 2 * (n))
#define MSR_DEF_TYPE     0x2ff

#define DEF_TYPE_FIXED  BIT(10)
#define DEF_TYPE_ENABLE BIT(11)
#define MASK_VALID      BIT(11)
#define CAP_FIXED       BIT(8)

static const uint32_t fixed_msrs[11] = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                        0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

/* A type that the SDM reserves would have been #GP when it was written; UC is the safe reading. */
static uint8_t sane_type(uint8_t type)
{
    switch (type) {
    case MEMORY_WC:
    case MEMORY_WT:
    case MEMORY_WP:
    case MEMORY_WB:
        return type;
    default:
        return MEMORY_UC;
    }
}

void mtrr_read(struct mtrr *mtrr, bool present, unsigned physical_bits,
               uint64_t (*rdmsr)(void *ctx, uint32_t msr), void *ctx)
{
    *mtrr = (struct mtrr){.present = present};
    mtrr->address_mask = (BIT(physical_bits) - 1) & ~(PAGE_SIZE - 1);
    if (!present)
        return;

    uint64_t cap = rdmsr(ctx, MSR_MTRRCAP), def = rdmsr(ctx, MSR_DEF_TYPE);
    mtrr->enabled = def & DEF_TYPE_ENABLE;
    mtrr->fixed_enabled = def & DEF_TYPE_FIXED && cap & CAP_FIXED;
    mtrr->default_type = sane_type((uint8_t)def);
    if (cap & CAP_FIXED) {
        for (unsigned i = 0; i < ARRAY_SIZE(fixed_msrs); i++) {
            uint64_t v = rdmsr(ctx, fixed_msrs[i]);
            for (unsigned b = 0; b < 8; b++)
                mtrr->fixed[i * 8 + b] = sane_type((uint8_t)(v >> (b * 8)));
        }
    }
    for (uint32_t n = 0; n < MIN(cap & 0xff, MTRR_VARIABLE_MAX); n++) {
        uint64_t mask = rdmsr(ctx, MSR_PHYS_MASK(n));
        if (!(mask & MASK_VALID))
            continue;
        uint64_t base = rdmsr(ctx, MSR_PHYS_BASE(n));
        unsigned i = mtrr->variable_count++;
        mtrr->variable[i].type = sane_type((uint8_t)base);
        mtrr->variable[i].mask = mask & mtrr->address_mask;
        mtrr->variable[i].base = base & mask & mtrr->address_mask;
        uint64_t holes = mtrr->address_mask & ~mask;
        mtrr->variable[i].contiguous =
            ((holes | (PAGE_SIZE - 1)) & ((holes | (PAGE_SIZE - 1)) + 1)) == 0;
    }
}

static enum memory_type fixed_type(const struct mtrr *mtrr, uint64_t pa, uint64_t *until)
{
    uint64_t unit, index;

    if (pa < 0x80000) {
        unit = 0x10000;
        index = pa / unit;
    } else if (pa < 0xc0000) {
        unit = 0x4000;
        index = 8 + (pa - 0x80000) / unit;
    } else {
        unit = 0x1000;
        index = 24 + (pa - 0xc0000) / unit;
    }
    *until = ALIGN_DOWN(pa, unit) + unit;
    return mtrr->fixed[index];
}

/* SDM, "MTRR Precedences": UC wins, WT wins over WB; everything else is undefined, and UC is the
 * safe reading. */
static uint8_t combine(uint8_t a, uint8_t b)
{
    if (a == b)
        return a;
    if ((a == MEMORY_WT && b == MEMORY_WB) || (a == MEMORY_WB && b == MEMORY_WT))
        return MEMORY_WT;
    return MEMORY_UC;
}

enum memory_type mtrr_type(const struct mtrr *mtrr, uint64_t pa, uint64_t *same_until)
{
    uint64_t until = UINT64_MAX;
    uint8_t type = 0;
    bool matched = false;

    if (!same_until)
        same_until = &until;
    *same_until = UINT64_MAX;
    if (!mtrr->present)
        return MEMORY_WB;
    if (!mtrr->enabled)
        return MEMORY_UC;
    if (pa < MIB && mtrr->fixed_enabled)
        return fixed_type(mtrr, pa, same_until);

    for (unsigned i = 0; i < mtrr->variable_count; i++) {
        uint64_t base = mtrr->variable[i].base, mask = mtrr->variable[i].mask;
        bool match = (pa & mask) == base;
        if (match) {
            type = matched ? combine(type, mtrr->variable[i].type) : mtrr->variable[i].type;
            matched = true;
        }
        /* Whether a mask matches is the same all over each naturally aligned block of its lowest
         * bit. */
        uint64_t block = mask ? mask & -mask : 0, edge;
        if (!block)
            edge = UINT64_MAX;
        else if (match || !mtrr->variable[i].contiguous)
            edge = ALIGN_DOWN(pa, block) + block;
        else
            edge = pa < base ? base : UINT64_MAX;
        *same_until = MIN(*same_until, edge);
    }
    return matched ? type : mtrr->default_type;
}

bool mtrr_uniform(const struct mtrr *mtrr, uint64_t pa, uint64_t size, enum memory_type *type)
{
    uint64_t end = pa + size, until;

    *type = mtrr_type(mtrr, pa, &until);
    while (until < end)
        if (mtrr_type(mtrr, until, &until) != *type)
            return false;
    return true;
}
