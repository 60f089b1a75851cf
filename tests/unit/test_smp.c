/* links: arch/x86/smp.c arch/x86/spinlock.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <asm/prctl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86/apic.h"
#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"

/*
 * Threads stand for CPUs: each has a struct percpu at its GS base, which nothing else uses on this
 * system.
 */
#define CPUS  20
#define STORM 4 /* of them call all others */

static struct percpu percpu[CPUS];
static uint32_t kicks[CPUS], nmis[CPUS]; /* atomic */

void apic_send_fixed(uint32_t apic_id, unsigned vector)
{
    assert_int_equal(vector, VECTOR_KICK);
    __atomic_fetch_add(&kicks[apic_id], 1, __ATOMIC_SEQ_CST);
}

void apic_send_nmi(uint32_t apic_id)
{
    __atomic_fetch_add(&nmis[apic_id], 1, __ATOMIC_SEQ_CST);
    sched_yield();
}

int interrupt_register(unsigned vector, void (*fn)(void *), void *arg)
{
    return 0;
}

uint64_t tsc_from_ns(uint64_t ns)
{
    return ns;
}

static void become(unsigned n)
{
    assert_int_equal(syscall(SYS_arch_prctl, ARCH_SET_GS, &percpu[n]), 0);
    assert_ptr_equal(this_cpu(), &percpu[n]);
}

static int setup(void **state)
{
    memset(percpu, 0, sizeof(percpu));
    memset(kicks, 0, sizeof(kicks));
    memset(nmis, 0, sizeof(nmis));
    smp_cpus = 0;
    for (unsigned n = 0; n < CPUS; n++) {
        percpu[n].self = &percpu[n];
        percpu[n].number = percpu[n].apic_id = n;
        smp_add_cpu(&percpu[n]);
    }
    become(0);
    return 0;
}

/* --- one thread --- */

static unsigned order[8], order_length;

static void note(void *arg)
{
    order[order_length++] = (unsigned)(uintptr_t)arg;
}

/* In the order of the calls, one kick for all; who is queued is not queued again. */
static void test_queue(void **state)
{
    struct cpu_work work[3] = {{.fn = note, .arg = (void *)1},
                               {.fn = note, .arg = (void *)2},
                               {.fn = note, .arg = (void *)3}};

    order_length = 0;
    for (int i = 0; i < 3; i++)
        assert_true(cpu_call_async(5, &work[i]));
    assert_false(cpu_call_async(5, &work[1]));
    assert_int_equal(kicks[5], 1);
    cpu_serve_calls();
    assert_int_equal(order_length, 0); /* not ours */
    become(5);
    cpu_serve_calls();
    assert_int_equal(order_length, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1);
    cpu_serve_calls();
    assert_int_equal(order_length, 3);
    assert_int_equal(percpu[5].calls_served, 3);
    assert_true(cpu_call_async(5, &work[1])); /* by itself: no kick, and not at once */
    assert_int_equal(kicks[5], 1);
    assert_int_equal(order_length, 3);
    cpu_serve_calls();
    assert_int_equal(order_length, 4);
}

static void again(void *arg)
{
    order_length++;
    assert_true(cpu_call_async(0, arg));
}

/* A function may queue itself: it runs once each time the queue is served. */
static void test_requeue(void **state)
{
    struct cpu_work work = {.fn = again, .arg = &work};

    order_length = 0;
    assert_true(cpu_call_async(0, &work));
    cpu_serve_calls();
    cpu_serve_calls();
    assert_int_equal(order_length, 2);
    percpu[0].calls = NULL;
}

static void test_kick_and_call_oneself(void **state)
{
    order_length = 0;
    cpu_kick(0);
    assert_int_equal(kicks[0], 0);
    cpu_kick(1);
    assert_int_equal(kicks[1], 1);
    cpu_call(0, note, (void *)7);
    assert_int_equal(order_length, 1);
    assert_int_equal(kicks[0] + nmis[0], 0);
}

/* --- many --- */

static uint32_t stop, storming; /* atomic */
static uint64_t answered[CPUS];
static uint32_t turns[CPUS];        /* atomic */
static unsigned rounds, deaf_until; /* NMIs */

static void answer(void *arg)
{
    answered[this_cpu()->number] += (uintptr_t)arg;
}

static void *serve(void *arg)
{
    become((unsigned)(uintptr_t)arg);
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_add(&turns[this_cpu()->number], 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&nmis[this_cpu()->number], __ATOMIC_SEQ_CST) >= deaf_until)
            cpu_serve_calls();
        sched_yield();
    }
    return NULL;
}

static void start(pthread_t *threads, unsigned from, unsigned to, void *(*fn)(void *))
{
    stop = 0;
    for (unsigned n = from; n < to; n++)
        assert_int_equal(pthread_create(&threads[n], NULL, fn, (void *)(uintptr_t)n), 0);
}

static void finish(pthread_t *threads, unsigned from, unsigned to)
{
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    for (unsigned n = from; n < to; n++)
        assert_int_equal(pthread_join(threads[n], NULL), 0);
}

static void test_calls(void **state)
{
    pthread_t threads[CPUS];

    memset(answered, 0, sizeof(answered));
    deaf_until = 0;
    start(threads, 1, CPUS, serve);
    for (unsigned n = 1; n < CPUS; n++)
        cpu_call(n, answer, (void *)3);
    finish(threads, 1, CPUS);
    for (unsigned n = 0; n < CPUS; n++)
        assert_int_equal(answered[n], n ? 3 : 0);
}

/* Who does not look gets NMIs, until it does. */
static void test_escalation(void **state)
{
    pthread_t threads[CPUS];

    memset(answered, 0, sizeof(answered));
    deaf_until = 3;
    start(threads, 1, 2, serve);
    cpu_call(1, answer, (void *)1);
    finish(threads, 1, 2);
    assert_int_equal(answered[1], 1);
    assert_int_equal(kicks[1], 1);
    assert_uint_in_range(nmis[1], 3, UINT32_MAX);
}

/*
 * Who waits for an answer serves those who wait for his, and nobody else: work that nobody waits
 * for may be the end of what the caller has in his hands.
 */
static void test_work_keeps(void **state)
{
    struct cpu_work work[3] = {{.fn = note, .arg = (void *)1},
                               {.fn = note, .arg = (void *)2},
                               {.fn = note, .arg = (void *)3}};
    pthread_t threads[CPUS];

    memset(answered, 0, sizeof(answered));
    order_length = 0;
    deaf_until = 2;
    for (unsigned i = 0; i < 2; i++)
        assert_true(cpu_call_async(0, &work[i]));
    start(threads, 1, 2, serve);
    cpu_call(1, answer, (void *)1);
    finish(threads, 1, 2);
    assert_int_equal(answered[1], 1);
    assert_int_equal(order_length, 0);
    assert_false(cpu_call_async(0, &work[1])); /* it is still to run */
    assert_true(cpu_call_async(0, &work[2]));
    cpu_serve_calls();
    assert_int_equal(order_length, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(order[i], i + 1);
}

static void queue_for_the_caller(void *arg)
{
    assert_true(cpu_call_async(0, arg));
}

/* And in its turn: before what comes at the last moment. */
static void test_work_keeps_its_turn(void **state)
{
    struct cpu_work work[2] = {{.fn = note, .arg = (void *)1}, {.fn = note, .arg = (void *)2}};
    pthread_t threads[CPUS];

    deaf_until = 0;
    start(threads, 1, 2, serve);
    for (unsigned i = 0; i < 2000; i++) {
        order_length = 0;
        assert_true(cpu_call_async(0, &work[0]));
        cpu_call(1, queue_for_the_caller, &work[1]);
        cpu_serve_calls();
        assert_int_equal(order_length, 2);
        assert_int_equal(order[0], 1);
    }
    finish(threads, 1, 2);
}

static void *storm(void *arg)
{
    become((unsigned)(uintptr_t)arg);
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned n = 0; n < STORM; n++)
            if (n != this_cpu()->number)
                cpu_call(n, answer, (void *)1);
    __atomic_fetch_add(&storming, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&storming, __ATOMIC_ACQUIRE) < STORM) {
        cpu_serve_calls();
        sched_yield();
    }
    return NULL;
}

/* All call all at once: nobody waits in a circle, no call is lost or done twice. */
static void test_storm(void **state)
{
    pthread_t threads[CPUS];

    memset(answered, 0, sizeof(answered));
    rounds = 8;
    storming = 0;
    start(threads, 0, STORM, storm);
    finish(threads, 0, STORM);
    for (unsigned n = 0; n < STORM; n++)
        assert_int_equal(answered[n], rounds * (STORM - 1));
}

#define HELD 6

static unsigned sum_of_turns(void)
{
    unsigned sum = 0;

    for (unsigned n = 0; n < HELD; n++)
        sum += __atomic_load_n(&turns[n], __ATOMIC_SEQ_CST);
    return sum;
}

/* Nobody else gets any further, and nobody has come to what is done behind it. */
static void alone(void *arg)
{
    unsigned before = sum_of_turns();

    for (unsigned i = 0; i < 200; i++)
        sched_yield();
    assert_int_equal(sum_of_turns(), before);
    for (unsigned n = 0; n < HELD; n++)
        assert_int_equal(answered[n], 10 * (uintptr_t)arg);
}

static void test_hold(void **state)
{
    pthread_t threads[CPUS];

    memset(answered, 0, sizeof(answered));
    smp_cpus = HELD;
    start(threads, 1, HELD, serve);
    smp_hold(alone, answer, (void *)0);
    memset(answered, 0, sizeof(answered));
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = 0; n < HELD; n++)
            answered[n] = 10; /* everybody has answered the call before, and rests */
        smp_hold(alone, answer, (void *)1);
        for (unsigned n = 0; n < HELD; n++)
            assert_int_equal(answered[n], 11);
    }
    finish(threads, 1, HELD);
    smp_cpus = 1; /* alone it waits for nobody */
    for (unsigned n = 0; n < HELD; n++)
        answered[n] = 10;
    smp_hold(alone, answer, (void *)1);
    assert_int_equal(answered[0], 11);
}

/* --- locks --- */

static struct spinlock lock = SPINLOCK(RANK_HEAP);
static uint64_t counted;

static void *count(void *arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        spin_lock(&lock);
        uint64_t before = __atomic_load_n(&counted, __ATOMIC_RELAXED);
        if (i % 16 == 0)
            sched_yield();
        __atomic_store_n(&counted, before + 1, __ATOMIC_RELAXED);
        spin_unlock(&lock);
        sched_yield();
    }
    return NULL;
}

static void test_lock(void **state)
{
    pthread_t threads[CPUS];

    rounds = 50;
    counted = 0;
    start(threads, 0, STORM, count);
    finish(threads, 0, STORM);
    assert_int_equal(counted, STORM * rounds);
    assert_int_equal(lock.next, lock.owner);
}

static void test_tickets_wrap(void **state)
{
    struct spinlock l = SPINLOCK(RANK_LOG);

    for (unsigned i = 0; i < 70000; i++) {
        spin_lock(&l);
        assert_false(spin_trylock(&l));
        spin_unlock(&l);
    }
    assert_true(spin_trylock(&l));
    assert_int_equal((uint16_t)(l.next - l.owner), 1);
    spin_unlock(&l);
    assert_int_equal(l.rank, RANK_LOG);
}

/* When all others are stopped, nobody waits for them. */
static void test_forsaken(void **state)
{
    struct spinlock l = SPINLOCK(RANK_LOG);

    spin_lock(&l);
    spin_forsaken = true;
    spin_lock(&l);
    spin_unlock(&l);
    spin_lock(&l);
    spin_forsaken = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_queue, setup),
        cmocka_unit_test_setup(test_requeue, setup),
        cmocka_unit_test_setup(test_kick_and_call_oneself, setup),
        cmocka_unit_test_setup(test_calls, setup),
        cmocka_unit_test_setup(test_escalation, setup),
        cmocka_unit_test_setup(test_work_keeps, setup),
        cmocka_unit_test_setup(test_work_keeps_its_turn, setup),
        cmocka_unit_test_setup(test_storm, setup),
        cmocka_unit_test_setup(test_hold, setup),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_tickets_wrap),
        cmocka_unit_test(test_forsaken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
