/* What devices let stand over a VM's RAM, and beside it. */
#include "arch/x86/lib/errno.h"
#include "mm/guest_memory_internal.h"
#include "mm/heap.h"

struct guest_layers {
    struct spinlock lock; /* RANK_MEMORY */
    unsigned count;
    struct guest_memory_layer item[GUEST_MEMORY_LAYERS];
};

int guest_memory_make_room(struct guest_memory *gm)
{
    struct guest_layers *room;

    if (gm->layers)
        return 0;
    room = heap_alloc(sizeof(*room));
    if (!room)
        return -ENOMEM;
    spin_init(&room->lock, RANK_MEMORY);
    __atomic_store_n(&gm->layers, room, __ATOMIC_RELEASE);
    return 0;
}

bool guest_memory_find_layer(const struct guest_memory *gm, uint64_t gpa, bool is_ram,
                             struct guest_memory_layer *out, uint64_t *end)
{
    struct guest_layers *layers = __atomic_load_n(&gm->layers, __ATOMIC_ACQUIRE);
    bool found = false;

    if (!layers)
        return false;
    spin_lock(&layers->lock);
    for (unsigned i = 0; i < layers->count; i++) {
        const struct guest_memory_layer *l = &layers->item[i];

        if (is_ram && !l->over_ram)
            continue;
        if (gpa - l->gpa < l->size) {
            *out = *l;
            *end = MIN(*end, l->gpa + l->size);
            found = true;
        } else if (l->gpa > gpa) {
            *end = MIN(*end, l->gpa);
        }
    }
    spin_unlock(&layers->lock);
    return found;
}

static bool touches(const struct guest_memory_layer *l, uint64_t gpa)
{
    return l->over_ram && l->gpa < ALIGN_DOWN(gpa, GUEST_CHUNK) + GUEST_CHUNK &&
           ALIGN_DOWN(gpa, GUEST_CHUNK) < l->gpa + l->size;
}

/* The words of the chunks of RAM that `of` touches are as these layers want them. */
static void mark_chunks(struct guest_memory *gm, const struct guest_memory_layer *of,
                        const struct guest_memory_layer *layers, unsigned count)
{
    for (uint32_t i = 0; i < gm->range_count && of->over_ram; i++) {
        const struct guest_memory_range *r = &gm->ranges[i];
        uint64_t from = MAX(of->gpa, r->gpa), to = MIN(of->gpa + of->size, r->gpa + r->size);

        for (; from < to; from = ALIGN_DOWN(from, GUEST_CHUNK) + GUEST_CHUNK) {
            uint64_t *chunk = &r->chunks[chunk_index(r, from)];
            uint64_t word = __atomic_load_n(chunk, __ATOMIC_RELAXED);
            bool touched = false;
            uint64_t is;

            for (unsigned n = 0; n < count && !touched; n++)
                touched = touches(&layers[n], from);
            do /* a page may just be given back, or the first of it is touched */
                is = (touched ? layered_word(plain(word)) : plain(word)) | (word & BUSY);
            while (!__atomic_compare_exchange_n(chunk, &word, is, false, __ATOMIC_RELAXED,
                                                __ATOMIC_RELAXED));
        }
    }
}

static bool same(const struct guest_memory_layer *a, const struct guest_memory_layer *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->from == b->from && a->shows == b->shows &&
           a->writable == b->writable && a->over_ram == b->over_ram;
}

static bool all_same(const struct guest_layers *now, const struct guest_memory_layer *layers,
                     unsigned count)
{
    if (now->count != count)
        return false;
    for (unsigned i = 0; i < count; i++)
        if (!same(&now->item[i], &layers[i]))
            return false;
    return true;
}

bool guest_memory_set_layers(struct guest_memory *gm, const struct guest_memory_layer *layers,
                             unsigned count)
{
    struct guest_layers *now = gm->layers;

    if (all_same(now, layers, count))
        return false;
    spin_lock(&now->lock);
    for (unsigned i = 0; i < now->count; i++)
        mark_chunks(gm, &now->item[i], layers, count);
    for (unsigned i = 0; i < count; i++) {
        mark_chunks(gm, &layers[i], layers, count);
        now->item[i] = layers[i];
    }
    now->count = count;
    spin_unlock(&now->lock);
    return true;
}
