/* A VM's RAM is as if nobody had touched it, a piece at a time: see vm.h. */
#include "arch/x86/cpu.h"
#include "guest/vm/vm.h"

/*
 * First EPT forgets it, whose tables are promised, too. That each time anew: between two pieces
 * somebody may have changed reasons, and so have had EPT map what is still there. No processor runs
 * the VM: none walks there.
 */
bool vm_clear_some(struct vm *vm, uint64_t until)
{
    uint64_t start = rdtsc();
    bool more;

    if (guest_memory_there(&vm->memory))
        rights_forget(&vm->rights);
    do {
        more = guest_memory_clear_some(&vm->memory, &vm->life->cleared);
    } while (more && rdtsc() < until);
    vm->life->clear_ticks += rdtsc() - start;
    return more;
}
