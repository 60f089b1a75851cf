/*
 * One area of Corbel's own partition. A write goes over one copy, block by block, then the block
 * that describes it, and a FLUSH; then over the other one. It begins with a copy that is not good
 * where there is such, so that at each moment one is whole. What of a copy is not as described is
 * known by its sum, so that nothing but the FLUSH has to keep an order.
 *
 * One request is under way at a time, and who gets it back submits the next one.
 */
#include "guest/storage/store_internal.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"

#define PER_BLOCK (STORE_BLOCK / BLOCK_SECTOR)

static uint64_t copy_at(const struct store_area *a, unsigned copy)
{
    return a->entry.first + copy * (1 + a->entry.content);
}

static bool is_stale(const struct store_area *a, unsigned copy, uint32_t block)
{
    return a->stale[copy][block / 64] >> block % 64 & 1;
}

static void set_stale(struct store_area *a, unsigned copy, uint32_t block)
{
    a->stale[copy][block / 64] |= BIT(block % 64);
}

/* --- reading --- */

static bool map_is_good(const struct store_map *m, const struct store_entry *e)
{
    const struct store_head *h = &m->head;

    return store_head_is_good(h, sizeof(*m), STORE_AREA_MAGIC) && h->version == STORE_VERSION &&
           h->id == e->id && (h->count == 0 || h->count == e->content);
}

/* Block number i of a copy, behind the one that describes it, is in store->page then. */
static bool read_block(struct store_area *a, unsigned copy, uint32_t i)
{
    return store_transfer(a->store, BLOCK_READ, copy_at(a, copy) + 1 + i) == 0;
}

static bool read_map(struct store_area *a, unsigned copy, struct store_map *m)
{
    if (store_transfer(a->store, BLOCK_READ, copy_at(a, copy)))
        return false;
    memcpy(m, phys_to_virt(a->store->page), sizeof(*m));
    return map_is_good(m, &a->entry);
}

void store_area_look(struct store_area *a)
{
    const struct store_map *m = phys_to_virt(a->store->page);
    bool any = false;

    for (unsigned copy = 0; copy < 2; copy++) {
        const struct store_head *h = &m->head;

        if (store_transfer(a->store, BLOCK_READ, copy_at(a, copy)) || !map_is_good(m, &a->entry) ||
            (any && store_follows(a->sequence, h->sequence)))
            continue;
        a->good[0] &= h->sequence == a->sequence; /* the first one that was good is older */
        a->good[copy] = any = true;
        a->sequence = h->sequence;
        a->empty = h->count == 0;
    }
}

/* Take a block from whichever copy has it as the map says. */
static bool load_block(struct store_area *a, const struct store_map *m, uint32_t i)
{
    const void *there = phys_to_virt(a->store->page);
    bool found = false;

    for (unsigned copy = 0; copy < 2; copy++) {
        if (!read_block(a, copy, i) || crc32(0, there, STORE_BLOCK) != m->block[i].crc) {
            set_stale(a, copy, i);
            continue;
        }
        if (!found)
            memcpy(a->content + (size_t)i * STORE_BLOCK, there, STORE_BLOCK);
        found = true;
    }
    return found;
}

static bool load_content(struct store_area *a, const struct store_map *m)
{
    memset(a->stale, 0, sizeof(a->stale));
    for (uint32_t i = 0; i < m->head.count; i++)
        if (!load_block(a, m, i))
            return false;
    return true;
}

static bool any_stale(const struct store_area *a, unsigned copy)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < ARRAY_SIZE(a->stale[copy]); i++)
        any |= a->stale[copy][i];
    return any;
}

static void all_stale(struct store_area *a)
{
    memset(a->stale, 0xff, sizeof(a->stale));
}

/* The newest map that can be had all of; -1: none. */
static int load_newest(struct store_area *a, struct store_map *const map[2])
{
    const bool there[2] = {read_map(a, 0, map[0]), read_map(a, 1, map[1])};
    bool second =
        there[1] && (!there[0] || store_follows(map[1]->head.sequence, map[0]->head.sequence));

    if (there[0] || there[1])
        a->sequence = map[second]->head.sequence;
    for (unsigned i = 0; i < 2; i++) {
        unsigned copy = second ^ i;
        bool same = memcmp(map[0], map[1], sizeof(*map[0])) == 0;

        if (!there[copy])
            continue;
        if (!load_content(a, map[copy]))
            continue;
        for (unsigned c = 0; c < 2; c++)
            a->good[c] = there[c] && (c == copy || same) && !any_stale(a, c);
        return (int)copy;
    }
    return -1;
}

static bool write_now(struct store_area *a, uint64_t block, const void *data)
{
    memcpy(phys_to_virt(a->store->page), data, STORE_BLOCK);
    return store_transfer(a->store, BLOCK_WRITE, block) == 0;
}

/*
 * Before anything else is written: the copy whose map was taken gets what it has only in the other
 * one, and the other one's map becomes the same. Else a write that is cut off could take the last
 * there is of this version, or complete one that was passed over. Cut off itself it changes
 * nothing: what is written stands in one of the copies already.
 */
static bool settle(struct store_area *a, const struct store_map *m, unsigned copy)
{
    for (uint32_t i = 0; i < m->head.count; i++)
        if (is_stale(a, copy, i) &&
            !write_now(a, copy_at(a, copy) + 1 + i, a->content + (size_t)i * STORE_BLOCK))
            return false;
    if (!write_now(a, copy_at(a, !copy), m) || store_flush(a->store))
        return false;
    memset(a->stale[copy], 0, sizeof(a->stale[copy]));
    a->good[copy] = true;
    return true;
}

static int get_memory(struct store_area *a)
{
    if (!a->map)
        a->map = heap_alloc(sizeof(*a->map));
    if (a->page == FRAME_NONE)
        a->page =
            frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, a->store->device->highest_address);
    return a->map && a->page != FRAME_NONE ? 0 : -ENOMEM;
}

int store_area_load(struct store_area *a)
{
    struct store_map *map[2] = {heap_alloc(sizeof(*map[0])), heap_alloc(sizeof(*map[1]))};
    int result = -ENOMEM, newest;

    if (!a->content)
        a->content = heap_alloc((size_t)a->entry.content * STORE_BLOCK);
    if (map[0] && map[1] && a->content && get_memory(a) == 0) {
        newest = load_newest(a, map);
        a->filled = newest >= 0 && map[newest]->head.count;
        result = newest < 0                 ? STORE_DAMAGED
                 : !a->filled               ? STORE_EMPTY
                 : a->good[0] && a->good[1] ? STORE_WHOLE
                                            : STORE_REPAIRED;
        if (newest >= 0)
            memcpy(a->map, map[newest], sizeof(*a->map));
        else
            a->good[0] = a->good[1] = false;
        if (newest >= 0 && !(a->good[0] && a->good[1]) && !settle(a, a->map, (unsigned)newest)) {
            a->read_only = true;
            result = -EIO;
        }
        if (!a->filled)
            all_stale(a);
        if (result == STORE_REPAIRED)
            store_area_write(a);
    }
    heap_free(map[0]);
    heap_free(map[1]);
    return result;
}

void store_area_free(struct store_area *a)
{
    heap_free(a->content);
    heap_free(a->map);
    if (a->page != FRAME_NONE)
        frame_free(a->page, FRAME_ORDER_4K);
    heap_free(a);
}

/* --- writing --- */

/* What describes the content: none where the area is empty. */
static void seal(struct store_area *a, struct store_map *m)
{
    m->head = (struct store_head){.version = STORE_VERSION,
                                  .sequence = ++a->sequence,
                                  .id = a->entry.id,
                                  .count = a->filled ? a->entry.content : 0};
    memcpy(m->head.magic, STORE_AREA_MAGIC, sizeof(m->head.magic));
    m->head.crc = store_sum(&m->head, sizeof(*m));
}

int store_area_make(struct store_area *a)
{
    struct store_map *m = phys_to_virt(a->store->page);

    memset(m, 0, sizeof(*m));
    seal(a, m);
    for (unsigned copy = 0; copy < 2; copy++)
        if (store_transfer(a->store, BLOCK_WRITE, copy_at(a, copy)))
            return -EIO;
    return 0;
}

enum step { STEP_BEGIN, STEP_BLOCKS, STEP_FLUSH, STEP_END };
enum phase { PHASE_OUTSIDE, PHASE_INSIDE, PHASE_BACK };

static void done(struct block_request *r, int error);

static void prepare_write(struct store_area *a, uint64_t block, const void *data)
{
    memcpy(phys_to_virt(a->page), data, STORE_BLOCK);
    a->segment = (struct block_segment){a->page, STORE_BLOCK};
    a->request = (struct block_request){.op = BLOCK_WRITE,
                                        .sector = block * PER_BLOCK,
                                        .sectors = PER_BLOCK,
                                        .count = 1,
                                        .segments = &a->segment,
                                        .done = done,
                                        .owner = a};
}

/* The next request of this copy's; false: there is none, it is good now. */
static bool prepare_of_copy(struct store_area *a)
{
    uint32_t count = a->filled ? a->entry.content : 0;

    switch (a->step) {
    case STEP_BEGIN:
        a->good[a->copy] = false;
        a->at = 0;
        a->step = STEP_BLOCKS;
        /* fall through */
    case STEP_BLOCKS:
        while (a->at < count && !is_stale(a, a->copy, a->at))
            a->at++;
        if (a->at < count) {
            prepare_write(a, copy_at(a, a->copy) + 1 + a->at,
                          a->content + (size_t)a->at * STORE_BLOCK);
            a->at++;
        } else {
            prepare_write(a, copy_at(a, a->copy), a->map);
            a->step = STEP_FLUSH;
        }
        return true;
    case STEP_FLUSH:
        a->request = (struct block_request){.op = BLOCK_FLUSH, .done = done, .owner = a};
        a->step = STEP_END;
        return true;
    default:
        a->good[a->copy] = true;
        if (a->filled)
            memset(a->stale[a->copy], 0, sizeof(a->stale[a->copy]));
        return false;
    }
}

/* The next request; false: that was all, or one has failed. Then the other copy stays as it is. */
static bool prepare(struct store_area *a)
{
    while (!a->error && a->copies_left) {
        if (prepare_of_copy(a))
            return true;
        a->copies_left--;
        a->copy = !a->copy;
        a->step = STEP_BEGIN;
    }
    return false;
}

static void finish(struct store_area *a)
{
    if (!a->error) {
        a->changed = false;
        a->empty = !a->filled;
    } else if (!a->failed) {
        log_warn(
            "state: the variables of %s cannot be written (error %d): they are kept in memory, "
            "and tried again when they change",
            a->entry.name, -a->error);
    }
    a->failed = a->error != 0;
    __atomic_store_n(&a->under_way, false, __ATOMIC_RELEASE);
}

static bool go_from_to(struct store_area *a, uint32_t from, uint32_t to)
{
    return __atomic_compare_exchange_n(&a->phase, &from, to, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

/* What comes back inside of submit() is gone on with here, so that nothing is nested; what comes
 * back later by done(). */
static void run(struct store_area *a)
{
    while (prepare(a)) {
        __atomic_store_n(&a->phase, PHASE_INSIDE, __ATOMIC_SEQ_CST);
        block_submit(a->store->device, &a->request);
        if (go_from_to(a, PHASE_INSIDE, PHASE_OUTSIDE))
            return;
    }
    finish(a);
}

static void done(struct block_request *r, int error)
{
    struct store_area *a = CONTAINER_OF(r, struct store_area, request);

    a->error = error;
    if (!go_from_to(a, PHASE_INSIDE, PHASE_BACK))
        run(a);
}

/* --- for who has it --- */

const uint8_t *store_area_content(const struct store_area *a)
{
    return a->filled ? a->content : NULL;
}

bool store_area_idle(struct store_area *a)
{
    struct block_device *d = a->store->device;

    if (__atomic_load_n(&a->under_way, __ATOMIC_ACQUIRE) && d->ops->poll)
        d->ops->poll(d, a);
    return !__atomic_load_n(&a->under_way, __ATOMIC_ACQUIRE);
}

void store_area_put(struct store_area *a, uint32_t block, const void *data)
{
    memcpy(a->content + (size_t)block * STORE_BLOCK, data, STORE_BLOCK);
    a->map->block[block].crc = crc32(0, data, STORE_BLOCK);
    set_stale(a, 0, block);
    set_stale(a, 1, block);
    a->filled = a->changed = true;
}

void store_area_write(struct store_area *a)
{
    if (a->read_only || (!a->changed && a->good[0] && a->good[1])) {
        a->failed = a->read_only;
        return;
    }
    seal(a, a->map);
    a->copy = a->good[0] && !a->good[1];
    a->copies_left = 2;
    a->step = STEP_BEGIN;
    a->error = 0;
    __atomic_store_n(&a->under_way, true, __ATOMIC_RELEASE);
    run(a);
}

int store_area_forget(struct store_area *a)
{
    if (get_memory(a) < 0)
        return -ENOMEM;
    a->filled = false;
    a->changed = true;
    all_stale(a);
    store_area_write(a);
    return 0;
}
