/* See disk.h. */
#include "guest/devices/disk.h"

#include "arch/x86/lib/errno.h"

static void done(struct block_request *b, int error);

/* --- who looks on --- */

static disk_observer observer;

void disk_set_observer(disk_observer fn)
{
    __atomic_store_n(&observer, fn, __ATOMIC_RELAXED);
}

static __attribute__((noinline)) void tell(const struct disk_io *d, struct disk_request *r,
                                           int result)
{
    const struct device_disk_event event = {
        .op = r->op,
        .flags = r->flags,
        .sectors = r->op == BLOCK_FLUSH ? 0 : r->sectors,
        .sector = r->op == BLOCK_FLUSH ? 0 : r->sector,
        .result = result,
        .begun = &r->begun,
    };
    disk_observer told = __atomic_load_n(&observer, __ATOMIC_RELAXED);

    if (told && d->counts)
        told(d->counts, &event);
}

/* All that it costs while nobody looks on. */
static inline void look_on(const struct disk_io *d, struct disk_request *r, int result)
{
    if (UNLIKELY(__atomic_load_n(&observer, __ATOMIC_RELAXED)))
        tell(d, r, result);
}

/* --- the end of a request --- */

static void count(struct device_disk_counts *c, const struct disk_request *r, int error)
{
    if (!c)
        return;
    c->in_flight--;
    if (error < 0) {
        c->errors++;
    } else if (r->op == BLOCK_READ) {
        c->reads++;
        c->read_sectors += r->sectors;
    } else if (r->op == BLOCK_WRITE) {
        c->writes++;
        c->written_sectors += r->sectors;
    } else if (r->op == BLOCK_FLUSH) {
        c->flushes++;
    } else {
        c->others++;
    }
}

static void finish(struct disk_io *d, struct disk_request *r, int error)
{
    count(d->counts, r, error);
    look_on(d, r, error);
    d->finished(d, r, error);
}

/* --- handing over --- */

static int pin(struct disk_io *d, const struct disk_request *r, uint64_t at, uint64_t size,
               paddr *address, uint64_t *length)
{
    if (!r->own)
        return device_memory_pin(d->dev, at, size, r->op == BLOCK_READ, address, length);
    *address = at;
    *length = size;
    return 0;
}

static void unpin(struct disk_io *d, const struct disk_request *r, paddr address, uint64_t length)
{
    if (!r->own)
        device_memory_unpin(d->dev, address, length);
}

static void unpin_all(struct disk_io *d, struct disk_request *r)
{
    for (unsigned i = 0; i < r->block.count; i++)
        unpin(d, r, r->host[i].address, r->host[i].length);
    r->block.count = 0;
}

/* What the device takes: a piece that begins or ends elsewhere is not for it. */
static bool fits(const struct block_device *b, paddr address, uint64_t length)
{
    return ((address | length) & (b->segment_align - 1u)) == 0 &&
           address + length - 1 <= b->highest_address;
}

/*
 * Pin what comes next of the segments, as far as the device takes it at once: 0, and *bytes of it,
 * -EAGAIN, and what could be pinned, or an error with nothing pinned.
 */
static int gather(struct disk_io *d, struct disk_request *r, uint32_t *bytes)
{
    const struct block_device *b = d->block;
    unsigned most = MIN(DISK_SEGMENTS, b->max_segments);
    uint32_t left = MIN(r->sectors - r->done, b->max_sectors) * BLOCK_SECTOR;
    int error = 0;

    r->block.count = 0;
    *bytes = 0;
    while (left > 0 && r->block.count < most) {
        struct block_segment *s = &r->host[r->block.count];
        const struct disk_segment *g = &r->segments[r->at];
        uint64_t length;

        if (r->at == r->count)
            error = -EINVAL; /* they are shorter than the request */
        else
            error = pin(d, r, g->gpa + r->offset, MIN(g->length - r->offset, left), &s->address,
                        &length);
        if (error < 0)
            break;
        s->length = (uint32_t)length;
        r->block.count++;
        if (!fits(b, s->address, length)) {
            error = -EINVAL;
            break;
        }
        if (b->no_gaps && *bytes && s->address % PAGE_SIZE) {
            unpin(d, r, s->address, length);
            r->block.count--;
            break;
        }
        *bytes += s->length;
        left -= s->length;
        r->offset += s->length;
        if (r->offset == g->length) {
            r->at++;
            r->offset = 0;
        }
        if (b->no_gaps && (s->address + length) % PAGE_SIZE)
            break;
    }
    if (error < 0 && error != -EAGAIN)
        unpin_all(d, r);
    return error;
}

/* Give back what is behind the last whole block. */
static uint32_t trim(struct disk_io *d, struct disk_request *r, uint32_t bytes)
{
    uint32_t extra = bytes % d->block->logical_block;

    for (bytes -= extra; extra > 0;) {
        struct block_segment *last = &r->host[r->block.count - 1];
        uint32_t n = MIN(extra, last->length);
        paddr keep = last->address + last->length - n;

        /* Back in the guest's segments; all that was taken of them was taken in order. */
        if (r->offset == 0)
            r->offset = r->segments[--r->at].length;
        r->offset -= n;
        extra -= n;
        if (n == last->length) {
            unpin(d, r, last->address, last->length);
            r->block.count--;
            continue;
        }
        /* Pages that the rest does not touch. */
        if (ALIGN_UP(keep, PAGE_SIZE) < last->address + last->length)
            unpin(d, r, ALIGN_UP(keep, PAGE_SIZE),
                  last->address + last->length - ALIGN_UP(keep, PAGE_SIZE));
        last->length -= n;
    }
    return bytes;
}

/* The next part of it. 1: it is under way; or it is over, with 0 or an error; -EAGAIN: not now. */
static int hand_over(struct disk_io *d, struct disk_request *r)
{
    uint32_t bytes, most;
    int error;

    if (r->op == BLOCK_FLUSH) {
        r->part = 0;
    } else if (r->op <= BLOCK_WRITE) {
        error = gather(d, r, &bytes);
        if (error < 0 && error != -EAGAIN)
            return error;
        bytes = trim(d, r, bytes);
        if (bytes == 0) {
            unpin_all(d, r);
            return error < 0 ? error : -EINVAL;
        }
        r->part = bytes / BLOCK_SECTOR;
    } else {
        most = r->op == BLOCK_DISCARD ? d->block->discard_sectors : d->block->write_zeroes_sectors;
        if (most == 0)
            return -ENOTSUP;
        r->part = MIN(r->sectors - r->done, most);
    }
    r->block.op = r->op;
    r->block.flags = r->flags;
    r->block.sectors = r->part;
    r->block.sector = r->sector + r->done;
    r->block.segments = r->host;
    r->block.done = done;
    r->block.owner = r->disk;
    d->left -= MIN(d->left, r->part);
    __atomic_fetch_add(&d->under_way, 1, __ATOMIC_RELAXED);
    block_submit(d->block, &r->block);
    return 1;
}

static void start(struct disk_io *d, struct disk_request *r)
{
    bool later = r->op != BLOCK_FLUSH && d->left == 0;
    int result = later ? -EAGAIN : hand_over(d, r);

    if (result == -EAGAIN) {
        r->next = d->waiting;
        d->waiting = r;
    } else if (result <= 0) {
        finish(d, r, result);
    }
}

/* --- coming back --- */

static void step(struct disk_io *d, struct disk_request *r)
{
    if (r->op <= BLOCK_WRITE)
        unpin_all(d, r);
    if (r->error == 0)
        r->done += r->part;
    if (d->stopping && r->error == 0 && r->done < r->sectors)
        r->error = -EIO;
    if (r->error < 0 || r->op == BLOCK_FLUSH || r->done == r->sectors)
        finish(d, r, r->error);
    else
        start(d, r);
}

/* Those that wait, the oldest first. */
static void retry(struct disk_io *d)
{
    struct disk_request *r, *next, *oldest = NULL;

    for (r = d->waiting; r; r = next) {
        next = r->next;
        r->next = oldest;
        oldest = r;
    }
    d->waiting = NULL;
    for (r = oldest; r; r = next) {
        next = r->next;
        if (d->stopping)
            finish(d, r, -EIO);
        else
            start(d, r);
    }
}

/*
 * Look at all that has come back. While somebody does, `busy` is set, and what comes back meanwhile
 * is only put on the list: whoever put it there before `busy` fell is seen by the last look, and
 * whoever comes later finds `busy` clear.
 */
static void look(struct disk_io *d)
{
    struct disk_request *r, *next;

    do {
        __atomic_store_n(&d->busy, true, __ATOMIC_SEQ_CST);
        while ((r = __atomic_exchange_n(&d->back, NULL, __ATOMIC_SEQ_CST))) {
            for (; r; r = next) {
                next = r->next;
                __atomic_fetch_sub(&d->under_way, 1, __ATOMIC_RELAXED);
                step(d, r);
            }
            if (d->waiting)
                retry(d);
        }
        __atomic_store_n(&d->busy, false, __ATOMIC_SEQ_CST);
    } while (__atomic_load_n(&d->back, __ATOMIC_SEQ_CST));
}

/*
 * On any processor, from inside submit() and poll() or not: only there the controller's lock is
 * held by who calls, and `busy` is set then. Nobody waits for that lock here: who has it may wait
 * himself until the caller, who looks after the drive, is done.
 */
static void done(struct block_request *b, int error)
{
    struct disk_request *r = CONTAINER_OF(b, struct disk_request, block);
    struct disk_io *d = r->disk;

    r->error = error;
    __atomic_fetch_add(&d->visitors, 1, __ATOMIC_SEQ_CST);
    r->next = __atomic_load_n(&d->back, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&d->back, &r->next, r, true, __ATOMIC_SEQ_CST,
                                        __ATOMIC_RELAXED))
        ;
    if (__atomic_load_n(&d->busy, __ATOMIC_SEQ_CST)) {
        /* whoever is at it sees it */
    } else if (device_trylock(d->dev)) {
        look(d);
        d->settled(d);
        device_unlock(d->dev);
    } else {
        device_timer_soon(d->dev, DISK_TIMER);
    }
    __atomic_fetch_sub(&d->visitors, 1, __ATOMIC_SEQ_CST);
}

/* --- for the controller --- */

void disk_submit(struct disk_io *d, struct disk_request *r)
{
    bool outermost = !__atomic_exchange_n(&d->busy, true, __ATOMIC_SEQ_CST);

    if (d->counts)
        d->counts->in_flight++;
    r->disk = d;
    r->error = 0;
    r->done = r->offset = 0;
    r->at = 0;
    r->block.count = 0;
    look_on(d, r, DEVICE_DISK_BEGINS);
    if (r->op != BLOCK_FLUSH && (r->sectors == 0 || r->sector > d->block->sectors ||
                                 r->sectors > d->block->sectors - r->sector))
        finish(d, r, -EINVAL);
    else
        start(d, r);
    if (outermost)
        look(d);
}

void disk_stop(struct disk_io *d, bool stop)
{
    d->stopping = stop;
}

void disk_go_on(struct disk_io *d, uint32_t sectors)
{
    d->left = sectors;
    __atomic_store_n(&d->busy, true, __ATOMIC_SEQ_CST);
    if (d->waiting)
        retry(d);
    look(d);
}

bool disk_stuck(const struct disk_io *d)
{
    return d->waiting && d->left > 0 && !__atomic_load_n(&d->under_way, __ATOMIC_SEQ_CST);
}

bool disk_idle(struct disk_io *d)
{
    if (__atomic_load_n(&d->under_way, __ATOMIC_ACQUIRE) && d->block->ops->poll) {
        __atomic_store_n(&d->busy, true, __ATOMIC_SEQ_CST);
        d->block->ops->poll(d->block, d);
    }
    look(d);
    if (d->waiting && !__atomic_load_n(&d->under_way, __ATOMIC_ACQUIRE)) {
        uint32_t left = d->left; /* what this does is not the guest's to spend */

        disk_go_on(d, UINT32_MAX);
        d->left = left;
    }
    return !d->waiting && !__atomic_load_n(&d->under_way, __ATOMIC_SEQ_CST) &&
           !__atomic_load_n(&d->visitors, __ATOMIC_SEQ_CST);
}
