/* A queue of requests: what waits, what the hardware has, and what has come back. See disk.h. */
#include "drivers/disk_internal.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/percpu.h"
#include "arch/x86/tsc.h"

/* While a request is here: whose it is, and how often it has been tried. */
#define NOTE_DISK  0
#define NOTE_TRIES 1 /* then: its error */
#define NOTE_SINCE 2 /* TSC */

struct disk *disk_of(const struct block_request *r)
{
    return (struct disk *)r->note[NOTE_DISK];
}

/* --- a queue, with its lock held --- */

static void append(struct block_request **first, struct block_request **last,
                   struct block_request *r)
{
    r->next = NULL;
    if (*first)
        (*last)->next = r;
    else
        *first = r;
    *last = r;
}

static void prepend(struct disk_queue *q, struct block_request *r)
{
    r->next = q->first;
    if (!q->first)
        q->last = r;
    q->first = r;
}

static void count(struct disk_counts *c, const struct block_request *r, int error)
{
    /* The TSCs of two processors may differ a little. */
    uint64_t now = rdtsc(), ticks = now - MIN(now, r->note[NOTE_SINCE]);

    c->ticks += ticks;
    c->longest = MAX(c->longest, ticks);
    if (error) {
        c->errors++;
        return;
    }
    c->done[r->op]++;
    if (r->op <= BLOCK_WRITE)
        c->sectors[r->op] += r->sectors;
}

static void give_back(struct disk_queue *q, struct block_request *r, int error)
{
    count(&disk_of(r)->counts[q->number], r, error);
    if (q->alone)
        q->alone--;
    r->note[NOTE_TRIES] = (uint64_t)(int64_t)error;
    append(&q->back, &q->back_to, r);
}

void disk_lose(struct disk *d)
{
    if (!__atomic_exchange_n(&d->lost, true, __ATOMIC_RELAXED))
        log_error("%s: the drive does not answer any more: all that is asked of it fails",
                  d->block.name);
}

/* Once more, unless it was the last time. */
static void again(struct disk_queue *q, struct block_request *r, int error)
{
    if (++r->note[NOTE_TRIES] >= DISK_TRIES || disk_is_lost(disk_of(r))) {
        give_back(q, r, error);
        return;
    }
    disk_of(r)->counts[q->number].retries++;
    prepend(q, r);
}

/* A FLUSH may have failed, and lost what it was to save: the next one would say that all is well.
 */
static void again_in_doubt(struct disk_queue *q, struct block_request *r)
{
    if (r->op == BLOCK_FLUSH)
        give_back(q, r, -ETIMEDOUT);
    else
        again(q, r, -ETIMEDOUT);
}

/* What a request names is within the hardware's reach while that has it, and not longer. */
static void withdraw(struct disk_queue *q, const struct block_request *r, unsigned count)
{
    if (r->op > BLOCK_WRITE || !dma_is_guarded(q->unit->dma))
        return;
    for (unsigned i = 0; i < count; i++)
        dma_unmap(q->unit->dma, r->segments[i].address, r->segments[i].length);
    q->unsettled = true;
}

static int lend(struct disk_queue *q, const struct block_request *r)
{
    unsigned rights = r->op == BLOCK_READ ? DMA_WRITE : DMA_READ;

    if (r->op > BLOCK_WRITE || !dma_is_guarded(q->unit->dma))
        return 0;
    for (unsigned i = 0; i < r->count; i++) {
        int error = dma_map(q->unit->dma, r->segments[i].address, r->segments[i].length, rights);

        if (error) {
            withdraw(q, r, i);
            return error;
        }
    }
    return 0;
}

/* The hardware has it no more. */
static struct block_request *take_back(struct disk_queue *q, unsigned slot)
{
    struct block_request *r = q->slots[slot].request;

    q->slots[slot].request = NULL;
    withdraw(q, r, r->count);
    return r;
}

void disk_finish(struct disk_queue *q, unsigned slot, int error)
{
    struct block_request *r = slot < q->depth ? q->slots[slot].request : NULL;

    if (!r) { /* it answers twice, or too late */
        q->strays++;
        return;
    }
    (void)take_back(q, slot);
    q->busy--;
    __atomic_store_n(&q->unit->in_vain, 0, __ATOMIC_RELAXED);
    if (r->op == BLOCK_FLUSH)
        __atomic_store_n(&q->unit->flushed, rdtsc(), __ATOMIC_RELAXED);
    if (error == -ENODEV)
        disk_lose(disk_of(r));
    /* A FLUSH is asked once: see above. */
    if (error == -EAGAIN && r->op != BLOCK_FLUSH)
        again(q, r, -EIO);
    else
        give_back(q, r, error == -ENODEV || error == -EAGAIN ? -EIO : error);
}

void disk_want_reset(struct disk_queue *q, bool has_begun)
{
    q->stopped = true;
    if (has_begun)
        __atomic_store_n(&q->unit->doubt, true, __ATOMIC_RELAXED);
    __atomic_store_n(&q->unit->wanted, 1, __ATOMIC_RELEASE);
}

void disk_want_each_alone(struct disk_queue *q)
{
    q->alone = q->busy;
    disk_want_reset(q, true);
}

static uint64_t patience(const struct block_request *r)
{
    return tsc_hz * (r->op == BLOCK_FLUSH ? FLUSH_SECONDS : DISK_SECONDS);
}

/* To the hardware, with all that it names; else the slot is free again. */
static int give(struct disk_queue *q, unsigned slot)
{
    int error = lend(q, q->slots[slot].request);

    if (error) {
        q->slots[slot].request = NULL;
        return error;
    }
    error = q->unit->ops->start(q, slot);
    if (error)
        (void)take_back(q, slot);
    return error;
}

static void start_some(struct disk_queue *q)
{
    for (unsigned slot = 0; slot < q->depth && q->first && !q->stopped; slot++) {
        struct block_request *r = q->first;
        int error;

        if (q->alone && q->busy)
            break;
        if (q->slots[slot].request)
            continue;
        q->first = r->next;
        if (disk_is_lost(disk_of(r))) {
            give_back(q, r, -EIO);
            slot--;
            continue;
        }
        q->slots[slot].request = r;
        q->slots[slot].deadline = rdtsc() + patience(r);
        q->busy++;
        error = give(q, slot);
        if (!error)
            continue;
        q->busy--;
        if (error == -EAGAIN) {
            prepend(q, r);
            break;
        }
        if (error == -ENODEV)
            disk_lose(disk_of(r));
        give_back(q, r, error == -ENODEV ? -EIO : error);
        slot--;
    }
}

/*
 * Release the lock, and let those know whose requests are back: everyone, or the one who calls, and
 * processor 0 the others.
 */
static void unlock(struct disk_queue *q, const void *who)
{
    struct block_request *mine = NULL, *mine_to = NULL, *others = NULL, *others_to = NULL, *next;
    bool wanted = __atomic_load_n(&q->unit->wanted, __ATOMIC_RELAXED);

    for (struct block_request *r = q->back; r; r = next) {
        next = r->next;
        if (who == DISK_EVERYONE || r->owner == who)
            append(&mine, &mine_to, r);
        else
            append(&others, &others_to, r);
    }
    q->back = others;
    q->back_to = others_to;
    /* Whoever gets his request back may do with its memory what he likes. */
    if (q->unsettled)
        dma_settle(q->unit->dma);
    q->unsettled = false;
    spin_unlock(&q->lock);
    for (struct block_request *r = mine; r; r = next) {
        next = r->next;
        r->done(r, (int)(int64_t)r->note[NOTE_TRIES]);
    }
    if (wanted || others) {
        __atomic_store_n(&q->unit->in_use, 1, __ATOMIC_RELEASE);
        disk_call_attention();
    }
}

/* An interrupt has to be looked after even where nothing is under way: its cause must go. */
void disk_queue_look(struct disk_queue *q, bool interrupt, const void *who)
{
    spin_lock(&q->lock);
    if (!q->stopped) {
        if (q->busy || interrupt)
            q->unit->ops->collect(q);
        start_some(q);
    }
    unlock(q, who);
}

void disk_interrupt(void *queue)
{
    struct disk_queue *q = queue;

    q->interrupts++;
    disk_queue_look(q, true, DISK_EVERYONE);
}

/* --- the block device --- */

static int refuse(const struct disk *d, const struct block_request *r)
{
    const struct block_device *b = &d->block;
    uint32_t per_block = b->logical_block / BLOCK_SECTOR;
    int error = block_check(b, r);

    if (error || r->op == BLOCK_FLUSH)
        return error;
    if (r->count > b->max_segments || r->sector % per_block || r->sectors % per_block)
        return -EINVAL;
    return 0;
}

static struct disk_queue *queue_for(const struct disk_unit *u)
{
    return &u->queues[u->queue_count > 1 ? this_cpu()->number % u->queue_count : 0];
}

void disk_queue_submit(struct block_device *b, struct block_request *r)
{
    struct disk *d = CONTAINER_OF(b, struct disk, block);
    struct disk_queue *q = queue_for(d->unit);
    const void *owner = r->owner;
    int error = refuse(d, r);

    if (error || (r->op == BLOCK_FLUSH && !b->has_flush && !disk_is_lost(d))) {
        r->done(r, error);
        return;
    }
    r->note[NOTE_DISK] = (uint64_t)d;
    r->note[NOTE_TRIES] = 0;
    r->note[NOTE_SINCE] = rdtsc();
    spin_lock(&q->lock);
    if (disk_state(d->unit) == DISK_LOST) {
        give_back(q, r, -EIO);
    } else {
        append(&q->first, &q->last, r);
        start_some(q);
    }
    unlock(q, owner);
    if (!__atomic_exchange_n(&d->unit->in_use, 1, __ATOMIC_ACQ_REL))
        disk_call_attention();
}

/* --- for who looks after its unit --- */

/* What has waited too long, although the hardware was asked. */
static void look_for_late(const struct disk_queue *q, uint64_t now, struct disk_lateness *out)
{
    uint64_t flushed = __atomic_load_n(&q->unit->flushed, __ATOMIC_RELAXED);

    for (unsigned slot = 0; slot < q->depth && q->busy; slot++) {
        const struct disk_slot *s = &q->slots[slot];

        if (!s->request)
            continue;
        if (now >= s->deadline + tsc_hz * BESIDE_SECONDS)
            out->too_late = true;
        else if (now >= MAX(s->deadline, flushed + patience(s->request)))
            out->late = true;
        else if (s->request->op == BLOCK_FLUSH)
            out->flushing = true;
    }
}

bool disk_queue_late(struct disk_queue *q, struct disk_lateness *found, const void *who)
{
    bool busy;

    spin_lock(&q->lock);
    look_for_late(q, rdtsc(), found);
    busy = q->busy || q->first;
    unlock(q, who);
    return busy;
}

void disk_queue_stop(struct disk_queue *q, const void *who)
{
    spin_lock(&q->lock);
    q->stopped = true;
    unlock(q, who);
}

void disk_queue_go_on(struct disk_queue *q, bool doubt, const void *who)
{
    spin_lock(&q->lock);
    q->stopped = false;
    for (unsigned slot = q->depth; slot--;) {
        struct block_request *r = q->slots[slot].request ? take_back(q, slot) : NULL;

        if (r && doubt)
            again_in_doubt(q, r);
        else if (r)
            prepend(q, r);
    }
    q->busy = 0;
    start_some(q);
    unlock(q, who);
}

void disk_queue_fail(struct disk_queue *q, const void *who)
{
    spin_lock(&q->lock);
    for (unsigned slot = 0; slot < q->depth; slot++)
        if (q->slots[slot].request)
            give_back(q, take_back(q, slot), -EIO);
    q->busy = 0;
    while (q->first) {
        struct block_request *r = q->first;

        q->first = r->next;
        give_back(q, r, -EIO);
    }
    unlock(q, who);
}

void disk_queue_give_rest(struct disk_queue *q, const void *who)
{
    spin_lock(&q->lock);
    unlock(q, who);
}
