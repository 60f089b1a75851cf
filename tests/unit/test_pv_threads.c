/* links: guest/cpu/pv_page.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/*
 * A guest's vCPUs as threads, which read what Corbel writes into their pages meanwhile: what they
 * take for one version is one, steal time never goes back, and whoever leaves a flush for a vCPU
 * that is away is heard before that one runs again. It is built with the thread sanitizer (see
 * Makefile).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <pthread.h>
#include <sched.h>
#include <cmocka.h>

#include "guest/cpu/pv_page.h"
#include "mm/guest_memory.h"
#include "tests/unit/mock_frames.h"
#include "tests/unit/threads.h"

enum { READERS = 3, STEPS = 5000 };

#define TIME  0x201000ULL
#define STEAL 0x202000ULL

static struct guest_memory gm;
static pthread_barrier_t together;
static bool over;              /* atomic */
static uint64_t read_versions; /* atomic */

static void begin(unsigned threads)
{
    mock_reset();
    memset(&gm, 0, sizeof(gm));
    assert_int_equal(
        guest_memory_create(&gm, FRAME_VM, &(struct guest_memory_region){0, 4 * MIB}, 1), 0);
    assert_int_equal(guest_memory_touch(&gm, TIME), 0);
    pthread_barrier_init(&together, NULL, threads);
    __atomic_store_n(&over, false, __ATOMIC_SEQ_CST);
}

static void end(void)
{
    guest_memory_destroy(&gm);
    pthread_barrier_destroy(&together);
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
}

/* The guest knows where its page is. */
static void *at(uint64_t gpa)
{
    struct guest_frame f = {0};

    assert_int_equal(guest_memory_lookup(&gm, gpa, &f), 0);
    return phys_to_virt(f.hpa);
}

static uint32_t word(const void *page, unsigned offset)
{
    return __atomic_load_n((const uint32_t *)((const char *)page + offset), __ATOMIC_ACQUIRE);
}

static uint64_t two_words(const void *page, unsigned offset)
{
    return word(page, offset) | (uint64_t)word(page, offset + 4) << 32;
}

/* All that belongs to one version is made of the same number. */
static void *read_times(void *arg)
{
    const void *page = at(TIME);

    pthread_barrier_wait(&together);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        uint32_t version = word(page, 0);
        uint64_t tsc = two_words(page, 8), ns = two_words(page, 16);
        uint32_t multiplier = word(page, 24), rest = word(page, 28);
        if (version % 2 || word(page, 0) != version)
            continue;
        if (version)
            assert_true(tsc == ns && multiplier == (uint32_t)tsc && (rest >> 8 & 1) == (tsc & 1));
        __atomic_add_fetch(&read_versions, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void versions(void **state)
{
    pthread_t threads[READERS];

    begin(READERS + 1);
    for (unsigned i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, read_times, NULL);
    pthread_barrier_wait(&together);
    for (uint64_t n = 1; n <= STEPS; n++) {
        uint64_t both = n * 0x100000001;
        const struct pv_time t = {
            .tsc = both, .ns = both, .rate = {.multiplier = (uint32_t)both}, .stable = both & 1};
        assert_int_equal(pv_write_time(&gm, TIME, &t), 0);
        if (n % 16 == 0)
            sched_yield();
    }
    __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(__atomic_load_n(&read_versions, __ATOMIC_RELAXED) > 100);
    end();
}

/* --- steal time --- */

static uint64_t generation; /* of the guest's page tables; atomic */
static uint64_t forgotten;  /* the translations of which one the vCPU has forgotten last; atomic */
static uint64_t entries;    /* how often it has entered the guest; atomic */
static unsigned left;       /* how many flushes were left for it; atomic */

/* Another vCPU changes the page tables, and interrupts that one only if it is not away. */
static void *leave_flushes(void *arg)
{
    uint8_t *preempted = (uint8_t *)at(STEAL) + 16;

    pthread_barrier_wait(&together);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        uint64_t mine = __atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
        uint8_t flags = __atomic_load_n(preempted, __ATOMIC_SEQ_CST);
        if (!(flags & PV_PREEMPTED) ||
            !__atomic_compare_exchange_n(preempted, &flags, flags | PV_FLUSH, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            continue;
        __atomic_add_fetch(&left, 1, __ATOMIC_RELAXED);
        uint64_t before = __atomic_load_n(&entries, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&entries, __ATOMIC_SEQ_CST) == before)
            if (sched_yield(), __atomic_load_n(&over, __ATOMIC_RELAXED))
                return NULL;
        assert_true(__atomic_load_n(&forgotten, __ATOMIC_SEQ_CST) >= mine);
    }
    return NULL;
}

static void *read_steal(void *arg)
{
    const void *page = at(STEAL);
    uint64_t last = 0;

    pthread_barrier_wait(&together);
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
        uint32_t version = word(page, 8);
        uint64_t steal = __atomic_load_n((const uint64_t *)page, __ATOMIC_ACQUIRE);
        if (version % 2 || word(page, 8) != version)
            continue;
        assert_true(steal >= last);
        last = steal;
    }
    return NULL;
}

static void steal_time(void **state)
{
    pthread_t threads[READERS];
    uint64_t total = 0;
    unsigned heard = 0;

    begin(READERS + 1);
    for (unsigned i = 0; i < READERS; i++)
        pthread_create(&threads[i], NULL, i ? leave_flushes : read_steal, NULL);
    pthread_barrier_wait(&together);
    for (unsigned n = 0; n < STEPS; n++) {
        uint8_t flags = pv_swap_preempted(&gm, STEAL, 0);
        assert_true(n == 0 || flags & PV_PREEMPTED);
        if (flags & PV_FLUSH) {
            heard++;
            __atomic_store_n(&forgotten, __atomic_load_n(&generation, __ATOMIC_SEQ_CST),
                             __ATOMIC_SEQ_CST);
        }
        __atomic_add_fetch(&entries, 1, __ATOMIC_SEQ_CST);
        assert_int_equal(pv_add_steal(&gm, STEAL, n), 0);
        total += n;
        assert_int_equal(pv_swap_preempted(&gm, STEAL, PV_PREEMPTED), 0);
        if (n % 16 == 0)
            sched_yield();
    }
    __atomic_store_n(&over, true, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(*(uint64_t *)at(STEAL), total);
    assert_true(heard > 0 && heard <= __atomic_load_n(&left, __ATOMIC_RELAXED));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(steal_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
