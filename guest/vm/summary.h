/* What a VM did, on one screen, when it has ended. */
#pragma once

struct vm;

void vm_print_summary(struct vm *vm);
