/* links: boot/paging.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "boot/paging.h"
#include "arch/x86/lib/errno.h"

#define LARGE (2 * MIB)

static uint64_t pool[64][512] __attribute__((aligned(4096)));
static unsigned used, available;

static uint64_t *page(void)
{
    return used < available ? pool[used++] : NULL;
}

static struct paging fresh(unsigned pages)
{
    memset(pool, 0, sizeof(pool));
    used = 0;
    available = pages;
    return (struct paging){.root = page(), .page = page};
}

/* What the processor would find: the physical address of va, with the leaf's flags; or UINT64_MAX.
 */
static uint64_t walk(const struct paging *p, uint64_t va, uint64_t *flags)
{
    const uint64_t *t = p->root;

    for (int shift = 39;; shift -= 9) {
        uint64_t e = t[(va >> shift) & 511];

        if (!(e & PTE_PRESENT))
            return UINT64_MAX;
        if (shift == 12 || (e & PTE_LARGE)) {
            *flags = e & ~PTE_ADDRESS;
            return (e & PTE_ADDRESS & ~(BIT(shift) - 1)) + (va & (BIT(shift) - 1));
        }
        assert_true(e & PTE_WRITABLE); /* the leaf decides */
        assert_false(e & PTE_NX);
        t = (const uint64_t *)(uintptr_t)(e & PTE_ADDRESS);
    }
}

static void large_leaves_where_aligned(void **state)
{
    struct paging p = fresh(8);
    uint64_t flags;

    assert_int_equal(paging_map(&p, 4 * GIB, 6 * GIB, 2 * LARGE, PTE_WRITABLE | PTE_NX), 0);
    assert_int_equal(used, 3); /* no page table */
    assert_int_equal(walk(&p, 4 * GIB + LARGE + 5, &flags), 6 * GIB + LARGE + 5);
    assert_int_equal(flags, PTE_PRESENT | PTE_WRITABLE | PTE_NX | PTE_LARGE);
    assert_int_equal(walk(&p, 4 * GIB + 2 * LARGE, &flags), UINT64_MAX);
    assert_int_equal(walk(&p, 4 * GIB - 1, &flags), UINT64_MAX);
}

static void small_leaves_elsewhere(void **state)
{
    struct paging p = fresh(8);
    uint64_t flags, va = 0xffffffff80000000;

    assert_int_equal(paging_map(&p, va, 0x1e1ee000, LARGE + PAGE_SIZE, 0), 0);
    for (uint64_t at = 0; at < LARGE + PAGE_SIZE; at += PAGE_SIZE) {
        assert_int_equal(walk(&p, va + at, &flags), 0x1e1ee000 + at);
        assert_int_equal(flags, PTE_PRESENT);
    }
    assert_int_equal(walk(&p, va + LARGE + PAGE_SIZE, &flags), UINT64_MAX);
}

static void one_page_is_carved_out_of_a_large_leaf(void **state)
{
    struct paging p = fresh(8);
    uint64_t flags;

    assert_int_equal(paging_map(&p, 0, 0, 4 * LARGE, PTE_WRITABLE | PTE_NX), 0);
    assert_int_equal(paging_map(&p, LARGE + 0x3000, LARGE + 0x3000, PAGE_SIZE, 0), 0);
    for (uint64_t at = 0; at < 4 * LARGE; at += PAGE_SIZE) {
        assert_int_equal(walk(&p, at, &flags), at);
        assert_int_equal(flags & (PTE_WRITABLE | PTE_NX),
                         at == LARGE + 0x3000 ? 0 : PTE_WRITABLE | PTE_NX);
    }
}

static void lack_of_pages_is_reported(void **state)
{
    for (unsigned pages = 1; pages < 4; pages++) {
        struct paging p = fresh(pages);

        assert_int_equal(paging_map(&p, 0, 0, PAGE_SIZE, 0), -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_leaves_where_aligned),
        cmocka_unit_test(small_leaves_elsewhere),
        cmocka_unit_test(one_page_is_carved_out_of_a_large_leaf),
        cmocka_unit_test(lack_of_pages_is_reported),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
