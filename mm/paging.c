#include "mm/paging.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define ENTRIES              512
#define LEVEL_BITS           9
#define PAGE_BITS            12
#define TABLE_FLAGS          (PTE_PRESENT | PTE_WRITE)
#define LARGE_ADDRESS(order) (PTE_ADDRESS & ~((PAGE_SIZE << (order)) - 1))

/* Level 1 is the page table, whose entries map 4 KiB: order 0. */
static unsigned level_order(unsigned level)
{
    return (level - 1) * LEVEL_BITS;
}

static unsigned entry_index(uint64_t va, unsigned level)
{
    return va >> (PAGE_BITS + level_order(level)) & (ENTRIES - 1);
}

static paddr new_table(struct paging *p)
{
    paddr table = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);

    if (table == FRAME_NONE)
        return FRAME_NONE;
    memset(phys_to_virt(table), 0, PAGE_SIZE);
    p->table_count++;
    return table;
}

int paging_init(struct paging *p, unsigned levels, bool pages_1g)
{
    *p = (struct paging){.levels = levels, .page_max = pages_1g ? FRAME_ORDER_1G : FRAME_ORDER_2M};
    p->root = new_table(p);
    return p->root == FRAME_NONE ? -ENOMEM : 0;
}

static unsigned leaf_order(const struct paging *p, uint64_t va, paddr pa, uint64_t size)
{
    for (unsigned order = p->page_max; order; order -= LEVEL_BITS)
        if (IS_ALIGNED(va | pa, PAGE_SIZE << order) && size >= PAGE_SIZE << order)
            return order;
    return FRAME_ORDER_4K;
}

static int map_leaf(struct paging *p, uint64_t va, paddr pa, unsigned order, uint64_t flags)
{
    uint64_t *table = phys_to_virt(p->root);
    unsigned level = p->levels;
    uint64_t *entry;

    for (;; level--) {
        entry = &table[entry_index(va, level)];
        if (level_order(level) == order)
            break;
        if (!(*entry & PTE_PRESENT)) {
            paddr next = new_table(p);

            if (next == FRAME_NONE)
                return -ENOMEM;
            *entry = next | TABLE_FLAGS;
        } else if (*entry & PTE_LARGE) {
            return -EEXIST;
        }
        table = phys_to_virt(*entry & PTE_ADDRESS);
    }
    if (*entry & PTE_PRESENT)
        return -EEXIST;
    /* Accessed and dirty from the start: the CPU then never writes to our tables. */
    *entry = pa | flags | PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY | (order ? PTE_LARGE : 0);
    return 0;
}

int paging_map(struct paging *p, uint64_t va, paddr pa, uint64_t size, uint64_t flags)
{
    if (!IS_ALIGNED(va | pa | size, PAGE_SIZE) || (flags & (PTE_PRESENT | PTE_LARGE)) ||
        (pa & ~PTE_ADDRESS) || va + size < va)
        return -EINVAL;
    while (size) {
        unsigned order = leaf_order(p, va, pa, size);
        int error = map_leaf(p, va, pa, order, flags);

        if (error)
            return error;
        va += PAGE_SIZE << order;
        pa += PAGE_SIZE << order;
        size -= PAGE_SIZE << order;
    }
    return 0;
}

/* The leaf entry for va and its level, or NULL. */
static uint64_t *find_leaf(const struct paging *p, uint64_t va, unsigned *level)
{
    uint64_t *table = phys_to_virt(p->root);

    for (*level = p->levels;; --*level) {
        uint64_t *entry = &table[entry_index(va, *level)];

        if (!(*entry & PTE_PRESENT))
            return NULL;
        if (*level == 1 || (*entry & PTE_LARGE))
            return entry;
        table = phys_to_virt(*entry & PTE_ADDRESS);
    }
}

bool paging_unmap(struct paging *p, uint64_t va)
{
    unsigned level;
    uint64_t *entry = find_leaf(p, va, &level);

    if (!entry || level != 1)
        return false;
    *entry = 0;
    return true;
}

paddr paging_lookup(const struct paging *p, uint64_t va, uint64_t *flags)
{
    unsigned level;
    const uint64_t *entry = find_leaf(p, va, &level);

    if (!entry)
        return FRAME_NONE;
    *flags = *entry & ~LARGE_ADDRESS(level_order(level));
    return (*entry & LARGE_ADDRESS(level_order(level))) |
           (va & ((PAGE_SIZE << level_order(level)) - 1));
}
