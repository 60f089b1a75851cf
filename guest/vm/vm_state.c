#include "guest/vm/vm_state.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/nmi.h"
#include "guest/cpu/pv.h"
#include "vmx/state.h"

#define VERSION 4

/* Requests that say what is to become of the vCPU, and not only that something is to be looked at.
 */
#define PENDING (REQUEST_HALT | REQUEST_INIT | REQUEST_STARTUP | REQUEST_UNHALT)

static void save_vcpu(struct vcpu *v, struct state_writer *w)
{
    bool held = vcpu_hold(v);

    state_begin(w, "vcpu", VERSION);
    state_put_u32(w, v->id);
    state_put_u64(w, v->lapic.tsc_offset - board_front(v->board)->tsc_offset);
    state_put_u32(w, v->event.info);
    state_put_u32(w, v->event.error);
    state_put_u32(w, v->event.length);
    state_put_u8(w, v->nmis);
    state_put_u8(w, v->halted);
    state_put_u8(w, v->wait_for_startup);
    state_put_u8(w, v->accepts_startup);
    state_put_u32(w, v->task.requests & PENDING);
    state_put_u8(w, v->startup_vector);
    state_end(w);
    vmx_vcpu_save(&v->hw, w);
    lapic_save(&v->lapic, w);
    msr_save(&v->msr, w);
    pv_save(&v->pv, w);
    vcpu_release(v, held);
}

static int load_loaded_vcpu(struct vcpu *v, struct state_reader *r)
{
    if (state_enter(r, "vcpu", VERSION) < 0)
        return -EBADMSG;
    if (state_get_u32(r) != v->id)
        return -EBADMSG;
    v->lapic.tsc_offset = board_front(v->board)->tsc_offset + state_get_u64(r);
    v->event.info = state_get_u32(r);
    v->event.error = state_get_u32(r);
    v->event.length = state_get_u32(r);
    v->nmis = state_get_u8(r);
    v->halted = state_get_u8(r);
    v->wait_for_startup = state_get_u8(r);
    v->accepts_startup = state_get_u8(r);
    uint32_t pending = state_get_u32(r);
    v->startup_vector = state_get_u8(r);
    if (state_leave(r) < 0 || (pending & ~PENDING) || v->nmis > NMIS_MAX ||
        vmx_vcpu_restore(&v->hw, r) < 0 || lapic_load(&v->lapic, r) < 0 ||
        msr_load(&v->msr, &v->msr_env.features, r) < 0 || pv_load(&v->pv, r) < 0)
        return -EBADMSG;
    vmx_set_tsc_offset(v->lapic.tsc_offset);
    cpuid_set_misc_enable(&v->cpuid, v->msr.misc_enable);
    cpuid_set_cr4(&v->cpuid, vmx_get_cr4());
    cpuid_set_xcr0(&v->cpuid, v->hw.xcr0, v->hw.xss);
    pv_follow_eoi(v);
    v->pv.waited = tsc_to_ns(task_waited(&v->task)); /* what it waited here before is not told */
    if (v->pv.clock & PV_ON)
        pending |= REQUEST_CLOCK; /* the processor's rate may be another one */
    vcpu_ask(v, REQUEST_TIMER | REQUEST_EVENT | pending);
    return 0;
}

static int load_vcpu(struct vcpu *v, struct state_reader *r)
{
    bool held = vcpu_hold(v);
    int result = load_loaded_vcpu(v, r);

    vcpu_release(v, held);
    return result;
}

void vm_save(struct vm *vm, struct state_writer *w)
{
    /* Before lines and interrupt controllers are saved. */
    while (!bus_idle(board_bus(vm->board), false))
        cpu_pause();
    state_begin(w, "vm", VERSION);
    state_put_u64(w, rdtsc() + board_front(vm->board)->tsc_offset);
    state_put_u32(w, board_lines(vm->board));
    state_put_u32(w, vm->vcpu_count);
    state_put_u64(w, vm->pv.clock_start);
    state_end(w);
    bus_save(board_bus(vm->board), w);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        save_vcpu(vm->vcpu[i], w);
}

int vm_load(struct vm *vm, struct state_reader *r)
{
    uint32_t lines, count;

    if (state_enter(r, "vm", VERSION) < 0)
        goto bad;
    board_front(vm->board)->tsc_offset = state_get_u64(r) - rdtsc();
    lines = state_get_u32(r);
    count = state_get_u32(r);
    vm->pv.clock_start = state_get_u64(r);
    if (state_leave(r) < 0 || count != vm->vcpu_count)
        goto bad;
    int result = bus_load(board_bus(vm->board), r);
    if (result < 0)
        goto bad;
    board_load_lines(vm->board, lines);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        if (load_vcpu(vm->vcpu[i], r) < 0)
            goto bad;
    return 0;
bad:
    vm_reset(vm);
    if (!r->error)
        r->error = "a value of the saved state is out of its range";
    return -EBADMSG;
}
