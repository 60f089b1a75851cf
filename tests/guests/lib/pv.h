/* KVM's paravirtual interfaces, as a guest sees them (docs/PARAVIRT.md). */
#pragma once

#include "smp.h"

#define PV_WALL_CLOCK 0x4b564d00u
#define PV_CLOCK      0x4b564d01u
#define PV_STEAL      0x4b564d03u
#define PV_EOI_MSR    0x4b564d04u
#define PV_POLL       0x4b564d05u
#define PV_ON         1ULL

#define PV_CALL_KICK  5u
#define PV_CALL_IPI   10u
#define PV_CALL_YIELD 11u

static inline uint32_t pv_features(void)
{
    return cpuid(0x40000101, 0).eax;
}

struct pv_time {
    uint32_t version, pad;
    uint64_t tsc, ns;
    uint32_t multiplier;
    int8_t shift;
    uint8_t flags, pads[2];
    uint8_t to_64[32];
} __attribute__((aligned(64)));

/* Nanoseconds by that page, which may be written meanwhile. */
static inline uint64_t pv_now(const volatile struct pv_time *t)
{
    uint32_t version;
    uint64_t ticks, ns;

    do {
        version = __atomic_load_n(&t->version, __ATOMIC_ACQUIRE);
        ticks = rdtsc() - t->tsc;
        ticks = t->shift < 0 ? ticks >> -t->shift : ticks << t->shift;
        ns = t->ns + (uint64_t)((unsigned __int128)ticks * t->multiplier >> 32);
    } while (version % 2 || __atomic_load_n(&t->version, __ATOMIC_ACQUIRE) != version);
    return ns;
}

struct pv_steal {
    uint64_t ns;
    uint32_t version, flags;
    uint8_t preempted; /* bit 0: away; bit 1: is to forget its translations */
    uint8_t pad[47];
} __attribute__((aligned(64)));

static inline uint64_t pv_stolen(const volatile struct pv_steal *s)
{
    uint32_t version;
    uint64_t ns;

    do {
        version = __atomic_load_n(&s->version, __ATOMIC_ACQUIRE);
        ns = s->ns;
    } while (version % 2 || __atomic_load_n(&s->version, __ATOMIC_ACQUIRE) != version);
    return ns;
}

static inline int64_t pv_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    int64_t result;

    asm volatile("vmcall" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
    return result;
}
