#include "boot/paging.h"
#include "arch/x86/lib/errno.h"

#define LARGE_PAGE (2 * MIB)

/* The table that entry *e points to, made or split out of a large leaf as needed. */
static uint64_t *table(struct paging *p, uint64_t *e, uint64_t leaf_step)
{
    uint64_t *t;

    if ((*e & PTE_PRESENT) && !(*e & PTE_LARGE))
        return (uint64_t *)(uintptr_t)(*e & PTE_ADDRESS);
    t = p->page();
    if (!t)
        return NULL;
    if (*e & PTE_PRESENT)
        for (unsigned i = 0; i < 512; i++)
            t[i] = (*e & ~PTE_LARGE) + i * leaf_step;
    *e = (uint64_t)(uintptr_t)t | PTE_PRESENT | PTE_WRITABLE;
    return t;
}

int paging_map(struct paging *p, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags)
{
    uint64_t step;

    for (uint64_t done = 0; done < size; done += step) {
        uint64_t v = va + done, *t = p->root;

        for (int shift = 39; shift >= 30; shift -= 9) {
            t = table(p, &t[(v >> shift) & 511], 0);
            if (!t)
                return -ENOMEM;
        }
        t += (v >> 21) & 511;
        step = LARGE_PAGE;
        if (IS_ALIGNED(v | (pa + done), LARGE_PAGE) && size - done >= LARGE_PAGE &&
            !((*t & PTE_PRESENT) && !(*t & PTE_LARGE))) {
            *t = (pa + done) | flags | PTE_LARGE | PTE_PRESENT;
            continue;
        }
        step = PAGE_SIZE;
        t = table(p, t, PAGE_SIZE);
        if (!t)
            return -ENOMEM;
        t[(v >> 12) & 511] = (pa + done) | flags | PTE_PRESENT;
    }
    return 0;
}
