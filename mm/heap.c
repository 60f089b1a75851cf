#include "mm/heap.h"

#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/spinlock.h"
#include "mm/frame.h"

/*
 * A slab is one frame of objects of one size, with its header in front; so no small object is page
 * aligned, and heap_free() tells slabs from runs of whole frames by the address alone. The sizes
 * are what fits 2, 3, 4, ... times behind the header.
 */
static const uint16_t sizes[] = {16,  32,  48,  64,  80,  96,   128,  160, 192,
                                 256, 336, 448, 576, 800, 1008, 1344, 2032};

#define KINDS      ARRAY_SIZE(sizes)
#define SMALL_MAX  2032u
#define SLAB_MAGIC 0x51abu

struct object {
    struct object *next;
};

struct slab {
    struct slab *next, *previous; /* in its kind's list of slabs with free objects */
    struct object *free;
    uint16_t magic, kind, used, capacity;
};
_Static_assert(sizeof(struct slab) == 32, "objects are aligned to 16");

static struct spinlock lock = SPINLOCK(RANK_HEAP);
static struct slab *partial[KINDS];

static void list_add(struct slab *s)
{
    s->previous = NULL;
    s->next = partial[s->kind];
    if (s->next)
        s->next->previous = s;
    partial[s->kind] = s;
}

static void list_remove(struct slab *s)
{
    if (s->next)
        s->next->previous = s->previous;
    if (s->previous)
        s->previous->next = s->next;
    else
        partial[s->kind] = s->next;
}

static struct slab *slab_new(unsigned kind)
{
    paddr frame = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    struct slab *s;
    char *object;

    if (frame == FRAME_NONE)
        return NULL;
    s = phys_to_virt(frame);
    *s = (struct slab){.magic = SLAB_MAGIC,
                       .kind = (uint16_t)kind,
                       .capacity = (uint16_t)((PAGE_SIZE - sizeof(*s)) / sizes[kind])};
    object = (char *)(s + 1);
    for (unsigned i = 0; i < s->capacity; i++, object += sizes[kind]) {
        ((struct object *)object)->next = s->free;
        s->free = (struct object *)object;
    }
    list_add(s);
    return s;
}

static struct object *take(unsigned kind)
{
    struct object *o;
    struct slab *s;

    s = partial[kind] ? partial[kind] : slab_new(kind);
    if (!s)
        return NULL;
    o = s->free;
    s->free = o->next;
    s->used++;
    if (!s->free)
        list_remove(s);
    return o;
}

static void *small_alloc(size_t size)
{
    unsigned kind = 0;
    struct object *o;

    while (sizes[kind] < size)
        kind++;
    spin_lock(&lock);
    o = take(kind);
    spin_unlock(&lock);
    if (!o)
        return NULL;
    return memset(o, 0, sizes[kind]);
}

static void give_back(void *p)
{
    struct slab *s = (struct slab *)ALIGN_DOWN((uintptr_t)p, PAGE_SIZE);
    struct object *o = p;

    if (s->magic != SLAB_MAGIC || s->kind >= KINDS || !s->used ||
        ((char *)p - (char *)(s + 1)) % sizes[s->kind]) {
        log_error("heap: %p is freed but was not allocated; it is left alone", p);
        return;
    }
    if (!s->free)
        list_add(s);
    o->next = s->free;
    s->free = o;
    /* The last slab of a kind stays, so that allocating and freeing one object does not move
     * frames. */
    if (--s->used || (partial[s->kind] == s && !s->next))
        return;
    list_remove(s);
    s->magic = 0;
    frame_free(virt_to_phys(s), FRAME_ORDER_4K);
}

static void small_free(void *p)
{
    spin_lock(&lock);
    give_back(p);
    spin_unlock(&lock);
}

void *heap_alloc(size_t size)
{
    uint64_t pages = size / PAGE_SIZE + (size % PAGE_SIZE != 0);
    paddr base;

    if (size && size <= SMALL_MAX)
        return small_alloc(size);
    base = frame_run_alloc(pages, FRAME_KERNEL);
    return base == FRAME_NONE ? NULL : memset(phys_to_virt(base), 0, pages * PAGE_SIZE);
}

void heap_free(void *p)
{
    if (!p)
        return;
    if (IS_ALIGNED((uintptr_t)p, PAGE_SIZE))
        frame_run_free(virt_to_phys(p));
    else
        small_free(p);
}
