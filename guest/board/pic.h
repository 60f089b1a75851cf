/* The two cascaded 8259A interrupt controllers of a PC, with the chipset's edge/level registers
 * (8259A data sheet). */
#pragma once

#include "guest/board/device.h"

struct pic_chip {
    uint8_t lines; /* levels of the eight inputs */
    uint8_t irr, imr, isr;
    uint8_t elcr;
    uint8_t base;     /* ICW2: vector of IR0 */
    uint8_t icw3;     /* kept for the state only: the wiring is fixed */
    uint8_t lowest;   /* the input of lowest priority: 7 unless rotated */
    uint8_t next_icw; /* 0 when initialised, else the number of the ICW that comes next (2-4) */
    bool icw4_needed, single, level_triggered;
    bool auto_eoi, rotate_on_auto_eoi, special_mask,
        fully_nested; /* fully_nested: the special mode of ICW4 */
    bool read_isr, poll;
};

struct pic {
    struct device dev;
    struct pic_chip chip[2]; /* master, slave */
    bool output;
    void (*intr)(void *context, bool level);
    void *context;
};

/*
 * intr, which may be NULL, hears of every change of the INTR line (to a local APIC's LINT0), and of
 * its level after a reset or a load.
 */
void pic_init(struct pic *p, struct board *board, void (*intr)(void *context, bool level),
              void *context);
int pic_attach(struct pic *p, struct bus *bus) MUST_CHECK;

/* Level of input irq (0-15; 2 is the cascade and ignored). */
void pic_set_irq(struct pic *p, unsigned irq, bool level);
/* The INTR line. */
static inline bool pic_output(const struct pic *p)
{
    return p->output;
}
/* The two INTA cycles: the vector, 0-255. Without a pending request that is IR7's, as the hardware
 * has it (spurious). */
int pic_acknowledge(struct pic *p);
