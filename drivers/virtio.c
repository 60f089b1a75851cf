/* See virtio.h. */
#include "drivers/virtio.h"

#include "arch/x86/lib/errno.h"
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

#define ACKNOWLEDGE 1u
#define DRIVER      2u
#define DRIVER_OK   4u
#define FEATURES_OK 8u
#define NEEDS_RESET 0x40u
#define GONE        0xffu

#define AVAILABLE_AT 0x1000 /* behind the descriptors */
#define USED_AT      0x1400
#define NO_NOTIFY    1u /* in the used ring's flags: it looks by itself */
#define NO_INTERRUPT 1u /* in the available ring's */

/* --- registers --- */

void virtio_ask_reset(const struct virtio *v)
{
    io_write8(&v->common, STATUS, 0);
}

bool virtio_is_reset(const struct virtio *v)
{
    return io_read8(&v->common, STATUS) == 0;
}

bool virtio_cut(const struct virtio *v)
{
    uint64_t until = rdtsc() + tsc_hz;

    virtio_ask_reset(v);
    while (!virtio_is_reset(v))
        if (rdtsc() >= until)
            return false;
    return true;
}

bool virtio_wants_reset(const struct virtio *v)
{
    return io_read8(&v->common, STATUS) & NEEDS_RESET;
}

bool virtio_is_gone(const struct virtio *v)
{
    return io_read8(&v->common, STATUS) == GONE;
}

static uint64_t offered(const struct virtio *v)
{
    uint64_t low;

    io_write32(&v->common, DEVICE_FEATURE_SELECT, 0);
    low = io_read32(&v->common, DEVICE_FEATURE);
    io_write32(&v->common, DEVICE_FEATURE_SELECT, 1);
    return low | (uint64_t)io_read32(&v->common, DEVICE_FEATURE) << 32;
}

static void set_status(const struct virtio *v, unsigned bit)
{
    io_write8(&v->common, STATUS, (uint8_t)(io_read8(&v->common, STATUS) | bit));
}

int virtio_negotiate(struct virtio *v, uint64_t wanted, uint64_t needed)
{
    set_status(v, ACKNOWLEDGE);
    set_status(v, DRIVER);
    v->features = offered(v) & (wanted | needed);
    if ((v->features & needed) != needed)
        return -ENOTSUP;
    io_write32(&v->common, DRIVER_FEATURE_SELECT, 0);
    io_write32(&v->common, DRIVER_FEATURE, (uint32_t)v->features);
    io_write32(&v->common, DRIVER_FEATURE_SELECT, 1);
    io_write32(&v->common, DRIVER_FEATURE, (uint32_t)(v->features >> 32));
    set_status(v, FEATURES_OK);
    return io_read8(&v->common, STATUS) & FEATURES_OK ? 0 : -ENOTSUP;
}

int virtio_queue_init(const struct virtio *v, struct virtio_queue *q, unsigned number,
                      unsigned least, unsigned vector)
{
    q->number = (uint16_t)number;
    io_write16(&v->common, QUEUE_SELECT, q->number);
    q->size = io_read16(&v->common, QUEUE_SIZE);
    q->size = MIN(q->size, VIRTIO_RING);
    if (q->size < least || (q->size & (q->size - 1)))
        return -ENOTSUP;
    memset(q->ring, 0, 2 * PAGE_SIZE);
    q->available = q->used = 0;
    io_write16(&v->common, QUEUE_SIZE, q->size);
    io_write16(&v->common, QUEUE_VECTOR, (uint16_t)vector);
    if (vector != VIRTIO_NO_VECTOR && io_read16(&v->common, QUEUE_VECTOR) != vector)
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

void virtio_set_config_vector(const struct virtio *v, unsigned vector)
{
    io_write16(&v->common, CONFIG_VECTOR, (uint16_t)vector);
}

void virtio_ready(const struct virtio *v)
{
    set_status(v, DRIVER_OK);
}

/* --- rings --- */

static uint16_t *half(const struct virtio_queue *q, unsigned offset)
{
    return (uint16_t *)(q->ring + offset);
}

struct virtio_descriptor *virtio_descriptors(const struct virtio_queue *q)
{
    return (struct virtio_descriptor *)q->ring;
}

void virtio_offer(struct virtio_queue *q, unsigned head)
{
    half(q, AVAILABLE_AT)[2 + q->available % q->size] = (uint16_t)head;
    q->available++;
}

void virtio_tell(const struct virtio *v, const struct virtio_queue *q)
{
    __atomic_store_n(&half(q, AVAILABLE_AT)[1], q->available, __ATOMIC_RELEASE);
    /* It looks at the index once more behind allowing notifications: one of the two sees it. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(half(q, USED_AT), __ATOMIC_RELAXED) & NO_NOTIFY))
        io_write16(&v->notify, q->notify * v->notify_multiplier, q->number);
}

void virtio_quiet(struct virtio_queue *q, bool on)
{
    __atomic_store_n(&half(q, AVAILABLE_AT)[0], on ? NO_INTERRUPT : 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

int virtio_come_back(const struct virtio_queue *q)
{
    uint16_t index = __atomic_load_n(&half(q, USED_AT)[1], __ATOMIC_ACQUIRE),
             count = (uint16_t)(index - q->used);

    return count <= q->size ? count : -EIO;
}

uint32_t virtio_back(const struct virtio_queue *q, unsigned n, uint32_t *written)
{
    const volatile uint32_t *element =
        (const volatile uint32_t *)(q->ring + USED_AT + 4) + 2 * ((q->used + n) % q->size);

    *written = element[1];
    return element[0];
}

void virtio_taken(struct virtio_queue *q, unsigned count)
{
    q->used = (uint16_t)(q->used + count);
}
