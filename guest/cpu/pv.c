#include "guest/cpu/pv.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/cpu/pv_page.h"
#include "vmx/cpu.h"

#define INVARIANT_TSC BIT(8) /* CPUID 80000007h, EDX */

/* Where the hardware completes interrupts there is no exit to be saved. */
void pv_offer(struct vcpu *v)
{
    v->pv.offered = pv_offered(v->vm->config->pv);
    if (vmx_features.vid && vmx_features.virtualize_x2apic)
        v->pv.offered &= ~(uint32_t)PV_EOI;
}

void pv_init(struct vcpu *v)
{
    v->pv.steady = cpuid_lookup(&v->cpuid, 0x80000007, 0).edx & INVARIANT_TSC;
    for (unsigned i = 0; i < smp_cpus; i++)
        v->pv.steady &= cpu_by_number(i)->tsc_skew == 0;
    if (v->id == 0 && (v->pv.offered & PV_CLOCK) && !v->pv.steady)
        log_info("%s: its paravirtual clock is not marked as stable: the processors' TSCs are not "
                 "invariant, or do not agree",
                 v->vm->name);
}

/* --- the clock --- */

/* A vCPU whose TSC the guest has moved on its own reads another one there. */
bool pv_stable(const struct vcpu *v)
{
    const struct vm *vm = v->vm;
    bool same = v->pv.steady;

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        same &= __atomic_load_n(&vm->vcpu[i]->lapic.tsc_offset, __ATOMIC_RELAXED) ==
                v->lapic.tsc_offset;
    return same;
}

/*
 * All vCPUs' clocks begin at the same moment and have the same rate, so that they are equal to the
 * nanosecond, and nothing has to be written again but where the TSC itself is moved: a pause moves
 * the TSC and the board's clock alike.
 */
static void write_clock(struct vcpu *v)
{
    if (!(v->pv.clock & PV_ON))
        return;
    const struct pv_time time = {
        .tsc = v->vm->pv.clock_start - board_front(v->board)->tsc_offset + v->lapic.tsc_offset,
        .rate = pv_rate(tsc_hz),
        .stable = pv_stable(v),
    };
    if (pv_write_time(&v->vm->memory, v->pv.clock & ~PV_ON, &time) == 0)
        v->pv.clocks_written++;
}

/* Once, when the guest asks; where it has no memory nobody will read it. */
static void write_wall_clock(struct vcpu *v)
{
    uint64_t ticks = rdtsc() + board_front(v->board)->tsc_offset - v->vm->pv.clock_start;
    uint64_t ns;
    int64_t seconds;
    uint32_t microseconds;

    wall_clock_now(&seconds, &microseconds);
    ns = (uint64_t)seconds * 1000000000 + (uint64_t)microseconds * 1000;
    ns -= pv_ns(pv_rate(tsc_hz), ticks);
    if (pv_write_wall_clock(&v->vm->memory, v->pv.wall_clock, ns) == 0)
        v->pv.clocks_written++;
}

void pv_tsc_moved(struct vcpu *v)
{
    for (unsigned i = 0; i < v->vm->vcpu_count; i++)
        vcpu_notify(v->vm->vcpu[i], REQUEST_CLOCK);
}

void pv_serve(struct vcpu *v, uint32_t requests)
{
    if (requests & REQUEST_CLOCK)
        write_clock(v);
    if (requests & REQUEST_UNHALT) {
        v->pv.kicked = !v->halted;
        v->halted = false;
    }
}

/* A kick that came before the HLT that it is for. */
bool pv_unhalts(struct vcpu *v)
{
    if (!v->halted || !v->pv.kicked)
        return false;
    v->halted = v->pv.kicked = false;
    return true;
}

/* --- steal time ---
 *
 * Another vCPU that finds PV_PREEMPTED may set PV_FLUSH instead of sending an interrupt. It does so
 * in one step, and so does who takes both off: one of the two sees the other.
 */

static uint64_t steal_page(const struct vcpu *v)
{
    return v->pv.steal & ~PV_ON;
}

static uint64_t waited_ns(const struct vcpu *v)
{
    return tsc_to_ns(task_waited(&v->task));
}

void pv_runs(struct vcpu *v)
{
    struct pv_vcpu *pv = &v->pv;

    if (!(pv->steal & PV_ON))
        return;
    uint8_t flags = pv_swap_preempted(&v->vm->memory, steal_page(v), 0);
    if ((flags & PV_FLUSH) && (pv->offered & PV_TLB_FLUSH)) {
        vmx_flush_linear(&v->hw);
        pv->flushes++;
    }
    uint64_t now = waited_ns(v), more = now - pv->waited;
    if (more == 0)
        return;
    pv->waited = now;
    if (pv_add_steal(&v->vm->memory, steal_page(v), more) == 0)
        pv->stolen += more;
}

void pv_stops(struct vcpu *v)
{
    if (v->pv.steal & PV_ON)
        pv_swap_preempted(&v->vm->memory, steal_page(v), PV_PREEMPTED);
}

/* It counts from here on; the version is an even one from the start. */
static int write_steal(struct vcpu *v, uint64_t value)
{
    if (!(value & PV_ON)) {
        v->pv.steal = value;
        return 0;
    }
    if (pv_add_steal(&v->vm->memory, value & ~PV_ON, 0) < 0)
        return -EINVAL;
    v->pv.steal = value;
    v->pv.waited = waited_ns(v);
    pv_runs(v);
    return 0;
}

/* --- MSRs --- */

/* Its byte says no from the start. */
static int write_eoi(struct vcpu *v, uint64_t value)
{
    uint8_t old;

    if ((value & PV_ON) && guest_memory_exchange(&v->vm->memory, value & ~PV_ON, 0, &old) < 0)
        return -EINVAL;
    v->pv.eoi = value;
    pv_follow_eoi(v);
    return 0;
}

int pv_read_msr(const struct vcpu *v, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case PV_MSR_WALL_CLOCK:
        *value = v->pv.wall_clock;
        return 0;
    case PV_MSR_CLOCK:
        *value = v->pv.clock;
        return 0;
    case PV_MSR_STEAL:
        *value = v->pv.steal;
        return 0;
    case PV_MSR_EOI:
        *value = v->pv.eoi;
        return 0;
    case PV_MSR_POLL:
        *value = v->pv.poll;
        return 0;
    default:
        return -EINVAL;
    }
}

int pv_write_msr(struct vcpu *v, uint32_t msr, uint64_t value)
{
    if (!pv_valid(msr, value))
        return -EINVAL;
    switch (msr) {
    case PV_MSR_WALL_CLOCK:
        v->pv.wall_clock = value;
        if (value)
            write_wall_clock(v);
        return 0;
    case PV_MSR_CLOCK:
        v->pv.clock = value;
        write_clock(v);
        return 0;
    case PV_MSR_STEAL:
        return write_steal(v, value);
    case PV_MSR_EOI:
        return write_eoi(v, value);
    case PV_MSR_POLL:
        v->pv.poll = value;
        return 0;
    default:
        return -EINVAL;
    }
}
