#include "guest/run/run.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"
#include "guest/gdb/gdb.h"
#include "guest/trace/trace.h"
#include "mm/heap.h"
#include "vmx/cpu.h"

/* Without interrupts from the serial port processor 0 looks at it this often. */
#define SERIAL_POLL_HZ 100

/* Requests that keep a vCPU from being halted: all but those that stay. */
#define REQUESTS_WAKE (~(uint32_t)(REQUEST_RELOAD | REQUEST_RESCHEDULE))

/* A vCPU gets this far at least. */
#define RUN_MIN_TICKS 2000
#define INSPECT_TRIES 100

struct run_cpu {
    struct spinlock lock; /* queue, sleepers, and what is said of vCPUs that are at home here */
    struct sched_queue queue;
    struct sleepers sleepers; /* halted vCPUs with a timer, by its host TSC */
    struct vcpu *loaded;      /* whose state the processor holds; may be halted */
    uint64_t until;           /* host TSC at which the loop wants to come round again */
    bool undecided;           /* the loop has yet to choose in this round; its own */
    unsigned number;
};

static struct sched sched;
static struct run_cpu *cpus[SMP_CPUS_MAX]; /* NULL: does not run VMs */
static bool open;                          /* all have joined that will */

static struct run_cpu *this_run_cpu(void)
{
    return cpus[this_cpu()->number];
}

static struct vcpu *vcpu_of(struct sched_vcpu *s)
{
    return CONTAINER_OF(s, struct vcpu, sched);
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

/* The lock that guards v, whose home may change until it is held. */
static struct run_cpu *lock_home(struct vcpu *v)
{
    for (;;) {
        struct run_cpu *c = cpus[__atomic_load_n(&v->sched.cpu, __ATOMIC_RELAXED)];
        spin_lock(&c->lock);
        if (c->number == v->sched.cpu)
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
    else if (cpu->current)
        vcpu_ask(cpu->current, REQUEST_RESCHEDULE);
}

void run_again_at(uint64_t deadline)
{
    struct vcpu *v = this_cpu()->current;

    if (!v || deadline >= v->run_until)
        return;
    v->run_until = deadline;
    v->next_exit = MIN(v->next_exit, deadline);
}

/* --- halting and waking --- */

static void stop_sleeping(struct run_cpu *home, struct vcpu *v)
{
    if (v->sleeping)
        sleepers_remove(&home->sleepers, &v->sleep);
    v->sleeping = false;
}

static void uncount_dead(struct vcpu *v)
{
    if (LIKELY(!v->dead))
        return;
    v->dead = false;
    __atomic_sub_fetch(&v->vm->dead, 1, __ATOMIC_SEQ_CST);
}

/* Whether that processor is this one, which is on its way to choose: it need not be asked. */
static bool chooses_next(unsigned n)
{
    return n == this_cpu()->number && cpus[n]->undecided;
}

/* Make it ready, if it is halted. */
static void wake(struct vcpu *v)
{
    for (;;) {
        unsigned home = __atomic_load_n(&v->sched.cpu, __ATOMIC_RELAXED);
        unsigned to = sched_target(&sched, &v->sched);
        int kick = SCHED_AGAIN;

        lock_two(home, to);
        if (v->sched.cpu == home) {
            kick = v->away ? SCHED_NONE : sched_wake(&sched, &v->sched, to, rdtsc());
            if (kick != SCHED_AGAIN) {
                stop_sleeping(cpus[home], v);
                uncount_dead(v);
            }
        }
        unlock_two(home, to);
        if (kick >= 0 && !chooses_next((unsigned)kick))
            run_attention((unsigned)kick);
        if (kick != SCHED_AGAIN)
            return;
    }
}

void vcpu_notify(struct vcpu *v, uint32_t request)
{
    int on;

    vcpu_ask(v, request);
    if (v == this_cpu()->current)
        return;
    on = __atomic_load_n(&v->on_cpu, __ATOMIC_SEQ_CST);
    if (on >= 0)
        cpu_kick((unsigned)on);
    else
        wake(v);
}

/* Nothing inside the VM but another vCPU can wake this one. */
static bool sleeps_for_good(const struct vcpu *v)
{
    return v->wait_for_startup ||
           (!(vmx_rflags() & RFLAGS_IF) && vcpu_timer_deadline(v) == UINT64_MAX);
}

/*
 * The vCPU is halted. Who notifies it sets the request first and looks at on_cpu then; this is the
 * other order, so that one of the two sees the other. It counts as dead only while it is blocked:
 * one that was just notified may be all that is going to wake the others.
 */
static void block(struct run_cpu *c, struct vcpu *v)
{
    uint64_t deadline = v->wait_for_startup ? UINT64_MAX : vcpu_timer_deadline(v);
    bool dead = sleeps_for_good(v);
    unsigned count = 0;

    spin_lock(&c->lock);
    __atomic_store_n(&v->on_cpu, -1, __ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&v->requests, __ATOMIC_SEQ_CST) & REQUESTS_WAKE)) {
        sched_block(&sched, &v->sched, rdtsc());
        if (deadline != UINT64_MAX) {
            v->sleep.until = deadline;
            sleepers_add(&c->sleepers, &v->sleep);
            v->sleeping = true;
        }
        v->dead = dead;
        if (dead)
            count = __atomic_add_fetch(&v->vm->dead, 1, __ATOMIC_SEQ_CST);
    }
    spin_unlock(&c->lock);
    if (count == v->vm->vcpu_count)
        vm_request(v->vm, VM_REQUEST_POWEROFF, "halted for good: interrupts off and no timer set");
}

static void wake_sleepers(struct run_cpu *c)
{
    for (;;) {
        struct sleeper *s;
        struct vcpu *v = NULL;

        spin_lock(&c->lock);
        s = c->sleepers.first;
        if (s && s->until <= rdtsc()) {
            v = CONTAINER_OF(s, struct vcpu, sleep);
            stop_sleeping(c, v);
        }
        spin_unlock(&c->lock);
        if (!v)
            return;
        vcpu_notify(v, REQUEST_TIMER | REQUEST_EVENT);
    }
}

static uint64_t first_sleeper(struct run_cpu *c)
{
    spin_lock(&c->lock);
    uint64_t deadline = c->sleepers.first ? c->sleepers.first->until : UINT64_MAX;
    spin_unlock(&c->lock);
    return deadline;
}

/* --- a vCPU's state in a processor --- */

static void put_away(void *which)
{
    struct run_cpu *c = this_run_cpu();

    if (!c->loaded || (which && c->loaded != which))
        return;
    vmx_vcpu_put(&c->loaded->hw);
    c->loaded = NULL;
}

void run_unload(void)
{
    put_away(NULL);
}

/* The vCPU, which is ours by the scheduler's choice, may still lie in the processor where it ran
 * last. */
static void load(struct run_cpu *c, struct vcpu *v)
{
    if (c->loaded == v)
        return;
    if (v->hw.cpu)
        cpu_call(v->loaded_on, put_away, v);
    put_away(NULL);
    vmx_vcpu_load(&v->hw);
    c->loaded = v;
    v->loaded_on = c->number;
    __atomic_fetch_or(&v->vm->ran_on.word[c->number / 64], BIT(c->number % 64), __ATOMIC_RELAXED);
}

static void flush(void *arg)
{
    vmx_flush_all();
}

void run_synchronize(struct vm *vm)
{
    for (unsigned i = 0; i < smp_cpus; i++)
        if (sched_cpus_have(&vm->ran_on, i))
            cpu_call(i, flush, NULL);
}

void run_flush(struct vm *vm)
{
    run_synchronize(vm);
    memset(&vm->ran_on, 0, sizeof(vm->ran_on));
}

/* --- coming and going --- */

void run_add(struct vcpu *v)
{
    v->away = true;
    v->on_cpu = -1;
    sched_add(&sched, &v->sched, &v->vm->group, rdtsc());
}

/* One of them may have the VM leave again before the last one has been entered: what was asked of
 * them before is forgotten first. */
void run_enter(struct vm *vm, uint64_t vcpus)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (vcpus >> i & 1)
            __atomic_fetch_and(&vm->vcpu[i]->requests, ~(uint32_t)REQUEST_LEAVE, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];

        if (!(vcpus >> i & 1))
            continue;
        struct run_cpu *home = lock_home(v);
        v->away = false;
        spin_unlock(&home->lock);
        wake(v);
    }
}

void run_leave(struct vm *vm)
{
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_notify(vm->vcpu[i], REQUEST_LEAVE);
}

static void leave(struct run_cpu *c, struct vcpu *v)
{
    struct vm *vm = v->vm;

    put_away(v);
    spin_lock(&c->lock);
    __atomic_store_n(&v->on_cpu, -1, __ATOMIC_SEQ_CST);
    sched_block(&sched, &v->sched, rdtsc());
    v->away = true;
    spin_unlock(&c->lock);
    if (__atomic_sub_fetch(&vm->active, 1, __ATOMIC_SEQ_CST) == 0)
        cpu_call_async(0, &vm->parked);
}

int run_schedule(struct vm *vm, uint32_t weight, uint32_t cap, const struct config_cpus *set)
{
    struct sched_cpus allowed = sched.online;
    bool given = false;
    int result = sched_set_weight(&vm->group, weight);

    if (result == 0)
        result = sched_set_cap(&sched, &vm->group, cap);
    for (unsigned i = 0; i < ARRAY_SIZE(allowed.word); i++)
        given |= set->bits[i] != 0;
    for (unsigned i = 0; i < ARRAY_SIZE(allowed.word) && given; i++)
        allowed.word[i] &= set->bits[i];
    for (unsigned i = 0; i < vm->vcpu_count && result >= 0; i++) {
        struct vcpu *v = vm->vcpu[i];
        struct run_cpu *home = lock_home(v);
        result = sched_set_affinity(&sched, &v->sched, &allowed, rdtsc());
        spin_unlock(&home->lock);
        if (result == SCHED_MUST_WAKE)
            wake(v);
        else /* a new cap is to hold from now on, wherever it runs */
            run_attention(home->number);
    }
    return MIN(result, 0);
}

struct sched_stats run_stats(struct vcpu *v)
{
    struct run_cpu *home = lock_home(v);
    struct sched_stats stats = sched_stats(&sched, &v->sched, rdtsc());

    spin_unlock(&home->lock);
    return stats;
}

uint64_t run_time(struct vcpu *v)
{
    return run_stats(v).ran;
}

struct inspection {
    struct vcpu *v;
    void (*fn)(struct vcpu *v, void *arg);
    void *arg;
    bool done;
};

static void inspect_here(void *arg)
{
    struct inspection *i = arg;

    i->done = this_run_cpu()->loaded == i->v;
    if (i->done)
        i->fn(i->v, i->arg);
}

/* It is in no processor, and its home's lock keeps it out of all. */
static void inspect_unloaded(struct inspection *i)
{
    struct run_cpu *home;

    run_unload();
    home = lock_home(i->v);
    i->done = !i->v->hw.cpu && i->v->sched.state != SCHED_RUNNING;
    if (i->done) {
        vmx_vcpu_load(&i->v->hw);
        i->fn(i->v, i->arg);
        vmx_vcpu_put(&i->v->hw);
    }
    spin_unlock(&home->lock);
}

int run_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
    struct inspection i = {.v = v, .fn = fn, .arg = arg};

    for (unsigned tries = 0; tries < INSPECT_TRIES && !i.done; tries++) {
        if (v->hw.cpu)
            cpu_call(v->loaded_on, inspect_here, &i);
        else
            inspect_unloaded(&i);
    }
    return i.done ? 0 : -EBUSY;
}

/* --- the loop --- */

static struct sched_choice choose(struct run_cpu *c)
{
    int from = sched_pull_source(&sched, c->number, rdtsc());
    unsigned other = from >= 0 ? (unsigned)from : c->number;
    struct sched_choice choice;

    lock_two(c->number, other);
    if (from >= 0)
        sched_pull(&sched, c->number, other, rdtsc());
    choice = sched_pick(&sched, c->number, rdtsc());
    unlock_two(c->number, other);
    if (choice.rehome)
        wake(vcpu_of(choice.rehome));
    if (choice.kick >= 0)
        run_attention((unsigned)choice.kick);
    return choice;
}

static void yield(struct run_cpu *c, struct vcpu *v)
{
    v->spins = false;
    spin_lock(&c->lock);
    sched_yield_to(&sched, &v->sched, NULL, rdtsc());
    spin_unlock(&c->lock);
}

static void run(struct run_cpu *c, struct vcpu *v)
{
    struct percpu *cpu = this_cpu();
    int why;

    load(c, v);
    if (v->halted_at)
        v->halt_ticks += rdtsc() - v->halted_at;
    v->halted_at = 0;
    v->run_until = MAX(c->until, rdtsc() + RUN_MIN_TICKS);
    v->timer_armed = 0;
    vcpu_update_deadline(v);
    cpu->current = v;
    __atomic_store_n(&v->on_cpu, (int)c->number, __ATOMIC_SEQ_CST);
    if (UNLIKELY(run_wanted()))
        vcpu_ask(v, REQUEST_RESCHEDULE);
    why = vcpu_run(v);
    cpu->current = NULL;
    if (why == VCPU_HALTED) {
        v->halted_at = rdtsc();
        block(c, v);
    } else if (why == VCPU_REQUEST) {
        leave(c, v); /* which may be the end of it */
    } else if (v->spins) {
        yield(c, v);
    }
}

static void idle(struct run_cpu *c)
{
    uint64_t trace = trace_pump(), until = MIN(c->until, trace);

    if (sched_pull_source(&sched, c->number, rdtsc()) >= 0)
        return;
    if (until != UINT64_MAX)
        apic_timer_set(until);
    if (!run_wanted())
        cpu_idle_once();
    apic_timer_stop();
}

/* Consoles and VMs' lives; returns when they want to be looked after next. */
static uint64_t look_after(void)
{
    /* A debugger is told that its VM has ended before that may be the machine's end. */
    uint64_t next = gdb_pump(), console = console_pump(), control = control_work();

    next = MIN(next, MIN(console, control));
    if (!serial_interrupts(&com1))
        next = MIN(next, rdtsc() + tsc_hz / SERIAL_POLL_HZ);
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
        struct sched_choice choice = choose(c);
        sleeper = first_sleeper(c);
        c->until = MIN(until, MIN(choice.until, sleeper));
        if (choice.vcpu)
            run(c, vcpu_of(choice.vcpu));
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
