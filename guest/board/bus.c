/* Accesses to ports and to device memory, and whose timer comes next. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/bus_internal.h"

/* --- nobody: device 0, which answers for every port that has no owner, and for memory where
 * nothing is to be --- */

static uint32_t nobody_read(struct device *d, uint16_t port, unsigned size)
{
    return UINT32_MAX;
}

static void nobody_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
}

static uint64_t nobody_mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void nobody_mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
}

static const struct device_ops nobody_ops = {
    .name = "nobody",
    .port_read = nobody_read,
    .port_write = nobody_write,
    .mmio_read = nobody_mmio_read,
    .mmio_write = nobody_mmio_write,
};

/*
 * Places in devices and timed are stored to meanwhile. On x86 a load of one is an atomic one, and
 * whichever a look-up has seen is good; the thread sanitizer, which knows the language's rules
 * alone, is told so. (By the builtin the compiler makes an instruction more for each access to a
 * port.)
 */
#ifdef __SANITIZE_THREAD__
#define PLACE(x) __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#else
#define PLACE(x) (x)
#endif

/* --- registration --- */

/* A place in devices or timed from `from` on that a device has left, or the one behind all. */
static unsigned free_place(const struct bus *bus, struct device *const *places, unsigned from,
                           unsigned count)
{
    while (from < count && places[from] != &bus->nobody)
        from++;
    return from;
}

/* Others look at the place while it is filled, and no further than count. */
static void fill_place(struct device **places, unsigned *count, unsigned at, struct device *d)
{
    __atomic_store_n(&places[at], d, __ATOMIC_RELEASE);
    if (at == *count)
        __atomic_store_n(count, at + 1, __ATOMIC_RELEASE);
}

static int add_device(struct bus *bus, struct device *d)
{
    unsigned at = free_place(bus, bus->devices, 1, bus->device_count), lock = d->ops->lock;

    if (at == BUS_DEVICES)
        return -ENOSPC;
    for (unsigned i = 0; i < DEVICE_TIMERS; i++)
        d->deadline[i] = TIMER_OFF;
    spin_init(&d->own, lock == DEVICE_OUTER ? RANK_CONFIG : RANK_DEVICE);
    d->lock = lock == DEVICE_CHIPS && bus->chips ? bus->chips : &d->own;
    spin_lock(&bus->lock);
    fill_place(bus->devices, &bus->device_count, at, d);
    spin_unlock(&bus->lock);
    if (d->ops->timer) {
        spin_lock(&bus->timer_lock);
        at = free_place(bus, bus->timed, 0, bus->timed_count);
        fill_place(bus->timed, &bus->timed_count, at, d);
        spin_unlock(&bus->timer_lock);
    }
    return 0;
}

void bus_init(struct bus *bus)
{
    memset(bus, 0, sizeof(*bus));
    bus->nobody = (struct device){.ops = &nobody_ops, .lock = &bus->nobody.own};
    for (unsigned i = 0; i < DEVICE_TIMERS; i++)
        bus->nobody.deadline[i] = TIMER_OFF;
    spin_init(&bus->nobody.own, RANK_DEVICE);
    bus->devices[bus->device_count++] = &bus->nobody;
    spin_init(&bus->timer_lock, RANK_TIMERS);
    bus->next_deadline = TIMER_OFF;
    bus_ranges_init(bus);
}

void bus_destroy(struct bus *bus)
{
    bus_ranges_free(bus);
    bus->device_count = 1; /* nobody */
    bus->timed_count = 0;
    bus->next_deadline = TIMER_OFF;
    bus->set_layers = NULL;
}

unsigned bus_device_index(const struct bus *bus, const struct device *d)
{
    for (unsigned i = 1; i < bus->device_count; i++) {
        if (bus->devices[i] == d)
            return i;
    }
    return 0;
}

int bus_add_device(struct bus *bus, struct device *d)
{
    if (!d->ops->reset || !d->ops->save || !d->ops->load)
        return -EINVAL;
    if (bus_device_index(bus, d) != 0)
        return -EEXIST;
    return add_device(bus, d);
}

void bus_remove_device(struct bus *bus, struct device *d)
{
    unsigned index = bus_device_index(bus, d);

    if (index == 0)
        return;
    bus_ranges_forget(bus, d);
    for (unsigned t = 0; t < DEVICE_TIMERS; t++)
        (void)bus_timer_set(bus, d, t, TIMER_OFF);
    spin_lock(&bus->lock);
    __atomic_store_n(&bus->devices[index], &bus->nobody, __ATOMIC_RELEASE);
    spin_unlock(&bus->lock);
    spin_lock(&bus->timer_lock);
    for (unsigned i = 0; i < bus->timed_count; i++)
        if (bus->timed[i] == d)
            __atomic_store_n(&bus->timed[i], &bus->nobody, __ATOMIC_RELEASE);
    spin_unlock(&bus->timer_lock);
}

void device_lock(struct device *d)
{
    spin_lock(d->lock);
}

bool device_trylock(struct device *d)
{
    return spin_trylock(d->lock);
}

void device_unlock(struct device *d)
{
    spin_unlock(d->lock);
}

/* --- port accesses --- */

static inline const struct bus_port_page *port_page(const struct bus *bus, uint16_t port)
{
    return __atomic_load_n(&bus->port_page[(uint8_t)(port >> 8)], __ATOMIC_ACQUIRE);
}

static inline struct device *device_at(const struct bus *bus, unsigned index)
{
    return PLACE(bus->devices[index]);
}

static inline struct device *byte_device(const struct bus *bus, uint16_t port)
{
    return device_at(bus,
                     __atomic_load_n(&port_page(bus, port)->owner[port & 255], __ATOMIC_RELAXED));
}

static unsigned wide_owner(const struct bus *bus, uint16_t port)
{
    return __atomic_load_n(&port_page(bus, port)->wide_owner[port & 255], __ATOMIC_RELAXED);
}

/*
 * The one device that takes an access of 2 or 4 bytes whole, or NULL when it is to be split. A
 * range of size bytes that begins and ends with the same device may still have another in between,
 * hence the middle bytes of a dword.
 */
static struct device *port_device(const struct bus *bus, uint16_t port, unsigned size)
{
    unsigned owner = wide_owner(bus, port);
    struct device *d = device_at(bus, owner);

    if (d->ops->port_width != 0 && size > d->ops->port_width)
        return NULL;
    /* Past port FFFFh there is nothing: the access wraps for the split loop to sort out. */
    if (port + size > 0x10000 || wide_owner(bus, (uint16_t)(port + size - 1)) != owner)
        return NULL;
    if (size == 4 && (wide_owner(bus, (uint16_t)(port + 1)) != owner ||
                      wide_owner(bus, (uint16_t)(port + 2)) != owner))
        return NULL;
    return d;
}

static inline uint32_t read_device(struct device *d, uint16_t port, unsigned size)
{
    spin_lock(d->lock);
    uint32_t value = d->ops->port_read(d, port, size);
    spin_unlock(d->lock);
    return value;
}

static inline void write_device(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    spin_lock(d->lock);
    d->ops->port_write(d, port, size, value);
    spin_unlock(d->lock);
}

/* Out of the way of byte accesses, whose path is to be short. */
static __attribute__((noinline)) uint32_t wide_read(struct bus *bus, uint16_t port, unsigned size)
{
    struct device *d = port_device(bus, port, size);
    uint32_t value = 0;

    if (d)
        return read_device(d, port, size) & (UINT32_MAX >> (32 - 8 * size));
    for (unsigned i = 0; i < size; i++)
        value |= bus_port_read(bus, (uint16_t)(port + i), 1) << (8 * i);
    return value;
}

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size)
{
    struct device *d = byte_device(bus, port);

    if (UNLIKELY(size != 1))
        return wide_read(bus, port, size);
    return read_device(d, port, 1) & 0xff;
}

static __attribute__((noinline)) void wide_write(struct bus *bus, uint16_t port, unsigned size,
                                                 uint32_t value)
{
    struct device *d = port_device(bus, port, size);

    if (d) {
        write_device(d, port, size, value & (UINT32_MAX >> (32 - 8 * size)));
        return;
    }
    for (unsigned i = 0; i < size; i++)
        bus_port_write(bus, (uint16_t)(port + i), 1, value >> (8 * i));
}

void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value)
{
    struct device *d = byte_device(bus, port);

    if (UNLIKELY(size != 1))
        wide_write(bus, port, size, value);
    else
        write_device(d, port, 1, value & 0xff);
}

/* --- memory accesses --- */

/* What is there of a value of so many bytes. */
static const uint64_t low_bytes[] = {
    0, 0xff, 0xffff, 0xffffff, UINT32_MAX, BIT(40) - 1, BIT(48) - 1, BIT(56) - 1, UINT64_MAX,
};

/* Whether gpa belongs to a device: then v is where, and *left the bytes from gpa to its end. */
static inline bool find(struct bus *bus, struct bus_view *v, uint64_t gpa, uint64_t *left)
{
    if (UNLIKELY(!bus_view_covers(bus, v, gpa) && !bus_find(bus, v, gpa)))
        return false;
    *left = v->piece.size - (gpa - v->piece.base);
    return true;
}

bool bus_mmio_read(struct bus *bus, struct bus_view *v, uint64_t gpa, unsigned size,
                   uint64_t *value)
{
    const struct bus_piece *p = &v->piece;
    uint64_t left;

    if (UNLIKELY(!find(bus, v, gpa, &left)))
        return false;
    *value = UINT64_MAX;
    if (LIKELY(size <= left)) {
        struct device *d = p->device;
        spin_lock(d->lock);
        *value = d->ops->mmio_read(d, gpa - p->range_base, size);
        spin_unlock(d->lock);
    }
    *value &= low_bytes[size];
    return true;
}

bool bus_mmio_write(struct bus *bus, struct bus_view *v, uint64_t gpa, unsigned size,
                    uint64_t value)
{
    const struct bus_piece *p = &v->piece;
    uint64_t left;

    if (UNLIKELY(!find(bus, v, gpa, &left)))
        return false;
    if (LIKELY(size <= left)) {
        struct device *d = p->device;
        spin_lock(d->lock);
        d->ops->mmio_write(d, gpa - p->range_base, size, value & low_bytes[size]);
        spin_unlock(d->lock);
    }
    return true;
}

/* --- timers --- */

static uint64_t deadline_of(const struct device *d, unsigned timer)
{
    return __atomic_load_n(&d->deadline[timer], __ATOMIC_RELAXED);
}

static void set_next(struct bus *bus, uint64_t deadline)
{
    __atomic_store_n(&bus->next_deadline, deadline, __ATOMIC_RELAXED);
}

static void find_next_deadline(struct bus *bus)
{
    uint64_t next = TIMER_OFF;

    for (unsigned i = 0; i < bus->timed_count; i++) {
        for (unsigned t = 0; t < DEVICE_TIMERS; t++)
            next = MIN(next, deadline_of(bus->timed[i], t));
    }
    set_next(bus, next);
}

enum bus_timer_change bus_timer_set(struct bus *bus, struct device *d, unsigned timer,
                                    uint64_t deadline)
{
    uint64_t before, next;

    if (deadline_of(d, timer) == deadline)
        return BUS_TIMER_SAME;
    spin_lock(&bus->timer_lock);
    before = deadline_of(d, timer); /* for who sets it without the device's lock */
    next = bus->next_deadline;
    __atomic_store_n(&d->deadline[timer], deadline, __ATOMIC_RELAXED);
    if (deadline <= next)
        set_next(bus, deadline);
    else if (before == next)
        find_next_deadline(bus);
    enum bus_timer_change change = bus->next_deadline < next   ? BUS_TIMER_EARLIER
                                   : bus->next_deadline > next ? BUS_TIMER_LATER
                                                               : BUS_TIMER_SAME;
    spin_unlock(&bus->timer_lock);
    return change;
}

static inline bool is_due(const struct device *d, unsigned timer, uint64_t now)
{
    uint64_t deadline = deadline_of(d, timer);

    return deadline <= now && deadline != TIMER_OFF;
}

void bus_run_timers(struct bus *bus, uint64_t now)
{
    /* One pass: a timer that sets itself to a moment that has passed already runs again at the next
     * call, so that no guest can keep the caller here. */
    for (unsigned i = 0; i < bus->timed_count; i++) {
        struct device *d = PLACE(bus->timed[i]);

        for (unsigned t = 0; t < DEVICE_TIMERS; t++) {
            if (!is_due(d, t, now))
                continue;
            spin_lock(d->lock);
            if (is_due(d, t, now)) { /* no other processor has been here meanwhile */
                bus_timer_set(bus, d, t, TIMER_OFF);
                d->ops->timer(d, t, now);
            }
            spin_unlock(d->lock);
        }
    }
}

/* --- all devices --- */

bool bus_idle(struct bus *bus, bool over)
{
    bool idle = true;

    for (unsigned i = 1; i < bus->device_count; i++) {
        struct device *d = bus->devices[i];

        if (d == &bus->nobody || !d->ops->idle)
            continue;
        spin_lock(d->lock);
        idle = d->ops->idle(d, over) && idle;
        spin_unlock(d->lock);
    }
    return idle;
}

void bus_reset(struct bus *bus)
{
    for (unsigned i = 1; i < bus->device_count; i++) {
        struct device *d = bus->devices[i];

        if (d == &bus->nobody) /* one was there, and has been removed */
            continue;
        spin_lock(d->lock);
        for (unsigned t = 0; t < DEVICE_TIMERS; t++)
            bus_timer_set(bus, d, t, TIMER_OFF);
        d->ops->reset(d);
        spin_unlock(d->lock);
    }
}

void bus_save(struct bus *bus, struct state_writer *w)
{
    for (unsigned i = 1; i < bus->device_count; i++) {
        struct device *d = bus->devices[i];

        if (d == &bus->nobody) /* one was there, and has been removed */
            continue;
        spin_lock(d->lock);
        state_begin(w, d->ops->name, d->ops->version);
        for (unsigned t = 0; d->ops->timer && t < DEVICE_TIMERS; t++)
            state_put_u64(w, deadline_of(d, t));
        d->ops->save(d, w);
        state_end(w);
        spin_unlock(d->lock);
    }
}

static int load_device(struct bus *bus, struct device *d, struct state_reader *r)
{
    int error = state_enter(r, d->ops->name, d->ops->version);

    if (error)
        return error;
    for (unsigned t = 0; d->ops->timer && t < DEVICE_TIMERS; t++)
        bus_timer_set(bus, d, t, state_get_u64(r));
    error = d->ops->load(d, r);
    if (error && !r->error)
        r->error = "a device's saved state has a value out of its range";
    return state_leave(r);
}

int bus_load(struct bus *bus, struct state_reader *r)
{
    int error = 0;

    for (unsigned i = 1; i < bus->device_count && !error; i++) {
        struct device *d = bus->devices[i];

        if (d == &bus->nobody) /* one was there, and has been removed */
            continue;
        spin_lock(d->lock);
        error = load_device(bus, d, r);
        spin_unlock(d->lock);
    }
    return error;
}
