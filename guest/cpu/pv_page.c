#include "guest/cpu/pv_page.h"

#include "arch/x86/lib/errno.h"
#include "mm/guest_memory.h"

#define NS_PER_SECOND 1000000000ULL

/* --- rates --- */

struct pv_rate pv_rate(uint64_t hz)
{
    struct pv_rate r = {0};
    uint64_t ns = NS_PER_SECOND;

    /* ns / hz is brought to one half or more, and below one: so that the multiplier has 32 bits. */
    for (; ns >= hz; hz *= 2)
        r.shift++;
    for (; 2 * ns < hz; ns *= 2)
        r.shift--;
    for (unsigned bit = 0; bit < 32; bit++) {
        ns *= 2;
        r.multiplier <<= 1;
        if (ns >= hz) {
            ns -= hz;
            r.multiplier |= 1;
        }
    }
    return r;
}

uint64_t pv_ns(struct pv_rate rate, uint64_t ticks)
{
    ticks = rate.shift < 0 ? ticks >> -rate.shift : ticks << rate.shift;
    return (uint64_t)((unsigned __int128)ticks * rate.multiplier >> 32);
}

/* --- what has a version ---
 *
 * A reader on any processor compares the version before and after it: odd means that it is being
 * written. Stores become visible in program order on x86; that they are in it the compiler is told
 * by these.
 */
static inline void in_order(void)
{
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* The version at gpa becomes odd; *version: what it is now. Whatever stood there is taken for one.
 */
static int open_version(struct guest_memory *gm, uint64_t gpa, uint32_t *version)
{
    uint64_t old;

    if (guest_memory_load(gm, gpa, sizeof(*version), &old) < 0)
        return -EFAULT;
    *version = ((uint32_t)old + 1) | 1;
    if (guest_memory_store(gm, gpa, sizeof(*version), *version) < 0)
        return -EFAULT;
    in_order();
    return 0;
}

static int close_version(struct guest_memory *gm, uint64_t gpa, uint32_t version)
{
    in_order();
    return guest_memory_store(gm, gpa, sizeof(version), version + 1);
}

/* Words by 32 bits each, as they are aligned to no more. */
static int store_words(struct guest_memory *gm, uint64_t gpa, const uint32_t *words, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (guest_memory_store(gm, gpa + 4 * i, 4, words[i]) < 0)
            return -EFAULT;
    return 0;
}

/* A version, and so many words behind it. */
static int write_versioned(struct guest_memory *gm, uint64_t gpa, const uint32_t *words,
                           unsigned count)
{
    uint32_t version;

    if (open_version(gm, gpa, &version) < 0)
        return -EFAULT;
    /* A piece of it may have gone: then the version says so for as long as it can be read. */
    if (store_words(gm, gpa + 4, words, count) < 0)
        return -EFAULT;
    return close_version(gm, gpa, version);
}

/* --- the clock --- */

#define TIME_STABLE BIT(0)

int pv_write_time(struct guest_memory *gm, uint64_t gpa, const struct pv_time *t)
{
    const uint32_t words[] = {
        0,
        (uint32_t)t->tsc,
        (uint32_t)(t->tsc >> 32),
        (uint32_t)t->ns,
        (uint32_t)(t->ns >> 32),
        t->rate.multiplier,
        (uint8_t)t->rate.shift | (uint32_t)(t->stable ? TIME_STABLE : 0) << 8,
    };

    return write_versioned(gm, gpa, words, ARRAY_SIZE(words));
}

int pv_write_wall_clock(struct guest_memory *gm, uint64_t gpa, uint64_t ns)
{
    const uint32_t words[] = {(uint32_t)(ns / NS_PER_SECOND), (uint32_t)(ns % NS_PER_SECOND)};

    return write_versioned(gm, gpa, words, ARRAY_SIZE(words));
}

/* --- steal time --- */

#define STEAL_VERSION   8
#define STEAL_PREEMPTED 16

int pv_add_steal(struct guest_memory *gm, uint64_t gpa, uint64_t ns)
{
    uint32_t version;
    uint64_t before;

    if (guest_memory_load(gm, gpa, sizeof(before), &before) < 0 ||
        open_version(gm, gpa + STEAL_VERSION, &version) < 0)
        return -EFAULT;
    int result = guest_memory_store(gm, gpa, sizeof(before), before + ns);
    return close_version(gm, gpa + STEAL_VERSION, version) < 0 ? -EFAULT : result;
}

uint8_t pv_swap_preempted(struct guest_memory *gm, uint64_t gpa, uint8_t flags)
{
    uint8_t old;

    return guest_memory_exchange(gm, gpa + STEAL_PREEMPTED, flags, &old) < 0 ? 0 : old;
}
