/*
 * A mask for each page of guest-physical space, kept as page tables are: what is the same over an
 * aligned block of 2 MiB, 1 GiB or 512 GiB is one word, and blocks split and merge as masks change.
 * Pure but for the frames it takes. Who uses it has a lock.
 */
#pragma once

#include "mm/frame.h"

#define MARKS_LEVELS                                                                               \
    5 /* blocks: 1 4K, 2 2M, 3 1G, 4 512G, 5 all that four levels of EPT translate */
#define MARKS_END BIT(48)

/* Zeroed: no page has any mark. */
struct marks {
    uint64_t root;   /* see marks.c */
    uint32_t frames; /* in use */
};

/*
 * Each page of [gpa, gpa + size), which is page aligned and ends at MARKS_END at the latest, gets
 * the marks of `set` and loses those of `clear` (bits 0 to 31; set wins). 0; -EINVAL; or -ENOMEM
 * with nothing changed, never when all pages of a marked block change alike.
 */
int marks_change(struct marks *m, uint64_t gpa, uint64_t size, uint32_t set,
                 uint32_t clear) MUST_CHECK;
/* Those of the page at gpa, and the level of the largest block around it that is all the same. */
uint32_t marks_at(const struct marks *m, uint64_t gpa, unsigned *level);
/* No page has any, and no frame is in use. */
void marks_destroy(struct marks *m);

/* The size of a block. */
static inline uint64_t marks_span(unsigned level)
{
    return BIT(12 + 9 * (level - 1));
}
