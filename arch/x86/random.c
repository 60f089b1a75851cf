/* See random.h. */
#include "arch/x86/random.h"

#include <blake2.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/spinlock.h"

/* SDM, "Random Number Generator Instructions": retry a limited number of times. RDSEED may have
 * nothing for long when several processors ask, which is no error: then RDRAND is asked. */
#define TRIES 10

static bool has_rdrand, has_rdseed;

static bool try(bool (*step)(uint64_t *out), uint64_t *out)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (step(out))
            return true;
        cpu_pause();
    }
    return false;
}

/* A generator that is broken and says the same again and again is none. */
static bool works(bool (*step)(uint64_t *out))
{
    uint64_t first, second;

    return !try(step, &first) || !try(step, &second) || first != second;
}

enum random_source random_source(void)
{
    return has_rdseed ? RANDOM_RDSEED : has_rdrand ? RANDOM_RDRAND : RANDOM_JITTER;
}

/* --- without a generator: a pool --- */

#define SAMPLES      64 /* that go into the pool for each block that comes out */
#define SAMPLES_INIT 2048
#define WALK         (32 * KIB)

static struct {
    struct spinlock lock;
    uint8_t state[BLAKE2S_KEYBYTES];
    uint8_t *memory; /* WALK bytes; NULL: there are none */
    uint32_t at;
} pool = {.lock = SPINLOCK(RANK_RANDOM)};

/* BLAKE2s of what is given, keyed with the pool's state (RFC 7693: a pseudo-random function then).
 * Numbers keep its uses apart. */
enum use { STIR, OUTPUT, ERASE };
static void hash(enum use use, const void *data, size_t size, uint8_t *out)
{
    blake2s_state s;
    uint8_t number = (uint8_t)use;

    blake2s_init_key(&s, BLAKE2S_OUTBYTES, pool.state, sizeof(pool.state));
    blake2s_update(&s, &number, 1);
    blake2s_update(&s, data, size);
    blake2s_final(&s, out, BLAKE2S_OUTBYTES);
}

/* When the processor is done with some reads and writes of memory that depend on each other and on
 * when the ones before them were done. */
static void sample(uint32_t *out, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        for (unsigned step = 0; step < 4; step++) {
            pool.at = (pool.at * 4093 + (uint32_t)rdtsc()) % WALK;
            pool.at = (pool.at + ++pool.memory[pool.at]) % WALK;
        }
        out[i] = (uint32_t)rdtsc();
    }
}

static void stir(void)
{
    uint32_t when[SAMPLES];

    sample(when, SAMPLES);
    hash(STIR, when, sizeof(when), pool.state);
}

/* What comes out says nothing of the pool, and the pool afterwards nothing of what came out. */
static void pool_block(uint8_t *out)
{
    spin_lock(&pool.lock);
    stir();
    hash(OUTPUT, NULL, 0, out);
    hash(ERASE, NULL, 0, pool.state);
    spin_unlock(&pool.lock);
}

/* --- */

void random_init(void *(*alloc)(size_t size))
{
    has_rdrand = cpu_has_rdrand() && works(rdrand_step);
    has_rdseed = cpu_has_rdseed() && works(rdseed_step);
    if (random_source() != RANDOM_JITTER)
        return;
    pool.memory = alloc(WALK);
    for (unsigned i = 0; i < SAMPLES_INIT / SAMPLES && pool.memory; i++)
        stir();
}

/* What came next, at most size bytes; 0: nothing now. */
static size_t next(uint8_t *out, size_t size, bool *seeds)
{
    union {
        uint64_t word;
        uint8_t block[BLAKE2S_OUTBYTES];
    } u;
    size_t n = sizeof(u.word);

    if (random_source() == RANDOM_JITTER) {
        if (!pool.memory)
            return 0;
        n = sizeof(u.block);
        pool_block(u.block);
    } else {
        *seeds = *seeds && try(rdseed_step, &u.word);
        if (!*seeds && (!has_rdrand || !try(rdrand_step, &u.word)))
            return 0;
    }
    n = MIN(n, size);
    memcpy(out, u.block, n);
    return n;
}

size_t random_bytes(void *data, size_t size)
{
    bool seeds = has_rdseed; /* so long as it has any: that is not waited for twice */
    size_t done = 0, n;

    while (done < size && (n = next((uint8_t *)data + done, size - done, &seeds)) > 0)
        done += n;
    return done;
}
