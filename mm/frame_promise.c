/* Memory that is promised, and memory that is cleared ahead: see frame.h. */
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "mm/frame_internal.h"

static struct frame_pool *const pool = &frame_pool;

/* --- promises --- */

static void add(struct frame_promise *p, uint64_t blocks, uint64_t pages)
{
    p->blocks += blocks;
    p->pages += pages;
    pool->promised_blocks += blocks;
    pool->promised_pages += pages;
}

static void take_away(struct frame_promise *p, uint64_t blocks, uint64_t pages)
{
    add(p, -blocks, -pages);
}

/* What *p promises so far has been taken away. */
static bool promise(struct frame_promise *p, uint64_t blocks, uint64_t pages, uint64_t extra)
{
    (void)!frame_ahead_drain();
    uint64_t whole = MIN(blocks, pool->blocks - pool->promised_blocks);

    pages += (blocks - whole) * (BLOCK_FRAMES + extra);
    if (frame_limited() || whole * BLOCK_FRAMES + pages > frames_unpromised())
        return false;
    add(p, whole, pages);
    return true;
}

bool frame_promise(struct frame_promise *p, uint64_t blocks, uint64_t pages, uint64_t extra)
{
    const struct frame_promise before = *p;

    spin_lock(&pool->lock);
    take_away(p, p->blocks, p->pages);
    bool kept = promise(p, blocks, pages, extra);
    if (!kept)
        add(p, before.blocks, before.pages);
    spin_unlock(&pool->lock);
    return kept;
}

void frame_promise_end(struct frame_promise *p)
{
    spin_lock(&pool->lock);
    take_away(p, p->blocks, p->pages);
    spin_unlock(&pool->lock);
}

bool frame_promise_more(struct frame_promise *p, uint64_t pages)
{
    spin_lock(&pool->lock);
    if (frames_unpromised() < pages)
        (void)!frame_ahead_drain();
    bool there = frames_unpromised() >= pages;
    if (there)
        add(p, 0, pages);
    spin_unlock(&pool->lock);
    return there;
}

void frame_promise_less(struct frame_promise *p, uint64_t pages)
{
    spin_lock(&pool->lock);
    take_away(p, 0, MIN(pages, p->pages));
    spin_unlock(&pool->lock);
}

static void split(struct frame_promise *p)
{
    if (p->blocks)
        add(p, -1ULL, BLOCK_FRAMES);
}

void frame_promise_split(struct frame_promise *p)
{
    spin_lock(&pool->lock);
    split(p);
    spin_unlock(&pool->lock);
}

/* That a block or a page is taken, as which *blocks and *pages of *p count. */
static bool redeems(struct frame_promise *p, unsigned order, uint64_t *blocks, uint64_t *pages)
{
    if (order < FRAME_ORDER_2M && !p->pages)
        split(p);
    *blocks = order == FRAME_ORDER_2M && p->blocks;
    *pages = *blocks ? 0 : 1ULL << order;
    return *pages <= p->pages;
}

paddr frame_redeem(struct frame_promise *p, unsigned order, uint16_t owner)
{
    paddr base = FRAME_NONE;
    uint64_t blocks, pages;

    spin_lock(&pool->lock);
    if (redeems(p, order, &blocks, &pages)) {
        take_away(p, blocks, pages);
        base = frame_take(order, owner, UINT64_MAX, 0);
        if (base == FRAME_NONE) /* there are pages for it, but no block */
            add(p, blocks, pages);
    }
    spin_unlock(&pool->lock);
    return base;
}

void frame_return(struct frame_promise *p, paddr base, unsigned order)
{
    spin_lock(&pool->lock);
    if (frame_put(base, order))
        add(p, order == FRAME_ORDER_2M, order == FRAME_ORDER_2M ? 0 : 1ULL << order);
    spin_unlock(&pool->lock);
}

paddr frame_alloc_keeping(unsigned order, uint16_t owner, uint64_t keep)
{
    spin_lock(&pool->lock);
    paddr base = frame_take(order, owner, UINT64_MAX, keep / PAGE_SIZE);
    spin_unlock(&pool->lock);
    return base;
}

/*
 * --- cleared ahead ---
 *
 * Such blocks are taken from what nobody has been promised, and count as free all the same: who
 * wants memory and finds none in the lists has them put there first, be they half cleared.
 */

#define AHEAD       8u
#define PIECE       (16 * KIB)
#define LEFT_OTHERS (32 * MIB / PAGE_SIZE) /* frames */

static paddr cleared[AHEAD];
static unsigned cleared_count;

/* What each processor has begun to clear: base 0: nothing. Under the lock; others leave it alone
 * while it is busy. */
static struct clearing {
    paddr base;
    uint64_t done;
    bool busy;
} clearing[SMP_CPUS_MAX];

/* Whether there is something to clear. */
static bool begin(struct clearing *c)
{
    spin_lock(&pool->lock);
    if (!c->base && pool->ahead < AHEAD && pool->blocks > pool->promised_blocks &&
        frames_unpromised() >= BLOCK_FRAMES + LEFT_OTHERS) {
        paddr base = frame_take(FRAME_ORDER_2M, FRAME_FREE, UINT64_MAX, 0);
        if (base != FRAME_NONE) {
            *c = (struct clearing){.base = base};
            pool->ahead++;
        }
    }
    c->busy = c->base;
    spin_unlock(&pool->lock);
    return c->busy;
}

static void end(struct clearing *c)
{
    spin_lock(&pool->lock);
    c->busy = false;
    c->done += PIECE;
    if (c->done == frame_block_size(FRAME_ORDER_2M)) {
        cleared[cleared_count++] = c->base;
        c->base = 0;
    }
    spin_unlock(&pool->lock);
}

bool frame_clear_ahead(unsigned cpu)
{
    struct clearing *c = &clearing[cpu];

    bool enough = __atomic_load_n(&pool->ahead, __ATOMIC_RELAXED) >= AHEAD;
    if (enough && !__atomic_load_n(&c->base, __ATOMIC_RELAXED)) /* as nearly always */
        return false;
    if (!begin(c))
        return false;
    fill64((char *)phys_to_virt(c->base) + c->done, 0, PIECE / 8);
    end(c);
    return true;
}

static void put_back(paddr base)
{
    pool->ahead--;
    frame_at(base)->state = 0; /* it may become a part of a larger one */
    frame_insert(base, FRAME_ORDER_2M);
}

bool frame_ahead_drain(void)
{
    uint64_t before = pool->ahead;

    while (cleared_count)
        put_back(cleared[--cleared_count]);
    for (unsigned i = 0; i < SMP_CPUS_MAX && pool->ahead; i++) {
        struct clearing *c = &clearing[i];

        if (!c->base || c->busy)
            continue;
        put_back(c->base);
        c->base = 0;
    }
    return pool->ahead != before;
}

/* It is in no list, from which so nothing is taken: what is promised of it becomes free there. */
paddr frame_cleared(struct frame_promise *p, uint16_t owner, uint64_t keep)
{
    uint64_t blocks = 0, pages = 0;
    paddr base = FRAME_NONE;

    spin_lock(&pool->lock);
    if (cleared_count && (p ? redeems(p, FRAME_ORDER_2M, &blocks, &pages)
                            : frames_unpromised() >= keep / PAGE_SIZE)) {
        if (p)
            take_away(p, blocks, pages);
        base = cleared[--cleared_count];
        pool->ahead--;
        frame_change_owner(base, FRAME_ORDER_2M, owner);
    }
    spin_unlock(&pool->lock);
    return base;
}
