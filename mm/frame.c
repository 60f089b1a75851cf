#include "mm/frame_internal.h"

#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "boot/handover.h"

/* Low memory is for those who ask for a page of it by address; firmware and its leftovers live
 * there. */
#define LOW_MEMORY  MIB
#define ORDER_MAX   FRAME_ORDER_1G
#define ORDER_COUNT (ORDER_MAX + 1)

/* What the state byte of a block's first frame says; all other frames of a block have state 0. */
#define STATE_ORDER     0x1f
#define STATE_CONTINUES 0x20 /* the block behind belongs to the same run */
#define STATE_USED      0x40
#define STATE_FREE      0x80

/* Lies in the free block itself. */
struct free_block {
    paddr next, previous; /* FRAME_NONE at the ends */
};

struct frame_pool frame_pool = {.lock = SPINLOCK(RANK_FRAMES)};
static struct spinlock *const lock = &frame_pool.lock; /* over the lists, too */
static struct frame_stats *const stats = &frame_pool.stats;
static paddr free_lists[ORDER_COUNT];
static uint64_t blocks_left = UINT64_MAX; /* see frame_limit() */

static uint64_t *account(uint16_t owner)
{
    switch (owner) {
    case FRAME_FREE:
        return &stats->free;
    case FRAME_LOADER:
        return &stats->loader;
    case FRAME_KERNEL:
        return &stats->kernel;
    case FRAME_RETIRED:
        return &stats->retired;
    default:
        return owner >= FRAME_VM ? &stats->vm : NULL;
    }
}

/* Give count frames to an owner; two at a time, since a 1 GiB block has a quarter of a million. */
static void set_owner(struct frame *first, uint64_t count, uint16_t owner)
{
    struct frame pair[2] = {{.owner = owner}, {.owner = owner}};
    uint64_t pattern;

    memcpy(&pattern, pair, sizeof(pattern));
    if (count && ((uintptr_t)first & 4)) {
        *first++ = pair[0];
        count--;
    }
    fill64(first, pattern, count / 2);
    if (count & 1)
        first[count - 1] = pair[0];
}

static void change_owner(uint16_t from, uint16_t to, uint64_t size)
{
    if (account(from))
        *account(from) -= size;
    if (account(to))
        *account(to) += size;
}

/* How many blocks of 2 MiB there are in one of that order. */
static uint64_t blocks_in(unsigned order)
{
    return order < FRAME_ORDER_2M ? 0 : 1ULL << (order - FRAME_ORDER_2M);
}

static void list_add(paddr pa, unsigned order)
{
    struct free_block *b = phys_to_virt(pa);

    b->next = free_lists[order];
    b->previous = FRAME_NONE;
    if (b->next != FRAME_NONE)
        ((struct free_block *)phys_to_virt(b->next))->previous = pa;
    free_lists[order] = pa;
    frame_pool.blocks += blocks_in(order);
    frame_at(pa)->state = (uint8_t)(STATE_FREE | order);
}

static void list_remove(paddr pa, unsigned order)
{
    struct free_block *b = phys_to_virt(pa);

    if (b->next != FRAME_NONE)
        ((struct free_block *)phys_to_virt(b->next))->previous = b->previous;
    if (b->previous != FRAME_NONE)
        ((struct free_block *)phys_to_virt(b->previous))->next = b->next;
    else
        free_lists[order] = b->next;
    frame_pool.blocks -= blocks_in(order);
    frame_at(pa)->state = 0;
}

/* Put a block into the lists, together with its buddy if that is free, and so on upwards. */
void frame_insert(paddr pa, unsigned order)
{
    while (order < ORDER_MAX) {
        paddr buddy = pa ^ frame_block_size(order);
        struct frame *f = frame_at(buddy);

        if (!f || f->state != (STATE_FREE | order))
            break;
        list_remove(buddy, order);
        pa = MIN(pa, buddy);
        order++;
    }
    list_add(pa, order);
}

/* The largest naturally aligned block at base that is not larger than size. */
static unsigned fitting_order(paddr base, uint64_t size)
{
    unsigned order = 0;

    while (order < ORDER_MAX && IS_ALIGNED(base, frame_block_size(order + 1)) &&
           frame_block_size(order + 1) <= size)
        order++;
    return order;
}

static void insert_range(paddr base, uint64_t size)
{
    while (size) {
        unsigned order = fitting_order(base, size);

        frame_insert(base, order);
        base += frame_block_size(order);
        size -= frame_block_size(order);
    }
}

/* The first free block of an order whose first 2^least frames end at limit or below. */
static paddr first_below(unsigned order, unsigned least, paddr limit)
{
    paddr pa = free_lists[order];

    while (pa != FRAME_NONE && pa + frame_block_size(least) - 1 > limit)
        pa = ((struct free_block *)phys_to_virt(pa))->next;
    return pa;
}

/* Whether a block may be cut from one of a higher order, or the same, in the lists: what is
 * promised stays. */
static bool may_take(unsigned order, unsigned from, uint64_t keep)
{
    uint64_t lost = MAX(blocks_in(order), from >= FRAME_ORDER_2M ? 1 : 0);

    return frames_unpromised() >= (1ULL << order) + keep &&
           frame_pool.blocks >= frame_pool.promised_blocks + lost;
}

/* The order of the smallest block that will do, so that the large ones stay whole; more than
 * ORDER_MAX: there is none. */
static unsigned smallest(unsigned order, paddr limit, uint64_t keep)
{
    unsigned from = order;

    while (from < ORDER_COUNT && first_below(from, order, limit) == FRAME_NONE)
        from++;
    return from < ORDER_COUNT && may_take(order, from, keep) ? from : ORDER_COUNT;
}

paddr frame_take(unsigned order, uint16_t owner, paddr limit, uint64_t keep)
{
    unsigned from = smallest(order, limit, keep);
    struct frame *f;
    paddr pa;

    if (from > ORDER_MAX && frame_ahead_drain())
        from = smallest(order, limit, keep);
    if (from > ORDER_MAX)
        return FRAME_NONE;
    pa = first_below(from, order, limit);
    list_remove(pa, from);
    while (from > order) {
        from--;
        list_add(pa + frame_block_size(from), from);
    }
    f = frame_at(pa);
    set_owner(f, 1ULL << order, owner);
    f->state = (uint8_t)(STATE_USED | order);
    change_owner(FRAME_FREE, owner, frame_block_size(order));
    return pa;
}

void frame_change_owner(paddr base, unsigned order, uint16_t owner)
{
    struct frame *f = frame_at(base);

    change_owner(f->owner, owner, frame_block_size(order));
    set_owner(f, 1ULL << order, owner);
    f->state = (uint8_t)(STATE_USED | order);
}

bool frame_limited(void)
{
    bool limited = blocks_left == 0;

    if (UNLIKELY(blocks_left != UINT64_MAX) && !limited)
        blocks_left--;
    return limited;
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    paddr pa = FRAME_NONE;

    spin_lock(lock);
    if (!frame_limited())
        pa = frame_take(order, owner, limit, 0);
    spin_unlock(lock);
    return pa;
}

paddr frame_alloc(unsigned order, uint16_t owner)
{
    return frame_alloc_below(order, owner, UINT64_MAX);
}

/* Of a whole block; eight frames at a time, since a 1 GiB block has a quarter of a million. */
static bool pinned(const struct frame *f, uint64_t count)
{
    const uint64_t *pair = (const uint64_t *)f; /* which no block of two or more begins within */
    const struct frame pins[2] = {{.pins = UINT8_MAX}, {.pins = UINT8_MAX}};
    uint64_t mask, any = 0;

    if (count < 8) {
        for (uint64_t i = 0; i < count; i++)
            any |= __atomic_load_n(&f[i].pins, __ATOMIC_ACQUIRE);
        return any;
    }
    memcpy(&mask, pins, sizeof(mask));
    for (const uint64_t *end = pair + count / 2; pair < end; pair += 4)
        any |= __atomic_load_n(&pair[0], __ATOMIC_ACQUIRE) |
               __atomic_load_n(&pair[1], __ATOMIC_ACQUIRE) |
               __atomic_load_n(&pair[2], __ATOMIC_ACQUIRE) |
               __atomic_load_n(&pair[3], __ATOMIC_ACQUIRE);
    return any & mask;
}

/* A block in which frames have been retired. */
static void give_back_around(paddr base, unsigned order)
{
    for (paddr pa = base; pa < base + frame_block_size(order); pa += PAGE_SIZE) {
        struct frame *f = frame_at(pa);

        f->state = 0;
        if (f->owner == FRAME_RETIRED)
            continue;
        change_owner(f->owner, FRAME_FREE, PAGE_SIZE);
        f->owner = FRAME_FREE;
        frame_insert(pa, FRAME_ORDER_4K);
    }
}

static bool any_retired(const struct frame *f, uint64_t count)
{
    for (uint64_t i = 0; stats->retired && i < count; i++)
        if (f[i].owner == FRAME_RETIRED)
            return true;
    return false;
}

bool frame_put(paddr base, unsigned order)
{
    struct frame *f = frame_at(base);
    uint16_t owner;

    if (!f || !IS_ALIGNED(base, PAGE_SIZE) || order > ORDER_MAX ||
        (f->state & ~STATE_CONTINUES) != (STATE_USED | order)) {
        log_error("frame %lx of order %u is freed but was not allocated so; it is left alone", base,
                  order);
        return false;
    }
    if (pinned(f, 1ULL << order)) {
        log_error("frame %lx of order %u is freed while pinned for DMA; it is not reused", base,
                  order);
        return false;
    }
    if (UNLIKELY(any_retired(f, 1ULL << order))) {
        give_back_around(base, order);
        return false;
    }
    owner = f->owner;
    set_owner(f, 1ULL << order, FRAME_FREE);
    change_owner(owner, FRAME_FREE, frame_block_size(order));
    frame_insert(base, order);
    return true;
}

void frame_retire(paddr frame)
{
    struct frame *f = frame_at(frame);

    spin_lock(lock);
    if (f && f->owner != FRAME_FREE && f->owner != FRAME_RESERVED && f->owner != FRAME_RETIRED) {
        change_owner(f->owner, FRAME_RETIRED, PAGE_SIZE);
        f->owner = FRAME_RETIRED;
    }
    spin_unlock(lock);
}

void frame_free(paddr base, unsigned order)
{
    spin_lock(lock);
    (void)!frame_put(base, order);
    spin_unlock(lock);
}

void frame_split(paddr base, unsigned order, unsigned into)
{
    struct frame *f = frame_at(base);

    spin_lock(lock);
    for (uint64_t i = 0; i < 1ULL << order; i += 1ULL << into)
        f[i].state = (uint8_t)(STATE_USED | into);
    spin_unlock(lock);
}

/* Cut a block into the pieces of a run of pages, largest first, and give the rest back. */
static void cut(paddr base, unsigned order, uint64_t pages, uint16_t owner)
{
    uint64_t rest, position;

    for (position = base, rest = pages; rest;) {
        unsigned piece = fitting_order(position, rest * PAGE_SIZE);
        struct frame *f = frame_at(position);

        f->state = (uint8_t)(STATE_USED | piece);
        rest -= 1ULL << piece;
        if (rest)
            f->state |= STATE_CONTINUES;
        position += frame_block_size(piece);
    }
    rest = base + frame_block_size(order) - position;
    set_owner(frame_at(position), rest / PAGE_SIZE, FRAME_FREE);
    change_owner(owner, FRAME_FREE, rest);
    insert_range(position, rest);
}

paddr frame_run_alloc(uint64_t pages, uint16_t owner)
{
    unsigned order = 0;
    paddr base;

    while (order <= ORDER_MAX && (1ULL << order) < pages)
        order++;
    spin_lock(lock);
    base = pages && !frame_limited() ? frame_take(order, owner, UINT64_MAX, 0) : FRAME_NONE;
    if (base != FRAME_NONE && pages != 1ULL << order)
        cut(base, order, pages, owner);
    spin_unlock(lock);
    return base;
}

void frame_run_free(paddr base)
{
    uint8_t state;

    spin_lock(lock);
    do {
        struct frame *f = frame_at(base);

        state = f ? f->state : 0;
        (void)!frame_put(base, state & STATE_ORDER);
        base += frame_block_size(state & STATE_ORDER);
    } while ((state & STATE_USED) && (state & STATE_CONTINUES));
    spin_unlock(lock);
}

/* Frames of [base, base + size) that belong to owner go to the allocator, in as large pieces as
 * there are. */
static void release_owned(paddr base, uint64_t size, uint16_t owner)
{
    paddr end = MIN(base + size, frame_pool.frame_count * PAGE_SIZE);

    for (paddr pa = MAX(base, LOW_MEMORY); pa < end;) {
        paddr start = pa;

        while (pa < end && frame_at(pa)->owner == owner && !frame_at(pa)->state)
            pa += PAGE_SIZE;
        if (pa == start) {
            pa += PAGE_SIZE;
            continue;
        }
        set_owner(frame_at(start), (pa - start) / PAGE_SIZE, FRAME_FREE);
        change_owner(owner, FRAME_FREE, pa - start);
        if (owner == FRAME_RESERVED)
            stats->total += pa - start;
        insert_range(start, pa - start);
    }
}

void frame_release(paddr base, uint64_t size)
{
    if (!IS_ALIGNED(base | size, PAGE_SIZE) || base + size < base) {
        log_error("cannot release memory at %lx+%lx: not whole pages", base, size);
        return;
    }
    spin_lock(lock);
    release_owned(base, size, FRAME_LOADER);
    release_owned(base, size, FRAME_RESERVED);
    spin_unlock(lock);
}

void frame_release_loader(void)
{
    spin_lock(lock);
    release_owned(0, frame_pool.frame_count * PAGE_SIZE, FRAME_LOADER);
    spin_unlock(lock);
}

void frame_limit(uint64_t blocks)
{
    spin_lock(lock);
    blocks_left = blocks;
    spin_unlock(lock);
}

uint16_t frame_owner(paddr frame)
{
    struct frame *f = frame_at(frame);

    return f ? f->owner : FRAME_RESERVED;
}

bool frame_pin(paddr frame)
{
    struct frame *f = frame_at(frame);
    uint8_t pins;

    if (!f)
        return false;
    pins = __atomic_load_n(&f->pins, __ATOMIC_RELAXED);
    do {
        if (pins == UINT8_MAX)
            return false;
    } while (!__atomic_compare_exchange_n(&f->pins, &pins, (uint8_t)(pins + 1), true,
                                          __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

void frame_unpin(paddr frame)
{
    struct frame *f = frame_at(frame);

    if (f && __atomic_load_n(&f->pins, __ATOMIC_RELAXED))
        __atomic_fetch_sub(&f->pins, 1, __ATOMIC_RELEASE);
}

bool frame_pinned(paddr base, unsigned order)
{
    const struct frame *f = frame_at(base);

    return f && pinned(f, 1ULL << order);
}

void frame_stats(struct frame_stats *out)
{
    spin_lock(lock);
    *out = *stats;
    out->promised =
        (frame_pool.promised_blocks * BLOCK_FRAMES + frame_pool.promised_pages) * PAGE_SIZE;
    out->free -= out->promised;
    spin_unlock(lock);
}

static bool is_ram(const struct handover_mem *m)
{
    return m->type == HANDOVER_MEM_USABLE || m->type == HANDOVER_MEM_LOADER ||
           m->type == HANDOVER_MEM_KERNEL;
}

/* Where the table of frames goes: the end of the lowest usable range that holds it, out of the
 * large blocks' way. */
static paddr place_table(const struct handover_mem *map, unsigned count, uint64_t size)
{
    for (unsigned i = 0; i < count; i++) {
        paddr base = MAX(map[i].base, LOW_MEMORY), end = map[i].base + map[i].size;

        if (map[i].type == HANDOVER_MEM_USABLE && end > base && end - base >= size)
            return end - size;
    }
    return FRAME_NONE;
}

static void add_range(const struct handover_mem *m, paddr table, uint64_t table_size)
{
    struct frame *f = frame_at(m->base);
    paddr base = MAX(m->base, LOW_MEMORY), end = m->base + m->size;

    switch (m->type) {
    case HANDOVER_MEM_LOADER:
        set_owner(f, m->size / PAGE_SIZE, FRAME_LOADER);
        stats->loader += m->size;
        break;
    case HANDOVER_MEM_KERNEL:
        set_owner(f, m->size / PAGE_SIZE, FRAME_KERNEL);
        stats->kernel += m->size;
        break;
    case HANDOVER_MEM_USABLE:
        if (table >= base && table < end)
            end = table;
        if (end <= base)
            break;
        set_owner(frame_at(base), (end - base) / PAGE_SIZE, FRAME_FREE);
        stats->free += end - base;
        insert_range(base, end - base);
        break;
    }
    if (is_ram(m))
        stats->total += m->size;
}

void frame_init(const struct handover *h)
{
    const struct handover_mem *map = phys_to_virt(h->memory);
    uint64_t table_size;
    paddr table;

    memset(stats, 0, sizeof(*stats));
    frame_pool.frame_count = frame_pool.blocks = 0;
    frame_pool.promised_blocks = frame_pool.promised_pages = frame_pool.ahead = 0;
    for (unsigned i = 0; i < ORDER_COUNT; i++)
        free_lists[i] = FRAME_NONE;
    for (unsigned i = 0; i < h->memory_count; i++)
        if (is_ram(&map[i]))
            frame_pool.frame_count =
                MAX(frame_pool.frame_count, (map[i].base + map[i].size) / PAGE_SIZE);

    table_size = ALIGN_UP(frame_pool.frame_count * sizeof(struct frame), PAGE_SIZE);
    table = place_table(map, h->memory_count, table_size);
    if (table == FRAME_NONE) {
        log_error("no %lu KiB of memory in one piece for the table of frames", table_size >> 10);
        frame_pool.frame_count = 0;
        return;
    }
    frame_pool.frames = phys_to_virt(table);
    set_owner(frame_pool.frames, frame_pool.frame_count, FRAME_RESERVED);
    set_owner(frame_at(table), table_size / PAGE_SIZE, FRAME_KERNEL);
    stats->metadata = table_size;
    for (unsigned i = 0; i < h->memory_count; i++)
        add_range(&map[i], table, table_size);
}
