/* Writing back what a layer has kept, by writes that go through the layer themselves. */
#include "guest/storage/layer_internal.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"

#define PIECES 8u /* under way at once */

enum piece_state { PIECE_FREE, PIECE_BUSY, PIECE_BACK };

struct piece {
    enum piece_state state; /* atomic */
    int error;
    struct layer_failure what; /* its sectors */
    struct block_request request;
    struct block_segment segments[LAYER_RUN];
};

struct layer_restore {
    const void *of;
    uint64_t next; /* block; PAST_NONE: that was all */
    paddr zeroes;  /* what blocks of zeroes are written from */
    bool flushed;  /* a FLUSH has begun */
    int error;     /* the first one, */
    struct layer_failure where;
    struct piece pieces[PIECES];
};

/* --- what was there then --- */

/* What one block held, of the links from `newest` to the one of that snapshot; 0: what it holds
 * now. */
static paddr held(const struct layer_link *newest, const void *of, uint64_t block)
{
    paddr found = 0;

    for (const struct layer_link *link = newest; link; link = link->of == of ? NULL : link->older) {
        paddr what = past_get(&link->map, block);
        found = what ? what : found;
    }
    return found;
}

/* The first block, from that one on, of which they have something; PAST_NONE. */
static uint64_t next_held(const struct layer_link *newest, const void *of, uint64_t from)
{
    uint64_t found = PAST_NONE;

    for (const struct layer_link *link = newest; link; link = link->of == of ? NULL : link->older)
        found = MIN(found, past_next(&link->map, from));
    return found;
}

/* The links of that snapshot up to the one before the newest; NULL: there are none. */
static const struct layer_link *before_newest(const struct block_layer *l, const void *of)
{
    return l->newest->of == of ? NULL : l->newest->older;
}

uint64_t layer_restore_cost(const struct block_layer *l, const void *of)
{
    const struct layer_link *before = before_newest(l, of);
    uint64_t bytes = 0, block = 0, last = PAST_NONE;

    while (before && (block = next_held(before, of, block)) != PAST_NONE) {
        if (!past_get(&l->newest->map, block)) {
            bytes += past_cost(last, block);
            last = block;
        }
        block++;
    }
    return bytes;
}

/* What is on the drive again need not be kept, but for what the older ones have of it: there the
 * newest one's is something else. */
static void drop(struct block_layer *l, const void *of)
{
    const struct layer_link *before = before_newest(l, of);
    struct past_map *map = &l->newest->map;

    if (!before)
        past_clear(map, l->memory);
    for (uint64_t block = 0; before && (block = past_next(map, block)) != PAST_NONE; block++)
        if (!held(before, of, block))
            past_drop(map, l->memory, block);
}

/* --- requests --- */

static void back(struct block_request *r, int error)
{
    struct piece *p = CONTAINER_OF(r, struct piece, request);

    p->error = error;
    __atomic_store_n(&p->state, PIECE_BACK, __ATOMIC_RELEASE);
}

static void begin(struct block_layer *l, struct piece *p, unsigned op, unsigned segments)
{
    p->request = (struct block_request){.op = (uint8_t)op,
                                        .count = (uint16_t)segments,
                                        .sector = p->what.sector,
                                        .sectors = p->what.sectors,
                                        .segments = p->segments,
                                        .done = back,
                                        .owner = l->restore};
    p->state = PIECE_BUSY;
    block_submit(l->device, &p->request);
}

/* How many blocks are next, and where they are kept; 0: none is left. With the layer's lock held:
 * what is being written is kept meanwhile, by whatever processor. */
static unsigned next_run(const struct block_layer *l, struct block_segment *segments)
{
    struct layer_restore *w = l->restore;
    unsigned count = 0;
    paddr what;

    w->next = next_held(l->newest, w->of, w->next);
    while (w->next != PAST_NONE && count < layer_run(l) &&
           (what = held(l->newest, w->of, w->next + count))) {
        segments[count] = (struct block_segment){what == PAST_ZEROES ? w->zeroes : what,
                                                 layer_bytes_of(l, w->next + count)};
        count++;
    }
    return count;
}

/* False: there is nothing left to write. */
static bool write_next(struct block_layer *l, struct piece *p)
{
    struct layer_restore *w = l->restore;
    unsigned count;

    spin_lock(&l->lock);
    count = next_run(l, p->segments);
    spin_unlock(&l->lock);
    if (count == 0)
        return false;
    p->what.sector = w->next * LAYER_SECTORS;
    p->what.sectors = layer_sectors_of(l, w->next, count);
    w->next += count;
    begin(l, p, BLOCK_WRITE, count);
    return true;
}

static enum piece_state state_of(const struct piece *p)
{
    return __atomic_load_n(&p->state, __ATOMIC_ACQUIRE);
}

/* What has come back; how many are still under way. */
static unsigned look(struct layer_restore *w)
{
    unsigned busy = 0;

    for (unsigned i = 0; i < PIECES; i++) {
        struct piece *p = &w->pieces[i];
        enum piece_state state = state_of(p);

        busy += state == PIECE_BUSY;
        if (state != PIECE_BACK)
            continue;
        p->state = PIECE_FREE;
        if (!p->error || w->error)
            continue;
        w->error = p->error;
        w->where = p->what;
    }
    return busy;
}

/* --- from begin to end --- */

int layer_restore_begin(struct block_layer *l, const void *of)
{
    struct layer_restore *w = heap_alloc(sizeof(*w));

    if (!w)
        return -ENOMEM;
    w->zeroes = frame_alloc_below(FRAME_ORDER_4K, l->memory->owner, l->device->highest_address);
    if (w->zeroes == FRAME_NONE) {
        heap_free(w);
        return -ENOMEM;
    }
    memset(phys_to_virt(w->zeroes), 0, PAST_SIZE);
    w->of = of;
    l->restore = w;
    layer_give_up(l); /* nobody could be asked for memory meanwhile */
    return 0;
}

static void end(struct block_layer *l)
{
    frame_free(l->restore->zeroes, FRAME_ORDER_4K);
    heap_free(l->restore);
    l->restore = NULL;
}

int layer_restore_step(struct block_layer *l, struct layer_failure *where)
{
    struct layer_restore *w = l->restore;
    unsigned busy = look(w);
    int error;

    for (unsigned i = 0; i < PIECES && !w->error && w->next != PAST_NONE; i++)
        if (state_of(&w->pieces[i]) == PIECE_FREE)
            busy += write_next(l, &w->pieces[i]);
    if (busy || (!w->error && w->next != PAST_NONE))
        return -EAGAIN;
    if (!w->error && !w->flushed) {
        w->flushed = true;
        w->pieces[0].what = (struct layer_failure){0, 0};
        begin(l, &w->pieces[0], BLOCK_FLUSH, 0);
        return -EAGAIN;
    }
    error = w->error;
    *where = w->where;
    if (!error)
        drop(l, w->of);
    end(l);
    return error;
}

bool layer_restore_stop(struct block_layer *l)
{
    if (!l->restore)
        return true;
    if (l->device->ops->poll)
        l->device->ops->poll(l->device, l->restore);
    if (look(l->restore))
        return false;
    end(l);
    return true;
}
