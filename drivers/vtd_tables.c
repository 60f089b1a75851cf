/* See vtd_tables.h. */
#include "drivers/vtd_tables.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define ENTRIES    (PAGE_SIZE / 8)
#define LEVELS_MAX 5
#define ADDRESS    0x000ffffffffff000ULL
#define RIGHTS     (VTD_READ | VTD_WRITE)
#define SPARES_MAX 16
/* Bits that the hardware ignores: how often a page is mapped; of a table, how many entries it has.
 */
#define ONE       BIT(52)
#define TIMES_MAX 0x3ffULL
#define TIMES(e)  ((e) >> 52 & TIMES_MAX)

#define ENTRY_PRESENT       BIT(0)
#define CONTEXT_WIDTH(l)    ((uint64_t)((l)-2)) /* in the upper half: 1 is 39 bits, three levels */
#define CONTEXT_DOMAIN(n)   ((uint64_t)(n) << 8)
#define INTERRUPT_LEVEL     BIT(4)
#define INTERRUPT_VECTOR(v) ((uint64_t)(v) << 16)
#define INTERRUPT_VERIFY    BIT(18) /* in the upper half: all bits of who sends it */

_Static_assert(ENTRIES <= TIMES_MAX, "a table's entries can be counted");

/* --- entries --- */

static void publish(const void *from, size_t size, bool coherent)
{
    if (!coherent)
        vtd_write_back(from, size);
}

void vtd_set_entry(struct vtd_entry *at, struct vtd_entry e, bool coherent)
{
    /* The half with the bit that says that it is there comes last when it comes, first when it
     * goes. */
    if (!(e.low & ENTRY_PRESENT)) {
        __atomic_store_n(&at->low, e.low, __ATOMIC_RELEASE);
        __atomic_store_n(&at->high, e.high, __ATOMIC_RELEASE);
    } else {
        __atomic_store_n(&at->high, e.high, __ATOMIC_RELEASE);
        __atomic_store_n(&at->low, e.low, __ATOMIC_RELEASE);
    }
    publish(at, sizeof(*at), coherent);
}

struct vtd_entry vtd_root_entry(paddr contexts)
{
    return (struct vtd_entry){contexts | ENTRY_PRESENT, 0};
}

/* What a device says is translated already is not believed: type 0. */
struct vtd_entry vtd_context_entry(const struct vtd_space *s, unsigned domain)
{
    return (struct vtd_entry){s->root | ENTRY_PRESENT,
                              CONTEXT_WIDTH(s->levels) | CONTEXT_DOMAIN(domain)};
}

struct vtd_entry vtd_interrupt_entry(unsigned vector, uint32_t apic_id, bool x2apic, bool level,
                                     uint16_t source)
{
    uint64_t target = x2apic ? (uint64_t)apic_id << 32 : (uint64_t)(apic_id & 0xff) << 40;

    return (struct vtd_entry){target | INTERRUPT_VECTOR(vector) | (level ? INTERRUPT_LEVEL : 0) |
                                  ENTRY_PRESENT,
                              source | INTERRUPT_VERIFY};
}

/* --- tables --- */

static uint64_t *table_at(paddr at)
{
    return phys_to_virt(at);
}

static void set(const struct vtd_space *s, uint64_t *entry, uint64_t value)
{
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
    publish(entry, sizeof(*entry), s->coherent);
}

/* An empty one. */
static paddr new_table(struct vtd_space *s)
{
    paddr at = s->spare;

    if (at) {
        s->spare = *table_at(at);
        s->spares--;
        set(s, table_at(at), 0);
        return at;
    }
    at = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (at == FRAME_NONE)
        return 0;
    memset(table_at(at), 0, PAGE_SIZE);
    publish(table_at(at), PAGE_SIZE, s->coherent);
    return at;
}

int vtd_space_init(struct vtd_space *s)
{
    s->unlinked = s->spare = 0;
    s->spares = 0;
    s->unsettled = s->stale = false;
    s->root = new_table(s);
    return s->root ? 0 : -ENOMEM;
}

/* The link is an address, and so no page that is there. */
void vtd_space_settled(struct vtd_space *s)
{
    s->unsettled = s->stale = false;
    while (s->unlinked) {
        paddr at = s->unlinked;

        s->unlinked = *table_at(at);
        if (s->spares == SPARES_MAX) {
            frame_free(at, FRAME_ORDER_4K);
            continue;
        }
        *table_at(at) = s->spare;
        s->spare = at;
        s->spares++;
    }
}

/* --- pages --- */

/* The entries that lead to a page: [0] is the page's own. NULL where a table is missing. */
struct way {
    uint64_t *entry[LEVELS_MAX];
};

static uint64_t *entry_in(paddr table, paddr at, unsigned level)
{
    return &table_at(table)[at >> (12 + 9 * level) & (ENTRIES - 1)];
}

static void walk(const struct vtd_space *s, paddr at, struct way *w)
{
    paddr table = s->root;

    *w = (struct way){{NULL}};
    for (unsigned level = s->levels; level--;) {
        w->entry[level] = table ? entry_in(table, at, level) : NULL;
        table = table && (*w->entry[level] & RIGHTS) ? *w->entry[level] & ADDRESS : 0;
    }
}

/* What is empty goes, from below: the table of which that was the last entry, and so on. */
static void prune(struct vtd_space *s, struct way *w)
{
    for (unsigned level = 1; level < s->levels; level++) {
        uint64_t *entry = w->entry[level];
        paddr table;

        if (!entry || !(*entry & RIGHTS))
            continue;
        if (TIMES(*entry))
            return;
        table = *entry & ADDRESS;
        set(s, entry, 0);
        *table_at(table) = s->unlinked;
        s->unlinked = table;
        s->unsettled = true;
        if (level + 1 < s->levels)
            set(s, w->entry[level + 1], *w->entry[level + 1] - ONE);
    }
}

static int make_tables(struct vtd_space *s, paddr at, struct way *w)
{
    for (unsigned level = s->levels - 1; level; level--) {
        paddr table;

        if (*w->entry[level] & RIGHTS)
            continue;
        table = new_table(s);
        if (!table) {
            prune(s, w);
            return -ENOMEM;
        }
        set(s, w->entry[level], table | RIGHTS);
        if (level + 1 < s->levels)
            set(s, w->entry[level + 1], *w->entry[level + 1] + ONE);
        w->entry[level - 1] = entry_in(table, at, level - 1);
    }
    return 0;
}

static int map_page(struct vtd_space *s, paddr at, unsigned rights)
{
    struct way w;
    int error;

    walk(s, at, &w);
    error = make_tables(s, at, &w);
    if (error)
        return error;
    if (!(*w.entry[0] & RIGHTS)) {
        set(s, w.entry[0], at | s->always | rights | ONE);
        set(s, w.entry[1], *w.entry[1] + ONE);
        return 0;
    }
    if (TIMES(*w.entry[0]) == TIMES_MAX)
        return -EAGAIN;
    s->stale = s->stale || (rights & ~*w.entry[0]);
    set(s, w.entry[0], (*w.entry[0] | rights) + ONE);
    return 0;
}

static bool unmap_page(struct vtd_space *s, paddr at)
{
    struct way w;

    walk(s, at, &w);
    if (!w.entry[0] || !(*w.entry[0] & RIGHTS))
        return false;
    if (TIMES(*w.entry[0]) > 1) {
        set(s, w.entry[0], *w.entry[0] - ONE);
        return true;
    }
    set(s, w.entry[0], 0);
    s->unsettled = true;
    set(s, w.entry[1], *w.entry[1] - ONE);
    prune(s, &w);
    return true;
}

int vtd_map(struct vtd_space *s, paddr at, uint64_t size, unsigned rights)
{
    paddr first = ALIGN_DOWN(at, PAGE_SIZE), end = at + size;
    int error = 0;

    if (!size || end < at || (end - 1) >> (12 + 9 * s->levels))
        return -ERANGE;
    for (paddr page = first; page < end && !error; page += PAGE_SIZE) {
        error = map_page(s, page, rights);
        if (error && page > first)
            (void)vtd_unmap(s, first, page - first);
    }
    return error;
}

bool vtd_unmap(struct vtd_space *s, paddr at, uint64_t size)
{
    bool good = true;

    for (paddr page = ALIGN_DOWN(at, PAGE_SIZE); page < at + size; page += PAGE_SIZE)
        good = unmap_page(s, page) && good;
    return good;
}

unsigned vtd_rights(const struct vtd_space *s, paddr at)
{
    struct way w;

    if (at >> (12 + 9 * s->levels))
        return 0;
    walk(s, at, &w);
    return w.entry[0] ? (unsigned)(*w.entry[0] & RIGHTS) : 0;
}
