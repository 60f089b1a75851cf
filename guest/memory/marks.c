#include "guest/memory/marks.h"

#include "arch/x86/lib/errno.h"

/* A word for a block: the mask that all its pages have, or where the words of its 512 parts are. */
#define ENTRIES    512u
#define NODE       BIT(0)
#define MASK_SHIFT 1

static bool is_node(uint64_t word)
{
    return word & NODE;
}

static uint64_t *parts(uint64_t word)
{
    return phys_to_virt(word & ~(uint64_t)NODE);
}

static unsigned index_of(uint64_t gpa, unsigned level)
{
    return gpa / marks_span(level) % ENTRIES;
}

static int split(struct marks *m, uint64_t *word)
{
    paddr frame = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    uint64_t *part;

    if (frame == FRAME_NONE)
        return -ENOMEM;
    m->frames++;
    part = phys_to_virt(frame);
    for (unsigned i = 0; i < ENTRIES; i++)
        part[i] = *word;
    *word = frame | NODE;
    return 0;
}

static void give_back(struct marks *m, uint64_t word)
{
    frame_free(word & ~(uint64_t)NODE, FRAME_ORDER_4K);
    m->frames--;
}

/* A block whose parts are all alike is one word again. */
static void merge(struct marks *m, uint64_t *word)
{
    uint64_t node = *word, first = parts(node)[0];

    if (is_node(first))
        return;
    for (unsigned i = 1; i < ENTRIES; i++)
        if (parts(node)[i] != first)
            return;
    *word = first;
    give_back(m, node);
}

/* Let no block reach over this boundary. */
static int cut(struct marks *m, uint64_t gpa)
{
    uint64_t *word = &m->root;
    int result;

    for (unsigned level = MARKS_LEVELS; gpa % marks_span(level) != 0; level--) {
        if (!is_node(*word) && (result = split(m, word)) < 0)
            return result;
        word = &parts(*word)[index_of(gpa, level - 1)];
    }
    return 0;
}

/* [from, to) lies in the word's block. Parts of blocks that are cut off are merged on the way. */
static void change(struct marks *m, uint64_t *word, unsigned level, uint64_t from, uint64_t to,
                   uint64_t set, uint64_t clear)
{
    uint64_t span, next;

    if (!is_node(*word)) {
        *word = (*word & ~clear) | set;
        return;
    }
    span = marks_span(level - 1);
    for (; from < to; from = next) {
        next = MIN(ALIGN_DOWN(from, span) + span, to);
        change(m, &parts(*word)[index_of(from, level - 1)], level - 1, from, next, set, clear);
    }
    merge(m, word);
}

int marks_change(struct marks *m, uint64_t gpa, uint64_t size, uint32_t set, uint32_t clear)
{
    int result;

    if (size == 0 || !IS_ALIGNED(gpa | size, PAGE_SIZE) || gpa >= MARKS_END ||
        size > MARKS_END - gpa)
        return -EINVAL;
    result = cut(m, gpa);
    if (result == 0 && gpa + size < MARKS_END)
        result = cut(m, gpa + size);
    if (result == 0)
        change(m, &m->root, MARKS_LEVELS, gpa, gpa + size, (uint64_t)set << MASK_SHIFT,
               (uint64_t)clear << MASK_SHIFT);
    else
        change(m, &m->root, MARKS_LEVELS, gpa, gpa + size, 0, 0);
    return result;
}

uint32_t marks_at(const struct marks *m, uint64_t gpa, unsigned *level)
{
    uint64_t word = m->root;

    *level = MARKS_LEVELS;
    while (is_node(word)) {
        --*level;
        word = parts(word)[index_of(gpa, *level)];
    }
    return (uint32_t)(word >> MASK_SHIFT);
}

static void destroy(struct marks *m, uint64_t word)
{
    if (!is_node(word))
        return;
    for (unsigned i = 0; i < ENTRIES; i++)
        destroy(m, parts(word)[i]);
    give_back(m, word);
}

void marks_destroy(struct marks *m)
{
    destroy(m, m->root);
    m->root = 0;
}
