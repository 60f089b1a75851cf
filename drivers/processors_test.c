#include "drivers/processors_test.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/panic.h"
#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/tsc.h"
#include "mm/frame.h"
#include "mm/heap.h"

#define MISSING_ID 77u
#define DEAF_MS    3
#define LOG_LINES  4

void processors_test_list(struct handover *h)
{
    const struct handover_cpu *old = phys_to_virt(h->cpus);
    uint32_t n = h->cpu_count;
    struct handover_cpu *list = heap_alloc((n + 3) * sizeof(*list));

    if (!list)
        return;
    memcpy(list, old, n * sizeof(*list));
    list[n] = (struct handover_cpu){MISSING_ID, HANDOVER_CPU_ENABLED};
    list[n + 1] = (struct handover_cpu){old[0].apic_id, HANDOVER_CPU_ENABLED};
    list[n + 2] = (struct handover_cpu){old[n - 1].apic_id, HANDOVER_CPU_ENABLED};
    h->cpus = virt_to_phys(list);
    h->cpu_count = n + 3;
}

static struct {
    unsigned rounds;
    uint64_t *answered; /* calls, by who was called */
    struct spinlock lock;
    uint64_t counted; /* under lock, not atomic */
    uint32_t ready, done;
    uint64_t failed_allocations;
} test;

static void answer(void *arg)
{
    test.answered[this_cpu()->number]++;
}

/* Every processor calls every other one. */
static void call_all(void)
{
    for (unsigned i = 0; i < test.rounds; i++)
        for (unsigned n = 0; n < smp_cpus; n++)
            if (n != this_cpu()->number)
                cpu_call(n, answer, NULL);
}

static void contend(void)
{
    for (unsigned i = 0; i < test.rounds; i++) {
        uint64_t before;

        spin_lock(&test.lock);
        before = __atomic_load_n(&test.counted, __ATOMIC_RELAXED);
        for (int wait = 0; wait < 20; wait++)
            cpu_pause();
        __atomic_store_n(&test.counted, before + 1, __ATOMIC_RELAXED);
        spin_unlock(&test.lock);
    }
}

/* Sizes of all kinds, small objects and runs of frames, held for a while. */
static void use_memory(void)
{
    uint64_t *held[8] = {0}, mark = this_cpu()->number + 1;

    for (unsigned i = 0; i < test.rounds; i++) {
        uint64_t **p = &held[i % ARRAY_SIZE(held)];

        if (*p && **p != mark)
            __atomic_fetch_add(&test.failed_allocations, 1, __ATOMIC_RELAXED);
        heap_free(*p);
        *p = heap_alloc(16 + (i * 397 + mark * 131) % 20000);
        if (*p)
            **p = mark;
        else
            __atomic_fetch_add(&test.failed_allocations, 1, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(held); i++)
        heap_free(held[i]);
}

static void run_all(void *arg)
{
    __atomic_fetch_add(&test.ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&test.ready, __ATOMIC_ACQUIRE) < smp_cpus)
        cpu_serve_calls();
    call_all();
    contend();
    use_memory();
    for (int i = 1; i <= LOG_LINES; i++)
        log_info("test_smp: processor %u says %d of %d", this_cpu()->number, i, LOG_LINES);
    __atomic_fetch_add(&test.done, 1, __ATOMIC_ACQ_REL);
}

/* A processor that looks at nothing for a while: only an NMI reaches it. */
static void be_deaf(void *arg)
{
    uint64_t start = rdtsc(), ticks = tsc_from_ns(DEAF_MS * 1000000ULL);

    __atomic_store_n((uint32_t *)arg, 1, __ATOMIC_RELEASE);
    while (rdtsc() - start < ticks)
        cpu_pause();
}

static void test_deaf(void)
{
    struct percpu *other = cpu_by_number(smp_cpus - 1);
    uint32_t deaf = 0;
    struct cpu_work work = {.fn = be_deaf, .arg = &deaf};
    uint64_t nmis = other->nmi_count;

    (void)cpu_call_async(other->number, &work);
    while (!__atomic_load_n(&deaf, __ATOMIC_ACQUIRE))
        cpu_pause();
    cpu_call(other->number, answer, NULL);
    log_info("test_smp: a deaf processor answered after %lu NMIs", other->nmi_count - nmis);
}

/* The shortest of several calls to a processor that has nothing else to do. */
static void measure(void)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < 10; i++) {
        uint64_t start = rdtsc();

        cpu_call(smp_cpus - 1, answer, NULL);
        least = MIN(least, rdtsc() - start);
        tsc_delay_us(100); /* it halts again */
    }
    log_info("test_smp: a call to a halted processor and back: %lu ticks", least);
}

void processors_test(unsigned rounds)
{
    struct cpu_work *works = heap_alloc(smp_cpus * sizeof(*works));
    struct frame_stats before, after;
    uint64_t answered = 0, expected = (uint64_t)smp_cpus * (smp_cpus - 1) * rounds;

    test.answered = heap_alloc(smp_cpus * sizeof(*test.answered));
    if (!works || !test.answered)
        return;
    test.rounds = rounds;
    spin_init(&test.lock, RANK_BOARD);
    frame_stats(&before);
    for (unsigned n = 1; n < smp_cpus; n++) {
        works[n].fn = run_all;
        (void)cpu_call_async(n, &works[n]);
    }
    run_all(NULL);
    while (__atomic_load_n(&test.done, __ATOMIC_ACQUIRE) < smp_cpus)
        cpu_serve_calls();
    frame_stats(&after);
    for (unsigned n = 0; n < smp_cpus; n++)
        answered += test.answered[n];
    log_info(
        "test_smp: %u processors, %lu of %lu calls answered, %lu of %lu counted under a lock, %lu "
        "blocks of memory wrong",
        smp_cpus, answered, expected, test.counted, (uint64_t)smp_cpus * rounds,
        test.failed_allocations);
    /* Each size's last slab stays with the heap. */
    log_info("test_smp: %ld KiB of memory more in use than before",
             (int64_t)(before.free - after.free) / (int64_t)KIB);
    if (smp_cpus > 1) {
        test_deaf();
        measure();
    }
}

static void panic_here(void *arg)
{
    panic("test_panic = %u", this_cpu()->number + 1);
}

void processors_test_panic(unsigned n)
{
    if (n < smp_cpus)
        cpu_call(n, panic_here, NULL);
}
