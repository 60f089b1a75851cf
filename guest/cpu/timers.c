/*
 * Time in the guest is its TSC, and every virtual timer an absolute deadline on it. The earliest
 * one of a vCPU becomes next_exit, on the host's TSC; between exits nothing counts.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/timers.h"

/* Between two timer exits, at least, and at most: the latter fits into the VMX-preemption timer on
 * every CPU. */
#define TIMER_MIN_TICKS 2000
#define TIMER_MAX_TICKS BIT(31)

uint64_t vcpu_tsc(const struct vcpu *v)
{
    return rdtsc() + v->lapic.tsc_offset;
}

/* Ticks from now to a deadline, 0 when it has passed. */
static inline uint64_t ticks_until(uint64_t deadline, uint64_t now)
{
    return deadline > now ? deadline - now : 0;
}

/*
 * Devices' timers are run by whichever vCPU finds them due. So that one does in time, one vCPU, the
 * VM's timekeeper, has their deadline among its own: which one changes with who runs.
 *
 * A vCPU that begins to run takes this over from one that does not run; one that ends hands it to
 * one that runs, if there is any. Each says first that it runs, or no longer does, and looks at the
 * other then: one of the two sees the other. Who sets a timer and runs takes it over, too.
 */
static inline bool keeps_time(const struct vcpu *v)
{
    /* A word: read at once, and folded into the comparison. */
    return board_front(v->board)->timekeeper == v;
}

static inline bool runs(const struct vcpu *v)
{
    return __atomic_load_n(&v->runs, __ATOMIC_SEQ_CST);
}

static bool hand_over(struct vcpu *from, struct vcpu *to)
{
    void *keeper = from;

    return __atomic_compare_exchange_n(&board_front(from->board)->timekeeper, &keeper, to, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static struct vcpu *timekeeper(struct board *board)
{
    return __atomic_load_n(&board_front(board)->timekeeper, __ATOMIC_SEQ_CST);
}

static inline uint64_t bus_deadline(struct board *board)
{
    return __atomic_load_n(&board_bus(board)->next_deadline, __ATOMIC_RELAXED);
}

/* The devices' clock at `now` of the host's TSC. */
static inline uint64_t board_time(struct board *board, uint64_t now)
{
    return now + board_front(board)->tsc_offset;
}

static inline void find_deadline(struct vcpu *v, uint64_t now)
{
    uint64_t ticks = TIMER_MAX_TICKS;

    /* An APIC timer or bus that is off has the largest deadline there is. */
    ticks = MIN(ticks, ticks_until(v->lapic.timer_deadline, now + v->lapic.tsc_offset));
    if (LIKELY(keeps_time(v)))
        ticks = MIN(ticks, ticks_until(bus_deadline(v->board), board_time(v->board, now)));
    v->next_exit = now + MIN(ticks, ticks_until(v->task.until, now));
}

void vcpu_update_deadline(struct vcpu *v)
{
    find_deadline(v, rdtsc());
}

void vcpu_begins(struct vcpu *v)
{
    __atomic_store_n(&v->runs, true, __ATOMIC_SEQ_CST);
    struct vcpu *keeper = timekeeper(v->board);
    if (keeper != v && bus_deadline(v->board) != TIMER_OFF && !runs(keeper))
        hand_over(keeper, v);
    vcpu_update_deadline(v);
}

/* From one that does not run to one that does. True: somebody else sees to it, or there is nothing
 * to see to. */
static bool pass_on(struct vcpu *v)
{
    struct vm *vm = v->vm;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        if (timekeeper(vm->board) != v || bus_deadline(vm->board) == TIMER_OFF)
            return true;
        struct vcpu *other = vm->vcpu[i];
        if (!runs(other) || !hand_over(v, other))
            continue;
        vcpu_notify(other, REQUEST_TIMER);
        if (runs(other))
            return true;
        v = other; /* which may not have noticed in time: on to the next one */
    }
    return false;
}

void vcpu_ends(struct vcpu *v)
{
    __atomic_store_n(&v->runs, false, __ATOMIC_SEQ_CST);
    (void)pass_on(v);
}

void vcpu_keep_time(struct vcpu *v)
{
    __atomic_store_n(&board_front(v->board)->timekeeper, v, __ATOMIC_SEQ_CST);
    vcpu_update_deadline(v);
}

void vcpu_tell_timekeeper(struct vm *vm)
{
    /* Whoever keeps time from now on sees the new deadline. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    struct vcpu *keeper = timekeeper(vm->board);
    /* One that waits for a processor would come too late. */
    if (runs(keeper) || !pass_on(keeper))
        vcpu_notify(timekeeper(vm->board), REQUEST_TIMER);
}

uint64_t vcpu_timer_deadline(const struct vcpu *v)
{
    uint64_t now = rdtsc(), ticks = ticks_until(v->lapic.timer_deadline, now + v->lapic.tsc_offset);

    if (v->lapic.timer_deadline == LAPIC_TIMER_OFF)
        ticks = UINT64_MAX;
    if (keeps_time(v) && bus_deadline(v->board) != TIMER_OFF)
        ticks = MIN(ticks, ticks_until(bus_deadline(v->board), board_time(v->board, now)));
    return ticks > UINT64_MAX - now ? UINT64_MAX : now + ticks;
}

/* INIT and RESET switch the local APIC's timer off; the devices' go on whatever their timekeeper
 * does. */
uint64_t vcpu_sleeps_until(const struct vcpu *v, bool *dead)
{
    uint64_t deadline = vcpu_timer_deadline(v);
    bool open = !v->wait_for_startup && (vmx_rflags() & RFLAGS_IF);

    *dead = deadline == UINT64_MAX && !open;
    return deadline;
}

bool vcpu_run_timers(struct vcpu *v)
{
    uint64_t now = rdtsc();
    bool fired = false;

    if (now + v->lapic.tsc_offset >= v->lapic.timer_deadline) {
        lapic_timer_expired(&v->lapic, now + v->lapic.tsc_offset);
        fired = true;
    }
    if (UNLIKELY(bus_deadline(v->board) <= board_time(v->board, now))) {
        if (UNLIKELY(probes))
            probes->device(v->vm, TRACE_DEVICE_TIMERS, 0, 0);
        bus_run_timers(board_bus(v->board), board_time(v->board, now));
        fired = true;
    }
    if (UNLIKELY(now >= v->task.until))
        vcpu_ask(v, REQUEST_RESCHEDULE);
    find_deadline(v, now);
    /* A guest may program a period shorter than its handling takes: it gets to run all the same. */
    if (fired)
        v->next_exit = MAX(v->next_exit, now + TIMER_MIN_TICKS);
    return fired;
}
