/* Pages of a VM's RAM that its guest has given back, and their frames. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/guest_memory_internal.h"
#include "mm/heap.h"

#define LEAVING 256u /* frames that may be leaving at a time */

/* Under the lock of struct guest_ram. */
struct guest_balloon {
    uint64_t left, gone;    /* frames that have left, and those of them that are nobody's; atomic */
    paddr leaving[LEAVING]; /* with WHOLE, a block of 2 MiB */
};

#define WHOLE BIT(0)

static unsigned order_of(paddr leaving)
{
    return leaving & WHOLE ? FRAME_ORDER_2M : FRAME_ORDER_4K;
}

int guest_memory_balloon(struct guest_memory *gm)
{
    gm->balloon = heap_alloc(sizeof(*gm->balloon));
    return gm->balloon ? 0 : -ENOMEM;
}

static void free_leaving(paddr leaving)
{
    frame_free(frame_of(leaving), order_of(leaving));
}

void guest_balloon_destroy(struct guest_balloon *b)
{
    if (!b)
        return;
    for (; b->gone < b->left; b->gone++)
        free_leaving(b->leaving[b->gone % LEAVING]);
    heap_free(b);
}

/* --- one word for each page --- */

/* A chunk becomes pages: a block in place, or what nobody has touched, without any. word: as it is.
 */
static int split_chunk(uint64_t *chunk, uint64_t word)
{
    paddr table = guest_ram_table(0), base = ALIGN_DOWN(word, PAGE_SIZE);
    uint64_t was = word;

    if (table == FRAME_NONE)
        return -ENOMEM;
    for (unsigned i = 0; i < TABLE_ENTRIES && word != UNTOUCHED; i++)
        ((uint64_t *)phys_to_virt(table))[i] = base + i * PAGE_SIZE;
    if (!__atomic_compare_exchange_n(chunk, &was, table | KIND_TABLE, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED)) {
        frame_free(table, FRAME_ORDER_4K);
        return was & BUSY ? -EAGAIN : -EBUSY; /* it is touched, or a layer has come */
    }
    if (word != UNTOUCHED)
        frame_split(base, FRAME_ORDER_2M, FRAME_ORDER_4K);
    return 0;
}

/* The same, with a table of EPT where those of the others are promised. What nobody has touched was
 * promised as a block, and now is as pages. */
static int split_promised(struct guest_ram *ram, uint64_t *chunk, uint64_t word, bool whole)
{
    bool more = whole && ram->promised;

    if (more && !frame_promise_more(&ram->tables, 1))
        return -ENOMEM;
    int result = split_chunk(chunk, word);
    if (result < 0 && more)
        frame_promise_less(&ram->tables, 1);
    if (result < 0 || word != UNTOUCHED)
        return result;
    if (whole)
        frame_promise_split(&ram->promise);
    __atomic_fetch_add(&ram->begun, 1, __ATOMIC_RELAXED);
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
    if (word & BUSY)
        return -EAGAIN;
    if (word == UNTOUCHED && !gm->ram->promised)
        return -ENOENT; /* and nothing would come of it */
    if ((word & KIND_MASK) == KIND_2M &&
        frame_pinned(ALIGN_DOWN(word, PAGE_SIZE) + gpa % GUEST_CHUNK, FRAME_ORDER_4K))
        return -EBUSY;
    if ((word & KIND_MASK) != KIND_TABLE) {
        int result = split_promised(gm->ram, chunk, word, guest_ram_whole(r, gpa));
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
    struct guest_ram *ram = gm->ram;
    uint64_t *entry;
    int result;

    if (!r)
        return -EFAULT;
    if (b->left - b->gone == LEAVING)
        return -EAGAIN;
    result = page_entry(gm, r, ALIGN_DOWN(gpa, PAGE_SIZE), &entry);
    if (result < 0)
        return result;
    *frame = frame_of(*entry);
    if (!*entry || (!*frame && !ram->promised))
        return -ENOENT;
    if (*frame && frame_pinned(*frame, FRAME_ORDER_4K))
        return -EBUSY;
    __atomic_store_n(entry, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&ram->given, ram->given + 1, __ATOMIC_RELAXED);
    if (!*frame) {
        frame_promise_less(&ram->promise, 1);
        return -ENOENT;
    }
    __atomic_fetch_sub(&ram->there, 1, __ATOMIC_RELAXED);
    return 0;
}

int guest_memory_give(struct guest_memory *gm, uint64_t gpa, paddr *frame)
{
    spin_lock(&gm->ram->lock);
    int result = give(gm, gpa, frame);
    spin_unlock(&gm->ram->lock);
    return result;
}

static int give_block(struct guest_memory *gm, uint64_t gpa, paddr *block)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);
    struct guest_ram *ram = gm->ram;

    if (!r || !IS_ALIGNED(gpa, GUEST_CHUNK) || ram->promised)
        return r ? -EINVAL : -EFAULT;
    if (gm->balloon->left - gm->balloon->gone == LEAVING)
        return -EAGAIN;
    uint64_t *chunk = &r->chunks[chunk_index(r, gpa)];
    uint64_t word = __atomic_load_n(chunk, __ATOMIC_RELAXED);
    if (word & BUSY)
        return -EAGAIN;
    if (plain(word) == UNTOUCHED)
        return -ENOENT;
    *block = ALIGN_DOWN(word, PAGE_SIZE);
    if (word & LAYERED || ((word & KIND_MASK) == KIND_2M && frame_pinned(*block, FRAME_ORDER_2M)))
        return -EBUSY;
    if ((word & KIND_MASK) != KIND_2M)
        return -EINVAL;
    if (!__atomic_compare_exchange_n(chunk, &word, UNTOUCHED, false, __ATOMIC_RELAXED,
                                     __ATOMIC_RELAXED))
        return -EBUSY; /* a layer has come */
    __atomic_fetch_sub(&ram->begun, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&ram->there, TABLE_ENTRIES, __ATOMIC_RELAXED);
    return 0;
}

int guest_memory_give_block(struct guest_memory *gm, uint64_t gpa, paddr *block)
{
    spin_lock(&gm->ram->lock);
    int result = give_block(gm, gpa, block);
    spin_unlock(&gm->ram->lock);
    return result;
}

void guest_memory_leave(struct guest_memory *gm, paddr base, uint64_t size)
{
    struct guest_balloon *b = gm->balloon;

    spin_lock(&gm->ram->lock);
    b->leaving[b->left % LEAVING] = base | (size == GUEST_CHUNK ? WHOLE : 0);
    __atomic_store_n(&b->left, b->left + 1, __ATOMIC_RELEASE);
    spin_unlock(&gm->ram->lock);
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

bool guest_memory_settled(const struct guest_memory *gm, uint64_t leaving)
{
    return __atomic_load_n(&gm->balloon->gone, __ATOMIC_ACQUIRE) >= leaving;
}

/* Who had found out before it left where the page is may have pinned it since. */
void guest_memory_let_go(struct guest_memory *gm, uint64_t leaving)
{
    struct guest_balloon *b = gm->balloon;

    spin_lock(&gm->ram->lock);
    for (; b->gone < leaving; __atomic_store_n(&b->gone, b->gone + 1, __ATOMIC_RELEASE)) {
        paddr frame = b->leaving[b->gone % LEAVING];

        if (frame_pinned(frame_of(frame), order_of(frame))) { /* its turn comes again */
            b->leaving[b->left % LEAVING] = frame;
            __atomic_store_n(&b->left, b->left + 1, __ATOMIC_RELEASE);
        } else {
            free_leaving(frame);
        }
    }
    spin_unlock(&gm->ram->lock);
}

uint64_t guest_memory_given(const struct guest_memory *gm)
{
    return gm->ram ? __atomic_load_n(&gm->ram->given, __ATOMIC_RELAXED) : 0;
}
