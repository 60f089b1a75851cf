/* The local APIC of the host (SDM, "Advanced Programmable Interrupt Controller"): x2APIC where the
 * CPU has it. */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * Decide the mode, once. map turns the xAPIC's page into an address (uncached); it is only called
 * without x2APIC. Returns 0 or -ENODEV.
 */
int apic_init(void *(*map)(uint64_t physical));
/* Enable the calling CPU's APIC, all local vectors masked. tsc_init() must have run. */
void apic_enable(void);
bool apic_is_x2apic(void);
uint32_t apic_id(void);
void apic_eoi(void);
bool apic_in_service(unsigned vector);

/* One VECTOR_TIMER interrupt at the first moment at or after the TSC value deadline; replaces an
 * earlier one. */
void apic_timer_set(uint64_t deadline);
void apic_timer_stop(void);
bool apic_timer_is_deadline(void);

/* Interprocessor interrupts. page is the physical address >> 12 where a processor starts (below 1
 * MiB). */
void apic_send_fixed(uint32_t apic_id, unsigned vector);
void apic_send_nmi(uint32_t apic_id);
void apic_send_init(uint32_t apic_id);
void apic_send_sipi(uint32_t apic_id, uint8_t page);

/* Mask the 8259s for good and move their vectors out of the exceptions' way. */
void pic_disable(void);
