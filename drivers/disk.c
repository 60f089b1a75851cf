/* Units: what is reset at once, and looked after. See disk.h. */
#include "drivers/disk_internal.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "mm/heap.h"

#define LOOK_HZ     1    /* how often a drive that interrupts is looked at while something waits */
#define POLL_HZ     5000 /* and one that does not */
#define STEP_HZ     1000 /* steps of a reset */
#define IN_VAIN_MAX 3

static struct disk *disks[DISKS_MAX];
static unsigned disk_count;
static struct disk_unit *units, **units_end = &units;
static void (*attention)(void);

static void set_state(struct disk_unit *u, enum disk_state state)
{
    __atomic_store_n(&u->state, state, __ATOMIC_SEQ_CST);
}

void disk_call_attention(void)
{
    if (attention)
        attention();
}

void disks_strayed(const struct host_pci *p)
{
    for (struct disk_unit *u = units; u; u = u->next)
        if (u->pci == p) {
            __atomic_store_n(&u->strayed, 1, __ATOMIC_RELEASE);
            __atomic_store_n(&u->in_use, 1, __ATOMIC_RELEASE);
        }
    disk_call_attention();
}

/* --- looking after a unit: processor 0, or who polls --- */

static void begin_reset(struct disk_unit *u, const void *who)
{
    u->resets++;
    set_state(u, DISK_RESETS);
    u->reset_until = rdtsc() + RESET_SECONDS * tsc_hz;
    for (unsigned i = 0; i < u->queue_count; i++)
        disk_queue_stop(&u->queues[i], who); /* from here on nobody else calls the driver */
}

/* Whatever the hardware made of cut(): with the last unit of its function that is no bus master. */
static void cut_function(const struct disk_unit *u)
{
    for (const struct disk_unit *other = units; other; other = other->next)
        if (other != u && other->pci == u->pci && disk_state(other) != DISK_LOST)
            return;
    if (u->master_off)
        u->master_off(u->pci);
}

static void end_unit(struct disk_unit *u, const void *who)
{
    u->ops->cut(u);
    set_state(u, DISK_LOST);
    cut_function(u);
    for (unsigned n = 0; n < disk_count; n++)
        if (disks[n]->unit == u)
            disk_lose(disks[n]);
    for (unsigned i = 0; i < u->queue_count; i++)
        disk_queue_fail(&u->queues[i], who);
}

static void end_reset(struct disk_unit *u, const void *who)
{
    /* As long as no queue runs nobody else says anything; then it is about the next reset. */
    bool doubt = __atomic_exchange_n(&u->doubt, false, __ATOMIC_RELAXED);

    set_state(u, DISK_RUNS);
    __atomic_store_n(&u->wanted, 0, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < u->queue_count; i++)
        disk_queue_go_on(&u->queues[i], doubt, who);
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
    for (unsigned i = 0; i < u->queue_count; i++)
        disk_queue_give_rest(&u->queues[i], who);
}

/* Returns whether something is still under way. */
static bool look_after(struct disk_unit *u, const void *who)
{
    struct disk_lateness found = {false, false, false};
    bool wanted, strayed, late, busy = false;

    if (disk_state(u) == DISK_LOST) {
        give_rest(u, who);
        return false;
    }
    if (disk_state(u) == DISK_RESETS) {
        reset_some(u, false, who);
        give_rest(u, who);
        return true;
    }
    for (unsigned i = 0; i < u->queue_count; i++) {
        disk_queue_look(&u->queues[i], false, who);
        busy |= disk_queue_late(&u->queues[i], &found, who);
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
    return disk_state(u) != DISK_LOST;
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

static const struct block_ops block_ops = {disk_queue_submit, poll};

uint64_t disks_work(void)
{
    uint64_t wake = UINT64_MAX, now;

    for (struct disk_unit *u = units; u; u = u->next) {
        if (!__atomic_exchange_n(&u->in_use, 0, __ATOMIC_ACQ_REL) && disk_state(u) != DISK_RESETS)
            continue;
        if (!attend(u, DISK_EVERYONE))
            continue;
        __atomic_store_n(&u->in_use, 1, __ATOMIC_RELEASE);
        now = rdtsc();
        wake = MIN(wake, now + tsc_hz / (disk_state(u) == DISK_RESETS ? STEP_HZ
                                         : u->interrupting            ? LOOK_HZ
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
