/* links: arch/x86/random.c arch/x86/spinlock.c */
/* Random numbers by processors that have RDSEED, RDRAND, neither, or one that does not work. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include <blake2.h>

#include "arch/x86/cpu.h"
#include "arch/x86/random.h"

static bool rdrand, rdseed;
static unsigned rands, seeds;         /* how often each was asked */
static unsigned rand_miss, seed_miss; /* so often from now on it has nothing */
static bool rand_stuck, seed_stuck;
static uint64_t now, ticks;

uint64_t test_tsc(void)
{
    return now += ticks;
}

bool cpu_has_rdrand(void)
{
    return rdrand;
}

bool cpu_has_rdseed(void)
{
    return rdseed;
}

bool rdrand_step(uint64_t *out)
{
    assert_true(rdrand);
    rands++;
    if (rand_miss) {
        rand_miss--;
        *out = 0; /* as the SDM says of a processor that has nothing */
        return false;
    }
    *out = rand_stuck ? UINT64_MAX : 0x5200000000000000u + rands;
    return true;
}

bool rdseed_step(uint64_t *out)
{
    assert_true(rdseed);
    seeds++;
    if (seed_miss) {
        seed_miss--;
        *out = 0;
        return false;
    }
    *out = seed_stuck ? 0 : 0x5e00000000000000u + seeds;
    return true;
}

static bool memory_left;

/* The same again: nobody gives it back. */
static void *memory(size_t size)
{
    static uint8_t once[64 * 1024];

    assert_true(size <= sizeof(once));
    return memory_left ? once : NULL;
}

static void init(bool has_seed, bool has_rand)
{
    rdseed = has_seed;
    rdrand = has_rand;
    memory_left = true;
    random_init(memory);
    rands = seeds = 0;
}

static int setup(void **state)
{
    rand_miss = seed_miss = 0;
    rand_stuck = seed_stuck = false;
    ticks = 7;
    return 0;
}

static void seeds_are_given_as_they_are(void **state)
{
    uint64_t words[3];

    init(true, true);
    assert_int_equal(random_source(), RANDOM_RDSEED);
    assert_int_equal(random_bytes(words, sizeof(words)), sizeof(words));
    for (unsigned i = 0; i < 3; i++)
        assert_true(words[i] == 0x5e00000000000001u + i);
    assert_int_equal(rands, 0);
    assert_int_equal(seeds, 3);
}

static void no_byte_too_many(void **state)
{
    for (unsigned kind = 0; kind < 3; kind++) {
        init(kind == 0, kind <= 1);
        for (unsigned size = 0; size <= 100; size++) {
            uint8_t bytes[104];

            memset(bytes, 0xcd, sizeof(bytes));
            assert_int_equal(random_bytes(bytes, size), size);
            for (unsigned i = size; i < sizeof(bytes); i++)
                assert_int_equal(bytes[i], 0xcd);
        }
    }
}

static void a_miss_is_tried_again(void **state)
{
    uint64_t word;

    init(true, true);
    seed_miss = 9;
    assert_int_equal(random_bytes(&word, 8), 8);
    assert_true(word == 0x5e0000000000000au);
    init(false, true);
    rand_miss = 9;
    assert_int_equal(random_bytes(&word, 8), 8);
    assert_true(word == 0x520000000000000au);
}

static void rdrand_when_rdseed_has_nothing(void **state)
{
    uint64_t words[4];

    init(true, true);
    seed_miss = 1000;
    assert_int_equal(random_bytes(words, sizeof(words)), sizeof(words));
    for (unsigned i = 0; i < 4; i++)
        assert_true(words[i] == 0x5200000000000001u + i);
    assert_int_equal(seeds, 10); /* and is not asked again at each word */
    seed_miss = 0;
    assert_int_equal(random_bytes(words, 8), 8);
    assert_int_equal(words[0] >> 56, 0x5e);
}

static void nothing_in_place_of_what_is_missing(void **state)
{
    uint64_t words[4] = {1, 2, 3, 4};

    init(true, true);
    seed_miss = rand_miss = 1000;
    assert_int_equal(random_bytes(words, sizeof(words)), 0);
    assert_int_equal(seeds + rands, 20);
    assert_true(words[0] == 1 && words[3] == 4);
    init(true, false);
    seed_miss = 1000;
    assert_int_equal(random_bytes(words, sizeof(words)), 0);
    rand_miss = 0;
    init(false, true);
    rand_miss = 1000;
    assert_int_equal(random_bytes(words, sizeof(words)), 0);
    assert_int_equal(rands, 10);
    rand_miss = 3;
    assert_int_equal(random_bytes(words, sizeof(words)), sizeof(words));
}

static void a_generator_that_is_stuck(void **state)
{
    rand_stuck = true;
    init(true, true);
    assert_int_equal(random_source(), RANDOM_RDSEED);
    seed_stuck = true;
    init(true, true);
    assert_int_equal(random_source(), RANDOM_JITTER);
    rand_stuck = false;
    init(true, true);
    assert_int_equal(random_source(), RANDOM_RDRAND);
    seed_stuck = false;
    seed_miss = 1000; /* silent just now: that is no fault */
    init(true, true);
    assert_int_equal(random_source(), RANDOM_RDSEED);
}

/* RFC 7693, appendix B. */
static void the_hash(void **state)
{
    static const uint8_t abc[] = {0x50, 0x8c, 0x5e, 0x8c, 0x32, 0x7c, 0x14, 0xe2, 0xe1, 0xa7, 0x2b,
                                  0xa3, 0x4e, 0xeb, 0x45, 0x2f, 0x37, 0x45, 0x8b, 0x20, 0x9e, 0xd6,
                                  0x3a, 0x29, 0x4d, 0x99, 0x9b, 0x4c, 0x86, 0x67, 0x59, 0x82};
    uint8_t out[32];

    assert_int_equal(blake2s(out, "abc", NULL, sizeof(out), 3, 0), 0);
    assert_memory_equal(out, abc, sizeof(out));
}

static unsigned bits_that_differ(const void *a, const void *b, size_t size)
{
    unsigned n = 0;

    for (size_t i = 0; i < size; i++)
        n += (unsigned)__builtin_popcount(((const uint8_t *)a)[i] ^ ((const uint8_t *)b)[i]);
    return n;
}

/* Nothing here knows whether jitter can be guessed; but that all of it counts, and that no block
 * comes twice even where time stands still. */
static void the_pool(void **state)
{
    uint8_t first[64], again[64];

    init(false, false);
    assert_int_equal(random_source(), RANDOM_JITTER);
    ticks = 0;
    assert_int_equal(random_bytes(first, 64), 64);
    assert_int_equal(random_bytes(again, 64), 64);
    assert_uint_in_range(bits_that_differ(first, first + 32, 32), 80, 176);
    assert_uint_in_range(bits_that_differ(first, again, 64), 180, 332);
    assert_int_equal(rands + seeds, 0);
}

static void no_memory_for_a_pool(void **state)
{
    uint8_t out[32];

    memory_left = rdseed = rdrand = false;
    random_init(memory);
    assert_int_equal(random_bytes(out, 32), 0);
}

/* Two machines that are equal but for one moment. */
static void the_pool_depends_on_time(void **state)
{
    uint8_t here[32], there[32];
    int fd[2];

    init(false, false);
    ticks = 0;
    assert_int_equal(pipe(fd), 0);
    pid_t child = fork();
    if (child == 0) {
        now++;
        _exit(random_bytes(there, 32) != 32 || write(fd[1], there, 32) != 32);
    }
    assert_int_equal(random_bytes(here, 32), 32);
    assert_int_equal(read(fd[0], there, 32), 32);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(fd[0]);
    close(fd[1]);
    assert_uint_in_range(bits_that_differ(here, there, 32), 80, 176);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(seeds_are_given_as_they_are, setup),
        cmocka_unit_test_setup(no_byte_too_many, setup),
        cmocka_unit_test_setup(a_miss_is_tried_again, setup),
        cmocka_unit_test_setup(rdrand_when_rdseed_has_nothing, setup),
        cmocka_unit_test_setup(nothing_in_place_of_what_is_missing, setup),
        cmocka_unit_test_setup(a_generator_that_is_stuck, setup),
        cmocka_unit_test_setup(the_hash, setup),
        cmocka_unit_test_setup(the_pool, setup),
        cmocka_unit_test_setup(no_memory_for_a_pool, setup),
        cmocka_unit_test_setup(the_pool_depends_on_time, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
