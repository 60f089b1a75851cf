/* A whole VM but its memory: saved as sections and brought back. vm_stream.h makes a stream of
 * them.
 */
#pragma once

#include "guest/vm/vm.h"

/* All vCPUs have left their processors, and nothing is loaded on this one (run_unload()). Measures
 * with w->capacity 0. */
void vm_save(struct vm *vm, struct state_writer *w);
/* 0, or -EBADMSG with a sentence in r->error: the VM is in power-on state then. The guest's clock
 * goes on where it was. */
int vm_load(struct vm *vm, struct state_reader *r) MUST_CHECK;
