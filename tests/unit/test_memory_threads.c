/* links: mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/*
 * RAM that is not there yet, touched by several threads at once: vCPUs, devices that write and pin,
 * one that lets layers come and go. Each finds zeroes and then what it has written, and what was
 * promised suffices to the last frame. It is built with the thread sanitizer (see Makefile).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <cmocka.h>

static pthread_mutex_t mock_mutex; /* recursive */

static int mock_lock(void)
{
    pthread_mutex_lock(&mock_mutex);
    return 0;
}

static void mock_unlock(int *taken)
{
    pthread_mutex_unlock(&mock_mutex);
}

#define MOCK_GUARD                                                                                 \
    int mock_taken __attribute__((cleanup(mock_unlock))) = mock_lock();                            \
    (void)mock_taken;

#include "mm/guest_memory.h"
#include "tests/unit/mock_frames.h"
#include "tests/unit/threads.h"

enum { THREADS = 4, ROUNDS = 3 };

#define RAM   (5 * MIB) /* with a chunk that is not whole */
#define PAGES (RAM / PAGE_SIZE)

static struct guest_memory gm;
static pthread_barrier_t together;
static bool over; /* atomic */

/* Each thread has a word of its own in each page, in an order of its own. */
static void *touch(void *arg)
{
    static const uint64_t strides[THREADS] = {1, 3 * 2731, 7 * 2731,
                                              9 * 2731}; /* PAGES has no 3, 7 */
    unsigned self = (unsigned)(uintptr_t)arg;
    uint64_t seed = self * 77 + 5, word, length;
    paddr at;

    pthread_barrier_wait(&together);
    for (unsigned i = 0; i < PAGES; i++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        uint64_t page = (i * strides[self] + self * 100) % PAGES;
        uint64_t gpa = page * PAGE_SIZE + 8 * self;

        assert_int_equal(guest_memory_load(&gm, gpa, 8, &word), 0);
        assert_int_equal(word, 0);
        switch (seed >> 33 & 3) {
        case 0:
            assert_int_equal(guest_memory_touch(&gm, gpa), 0);
            break;
        case 1:
            assert_int_equal(guest_memory_pin(&gm, gpa, 8, true, &at, &length), 0);
            guest_memory_unpin(at, length);
            break;
        }
        assert_int_equal(guest_memory_store(&gm, gpa, 8, page + 1), 0);
        assert_int_equal(guest_memory_load(&gm, gpa, 8, &word), 0);
        assert_int_equal(word, page + 1);
    }
    return NULL;
}

/* Over a page of which nobody is told, as its chunk is touched. */
static void *lay(void *arg)
{
    const struct guest_memory_layer l[] = {
        {.gpa = RAM, .size = PAGE_SIZE, .from = 0, .shows = GUEST_LAYER_RAM, .writable = true},
        {.gpa = 2 * MIB,
         .size = 4 * MIB,
         .from = 2 * MIB,
         .shows = GUEST_LAYER_RAM,
         .writable = true,
         .over_ram = true},
    };

    pthread_barrier_wait(&together);
    for (unsigned i = 0; !__atomic_load_n(&over, __ATOMIC_RELAXED); i++) {
        (void)guest_memory_set_layers(&gm, l, i % 3);
        sched_yield();
    }
    return NULL;
}

static void all_at_once(void **state)
{
    pthread_t threads[THREADS], layers;
    pthread_mutexattr_t recursive;
    uint64_t word;

    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mock_mutex, &recursive);
    mock_reset();
    for (unsigned round = 0; round < ROUNDS; round++) {
        mock_max_order = round % 3 ? FRAME_ORDER_2M : 0;
        assert_int_equal(
            guest_memory_create(&gm, FRAME_VM, &(struct guest_memory_region){0, RAM}, 1), 0);
        assert_int_equal(guest_memory_promise(&gm, 0), 0);
        assert_int_equal(guest_memory_make_room(&gm), 0);
        mock_limit = mock_used + mock_promised; /* nothing else is left */
        pthread_barrier_init(&together, NULL, THREADS + 1);
        __atomic_store_n(&over, false, __ATOMIC_SEQ_CST);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, touch, (void *)(uintptr_t)i);
        pthread_create(&layers, NULL, lay, NULL);
        for (unsigned i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
        pthread_join(layers, NULL);
        for (uint64_t page = 0; page < PAGES; page++) {
            for (unsigned i = 0; i < THREADS; i++) {
                assert_int_equal(guest_memory_load(&gm, page * PAGE_SIZE + 8 * i, 8, &word), 0);
                assert_int_equal(word, page + 1);
            }
        }
        assert_int_equal(guest_memory_there(&gm), PAGES);
        mock_limit = MOCK_FRAMES;
        guest_memory_destroy(&gm);
        pthread_barrier_destroy(&together);
        assert_int_equal(mock_used, 0);
        assert_int_equal(mock_promised, 0);
    }
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_once)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
