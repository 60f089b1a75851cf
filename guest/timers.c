/*
 * Time in the guest is its TSC, and every virtual timer an absolute deadline on it. The earliest
 * one of a vCPU becomes next_exit, on the host's TSC; between exits nothing counts.
 */
#include "arch/x86/cpu.h"
#include "guest/vm.h"

/* Between two timer exits, at least. */
#define TIMER_MIN_TICKS 2000

uint64_t vcpu_tsc(const struct vcpu *v)
{
    return rdtsc() + v->tsc_offset;
}

/* The host TSC of a guest deadline; the past, however far, is 0. now: both clocks at one moment. */
static uint64_t host_deadline(uint64_t deadline, uint64_t guest_now, uint64_t host_now)
{
    uint64_t host;

    if (deadline <= guest_now)
        return 0;
    return __builtin_add_overflow(host_now, deadline - guest_now, &host) ? UINT64_MAX : host;
}

void vcpu_update_deadline(struct vcpu *v)
{
    uint64_t now = rdtsc();

    v->next_exit = UINT64_MAX;
    if (v->lapic.timer_deadline != LAPIC_TIMER_OFF)
        v->next_exit = host_deadline(v->lapic.timer_deadline, now + v->tsc_offset, now);
    if (v->id == 0 && v->vm->bus.next_deadline != TIMER_OFF) {
        uint64_t device = host_deadline(v->vm->bus.next_deadline, now + v->vm->tsc_offset, now);
        v->next_exit = MIN(v->next_exit, device);
    }
}

void vcpu_run_timers(struct vcpu *v)
{
    uint64_t now = rdtsc();

    lapic_run_timer(&v->lapic, now + v->tsc_offset);
    if (v->id == 0 && v->vm->bus.next_deadline <= now + v->vm->tsc_offset)
        bus_run_timers(&v->vm->bus, now + v->vm->tsc_offset);
    vcpu_update_deadline(v);
    /* A guest may program a period shorter than its handling takes: it gets to run all the same. */
    v->next_exit = MAX(v->next_exit, now + TIMER_MIN_TICKS);
    vcpu_ask(v, REQUEST_EVENT);
}
