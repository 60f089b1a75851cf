/* See guest/cpu/vm.h. */
#include "arch/x86/smp.h"
#include "guest/cpu/vcpu.h"
#include "guest/run/run.h"

static void pass(void *arg)
{
}

/* Whoever has found out before where a page is, on whatever processor, is done with it. */
static void everybody_passes(void)
{
    for (unsigned i = 0; i < smp_cpus; i++)
        cpu_call(i, pass, NULL);
}

void vm_settle_rights(struct vm *vm)
{
    paddr retired = rights_retired(&vm->rights);
    uint64_t leaving = guest_memory_leaving(&vm->memory);

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_notify(vm->vcpu[i], REQUEST_VIEW | REQUEST_RESCHEDULE);
    run_synchronize(&vm->tasks);
    rights_reap(&vm->rights, retired);
    if (leaving) {
        everybody_passes();
        guest_memory_let_go(&vm->memory, leaving);
    }
}
