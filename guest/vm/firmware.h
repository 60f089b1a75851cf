/* What a VM's firmware is told of its machine, by its firmware configuration device. */
#pragma once

struct vm;

/* Get all of it ready, as the VM is now. Its vCPUs are away. 0 or -ENOMEM. What it is made of is
 * vm->life->firmware's, which is the heap's. */
int firmware_tell(struct vm *vm);
