/* links: guest/storage/layer.c guest/storage/layer_restore.c guest/storage/past.c tests/unit/mock_heap.c */
/*
 * A disk with snapshots, by threads that are processors: two write to it, to the same blocks, two
 * take the drive's interrupts, and one makes snapshots, puts them back, and forgets them whatever
 * the others do. It is built with the thread sanitizer (see Makefile), which tells of every access
 * that no lock orders, and of memory that is used after it was given back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/storage/layer.h"
#include "tests/unit/threads.h"

enum {
    GUESTS = 2,
    DEPTH = 4,
    INTERRUPTS = 2,
    SECTORS = 1600,
    MOST = 40,
    ROUNDS = 25,
    ENOUGH = 4,
    KEPT = 4
};

/* --- processors and memory --- */

static void relax(void)
{
    static __thread unsigned count;

    if (++count % 50 == 0)
        sched_yield();
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*seed >> 33);
}

static int64_t frames; /* atomic */

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){.free = GIB};
}

paddr frame_alloc_below(unsigned order, uint16_t owner, paddr limit)
{
    __atomic_fetch_add(&frames, 1, __ATOMIC_RELAXED);
    return (paddr)aligned_alloc(PAGE_SIZE, PAGE_SIZE);
}

void frame_free(paddr frame, unsigned order)
{
    __atomic_fetch_sub(&frames, 1, __ATOMIC_RELAXED);
    free((void *)frame);
}

/* --- the drive --- */

static struct {
    struct spinlock lock;
    uint8_t medium[SECTORS][512];
    struct block_request *held[64];
    unsigned holding; /* written with the lock held; atomic */
    uint64_t seed;
} drive = {.lock = SPINLOCK(RANK_DISK), .seed = 1};

static void carry_out(const struct block_request *r)
{
    uint8_t *at = drive.medium[r->sector];

    for (unsigned i = 0; i < r->count && r->op <= BLOCK_WRITE; i++) {
        uint8_t *memory = (uint8_t *)r->segments[i].address;
        memcpy(r->op == BLOCK_READ ? memory : at, r->op == BLOCK_READ ? at : memory,
               r->segments[i].length);
        at += r->segments[i].length;
    }
    if (r->op == BLOCK_WRITE_ZEROES)
        memset(at, 0, r->sectors * 512);
}

static struct block_request *take_last(void)
{
    __atomic_store_n(&drive.holding, drive.holding - 1, __ATOMIC_RELAXED);
    return drive.held[drive.holding];
}

/* Give back one of that owner's; NULL: anybody's. */
static void give_back(const void *owner)
{
    struct block_request *r = NULL;

    spin_lock(&drive.lock);
    if (drive.holding) {
        unsigned which = next_random(&drive.seed) % drive.holding;

        r = drive.held[which];
        if (owner && r->owner != owner)
            r = NULL;
        else
            drive.held[which] = take_last();
    }
    if (r)
        carry_out(r);
    spin_unlock(&drive.lock);
    if (r)
        r->done(r, 0);
}

static void drive_submit(struct block_device *d, struct block_request *r)
{
    const void *owner = r->owner; /* it may be over at any moment */

    spin_lock(&drive.lock);
    drive.held[drive.holding] = r;
    __atomic_store_n(&drive.holding, drive.holding + 1, __ATOMIC_RELAXED);
    spin_unlock(&drive.lock);
    give_back(owner);
}

static const struct block_ops drive_ops = {.submit = drive_submit};
static struct block_device under = {.ops = &drive_ops,
                                    .sectors = SECTORS,
                                    .logical_block = 512,
                                    .max_sectors = 64,
                                    .max_segments = 8,
                                    .segment_align = 1,
                                    .highest_address = UINT64_MAX,
                                    .has_flush = true,
                                    .write_zeroes_sectors = MOST};
static struct block_layer layer;
static bool all_done; /* atomic */

static void *interrupts(void *unused)
{
    while (!__atomic_load_n(&all_done, __ATOMIC_ACQUIRE)) {
        if (__atomic_load_n(&drive.holding, __ATOMIC_RELAXED))
            give_back(NULL);
        relax();
    }
    return NULL;
}

/* --- guests: each writes to every second sector --- */

static struct guest {
    struct asked {
        struct block_request request;
        struct block_segment segment;
        uint8_t data[512];
        bool busy; /* atomic */
    } asked[DEPTH];
    uint8_t expects[SECTORS];
    unsigned number;
    uint64_t seed;
    bool stands, stops; /* atomic */
    unsigned long requests;
} guests[GUESTS];

static void done(struct block_request *r, int error)
{
    struct asked *a = CONTAINER_OF(r, struct asked, request);

    if (error)
        abort();
    __atomic_store_n(&a->busy, false, __ATOMIC_RELEASE);
}

/* No two of its requests are for one sector at once. */
static bool is_free(struct guest *g, uint64_t sector)
{
    bool found = false;

    for (unsigned i = 0; i < DEPTH; i++)
        found |= g->asked[i].request.sector == sector &&
                 __atomic_load_n(&g->asked[i].busy, __ATOMIC_ACQUIRE);
    return !found;
}

static void ask(struct guest *g)
{
    uint64_t sector = next_random(&g->seed) % (SECTORS / GUESTS) * GUESTS + g->number;
    struct asked *a = &g->asked[next_random(&g->seed) % DEPTH];
    unsigned op = next_random(&g->seed) % 8 ? BLOCK_WRITE : BLOCK_WRITE_ZEROES;

    if (__atomic_load_n(&a->busy, __ATOMIC_ACQUIRE) || !is_free(g, sector)) {
        relax();
        return;
    }
    g->expects[sector] = op == BLOCK_WRITE ? (uint8_t)next_random(&g->seed) : 0;
    memset(a->data, g->expects[sector], 512);
    a->segment = (struct block_segment){(paddr)a->data, 512};
    a->request = (struct block_request){.op = (uint8_t)op,
                                        .sector = sector,
                                        .sectors = 1,
                                        .segments = &a->segment,
                                        .count = op == BLOCK_WRITE,
                                        .done = done,
                                        .owner = g};
    __atomic_store_n(&a->busy, true, __ATOMIC_RELEASE);
    g->requests++;
    block_submit(&under, &a->request);
}

static bool any_busy(struct guest *g)
{
    bool busy = false;

    for (unsigned i = 0; i < DEPTH; i++)
        busy |= __atomic_load_n(&g->asked[i].busy, __ATOMIC_ACQUIRE);
    return busy;
}

static void *guest(void *arg)
{
    struct guest *g = arg;

    while (!__atomic_load_n(&all_done, __ATOMIC_ACQUIRE)) {
        bool stops = __atomic_load_n(&g->stops, __ATOMIC_ACQUIRE);

        if (!stops)
            ask(g);
        __atomic_store_n(&g->stands, stops && !any_busy(g), __ATOMIC_RELEASE);
        if (stops)
            relax();
    }
    return NULL;
}

/* --- processor 0 --- */

static struct past_memory kept = {.limit = 1200 * KIB, .owner = FRAME_VM};
static uint8_t was[KEPT][SECTORS];
static bool there[KEPT];
static unsigned starved, told; /* starved: atomic */
static unsigned left_over;     /* atomic */
static uint64_t seed = 7;
static unsigned restored, forgotten, renewed;

static void attention(struct block_layer *l)
{
    __atomic_fetch_add(l ? &starved : &left_over, 1, __ATOMIC_SEQ_CST);
}

static void forget(unsigned n)
{
    if (!there[n])
        return;
    layer_forget(&layer, was[n]);
    there[n] = false;
    forgotten++;
}

static void work(void)
{
    if (__atomic_exchange_n(&left_over, 0, __ATOMIC_SEQ_CST))
        layer_work(&layer);
}

static void look_after(void)
{
    unsigned now = __atomic_load_n(&starved, __ATOMIC_SEQ_CST);

    work();
    if (now == told)
        return;
    told = now;
    forget(next_random(&seed) % KEPT);
    layer_go_on(&layer);
}

static void stand_still(void)
{
    for (unsigned i = 0; i < GUESTS; i++)
        __atomic_store_n(&guests[i].stops, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < GUESTS; i++)
        while (!__atomic_load_n(&guests[i].stands, __ATOMIC_ACQUIRE)) {
            look_after();
            relax();
        }
    while (!layer_idle(&layer))
        relax();
    for (unsigned s = 0; s < SECTORS; s++) {
        assert_int_equal(drive.medium[s][0], guests[s % GUESTS].expects[s]);
        assert_int_equal(drive.medium[s][511], guests[s % GUESTS].expects[s]);
    }
}

static void go_on(void)
{
    layer_go_on(&layer);
    for (unsigned i = 0; i < GUESTS; i++) {
        __atomic_store_n(&guests[i].stops, false, __ATOMIC_RELEASE);
        while (__atomic_load_n(&guests[i].stands, __ATOMIC_ACQUIRE))
            relax();
    }
}

static void restore(unsigned n)
{
    struct layer_failure where;
    int result;

    assert_int_equal(layer_restore_begin(&layer, was[n]), 0);
    while ((result = layer_restore_step(&layer, &where)) == -EAGAIN) {
        work();
        relax();
    }
    while (!layer_idle(&layer))
        relax();
    if (result == 0)
        for (unsigned s = 0; s < SECTORS; s++)
            assert_int_equal(drive.medium[s][0], was[n][s]);
    else
        assert_int_equal(result, -ENOMEM);
    for (unsigned s = 0; s < SECTORS; s++)
        guests[s % GUESTS].expects[s] = drive.medium[s][0];
    restored += result == 0;
}

/* Nothing of a layer that is idle is looked at by anybody. */
static void renew(void)
{
    for (unsigned i = 0; i < KEPT; i++)
        forget(i);
    while (!layer_idle(&layer))
        relax();
    under.ops = &drive_ops;
    memset(&layer, 0xa5, sizeof(layer));
    assert_int_equal(layer_init(&layer, &under, &kept, attention), 0);
    renewed++;
}

static void round_of(unsigned n)
{
    for (unsigned i = next_random(&seed) % 500; i--;) {
        look_after();
        relax();
    }
    if (next_random(&seed) % 3 == 0)
        forget(n);
    stand_still();
    if (next_random(&seed) % 8 == 0)
        renew();
    if (there[n]) {
        restore(n);
    } else {
        assert_int_equal(layer_keep(&layer, was[n]), 0);
        for (unsigned s = 0; s < SECTORS; s++)
            was[n][s] = drive.medium[s][0];
        there[n] = true;
    }
    go_on();
}

static void test_threads(void **state)
{
    pthread_t threads[GUESTS + INTERRUPTS];

    assert_int_equal(layer_init(&layer, &under, &kept, attention), 0);
    for (unsigned i = 0; i < GUESTS + INTERRUPTS; i++) {
        if (i < GUESTS)
            guests[i].number = i;
        if (i < GUESTS)
            guests[i].seed = i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, i < GUESTS ? guest : interrupts,
                                        i < GUESTS ? &guests[i] : NULL),
                         0);
    }
    for (unsigned i = 0; i < ROUNDS || restored < ENOUGH || forgotten < ENOUGH || !renewed || !told;
         i++) {
        assert_true(i < 100 * ROUNDS);
        round_of(next_random(&seed) % KEPT);
    }
    stand_still();
    for (unsigned i = 0; i < KEPT; i++)
        forget(i);
    __atomic_store_n(&all_done, true, __ATOMIC_RELEASE);
    for (unsigned i = 0; i < GUESTS + INTERRUPTS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(kept.used, 0);
    assert_int_equal(frames, 0);
    assert_int_equal(__atomic_load_n(&reports, __ATOMIC_SEQ_CST), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
