/* links: mm/frame.c mm/frame_promise.c arch/x86/lib/log.c arch/x86/lib/format.c arch/x86/spinlock.c */
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
    (void)!frame_alloc(FRAME_ORDER_1G, FRAME_KERNEL); /* what was cleared ahead is wanted */
    free(ram);
    return 0;
}

static void check_sum(void)
{
    struct frame_stats s;

    frame_stats(&s);
    /* Low memory counts in the total but is not handed out. */
    assert_int_equal(s.total - 0xa0000,
                     s.free + s.promised + s.kernel + s.metadata + s.loader + s.vm + s.retired);
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
    assert_true(frame_pinned(block + PAGE_SIZE, FRAME_ORDER_4K));
    assert_false(frame_pinned(block, FRAME_ORDER_4K));
    assert_true(frame_pinned(block, FRAME_ORDER_2M));
    assert_false(frame_pinned(block + 2 * PAGE_SIZE, 1));
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

/* --- promises --- */

static uint64_t free_pages(void)
{
    struct frame_stats s;

    frame_stats(&s);
    check_sum();
    return s.free / PAGE_SIZE;
}

static void test_promise(void **state)
{
    struct frame_promise p = {0}, q = {0};
    uint64_t all = free_pages(), pages = 0;
    paddr blocks[4];

    assert_false(frame_promise(&p, 0, all + 1, 0));
    assert_true(frame_promise(&p, 0, all, 0));
    assert_int_equal(free_pages(), 0);
    assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) == FRAME_NONE);
    assert_false(frame_promise(&q, 0, 1, 0));
    assert_false(frame_promise(&p, 1, all, 0)); /* more, instead of it */
    assert_int_equal(p.pages, all);
    assert_true(frame_promise(&p, 4, 7, 0));
    assert_int_equal(free_pages(), all - 4 * 512 - 7);
    /* Nobody else gets one of these blocks, be it for a page. */
    while (frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE)
        pages++;
    assert_int_equal(pages, all - 4 * 512 - 7);
    assert_true(frame_run_alloc(3, FRAME_KERNEL) == FRAME_NONE);
    assert_false(frame_promise(&q, 0, 1, 0));
    for (unsigned i = 0; i < 4; i++)
        assert_true((blocks[i] = frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM)) != FRAME_NONE);
    assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) == FRAME_NONE);
    for (unsigned i = 0; i < 7; i++)
        assert_true(frame_redeem(&p, FRAME_ORDER_4K, FRAME_VM) != FRAME_NONE);
    assert_true(frame_redeem(&p, FRAME_ORDER_4K, FRAME_VM) == FRAME_NONE);
    /* It comes back to who has had it, in pages if he likes. */
    frame_return(&p, blocks[0], FRAME_ORDER_2M);
    frame_return(&p, blocks[1], FRAME_ORDER_2M);
    assert_int_equal(p.blocks, 2);
    assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) == FRAME_NONE);
    frame_promise_split(&p);
    for (unsigned i = 0; i < 512; i++)
        assert_true(frame_redeem(&p, FRAME_ORDER_4K, FRAME_VM) != FRAME_NONE);
    assert_int_equal(p.blocks, 1);
    assert_true(frame_redeem(&p, FRAME_ORDER_4K, FRAME_VM) != FRAME_NONE); /* of the other block */
    assert_int_equal(p.blocks, 0);
    assert_false(frame_promise_more(&p, 1));
    frame_promise_less(&p, 12);
    assert_int_equal(p.pages, 499);
    assert_int_equal(free_pages(), 12);
    assert_false(frame_promise_more(&p, 13));
    assert_true(frame_promise_more(&p, 1));
    assert_int_equal(p.pages, 500);
    assert_int_equal(free_pages(), 11);
    frame_promise_end(&p);
    assert_int_equal(p.pages, 0);
    assert_int_equal(free_pages(), 511);
    assert_true(frame_alloc_keeping(FRAME_ORDER_4K, FRAME_VM, 511 * PAGE_SIZE) == FRAME_NONE);
    assert_true(frame_alloc_keeping(FRAME_ORDER_4K, FRAME_VM, 510 * PAGE_SIZE) != FRAME_NONE);
}

/* Blocks that are in pieces are promised as pages, with more for the tables that those take. */
static void test_promise_in_pieces(void **state)
{
    struct frame_promise p = {0};
    paddr page[200];
    unsigned count = 0;

    while (count < 200 && (page[count] = frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL)) != FRAME_NONE)
        frame_split(page[count++], FRAME_ORDER_2M, FRAME_ORDER_4K);
    uint64_t small = free_pages();
    for (unsigned i = 2; i < count; i++)
        for (unsigned n = 1; n < 512; n++)
            frame_free(page[i] + n * PAGE_SIZE, FRAME_ORDER_4K);
    for (unsigned i = 0; i < 2; i++)
        for (unsigned n = 0; n < 512; n++)
            frame_free(page[i] + n * PAGE_SIZE, FRAME_ORDER_4K);
    assert_true(frame_promise(&p, 3, 0, 2));
    assert_int_equal(p.blocks, 2);
    assert_int_equal(p.pages, 514);
    assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) != FRAME_NONE);
    assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) != FRAME_NONE);
    assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) == FRAME_NONE);
    assert_int_equal(p.pages, 514);
    frame_free(page[2], FRAME_ORDER_4K); /* now there is a third */
    assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) != FRAME_NONE);
    assert_int_equal(p.pages, 2);
    assert_int_equal(free_pages(), small + (count - 3) * 511 - 2);
    frame_promise_end(&p);
}

/* Who wants more than a page in one piece does not get it from a block that is promised, be there
 * as many pages apart. */
static void test_promise_among_crumbs(void **state)
{
    struct frame_promise p = {0};
    paddr block[64];
    unsigned count = 0;

    while (count < 64 && (block[count] = frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL)) != FRAME_NONE)
        count++;
    for (unsigned order = 8; order < 9; order--)
        while (frame_alloc(order, FRAME_KERNEL) != FRAME_NONE)
            ;
    frame_split(block[0], FRAME_ORDER_2M, FRAME_ORDER_4K);
    for (unsigned i = 0; i < 512; i += 2)
        frame_free(block[0] + i * PAGE_SIZE, FRAME_ORDER_4K);
    for (unsigned i = 1; i < count; i++)
        frame_free(block[i], FRAME_ORDER_2M);
    assert_true(frame_promise(&p, count - 1, 0, 0));
    assert_int_equal(free_pages(), 256);
    for (unsigned order = 1; order < 9; order++)
        assert_true(frame_alloc(order, FRAME_KERNEL) == FRAME_NONE);
    for (unsigned i = 0; i < 256; i++)
        assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE);
    for (unsigned i = 1; i < count; i++)
        assert_true(frame_redeem(&p, FRAME_ORDER_2M, FRAME_VM) != FRAME_NONE);
    assert_int_equal(free_pages(), 0);
}

/* Whatever others take and give back meanwhile, who has a promise gets what it says. */
static void test_promise_random(void **state)
{
    enum { HELD = 400, PROMISES = 3 };
    struct {
        paddr base;
        unsigned order;
        struct frame_promise *of;
    } held[HELD];
    struct frame_promise p[PROMISES] = {0};
    unsigned count = 0;
    uint64_t all = free_pages();

    srand(5);
    for (int i = 0; i < 30000; i++) {
        unsigned what = (unsigned)rand() % 8, which = count ? (unsigned)rand() % count : 0;
        struct frame_promise *of = &p[rand() % PROMISES];

        if (what == 0)
            (void)!frame_promise(of, (uint64_t)rand() % 8, (uint64_t)rand() % 600, 2);
        if (what == 1 && rand() % 20 == 0)
            frame_promise_split(of);
        if (what == 2)
            (void)!frame_clear_ahead((unsigned)rand() % 2);
        if (what < 3)
            continue;
        if (count == HELD || (count && what < 6)) {
            if (held[which].of)
                frame_return(held[which].of, held[which].base, held[which].order);
            else
                frame_free(held[which].base, held[which].order);
            held[which] = held[--count];
        } else if (what == 6) {
            unsigned order = rand() % 2 ? FRAME_ORDER_2M : FRAME_ORDER_4K;
            bool must = order ? of->blocks : of->blocks || of->pages;
            paddr base = order && rand() % 2 ? frame_cleared(of, FRAME_VM, 0) : FRAME_NONE;

            if (base == FRAME_NONE)
                base = frame_redeem(of, order, FRAME_VM);
            assert_true(!must || base != FRAME_NONE);
            if (base == FRAME_NONE)
                continue;
            held[count].base = base;
            held[count].of = of;
            held[count++].order = order;
        } else {
            unsigned order = (unsigned)rand() % 11;
            paddr base = frame_alloc(order, FRAME_VM + 1);

            if (base == FRAME_NONE)
                continue;
            held[count].base = base;
            held[count].of = NULL;
            held[count++].order = order;
        }
        if (i % 16 == 0)
            (void)free_pages();
    }
    while (count--)
        frame_free(held[count].base, held[count].order);
    for (unsigned i = 0; i < PROMISES; i++)
        frame_promise_end(&p[i]);
    for (unsigned cpu = 0; cpu < 2; cpu++)
        while (frame_clear_ahead(cpu))
            ;
    assert_int_equal(free_pages(), all);
    assert_int_equal(errors, 0);
}

/* --- cleared ahead --- */

/* Who wants one page more promised has it of that. */
static void test_promise_of_what_is_ahead(void **state)
{
    struct frame_promise p = {0};

    for (bool more = true; more;) {
        more = frame_clear_ahead(0);
        more |= frame_clear_ahead(1);
    }
    struct frame_stats s;
    frame_stats(&s); /* free_pages() would put it into the lists */
    for (uint64_t left = s.free / PAGE_SIZE; left > 8 * 512; left--)
        assert_true(frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE);
    assert_true(frame_promise_more(&p, 8 * 512));
    assert_false(frame_promise_more(&p, 1));
    assert_int_equal(free_pages(), 0);
    frame_promise_end(&p);
}

static void test_clear_ahead(void **state)
{
    uint64_t all = free_pages(), steps = 0, blocks = 0;
    struct frame_promise p = {0};

    for (bool more = true; more; steps++) {
        more = frame_clear_ahead(0);
        more |= frame_clear_ahead(1);
    }
    assert_uint_in_range(steps, 4 * 128, 4 * 128 + 2);
    assert_int_equal(free_pages(), all); /* it is free */
    paddr block = frame_cleared(NULL, FRAME_VM, 16 * MIB);
    assert_true(block != FRAME_NONE && frame_owner(block + 511 * PAGE_SIZE) == FRAME_VM);
    for (unsigned i = 0; i < 2 * MIB; i += 8)
        assert_true(*(uint64_t *)(ram + block + i) == 0);
    assert_int_equal(free_pages(), all - 512);
    assert_true(frame_cleared(NULL, FRAME_VM, all * PAGE_SIZE) == FRAME_NONE);
    frame_free(block, FRAME_ORDER_2M);
    /* Of what was promised. */
    assert_true(frame_cleared(&p, FRAME_VM, 0) == FRAME_NONE);
    assert_true(frame_promise(&p, 1, 0, 0));
    assert_true(frame_cleared(&p, FRAME_VM, 0) == FRAME_NONE); /* for which it was put back */
    while (frame_clear_ahead(0))
        ;
    block = frame_cleared(&p, FRAME_VM + 1, 0);
    assert_true(block != FRAME_NONE && p.blocks == 0);
    assert_int_equal(free_pages(), all - 512);
    /* Who wants memory has all of it, and what is half cleared. */
    assert_true(frame_clear_ahead(1));
    while (frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL) != FRAME_NONE)
        blocks++;
    while (frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL) != FRAME_NONE)
        ;
    assert_int_equal(free_pages(), 0);
    assert_true(blocks > 20);
    assert_false(frame_clear_ahead(0)); /* nothing to clear */
}

/* A frame that the machine has lost: whatever happens to its block, it is never handed out again.
 */
static void test_retired(void **state)
{
    const paddr block = frame_alloc(FRAME_ORDER_2M, FRAME_VM + 3);
    const paddr first = frame_alloc(FRAME_ORDER_4K, FRAME_VM + 3);
    const paddr lost[] = {block, block + 5 * PAGE_SIZE, block + 511 * PAGE_SIZE};
    struct frame_stats before, after;
    paddr run = frame_run_alloc(7, FRAME_VM + 4);

    frame_stats(&before);
    for (unsigned i = 0; i < 3; i++)
        frame_retire(lost[i]);
    frame_retire(lost[1]); /* once more */
    frame_retire(first);
    frame_retire(run + 2 * PAGE_SIZE);
    frame_retire(HOLE); /* nobody's, */
    frame_retire(64 * GIB);
    frame_stats(&after);
    assert_int_equal(after.retired, 5 * PAGE_SIZE);
    assert_int_equal(after.vm, before.vm - 5 * PAGE_SIZE);
    assert_int_equal(after.free, before.free);
    assert_int_equal(frame_owner(lost[1]), FRAME_RETIRED);
    assert_int_equal(frame_owner(lost[1] + PAGE_SIZE), FRAME_VM + 3);
    assert_int_equal(frame_owner(HOLE), FRAME_RESERVED);
    check_sum();
    frame_free(block, FRAME_ORDER_2M);
    frame_free(first, FRAME_ORDER_4K);
    frame_run_free(run);
    check_sum();
    frame_stats(&after);
    assert_int_equal(after.vm, 0);
    assert_int_equal(after.free, before.free + (512 + 1 + 7 - 5) * PAGE_SIZE);
    frame_retire(block + PAGE_SIZE); /* or free */
    assert_int_equal(frame_owner(block + PAGE_SIZE), FRAME_FREE);
    /* all that there is, frame by frame */
    uint64_t left = after.free;
    for (paddr pa; (pa = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL)) != FRAME_NONE;) {
        for (unsigned i = 0; i < 3; i++)
            assert_true(pa != lost[i]);
        assert_true(pa != first && pa != run + 2 * PAGE_SIZE);
        left -= PAGE_SIZE;
    }
    assert_int_equal(left, 0);
    assert_int_equal(errors, 0);
    check_sum();
}

/* Blocks that are begun first are put back first, so that the upper half of one comes last. */
static void clear_four(void)
{
    for (unsigned cpu = 4; cpu-- > 0;)
        assert_true(frame_clear_ahead(cpu));
    for (unsigned cpu = 0; cpu < 4; cpu++)
        for (unsigned i = 1; i < 128; i++)
            assert_true(frame_clear_ahead(cpu));
}

/* What was put back is free as all else, or a part of what is. */
static void test_ahead_put_back(void **state)
{
    struct frame_promise p = {0};
    paddr block[4];

    for (unsigned i = 0; i < 4; i++) /* those with no other half */
        assert_true(frame_alloc(FRAME_ORDER_2M, FRAME_KERNEL) != FRAME_NONE);
    uint64_t all = free_pages();
    clear_four();
    for (unsigned i = 0; i < 4; i++)
        assert_true((block[i] = frame_cleared(NULL, FRAME_VM, 0)) != FRAME_NONE);
    for (unsigned i = 0; i < 4; i++)
        frame_free(block[i], FRAME_ORDER_2M);
    clear_four();
    assert_true(frame_promise(&p, 0, 1, 0));
    frame_promise_end(&p);
    assert_int_equal(errors, 0);
    for (unsigned i = 0; i < 4; i++)
        frame_free(block[i], FRAME_ORDER_2M);
    assert_int_equal(errors, 4);
    assert_int_equal(free_pages(), all);
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
        cmocka_unit_test_setup_teardown(test_promise, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_among_crumbs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clear_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_promise_of_what_is_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ahead_put_back, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
