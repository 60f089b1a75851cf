/* See past.h: a tree of nodes of 64 entries, always of the same height. */
#include "guest/storage/past.h"

#include "arch/x86/lib/errno.h"
#include "mm/heap.h"

#define NODE_SHIFT   6u
#define NODE_ENTRIES (1u << NODE_SHIFT)
#define LEVELS       6u

_Static_assert(PAST_BLOCKS == BIT(NODE_SHIFT * LEVELS), "as many as the tree has places for");

/* The lowest level has words (see past_get()), the others have nodes. */
struct past_node {
    union {
        struct past_node *node[NODE_ENTRIES];
        paddr what[NODE_ENTRIES];
    };
};

static unsigned index_at(uint64_t number, unsigned level)
{
    return (unsigned)(number >> NODE_SHIFT * level) % NODE_ENTRIES;
}

/* --- memory --- */

static bool take(struct past_memory *memory, uint64_t bytes)
{
    struct frame_stats f;

    frame_stats(&f);
    if (f.free < memory->spare + bytes)
        return false;
    if (__atomic_add_fetch(&memory->used, bytes, __ATOMIC_RELAXED) <= memory->limit)
        return true;
    __atomic_fetch_sub(&memory->used, bytes, __ATOMIC_RELAXED);
    return false;
}

static void give(struct past_memory *memory, uint64_t bytes)
{
    __atomic_fetch_sub(&memory->used, bytes, __ATOMIC_RELAXED);
}

paddr past_take(struct past_memory *memory, paddr highest)
{
    paddr frame = FRAME_NONE;

    if (!take(memory, PAST_SIZE))
        return FRAME_NONE;
    frame = frame_alloc_below(FRAME_ORDER_4K, memory->owner, highest);
    if (frame == FRAME_NONE)
        give(memory, PAST_SIZE);
    return frame;
}

void past_give(struct past_memory *memory, paddr frame)
{
    frame_free(frame, FRAME_ORDER_4K);
    give(memory, PAST_SIZE);
}

static struct past_node *node_alloc(struct past_map *m, struct past_memory *memory)
{
    struct past_node *n = NULL;

    if (!take(memory, sizeof(*n)))
        return NULL;
    n = heap_alloc(sizeof(*n));
    if (n)
        m->bytes += sizeof(*n);
    else
        give(memory, sizeof(*n));
    return n;
}

static void node_free(struct past_map *m, struct past_memory *memory, struct past_node *n)
{
    heap_free(n);
    m->bytes -= sizeof(*n);
    give(memory, sizeof(*n));
}

static void free_block(struct past_map *m, struct past_memory *memory, paddr what)
{
    if (what == 0 || what == PAST_ZEROES)
        return;
    m->bytes -= PAST_SIZE;
    past_give(memory, what);
}

/* --- one block --- */

uint64_t past_cost(uint64_t before, uint64_t number)
{
    uint64_t bytes = PAST_SIZE;

    for (unsigned level = 1; level <= LEVELS; level++)
        if (before == PAST_NONE || before >> NODE_SHIFT * level != number >> NODE_SHIFT * level)
            bytes += sizeof(struct past_node);
    return bytes;
}

int past_place(struct past_map *m, struct past_memory *memory, uint64_t number)
{
    struct past_node **at = &m->root;

    for (unsigned level = LEVELS; level--;) {
        if (!*at)
            *at = node_alloc(m, memory);
        if (!*at)
            return -ENOMEM;
        at = &(*at)->node[index_at(number, level)];
    }
    return 0;
}

/* NULL: it has none. */
static paddr *place_of(const struct past_map *m, uint64_t number)
{
    struct past_node *n = number < PAST_BLOCKS ? m->root : NULL;

    for (unsigned level = LEVELS; n && --level;)
        n = n->node[index_at(number, level)];
    return n ? &n->what[index_at(number, 0)] : NULL;
}

bool past_put(struct past_map *m, uint64_t number, paddr what)
{
    paddr *place = place_of(m, number);

    if (!place || *place)
        return false;
    *place = what;
    m->bytes += what == PAST_ZEROES ? 0 : PAST_SIZE;
    return true;
}

paddr past_get(const struct past_map *m, uint64_t number)
{
    const paddr *place = place_of(m, number);

    return place ? *place : 0;
}

void past_drop(struct past_map *m, struct past_memory *memory, uint64_t number)
{
    paddr *place = place_of(m, number);

    if (!place)
        return;
    free_block(m, memory, *place);
    *place = 0;
}

/* --- all of them --- */

/* In a node whose first block has that number. */
static uint64_t next_in(const struct past_node *n, unsigned level, uint64_t first, uint64_t from)
{
    uint64_t each = BIT(NODE_SHIFT * level), found = PAST_NONE;

    for (unsigned i = from > first ? index_at(from, level) : 0;
         i < NODE_ENTRIES && found == PAST_NONE; i++) {
        if (level == 0 && n->what[i])
            found = first + i;
        else if (level && n->node[i])
            found = next_in(n->node[i], level - 1, first + i * each, from);
    }
    return found;
}

uint64_t past_next(const struct past_map *m, uint64_t from)
{
    return m->root && from < PAST_BLOCKS ? next_in(m->root, LEVELS - 1, 0, from) : PAST_NONE;
}

/* What is in both stays once: `into`'s. The node `from` itself is gone afterwards. */
static void merge(struct past_node *into, struct past_node *from, unsigned level,
                  struct past_map *m, struct past_memory *memory)
{
    for (unsigned i = 0; i < NODE_ENTRIES; i++) {
        if (level && into->node[i] && from->node[i])
            merge(into->node[i], from->node[i], level - 1, m, memory);
        else if (level && from->node[i])
            into->node[i] = from->node[i];
        else if (level == 0 && into->what[i])
            free_block(m, memory, from->what[i]);
        else if (level == 0)
            into->what[i] = from->what[i];
    }
    node_free(m, memory, from);
}

void past_merge(struct past_map *into, struct past_map *from, struct past_memory *memory)
{
    into->bytes += from->bytes;
    if (into->root && from->root)
        merge(into->root, from->root, LEVELS - 1, into, memory);
    else if (from->root)
        into->root = from->root;
    *from = (struct past_map){0};
}

static void clear(struct past_node *n, unsigned level, struct past_map *m,
                  struct past_memory *memory)
{
    for (unsigned i = 0; i < NODE_ENTRIES; i++) {
        if (level && n->node[i])
            clear(n->node[i], level - 1, m, memory);
        else if (level == 0)
            free_block(m, memory, n->what[i]);
    }
    node_free(m, memory, n);
}

void past_clear(struct past_map *m, struct past_memory *memory)
{
    if (m->root)
        clear(m->root, LEVELS - 1, m, memory);
    m->root = NULL;
}
