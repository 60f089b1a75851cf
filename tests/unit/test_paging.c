/* links: mm/paging.c mm/frame.c mm/frame_promise.c arch/x86/lib/log.c arch/x86/lib/format.c arch/x86/spinlock.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "boot/handover.h"
#include "mm/paging.h"

#define RAM_SIZE (8 * MIB)
#define MAP      0xffff800000000000ULL

static uint8_t *ram;

void *phys_to_virt(paddr pa)
{
    assert_true(pa < RAM_SIZE);
    return ram + pa;
}

paddr virt_to_phys(const void *va)
{
    return (paddr)((const uint8_t *)va - ram);
}

static int setup(void **state)
{
    static const struct handover_mem map = {0, RAM_SIZE, HANDOVER_MEM_USABLE, 0, 0};
    struct handover h = {.memory = 0x1000, .memory_count = 1};

    ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
    memcpy(ram + h.memory, &map, sizeof(map));
    frame_init(&h);
    return 0;
}

static int teardown(void **state)
{
    free(ram);
    return 0;
}

static void expect(const struct paging *p, uint64_t va, paddr pa)
{
    uint64_t flags;

    assert_int_equal(paging_lookup(p, va, &flags), pa);
}

static void test_map(void **state)
{
    struct paging p;
    uint64_t flags;

    assert_int_equal(paging_init(&p, 4, false), 0);
    /* From an odd page to an odd page: small pages at both ends, large ones between. */
    assert_int_equal(paging_map(&p, MAP + 0x1ff000, 0x1ff000, 4 * MIB + 0x2000, PTE_WRITE | PTE_NX),
                     0);
    expect(&p, MAP + 0x1fe000, FRAME_NONE);
    expect(&p, MAP + 0x1ff123, 0x1ff123);
    expect(&p, MAP + 0x200000, 0x200000);
    expect(&p, MAP + 0x345678, 0x345678);
    expect(&p, MAP + 0x600fff, 0x600fff);
    expect(&p, MAP + 0x601000, FRAME_NONE);
    assert_int_equal(p.table_count, 1 + 1 + 1 + 2);

    paging_lookup(&p, MAP + 0x1ff000, &flags);
    assert_int_equal(flags, PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_ACCESSED | PTE_DIRTY);
    paging_lookup(&p, MAP + 0x200000, &flags);
    assert_int_equal(flags,
                     PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_ACCESSED | PTE_DIRTY | PTE_LARGE);
}

static void test_1g(void **state)
{
    struct paging p;

    assert_int_equal(paging_init(&p, 4, true), 0);
    assert_int_equal(paging_map(&p, MAP + GIB, GIB, 3 * GIB, PTE_WRITE), 0);
    assert_int_equal(p.table_count, 2);
    expect(&p, MAP + GIB + 0x12345678, GIB + 0x12345678);
    /* Addresses that do not share their low bits cannot use large pages. */
    assert_int_equal(paging_map(&p, MAP + 8 * GIB, 8 * GIB + 0x1000, 4 * MIB, 0), 0);
    assert_int_equal(p.table_count, 2 + 1 + 2);
}

static void test_five_levels(void **state)
{
    struct paging p;

    assert_int_equal(paging_init(&p, 5, true), 0);
    assert_int_equal(paging_map(&p, MAP, 0, PAGE_SIZE, 0), 0);
    assert_int_equal(p.table_count, 5);
    expect(&p, MAP + 5, 5);
    expect(&p, 5, FRAME_NONE);
}

static void test_errors(void **state)
{
    struct paging p;

    assert_int_equal(paging_init(&p, 4, false), 0);
    assert_int_equal(paging_map(&p, 1, 0, PAGE_SIZE, 0), -EINVAL);
    assert_int_equal(paging_map(&p, 0, 0, PAGE_SIZE, PTE_LARGE), -EINVAL);
    assert_int_equal(paging_map(&p, 0, 1ULL << 60, PAGE_SIZE, 0), -EINVAL);
    assert_int_equal(paging_map(&p, UINT64_MAX & ~0xfffULL, 0, 2 * PAGE_SIZE, 0), -EINVAL);
    assert_int_equal(paging_map(&p, 2 * MIB, 2 * MIB, 2 * MIB, 0), 0);
    assert_int_equal(paging_map(&p, 3 * MIB, 0, PAGE_SIZE, 0), -EEXIST);
    assert_int_equal(paging_map(&p, 0, 0, PAGE_SIZE, 0), 0);
    assert_int_equal(paging_map(&p, 0, 0, PAGE_SIZE, 0), -EEXIST);
    assert_int_equal(paging_map(&p, 0, 0, 2 * MIB, 0), -EEXIST);
    assert_true(paging_unmap(&p, 0));
    assert_false(paging_unmap(&p, 0));
    assert_false(paging_unmap(&p, 2 * MIB));

    while (frame_alloc(0, FRAME_VM) != FRAME_NONE)
        ;
    assert_int_equal(paging_map(&p, 512 * GIB, 0, PAGE_SIZE, 0), -ENOMEM);
    assert_int_equal(paging_init(&p, 4, false), -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_map, setup, teardown),
        cmocka_unit_test_setup_teardown(test_1g, setup, teardown),
        cmocka_unit_test_setup_teardown(test_five_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
