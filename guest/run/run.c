#include "guest/run/run.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/tsc.h"
#include "mm/heap.h"

/* A task gets this far at least. */
#define RUN_MIN_TICKS 2000
#define INSPECT_TRIES 100

struct run_cpu {
    struct spinlock lock; /* queue, sleepers, and what is said of tasks that are at home here */
    struct sched_queue queue;
    struct sleepers sleepers; /* tasks that wait with a deadline */
    struct task *loaded;      /* whose state the processor holds; it may be waiting */
    uint64_t until;           /* host TSC at which the loop wants to come round again */
    bool undecided;           /* the loop has yet to choose in this round; its own */
    unsigned number;
};

static const struct run_chores *chores;
static struct sched sched;
static struct run_cpu *cpus[SMP_CPUS_MAX]; /* NULL: runs no tasks */
static bool open;                          /* all have joined that will */

static struct run_cpu *this_run_cpu(void)
{
    return cpus[this_cpu()->number];
}

static struct task *task_of(struct sched_vcpu *s)
{
    return CONTAINER_OF(s, struct task, sched);
}

void run_init(const struct run_chores *list)
{
    chores = list;
}

int run_join(unsigned n)
{
    struct run_cpu *c = heap_alloc(sizeof(*c));

    if (!c)
        return -ENOMEM;
    if (n == 0)
        sched_init(&sched, tsc_hz);
    c->number = n;
    spin_init(&c->lock, RANK_SCHED);
    sched_add_cpu(&sched, &c->queue, n, rdtsc());
    cpus[n] = c;
    return 0;
}

bool run_takes_part(unsigned n)
{
    return n < smp_cpus && cpus[n];
}

void run_open(void)
{
    __atomic_store_n(&open, true, __ATOMIC_SEQ_CST);
    for (unsigned n = 1; n < smp_cpus; n++)
        cpu_kick(n);
}

/* --- two processors' locks, the lower number's first --- */

static void lock_two(unsigned a, unsigned b)
{
    spin_lock(&cpus[MIN(a, b)]->lock);
    if (a != b)
        spin_lock_second(&cpus[MAX(a, b)]->lock);
}

static void unlock_two(unsigned a, unsigned b)
{
    if (a != b)
        spin_unlock(&cpus[MAX(a, b)]->lock);
    spin_unlock(&cpus[MIN(a, b)]->lock);
}

/* The lock that guards t, whose home may change until it is held. */
static struct run_cpu *lock_home(struct task *t)
{
    for (;;) {
        struct run_cpu *c = cpus[__atomic_load_n(&t->sched.cpu, __ATOMIC_RELAXED)];
        spin_lock(&c->lock);
        if (c->number == t->sched.cpu)
            return c;
        spin_unlock(&c->lock);
    }
}

/* --- asking a processor --- */

void run_attention(unsigned n)
{
    struct percpu *cpu = cpu_by_number(n);

    __atomic_store_n(&cpu->attention, true, __ATOMIC_SEQ_CST);
    if (cpu != this_cpu())
        cpu_kick(n);
    else if (cpu->task)
        task_ask(cpu->task, TASK_RESCHEDULE);
}

struct task *run_again_at(uint64_t deadline)
{
    struct task *t = this_cpu()->task;

    if (!t || deadline >= t->until)
        return NULL;
    t->until = deadline;
    return t;
}

/* --- blocking and waking --- */

static void stop_sleeping(struct run_cpu *home, struct task *t)
{
    if (t->sleeping)
        sleepers_remove(&home->sleepers, &t->sleep);
    t->sleeping = false;
}

static void uncount_dead(struct task *t)
{
    if (LIKELY(!t->dead))
        return;
    t->dead = false;
    __atomic_sub_fetch(&t->group->dead, 1, __ATOMIC_SEQ_CST);
}

/* Whether that processor is this one, which is on its way to choose: it need not be asked. */
static bool chooses_next(unsigned n)
{
    return n == this_cpu()->number && cpus[n]->undecided;
}

/* Make it ready, if it is blocked. */
static void wake(struct task *t)
{
    for (;;) {
        unsigned home = __atomic_load_n(&t->sched.cpu, __ATOMIC_RELAXED);
        unsigned to = sched_target(&sched, &t->sched);
        int kick = SCHED_AGAIN;

        lock_two(home, to);
        if (t->sched.cpu == home) {
            kick = t->away ? SCHED_NONE : sched_wake(&sched, &t->sched, to, rdtsc());
            if (kick != SCHED_AGAIN) {
                stop_sleeping(cpus[home], t);
                uncount_dead(t);
            }
        }
        unlock_two(home, to);
        if (kick >= 0 && !chooses_next((unsigned)kick))
            run_attention((unsigned)kick);
        if (kick != SCHED_AGAIN)
            return;
    }
}

void task_notify(struct task *t, uint32_t requests)
{
    int on;

    task_ask(t, requests);
    if (t == this_cpu()->task)
        return;
    on = __atomic_load_n(&t->on_cpu, __ATOMIC_SEQ_CST);
    if (on >= 0)
        cpu_kick((unsigned)on);
    else
        wake(t);
}

/*
 * The task waits. Who notifies it sets the request first and looks at on_cpu then; this is the
 * other order, so that one of the two sees the other. It counts as dead only while it is blocked:
 * one that was just notified may be all that is going to wake the others.
 */
static void block(struct run_cpu *c, struct task *t)
{
    struct task_group *g = t->group;
    bool dead = false;
    uint64_t deadline = t->ops->deadline(t, &dead);
    uint32_t wakes = ~(t->ops->quiet | TASK_RESCHEDULE);
    unsigned count = 0;

    spin_lock(&c->lock);
    __atomic_store_n(&t->on_cpu, -1, __ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&t->requests, __ATOMIC_SEQ_CST) & wakes)) {
        sched_block(&sched, &t->sched, rdtsc());
        if (deadline != UINT64_MAX) {
            t->sleep.until = deadline;
            sleepers_add(&c->sleepers, &t->sleep);
            t->sleeping = true;
        }
        t->dead = dead;
        if (dead)
            count = __atomic_add_fetch(&g->dead, 1, __ATOMIC_SEQ_CST);
    }
    spin_unlock(&c->lock);
    if (count == g->count)
        g->all_dead(g);
}

static void wake_sleepers(struct run_cpu *c)
{
    for (;;) {
        struct sleeper *s;
        struct task *t = NULL;

        spin_lock(&c->lock);
        s = c->sleepers.first;
        if (s && s->until <= rdtsc()) {
            t = CONTAINER_OF(s, struct task, sleep);
            stop_sleeping(c, t);
        }
        spin_unlock(&c->lock);
        if (!t)
            return;
        task_notify(t, TASK_TIMER);
    }
}

/* --- a task's state in a processor --- */

static void put_away(void *which)
{
    struct run_cpu *c = this_run_cpu();

    if (!c->loaded || (which && c->loaded != which))
        return;
    c->loaded->ops->put(c->loaded);
    c->loaded->loaded = false;
    c->loaded = NULL;
}

void run_unload(void)
{
    put_away(NULL);
}

/* The task, which is ours by the scheduler's choice, may still lie in the processor where it ran
 * last. */
static void load(struct run_cpu *c, struct task *t)
{
    if (c->loaded == t)
        return;
    if (t->loaded)
        cpu_call(t->loaded_on, put_away, t);
    put_away(NULL);
    t->ops->load(t);
    c->loaded = t;
    t->loaded_on = c->number;
    t->loaded = true;
    __atomic_fetch_or(&t->group->ran_on.word[c->number / 64], BIT(c->number % 64),
                      __ATOMIC_RELAXED);
}

static void flush(void *arg)
{
    chores->flush();
}

void run_synchronize(struct task_group *g)
{
    for (unsigned i = 0; i < smp_cpus; i++)
        if (sched_cpus_have(&g->ran_on, i))
            cpu_call(i, flush, NULL);
}

void run_flush(struct task_group *g)
{
    run_synchronize(g);
    memset(&g->ran_on, 0, sizeof(g->ran_on));
}

/* --- coming and going --- */

int run_add_group(struct task_group *g)
{
    struct sched_part *parts = heap_alloc(smp_cpus * sizeof(*parts));

    if (!parts)
        return -ENOMEM;
    sched_group_init(&g->share, parts, rdtsc());
    return 0;
}

void run_remove_group(struct task_group *g)
{
    heap_free(g->share.part);
}

void run_add(struct task_group *g, struct task *t)
{
    t->group = g;
    t->away = true;
    t->on_cpu = -1;
    g->task[g->count++] = t;
    sched_add(&sched, &t->sched, &g->share, rdtsc());
}

/* One of them may have the group leave again before the last one has been entered: what was asked
 * of them before is forgotten first. */
void run_enter(struct task_group *g, uint64_t tasks)
{
    for (unsigned i = 0; i < g->count; i++)
        if (tasks >> i & 1)
            __atomic_fetch_and(&g->task[i]->requests, ~(uint32_t)TASK_LEAVE, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < g->count; i++) {
        unsigned n = (g->first + i) % g->count;
        struct task *t = g->task[n];

        if (!(tasks >> n & 1))
            continue;
        struct run_cpu *home = lock_home(t);
        t->away = false;
        spin_unlock(&home->lock);
        wake(t);
    }
}

void run_leave(struct task_group *g)
{
    for (unsigned i = 0; i < g->count; i++)
        task_notify(g->task[i], TASK_LEAVE);
}

static void leave(struct run_cpu *c, struct task *t)
{
    struct task_group *g = t->group;

    put_away(t);
    spin_lock(&c->lock);
    __atomic_store_n(&t->on_cpu, -1, __ATOMIC_SEQ_CST);
    sched_block(&sched, &t->sched, rdtsc());
    t->away = true;
    spin_unlock(&c->lock);
    if (__atomic_sub_fetch(&g->active, 1, __ATOMIC_SEQ_CST) == 0)
        cpu_call_async(0, &g->parked);
}

int run_schedule(struct task_group *g, uint32_t weight, uint32_t cap, const struct sched_cpus *set)
{
    struct sched_cpus allowed = sched.online;
    bool given = false;
    int result = sched_set_weight(&g->share, weight);

    if (result == 0)
        result = sched_set_cap(&sched, &g->share, cap);
    for (unsigned i = 0; i < ARRAY_SIZE(allowed.word); i++)
        given |= set->word[i] != 0;
    for (unsigned i = 0; i < ARRAY_SIZE(allowed.word) && given; i++)
        allowed.word[i] &= set->word[i];
    for (unsigned i = 0; i < g->count && result >= 0; i++) {
        struct task *t = g->task[i];
        struct run_cpu *home = lock_home(t);
        result = sched_set_affinity(&sched, &t->sched, &allowed, rdtsc());
        spin_unlock(&home->lock);
        if (result == SCHED_MUST_WAKE)
            wake(t);
        else /* a new cap is to hold from now on, wherever it runs */
            run_attention(home->number);
    }
    return MIN(result, 0);
}

struct sched_stats run_stats(struct task *t)
{
    struct run_cpu *home = lock_home(t);
    struct sched_stats stats = sched_stats(&sched, &t->sched, rdtsc());

    spin_unlock(&home->lock);
    return stats;
}

struct inspection {
    struct task *t;
    void (*fn)(struct task *t, void *arg);
    void *arg;
    bool done;
};

static void inspect_here(void *arg)
{
    struct inspection *i = arg;

    i->done = this_run_cpu()->loaded == i->t;
    if (i->done)
        i->fn(i->t, i->arg);
}

/* It is in no processor, and its home's lock keeps it out of all. */
static void inspect_unloaded(struct inspection *i)
{
    struct run_cpu *home;

    run_unload();
    home = lock_home(i->t);
    i->done = !i->t->loaded && i->t->sched.state != SCHED_RUNNING;
    if (i->done) {
        i->t->ops->load(i->t);
        i->fn(i->t, i->arg);
        i->t->ops->put(i->t);
    }
    spin_unlock(&home->lock);
}

int run_inspect(struct task *t, void (*fn)(struct task *t, void *arg), void *arg)
{
    struct inspection i = {.t = t, .fn = fn, .arg = arg};

    for (unsigned tries = 0; tries < INSPECT_TRIES && !i.done; tries++) {
        if (t->loaded)
            cpu_call(t->loaded_on, inspect_here, &i);
        else
            inspect_unloaded(&i);
    }
    return i.done ? 0 : -EBUSY;
}

/* --- the loop --- */

/* *sleeper: when the first of those that sleep here is to be woken. */
static struct sched_choice choose(struct run_cpu *c, uint64_t *sleeper)
{
    int from = sched_pull_source(&sched, c->number, rdtsc());
    unsigned other = from >= 0 ? (unsigned)from : c->number;
    struct sched_choice choice;

    lock_two(c->number, other);
    if (from >= 0)
        sched_pull(&sched, c->number, other, rdtsc());
    choice = sched_pick(&sched, c->number, rdtsc());
    *sleeper = c->sleepers.first ? c->sleepers.first->until : UINT64_MAX;
    unlock_two(c->number, other);
    if (choice.rehome)
        wake(task_of(choice.rehome));
    if (choice.kick >= 0)
        run_attention((unsigned)choice.kick);
    return choice;
}

/* To another one at that, if it is still where it was when its lock is held. */
static void yield(struct run_cpu *c, struct task *t)
{
    struct task *to = t->yields_to;
    unsigned home = to ? __atomic_load_n(&to->sched.cpu, __ATOMIC_RELAXED) : c->number;

    t->spins = false;
    t->yields_to = NULL;
    lock_two(c->number, home);
    sched_yield_to(&sched, &t->sched, to && to->sched.cpu == home ? &to->sched : NULL, rdtsc());
    unlock_two(c->number, home);
}

static void run(struct run_cpu *c, struct task *t)
{
    struct percpu *cpu = this_cpu();

    load(c, t);
    uint64_t now = rdtsc();
    if (t->blocked_at)
        t->blocked_ticks += now - t->blocked_at;
    t->blocked_at = 0;
    t->until = MAX(c->until, now + RUN_MIN_TICKS);
    cpu->task = t;
    __atomic_store_n(&t->on_cpu, (int)c->number, __ATOMIC_SEQ_CST);
    if (UNLIKELY(run_wanted()))
        task_ask(t, TASK_RESCHEDULE);
    enum task_end end = t->ops->run(t);
    cpu->task = NULL;
    if (end == TASK_BLOCKED) {
        t->blocked_at = rdtsc();
        block(c, t);
    } else if (end == TASK_GONE) {
        leave(c, t); /* which may be the end of it */
    } else if (t->spins) {
        yield(c, t);
    }
}

static void idle(struct run_cpu *c)
{
    uint64_t chore = chores->idle(), until = MIN(c->until, chore);

    if (sched_pull_source(&sched, c->number, rdtsc()) >= 0)
        return;
    if (until != UINT64_MAX)
        apic_timer_set(until);
    if (!run_wanted())
        cpu_idle_once();
    apic_timer_stop();
}

/* Processor 0's chores; returns when they want to be looked after next. */
static uint64_t look_after(void)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < chores->often_count; i++) {
        uint64_t wish = chores->often[i]();
        next = MIN(next, wish);
    }
    return next;
}

NORETURN void run_loop(void)
{
    struct percpu *cpu = this_cpu();
    struct run_cpu *c = this_run_cpu();

    for (;;) {
        uint64_t until = UINT64_MAX, sleeper;

        c->undecided = true;
        __atomic_store_n(&cpu->attention, false, __ATOMIC_SEQ_CST);
        cpu_serve_calls();
        if (c->number == 0)
            until = look_after();
        wake_sleepers(c);
        c->undecided = false;
        struct sched_choice choice = choose(c, &sleeper);
        c->until = MIN(until, MIN(choice.until, sleeper));
        if (choice.vcpu)
            run(c, task_of(choice.vcpu));
        else
            idle(c);
    }
}

NORETURN void run_processor(void)
{
    for (;;) {
        cpu_serve_calls();
        if (__atomic_load_n(&open, __ATOMIC_SEQ_CST) && this_run_cpu())
            run_loop();
        cpu_idle_once();
    }
}
