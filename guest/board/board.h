/*
 * A VM's board: its bus, the interrupt controllers, one clock, and the answers to what devices and
 * local APICs ask (guest/board/device.h, lapic.h). It knows no vCPU and no VM: what it needs of
 * them it asks by struct board_cpus, which is handed down when it is made.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "guest/board/device.h"
#include "guest/board/ioapic.h"
#include "guest/board/lapic.h"
#include "guest/board/pic.h"
#include "mm/guest_memory.h"

#define BOARD_CPUS 64

struct board_cpus {
    /* The board's next timer has changed; earlier: it comes before the one that was next. With a
     * device's lock held, from any processor. */
    void (*timers)(struct board *board, bool earlier);
    /* Something may be deliverable by that local APIC. From any processor. */
    void (*notify)(struct lapic *l);
    /* SMI, NMI, INIT, start-up or ExtINT; see lapic_event(). */
    void (*event)(struct lapic *l, enum apic_mode mode, uint8_t vector);
    /* See lapic_mode_changed(). */
    void (*mode)(struct lapic *l);
    /* The I/O APIC's level-triggered vectors have changed: which EOIs it is to hear of. */
    void (*eoi)(struct board *board);
    /* Something else stands in that range of guest-physical memory. With the bus's lock held. */
    void (*memory)(struct board *board, uint64_t gpa, uint64_t size);
    /* End or restart the VM once the running instruction has completed. */
    void (*request)(struct board *board, enum vm_request request, const char *why);
};

struct board {
    const struct board_cpus *cpus;
    struct guest_memory *memory;
    struct lapic *lapic[BOARD_CPUS];
    unsigned cpu_count;
    uint64_t tsc_offset; /* its clock: the host's TSC + offset; devices count by it */

    struct bus bus;

    /* Over the chips that interrupts go through, what is wired to them without a lock of its own
     * (DEVICE_CHIPS), and what follows. */
    struct spinlock lock;
    struct pic pic;
    struct ioapic ioapic;
    uint32_t irq_lines; /* levels of device_irq(); atomic */
};

/*
 * Empty, with its 8259s and its I/O APIC (whose registers read as read_page shows, a page that is
 * mapped read-only for the guest). memory stays in place. 0, or an error of bus_add_*().
 */
int board_init(struct board *board, const struct board_cpus *cpus, struct guest_memory *memory,
               void *read_page) MUST_CHECK;
/* Free what the bus holds. */
void board_destroy(struct board *board);
/* Its next processor's local APIC, which has been initialised. At most BOARD_CPUS. */
void board_add_cpu(struct board *board, struct lapic *l);
/* Power-on state for every device on it. Its vCPUs are away. */
void board_reset(struct board *board);
/* The 8259s' INTR has reached the processor of l, which answers: the vector, or -1 when another one
 * has been quicker, and INTR is low again. */
int board_acknowledge(struct board *board, struct lapic *l);
/* Add to bitmap the vectors whose EOI the I/O APIC waits for. */
void board_eoi_bitmap(struct board *board, uint64_t bitmap[4]);

/* Who is told of interrupt lines, on all boards; NULL: nobody. With the board's lock held. */
typedef void (*board_observer)(const struct board *board, unsigned gsi, bool level);
void board_set_observer(board_observer observer);
