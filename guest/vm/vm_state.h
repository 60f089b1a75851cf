/* A whole VM but its memory: saved to a stream of sections and brought back, for snapshots,
 * migration and their test. */
#pragma once

#include "guest/vm/vm.h"

/* All vCPUs have left their processors, and nothing is loaded on this one (run_unload()). Measures
 * with w->capacity 0. */
void vm_save(struct vm *vm, struct state_writer *w);
/* 0, or -EBADMSG with a sentence in r->error: the VM is in power-on state then. The guest's clock
 * goes on where it was. */
int vm_load(struct vm *vm, struct state_reader *r) MUST_CHECK;

/* `[host] test_reload`, the test of the two: from now on save, wipe and load everything at random
 * exits of any vCPU, one in `every` on average; 0: never. Before the first VM is made. */
void vm_reload_test_init(unsigned every);
/* Processor 0: the VM's vCPUs have left their processors. Whether they did so for that test, which
 * is over: they may go on. */
bool vm_reload_parked(struct vm *vm) MUST_CHECK;
