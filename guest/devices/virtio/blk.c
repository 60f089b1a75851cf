/* virtio-blk (Virtio 1.2, "Block Device") over a block device. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/config/disk.h"
#include "guest/devices/disk.h"
#include "guest/devices/virtio/virtio.h"
#include "mm/heap.h"

#define TYPE  2
#define CLASS 0x018000 /* mass storage, of no other kind */

/* Feature bits. */
#define F_SEG_MAX      BIT(2)
#define F_RO           BIT(5)
#define F_BLK_SIZE     BIT(6)
#define F_FLUSH        BIT(9)
#define F_TOPOLOGY     BIT(10)
#define F_MQ           BIT(12)
#define F_DISCARD      BIT(13)
#define F_WRITE_ZEROES BIT(14)

/* "Device configuration layout" */
struct blk_config {
    uint64_t capacity;
    uint32_t size_max, seg_max;
    uint16_t cylinders;
    uint8_t heads, geometry_sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp, alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback, unused;
    uint16_t num_queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused2[3];
} PACKED;
_Static_assert(sizeof(struct blk_config) == 60 && sizeof(struct blk_config) <= VIRTIO_CONFIG_SIZE,
               "Virtio: struct virtio_blk_config");

/* "Device Operation" */
enum { T_IN, T_OUT, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };
struct header {
    uint32_t type, reserved;
    uint64_t sector;
} PACKED;
struct range {
    uint64_t sector;
    uint32_t sectors, flags;
} PACKED;
#define RANGE_UNMAP BIT(0)
#define ID_SIZE     20
_Static_assert(ID_SIZE == DEVICE_SERIAL, "Virtio: VIRTIO_BLK_T_GET_ID");

#define QUEUES          16
#define REQUESTS        64 /* in flight, at most */
#define AT_ONCE         64 /* that are begun before the timer comes */
#define SECTORS_AT_ONCE (2 * MIB / BLOCK_SECTOR)
#define STUCK_HZ        1000 /* how often it tries where guest memory is pinned by others */

struct request {
    struct disk_request disk;
    struct request *next_free;
    uint16_t queue, id, slots;
    uint64_t status; /* gpa of its byte */
    struct disk_segment data[VIRTQ_MAX_CHAIN];
};

struct blk {
    struct virtio virtio; /* first */
    struct disk_io disk;
    struct request *requests, *free;
    uint32_t returned; /* queues in which something has been returned: a bit each */
    uint32_t waiting;  /* queues that are to be looked at again */
    uint32_t left;     /* requests that may be begun before the timer comes */
    struct device_disk source;
    struct virtq_chain chain; /* the one being looked at */
};

static struct blk *blk_of(struct device *d)
{
    return CONTAINER_OF(d, struct blk, virtio.dev);
}

/* --- giving back --- */

static void give_back(struct blk *b, struct request *r, uint8_t status, uint32_t written)
{
    struct virtq *q = &b->virtio.queue[r->queue];

    r->next_free = b->free;
    b->free = r;
    if (!virtio_running(&b->virtio))
        return; /* it was reset meanwhile: nothing of the guest's is touched */
    if (device_memory_write(&b->virtio.dev, r->status, &status, 1) < 0)
        q->broken = true;
    virtq_return_id(q, r->id, r->slots, written + 1);
    b->returned |= 1u << r->queue;
}

/* What the block device is never asked for. */
static void refuse(struct blk *b, struct request *r, uint8_t status)
{
    b->source.counts->errors++;
    give_back(b, r, status, 0);
}

static void finished(struct disk_io *d, struct disk_request *dr, int error)
{
    struct blk *b = CONTAINER_OF(d, struct blk, disk);
    struct request *r = CONTAINER_OF(dr, struct request, disk);

    /* "Device Operation": where the driver knows of no FLUSH a write is stable when it is back. */
    if (error == 0 && dr->op != BLOCK_READ && dr->op != BLOCK_FLUSH &&
        (b->virtio.offered & ~b->virtio.accepted & F_FLUSH) && virtio_running(&b->virtio)) {
        dr->op = BLOCK_FLUSH;
        disk_submit(d, dr);
        return;
    }
    give_back(b, r,
              error == 0          ? S_OK
              : error == -ENOTSUP ? S_UNSUPP
                                  : S_IOERR,
              error == 0 && dr->op == BLOCK_READ ? dr->sectors * BLOCK_SECTOR : 0);
}

/* Interrupts for what has been returned. */
static void tell(struct blk *b)
{
    for (uint32_t queues = b->returned; queues; queues &= queues - 1)
        virtio_returned(&b->virtio, (unsigned)__builtin_ctz(queues));
    b->returned = 0;
}

/* --- what a chain asks --- */

/* The segments from first to end, less `skip` bytes at their start and `drop` at their end, become
 * the request's data. How long they are. */
static uint64_t take_data(struct blk *b, struct request *r, unsigned first, unsigned end,
                          uint32_t skip, uint32_t drop)
{
    uint64_t sum = 0;

    r->disk.segments = r->data;
    r->disk.count = 0;
    for (unsigned i = first; i < end; i++) {
        const struct virtq_segment *s = &b->chain.segment[i];
        uint32_t from = MIN(skip, s->length);
        uint32_t length = s->length - from - (i + 1 == end ? MIN(drop, s->length - from) : 0);

        skip -= from;
        if (length == 0)
            continue;
        r->data[r->disk.count++] = (struct disk_segment){s->gpa + from, length};
        sum += length;
    }
    return sum;
}

static void transfer(struct blk *b, struct request *r, const struct header *h)
{
    const struct virtq_chain *c = &b->chain;
    uint64_t size = h->type == T_IN ? take_data(b, r, c->readable, c->count, 0, 1)
                                    : take_data(b, r, 0, c->readable, sizeof(*h), 0);

    if (size == 0 || size % BLOCK_SECTOR) {
        refuse(b, r, S_IOERR);
        return;
    }
    if (h->type == T_OUT && b->source.read_only) {
        refuse(b, r, S_IOERR);
        return;
    }
    r->disk.op = h->type == T_IN ? BLOCK_READ : BLOCK_WRITE;
    r->disk.flags = 0;
    r->disk.sector = h->sector;
    r->disk.sectors = (uint32_t)(size / BLOCK_SECTOR);
    disk_submit(&b->disk, &r->disk);
}

/* One range, as max_discard_seg and max_write_zeroes_seg say. */
static void clear_range(struct blk *b, struct request *r, const struct header *h)
{
    struct virtq *q = &b->virtio.queue[r->queue];
    struct range range;
    uint8_t more;

    if (!virtq_read(q, &b->chain, sizeof(*h), &range, sizeof(range)) ||
        virtq_read(q, &b->chain, sizeof(*h) + sizeof(range), &more, 1)) {
        refuse(b, r, S_IOERR);
        return;
    }
    if (b->source.read_only) {
        refuse(b, r, S_IOERR);
        return;
    }
    if (range.flags & ~(h->type == T_WRITE_ZEROES ? RANGE_UNMAP : 0)) {
        refuse(b, r, S_UNSUPP);
        return;
    }
    r->disk.op = h->type == T_DISCARD ? BLOCK_DISCARD : BLOCK_WRITE_ZEROES;
    r->disk.flags = range.flags & RANGE_UNMAP ? BLOCK_UNMAP : 0;
    r->disk.sector = range.sector;
    r->disk.sectors = range.sectors;
    disk_submit(&b->disk, &r->disk);
}

static void flush(struct blk *b, struct request *r)
{
    r->disk.op = BLOCK_FLUSH;
    r->disk.flags = 0;
    r->disk.sector = r->disk.sectors = 0;
    disk_submit(&b->disk, &r->disk);
}

/* The serial number, without a final zero when it is as long as can be. */
static void get_id(struct blk *b, struct request *r)
{
    uint64_t size = take_data(b, r, b->chain.readable, b->chain.count, 0, 1);
    uint32_t n = 0;

    if (size < ID_SIZE) {
        refuse(b, r, S_IOERR);
        return;
    }
    for (unsigned i = 0; n < ID_SIZE; i++) {
        uint32_t length = MIN(ID_SIZE - n, r->data[i].length);
        if (device_memory_write(&b->virtio.dev, r->data[i].gpa, b->source.serial + n, length) < 0) {
            refuse(b, r, S_IOERR);
            return;
        }
        n += length;
    }
    give_back(b, r, S_OK, ID_SIZE);
}

/* The chain that was taken last, for which there is a request. False: it has no place for an
 * answer. */
static bool begin(struct blk *b, unsigned queue)
{
    const struct virtq_chain *c = &b->chain;
    struct request *r = b->free;
    struct header h;

    if (c->readable == 0 || c->readable == c->count)
        return false;
    if (LIKELY(c->segment[0].length >= sizeof(h))
            ? device_memory_read(&b->virtio.dev, c->segment[0].gpa, &h, sizeof(h)) < 0
            : !virtq_read(&b->virtio.queue[queue], c, 0, &h, sizeof(h)))
        return false;
    b->free = r->next_free;
    r->queue = (uint16_t)queue;
    r->id = c->id;
    r->slots = c->slots;
    r->status = c->segment[c->count - 1].gpa + c->segment[c->count - 1].length - 1;
    switch (h.type) {
    case T_IN:
    case T_OUT:
        transfer(b, r, &h);
        break;
    case T_FLUSH:
        flush(b, r);
        break;
    case T_GET_ID:
        get_id(b, r);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        clear_range(b, r, &h);
        break;
    default:
        refuse(b, r, S_UNSUPP);
    }
    return true;
}

/* --- queues --- */

static bool may_begin(const struct blk *b)
{
    return b->free && b->left > 0 && b->disk.left > 0;
}

/* Begin what is in the queue, as far as there are requests and as long as the guest may be kept
 * waiting; the rest later. Where a chain came alone, the driver notifies of the next: to tell it
 * that it need not, and to look for more, would cost more. */
static void process(struct blk *b, unsigned queue)
{
    struct virtq *q = &b->virtio.queue[queue];
    unsigned looks = 0; /* what has been offered may be taken back each time */
    bool more;
    int result;

    do {
        result = 0;
        more = true;
        while (more && may_begin(b) && (result = virtq_next(q, &b->chain)) > 0) {
            b->left--;
            if (!begin(b, queue))
                q->broken = true;
            more = virtq_more(q);
            if (more)
                virtq_silence(q);
        }
        if (result < 0 || q->broken) {
            virtio_broken(&b->virtio);
            return;
        }
        if ((result > 0 && more) || !may_begin(b) || looks++ == AT_ONCE) {
            virtq_silence(q);
            b->waiting |= 1u << queue;
            break;
        }
    } while (virtq_may_miss(q) && virtq_listen(q));
    if (q->broken)
        virtio_broken(&b->virtio);
}

/* At queues that wait, and at what has been begun; for those that wait for a request, when one
 * comes back. */
static void look_again(struct blk *b)
{
    struct device *d = &b->virtio.dev;

    if ((b->waiting && b->free) || (b->disk.waiting && b->disk.left == 0))
        device_timer_set(d, 0, device_now(d));
    else if (disk_stuck(&b->disk))
        device_timer_set(d, 0, device_now(d) + device_tsc_hz(d) / STUCK_HZ);
}

/* However often the guest asks for it in one exit, what it may keep the processor busy with is
 * renewed by the timer alone, which is looked at once between two exits. */
static void process_some(struct blk *b, uint32_t queues)
{
    b->waiting &= ~queues;
    for (; queues; queues &= queues - 1) {
        unsigned queue = (unsigned)__builtin_ctz(queues);
        if (virtio_running(&b->virtio) && b->virtio.queue[queue].enabled)
            process(b, queue);
    }
    tell(b);
    look_again(b);
}

static void notify(struct virtio *v, unsigned queue)
{
    process_some(blk_of(&v->dev), 1u << queue);
}

static void go_on(struct blk *b)
{
    b->left = AT_ONCE;
    disk_go_on(&b->disk, SECTORS_AT_ONCE);
    process_some(b, b->waiting);
}

static void timer(struct device *d, unsigned number, uint64_t now)
{
    go_on(blk_of(d));
}

static void settled(struct disk_io *d)
{
    go_on(CONTAINER_OF(d, struct blk, disk));
}

static void stop(struct virtio *v)
{
    struct blk *b = blk_of(&v->dev);

    b->waiting = b->returned = 0;
    disk_stop(&b->disk, true);
}

static bool idle(struct virtio *v)
{
    struct blk *b = blk_of(&v->dev);

    if (!disk_idle(&b->disk))
        return false;
    disk_stop(&b->disk, false);
    tell(b);
    look_again(b);
    return true;
}

static const struct virtio_ops blk_ops = {
    .type = TYPE,
    .class = CLASS,
    .notify = notify,
    .stop = stop,
    .idle = idle,
};

/* --- life --- */

static void save(struct device *d, struct state_writer *w)
{
    virtio_save(d, w);
    state_put_u32(w, blk_of(d)->waiting);
}

static int load(struct device *d, struct state_reader *r)
{
    struct blk *b = blk_of(d);
    int error = virtio_load(d, r);

    b->returned = 0;
    b->waiting = state_get_u32(r) & ((1u << b->virtio.queue_count) - 1);
    look_again(b);
    return error;
}

static const struct device_ops device_ops = {
    .name = "virtio-blk",
    .version = 1,
    .mmio_read = virtio_mmio_read,
    .mmio_write = virtio_mmio_write,
    .port_read = virtio_port_read,
    .port_write = virtio_port_write,
    .timer = timer,
    .idle = virtio_idle,
    .reset = virtio_reset,
    .save = save,
    .load = load,
};

static void fill_config(struct blk *b)
{
    const struct block_device *block = b->source.block;
    bool read_only = b->source.read_only || block->read_only;
    unsigned unit = block->logical_block / BLOCK_SECTOR;
    struct blk_config c = {
        .capacity = block->sectors,
        .seg_max = VIRTQ_MAX_CHAIN - 2,
        .blk_size = block->logical_block,
        .physical_block_exp = (uint8_t)__builtin_ctz(block->physical_block / block->logical_block),
        .min_io_size = 1,
        .num_queues = QUEUES,
        .max_discard_sectors = block->discard_sectors,
        .max_discard_seg = 1,
        .discard_sector_alignment = unit,
        .max_write_zeroes_sectors = block->write_zeroes_sectors,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = 1,
    };
    struct virtio *v = &b->virtio;

    v->offered = VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC |
                 VIRTIO_F_EVENT_IDX | F_SEG_MAX | F_BLK_SIZE | F_TOPOLOGY | F_MQ;
    if (read_only)
        v->offered |= F_RO;
    if (block->has_flush)
        v->offered |= F_FLUSH;
    if (block->discard_sectors && !read_only)
        v->offered |= F_DISCARD;
    if (block->write_zeroes_sectors && !read_only)
        v->offered |= F_WRITE_ZEROES;
    memcpy(v->config, &c, sizeof(c));
    v->config_size = sizeof(c);
}

static int check(const char *text, size_t length, char *error)
{
    return config_disk_is_at(CONFIG_DISK_VIRTIO, text, length, error);
}

static int create(struct device *d, struct device_setup *s)
{
    struct blk *b = blk_of(d);
    int error;

    error = s->host->disk(s->host->context, s->text, s->length, &b->source, s->error);
    if (error < 0)
        return error;
    b->requests = heap_alloc(REQUESTS * sizeof(b->requests[0]));
    for (unsigned i = 0; b->requests && i < REQUESTS; i++) {
        b->requests[i].next_free = b->free;
        b->free = &b->requests[i];
    }
    b->disk = (struct disk_io){.block = b->source.block,
                               .dev = d,
                               .counts = b->source.counts,
                               .finished = finished,
                               .settled = settled};
    b->left = AT_ONCE;
    disk_go_on(&b->disk, SECTORS_AT_ONCE);
    b->virtio.ops = &blk_ops;
    b->virtio.queue_count = QUEUES;
    fill_config(b);
    error = b->requests ? virtio_attach(&b->virtio, s->pci) : -ENOMEM;
    if (error < 0) {
        heap_free(b->requests);
        b->source.close(b->source.block);
    }
    return error;
}

static void destroy(struct device *d)
{
    struct blk *b = blk_of(d);

    virtio_end(&b->virtio);
    heap_free(b->requests);
    b->source.close(b->source.block);
}

static bool boots(struct device *d, enum device_boot kind, unsigned index, char *path)
{
    if (kind != DEVICE_BOOT_DISK || index > 0)
        return false;
    pci_boot_path(&blk_of(d)->virtio.function, "scsi", "/disk@0,0", path);
    return true;
}

const struct device_class virtio_blk_class = {
    .ops = &device_ops,
    .size = sizeof(struct blk),
    .key = "disk",
    .removable = true,
    .check = check,
    .boots = boots,
    .create = create,
    .destroy = destroy,
};
