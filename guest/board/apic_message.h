/*
 * An interrupt message as it travels from I/O APIC, MSI or local APIC to local APICs
 * (SDM volume 3, "Interrupt Command Register (ICR)" and "Message Signalled Interrupts").
 */
#pragma once

#include "arch/x86/lib/types.h"

enum apic_mode {
    APIC_FIXED,
    APIC_LOWEST_PRIORITY,
    APIC_SMI,
    APIC_RESERVED_MODE,
    APIC_NMI,
    APIC_INIT,
    APIC_STARTUP,
    APIC_EXTINT,
};

enum apic_shorthand { APIC_NO_SHORTHAND, APIC_SELF, APIC_ALL, APIC_ALL_BUT_SELF };

#define APIC_BROADCAST 0xffffffffu /* the x2APIC broadcast destination, physical and logical */

struct apic_message {
    uint32_t
        dest; /* APIC id, or a logical destination; APIC_BROADCAST for an I/O APIC's or MSI's ffh */
    uint8_t vector;    /* of APIC_STARTUP: the page number of the first instruction */
    uint8_t mode;      /* enum apic_mode */
    uint8_t shorthand; /* enum apic_shorthand; only local APICs send one */
    bool logical;
    bool level; /* level-triggered: its EOI is told to the I/O APIC */
};

/* What a write of data to that address sends (SDM, "Message Signalled Interrupts"); false: it is no
 * message, but a write to memory, or the end of a level, which nobody hears. */
bool apic_message_of_msi(struct apic_message *m, uint64_t address, uint32_t data);
