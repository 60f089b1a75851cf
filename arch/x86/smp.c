#include "arch/x86/smp.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"

/*
 * A CPU in root mode answers within microseconds. In a guest, the kick's interrupt may not end the
 * stay (Bochs 2.7 holds it back while the guest's IF is 0), an NMI does.
 */
#define FIRST_NMI_US   100
#define FURTHER_NMI_US 1000
#define STOP_US        100000

unsigned smp_cpus;
static struct percpu *cpus[SMP_CPUS_MAX];

static void kicked(void *arg)
{
    this_cpu()->kicks++;
}

void smp_add_cpu(struct percpu *cpu)
{
    if (smp_cpus == 0)
        (void)interrupt_register(VECTOR_KICK, kicked, NULL);
    cpus[cpu->number] = cpu;
    __atomic_store_n(&smp_cpus, cpu->number + 1, __ATOMIC_RELEASE);
}

struct percpu *cpu_by_number(unsigned n)
{
    return cpus[n];
}

/* --- cross-CPU work --- */

void cpu_kick(unsigned n)
{
    if (n != this_cpu()->number)
        apic_send_fixed(cpus[n]->apic_id, VECTOR_KICK);
}

/* Returns whether the queue was empty: else somebody's kick is on its way already. */
static bool push(struct cpu_work **queue, struct cpu_work *work)
{
    struct cpu_work *head = __atomic_load_n(queue, __ATOMIC_RELAXED);

    do
        work->next = head;
    while (
        !__atomic_compare_exchange_n(queue, &head, work, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    return head == NULL;
}

bool cpu_call_async(unsigned n, struct cpu_work *work)
{
    if (__atomic_exchange_n(&work->queued, 1, __ATOMIC_ACQ_REL))
        return false;
    if (push(&cpus[n]->calls, work))
        cpu_kick(n);
    return true;
}

/* The newest is first in the queue; they are served in the order in which they came. */
static struct cpu_work *take_all(struct cpu_work **queue)
{
    struct cpu_work *work = __atomic_exchange_n(queue, NULL, __ATOMIC_ACQUIRE), *ordered = NULL;

    while (work) {
        struct cpu_work *next = work->next;

        work->next = ordered;
        ordered = work;
        work = next;
    }
    return ordered;
}

static void carry_out(struct percpu *cpu, struct cpu_work *work)
{
    void (*fn)(void *) = work->fn;
    void *arg = work->arg;

    cpu->calls_served++;
    /* From here on it is the caller's again. */
    (void)__atomic_exchange_n(&work->queued, 0, __ATOMIC_ACQ_REL);
    fn(arg);
}

void smp_serve(struct percpu *cpu)
{
    struct cpu_work *work = take_all(&cpu->calls);

    while (work) {
        struct cpu_work *next = work->next;

        carry_out(cpu, work);
        work = next;
    }
}

/* A call that somebody waits for; on that CPU's stack. */
struct call {
    struct cpu_work work;
    void (*fn)(void *arg);
    void *arg;
    uint32_t done;
};

static void run_call(void *arg)
{
    struct call *call = arg;

    call->fn(call->arg);
    __atomic_store_n(&call->done, 1, __ATOMIC_RELEASE); /* *call is gone behind this */
}

/* Serve who waits; the others' work is put behind *last. */
static struct cpu_work **serve_calls(struct percpu *cpu, struct cpu_work **last)
{
    struct cpu_work *work, *next;

    if (LIKELY(__atomic_load_n(&cpu->calls, __ATOMIC_RELAXED) == NULL))
        return last;
    for (work = take_all(&cpu->calls); work; work = next) {
        next = work->next;
        if (work->fn == run_call) {
            carry_out(cpu, work);
        } else {
            work->next = NULL;
            *last = work;
            last = &work->next;
        }
    }
    return last;
}

/* What was kept is first in the queue again. */
static void put_back(struct percpu *cpu, struct cpu_work *kept, struct cpu_work **last)
{
    if (!kept)
        return;
    *last = take_all(&cpu->calls);
    while (kept) {
        struct cpu_work *next = kept->next;

        (void)push(&cpu->calls, kept);
        kept = next;
    }
}

void cpu_call(unsigned n, void (*fn)(void *), void *arg)
{
    struct cpu_work *kept = NULL, **last = &kept;
    struct call call = {.work = {.fn = run_call, .arg = &call}, .fn = fn, .arg = arg};
    uint64_t patience = tsc_from_ns(FIRST_NMI_US * 1000), since = rdtsc();

    if (n == this_cpu()->number) {
        fn(arg);
        return;
    }
    (void)cpu_call_async(n, &call.work);
    while (!__atomic_load_n(&call.done, __ATOMIC_ACQUIRE)) {
        last = serve_calls(this_cpu(), last);
        if (rdtsc() - since > patience) {
            apic_send_nmi(cpus[n]->apic_id);
            patience = tsc_from_ns(FURTHER_NMI_US * 1000);
            since = rdtsc();
        }
        cpu_pause();
    }
    put_back(this_cpu(), kept, last);
}

/* --- all at once --- */

static struct {
    void (*each)(void *arg);
    void *arg;
    uint32_t held, gone, go; /* atomic */
} hold;

/* What it is called by may have changed when it returns: `each` makes the CPU forget what it has
 * decoded of that. */
static void stand_still(void *arg)
{
    __atomic_fetch_add(&hold.held, 1, __ATOMIC_ACQ_REL);
    while (!__atomic_load_n(&hold.go, __ATOMIC_ACQUIRE))
        cpu_pause();
    hold.each(hold.arg);
    __atomic_fetch_add(&hold.gone, 1, __ATOMIC_ACQ_REL);
}

static void wait_for(const uint32_t *count)
{
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) != smp_cpus - 1)
        cpu_pause();
}

void smp_hold(void (*alone)(void *arg), void (*each)(void *arg), void *arg)
{
    hold.each = each;
    hold.arg = arg;
    hold.held = hold.gone = hold.go = 0;
    for (unsigned n = 1; n < smp_cpus; n++) {
        cpus[n]->hold = (struct cpu_work){.fn = stand_still};
        (void)cpu_call_async(n, &cpus[n]->hold);
    }
    wait_for(&hold.held);
    alone(arg);
    each(arg);
    __atomic_store_n(&hold.go, 1, __ATOMIC_RELEASE);
    wait_for(&hold.gone);
}

/* --- the end --- */

static uint32_t stopper; /* number + 1 of the CPU that stops the others; atomic */

void (*smp_leave)(void);

static NORETURN void stop_here(struct percpu *cpu)
{
    if (smp_leave)
        smp_leave();
    __atomic_store_n(&cpu->stopped, 1, __ATOMIC_RELEASE);
    for (;;) {
        cpu_cli();
        cpu_hlt();
    }
}

void smp_stop_if_asked(struct percpu *cpu)
{
    uint32_t by = __atomic_load_n(&stopper, __ATOMIC_ACQUIRE);

    if (UNLIKELY(by && by != cpu->number + 1))
        stop_here(cpu);
}

static unsigned count_running(unsigned self)
{
    unsigned running = 0;

    for (unsigned n = 0; n < smp_cpus; n++)
        running += n != self && !__atomic_load_n(&cpus[n]->stopped, __ATOMIC_ACQUIRE);
    return running;
}

unsigned smp_stop_others(void)
{
    struct percpu *cpu = this_cpu();
    uint32_t nobody = 0;
    uint64_t start = rdtsc();

    if (!__atomic_compare_exchange_n(&stopper, &nobody, cpu->number + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        if (nobody != cpu->number + 1)
            stop_here(cpu);
        return count_running(cpu->number); /* done before */
    }
    for (unsigned n = 0; n < smp_cpus; n++)
        if (n != cpu->number)
            apic_send_nmi(cpus[n]->apic_id);
    while (count_running(cpu->number) && rdtsc() - start < tsc_from_ns(STOP_US * 1000))
        cpu_pause();
    __atomic_store_n(&spin_forsaken, true, __ATOMIC_RELAXED);
    return count_running(cpu->number);
}
