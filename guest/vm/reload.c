/* See reload.h. */
#include "guest/vm/reload.h"

#include "arch/x86/apic.h"
#include "arch/x86/smp.h"
#include "guest/cpu/exit.h"
#include "guest/run/run.h"
#include "guest/vm/layers.h"
#include "guest/vm/vm_stream.h"
#include "vmx/cpu.h"

static unsigned every; /* exits between two reloads, on average */

static uint32_t next_random(struct vm *vm)
{
    vm->life->random = vm->life->random * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(vm->life->random >> 33);
}

static void kill(struct vm *vm, const char *why)
{
    bool held = vcpu_hold(vm->vcpu[0]);

    vm_kill(vm->vcpu[0], "the saved state %s", why);
    vcpu_release(vm->vcpu[0], held);
}

static void reload(struct vm *vm)
{
    struct vm_stream s;
    char error[VM_STREAM_ERROR];

    /* What a disk has in flight may wait for somebody at the monitor. */
    if (vm_layers_any(vm) || vm_stream_save(vm, &s) < 0)
        return;
    if (vm_stream_load(vm, &s, error) < 0)
        kill(vm, error);
    vm->life->reloads++;
    vm_stream_free(&s);
}

/* What EPT says is not part of the state: it comes back by itself. Not with virtual-interrupt
 * delivery: where that meets an EPT violation, Bochs names another event than the one it was
 * delivering. */
static void forget_memory(struct vm *vm)
{
    if (vmx_features.vid || next_random(vm) % 4 != 0)
        return;
    run_flush(&vm->tasks);
    rights_forget(&vm->rights);
}

bool vm_reload_parked(struct vm *vm)
{
    if (!vm->life->reloading)
        return false;
    vm->life->reloading = false;
    vm->life->reload_in = 1 + next_random(vm) % (2 * every);
    if (vm->ending.wanted)
        return false;
    /* On one processor that one runs first, perhaps until the next reload: all are to get on. */
    vm->tasks.first = next_random(vm) % vm->vcpu_count;
    run_unload();
    forget_memory(vm);
    reload(vm);
    return true;
}

/* A kick may have to wait until the guest lets interrupts in (arch/x86/smp.c); an NMI does not. */
static void hurry(const struct vcpu *v)
{
    int on = __atomic_load_n(&v->task.on_cpu, __ATOMIC_SEQ_CST);

    if (on >= 0 && (unsigned)on != this_cpu()->number)
        apic_send_nmi(cpu_by_number((unsigned)on)->apic_id);
}

/* This exit: all vCPUs leave their processors, and vm_reload_parked() follows. */
static void reload_test(struct vcpu *v)
{
    struct vm *vm = v->vm;

    if (__atomic_fetch_sub(&vm->life->reload_in, 1, __ATOMIC_RELAXED) > 1)
        return;
    vm->life->reloading = true;
    run_leave(&vm->tasks);
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        hurry(vm->vcpu[i]);
}

void vm_reload_test_init(unsigned exits)
{
    every = exits;
    vcpu_reload_test = exits ? reload_test : NULL;
}
