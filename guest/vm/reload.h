/* `[host] test_reload`: the test of vm_stream.h, at random exits of every VM. */
#pragma once

#include "guest/vm/vm.h"

/* From now on save, wipe and load everything at random exits of any vCPU, one in `every` on
 * average; 0: never. Before the first VM is made. */
void vm_reload_test_init(unsigned every);
/* Processor 0: the VM's vCPUs have left their processors. Whether they did so for that test, which
 * is over: they may go on. */
bool vm_reload_parked(struct vm *vm) MUST_CHECK;
