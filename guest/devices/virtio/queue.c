/* See queue.h. Section names are those of Virtio 1.2. */
#include "guest/devices/virtio/queue.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

/* Descriptors of both kinds of rings, 16 bytes each. */
#define DESC_SIZE     16u
#define DESC_NEXT     BIT(0)
#define DESC_WRITE    BIT(1)
#define DESC_INDIRECT BIT(2)
#define DESC_AVAIL    BIT(7) /* packed only */
#define DESC_USED     BIT(15)

struct descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t id_or_flags; /* packed: the buffer's id; split: flags */
    uint16_t flags_or_next;
} PACKED;

/* Split: the driver's area, "The Virtqueue Available Ring", and the device's, "The Virtqueue Used
 * Ring". */
#define AVAIL_FLAGS        0
#define AVAIL_INDEX        2
#define AVAIL_RING         4
#define AVAIL_NO_INTERRUPT BIT(0)
#define USED_FLAGS         0
#define USED_INDEX         2
#define USED_RING          4
#define USED_ENTRY         8u
#define USED_NO_NOTIFY     BIT(0)

/* Packed: "Event Suppression Structure Format", in both areas. */
#define EVENT_OFFSET 0
#define EVENT_FLAGS  2
#define EVENT_SIZE   4u
#define EVENT_WRAP   BIT(15)
enum { EVENTS_ENABLE, EVENTS_DISABLE, EVENTS_DESC };

/* --- words of the rings --- */

/* What cannot be read or written, or means nothing, breaks the queue. */
static int broken(struct virtq *q)
{
    q->broken = true;
    return -EBADMSG;
}

static uint16_t load(struct virtq *q, uint64_t gpa)
{
    uint64_t value = 0;

    if (device_memory_load(q->dev, gpa, 2, &value) < 0)
        q->broken = true;
    return (uint16_t)value;
}

static void store(struct virtq *q, uint64_t gpa, unsigned size, uint64_t value)
{
    if (device_memory_store(q->dev, gpa, size, value) < 0)
        q->broken = true;
}

/* What was written so far is seen by the driver before what is read from here on: "Memory
 * Ordering". */
static void fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint64_t driver_event(const struct virtq *q) /* split: used_event */
{
    return q->driver + AVAIL_RING + 2u * q->size;
}

static uint64_t device_event(const struct virtq *q) /* split: avail_event */
{
    return q->device + USED_RING + USED_ENTRY * q->size;
}

uint64_t virtq_device_size(const struct virtq *q)
{
    return q->packed ? EVENT_SIZE : USED_RING + USED_ENTRY * q->size + 2;
}

void virtq_start(struct virtq *q)
{
    q->broken = false;
    q->avail = q->seen = q->used = q->told = 0;
    q->silent = false;
    q->avail_wrap = q->used_wrap = true;
}

/* --- chains --- */

/* One more segment. Zero-length descriptors are allowed and mean nothing. */
static inline int add_segment(struct virtq_chain *c, const struct descriptor *d, uint16_t flags)
{
    bool writable = flags & DESC_WRITE;

    if (d->length == 0)
        return 0;
    if (c->count == VIRTQ_MAX_CHAIN || d->address > UINT64_MAX - d->length ||
        (!writable && c->readable != c->count)) /* readable ones come first */
        return -EBADMSG;
    c->segment[c->count++] = (struct virtq_segment){d->address, d->length};
    if (!writable)
        c->readable = c->count;
    return 0;
}

/* "Indirect Descriptors": a table that a descriptor points to. A split ring's is a chain of its own
 * that begins at entry 0; a packed one's is used from first to last. */
static __attribute__((noinline)) int add_indirect(struct virtq *q, struct virtq_chain *c,
                                                  const struct descriptor *table)
{
    uint32_t entries = table->length / DESC_SIZE, at = 0;

    if (!q->indirect || table->length % DESC_SIZE != 0 || entries == 0 ||
        table->address > UINT64_MAX - table->length)
        return -EBADMSG;
    for (unsigned steps = 0;; steps++) {
        struct descriptor d;

        if (steps == VIRTQ_MAX_CHAIN || at >= entries ||
            device_memory_read(q->dev, table->address + at * DESC_SIZE, &d, sizeof(d)) < 0)
            return -EBADMSG;
        uint16_t flags = q->packed ? d.flags_or_next : d.id_or_flags;
        if ((flags & DESC_INDIRECT) || add_segment(c, &d, flags) < 0)
            return -EBADMSG;
        if (q->packed ? ++at == entries : !(flags & DESC_NEXT)) {
            c->table = (uint16_t)(steps + 1);
            return 0;
        }
        if (!q->packed)
            at = d.flags_or_next;
    }
}

/* A descriptor of the ring itself: 1 when another one follows. */
static inline __attribute__((always_inline)) int
add_descriptor(struct virtq *q, struct virtq_chain *c, const struct descriptor *d, uint16_t flags)
{
    int error;

    c->slots++;
    if (!(flags & DESC_INDIRECT)) {
        error = add_segment(c, d, flags);
        return error < 0 ? error : (flags & DESC_NEXT) != 0;
    }
    return flags & DESC_NEXT ? -EBADMSG : add_indirect(q, c, d);
}

static int next_split(struct virtq *q, struct virtq_chain *c)
{
    uint16_t at;
    int more;

    if (q->avail == q->seen) {
        q->seen = load(q, q->driver + AVAIL_INDEX);
        if (q->avail == q->seen)
            return q->broken ? -EBADMSG : 0;
        if ((uint16_t)(q->seen - q->avail) > q->size) {
            q->seen = q->avail; /* which is what can be saved */
            return broken(q);
        }
        __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the entries were written before the index */
    }
    at = c->id = load(q, q->driver + AVAIL_RING + 2u * (q->avail % q->size));
    do {
        struct descriptor d;

        if (at >= q->size || c->slots == q->size ||
            device_memory_read(q->dev, q->descriptors + at * DESC_SIZE, &d, sizeof(d)) < 0)
            return broken(q);
        more = add_descriptor(q, c, &d, d.id_or_flags);
        at = d.flags_or_next;
    } while (more > 0);
    if (more < 0 || q->broken)
        return broken(q);
    q->avail++;
    return 1;
}

/* The flags of the packed ring's descriptor that the driver fills in next, and whether it has. */
static bool is_available(struct virtq *q, uint16_t *flags)
{
    *flags =
        load(q, q->descriptors + q->avail * DESC_SIZE + offsetof(struct descriptor, flags_or_next));
    return !!(*flags & DESC_AVAIL) == q->avail_wrap && !!(*flags & DESC_USED) != q->avail_wrap;
}

static int next_packed(struct virtq *q, struct virtq_chain *c)
{
    uint16_t flags, at = q->avail;
    int more;

    if (!is_available(q, &flags))
        return q->broken ? -EBADMSG : 0;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the flags of a chain's first were written last */
    do {
        struct descriptor d;

        if (c->slots == q->size ||
            device_memory_read(q->dev, q->descriptors + at * DESC_SIZE, &d, sizeof(d)) < 0)
            return broken(q);
        if (c->slots > 0)
            flags = d.flags_or_next;
        c->id = d.id_or_flags; /* that of the last one counts */
        more = add_descriptor(q, c, &d, flags);
        at = at + 1 == q->size ? 0 : at + 1;
    } while (more > 0);
    if (more < 0)
        return broken(q);
    if (at <= q->avail)
        q->avail_wrap = !q->avail_wrap;
    q->avail = at;
    return 1;
}

int virtq_next(struct virtq *q, struct virtq_chain *c)
{
    if (q->broken)
        return -EBADMSG;
    c->slots = c->count = c->readable = c->table = 0;
    return q->packed ? next_packed(q, c) : next_split(q, c);
}

bool virtq_more(struct virtq *q)
{
    uint16_t flags;

    return q->packed ? is_available(q, &flags) : q->avail != q->seen;
}

void virtq_put_back(struct virtq *q, const struct virtq_chain *c)
{
    if (!q->packed) {
        q->avail--;
        return;
    }
    if (q->avail < c->slots) {
        q->avail += q->size;
        q->avail_wrap = !q->avail_wrap;
    }
    q->avail -= c->slots;
}

uint64_t virtq_readable(const struct virtq_chain *c)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < c->readable; i++)
        sum += c->segment[i].length;
    return sum;
}

bool virtq_read(const struct virtq *q, const struct virtq_chain *c, uint64_t offset, void *data,
                size_t size)
{
    for (unsigned i = 0; i < c->readable && size > 0; i++) {
        const struct virtq_segment *s = &c->segment[i];
        if (offset >= s->length) {
            offset -= s->length;
            continue;
        }
        size_t n = MIN(size, s->length - offset);
        if (device_memory_read(q->dev, s->gpa + offset, data, n) < 0)
            return false;
        data = (char *)data + n;
        size -= n;
        offset = 0;
    }
    return size == 0;
}

/* --- giving back --- */

/* Packed: the device's place is so many descriptors further. */
static inline void go_on(struct virtq *q, uint16_t slots)
{
    q->used += slots;
    if (q->used >= q->size) {
        q->used -= q->size;
        q->told -= q->size; /* so that differences stay what they are */
        q->used_wrap = !q->used_wrap;
    }
}

void virtq_return(struct virtq *q, const struct virtq_chain *c, uint32_t written)
{
    virtq_return_id(q, c->id, c->slots, written);
}

void virtq_return_id(struct virtq *q, uint16_t id, uint16_t slots, uint32_t written)
{
    if (q->broken)
        return;
    if (!q->packed) {
        uint64_t entry = id | (uint64_t)written << 32;
        if (device_memory_write(q->dev, q->device + USED_RING + USED_ENTRY * (q->used % q->size),
                                &entry, sizeof(entry)) < 0)
            q->broken = true;
        __atomic_thread_fence(__ATOMIC_RELEASE); /* the entry, and the data, before the index */
        store(q, q->device + USED_INDEX, 2, ++q->used);
        return;
    }
    uint64_t at = q->descriptors + q->used * DESC_SIZE;
    store(q, at + offsetof(struct descriptor, length), 4, written);
    store(q, at + offsetof(struct descriptor, id_or_flags), 2, id);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store(q, at + offsetof(struct descriptor, flags_or_next), 2,
          (q->used_wrap ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0));
    go_on(q, slots);
}

static void return_split(struct virtq *q, const struct virtq_done *done, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t entry = done[i].id | (uint64_t)done[i].written << 32;
        if (device_memory_write(q->dev, q->device + USED_RING + USED_ENTRY * (q->used++ % q->size),
                                &entry, sizeof(entry)) < 0)
            q->broken = true;
    }
    __atomic_thread_fence(__ATOMIC_RELEASE); /* the entries, and the data, before the index */
    store(q, q->device + USED_INDEX, 2, q->used);
}

/* The driver looks at a descriptor's flags: at those of the first of them first. */
static void return_packed(struct virtq *q, const struct virtq_done *done, unsigned count)
{
    uint64_t first = q->descriptors + q->used * DESC_SIZE, flags_of_first = 0;

    for (unsigned i = 0; i < count; i++) {
        uint64_t at = q->descriptors + q->used * DESC_SIZE;
        uint64_t flags =
            (q->used_wrap ? DESC_AVAIL | DESC_USED : 0) | (done[i].written ? DESC_WRITE : 0);

        store(q, at + offsetof(struct descriptor, length), 4, done[i].written);
        store(q, at + offsetof(struct descriptor, id_or_flags), 2, done[i].id);
        if (i == 0)
            flags_of_first = flags;
        else
            store(q, at + offsetof(struct descriptor, flags_or_next), 2, flags);
        go_on(q, done[i].slots);
    }
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store(q, first + offsetof(struct descriptor, flags_or_next), 2, flags_of_first);
}

void virtq_return_all(struct virtq *q, const struct virtq_done *done, unsigned count)
{
    if (q->broken || count == 0)
        return;
    if (q->packed)
        return_packed(q, done, count);
    else
        return_split(q, done, count);
}

struct virtq_mark virtq_mark(const struct virtq *q)
{
    return (struct virtq_mark){q->avail, q->avail_wrap};
}

void virtq_take_back(struct virtq *q, struct virtq_mark mark)
{
    q->avail = mark.avail;
    q->avail_wrap = mark.wrap;
}

/* Whether the step from `from` to `to` has passed `event`. */
static bool passed(uint16_t event, uint16_t to, uint16_t from)
{
    return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

bool virtq_interrupts(struct virtq *q)
{
    uint16_t from = q->told;
    uint64_t event;

    if (q->broken || from == q->used)
        return false;
    q->told = q->used;
    fence();
    if (!q->packed) {
        if (q->event_idx)
            return passed(load(q, driver_event(q)), q->used, from);
        return !(load(q, q->driver + AVAIL_FLAGS) & AVAIL_NO_INTERRUPT);
    }
    if (device_memory_load(q->dev, q->driver, EVENT_SIZE, &event) < 0) {
        q->broken = true;
        return false;
    }
    unsigned kind = event >> (8 * EVENT_FLAGS) & 3;
    if (kind != EVENTS_DESC || !q->event_idx)
        return kind != EVENTS_DISABLE;
    uint16_t offset = event & (EVENT_WRAP - 1);
    if (!!(event & EVENT_WRAP) != q->used_wrap)
        offset -= q->size;
    return passed(offset, q->used, from);
}

/* --- notifications --- */

void virtq_silence(struct virtq *q)
{
    if (q->silent)
        return;
    q->silent = true;
    if (q->packed)
        store(q, q->device + EVENT_FLAGS, 2, EVENTS_DISABLE);
    else if (!q->event_idx) /* else the event stays where it is: it has passed */
        store(q, q->device + USED_FLAGS, 2, USED_NO_NOTIFY);
}

bool virtq_listen(struct virtq *q)
{
    uint16_t flags;

    if (q->broken)
        return false;
    q->silent = false;
    if (!q->packed) {
        if (q->event_idx)
            store(q, device_event(q), 2, q->avail);
        else
            store(q, q->device + USED_FLAGS, 2, 0);
        fence();
        return load(q, q->driver + AVAIL_INDEX) != q->avail && !q->broken;
    }
    if (q->event_idx)
        store(q, q->device, 4,
              q->avail | (q->avail_wrap ? EVENT_WRAP : 0) | EVENTS_DESC << (8 * EVENT_FLAGS));
    else
        store(q, q->device + EVENT_FLAGS, 2, EVENTS_ENABLE);
    fence();
    return is_available(q, &flags) && !q->broken;
}

/* --- saved state --- */

void virtq_save(const struct virtq *q, struct state_writer *w)
{
    state_put_u64(w, q->descriptors);
    state_put_u64(w, q->driver);
    state_put_u64(w, q->device);
    state_put_u16(w, q->size);
    state_put_u8(w, q->enabled);
    state_put_u8(w, q->broken);
    state_put_u16(w, q->avail);
    state_put_u16(w, q->seen);
    state_put_u16(w, q->used);
    state_put_u16(w, q->told);
    state_put_u8(w, q->avail_wrap);
    state_put_u8(w, q->used_wrap);
    state_put_u8(w, q->silent);
}

bool virtq_load(struct virtq *q, struct state_reader *r)
{
    q->descriptors = state_get_u64(r);
    q->driver = state_get_u64(r);
    q->device = state_get_u64(r);
    q->size = state_get_u16(r);
    q->enabled = state_get_u8(r) & 1;
    q->broken = state_get_u8(r) & 1;
    q->avail = state_get_u16(r);
    q->seen = state_get_u16(r);
    q->used = state_get_u16(r);
    q->told = state_get_u16(r);
    q->avail_wrap = state_get_u8(r) & 1;
    q->used_wrap = state_get_u8(r) & 1;
    q->silent = state_get_u8(r) & 1;
    return q->size >= 1 && q->size <= VIRTQ_MAX_SIZE &&
           (q->packed
                ? q->avail < q->size && q->used < q->size
                : (q->size & (q->size - 1)) == 0 && (uint16_t)(q->seen - q->avail) <= q->size);
}
