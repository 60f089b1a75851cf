/* What a board is made of: for this folder. */
#pragma once

#include "arch/x86/spinlock.h"
#include "guest/board/board.h"
#include "guest/board/ioapic.h"
#include "guest/board/pic.h"
#include "mm/guest_memory.h"

struct board {
    struct board_front front; /* must be first: board_front() casts */
    const struct board_cpus *cpus;
    void *owner; /* for what is asked of cpus */
    struct guest_memory *memory;
    struct device otherwise; /* what is where no device is */
    struct lapic *lapic[BOARD_CPUS];
    unsigned cpu_count;

    /* Over the chips that interrupts go through, what is wired to them without a lock of its own
     * (DEVICE_CHIPS), and what follows. */
    struct spinlock lock;
    struct pic pic;
    struct ioapic ioapic;
    uint32_t irq_lines; /* levels of device_irq(); atomic */
};
