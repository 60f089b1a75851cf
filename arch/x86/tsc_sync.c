#include "arch/x86/tsc_sync.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"

#define ROUNDS      64 /* the quickest of them is believed: it leaves least room for error */
#define PATIENCE_US 10000
#define LAST_ROUND  UINT32_MAX

#define CPUID_7_EBX_TSC_ADJUST BIT(1)

static bool has_adjust(void)
{
    return cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & CPUID_7_EBX_TSC_ADJUST);
}

/* RDTSC does not wait for earlier loads. */
static uint64_t rdtsc_ordered(void)
{
    __asm__ volatile("lfence" : : : "memory");
    return rdtsc();
}

void tsc_sync_init(struct tsc_sync *s)
{
    *s = (struct tsc_sync){.adjust = has_adjust() ? rdmsr(MSR_TSC_ADJUST) : 0};
}

void tsc_sync_answer(struct tsc_sync *s)
{
    uint64_t patience = tsc_from_ns(PATIENCE_US * 1000), since = rdtsc();
    uint32_t answered = 0, asked;

    while (rdtsc() - since < patience) {
        asked = __atomic_load_n(&s->asked, __ATOMIC_ACQUIRE);
        if (asked == LAST_ROUND)
            return;
        if (asked == answered)
            continue;
        s->tsc = rdtsc_ordered();
        __atomic_store_n(&s->answered, asked, __ATOMIC_RELEASE);
        answered = asked;
        since = s->tsc;
    }
}

/* One question; false when there is no answer. */
static bool ask(struct tsc_sync *s, uint32_t round, uint64_t *before, uint64_t *after)
{
    uint64_t patience = tsc_from_ns(PATIENCE_US * 1000);

    *before = rdtsc_ordered();
    __atomic_store_n(&s->asked, round, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&s->answered, __ATOMIC_ACQUIRE) != round)
        if (rdtsc() - *before > patience)
            return false;
    *after = rdtsc_ordered();
    return true;
}

static int64_t measure(struct tsc_sync *s, uint32_t first_round)
{
    uint64_t before, after, shortest = UINT64_MAX;
    int64_t skew = 0;

    for (uint32_t i = 0; i < ROUNDS && ask(s, first_round + i, &before, &after); i++) {
        if (after - before >= shortest)
            continue;
        shortest = after - before;
        skew = tsc_skew(before, s->tsc, after);
    }
    return skew;
}

int64_t tsc_sync_ask(struct tsc_sync *s, int64_t *corrected)
{
    int64_t skew;

    *corrected = 0;
    if (has_adjust()) {
        /* What firmware did to one CPU's TSC and not to the other's is undone exactly. */
        uint64_t own = rdmsr(MSR_TSC_ADJUST);

        *corrected = (int64_t)(own - s->adjust);
        if (own != s->adjust)
            wrmsr(MSR_TSC_ADJUST, s->adjust);
    }
    skew = measure(s, 1);
    if (skew && has_adjust()) {
        wrmsr(MSR_TSC_ADJUST, rdmsr(MSR_TSC_ADJUST) - (uint64_t)skew);
        *corrected += skew;
        skew = measure(s, 1 + ROUNDS);
    }
    __atomic_store_n(&s->asked, LAST_ROUND, __ATOMIC_RELEASE);
    return skew;
}
