#include "drivers/nvme.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

#define CAP           0x00
#define CAP_TO(c)     ((c) >> 24 & 0xff) /* in 500 ms */
#define CAP_STRIDE(c) ((c) >> 32 & 0xf)
#define CAP_NVM(c)    ((c) >> 37 & 1)
#define CAP_MPSMIN(c) ((c) >> 48 & 0xf)
#define CAP_DEPTH(c)  (((c)&0xffff) + 1)
#define CC            0x14
#define CC_ENABLE     1u
#define CC_VALUE      (CC_ENABLE | 6u << 16 | 4u << 20) /* entries of 64, 16 bytes, pages of 4 KiB */
#define CSTS          0x1c
#define CSTS_READY    1u
#define CSTS_FATAL    2u
#define AQA           0x24
#define ASQ           0x28
#define ACQ           0x30
#define DOORBELLS     0x1000

#define ADMIN_CREATE_SQ    0x01
#define ADMIN_CREATE_CQ    0x05
#define ADMIN_IDENTIFY     0x06
#define ADMIN_SET_FEATURES 0x09
#define FEATURE_QUEUES     0x07
#define IO_FLUSH           0x00
#define IO_WRITE           0x01
#define IO_READ            0x02
#define FUA                BIT(30)

#define STATUS(dw3)  ((dw3) >> 17 & 0x7ff) /* code and type */
#define DO_NOT_RETRY BIT(31)
#define TYPE_MEDIA   2
#define ADMIN_MS     5000

struct PACKED command {
    uint32_t opcode, nsid; /* opcode: the identifier is its upper half */
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};
_Static_assert(sizeof(struct command) == 64, "NVMe");

struct completion {
    uint32_t result, reserved, queue, status;
};

/* --- queues --- */

static void ring(const struct nvme *n, unsigned queue, bool completions, uint16_t value)
{
    io_write32(&n->registers, DOORBELLS + (2 * queue + completions) * n->stride, value);
}

/* Put a command into a queue; slot names it. */
static void give(struct nvme *n, unsigned queue, unsigned slot, struct command *c)
{
    struct nvme_queue *q = &n->queue[queue];
    uint16_t id = (uint16_t)(slot | (unsigned)++q->generation[slot] << 8);

    c->opcode |= (uint32_t)id << 16;
    memcpy(q->submissions + q->tail * sizeof(*c), c, sizeof(*c));
    q->tail = (uint16_t)((q->tail + 1) % NVME_DEPTH);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    ring(n, queue, false, q->tail);
}

/* The next answer: its slot, or -EAGAIN; -EINVAL for an answer to nothing. */
static int take(struct nvme *n, unsigned queue, struct completion *out)
{
    struct nvme_queue *q = &n->queue[queue];
    const volatile struct completion *at =
        (const volatile struct completion *)(q->completions + q->head * sizeof(*out));
    unsigned slot;

    out->status = at->status;
    if ((out->status >> 16 & 1) != q->phase)
        return -EAGAIN;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    out->result = at->result;
    q->head = (uint16_t)((q->head + 1) % NVME_DEPTH);
    q->phase ^= q->head == 0;
    slot = out->status & 0xff;
    if (slot >= NVME_DEPTH || q->generation[slot] != (uint8_t)(out->status >> 8))
        return -EINVAL;
    q->generation[slot]++; /* a second answer is not this one's */
    return (int)slot;
}

static void clear_queue(struct nvme_queue *q)
{
    q->tail = q->head = 0;
    q->phase = 1;
    memset(q->completions, 0, PAGE_SIZE);
}

/* --- I/O --- */

/*
 * Where the data is: the first page, and the second or a list of all others ("Physical Region Page
 * Entry and List"). Pieces join at borders of pages only: the block device says so.
 */
static int make_prps(const struct nvme *n, unsigned queue, unsigned slot,
                     const struct block_request *r, struct command *c)
{
    const struct nvme_queue *q = &n->queue[queue];
    uint64_t *list = (uint64_t *)(q->lists + slot * NVME_LIST);
    unsigned pages = 0;

    for (unsigned i = 0; i < r->count; i++) {
        paddr at = r->segments[i].address, end = at + r->segments[i].length;

        if ((i && at % PAGE_SIZE) || (i + 1u < r->count && end % PAGE_SIZE) || at % 4)
            return -EINVAL;
        for (; at < end; at = ALIGN_DOWN(at, PAGE_SIZE) + PAGE_SIZE, pages++) {
            if (pages > NVME_MAX_PAGES)
                return -EINVAL;
            if (!pages)
                c->prp1 = at;
            else
                list[pages - 1] = at;
        }
    }
    if (pages == 2)
        c->prp2 = list[0];
    else if (pages > 2)
        c->prp2 = q->lists_at + slot * NVME_LIST;
    return 0;
}

static int start(struct disk_queue *q, unsigned slot)
{
    struct nvme *n = CONTAINER_OF(q->unit, struct nvme, unit);
    const struct block_request *r = q->slots[slot].request;
    const struct disk *d = disk_of(r);
    uint64_t block = r->sector >> d->sector_shift;
    struct command c = {.opcode = r->op == BLOCK_FLUSH   ? IO_FLUSH
                                  : r->op == BLOCK_WRITE ? IO_WRITE
                                                         : IO_READ,
                        .nsid = d->id};

    if (r->op != BLOCK_FLUSH) {
        if (make_prps(n, q->number + 1, slot, r, &c))
            return -EINVAL;
        c.dw10 = (uint32_t)block;
        c.dw11 = (uint32_t)(block >> 32);
        c.dw12 = (r->sectors >> d->sector_shift) - 1;
        if (r->op == BLOCK_WRITE && (r->flags & BLOCK_FUA))
            c.dw12 |= (uint32_t)FUA;
    }
    give(n, q->number + 1, slot, &c);
    return 0;
}

static int outcome(uint32_t status)
{
    if (!STATUS(status))
        return 0;
    if (STATUS(status) >> 8 == TYPE_MEDIA || (status & DO_NOT_RETRY))
        return -EIO;
    return -EAGAIN;
}

static void collect(struct disk_queue *q)
{
    struct nvme *n = CONTAINER_OF(q->unit, struct nvme, unit);
    struct completion done;
    bool any = false;
    int slot;

    for (unsigned i = 0; i < NVME_DEPTH && (slot = take(n, q->number + 1, &done)) != -EAGAIN; i++) {
        any = true;
        disk_finish(q, slot < 0 ? DISK_SLOTS : (unsigned)slot, outcome(done.status));
    }
    if (any)
        ring(n, q->number + 1, true, n->queue[q->number + 1].head);
    else if (io_read32(&n->registers, CSTS) & CSTS_FATAL)
        disk_want_reset(q, true); /* or it has gone: then all bits are set */
}

/* --- the controller: off, on, queues --- */

enum step { DISABLE, DISABLED, ENABLED, COUNTED, MAKING, DONE };

static void next(struct nvme *n, enum step step, unsigned ms)
{
    n->step = (uint8_t)step;
    n->step_until = rdtsc() + tsc_hz / 1000 * ms;
}

/* The admin queue has one command under way at a time. */
static void ask(struct nvme *n, struct command *c)
{
    give(n, 0, 0, c);
}

/* 0; -EAGAIN: not yet; -EIO: the controller has refused it. */
static int answered(struct nvme *n, uint32_t *result)
{
    struct completion done;
    int slot = take(n, 0, &done);

    if (slot == -EAGAIN)
        return -EAGAIN;
    ring(n, 0, true, n->queue[0].head);
    if (slot < 0)
        return -EAGAIN;
    *result = done.result;
    return STATUS(done.status) ? -EIO : 0;
}

/* For each queue first the half that completes. */
static void make_next(struct nvme *n)
{
    unsigned id = n->making / 2;
    const struct nvme_queue *q = &n->queue[id];
    bool submissions = n->making & 1;
    struct command c = {.opcode = submissions ? ADMIN_CREATE_SQ : ADMIN_CREATE_CQ,
                        .prp1 = submissions ? q->submissions_at : q->completions_at,
                        .dw10 = (NVME_DEPTH - 1) << 16 | id,
                        .dw11 = 1};

    if (submissions)
        c.dw11 |= id << 16;
    else
        c.dw11 |= 2 | (n->vectors ? id << 16 : 0); /* interrupts on */
    ask(n, &c);
}

static int set_up_admin(struct nvme *n)
{
    uint64_t cap = io_read64(&n->registers, CAP);

    if (!CAP_NVM(cap) || CAP_MPSMIN(cap) || CAP_DEPTH(cap) < NVME_DEPTH)
        return -ENOTSUP;
    n->stride = 4u << CAP_STRIDE(cap);
    if (DOORBELLS + 2ull * (n->queues + 1) * n->stride > n->registers.size)
        return -ENOTSUP;
    for (unsigned i = 0; i <= n->queues; i++)
        clear_queue(&n->queue[i]);
    io_write32(&n->registers, AQA, (NVME_DEPTH - 1) << 16 | (NVME_DEPTH - 1));
    io_write64(&n->registers, ASQ, n->queue[0].submissions_at);
    io_write64(&n->registers, ACQ, n->queue[0].completions_at);
    io_write32(&n->registers, CC, CC_VALUE);
    return 0;
}

static int step(struct nvme *n)
{
    uint32_t csts = io_read32(&n->registers, CSTS), result;
    struct command c = {.opcode = ADMIN_SET_FEATURES, .dw10 = FEATURE_QUEUES};
    int error;

    if (csts == UINT32_MAX)
        return -ENODEV;
    switch ((enum step)n->step) {
    case DISABLE: /* whether it is ready or not: some never are */
        n->ready_ms = 500 * (unsigned)CAP_TO(io_read64(&n->registers, CAP)) + 500;
        io_write32(&n->registers, CC, io_read32(&n->registers, CC) & ~CC_ENABLE);
        next(n, DISABLED, n->ready_ms);
        return -EAGAIN;
    case DISABLED:
        if (csts & CSTS_READY)
            return rdtsc() < n->step_until ? -EAGAIN : -EIO;
        error = set_up_admin(n);
        if (error)
            return error;
        next(n, ENABLED, n->ready_ms);
        return -EAGAIN;
    case ENABLED:
        if (csts & CSTS_FATAL)
            return -EIO;
        if (!(csts & CSTS_READY))
            return rdtsc() < n->step_until ? -EAGAIN : -EIO;
        c.dw11 = (n->queues - 1) << 16 | (n->queues - 1);
        ask(n, &c);
        next(n, COUNTED, ADMIN_MS);
        return -EAGAIN;
    case COUNTED:
        error = answered(n, &result);
        if (error)
            return rdtsc() < n->step_until ? error : -EIO;
        result = MIN(result & 0xffff, result >> 16) + 1;
        if (n->unit.queues && result < n->queues)
            return -EIO; /* once it gave more */
        n->queues = MIN(n->queues, result);
        n->making = 2;
        make_next(n);
        next(n, MAKING, ADMIN_MS);
        return -EAGAIN;
    case MAKING:
        error = answered(n, &result);
        if (error)
            return rdtsc() < n->step_until ? error : -EIO;
        if (++n->making / 2 > n->queues) {
            n->step = DONE;
            return 0;
        }
        make_next(n);
        next(n, MAKING, ADMIN_MS);
        return -EAGAIN;
    case DONE:
        return 0;
    }
    return -EIO;
}

static int reset(struct disk_unit *u, bool begin)
{
    struct nvme *n = CONTAINER_OF(u, struct nvme, unit);

    if (begin)
        n->step = DISABLE;
    return step(n);
}

void nvme_stop(const struct nvme *n)
{
    uint64_t until = rdtsc() + tsc_hz;

    io_write32(&n->registers, CC, io_read32(&n->registers, CC) & ~CC_ENABLE);
    while ((io_read32(&n->registers, CSTS) & CSTS_READY) && rdtsc() < until)
        ;
}

static void cut(struct disk_unit *u)
{
    nvme_stop(CONTAINER_OF(u, struct nvme, unit));
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- what it has --- */

static int do_admin(struct nvme *n, struct command *c)
{
    uint64_t until = rdtsc() + tsc_hz / 1000 * ADMIN_MS;
    uint32_t result;
    int error;

    ask(n, c);
    while ((error = answered(n, &result)) == -EAGAIN)
        if (rdtsc() >= until)
            return -ETIMEDOUT;
    return error;
}

static int identify(struct nvme *n, uint32_t what, uint32_t nsid)
{
    struct command c = {.opcode = ADMIN_IDENTIFY, .nsid = nsid, .prp1 = n->page_at, .dw10 = what};

    memset(n->page, 0, PAGE_SIZE);
    return do_admin(n, &c);
}

/* Without blanks at the end; printable. */
static void text(const uint8_t *from, unsigned size, char *out)
{
    unsigned end = 0;

    for (unsigned i = 0; i < size; i++) {
        out[i] = (char)(from[i] < 0x20 || from[i] > 0x7e ? ' ' : from[i]);
        if (out[i] != ' ')
            end = i + 1;
    }
    out[end] = 0;
}

static void read_controller(struct nvme *n)
{
    unsigned most = n->page[77]; /* a power of two of pages; 0: no limit */

    text(n->page + 4, 20, n->serial);
    text(n->page + 24, 40, n->model);
    n->has_cache = n->page[525] & 1;
    n->max_sectors = (NVME_MAX_PAGES - 1) * (PAGE_SIZE / BLOCK_SECTOR); /* begins within a page */
    if (most && most < 8)
        n->max_sectors = MIN(n->max_sectors, (uint32_t)(PAGE_SIZE / BLOCK_SECTOR) << most);
}

static int add_namespace(struct nvme *n, struct nvme_namespace *ns, uint32_t nsid, const char *name)
{
    const uint8_t *page = n->page;
    uint32_t lbaf;
    uint64_t blocks;
    unsigned shift, format_index = page[26] & 0xf;
    struct block_device *b = &ns->disk.block;
    int error;

    memcpy(&blocks, page, 8);
    memcpy(&lbaf, page + 128 + 4 * format_index, 4);
    shift = lbaf >> 16 & 0xff;
    format(b->name, sizeof(b->name), "%sn%u", name, nsid);
    if (!blocks || blocks > BIT(50) || (lbaf & 0xffff) || (shift != 9 && shift != 12))
        return -ENOTSUP;
    memcpy(b->serial, n->serial, sizeof(b->serial));
    memcpy(ns->disk.model, n->model, sizeof(ns->disk.model));
    ns->disk.how = "NVMe";
    ns->disk.id = nsid;
    ns->disk.sector_shift = (uint8_t)(shift - 9);
    b->sectors = blocks << (shift - 9);
    b->logical_block = b->physical_block = 1u << shift;
    b->max_sectors = n->max_sectors;
    b->max_segments = NVME_MAX_PAGES;
    b->segment_align = 4;
    b->no_gaps = true;
    b->highest_address = UINT64_MAX;
    b->has_flush = n->has_cache;
    b->has_fua = true;
    error = disk_add(&n->unit, &ns->disk);
    ns->present = !error;
    return error;
}

static int find_namespaces(struct nvme *n, const char *name,
                           struct nvme_namespace *(*namespace_of)(void))
{
    uint32_t ids[NVME_NAMESPACES];
    int error = identify(n, 2, 0); /* those in use, in order; 0 ends them */

    if (error)
        return error;
    memcpy(ids, n->page, sizeof(ids));
    /* From here on there may be disks, which need a controller that is looked after. */
    for (unsigned i = 0; i < NVME_NAMESPACES && ids[i] && error != -ETIMEDOUT; i++) {
        error = identify(n, 0, ids[i]);
        if (!error) {
            n->namespaces[i] = namespace_of();
            error = n->namespaces[i] ? add_namespace(n, n->namespaces[i], ids[i], name) : -ENOMEM;
        }
        if (error)
            log_warn("%sn%u: a namespace that cannot be used (error %d)", name, ids[i], -error);
    }
    if (error == -ETIMEDOUT) /* it may answer yet, to what is asked next */
        log_warn("%s: namespaces behind that one are not looked for", name);
    return 0;
}

int nvme_init(struct nvme *n, const char *name, struct nvme_namespace *(*namespace_of)(void))
{
    int error;

    format(n->unit.name, sizeof(n->unit.name), "%s", name);
    n->step = DISABLE;
    while ((error = step(n)) == -EAGAIN)
        tsc_delay_us(10);
    if (!error)
        error = identify(n, 1, 0);
    if (!error)
        read_controller(n);
    if (!error)
        error = disk_unit_init(&n->unit, &ops, n->queues, NVME_DEPTH - 1);
    if (!error)
        error = find_namespaces(n, name, namespace_of);
    if (error) {
        cut(&n->unit);
        return error;
    }
    disk_unit_add(&n->unit);
    return 0;
}
