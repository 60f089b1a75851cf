/* A VM's console: its serial port, as whoever is at the other end of the line sees it. */
#pragma once

#include "arch/x86/lib/types.h"

struct vm;

/* Whether it takes a byte that is typed now. */
bool vm_console_takes(const struct vm *vm);
/* A byte is typed; where the VM takes none it is lost. */
void vm_console_type(struct vm *vm, uint8_t byte);
/* The other end has refused a byte of the VM's and may take it now. With no device's lock. */
void vm_console_retry(struct vm *vm);
