/*
 * A VM's board: its bus, the interrupt controllers, one clock, and the answers to what devices and
 * local APICs ask (guest/board/device.h, lapic.h). It knows no vCPU and no VM: what it needs of
 * them it asks by struct board_cpus, which is handed down when it is made. What it is made of is
 * board_internal.h's, for this folder.
 */
#pragma once

#include "guest/board/device.h"
#include "guest/board/lapic.h"

#define BOARD_CPUS 64

struct guest_memory;

/* What a board asks of its owner, who has given it a pointer for that. */
struct board_cpus {
    /* The board's next timer has changed; earlier: it comes before the one that was next. With a
     * device's lock held, from any processor. */
    void (*timers)(void *owner, bool earlier);
    /* Something may be deliverable by that local APIC. From any processor. */
    void (*notify)(struct lapic *l);
    /* SMI, NMI, INIT, start-up or ExtINT; see lapic_event(). */
    void (*event)(struct lapic *l, enum apic_mode mode, uint8_t vector);
    /* See lapic_mode_changed(). */
    void (*mode)(struct lapic *l);
    /* The I/O APIC's level-triggered vectors have changed: which EOIs it is to hear of. */
    void (*eoi)(void *owner);
    /* Something else stands in that range of guest-physical memory. With the bus's lock held. */
    void (*memory)(void *owner, uint64_t gpa, uint64_t size);
    /* The guest gives a page back, or 2 MiB: as device_memory_give(); and device_memory_given().
     * With a device's lock held. */
    int (*give)(void *owner, uint64_t gpa, uint64_t size);
    void (*given)(void *owner);
    /* End or restart the VM once the running instruction has completed. */
    void (*request)(void *owner, enum vm_request request, const char *why);
};

/*
 * What VM exits look at: a board begins with it. They do that inline, because calls, and pointers
 * to the parts, would cost each of them instructions. The bus comes first, so that a pointer to the
 * board is one to the bus.
 */
struct board_front {
    struct bus bus;
    uint64_t tsc_offset; /* its clock: the host's TSC + offset; devices count by it */
    /* The owner's: which of the processors leaves its guest for the devices' timers; atomic. */
    void *timekeeper;
};

static inline struct board_front *board_front(struct board *board)
{
    return (struct board_front *)board;
}

static inline struct bus *board_bus(struct board *board)
{
    return &board_front(board)->bus;
}

/*
 * An empty one, with its 8259s and its I/O APIC (whose registers read as read_page shows, a page
 * that is mapped read-only for the guest); its clock begins at 0. memory stays in place. 0,
 * -ENOMEM, or another error of bus_add_*().
 */
int board_create(struct board **out, const struct board_cpus *cpus, void *owner,
                 struct guest_memory *memory, void *read_page) MUST_CHECK;
/* Whatever was on it has gone before. */
void board_destroy(struct board *board);
/* Its next processor's local APIC, which has been initialised. At most BOARD_CPUS. */
void board_add_cpu(struct board *board, struct lapic *l);
/* Power-on state for every device on it. Its vCPUs are away. */
void board_reset(struct board *board);
/* The levels of device_irq(), a bit for each line, which are saved beside what devices are; loaded
 * while its vCPUs are away. */
uint32_t board_lines(const struct board *board);
void board_load_lines(struct board *board, uint32_t lines);
/* The 8259s' INTR has reached the processor of l, which answers: the vector, or -1 when another one
 * has been quicker, and INTR is low again. */
int board_acknowledge(struct board *board, struct lapic *l);
/* Add to bitmap the vectors whose EOI the I/O APIC waits for. */
void board_eoi_bitmap(struct board *board, uint64_t bitmap[4]);

/* Who is told of interrupt lines, on all boards; NULL: nobody. With the board's lock held. */
typedef void (*board_observer)(void *owner, unsigned gsi, bool level);
void board_set_observer(board_observer observer);
