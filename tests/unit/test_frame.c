/* links: mm/frame.c arch/x86/lib/log.c arch/x86/lib/format.c arch/x86/spinlock.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/log.h"
#include "boot/handover.h"
#include "mm/frame.h"

/* A machine of 64 MiB with a hole, whose RAM is ours. */
#define RAM_SIZE (64 * MIB)
#define KERNEL   (4 * MIB)
#define LOADER   (8 * MIB)
#define HOLE     (32 * MIB)
#define HOLE_END (33 * MIB)

static uint8_t *ram;
static unsigned errors;

void *phys_to_virt(paddr pa)
{
    assert_true(pa < RAM_SIZE);
    return ram + pa;
}

paddr virt_to_phys(const void *va)
{
    return (paddr)((const uint8_t *)va - ram);
}

static void count_errors(enum log_level level, const char *line, size_t length)
{
    errors += level == LOG_ERROR;
}

static const struct handover_mem map[] = {
    {0, 0xa0000, HANDOVER_MEM_USABLE, 0, 0},
    {0xa0000, 0x60000, HANDOVER_MEM_RESERVED, 0, 0},
    {MIB, KERNEL - MIB, HANDOVER_MEM_USABLE, 0, 0},
    {KERNEL, MIB, HANDOVER_MEM_KERNEL, 0, 0},
    {KERNEL + MIB, LOADER - KERNEL - MIB, HANDOVER_MEM_USABLE, 0, 0},
    {LOADER, 2 * MIB, HANDOVER_MEM_LOADER, 0, 0},
    {LOADER + 2 * MIB, HOLE - LOADER - 2 * MIB, HANDOVER_MEM_USABLE, 0, 0},
    {HOLE_END, RAM_SIZE - HOLE_END, HANDOVER_MEM_USABLE, 0, 0},
    {0xfec00000, 0x1000, HANDOVER_MEM_MMIO, 0, 0},
};

static int setup(void **state)
{
    struct handover h = {.memory = 0x1000, .memory_count = ARRAY_SIZE(map)};

    ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
    memset(ram, 0xcc, RAM_SIZE);
    memcpy(ram + h.memory, map, sizeof(map));
    log_set_sink(count_errors);
    errors = 0;
    frame_init(&h);
    return 0;
}

static int teardown(void **state)
{
    free(ram);
    return 0;
}

static void check_sum(void)
{
    struct frame_stats s;

    frame_stats(&s);
    /* Low memory counts in the total but is not handed out. */
    assert_int_equal(s.total - 0xa0000, s.free + s.kernel + s.metadata + s.loader + s.vm);
}

static void test_init(void **state)
{
    struct frame_stats s;

    frame_stats(&s);
    assert_int_equal(s.total, RAM_SIZE - MIB - 0x60000);
    assert_int_equal(s.kernel, MIB);
    assert_int_equal(s.loader, 2 * MIB);
    assert_int_equal(s.metadata, RAM_SIZE / PAGE_SIZE * 4);
    check_sum();
    assert_int_equal(frame_owner(0), FRAME_RESERVED);
    assert_int_equal(frame_owner(0x5000), FRAME_RESERVED);
    assert_int_equal(frame_owner(KERNEL), FRAME_KERNEL);
    assert_int_equal(frame_owner(LOADER), FRAME_LOADER);
    assert_int_equal(frame_owner(HOLE), FRAME_RESERVED);
    assert_int_equal(frame_owner(2 * RAM_SIZE), FRAME_RESERVED);
    assert_int_equal(frame_owner(MIB), FRAME_FREE);
}

/* Every frame that is free can be had, once, and lies in RAM that is nobody else's. */
static void test_exhaust(void **state)
{
    static uint8_t seen[RAM_SIZE / PAGE_SIZE];
    struct frame_stats s;
    uint64_t count = 0;
    paddr pa;

    memset(seen, 0, sizeof(seen));
    frame_stats(&s);
    while ((pa = frame_alloc(FRAME_ORDER_4K, FRAME_VM + 1)) != FRAME_NONE) {
        assert_true(IS_ALIGNED(pa, PAGE_SIZE) && pa >= MIB && pa < RAM_SIZE);
        assert_false(pa >= HOLE && pa < HOLE_END);
        assert_false(pa >= KERNEL && pa < KERNEL + MIB);
        assert_false(pa >= LOADER && pa < LOADER + 2 * MIB);
        assert_int_equal(seen[pa / PAGE_SIZE]++, 0);
        assert_int_equal(frame_owner(pa), FRAME_VM + 1);
        memset(phys_to_virt(pa), 0xee, PAGE_SIZE);
        count++;
    }
    assert_int_equal(count * PAGE_SIZE, s.free);
    check_sum();
    for (pa = 0; pa < RAM_SIZE; pa += PAGE_SIZE)
        if (seen[pa / PAGE_SIZE])
            frame_free(pa, FRAME_ORDER_4K);
    assert_int_equal(errors, 0);
    check_sum();
    /* All buddies have found each other again. */
    assert_int_not_equal(frame_alloc(12, FRAME_KERNEL), FRAME_NONE);
}

static void test_alignment(void **state)
{
    for (unsigned order = 0; order <= 12; order++) {
        paddr pa = frame_alloc(order, FRAME_KERNEL);

        assert_int_not_equal(pa, FRAME_NONE);
        assert_true(IS_ALIGNED(pa, PAGE_SIZE << order));
        frame_free(pa, order);
    }
    assert_int_equal(frame_alloc(FRAME_ORDER_1G, FRAME_KERNEL), FRAME_NONE);
    assert_int_equal(frame_alloc(40, FRAME_KERNEL), FRAME_NONE);
    assert_int_equal(errors, 0);
}

/* Small allocations come out of the block that is cut already. */
static void test_small_stay_together(void **state)
{
    paddr first = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    unsigned large = 0, again = 0;
    paddr taken[64];

    while (large < 64 && (taken[large] = frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL)) != FRAME_NONE)
        large++;
    for (unsigned i = 0; i < large; i++)
        frame_free(taken[i], FRAME_ORDER_2M);
    for (unsigned i = 0; i < 100; i++)
        assert_int_not_equal(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL), FRAME_NONE);
    while (again < 64 && frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL) != FRAME_NONE)
        again++;
    assert_int_equal(again, large);
    frame_free(first, FRAME_ORDER_4K);
}

static void test_wrong_free(void **state)
{
    paddr pa = frame_alloc(3, FRAME_KERNEL);

    frame_free(pa, 2);
    assert_int_equal(errors, 1);
    frame_free(pa + PAGE_SIZE, 0);
    assert_int_equal(errors, 2);
    frame_free(LOADER, 0);
    frame_free(1ULL << 60, 0);
    frame_free(pa + 1, 3);
    assert_int_equal(errors, 5);
    frame_free(pa, 3);
    assert_int_equal(errors, 5);
    frame_free(pa, 3);
    assert_int_equal(errors, 6);
    check_sum();
}

static void test_pins(void **state)
{
    paddr pa = frame_alloc(1, FRAME_VM);

    assert_true(frame_pin(pa + PAGE_SIZE));
    assert_true(frame_pin(pa + PAGE_SIZE));
    frame_unpin(pa + PAGE_SIZE);
    frame_free(pa, 1);
    assert_int_equal(errors, 1);
    assert_int_equal(frame_owner(pa), FRAME_VM);
    frame_unpin(pa + PAGE_SIZE);
    frame_unpin(pa + PAGE_SIZE);
    frame_free(pa, 1);
    assert_int_equal(errors, 1);
    assert_int_equal(frame_owner(pa), FRAME_FREE);

    /* Of a block of any size each frame counts. */
    for (unsigned order = 0; order < 6; order++) {
        unsigned before = errors;
        pa = frame_alloc(order, FRAME_VM);
        for (unsigned i = 0; i < 1u << order; i++) {
            assert_true(frame_pin(pa + i * PAGE_SIZE));
            frame_free(pa, order);
            assert_int_equal(errors, before + i + 1);
            frame_unpin(pa + i * PAGE_SIZE);
        }
        frame_free(pa, order);
        assert_int_equal(frame_owner(pa), FRAME_FREE);
    }
    errors = 1;

    /* No pin that cannot be counted. */
    pa = frame_alloc(0, FRAME_VM);
    for (int i = 0; i < 300; i++)
        assert_int_equal(frame_pin(pa), i < 255);
    for (int i = 0; i < 254; i++)
        frame_unpin(pa);
    frame_free(pa, 0);
    assert_int_equal(errors, 2);
    frame_unpin(pa);
    frame_unpin(pa);
    frame_free(pa, 0);
    assert_int_equal(errors, 2);
    assert_false(frame_pin(UINT64_MAX - PAGE_SIZE));
}

static void test_release(void **state)
{
    struct frame_stats before, after;

    frame_stats(&before);
    frame_release(LOADER, MIB);
    frame_stats(&after);
    assert_int_equal(after.free, before.free + MIB);
    assert_int_equal(after.loader, MIB);
    frame_release(LOADER, MIB); /* free already: nothing happens */
    frame_release(LOADER + 1, MIB);
    assert_int_equal(errors, 1);
    frame_release_loader();
    frame_stats(&after);
    assert_int_equal(after.loader, 0);
    assert_int_equal(after.free, before.free + 2 * MIB);
    check_sum();
    frame_release(HOLE, HOLE_END - HOLE); /* it was RAM after all */
    check_sum();
    assert_int_equal(frame_owner(HOLE), FRAME_FREE);
}

static void test_runs(void **state)
{
    struct frame_stats before, after;
    paddr runs[40];

    frame_stats(&before);
    assert_int_equal(frame_run_alloc(0, FRAME_KERNEL), FRAME_NONE);
    assert_int_equal(frame_run_alloc(UINT64_MAX, FRAME_KERNEL), FRAME_NONE);
    for (unsigned i = 0; i < 40; i++) {
        runs[i] = frame_run_alloc(i + 1, FRAME_KERNEL);
        assert_int_not_equal(runs[i], FRAME_NONE);
        for (unsigned j = 0; j <= i; j++)
            assert_int_equal(frame_owner(runs[i] + j * PAGE_SIZE), FRAME_KERNEL);
        memset(phys_to_virt(runs[i]), (int)i, (i + 1) * PAGE_SIZE);
    }
    frame_stats(&after);
    assert_int_equal(before.free - after.free, 40 * 41 / 2 * PAGE_SIZE);
    for (unsigned i = 0; i < 40; i++) {
        unsigned which = i * 7 % 40;
        const uint8_t *bytes = phys_to_virt(runs[which]);

        for (unsigned j = 0; j < (which + 1) * PAGE_SIZE; j++)
            assert_int_equal(bytes[j], which);
        frame_run_free(runs[which]);
    }
    frame_stats(&after);
    assert_int_equal(after.free, before.free);
    assert_int_equal(errors, 0);
}

/* A long random life: owners never overlap, sums hold, and everything comes back. */
static void test_random(void **state)
{
    struct {
        paddr pa;
        unsigned order;
    } held[200];
    struct frame_stats before, after;
    unsigned count = 0;

    srand(1);
    frame_stats(&before);
    for (int i = 0; i < 20000; i++) {
        if (count < 200 && rand() % 2) {
            unsigned order = (unsigned)rand() % 8;
            paddr pa = frame_alloc(order, (uint16_t)(FRAME_VM + count));

            if (pa == FRAME_NONE)
                continue;
            held[count].pa = pa;
            held[count++].order = order;
        } else if (count) {
            unsigned which = (unsigned)rand() % count;

            frame_free(held[which].pa, held[which].order);
            held[which] = held[--count];
        }
    }
    while (count--)
        frame_free(held[count].pa, held[count].order);
    frame_stats(&after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(errors, 0);
}

/* A block in pieces of its own, which come together again. */
static void test_split(void **state)
{
    struct frame_stats before, after;

    frame_stats(&before);
    paddr block = frame_alloc(FRAME_ORDER_2M, FRAME_VM + 1);
    assert_true(frame_pin(block + PAGE_SIZE));
    frame_split(block, FRAME_ORDER_2M, FRAME_ORDER_4K);
    assert_true(frame_pinned(block + PAGE_SIZE));
    assert_false(frame_pinned(block));
    assert_int_equal(frame_owner(block + 5 * PAGE_SIZE), FRAME_VM + 1);
    frame_unpin(block + PAGE_SIZE);
    for (unsigned i = 0; i < 512; i += 2)
        frame_free(block + i * PAGE_SIZE, FRAME_ORDER_4K);
    frame_stats(&after);
    assert_int_equal(after.free, before.free - MIB);
    assert_int_equal(after.vm, MIB);
    for (unsigned i = 1; i < 512; i += 2)
        frame_free(block + i * PAGE_SIZE, FRAME_ORDER_4K);
    assert_int_equal(frame_alloc(FRAME_ORDER_2M, FRAME_VM + 1), block);
    frame_free(block, FRAME_ORDER_2M);
    frame_stats(&after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(errors, 0);
    frame_free(block, FRAME_ORDER_4K); /* it is whole again */
    assert_int_equal(errors, 1);
}

/* What a test of shortage gets, and no more until it says otherwise. */
static void test_below(void **state)
{
    paddr last = 0, pa;

    /* Blocks above come back first, and are passed over. */
    frame_free(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL), FRAME_ORDER_4K);
    assert_int_equal(frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, MIB + PAGE_SIZE - 2),
                     FRAME_NONE);
    while ((pa = frame_alloc_below(FRAME_ORDER_4K, FRAME_KERNEL, 2 * MIB - 1)) != FRAME_NONE) {
        assert_true(pa + PAGE_SIZE <= 2 * MIB);
        last = MAX(last, pa);
    }
    assert_int_equal(last, 2 * MIB - PAGE_SIZE);
    pa = frame_alloc_below(8, FRAME_KERNEL, 4 * MIB - 1);
    assert_true(pa >= 2 * MIB && pa <= 3 * MIB);
    check_sum();
}

static void test_limit(void **state)
{
    paddr held[3];

    frame_limit(3);
    held[0] = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    held[1] = frame_run_alloc(3, FRAME_KERNEL);
    held[2] = frame_alloc(FRAME_ORDER_2M, FRAME_VM);
    for (unsigned i = 0; i < 3; i++)
        assert_true(held[i] != FRAME_NONE);
    for (unsigned i = 0; i < 3; i++)
        assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) == FRAME_NONE);
    frame_free(held[0], FRAME_ORDER_4K);
    assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) == FRAME_NONE);
    frame_limit(UINT64_MAX);
    assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_init, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exhaust, setup, teardown),
        cmocka_unit_test_setup_teardown(test_alignment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_stay_together, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_free, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pins, setup, teardown),
        cmocka_unit_test_setup_teardown(test_release, setup, teardown),
        cmocka_unit_test_setup_teardown(test_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_split, setup, teardown),
        cmocka_unit_test_setup_teardown(test_below, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
