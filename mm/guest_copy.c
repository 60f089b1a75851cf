/* See guest_copy.h. */
#include "mm/guest_copy.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/lib/zeroes.h"
#include "mm/guest_memory_internal.h"
#include "mm/heap.h"

/* Beside a page's address: the frame is another store's. Who has it of that one, too, shows so;
 * when the other one goes, its frames go on to one of those. */
#define SHARED BIT(0)

static uint64_t tables_of(uint64_t pages)
{
    return (pages + TABLE_ENTRIES - 1) / TABLE_ENTRIES;
}

int page_store_create(struct page_store *s, uint64_t pages, uint16_t owner)
{
    paddr *table = heap_alloc((tables_of(pages) + 1) * sizeof(table[0]));

    *s = (struct page_store){0};
    if (!table)
        return -ENOMEM;
    *s = (struct page_store){.table = table, .pages = pages, .owner = owner};
    return 0;
}

void page_store_destroy(struct page_store *s)
{
    for (uint64_t i = 0; s->table && i < tables_of(s->pages); i++) {
        const uint64_t *entries = phys_to_virt(s->table[i]);

        for (unsigned n = 0; s->table[i] && n < TABLE_ENTRIES; n++)
            if (entries[n] && !(entries[n] & SHARED))
                frame_free(entries[n], FRAME_ORDER_4K);
        if (s->table[i])
            frame_free(s->table[i], FRAME_ORDER_4K);
    }
    heap_free(s->table);
    *s = (struct page_store){0};
}

static bool same_page(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    uint64_t differs = 0;

    for (unsigned i = 0; i < PAGE_SIZE / 8 && !differs; i += 4)
        differs =
            (x[i] ^ y[i]) | (x[i + 1] ^ y[i + 1]) | (x[i + 2] ^ y[i + 2]) | (x[i + 3] ^ y[i + 3]);
    return !differs;
}

/* The frame of its own that such a store takes for something; FRAME_NONE. */
static paddr take(struct page_store *s)
{
    paddr frame = frame_alloc(FRAME_ORDER_4K, s->owner);

    s->frames += frame != FRAME_NONE;
    return frame;
}

/* The word of that page; 0: it has none. */
static uint64_t word_of(const struct page_store *s, uint64_t number)
{
    paddr table = number < s->pages ? s->table[number / TABLE_ENTRIES] : 0;

    return table ? ((const uint64_t *)phys_to_virt(table))[number % TABLE_ENTRIES] : 0;
}

static const void *page_of(uint64_t word)
{
    return phys_to_virt(ALIGN_DOWN(word, PAGE_SIZE));
}

int page_store_put(struct page_store *s, uint64_t number, const void *page,
                   const struct page_store *like)
{
    paddr *table = &s->table[number / TABLE_ENTRIES], frame;
    uint64_t word = like ? word_of(like, number) : 0;

    if (is_zeroes(page, PAGE_SIZE))
        return 0;
    if (!*table) {
        frame = take(s);
        if (frame == FRAME_NONE)
            return -ENOMEM;
        fill64(phys_to_virt(frame), 0, TABLE_ENTRIES);
        *table = frame;
    }
    if (word && same_page(page_of(word), page)) {
        word |= SHARED;
    } else {
        word = take(s);
        if (word == FRAME_NONE)
            return -ENOMEM;
        memcpy(phys_to_virt(word), page, PAGE_SIZE);
    }
    ((uint64_t *)phys_to_virt(*table))[number % TABLE_ENTRIES] = word;
    return 0;
}

void page_store_hand_over(struct page_store *s, struct page_store *to)
{
    for (uint64_t i = 0; i < MIN(tables_of(s->pages), tables_of(to->pages)); i++) {
        if (!s->table[i] || !to->table[i])
            continue;
        uint64_t *mine = phys_to_virt(s->table[i]), *theirs = phys_to_virt(to->table[i]);
        for (unsigned n = 0; n < TABLE_ENTRIES; n++) {
            if (!mine[n] || theirs[n] != (mine[n] | SHARED) || (mine[n] & SHARED))
                continue;
            theirs[n] = mine[n];
            mine[n] |= SHARED;
            s->frames--;
            to->frames++;
        }
    }
}

bool page_store_has(const struct page_store *s, uint64_t number)
{
    return word_of(s, number) != 0;
}

uint64_t page_store_next(const struct page_store *s, uint64_t number)
{
    while (number < s->pages && !word_of(s, number))
        number += s->table[number / TABLE_ENTRIES] ? 1 : TABLE_ENTRIES - number % TABLE_ENTRIES;
    return number;
}

void page_store_get(const struct page_store *s, uint64_t number, void *page)
{
    uint64_t word = word_of(s, number);

    if (word)
        memcpy(page, page_of(word), PAGE_SIZE);
    else
        fill64(page, 0, PAGE_SIZE / 8);
}

bool guest_memory_page(const struct guest_memory *gm, uint64_t number, uint64_t *gpa, void **page)
{
    for (uint32_t i = 0; i < gm->range_count; i++) {
        const struct guest_memory_range *r = &gm->ranges[i];

        if (number >= r->size / PAGE_SIZE) {
            number -= r->size / PAGE_SIZE;
            continue;
        }
        *gpa = r->gpa + number * PAGE_SIZE;
        uint64_t word = plain(chunk_word(r, *gpa));
        paddr base = ALIGN_DOWN(word, PAGE_SIZE), frame = base + *gpa % GUEST_CHUNK;
        if (word == UNTOUCHED)
            frame = 0;
        else if ((word & KIND_MASK) == KIND_TABLE)
            frame = frame_of(*table_entry(base, *gpa));
        *page = frame ? phys_to_virt(frame) : NULL;
        return true;
    }
    return false;
}

uint64_t guest_memory_next_page(const struct guest_memory *gm, uint64_t number)
{
    uint64_t first = 0; /* of the range */

    for (uint32_t i = 0; i < gm->range_count; i++) {
        const struct guest_memory_range *r = &gm->ranges[i];
        uint64_t pages = r->size / PAGE_SIZE;

        if (number < first + pages) {
            uint64_t from = r->gpa + (MAX(number, first) - first) * PAGE_SIZE;
            uint64_t next = guest_memory_next_there(gm, from);
            if (next < r->gpa + r->size)
                return first + (next - r->gpa) / PAGE_SIZE;
        }
        first += pages;
    }
    return first;
}
