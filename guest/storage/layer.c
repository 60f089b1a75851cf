/* See layer.h. */
#include "guest/storage/layer_internal.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/lib/zeroes.h"
#include "mm/heap.h"

/* How far the choice of what to copy next looks: writes that wait, and blocks of each. */
#define LOOK_WRITES 16u
#define LOOK_BLOCKS (2 * LAYER_COPIES * LAYER_RUN)

/* Sectors of one WRITE_ZEROES, all of whose blocks are looked at at once. */
#define MOST_ZEROES (16 * MIB / BLOCK_SECTOR)

/* Requests that one processor sees to in one piece, however many the others bring meanwhile. */
#define PUMP_AT_ONCE 64u

/* While a write waits: */
#define NOTE_ERROR 0 /* what keeping its blocks has come to, */
#define NOTE_BLOCK 1 /* and the first block that is not known to be kept */

static uint64_t last_block(const struct block_request *r)
{
    return (r->sector + r->sectors - 1) / LAYER_SECTORS;
}

static bool has_failed(const struct block_request *r)
{
    return r->note[NOTE_ERROR] != 0;
}

static void set_failed(struct block_request *r, int error)
{
    if (!has_failed(r))
        r->note[NOTE_ERROR] = (uint64_t)(int64_t)error;
}

/* --- what to do next, with the lock held --- */

static bool is_copied(const struct block_layer *l, uint64_t block)
{
    bool found = false;

    for (unsigned i = 0; i < LAYER_COPIES; i++) {
        const struct layer_copy *c = &l->copies[i];
        found |= c->wanted_by && block - c->first < c->count;
    }
    return found;
}

static bool is_wanted(const struct block_layer *l, uint64_t block)
{
    return !past_get(&l->newest->map, block) && !is_copied(l, block);
}

static bool copies_for(const struct block_layer *l, const struct block_request *r)
{
    bool found = false;

    for (unsigned i = 0; i < LAYER_COPIES; i++)
        found |= l->copies[i].wanted_by == r;
    return found;
}

/* Whether the first one that waits has waited long enough: all of it is kept, or that has failed.
 */
static bool is_ready(const struct block_layer *l, struct block_request *r)
{
    uint64_t *block = &r->note[NOTE_BLOCK];

    if (copies_for(l, r))
        return false;
    if (has_failed(r) || !l->newest)
        return true;
    while (*block <= last_block(r) && past_get(&l->newest->map, *block))
        (*block)++;
    return *block > last_block(r);
}

static struct layer_copy *free_copy(struct block_layer *l)
{
    for (unsigned i = 0; i < LAYER_COPIES; i++)
        if (!l->copies[i].wanted_by)
            return &l->copies[i];
    return NULL;
}

/* Room for one more block of the copy; false: memory is out. */
static bool add_block(struct block_layer *l, struct layer_copy *c)
{
    uint64_t block = c->first + c->count;
    uint32_t bytes = layer_bytes_of(l, block);
    paddr frame;

    if (past_place(&l->newest->map, l->memory, block) < 0)
        return false;
    frame = past_take(l->memory, l->device->highest_address);
    if (frame == FRAME_NONE)
        return false;
    if (bytes < PAST_SIZE)
        memset((uint8_t *)phys_to_virt(frame) + bytes, 0, PAST_SIZE - bytes);
    c->segments[c->count++] = (struct block_segment){frame, bytes};
    return true;
}

static void copied(struct block_request *r, int error);

/* What of it is neither kept nor being copied, as far as one request goes. False: it is nothing, or
 * memory is out. */
static bool begin_copy(struct block_layer *l, struct layer_copy *c, struct block_request *r,
                       bool *no_memory)
{
    uint64_t block = r->note[NOTE_BLOCK], until = MIN(last_block(r) + 1, block + LOOK_BLOCKS);

    while (block < until && !is_wanted(l, block))
        block++;
    c->first = block;
    c->count = 0;
    while (block < until && c->count < layer_run(l) && is_wanted(l, block) && !*no_memory) {
        *no_memory = !add_block(l, c);
        block++;
    }
    if (c->count == 0)
        return false;
    *no_memory = false; /* not yet */
    c->wanted_by = r;
    c->request = (struct block_request){.op = BLOCK_READ,
                                        .count = (uint16_t)c->count,
                                        .sectors = layer_sectors_of(l, c->first, c->count),
                                        .sector = c->first * LAYER_SECTORS,
                                        .segments = c->segments,
                                        .done = copied,
                                        .owner = l};
    return true;
}

/* The next copy, for one of those that wait; NULL: none now. *starves: there is no memory for the
 * first of them. */
static struct layer_copy *next_copy(struct block_layer *l, bool *starves)
{
    struct layer_copy *c = l->newest && !l->starved ? free_copy(l) : NULL;
    unsigned n = 0;

    for (struct block_request *r = l->first; c && r && n < LOOK_WRITES; r = r->next, n++) {
        bool no_memory = false;

        if (has_failed(r))
            continue;
        if (begin_copy(l, c, r, &no_memory))
            return c;
        if (no_memory && l->giving_up) {
            set_failed(r, -ENOMEM);
        } else if (no_memory) {
            *starves = l->starved = r == l->first;
            break;
        }
    }
    return NULL;
}

/* --- doing it --- */

/* To whoever had the device's requests before. */
static void hand_down(struct block_layer *l, struct block_request *r)
{
    l->under->submit(l->device, r);
}

/* The first one that waits, if it need not any more; or NULL. */
static struct block_request *take_ready(struct block_layer *l)
{
    struct block_request *r = l->first;

    if (!r || !is_ready(l, r))
        return NULL;
    l->first = r->next;
    return r;
}

/* The next thing, for which the lock is released. False: there is none. */
static bool pump_once(struct block_layer *l)
{
    struct block_request *r = take_ready(l);
    struct layer_copy *c = NULL;
    bool starves = false;

    if (!r)
        c = next_copy(l, &starves);
    if (!r && !c)
        r = take_ready(l); /* it has just failed */
    l->pumping = r || c || starves;
    if (!l->pumping) {
        __atomic_store_n(&l->at_work, l->newest || l->first, __ATOMIC_RELAXED);
        return false;
    }
    spin_unlock(&l->lock);
    if (r && has_failed(r))
        r->done(r, (int)(int64_t)r->note[NOTE_ERROR]);
    else if (r)
        hand_down(l, r);
    else if (c)
        hand_down(l, &c->request);
    else
        l->attention(l);
    spin_lock(&l->lock);
    l->pumping = false;
    return true;
}

/*
 * All that can be done now. With the lock held, which is released: nothing of the layer is looked
 * at any more then, as it may be gone. One processor at a time is at it: others put down what is
 * new and go, and so does what comes back from inside submit(). A guest with a quick drive could
 * keep it there for ever: so it goes after a while, and whoever comes next goes on, or processor 0.
 */
static void pump(struct block_layer *l)
{
    layer_attention attention = l->attention;
    unsigned n = 0;

    while (!l->pumping && n < PUMP_AT_ONCE && pump_once(l))
        n++;
    spin_unlock(&l->lock);
    if (n == PUMP_AT_ONCE)
        attention(NULL);
}

/* On any processor: that many blocks are in memory. */
static void copied(struct block_request *request, int error)
{
    struct layer_copy *c = CONTAINER_OF(request, struct layer_copy, request);
    struct block_layer *l = c->layer;
    uint64_t zeroes = 0;

    for (unsigned i = 0; i < c->count && !error; i++)
        zeroes |= is_zeroes(phys_to_virt(c->segments[i].address), PAST_SIZE) ? BIT(i) : 0;
    spin_lock(&l->lock);
    for (unsigned i = 0; i < c->count; i++) {
        bool is_zero = zeroes >> i & 1;
        paddr frame = c->segments[i].address;
        bool put = !error && l->newest &&
                   past_put(&l->newest->map, c->first + i, is_zero ? PAST_ZEROES : frame);

        if (!put || is_zero)
            past_give(l->memory, frame);
    }
    if (error)
        set_failed(c->wanted_by, error);
    c->wanted_by = NULL;
    pump(l);
}

/* --- the block device --- */

static void submit(struct block_device *device, struct block_request *r)
{
    struct block_layer *l = CONTAINER_OF(device->ops, struct block_layer, ops);
    int error;

    if (!__atomic_load_n(&l->at_work, __ATOMIC_RELAXED) || r->op == BLOCK_READ ||
        r->op == BLOCK_FLUSH) {
        hand_down(l, r);
        return;
    }
    error = block_check(device, r);
    if (error || r->op == BLOCK_DISCARD) {
        r->done(r, error);
        return;
    }
    r->note[NOTE_ERROR] = 0;
    r->note[NOTE_BLOCK] = r->sector / LAYER_SECTORS;
    r->next = NULL;
    spin_lock(&l->lock);
    if (l->first)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
    pump(l);
}

static void poll(struct block_device *device, const void *owner)
{
    struct block_layer *l = CONTAINER_OF(device->ops, struct block_layer, ops);

    if (__atomic_load_n(&l->at_work, __ATOMIC_RELAXED)) {
        l->under->poll(device, l);
        layer_work(l);
    }
    l->under->poll(device, owner);
}

int layer_init(struct block_layer *l, struct block_device *device, struct past_memory *memory,
               layer_attention attention)
{
    *l = (struct block_layer){.device = device,
                              .under = device->ops,
                              .ops = {.submit = submit, .poll = device->ops->poll ? poll : NULL},
                              .memory = memory,
                              .attention = attention};
    device->write_zeroes_sectors = MIN(device->write_zeroes_sectors, MOST_ZEROES);
    spin_init(&l->lock, RANK_LAYER);
    for (unsigned i = 0; i < LAYER_COPIES; i++)
        l->copies[i].layer = l;
    return device->logical_block > PAST_SIZE || device->sectors / LAYER_SECTORS >= PAST_BLOCKS
               ? -EINVAL
               : 0;
}

/* --- the chain --- */

static struct layer_link **find(struct block_layer *l, const void *of)
{
    struct layer_link **at = &l->newest;

    while (*at && (*at)->of != of)
        at = &(*at)->older;
    return at;
}

int layer_keep(struct block_layer *l, const void *of)
{
    struct layer_link *new = heap_alloc(sizeof(*new));

    if (!new)
        return -ENOMEM;
    new->of = of;
    spin_lock(&l->lock);
    new->older = l->newest;
    l->newest = new;
    l->device->ops = &l->ops;
    __atomic_store_n(&l->at_work, true, __ATOMIC_RELAXED);
    spin_unlock(&l->lock);
    return 0;
}

/* Whoever writes meanwhile looks at the newest one only, with the lock held. */
void layer_forget(struct block_layer *l, const void *of)
{
    struct layer_link **at = find(l, of), *gone = *at;
    bool is_newest = at == &l->newest;

    if (!gone)
        return;
    if (is_newest)
        spin_lock(&l->lock);
    if (gone->older)
        past_merge(&gone->older->map, &gone->map, l->memory);
    *at = gone->older;
    if (is_newest)
        spin_unlock(&l->lock);
    past_clear(&gone->map, l->memory);
    heap_free(gone);
    layer_work(l);
}

bool layer_has(const struct block_layer *l, const void *of)
{
    return *find((struct block_layer *)l, of) != NULL;
}

uint64_t layer_size(const struct block_layer *l, const void *of)
{
    const struct layer_link *link = *find((struct block_layer *)l, of);

    return link ? link->map.bytes : 0;
}

/* --- going on --- */

void layer_work(struct block_layer *l)
{
    spin_lock(&l->lock);
    pump(l);
}

static void set_giving_up(struct block_layer *l, bool giving_up)
{
    spin_lock(&l->lock);
    l->giving_up = giving_up;
    l->starved = false;
    pump(l);
}

void layer_go_on(struct block_layer *l)
{
    set_giving_up(l, false);
}

void layer_give_up(struct block_layer *l)
{
    set_giving_up(l, true);
}

bool layer_is_starved(const struct block_layer *l)
{
    return __atomic_load_n(&l->starved, __ATOMIC_RELAXED);
}

bool layer_idle(struct block_layer *l)
{
    bool idle;

    spin_lock(&l->lock);
    idle = !l->pumping && !l->first;
    for (unsigned i = 0; i < LAYER_COPIES; i++)
        idle = idle && !l->copies[i].wanted_by;
    spin_unlock(&l->lock);
    return idle;
}
