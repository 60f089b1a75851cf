#include "drivers/virtio_blk.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

/* Features. */
#define F_SEG_MAX  BIT(2)
#define F_RO       BIT(5)
#define F_BLK_SIZE BIT(6)
#define F_FLUSH    BIT(9)
#define F_MQ       BIT(12)
#define WANTED     (F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH | F_MQ | VIRTIO_F_PLATFORM)
#define NEEDED     (VIRTIO_F_INDIRECT | VIRTIO_F_VERSION_1)

/* The device's own configuration. */
#define CONFIG_CAPACITY 0
#define CONFIG_SEG_MAX  12
#define CONFIG_BLK_SIZE 20
#define CONFIG_QUEUES   34

#define T_IN          0u
#define T_OUT         1u
#define T_FLUSH       4u
#define T_GET_ID      8u
#define S_OK          0
#define S_UNSUPPORTED 2

#define HEADER_AT   992 /* in a slot's table */
#define STATUS_AT   1008
#define NEW_STATUS  0xff
#define MAX_SECTORS 1024
#define READY_MS    3000

/* --- requests --- */

static struct virtio_descriptor *table_of_slot(const struct virtio_blk_queue *q, unsigned slot)
{
    return (struct virtio_descriptor *)(q->tables + slot * VIRTIO_TABLE);
}

static void add(struct virtio_descriptor *table, unsigned *n, paddr address, uint32_t length,
                bool write)
{
    if (*n)
        table[*n - 1].flags |= VIRTIO_D_NEXT;
    table[*n] =
        (struct virtio_descriptor){address, length, (uint16_t)(write ? VIRTIO_D_WRITE : 0), 0};
    if (*n)
        table[*n - 1].next = (uint16_t)*n;
    ++*n;
}

/* Header, data, status: as an indirect table, which is one descriptor of the ring. */
static void give(struct virtio_blk *v, struct virtio_blk_queue *q, unsigned slot, uint32_t type,
                 uint64_t sector, const struct block_segment *segments, unsigned count)
{
    struct virtio_descriptor *table = table_of_slot(q, slot);
    uint8_t *header = (uint8_t *)table + HEADER_AT;
    paddr at = q->tables_at + slot * VIRTIO_TABLE;
    const uint32_t head[2] = {type, 0};
    unsigned n = 0;

    memcpy(header, head, sizeof(head));
    memcpy(header + 8, &sector, 8);
    ((uint8_t *)table)[STATUS_AT] = NEW_STATUS;
    add(table, &n, at + HEADER_AT, 16, false);
    for (unsigned i = 0; i < count; i++)
        add(table, &n, segments[i].address, segments[i].length, type != T_OUT);
    add(table, &n, at + STATUS_AT, 1, true);
    virtio_descriptors(&q->ring)[slot] =
        (struct virtio_descriptor){at, n * (uint32_t)sizeof(*table), VIRTIO_D_INDIRECT, 0};
    virtio_offer(&q->ring, slot);
    virtio_tell(&v->virtio, &q->ring);
}

/* The next slot that has come back, DISK_SLOTS where there is no such slot, -EAGAIN or -EIO. */
static int take(struct virtio_blk_queue *q)
{
    int count = virtio_come_back(&q->ring);
    uint32_t slot, written;

    if (count <= 0)
        return count ? count : -EAGAIN;
    slot = virtio_back(&q->ring, 0, &written);
    virtio_taken(&q->ring, 1);
    return (int)MIN(slot, (uint32_t)DISK_SLOTS);
}

static int start(struct disk_queue *q, unsigned slot)
{
    struct virtio_blk *v = CONTAINER_OF(q->unit, struct virtio_blk, unit);
    const struct block_request *r = q->slots[slot].request;
    uint32_t type = r->op == BLOCK_FLUSH ? T_FLUSH : r->op == BLOCK_WRITE ? T_OUT : T_IN;

    if (type == T_FLUSH)
        give(v, &v->queue[q->number], slot, type, 0, NULL, 0);
    else if (r->count > VIRTIO_SEGMENTS)
        return -EINVAL;
    else
        give(v, &v->queue[q->number], slot, type, r->sector, r->segments, r->count);
    return 0;
}

static int outcome(const struct virtio_blk_queue *q, unsigned slot)
{
    switch (((const volatile uint8_t *)table_of_slot(q, slot))[STATUS_AT]) {
    case S_OK:
        return 0;
    case S_UNSUPPORTED:
        return -ENOTSUP;
    default: /* NEW_STATUS, too: it has not said so */
        return -EIO;
    }
}

static void collect(struct disk_queue *q)
{
    struct virtio_blk *v = CONTAINER_OF(q->unit, struct virtio_blk, unit);
    struct virtio_blk_queue *vq = &v->queue[q->number];
    bool any = false;
    int slot = 0;

    for (unsigned i = 0; i < VIRTIO_RING && (slot = take(vq)) >= 0; i++) {
        any = true;
        disk_finish(q, (unsigned)slot, slot < DISK_SLOTS ? outcome(vq, (unsigned)slot) : 0);
    }
    /* A device that has gone reads as ones. */
    if (slot == -EIO || (!any && virtio_wants_reset(&v->virtio)))
        disk_want_reset(q, true);
}

/* --- reset and start --- */

enum step { RESET, RESETTING, DONE };

static int set_up(struct virtio_blk *v)
{
    unsigned there = 1;
    int error = virtio_negotiate(&v->virtio, WANTED, NEEDED);

    if (error)
        return error;
    if (v->virtio.features & F_MQ)
        there = io_read16(&v->virtio.device, CONFIG_QUEUES);
    there = MAX(there, 1u);
    if (v->unit.queues && there < v->queues)
        return -EIO; /* once there were more */
    v->queues = MIN(v->queues, there);
    virtio_set_config_vector(&v->virtio, VIRTIO_NO_VECTOR);
    for (unsigned n = 0; n < v->queues && !error; n++)
        error = virtio_queue_init(&v->virtio, &v->queue[n].ring, n, DISK_SLOTS,
                                  v->vectors ? n : VIRTIO_NO_VECTOR);
    if (!error)
        virtio_ready(&v->virtio);
    return error;
}

/* Status reads 0 when it has let go of all memory, and not before. */
static int step(struct virtio_blk *v)
{
    int error;

    switch ((enum step)v->step) {
    case RESET:
        virtio_ask_reset(&v->virtio);
        v->step = RESETTING;
        v->step_until = rdtsc() + tsc_hz / 1000 * READY_MS;
        return -EAGAIN;
    case RESETTING:
        if (!virtio_is_reset(&v->virtio))
            return rdtsc() < v->step_until ? -EAGAIN : -EIO;
        error = set_up(v);
        v->step = DONE;
        return error;
    case DONE:
        return 0;
    }
    return -EIO;
}

static int reset(struct disk_unit *u, bool begin)
{
    struct virtio_blk *v = CONTAINER_OF(u, struct virtio_blk, unit);

    if (begin)
        v->step = RESET;
    return step(v);
}

static void cut(struct disk_unit *u)
{
    (void)virtio_cut(&CONTAINER_OF(u, struct virtio_blk, unit)->virtio);
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- what it is --- */

/* Without one it says so, or gives an empty one. One that says nothing keeps the slot for good. */
static int read_serial(struct virtio_blk *v, char *serial)
{
    struct virtio_blk_queue *q = &v->queue[0];
    char *into = (char *)q->tables + VIRTIO_TABLE; /* the next slot's */
    const struct block_segment segment = {q->tables_at + VIRTIO_TABLE, 20};
    uint64_t until = rdtsc() + tsc_hz;

    memset(into, 0, 20);
    give(v, q, 0, T_GET_ID, 0, &segment, 1);
    while (take(q) != 0)
        if (rdtsc() >= until)
            return -ETIMEDOUT;
    for (unsigned i = 0; i < 20 && into[i] && !outcome(q, 0); i++)
        serial[i] = into[i] < 0x21 || into[i] > 0x7e ? '?' : into[i];
    return 0;
}

static int describe(struct virtio_blk *v, const char *name)
{
    struct block_device *b = &v->disk.block;
    uint32_t segments =
        v->virtio.features & F_SEG_MAX ? io_read32(&v->virtio.device, CONFIG_SEG_MAX) : 1;

    format(b->name, sizeof(b->name), "%s", name);
    format(v->unit.name, sizeof(v->unit.name), "%s", name);
    format(v->disk.model, sizeof(v->disk.model), "virtio-blk");
    v->disk.how = "virtio";
    b->sectors = io_read64(&v->virtio.device, CONFIG_CAPACITY);
    b->logical_block =
        v->virtio.features & F_BLK_SIZE ? io_read32(&v->virtio.device, CONFIG_BLK_SIZE) : 512;
    if (!b->sectors || (b->logical_block != 512 && b->logical_block != 4096))
        return -ENOTSUP;
    b->physical_block = b->logical_block;
    b->max_sectors = MAX_SECTORS;
    b->max_segments = (uint16_t)MAX(1u, MIN(segments, VIRTIO_SEGMENTS));
    b->segment_align = 1;
    b->highest_address = UINT64_MAX;
    b->read_only = v->virtio.features & F_RO;
    b->has_flush = v->virtio.features & F_FLUSH;
    return read_serial(v, b->serial);
}

int virtio_blk_init(struct virtio_blk *v, const char *name)
{
    int error;

    v->step = RESET;
    while ((error = step(v)) == -EAGAIN)
        tsc_delay_us(10);
    if (!error)
        error = describe(v, name);
    if (!error)
        error = disk_unit_init(&v->unit, &ops, v->queues, DISK_SLOTS);
    if (!error)
        error = disk_add(&v->unit, &v->disk);
    if (error) {
        cut(&v->unit);
        return error;
    }
    disk_unit_add(&v->unit);
    return 0;
}
