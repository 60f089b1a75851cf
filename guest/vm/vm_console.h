/* A VM's consoles, as whoever is at the other end of the line sees them: its serial port, and the
 * ports of virtio-console that its config gives it. */
#pragma once

#include "arch/x86/lib/types.h"

struct vm;

#define VM_SERIAL (-1) /* in place of a port's number */

/* Whether it takes a byte that is typed now. */
bool vm_console_takes(const struct vm *vm, int port);
/* A byte is typed; where the VM takes none it is lost. */
void vm_console_type(struct vm *vm, int port, uint8_t byte);
/* The other end has refused a byte of the VM's and may take it now. With no device's lock. */
void vm_console_retry(struct vm *vm);

/* What the guest has made of a port. */
struct vm_port {
    bool there, open; /* its driver uses it; somebody in the guest has it open */
    unsigned typed;   /* bytes that the guest has not read */
    uint64_t dropped; /* bytes that were typed for nobody */
};
void vm_port_look(const struct vm *vm, unsigned port, struct vm_port *out);
/* The terminal of port 0 has so many columns and rows. */
void vm_console_resize(struct vm *vm, uint16_t columns, uint16_t rows);
