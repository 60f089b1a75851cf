/* links: guest/sched/sched.c guest/sched/queue.c guest/sched/level.c guest/sched/tree.c guest/sched/cap.c guest/sched/balance.c */
/* The scheduler as sched.h says that it is to be used: a thread for each CPU, a lock for each
 * queue, and everything at once. Afterwards nobody is lost: each vCPU that is awake runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "guest/sched/sched.h"

enum { CPUS = 4, VMS = 8, VCPUS = 40 };

static struct sched sched;
static struct sched_queue queues[CPUS];
static pthread_mutex_t locks[CPUS];
static struct sched_group vms[VMS];
static struct sched_part parts[VMS][CPUS];
static struct sched_vcpu vcpus[VCPUS];
static unsigned kicked[CPUS];   /* atomic, as are: */
static unsigned pending[VCPUS]; /* an event came: do not sleep */
static unsigned runs[VCPUS], calm, stop;

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static unsigned get(const unsigned *p)
{
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void set(unsigned *p, unsigned value)
{
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);
}

static void lock_two(unsigned a, unsigned b)
{
    pthread_mutex_lock(&locks[MIN(a, b)]);
    if (a != b)
        pthread_mutex_lock(&locks[MAX(a, b)]);
}

static void unlock_two(unsigned a, unsigned b)
{
    pthread_mutex_unlock(&locks[a]);
    if (a != b)
        pthread_mutex_unlock(&locks[b]);
}

static unsigned home(const struct sched_vcpu *v)
{
    return __atomic_load_n(&v->cpu, __ATOMIC_RELAXED);
}

static void kick(int cpu)
{
    if (cpu >= 0)
        set(&kicked[cpu], 1);
}

static void wake(struct sched_vcpu *v)
{
    int result = SCHED_AGAIN;

    set(&pending[v - vcpus], 1);
    while (result == SCHED_AGAIN) {
        unsigned from = home(v), to = sched_target(&sched, v);
        lock_two(from, to);
        if (home(v) == from)
            result = sched_wake(&sched, v, to, now());
        unlock_two(from, to);
    }
    kick(result);
}

static void yield_to(unsigned cpu, struct sched_vcpu *v, struct sched_vcpu *to)
{
    bool done = false;

    while (!done) {
        unsigned other = home(to);
        lock_two(cpu, other);
        done = home(to) == other;
        if (done)
            sched_yield_to(&sched, v, to, now());
        unlock_two(cpu, other);
    }
}

static void set_affinity(struct sched_vcpu *v, uint64_t mask)
{
    struct sched_cpus allowed = {{mask}};
    int todo = -1;
    unsigned at = 0;

    while (todo < 0) {
        at = home(v);
        pthread_mutex_lock(&locks[at]);
        if (home(v) == at)
            todo = sched_set_affinity(&sched, v, &allowed, now());
        pthread_mutex_unlock(&locks[at]);
    }
    if (todo == SCHED_MUST_WAKE)
        wake(v);
    if (todo == SCHED_MUST_KICK)
        kick((int)at);
}

/* What v does at the end of its time on cpu. */
static void act(unsigned cpu, struct sched_vcpu *v, unsigned *seed)
{
    struct sched_vcpu *other = &vcpus[(unsigned)rand_r(seed) % VCPUS];
    struct sched_group *vm = &vms[(unsigned)rand_r(seed) % VMS];
    unsigned number = (unsigned)rand_r(seed);

    switch (get(&calm) ? 8 : number % 8) {
    case 0:
    case 1:
        pthread_mutex_lock(&locks[cpu]);
        if (!__atomic_exchange_n(&pending[v - vcpus], 0, __ATOMIC_SEQ_CST))
            sched_block(&sched, v, now());
        pthread_mutex_unlock(&locks[cpu]);
        break;
    case 2:
        yield_to(cpu, v, other);
        break;
    case 3:
    case 4:
        wake(other);
        break;
    case 5:
        set_affinity(other, 1 + number / 8 % 15);
        break;
    case 6:
        assert_int_equal(sched_set_weight(vm, 1 + number / 8 % 1000), 0);
        break;
    case 7:
        assert_int_equal(sched_set_cap(&sched, vm, number % 16 < 8 ? 0 : 1 + number / 16 % 200), 0);
        break;
    default:
        break;
    }
}

static struct sched_choice choose(unsigned cpu, int from)
{
    unsigned other = from < 0 ? cpu : (unsigned)from;
    struct sched_choice choice;

    lock_two(cpu, other);
    if (from >= 0)
        sched_pull(&sched, cpu, other, now());
    choice = sched_pick(&sched, cpu, now());
    if (choice.vcpu)
        assert_true(choice.vcpu->state == SCHED_RUNNING && choice.vcpu->cpu == cpu);
    unlock_two(cpu, other);
    return choice;
}

static void *run_cpu(void *which)
{
    unsigned cpu = (unsigned)(uintptr_t)which, seed = cpu + 1;
    struct sched_vcpu *v = NULL;

    while (!get(&stop)) {
        set(&kicked[cpu], 0);
        if (v)
            act(cpu, v, &seed);
        struct sched_choice choice = choose(cpu, sched_pull_source(&sched, cpu, now()));
        if (choice.rehome)
            wake(choice.rehome);
        kick(choice.kick);
        v = choice.vcpu;
        if (v)
            __atomic_fetch_add(&runs[v - vcpus], 1, __ATOMIC_SEQ_CST);
        else if (sched_pull_source(&sched, cpu, now()) >= 0)
            continue;
        uint64_t end = v ? now() + (uint64_t)rand_r(&seed) % 20000 : SCHED_NEVER;
        while (!get(&kicked[cpu]) && !get(&stop)) {
            uint64_t t = now();
            if ((end != SCHED_NEVER && t > end) || t >= choice.until)
                break;
            if (!v)
                usleep(10);
        }
    }
    return NULL;
}

static void wake_all(unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        for (unsigned k = 0; k < VCPUS; k++)
            wake(&vcpus[k]);
        usleep(1000);
    }
}

static void test_nobody_is_lost(void **state)
{
    pthread_t threads[CPUS];
    unsigned before[VCPUS], left = VCPUS;

    sched_init(&sched, 1000000000);
    for (unsigned i = 0; i < CPUS; i++) {
        pthread_mutex_init(&locks[i], NULL);
        sched_add_cpu(&sched, &queues[i], i, now());
    }
    for (unsigned i = 0; i < VMS; i++)
        sched_group_init(&vms[i], parts[i], now());
    for (unsigned i = 0; i < VCPUS; i++)
        sched_add(&sched, &vcpus[i], &vms[i % VMS], now());
    for (unsigned i = 0; i < CPUS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_cpu, (void *)(uintptr_t)i), 0);
    wake_all(getenv("CORBEL_TEST_ALL") ? 5000 : 100);

    set(&calm, 1);
    for (unsigned i = 0; i < VMS; i++) {
        assert_int_equal(sched_set_cap(&sched, &vms[i], 0), 0);
        assert_int_equal(sched_set_weight(&vms[i], 100), 0);
    }
    usleep(20000);
    wake_all(1);
    for (unsigned i = 0; i < VCPUS; i++)
        before[i] = get(&runs[i]);
    for (unsigned tries = 0; tries < 3000 && left; tries++) {
        usleep(10000);
        left = 0;
        for (unsigned i = 0; i < VCPUS; i++)
            left += get(&runs[i]) == before[i];
    }
    set(&stop, 1);
    for (unsigned i = 0; i < CPUS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
