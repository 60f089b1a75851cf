/*
 * The I/O APIC (82093AA data sheet), 24 pins, version 20h: that is with an EOI register, by which a
 * guest clears a Remote IRR that nobody will complete without the version 11h trick of switching
 * the pin to edge and back. All calls are made with the board's lock held.
 */
#pragma once

#include "guest/board/device.h"
#include "guest/board/apic_message.h"

#define IOAPIC_BASE 0xfec00000ULL
#define IOAPIC_SIZE 0x1000ULL
#define IOAPIC_PINS 24u

struct ioapic {
    struct device device;
    uint64_t entry[IOAPIC_PINS]; /* redirection table; Remote IRR is kept in remote_irr */
    uint32_t asserted;   /* levels of the pins; true is asserted, whatever the polarity bit says */
    uint32_t remote_irr; /* level-triggered pins whose message awaits its EOI */
    /* A page that reads as the I/O APIC does, kept so at every change: reading needs no VM exit.
     * May be NULL. */
    uint32_t *read_page;
    uint8_t select; /* IOREGSEL */
    uint8_t id;
    uint8_t power_on_id;
};

/* --- what an I/O APIC asks of its VM; a mock in unit tests --- */

/* Deliver a message; whether a local APIC accepted it. */
bool ioapic_send(struct ioapic *io, const struct apic_message *m);
/*
 * A redirection entry's vector, trigger mode or mask changed: EOI-exit bitmaps have to be made
 * anew.
 */
void ioapic_changed(struct ioapic *io);

/*
 * Prepare the device (the caller adds it to the bus at IOAPIC_BASE, IOAPIC_SIZE); id 0-15 as in the
 * MADT.
 */
void ioapic_init(struct ioapic *io, struct board *board, uint8_t id);
/* From now on page (4 KiB, zeroed) shows what reads give; NULL ends that. */
void ioapic_set_read_page(struct ioapic *io, void *page);
/* Level of an input pin; pins of 24 and above do not exist. An unchanged level is no event. */
void ioapic_set_irq(struct ioapic *io, unsigned pin, bool level);
/*
 * A local APIC completed a level-triggered vector. A pin that still is asserted sends its message
 * again, once.
 */
void ioapic_eoi(struct ioapic *io, uint8_t vector);
/* Add to bitmap the vectors whose EOI this I/O APIC waits for. */
void ioapic_eoi_bitmap(const struct ioapic *io, uint64_t bitmap[4]);
