/*
 * The serial port shared by the attached guest and Corbel itself: the guest's bytes pass unchanged,
 * and Corbel's lines wait until the guest's line is finished.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct vm;

void console_mux_init(void);
/* Connect the serial port to that VM's UART; NULL to nobody (input is dropped). Ends an unfinished
 * guest line. */
void console_attach(struct vm *vm);
/* A byte from the VM's UART (context is the VM): whether it was taken. An unattached VM's output is
 * dropped. */
bool console_put(void *context, uint8_t byte);
/* Move input to the guest and let its output go on; called with interrupts off whenever there may
 * be some. */
void console_pump(void);
