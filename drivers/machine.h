/* The machine as a whole: bringing it up, switching it off, restarting it. */
#pragma once

#include "boot/handover.h"
#include "arch/x86/lib/types.h"

/* Called by entry.asm with the loader's hand-over (its direct-map address). */
NORETURN void kernel_start(struct handover *h);

/*
 * The hypervisor proper (guest/main.c). Called on the boot processor's own stack with IF=0,
 * everything below up: log, frames, heap, address space, interrupts, APIC, timer, serial port. h is
 * a copy whose addresses are physical.
 */
NORETURN void corbel_main(struct handover *h);

/* ACPI S5, the PIIX4's own registers, UEFI ResetSystem, Bochs's port, in that order; else halt with
 * a message. */
NORETURN void machine_poweroff(void);
/* ACPI reset register, UEFI ResetSystem, port cf9h, keyboard controller, triple fault. */
NORETURN void machine_reset(void);

/* Keep what switching off needs of the hand-over and the ACPI tables. */
void power_init(const struct handover *h);
/* The ACPI PM timer's port, or 0. */
uint16_t power_pm_timer(void);
