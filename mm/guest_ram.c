/*
 * The frames of a VM's RAM: promised when it is made, taken and cleared when they are first
 * touched, and promised again when it begins anew.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "mm/guest_memory_internal.h"
#include "mm/heap.h"

#define GPA_MAX GUEST_MEMORY_END

/* --- making it --- */

static int regions_valid(const struct guest_memory_region *regions, unsigned count)
{
    uint64_t end = 0;

    if (count == 0 || count > GUEST_MEMORY_RANGES)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        uint64_t gpa = regions[i].gpa, size = regions[i].size;
        if (size == 0 || !IS_ALIGNED(gpa | size, PAGE_SIZE) || gpa < end || gpa > GPA_MAX ||
            size > GPA_MAX - gpa)
            return -EINVAL;
        end = gpa + size;
    }
    return 0;
}

static int make_ram(struct guest_memory *gm)
{
    struct guest_ram *ram = heap_alloc(sizeof(*ram));

    if (!ram)
        return -ENOMEM;
    ram->zero = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (ram->zero == FRAME_NONE) {
        heap_free(ram);
        return -ENOMEM;
    }
    fill64(phys_to_virt(ram->zero), 0, PAGE_SIZE / 8);
    spin_init(&ram->lock, RANK_MEMORY);
    gm->ram = ram;
    return 0;
}

int guest_memory_create(struct guest_memory *gm, uint16_t owner,
                        const struct guest_memory_region *regions, unsigned count)
{
    *gm = (struct guest_memory){.owner = owner};
    int rc = regions_valid(regions, count);

    if (rc == 0)
        rc = make_ram(gm);
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        struct guest_memory_range *r = &gm->ranges[i];
        r->gpa = regions[i].gpa;
        r->size = regions[i].size;
        uint32_t chunks = chunk_index(r, r->gpa + r->size - 1) + 1;
        r->chunks = heap_alloc(chunks * sizeof(r->chunks[0]));
        if (!r->chunks) {
            rc = -ENOMEM;
            break;
        }
        r->count = chunks;
        gm->range_count++;
        gm->size += r->size;
    }
    if (rc < 0)
        guest_memory_destroy(gm);
    return rc;
}

/* --- what is promised --- */

/* How many chunks it has, and how many of them are RAM as a whole. */
static uint64_t count_chunks(const struct guest_memory *gm, uint64_t *whole)
{
    uint64_t chunks = 0;

    *whole = 0;
    for (uint32_t i = 0; i < gm->range_count; i++) {
        const struct guest_memory_range *r = &gm->ranges[i];
        uint64_t from = ALIGN_UP(r->gpa, GUEST_CHUNK);
        uint64_t to = ALIGN_DOWN(r->gpa + r->size, GUEST_CHUNK);

        *whole += to > from ? (to - from) / GUEST_CHUNK : 0;
        chunks += r->count;
    }
    return chunks;
}

/* All of its RAM, with a table for each chunk that will have to be one. */
static bool promise_all(const struct guest_memory *gm)
{
    uint64_t whole, chunks = count_chunks(gm, &whole);
    uint64_t pages = gm->size / PAGE_SIZE - whole * TABLE_ENTRIES;

    return frame_promise(&gm->ram->promise, whole, pages + chunks - whole, 1);
}

/* EPT has a table for each of these, too. */
static bool promise_tables(const struct guest_memory *gm)
{
    uint64_t whole, in_pages = count_chunks(gm, &whole) - gm->ram->promise.blocks;

    return frame_promise(&gm->ram->tables, 0, gm->ram->fixed_tables + in_pages, 0);
}

int guest_memory_promise(struct guest_memory *gm, uint64_t tables)
{
    gm->ram->fixed_tables = tables;
    gm->ram->promised = promise_all(gm) && promise_tables(gm);
    return gm->ram->promised ? 0 : -ENOMEM;
}

struct frame_promise *guest_memory_tables(const struct guest_memory *gm)
{
    return &gm->ram->tables;
}

/* --- frames come --- */

static void tally(uint64_t *what, uint64_t n)
{
    __atomic_fetch_add(what, n, __ATOMIC_RELAXED);
}

paddr guest_ram_table(uint64_t keep)
{
    paddr table = frame_alloc_keeping(FRAME_ORDER_4K, FRAME_KERNEL, keep);

    if (table != FRAME_NONE)
        fill64(phys_to_virt(table), PAGE_LATER, TABLE_ENTRIES);
    return table;
}

/* The same, and where nothing else is left, of what is promised. */
static paddr new_table(struct guest_ram *ram, uint64_t keep)
{
    paddr table = guest_ram_table(ram->promised ? 0 : keep);

    if (table != FRAME_NONE)
        return table;
    table = frame_redeem(&ram->promise, FRAME_ORDER_4K, FRAME_KERNEL);
    if (table != FRAME_NONE)
        fill64(phys_to_virt(table), PAGE_LATER, TABLE_ENTRIES);
    return table;
}

bool guest_ram_whole(const struct guest_memory_range *r, uint64_t gpa)
{
    uint64_t from = ALIGN_DOWN(gpa, GUEST_CHUNK);

    return from >= r->gpa && r->size - (from - r->gpa) >= GUEST_CHUNK;
}

/* Filled with what is there, or zeroes. */
static paddr new_block(const struct guest_memory *gm, const void *content, uint64_t keep)
{
    struct guest_ram *ram = gm->ram;
    paddr block = FRAME_NONE;

    if (!content)
        block = frame_cleared(ram->promised ? &ram->promise : NULL, gm->owner, keep);
    if (block != FRAME_NONE)
        return block;
    block = ram->promised ? frame_redeem(&ram->promise, FRAME_ORDER_2M, gm->owner)
                          : frame_alloc_keeping(FRAME_ORDER_2M, gm->owner, keep);
    if (block == FRAME_NONE)
        return FRAME_NONE;
    if (content)
        memcpy(phys_to_virt(block), content, GUEST_CHUNK);
    else
        fill64(phys_to_virt(block), 0, GUEST_CHUNK / 8);
    return block;
}

/* What a chunk that nobody has touched becomes: a block where there is one, or else a table of
 * pages that come one by one. UNTOUCHED: there is no memory for either. */
static uint64_t new_chunk(const struct guest_memory *gm, bool whole, const void *content,
                          uint64_t keep)
{
    paddr base = whole ? new_block(gm, content, keep) : FRAME_NONE;

    if (base != FRAME_NONE) {
        tally(&gm->ram->there, TABLE_ENTRIES);
        return base | KIND_2M;
    }
    base = new_table(gm->ram, keep);
    return base == FRAME_NONE ? UNTOUCHED : base | KIND_TABLE;
}

/* Who comes first to a chunk makes it, and others wait: they would clear as much for nothing, and
 * that has been promised once. 1: it is a block that holds `content`. */
static int begin_chunk(const struct guest_memory *gm, uint64_t *chunk, bool whole,
                       const void *content, uint64_t keep)
{
    uint64_t word = __atomic_load_n(chunk, __ATOMIC_ACQUIRE), made;

    do {
        while (word & BUSY) {
            __builtin_ia32_pause();
            word = __atomic_load_n(chunk, __ATOMIC_ACQUIRE);
        }
        if (plain(word) != UNTOUCHED)
            return 0;
    } while (!__atomic_compare_exchange_n(chunk, &word, word | BUSY, false, __ATOMIC_ACQUIRE,
                                          __ATOMIC_ACQUIRE));
    made = new_chunk(gm, whole, content, keep);
    if (made != UNTOUCHED)
        tally(&gm->ram->begun, 1);
    word |= BUSY;
    while (!__atomic_compare_exchange_n(chunk, &word, word & LAYERED ? layered_word(made) : made,
                                        false, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ; /* a layer has come or gone */
    return made == UNTOUCHED ? -ENOMEM : content && (made & KIND_MASK) == KIND_2M;
}

bool guest_ram_write_block(const struct guest_memory *gm, uint64_t gpa, const void *content,
                           uint64_t keep)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);

    if (!r || !IS_ALIGNED(gpa, GUEST_CHUNK) || !guest_ram_whole(r, gpa) ||
        chunk_word(r, gpa) != UNTOUCHED)
        return false;
    return begin_chunk(gm, &r->chunks[chunk_index(r, gpa)], true, content, keep) == 1;
}

static paddr new_page(const struct guest_memory *gm, bool given, uint64_t keep)
{
    struct guest_ram *ram = gm->ram;

    if (!ram->promised)
        return frame_alloc_keeping(FRAME_ORDER_4K, gm->owner, keep);
    return given ? frame_alloc(FRAME_ORDER_4K, gm->owner)
                 : frame_redeem(&ram->promise, FRAME_ORDER_4K, gm->owner);
}

/* Of a page that has no frame. */
static int back_page(const struct guest_memory *gm, uint64_t *entry, uint64_t keep)
{
    struct guest_ram *ram = gm->ram;
    bool given = !*entry;
    paddr frame = new_page(gm, given, keep);

    if (frame == FRAME_NONE)
        return -ENOMEM;
    fill64(phys_to_virt(frame), 0, PAGE_SIZE / 8);
    __atomic_store_n(entry, frame, __ATOMIC_RELEASE);
    __atomic_store_n(&ram->given, ram->given - given, __ATOMIC_RELAXED);
    tally(&ram->there, 1);
    return 0;
}

/* The page at gpa, and those around it that never had a frame: each would be missed by itself. All
 * of it with the lock held: who comes second finds the frame, and not that none is left. */
static int back_pages(const struct guest_memory *gm, const struct guest_memory_range *r,
                      paddr table, uint64_t gpa, uint64_t keep, bool sparing)
{
    uint64_t at = ALIGN_DOWN(gpa, GUEST_TOGETHER);
    uint64_t end = MIN(at + GUEST_TOGETHER, r->gpa + r->size), *entry = table_entry(table, gpa);
    int result = 0;

    spin_lock(&gm->ram->lock);
    if (!frame_of(*entry)) {
        result = back_page(gm, entry, keep);
        for (at = MAX(at, r->gpa); result == 0 && !sparing && at < end; at += PAGE_SIZE) {
            entry = table_entry(table, at);
            if (*entry == PAGE_LATER && back_page(gm, entry, keep) < 0)
                break;
        }
    }
    spin_unlock(&gm->ram->lock);
    return result;
}

int guest_ram_back(const struct guest_memory *gm, uint64_t gpa, uint64_t keep, bool sparing)
{
    const struct guest_memory_range *r = guest_memory_range(gm, gpa);

    if (!r)
        return -EFAULT;
    uint64_t word = plain(chunk_word(r, gpa));
    if (word == UNTOUCHED) {
        int result = begin_chunk(gm, &r->chunks[chunk_index(r, gpa)],
                                 !sparing && guest_ram_whole(r, gpa), NULL, keep);
        if (result < 0)
            return result;
        word = plain(chunk_word(r, gpa));
    }
    if ((word & KIND_MASK) != KIND_TABLE)
        return 0;
    return back_pages(gm, r, ALIGN_DOWN(word, PAGE_SIZE), gpa, keep, sparing);
}

/* --- which there are --- */

uint64_t guest_memory_there(const struct guest_memory *gm)
{
    return __atomic_load_n(&gm->ram->there, __ATOMIC_RELAXED);
}

/* The first page from gpa on, below `end` and in its chunk, that has a frame; `end`: none. */
static uint64_t next_in_chunk(uint64_t word, uint64_t gpa, uint64_t end)
{
    if (word == UNTOUCHED)
        return end;
    if ((word & KIND_MASK) != KIND_TABLE)
        return gpa;
    while (gpa < end && !frame_of(__atomic_load_n(table_entry(ALIGN_DOWN(word, PAGE_SIZE), gpa),
                                                  __ATOMIC_RELAXED)))
        gpa = ALIGN_DOWN(gpa, PAGE_SIZE) + PAGE_SIZE;
    return gpa;
}

uint64_t guest_memory_next_there(const struct guest_memory *gm, uint64_t gpa)
{
    for (uint32_t i = 0; i < gm->range_count; i++) {
        const struct guest_memory_range *r = &gm->ranges[i];
        uint64_t end;

        for (gpa = MAX(gpa, r->gpa); gpa < r->gpa + r->size; gpa = end) {
            end = MIN(ALIGN_DOWN(gpa, GUEST_CHUNK) + GUEST_CHUNK, r->gpa + r->size);
            uint64_t found = next_in_chunk(plain(chunk_word(r, gpa)), gpa, end);
            if (found < end)
                return found;
        }
    }
    return UINT64_MAX;
}

/* --- and go: nobody else touches it meanwhile --- */

static void let_go(struct guest_ram *ram, paddr base, unsigned order, bool ends)
{
    if (ram->promised && !ends)
        frame_return(&ram->promise, base, order);
    else
        frame_free(base, order);
}

static void end_chunk(struct guest_ram *ram, uint64_t word, bool ends)
{
    paddr base = ALIGN_DOWN(word, PAGE_SIZE);

    if ((word & KIND_MASK) == KIND_2M) {
        let_go(ram, base, FRAME_ORDER_2M, ends);
        ram->there -= TABLE_ENTRIES;
        return;
    }
    for (unsigned i = 0; i < TABLE_ENTRIES; i++) {
        paddr page = frame_of(((const uint64_t *)phys_to_virt(base))[i]);
        if (!page)
            continue;
        let_go(ram, page, FRAME_ORDER_4K, ends);
        ram->there--;
    }
    let_go(ram, base, FRAME_ORDER_4K, ends); /* for the table that may have to come again */
}

bool guest_memory_clear_some(struct guest_memory *gm, uint32_t *done)
{
    struct guest_ram *ram = gm->ram;
    uint32_t before = 0; /* chunks of the ranges before */

    if (!*done && guest_memory_leaving(gm)) /* nobody uses what was on its way out */
        guest_memory_let_go(gm, guest_memory_leaving(gm));
    for (uint32_t i = 0; i < gm->range_count && ram->begun; before += gm->ranges[i++].count) {
        const struct guest_memory_range *r = &gm->ranges[i];

        while (*done - before < r->count) {
            uint64_t *chunk = &r->chunks[(*done)++ - before], word = plain(*chunk);

            if (word == UNTOUCHED)
                continue;
            *chunk = *chunk & LAYERED ? layered_word(UNTOUCHED) : UNTOUCHED;
            end_chunk(ram, word, false);
            ram->begun--;
            /* What had been given back is wanted again, and what came in pages, in blocks. */
            if (!ram->begun && (!ram->promised || (promise_all(gm) && promise_tables(gm))))
                ram->given = 0;
            return true;
        }
    }
    return false;
}

void guest_memory_destroy(struct guest_memory *gm)
{
    struct guest_ram *ram = gm->ram;

    for (uint32_t i = 0; i < GUEST_MEMORY_RANGES && gm->ranges[i].chunks; i++) {
        for (uint32_t c = 0; c < gm->ranges[i].count && ram->begun; c++) {
            uint64_t word = plain(gm->ranges[i].chunks[c]);
            if (word == UNTOUCHED)
                continue;
            end_chunk(ram, word, true);
            ram->begun--;
        }
        heap_free(gm->ranges[i].chunks);
    }
    if (ram) {
        frame_promise_end(&ram->promise);
        frame_promise_end(&ram->tables);
        frame_free(ram->zero, FRAME_ORDER_4K);
    }
    heap_free(ram);
    heap_free(gm->layers);
    guest_balloon_destroy(gm->balloon);
    *gm = (struct guest_memory){0};
}
