/*
 * A token bucket, kept as a moment: when all that was let through will have been paid for. What
 * that is ahead of now is what has been taken out. In ticks of one clock, so that the same moments
 * give the same answers.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define BUCKET_SHIFT    20
#define BUCKET_MOST     BIT(18) /* units that are taken at once */
#define BUCKET_RATE_MIN 1000u   /* units per second */

struct net_bucket {
    uint64_t paid;  /* by then */
    uint64_t price; /* ticks of a unit, with BUCKET_SHIFT binary places; 0: there is no limit */
    uint64_t depth; /* ticks that `paid` may be ahead */
};

/* rate units per second, BUCKET_RATE_MIN at least, or 0; `burst` of them at once. hz < 2^40. */
static inline void bucket_init(struct net_bucket *b, uint64_t rate, uint64_t burst, uint64_t hz)
{
    *b = (struct net_bucket){0};
    if (rate == 0)
        return;
    b->price = (hz << BUCKET_SHIFT) / rate;
    b->depth = (burst * b->price) >> BUCKET_SHIFT;
}

/* Ticks until something may be taken: 0, now. */
static inline uint64_t bucket_wait(const struct net_bucket *b, uint64_t now)
{
    return b->price && b->paid > now + b->depth ? b->paid - now - b->depth : 0;
}

/* Take that many, where anything may be taken. */
static inline bool bucket_take(struct net_bucket *b, uint64_t units, uint64_t now)
{
    if (!b->price)
        return true;
    if (bucket_wait(b, now))
        return false;
    b->paid = MAX(b->paid, now) + ((MIN(units, BUCKET_MOST) * b->price) >> BUCKET_SHIFT);
    return true;
}
