/* See guest/cpu/vm.h. */
#include "guest/cpu/vcpu.h"
#include "guest/run/run.h"

void vm_settle_rights(struct vm *vm)
{
    paddr retired = rights_retired(&vm->rights);

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_notify(vm->vcpu[i], REQUEST_VIEW | REQUEST_RESCHEDULE);
    run_synchronize(&vm->tasks);
    rights_reap(&vm->rights, retired);
}
