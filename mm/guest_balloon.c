/* Pages of a VM's RAM that its guest has given back, and their frames. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/guest_memory_internal.h"
#include "mm/heap.h"

#define LEAVING 256u /* frames that may be leaving at a time */

struct guest_balloon {
    struct spinlock lock; /* RANK_MEMORY: over changes of which page has a frame */
    uint64_t given;       /* pages without; atomic */
    paddr zero;           /* a frame of zeroes: what is read there */
    uint64_t left, gone;  /* frames that have left, and those of them that are nobody's; atomic */
    paddr leaving[LEAVING];
};

int guest_memory_balloon(struct guest_memory *gm)
{
    struct guest_balloon *b = heap_alloc(sizeof(*b));

    if (!b)
        return -ENOMEM;
    b->zero = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (b->zero == FRAME_NONE) {
        heap_free(b);
        return -ENOMEM;
    }
    memset(phys_to_virt(b->zero), 0, PAGE_SIZE);
    spin_init(&b->lock, RANK_MEMORY);
    gm->metadata += PAGE_SIZE;
    gm->balloon = b;
    return 0;
}

void guest_balloon_destroy(struct guest_balloon *b)
{
    if (!b)
        return;
    for (; b->gone < b->left; b->gone++)
        frame_free(b->leaving[b->gone % LEAVING], FRAME_ORDER_4K);
    frame_free(b->zero, FRAME_ORDER_4K);
    heap_free(b);
}

/* --- one frame for each page --- */

/* A 1 GiB block becomes 2 MiB blocks, in place. */
static void split_gigabyte(const struct guest_memory_range *r, uint64_t gpa)
{
    uint64_t *chunk = &r->chunks[chunk_index(r, ALIGN_DOWN(gpa, GIB))];

    frame_split(ALIGN_DOWN(plain(chunk[0]), PAGE_SIZE), FRAME_ORDER_1G, FRAME_ORDER_2M);
    for (uint32_t i = 0; i < GIB / GUEST_CHUNK; i++) {
        uint64_t word = __atomic_load_n(&chunk[i], __ATOMIC_RELAXED), kind;

        do {
            kind = (uint64_t)(KIND_1G ^ KIND_2M) << (word & LAYERED ? KIND_REAL : 0);
        } while (!__atomic_compare_exchange_n(&chunk[i], &word, word ^ kind, false,
                                              __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    }
}

/* A 2 MiB block becomes pages, in place. */
static int split_chunk(struct guest_memory *gm, uint64_t *chunk, uint64_t word)
{
    paddr table = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL), base = ALIGN_DOWN(word, PAGE_SIZE);

    if (table == FRAME_NONE)
        return -ENOMEM;
    for (unsigned i = 0; i < TABLE_ENTRIES; i++)
        ((uint64_t *)phys_to_virt(table))[i] = base + i * PAGE_SIZE;
    if (!__atomic_compare_exchange_n(chunk, &word, table | KIND_TABLE, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED)) {
        frame_free(table, FRAME_ORDER_4K);
        return -EBUSY; /* a layer has come */
    }
    frame_split(base, FRAME_ORDER_2M, FRAME_ORDER_4K);
    gm->metadata += PAGE_SIZE;
    return 0;
}

/* The word of the page at gpa, in a chunk that consists of pages. */
static int page_entry(struct guest_memory *gm, const struct guest_memory_range *r, uint64_t gpa,
                      uint64_t **entry)
{
    uint64_t *chunk = &r->chunks[chunk_index(r, gpa)];
    uint64_t word = __atomic_load_n(chunk, __ATOMIC_RELAXED);

    if (word & LAYERED)
        return -EBUSY;
    if ((word & KIND_MASK) != KIND_TABLE) {
        if (frame_pinned(ALIGN_DOWN(word, PAGE_SIZE) + gpa % GUEST_CHUNK))
            return -EBUSY;
        if ((word & KIND_MASK) == KIND_1G)
            split_gigabyte(r, gpa);
        int result = split_chunk(gm, chunk, ALIGN_DOWN(word, PAGE_SIZE) | KIND_2M);
        if (result < 0)
            return result;
        word = *chunk;
    }
    *entry = table_entry(ALIGN_DOWN(word, PAGE_SIZE), gpa);
    return 0;
}

/* --- going --- */

static int give(struct guest_memory *gm, uint64_t gpa, paddr *frame)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);
    struct guest_balloon *b = gm->balloon;
    uint64_t *entry;
    int result;

    if (!r)
        return -EFAULT;
    if (b->left - b->gone == LEAVING)
        return -EAGAIN;
    result = page_entry(gm, r, ALIGN_DOWN(gpa, PAGE_SIZE), &entry);
    if (result < 0)
        return result;
    if (!*entry)
        return -ENOENT;
    if (frame_pinned(*entry))
        return -EBUSY;
    *frame = *entry;
    __atomic_store_n(entry, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&b->given, b->given + 1, __ATOMIC_RELAXED);
    return 0;
}

int guest_memory_give(struct guest_memory *gm, uint64_t gpa, paddr *frame)
{
    spin_lock(&gm->balloon->lock);
    int result = give(gm, gpa, frame);
    spin_unlock(&gm->balloon->lock);
    return result;
}

void guest_memory_leave(struct guest_memory *gm, paddr frame)
{
    struct guest_balloon *b = gm->balloon;

    spin_lock(&b->lock);
    b->leaving[b->left % LEAVING] = frame;
    __atomic_store_n(&b->left, b->left + 1, __ATOMIC_RELEASE);
    spin_unlock(&b->lock);
}

uint64_t guest_memory_leaving(const struct guest_memory *gm)
{
    const struct guest_balloon *b = gm->balloon;
    uint64_t left;

    if (!b)
        return 0;
    left = __atomic_load_n(&b->left, __ATOMIC_ACQUIRE);
    return left == __atomic_load_n(&b->gone, __ATOMIC_RELAXED) ? 0 : left;
}

/* Who had found out before it left where the page is may have pinned it since. */
void guest_memory_let_go(struct guest_memory *gm, uint64_t leaving)
{
    struct guest_balloon *b = gm->balloon;

    spin_lock(&b->lock);
    for (; b->gone < leaving; __atomic_store_n(&b->gone, b->gone + 1, __ATOMIC_RELAXED)) {
        paddr frame = b->leaving[b->gone % LEAVING];

        if (frame_pinned(frame)) { /* its turn comes again */
            b->leaving[b->left % LEAVING] = frame;
            __atomic_store_n(&b->left, b->left + 1, __ATOMIC_RELEASE);
        } else {
            frame_free(frame, FRAME_ORDER_4K);
        }
    }
    spin_unlock(&b->lock);
}

uint64_t guest_memory_given(const struct guest_memory *gm)
{
    return gm->balloon ? __atomic_load_n(&gm->balloon->given, __ATOMIC_RELAXED) : 0;
}

/* --- coming back --- */

/* The word of the page at gpa, which has no frame; NULL: it has one. */
static uint64_t *given_entry(const struct guest_memory_range *r, uint64_t gpa)
{
    uint64_t word = plain(__atomic_load_n(&r->chunks[chunk_index(r, gpa)], __ATOMIC_RELAXED)),
             *entry;

    if ((word & KIND_MASK) != KIND_TABLE)
        return NULL;
    entry = table_entry(ALIGN_DOWN(word, PAGE_SIZE), gpa);
    return __atomic_load_n(entry, __ATOMIC_RELAXED) ? NULL : entry;
}

int guest_memory_back(const struct guest_memory *gm, uint64_t gpa)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);
    struct guest_balloon *b = gm->balloon;
    uint64_t *entry;
    paddr frame;

    if (!r)
        return -EFAULT;
    entry = given_entry(r, gpa);
    if (!entry)
        return 0;
    frame = frame_alloc(FRAME_ORDER_4K, gm->owner);
    if (frame == FRAME_NONE)
        return -ENOMEM;
    fill64(phys_to_virt(frame), 0, PAGE_SIZE / 8);
    spin_lock(&b->lock);
    bool given = !*entry;
    if (given) {
        __atomic_store_n(entry, frame, __ATOMIC_RELEASE);
        __atomic_store_n(&b->given, b->given - 1, __ATOMIC_RELAXED);
    }
    spin_unlock(&b->lock);
    if (!given) /* another processor has been quicker */
        frame_free(frame, FRAME_ORDER_4K);
    return 0;
}

paddr guest_balloon_page(const struct guest_memory *gm, uint64_t gpa, bool write)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);

    if (!write)
        return gm->balloon->zero + gpa % PAGE_SIZE;
    if (guest_memory_back(gm, gpa) < 0)
        return FRAME_NONE;
    uint64_t word = plain(__atomic_load_n(&r->chunks[chunk_index(r, gpa)], __ATOMIC_RELAXED));
    paddr frame = __atomic_load_n(table_entry(ALIGN_DOWN(word, PAGE_SIZE), gpa), __ATOMIC_RELAXED);
    return frame ? frame + gpa % PAGE_SIZE : FRAME_NONE; /* given again meanwhile */
}
