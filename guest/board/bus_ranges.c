/* Where the ranges of a bus are, and what is seen of them. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/bus_internal.h"
#include "mm/heap.h"

#define PORTS      0x10000u
#define PAGE_PORTS 256ull
#define LAYERS     (2 * BUS_RANGES) /* no more than pieces */
#define ROOM_STEP  24               /* ranges: what few VMs go beyond, in half a page */

_Static_assert(LAYERS <= GUEST_MEMORY_LAYERS, "guest memory has room for what all pieces show");

/* What all pages are that nobody has a port in. Never written to. */
static struct bus_port_page no_ports;

void bus_ranges_init(struct bus *bus)
{
    spin_init(&bus->lock, RANK_BUS);
    bus->changes = 1;
    for (unsigned i = 0; i < ARRAY_SIZE(bus->port_page); i++)
        bus->port_page[i] = &no_ports;
}

void bus_ranges_free(struct bus *bus)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bus->port_page); i++) {
        if (bus->port_page[i] == &no_ports)
            continue;
        heap_free(bus->port_page[i]);
        bus->port_page[i] = &no_ports;
    }
    heap_free(bus->layer);
    bus->layer = NULL;
    heap_free(bus->piece);
    bus->piece = NULL;
    bus->room_for = 0;
    bus->range_count = 0;
    bus->piece_count = 0;
    while (bus->fixed) {
        struct bus_range *next = bus->fixed->next;
        heap_free(bus->fixed);
        bus->fixed = next;
    }
}

static uint64_t last_of(const struct bus_range *r)
{
    return r->base + r->size - 1;
}

/* --- ports --- */

/* Whose the ports from first to last of one page are, by all ranges that are placed; p is zero
 * there. Whether they are anybody's. */
static bool owners(const struct bus *bus, uint64_t first, uint64_t last, struct bus_port_page *p)
{
    bool any = false;

    for (unsigned i = bus->range_count; i-- > 0;) {
        const struct bus_range *r = bus->range[i];

        if (r->space != BUS_PORTS || !r->placed || r->base > last || last_of(r) < first)
            continue;
        uint8_t owner = (uint8_t)bus_device_index(bus, r->device);
        uint64_t from = MAX(r->base, first), count = MIN(last_of(r), last) - from + 1;
        memset(p->owner + from % PAGE_PORTS, owner, count);
        if (!r->bytes_only)
            memset(p->wide_owner + from % PAGE_PORTS, owner, count);
        any = true;
    }
    return any;
}

static void copy_owners(uint8_t *shown, const uint8_t *owner, uint64_t count)
{
    for (unsigned i = 0; i < count; i++)
        if (shown[i] != owner[i])
            __atomic_store_n(&shown[i], owner[i], __ATOMIC_RELAXED);
}

/* The ports from first to last, all of one page, show whose they are now. */
static int show_page(struct bus *bus, uint64_t first, uint64_t last)
{
    struct bus_port_page **page = &bus->port_page[first / PAGE_PORTS], now = {0}, *new;
    unsigned at = first % PAGE_PORTS;
    bool any = owners(bus, first, last, &now);

    if (*page != &no_ports) {
        copy_owners((*page)->owner + at, now.owner + at, last - first + 1);
        copy_owners((*page)->wide_owner + at, now.wide_owner + at, last - first + 1);
        return 0;
    }
    if (!any)
        return 0;
    new = heap_alloc(sizeof(*new));
    if (!new)
        return -ENOMEM;
    /* All of it: where there was no memory before, others have been left out. */
    owners(bus, ALIGN_DOWN(first, PAGE_PORTS), first | (PAGE_PORTS - 1), new);
    __atomic_store_n(page, new, __ATOMIC_RELEASE);
    return 0;
}

static int show_ports(struct bus *bus, uint64_t base, uint64_t size)
{
    uint64_t end = base + size, next;
    int result = 0;

    for (; base < end; base = next) {
        next = MIN(ALIGN_DOWN(base, PAGE_PORTS) + PAGE_PORTS, end);
        if (show_page(bus, base, next - 1) < 0)
            result = -ENOMEM;
    }
    return result;
}

/* --- memory --- */

static void insert_piece(struct bus *bus, unsigned at, uint64_t base, uint64_t last,
                         const struct bus_range *r)
{
    memmove(&bus->piece[at + 1], &bus->piece[at], (bus->piece_count - at) * sizeof(bus->piece[0]));
    bus->piece[at] = (struct bus_piece){
        .base = base,
        .size = last - base + 1,
        .range_base = r->base,
        .device = r->device,
        .range = r,
    };
    bus->piece_count++;
}

/* What the pieces that are there leave of r becomes pieces, too. n ranges end where pieces change,
 * or begin there: at most 2n - 1 pieces. */
static void show_rest(struct bus *bus, const struct bus_range *r)
{
    uint64_t from = r->base, last = last_of(r);
    unsigned at = 0;

    while (at < bus->piece_count && bus->piece[at].base + bus->piece[at].size - 1 < from)
        at++;
    for (;; at++) {
        if (at == bus->piece_count || bus->piece[at].base > last) {
            insert_piece(bus, at, from, last, r);
            return;
        }
        if (bus->piece[at].base > from) {
            insert_piece(bus, at, from, bus->piece[at].base - 1, r);
            at++;
        }
        uint64_t covered = bus->piece[at].base + bus->piece[at].size - 1;
        if (covered >= last)
            return;
        from = covered + 1;
    }
}

/* There is room for what memory shows: before a range may show any, or hide RAM. */
static int make_room(struct bus *bus, const struct bus_range *r, enum bus_shows shows)
{
    bool calls = shows == BUS_CALLS && r->priority < BUS_OVER;

    if (bus->layer || !bus->set_layers || r->space == BUS_PORTS || calls)
        return 0;
    if (bus->make_room(bus) < 0)
        return -ENOMEM;
    bus->layer = heap_alloc(LAYERS * sizeof(*bus->layer));
    return bus->layer ? 0 : -ENOMEM;
}

/* What memory shows in the pieces: pages of a piece that are only partly its show nothing. */
static unsigned find_layers(struct bus *bus)
{
    unsigned count = 0;

    for (unsigned i = 0; i < bus->piece_count; i++) {
        const struct bus_piece *p = &bus->piece[i];
        const struct bus_range *r = p->range;
        bool over = r->priority >= BUS_OVER, calls = r->shows == BUS_CALLS;

        if ((calls && !over) || p->base >= GUEST_MEMORY_END)
            continue;
        uint64_t end = MIN(p->base + p->size - 1, GUEST_MEMORY_END - 1) + 1;
        uint64_t from = ALIGN_UP(p->base, PAGE_SIZE);
        end = ALIGN_DOWN(end, PAGE_SIZE);
        if (from >= end)
            continue;
        bus->layer[count++] = (struct guest_memory_layer){
            .gpa = from,
            .size = end - from,
            .from = calls ? 0 : r->from + (from - r->base),
            .shows = calls                    ? GUEST_LAYER_NOTHING
                     : r->shows == BUS_FRAMES ? GUEST_LAYER_FRAMES
                                              : GUEST_LAYER_RAM,
            .writable = r->writable,
            .over_ram = over,
        };
    }
    return count;
}

/* Something else may stand at a range's place. */
static void tell_changed(struct bus *bus, uint64_t base, uint64_t size)
{
    uint64_t last = MIN(base + size - 1, GUEST_MEMORY_END - 1);
    uint64_t from = ALIGN_DOWN(base, PAGE_SIZE);

    if (base < GUEST_MEMORY_END)
        bus->memory_changed(bus, from, ALIGN_UP(last + 1, PAGE_SIZE) - from);
}

static void show_pieces(struct bus *bus)
{
    bus->piece_count = 0;
    for (unsigned i = 0; i < bus->range_count; i++)
        if (bus->range[i]->space == BUS_MEMORY && bus->range[i]->placed)
            show_rest(bus, bus->range[i]);
    __atomic_store_n(&bus->changes, bus->changes + 1, __ATOMIC_RELEASE);
}

/* r was at `left`, if it was anywhere, or showed something else. */
static void show_memory(struct bus *bus, const struct bus_range *r, bool was_placed, uint64_t left)
{
    show_pieces(bus);
    if (!bus->layer || !bus->set_layers(bus, bus->layer, find_layers(bus)))
        return;
    if (was_placed)
        tell_changed(bus, left, r->size);
    if (r->placed && (!was_placed || r->base != left))
        tell_changed(bus, r->base, r->size);
}

/* --- coming, moving, going --- */

/* Memory shows, and RAM is hidden, in whole pages. */
static bool is_aligned(const struct bus_range *r, uint64_t base, enum bus_shows shows,
                       uint64_t from)
{
    if (shows == BUS_CALLS)
        return r->space == BUS_PORTS || r->priority < BUS_OVER ||
               IS_ALIGNED(base | r->size, PAGE_SIZE);
    return r->space == BUS_MEMORY && IS_ALIGNED(base | r->size | from, PAGE_SIZE);
}

static bool fits(const struct bus_range *r, uint64_t base)
{
    uint64_t end = r->space == BUS_PORTS ? PORTS - 1 : UINT64_MAX;

    if (!is_aligned(r, base, r->shows, r->from))
        return false;
    return r->size != 0 && base <= end && r->size - 1 <= end - base;
}

static bool is_possible(const struct bus *bus, const struct bus_range *r, uint64_t base)
{
    const struct device_ops *ops = r->device->ops;

    return (bus_device_index(bus, r->device) != 0 || r->device == &bus->nobody) && fits(r, base) &&
           (r->space == BUS_PORTS ? ops->port_read && ops->port_write
                                  : ops->mmio_read && ops->mmio_write);
}

/* There is room for the pieces of one range more. */
static int make_room_for_pieces(struct bus *bus)
{
    struct bus_piece *piece;

    if (bus->range_count < bus->room_for)
        return 0;
    piece = heap_alloc(2 * (bus->room_for + ROOM_STEP) * sizeof(*piece));
    if (!piece)
        return -ENOMEM;
    if (bus->piece)
        memcpy(piece, bus->piece, bus->piece_count * sizeof(*piece));
    heap_free(bus->piece);
    bus->piece = piece;
    bus->room_for += ROOM_STEP;
    return 0;
}

static int add(struct bus *bus, struct bus_range *r)
{
    unsigned at = 0;
    int result;

    if (bus->range_count == BUS_RANGES)
        return -ENOSPC;
    result = make_room_for_pieces(bus);
    if (result < 0)
        return result;
    while (at < bus->range_count && bus->range[at]->priority >= r->priority)
        at++;
    memmove(&bus->range[at + 1], &bus->range[at], (bus->range_count - at) * sizeof(bus->range[0]));
    bus->range[at] = r;
    bus->range_count++;
    r->placed = false;
    return 0;
}

/* It is at base, or nowhere, and that shows. */
static int place(struct bus *bus, struct bus_range *r, bool placed, uint64_t base)
{
    uint64_t left = r->base;
    bool was_placed = r->placed;
    int result = 0;

    if (placed == was_placed && (!placed || base == left))
        return 0;
    r->placed = placed;
    r->base = base;
    if (r->space == BUS_MEMORY) {
        show_memory(bus, r, was_placed, left);
        return 0;
    }
    if (was_placed)
        result = show_ports(bus, left, r->size);
    if (placed && show_ports(bus, base, r->size) < 0)
        result = -ENOMEM;
    return result;
}

int bus_add_range(struct bus *bus, struct bus_range *r)
{
    if (!is_possible(bus, r, 0))
        return -EINVAL;
    spin_lock(&bus->lock);
    int result = make_room(bus, r, r->shows);
    if (result == 0)
        result = add(bus, r);
    spin_unlock(&bus->lock);
    return result;
}

int bus_place(struct bus *bus, struct bus_range *r, uint64_t base)
{
    bool possible = fits(r, base);

    spin_lock(&bus->lock);
    int result = place(bus, r, possible, base);
    spin_unlock(&bus->lock);
    return possible ? result : -EINVAL;
}

int bus_show(struct bus *bus, struct bus_range *r, enum bus_shows shows, uint64_t from,
             bool writable)
{
    if (!is_aligned(r, r->placed ? r->base : 0, shows, from))
        return -EINVAL;
    spin_lock(&bus->lock);
    int result = make_room(bus, r, shows);
    if (result == 0) {
        r->shows = (uint8_t)shows;
        r->writable = writable;
        r->from = from;
        if (r->placed)
            show_memory(bus, r, true, r->base);
    }
    spin_unlock(&bus->lock);
    return result;
}

void bus_withdraw(struct bus *bus, struct bus_range *r)
{
    spin_lock(&bus->lock);
    (void)place(bus, r, false, 0); /* which takes no memory, unless there was none before */
    spin_unlock(&bus->lock);
}

/* --- ranges that stay --- */

static bool is_taken(const struct bus *bus, const struct bus_range *new, uint64_t base)
{
    for (unsigned i = 0; i < bus->range_count; i++) {
        const struct bus_range *r = bus->range[i];

        if (r->space == new->space && r->priority == new->priority && r->placed &&
            r->base <= base + new->size - 1 && base <= last_of(r))
            return true;
    }
    return false;
}

static int add_fixed(struct bus *bus, const struct bus_range *range, uint64_t base)
{
    struct bus_range *r;
    int result;

    if (!is_possible(bus, range, base))
        return -EINVAL;
    r = heap_alloc(sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = *range;
    spin_lock(&bus->lock);
    result = is_taken(bus, r, base) ? -EEXIST : add(bus, r);
    bool added = result == 0;
    if (added) {
        r->next = bus->fixed;
        bus->fixed = r;
        result = place(bus, r, true, base);
    }
    spin_unlock(&bus->lock);
    if (!added)
        heap_free(r);
    return result;
}

int bus_add_ports(struct bus *bus, struct device *d, uint16_t base, unsigned count)
{
    const struct bus_range r = {
        .device = d, .size = count, .space = BUS_PORTS, .priority = BUS_FIXED};

    return add_fixed(bus, &r, base);
}

int bus_add_mmio(struct bus *bus, struct device *d, uint64_t base, uint64_t size)
{
    const struct bus_range r = {
        .device = d, .size = size, .space = BUS_MEMORY, .priority = BUS_FIXED};

    return add_fixed(bus, &r, base);
}

/* --- going for good --- */

static void free_fixed(struct bus *bus, const struct bus_range *r)
{
    struct bus_range **at = &bus->fixed;

    while (*at && *at != r)
        at = &(*at)->next;
    if (!*at)
        return;
    struct bus_range *gone = *at;
    *at = gone->next;
    heap_free(gone);
}

void bus_ranges_forget(struct bus *bus, const struct device *d)
{
    unsigned kept = 0;

    spin_lock(&bus->lock);
    for (unsigned i = 0; i < bus->range_count; i++)
        if (bus->range[i]->device == d)
            (void)place(bus, bus->range[i], false, 0);
    for (unsigned i = 0; i < bus->range_count; i++) {
        struct bus_range *r = bus->range[i];

        if (r->device == d)
            free_fixed(bus, r);
        else
            bus->range[kept++] = r;
    }
    bus->range_count = kept;
    spin_unlock(&bus->lock);
}

/* --- finding --- */

bool bus_find(struct bus *bus, struct bus_view *v, uint64_t gpa)
{
    unsigned low = 0, high;
    bool found = false;

    spin_lock(&bus->lock);
    high = bus->piece_count;
    while (low < high && !found) {
        unsigned middle = (low + high) / 2;
        const struct bus_piece *p = &bus->piece[middle];

        if (gpa < p->base) {
            high = middle;
        } else if (gpa - p->base >= p->size) {
            low = middle + 1;
        } else {
            *v = (struct bus_view){.changes = bus->changes, .piece = *p};
            if (p->range->shows != BUS_CALLS)
                v->changes = 0; /* not every access there is the device's: each is looked at */
            found = true;
        }
    }
    spin_unlock(&bus->lock);
    if (found || !bus->otherwise)
        return found;
    *v = (struct bus_view){
        .piece = {.base = ALIGN_DOWN(gpa, PAGE_SIZE), .size = PAGE_SIZE, .device = bus->otherwise}};
    return true;
}
