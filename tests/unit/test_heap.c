/* links: mm/heap.c mm/frame.c mm/frame_promise.c arch/x86/lib/log.c arch/x86/lib/format.c arch/x86/spinlock.c */
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
#include "mm/heap.h"

#define RAM_SIZE (16 * MIB)

static uint8_t *ram;
static unsigned errors;
static struct frame_stats at_start;

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

static int setup(void **state)
{
    static const struct handover_mem map = {0, RAM_SIZE, HANDOVER_MEM_USABLE, 0, 0};
    struct handover h = {.memory = 0x1000, .memory_count = 1};

    ram = aligned_alloc(PAGE_SIZE, RAM_SIZE);
    memset(ram, 0xcc, RAM_SIZE);
    memcpy(ram + h.memory, &map, sizeof(map));
    log_set_sink(count_errors);
    frame_init(&h);
    frame_stats(&at_start);
    return 0;
}

static bool all(const void *p, uint8_t value, size_t size)
{
    const uint8_t *bytes = p;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

static void test_every_size(void **state)
{
    for (size_t size = 0; size <= 3 * PAGE_SIZE; size += size < 64 ? 1 : 37) {
        uint8_t *a = heap_alloc(size), *b = heap_alloc(size);

        if (!size) {
            heap_free(a);
            heap_free(b);
            continue;
        }
        assert_non_null(a);
        assert_non_null(b);
        assert_true(IS_ALIGNED((uintptr_t)a, 16) && IS_ALIGNED((uintptr_t)b, 16));
        assert_true(all(a, 0, size) && all(b, 0, size));
        memset(a, 0xaa, size);
        memset(b, 0xbb, size);
        assert_true(all(a, 0xaa, size));
        heap_free(a);
        assert_true(all(b, 0xbb, size));
        heap_free(b);
    }
    assert_int_equal(errors, 0);
}

static void test_pages(void **state)
{
    for (size_t size = PAGE_SIZE; size <= 5 * PAGE_SIZE; size += PAGE_SIZE) {
        struct frame_stats before, after;
        uint8_t *p;

        frame_stats(&before);
        p = heap_alloc(size);
        assert_true(IS_ALIGNED((uintptr_t)p, PAGE_SIZE));
        frame_stats(&after);
        assert_int_equal(before.free - after.free, size);
        heap_free(p);
        frame_stats(&after);
        assert_int_equal(before.free, after.free);
    }
}

static void test_out_of_memory(void **state)
{
    static void *held[8192];
    struct frame_stats before, after;
    unsigned count = 0;

    frame_stats(&before);
    assert_null(heap_alloc(SIZE_MAX));
    assert_null(heap_alloc(2 * RAM_SIZE));
    while (count < ARRAY_SIZE(held) && (held[count] = heap_alloc(4000)))
        count++;
    assert_true(count > 3000 && count < ARRAY_SIZE(held));
    assert_null(heap_alloc(PAGE_SIZE));
    while (count--)
        heap_free(held[count]);
    frame_stats(&after);
    assert_int_equal(before.free, after.free);
}

static void test_wrong_free(void **state)
{
    uint8_t *p = heap_alloc(100);

    heap_free(NULL);
    errors = 0;
    heap_free(p + 4);
    assert_int_equal(errors, 1);
    heap_free(p + 64); /* an address that an object of another size could have */
    assert_int_equal(errors, 2);
    heap_free(p);
    assert_int_equal(errors, 2);
}

static void test_random(void **state)
{
    static struct {
        uint8_t *p;
        size_t size;
        uint8_t mark;
    } held[500];
    struct frame_stats end;
    unsigned count = 0;

    errors = 0;
    srand(2);
    for (int i = 0; i < 50000; i++) {
        if (count < 500 && rand() % 2) {
            size_t size = 1 + (size_t)rand() % (rand() % 8 ? 300 : 9000);
            uint8_t *p = heap_alloc(size);

            if (!p)
                continue;
            assert_true(all(p, 0, size));
            held[count].mark = (uint8_t)rand();
            memset(p, held[count].mark, size);
            held[count].p = p;
            held[count++].size = size;
        } else if (count) {
            unsigned which = (unsigned)rand() % count;

            assert_true(all(held[which].p, held[which].mark, held[which].size));
            heap_free(held[which].p);
            held[which] = held[--count];
        }
    }
    while (count--)
        heap_free(held[count].p);
    frame_stats(&end);
    /* Each size class may keep one frame. */
    assert_true(at_start.free - end.free <= 20 * PAGE_SIZE);
    assert_int_equal(errors, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),    cmocka_unit_test(test_pages),
        cmocka_unit_test(test_random),        cmocka_unit_test(test_wrong_free),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
