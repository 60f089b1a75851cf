#include "drivers/disk.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/percpu.h"
#include "arch/x86/tsc.h"
#include "mm/heap.h"

#define LOOK_HZ     1    /* how often a drive that interrupts is looked at while something waits */
#define POLL_HZ     5000 /* and one that does not */
#define STEP_HZ     1000 /* steps of a reset */
#define IN_VAIN_MAX 3

/* While a request is here: whose it is, and how often it has been tried. */
#define NOTE_DISK  0
#define NOTE_TRIES 1 /* then: its error */
#define NOTE_SINCE 2 /* TSC */

static struct disk *disks[DISKS_MAX];
static unsigned disk_count;
static struct disk_unit *units, **units_end = &units;
static void (*attention)(void);

#define EVERYONE ((const void *)&units) /* no locks are held that a done() may want */

struct disk *disk_of(const struct block_request *r)
{
    return (struct disk *)r->note[NOTE_DISK];
}

static enum disk_state state_of(const struct disk_unit *u)
{
    return __atomic_load_n(&u->state, __ATOMIC_SEQ_CST);
}

static void set_state(struct disk_unit *u, enum disk_state state)
{
    __atomic_store_n(&u->state, state, __ATOMIC_SEQ_CST);
}

static void call_attention(void)
{
    if (attention)
        attention();
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

static void lose(struct disk *d)
{
    if (!__atomic_exchange_n(&d->lost, true, __ATOMIC_RELAXED))
        log_error("%s: the drive does not answer any more: all that is asked of it fails",
                  d->block.name);
}

/* Once more, unless it was the last time. */
static void again(struct disk_queue *q, struct block_request *r, int error)
{
    if (++r->note[NOTE_TRIES] >= DISK_TRIES || disk_of(r)->lost) {
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
        lose(disk_of(r));
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
        if (disk_of(r)->lost) {
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
            lose(disk_of(r));
        give_back(q, r, error == -ENODEV ? -EIO : error);
        slot--;
    }
}

static void fail_all(struct disk_queue *q, int error)
{
    for (unsigned slot = 0; slot < q->depth; slot++)
        if (q->slots[slot].request)
            give_back(q, take_back(q, slot), error);
    q->busy = 0;
    while (q->first) {
        struct block_request *r = q->first;

        q->first = r->next;
        give_back(q, r, error);
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
        if (who == EVERYONE || r->owner == who)
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
        call_attention();
    }
}

/* An interrupt has to be looked after even where nothing is under way: its cause must go. */
static void look(struct disk_queue *q, bool interrupt, const void *who)
{
    spin_lock(&q->lock);
    if (!q->stopped) {
        if (q->busy || interrupt)
            q->unit->ops->collect(q);
        start_some(q);
    }
    unlock(q, who);
}

void disks_strayed(const struct host_pci *p)
{
    for (struct disk_unit *u = units; u; u = u->next)
        if (u->pci == p) {
            __atomic_store_n(&u->strayed, 1, __ATOMIC_RELEASE);
            __atomic_store_n(&u->in_use, 1, __ATOMIC_RELEASE);
        }
    call_attention();
}

void disk_interrupt(void *queue)
{
    struct disk_queue *q = queue;

    q->interrupts++;
    look(q, true, EVERYONE);
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

static void submit(struct block_device *b, struct block_request *r)
{
    struct disk *d = CONTAINER_OF(b, struct disk, block);
    struct disk_queue *q = queue_for(d->unit);
    const void *owner = r->owner;
    int error = refuse(d, r);

    if (error || (r->op == BLOCK_FLUSH && !b->has_flush && !d->lost)) {
        r->done(r, error);
        return;
    }
    r->note[NOTE_DISK] = (uint64_t)d;
    r->note[NOTE_TRIES] = 0;
    r->note[NOTE_SINCE] = rdtsc();
    spin_lock(&q->lock);
    if (state_of(d->unit) == DISK_LOST) {
        give_back(q, r, -EIO);
    } else {
        append(&q->first, &q->last, r);
        start_some(q);
    }
    unlock(q, owner);
    if (!__atomic_exchange_n(&d->unit->in_use, 1, __ATOMIC_ACQ_REL))
        call_attention();
}

/* --- looking after a unit: processor 0, or who polls --- */

/*
 * A drive may do one thing at a time: while a FLUSH is within its time nothing else is late, and
 * behind it everybody has his own time once more. But what a drive has forgotten among FLUSHes is
 * late some day.
 */
struct lateness {
    bool flushing;       /* a FLUSH is within its time */
    bool late, too_late; /* something is: beside a FLUSH, too */
};

/* What has waited too long, although the hardware was asked. */
static void look_for_late(const struct disk_queue *q, uint64_t now, struct lateness *out)
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

static void begin_reset(struct disk_unit *u, const void *who)
{
    u->resets++;
    set_state(u, DISK_RESETS);
    u->reset_until = rdtsc() + RESET_SECONDS * tsc_hz;
    for (unsigned i = 0; i < u->queue_count; i++) {
        struct disk_queue *q = &u->queues[i];

        spin_lock(&q->lock);
        q->stopped = true; /* from here on nobody else calls the driver */
        unlock(q, who);
    }
}

/* Whatever the hardware made of cut(): with the last unit of its function that is no bus master. */
static void cut_function(const struct disk_unit *u)
{
    for (const struct disk_unit *other = units; other; other = other->next)
        if (other != u && other->pci == u->pci && state_of(other) != DISK_LOST)
            return;
    if (u->master_off)
        u->master_off(u->pci);
}

static void end_unit(struct disk_unit *u, const void *who)
{
    u->ops->cut(u);
    set_state(u, DISK_LOST);
    cut_function(u);
    for (unsigned i = 0; i < u->queue_count; i++) {
        struct disk_queue *q = &u->queues[i];

        spin_lock(&q->lock);
        for (unsigned n = 0; n < disk_count; n++)
            if (disks[n]->unit == u)
                lose(disks[n]);
        fail_all(q, -EIO);
        unlock(q, who);
    }
}

static void end_reset(struct disk_unit *u, const void *who)
{
    /* As long as no queue runs nobody else says anything; then it is about the next reset. */
    bool doubt = __atomic_exchange_n(&u->doubt, false, __ATOMIC_RELAXED);

    set_state(u, DISK_RUNS);
    __atomic_store_n(&u->wanted, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < u->queue_count; i++) {
        struct disk_queue *q = &u->queues[i];

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
}

static void reset_some(struct disk_unit *u, bool begin, const void *who)
{
    int error;

    if (!begin && rdtsc() < u->next_step)
        return;
    error = u->ops->reset(u, begin);
    u->next_step = rdtsc() + tsc_hz / STEP_HZ;
    if (error == -EAGAIN && rdtsc() < u->reset_until)
        return;
    if (error)
        end_unit(u, who);
    else
        end_reset(u, who);
}

/* What came back while another one polled. */
static void give_rest(struct disk_unit *u, const void *who)
{
    for (unsigned i = 0; i < u->queue_count; i++) {
        spin_lock(&u->queues[i].lock);
        unlock(&u->queues[i], who);
    }
}

/* Returns whether something is still under way. */
static bool look_after(struct disk_unit *u, const void *who)
{
    struct lateness found = {false, false, false};
    bool wanted, strayed, late, busy = false;

    if (state_of(u) == DISK_LOST) {
        give_rest(u, who);
        return false;
    }
    if (state_of(u) == DISK_RESETS) {
        reset_some(u, false, who);
        give_rest(u, who);
        return true;
    }
    for (unsigned i = 0; i < u->queue_count; i++) {
        struct disk_queue *q = &u->queues[i];

        look(q, false, who);
        spin_lock(&q->lock);
        look_for_late(q, rdtsc(), &found);
        busy |= q->busy || q->first;
        unlock(q, who);
    }
    late = found.too_late || (found.late && !found.flushing);
    strayed = __atomic_exchange_n(&u->strayed, 0, __ATOMIC_ACQUIRE);
    wanted = __atomic_load_n(&u->wanted, __ATOMIC_ACQUIRE) || strayed;
    if (!late && !wanted)
        return busy;
    if (strayed) {
        log_warn("%s: it reached for memory that is not its: it is reset", u->name);
        __atomic_store_n(&u->doubt, true, __ATOMIC_RELAXED);
    }
    if (late && !wanted) {
        log_warn("%s: no answer in time: it is reset", u->name);
        __atomic_store_n(&u->doubt, true, __ATOMIC_RELAXED);
    }
    begin_reset(u, who);
    if (__atomic_add_fetch(&u->in_vain, 1, __ATOMIC_RELAXED) > IN_VAIN_MAX)
        end_unit(u, who);
    else
        reset_some(u, true, who);
    return state_of(u) != DISK_LOST;
}

/* One at a time. The same as of look_after(); true where somebody else is at it. */
static bool attend(struct disk_unit *u, const void *who)
{
    bool busy = true;

    if (!__atomic_exchange_n(&u->attended, 1, __ATOMIC_ACQUIRE)) {
        busy = look_after(u, who);
        __atomic_store_n(&u->attended, 0, __ATOMIC_RELEASE);
    }
    return busy;
}

/* Whoever polls may be processor 0, which then does nothing else. */
static void poll(struct block_device *b, const void *owner)
{
    (void)attend(CONTAINER_OF(b, struct disk, block)->unit, owner);
}

static const struct block_ops block_ops = {submit, poll};

uint64_t disks_work(void)
{
    uint64_t wake = UINT64_MAX, now;

    for (struct disk_unit *u = units; u; u = u->next) {
        if (!__atomic_exchange_n(&u->in_use, 0, __ATOMIC_ACQ_REL) && state_of(u) != DISK_RESETS)
            continue;
        if (!attend(u, EVERYONE))
            continue;
        __atomic_store_n(&u->in_use, 1, __ATOMIC_RELEASE);
        now = rdtsc();
        wake = MIN(wake, now + tsc_hz / (state_of(u) == DISK_RESETS ? STEP_HZ
                                         : u->interrupting          ? LOOK_HZ
                                                                    : POLL_HZ));
    }
    return wake;
}

void disks_set_attention(void (*fn)(void))
{
    attention = fn;
}

/* --- which there are --- */

int disk_unit_init(struct disk_unit *u, const struct disk_ops *ops, unsigned queues, unsigned depth)
{
    u->queues = heap_alloc(queues * sizeof(*u->queues));
    if (!u->queues)
        return -ENOMEM;
    u->ops = ops;
    u->queue_count = queues;
    for (unsigned i = 0; i < queues; i++) {
        struct disk_queue *q = &u->queues[i];

        spin_init(&q->lock, RANK_DISK);
        q->unit = u;
        q->number = i;
        q->depth = depth;
    }
    return 0;
}

void disk_unit_add(struct disk_unit *u)
{
    *units_end = u;
    units_end = &u->next;
}

int disk_add(struct disk_unit *u, struct disk *d)
{
    if (disk_count == DISKS_MAX) {
        log_warn("%s: beyond the first %u drives none is used", d->block.name, DISKS_MAX);
        return -ENOSPC;
    }
    d->unit = u;
    d->block.ops = &block_ops;
    if (u->dma)
        d->block.highest_address = MIN(d->block.highest_address, u->dma->highest);
    disks[disk_count++] = d;
    return 0;
}

struct disk *disk_get(unsigned index)
{
    return index < disk_count ? disks[index] : NULL;
}

/* --- what they have done --- */

void disk_queue_stats(const struct disk *d, unsigned queue, struct disk_stats *out)
{
    struct disk_queue *q = &d->unit->queues[queue];

    *out = (struct disk_stats){0};
    spin_lock(&q->lock);
    out->counts = d->counts[queue];
    for (unsigned slot = 0; slot < q->depth; slot++)
        out->given += q->slots[slot].request && disk_of(q->slots[slot].request) == d;
    for (const struct block_request *r = q->first; r; r = r->next)
        out->waiting += disk_of(r) == d;
    spin_unlock(&q->lock);
    out->requests = out->counts.errors;
    for (unsigned op = 0; op < BLOCK_OPS; op++)
        out->requests += out->counts.done[op];
}

static void add(struct disk_stats *sum, const struct disk_stats *s)
{
    sum->counts.ticks += s->counts.ticks;
    sum->counts.longest = MAX(sum->counts.longest, s->counts.longest);
    for (unsigned i = 0; i < ARRAY_SIZE(sum->counts.sectors); i++)
        sum->counts.sectors[i] += s->counts.sectors[i];
    for (unsigned op = 0; op < BLOCK_OPS; op++)
        sum->counts.done[op] += s->counts.done[op];
    sum->counts.errors += s->counts.errors;
    sum->counts.retries += s->counts.retries;
    sum->requests += s->requests;
    sum->given += s->given;
    sum->waiting += s->waiting;
}

void disk_stats(const struct disk *d, struct disk_stats *out)
{
    *out = (struct disk_stats){0};
    for (unsigned i = 0; i < d->unit->queue_count; i++) {
        struct disk_stats s;

        disk_queue_stats(d, i, &s);
        add(out, &s);
    }
}

/* --- for start-up --- */

struct waiting {
    struct block_request *asked, copy;
    bool back;
    int error;
};

static void is_back(struct block_request *r, int error)
{
    struct waiting *w = CONTAINER_OF(r, struct waiting, copy);

    w->error = error;
    __atomic_store_n(&w->back, true, __ATOMIC_RELEASE);
}

int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void))
{
    struct waiting w = {.asked = r, .copy = *r};

    w.copy.done = is_back;
    block_submit(d, &w.copy);
    while (!__atomic_load_n(&w.back, __ATOMIC_ACQUIRE)) {
        (void)disks_work();
        if (!__atomic_load_n(&w.back, __ATOMIC_ACQUIRE))
            wait();
    }
    return w.error;
}
