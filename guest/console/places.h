/*
 * Which consoles there are, by number: the VMs' serial ports, as the VMs are numbered, and then the
 * other ports that their config gives them.
 */
#pragma once

#include "guest/config/config.h"
#include "guest/vm/vm_console.h"

#define PLACE_NAME (CONFIG_MAX_NAME + 8) /* a VM's name and a port's number */

/* Once the VMs are known: how many consoles there are. Without memory the serial ports alone. */
unsigned places_make(void);
/* Whose console number id is, and which one of its consoles: a port's number or VM_SERIAL. */
unsigned place_vm(unsigned id);
int place_port(unsigned id);
/* The number of one of a VM's consoles; of its serial port where there was no memory for others. */
unsigned place_number(unsigned vm, int port);
/* "debian", or "debian.1"; returns name. */
const char *place_name(unsigned id, char name[PLACE_NAME]);
