#include "drivers/virtio_blk.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

/* The common configuration. */
#define DEVICE_FEATURE_SELECT 0x00
#define DEVICE_FEATURE        0x04
#define DRIVER_FEATURE_SELECT 0x08
#define DRIVER_FEATURE        0x0c
#define CONFIG_VECTOR         0x10
#define STATUS                0x14
#define QUEUE_SELECT          0x16
#define QUEUE_SIZE            0x18
#define QUEUE_VECTOR          0x1a
#define QUEUE_ENABLE          0x1c
#define QUEUE_NOTIFY          0x1e
#define QUEUE_DESCRIPTORS     0x20
#define QUEUE_AVAILABLE       0x28
#define QUEUE_USED            0x30
#define NO_VECTOR             0xffff

#define ACKNOWLEDGE 1u
#define DRIVER      2u
#define DRIVER_OK   4u
#define FEATURES_OK 8u
#define NEEDS_RESET 0x40u

/* Features. */
#define F_SEG_MAX   BIT(2)
#define F_RO        BIT(5)
#define F_BLK_SIZE  BIT(6)
#define F_FLUSH     BIT(9)
#define F_MQ        BIT(12)
#define F_INDIRECT  BIT(28)
#define F_VERSION_1 BIT(32)
#define F_PLATFORM  BIT(33) /* addresses are the machine's; without an IOMMU ours are, too */
#define WANTED                                                                                     \
    (F_SEG_MAX | F_RO | F_BLK_SIZE | F_FLUSH | F_MQ | F_INDIRECT | F_VERSION_1 | F_PLATFORM)

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

#define D_NEXT     1u
#define D_WRITE    2u
#define D_INDIRECT 4u

#define AVAILABLE_AT 0x1000 /* behind the descriptors */
#define USED_AT      0x1400
#define HEADER_AT    992 /* in a slot's table */
#define STATUS_AT    1008
#define NEW_STATUS   0xff
#define MAX_SECTORS  1024
#define READY_MS     3000

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* --- requests --- */

static struct descriptor *table_of_slot(const struct virtio_queue *q, unsigned slot)
{
    return (struct descriptor *)(q->tables + slot * VIRTIO_TABLE);
}

static void add(struct descriptor *table, unsigned *n, paddr address, uint32_t length, bool write)
{
    if (*n)
        table[*n - 1].flags |= D_NEXT;
    table[*n] = (struct descriptor){address, length, (uint16_t)(write ? D_WRITE : 0), 0};
    if (*n)
        table[*n - 1].next = (uint16_t)*n;
    ++*n;
}

static uint16_t *half(const struct virtio_queue *q, unsigned offset)
{
    return (uint16_t *)(q->ring + offset);
}

/* Header, data, status: as an indirect table, which is one descriptor of the ring. */
static void give(struct virtio_blk *v, struct virtio_queue *q, unsigned slot, uint32_t type,
                 uint64_t sector, const struct block_segment *segments, unsigned count)
{
    struct descriptor *table = table_of_slot(q, slot), *ring = (struct descriptor *)q->ring;
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
    ring[slot] = (struct descriptor){at, n * (uint32_t)sizeof(*table), D_INDIRECT, 0};
    half(q, AVAILABLE_AT)[2 + q->available % q->size] = (uint16_t)slot;
    q->available++;
    __atomic_store_n(&half(q, AVAILABLE_AT)[1], q->available, __ATOMIC_RELEASE);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    io_write16(&v->notify, q->notify * v->notify_multiplier, (uint16_t)(q - v->queue));
}

/* The next slot that has come back, DISK_SLOTS where there is no such slot, or -EAGAIN. */
static int take(struct virtio_queue *q)
{
    const volatile uint32_t *ids = (const volatile uint32_t *)(q->ring + USED_AT + 4);
    uint16_t index = __atomic_load_n(&half(q, USED_AT)[1], __ATOMIC_ACQUIRE);
    uint32_t slot;

    if (index == q->used)
        return -EAGAIN;
    slot = ids[2 * (q->used % q->size)];
    q->used++;
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

static int outcome(const struct virtio_queue *q, unsigned slot)
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
    struct virtio_queue *vq = &v->queue[q->number];
    bool any = false;
    int slot;

    for (unsigned i = 0; i < VIRTIO_RING && (slot = take(vq)) >= 0; i++) {
        any = true;
        disk_finish(q, (unsigned)slot, slot < DISK_SLOTS ? outcome(vq, (unsigned)slot) : 0);
    }
    /* A device that has gone reads as ones. */
    if (!any && (io_read8(&v->common, STATUS) & NEEDS_RESET))
        disk_want_reset(q, true);
}

/* --- reset and start --- */

enum step { RESET, RESETTING, DONE };

static uint64_t offered(const struct virtio_blk *v)
{
    uint64_t low;

    io_write32(&v->common, DEVICE_FEATURE_SELECT, 0);
    low = io_read32(&v->common, DEVICE_FEATURE);
    io_write32(&v->common, DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)io_read32(&v->common, DEVICE_FEATURE) << 32;
}

static void set_status(const struct virtio_blk *v, unsigned bit)
{
    io_write8(&v->common, STATUS, (uint8_t)(io_read8(&v->common, STATUS) | bit));
}

static int negotiate(struct virtio_blk *v)
{
    set_status(v, ACKNOWLEDGE);
    set_status(v, DRIVER);
    v->features = offered(v) & WANTED;
    if (!(v->features & F_VERSION_1) || !(v->features & F_INDIRECT))
        return -ENOTSUP;
    io_write32(&v->common, DRIVER_FEATURE_SELECT, 0);
    io_write32(&v->common, DRIVER_FEATURE, (uint32_t)v->features);
    io_write32(&v->common, DRIVER_FEATURE_SELECT, 1);
    io_write32(&v->common, DRIVER_FEATURE, (uint32_t)(v->features >> 32));
    set_status(v, FEATURES_OK);
    return io_read8(&v->common, STATUS) & FEATURES_OK ? 0 : -ENOTSUP;
}

static int set_up_queue(struct virtio_blk *v, unsigned n)
{
    struct virtio_queue *q = &v->queue[n];
    uint16_t vector = v->vectors ? (uint16_t)n : NO_VECTOR;

    io_write16(&v->common, QUEUE_SELECT, (uint16_t)n);
    q->size = io_read16(&v->common, QUEUE_SIZE);
    q->size = MIN(q->size, VIRTIO_RING);
    if (q->size < DISK_SLOTS || (q->size & (q->size - 1)))
        return -ENOTSUP;
    memset(q->ring, 0, 2 * PAGE_SIZE);
    q->available = q->used = 0;
    io_write16(&v->common, QUEUE_SIZE, q->size);
    io_write16(&v->common, QUEUE_VECTOR, vector);
    if (v->vectors && io_read16(&v->common, QUEUE_VECTOR) != vector)
        return -EIO;
    io_write64(&v->common, QUEUE_DESCRIPTORS, q->ring_at);
    io_write64(&v->common, QUEUE_AVAILABLE, q->ring_at + AVAILABLE_AT);
    io_write64(&v->common, QUEUE_USED, q->ring_at + USED_AT);
    q->notify = io_read16(&v->common, QUEUE_NOTIFY);
    if ((uint64_t)q->notify * v->notify_multiplier + 2 > v->notify.size)
        return -EIO;
    io_write16(&v->common, QUEUE_ENABLE, 1);
    return 0;
}

static int set_up(struct virtio_blk *v)
{
    unsigned there = 1;
    int error = negotiate(v);

    if (error)
        return error;
    if (v->features & F_MQ)
        there = io_read16(&v->device, CONFIG_QUEUES);
    there = MAX(there, 1u);
    if (v->unit.queues && there < v->queues)
        return -EIO; /* once there were more */
    v->queues = MIN(v->queues, there);
    io_write16(&v->common, CONFIG_VECTOR, NO_VECTOR);
    for (unsigned n = 0; n < v->queues && !error; n++)
        error = set_up_queue(v, n);
    if (!error)
        set_status(v, DRIVER_OK);
    return error;
}

/* Status reads 0 when it has let go of all memory, and not before. */
static int step(struct virtio_blk *v)
{
    int error;

    switch ((enum step)v->step) {
    case RESET:
        io_write8(&v->common, STATUS, 0);
        v->step = RESETTING;
        v->step_until = rdtsc() + tsc_hz / 1000 * READY_MS;
        return -EAGAIN;
    case RESETTING:
        if (io_read8(&v->common, STATUS))
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
    const struct virtio_blk *v = CONTAINER_OF(u, struct virtio_blk, unit);
    uint64_t until = rdtsc() + tsc_hz;

    io_write8(&v->common, STATUS, 0);
    while (io_read8(&v->common, STATUS) && rdtsc() < until)
        ;
}

static const struct disk_ops ops = {start, collect, reset, cut};

/* --- what it is --- */

/* Without one it says so, or gives an empty one. One that says nothing keeps the slot for good. */
static int read_serial(struct virtio_blk *v, char *serial)
{
    struct virtio_queue *q = &v->queue[0];
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
    uint32_t segments = v->features & F_SEG_MAX ? io_read32(&v->device, CONFIG_SEG_MAX) : 1;

    format(b->name, sizeof(b->name), "%s", name);
    format(v->unit.name, sizeof(v->unit.name), "%s", name);
    format(v->disk.model, sizeof(v->disk.model), "virtio-blk");
    v->disk.how = "virtio";
    b->sectors = io_read64(&v->device, CONFIG_CAPACITY);
    b->logical_block = v->features & F_BLK_SIZE ? io_read32(&v->device, CONFIG_BLK_SIZE) : 512;
    if (!b->sectors || (b->logical_block != 512 && b->logical_block != 4096))
        return -ENOTSUP;
    b->physical_block = b->logical_block;
    b->max_sectors = MAX_SECTORS;
    b->max_segments = (uint16_t)MAX(1u, MIN(segments, VIRTIO_SEGMENTS));
    b->segment_align = 1;
    b->highest_address = UINT64_MAX;
    b->read_only = v->features & F_RO;
    b->has_flush = v->features & F_FLUSH;
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
