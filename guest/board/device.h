/*
 * What a virtual device sees of the world (the third seam of docs/ARCHITECTURE.md): its VM's
 * handle, interrupt lines, one clock, timers, checked copies of guest memory, and the ranges it
 * registers. Nothing else.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "arch/x86/spinlock.h"
#include "guest/board/state.h"
#include "mm/guest_memory.h"

struct board; /* opaque to devices */
struct device;

#define DEVICE_TIMERS 2          /* timers a device may have */
#define TIMER_OFF     UINT64_MAX /* a deadline that never comes */

/*
 * Each device has a lock, which the bus holds around all functions below: a device is run by one
 * processor at a time, and two devices by two. Whoever calls a device in another way, as when
 * input has come for it, takes it by device_lock(). A device may take what has a higher rank, thus
 * drive lines, set timers and move its ranges.
 */
enum device_lock_kind {
    DEVICE_OWN,   /* its own; it calls no other device */
    DEVICE_CHIPS, /* the interrupt controllers and what is wired to them: one lock for all */
    DEVICE_OUTER, /* its own, and it may take that of a device of the first kind: PCI */
};

struct device_ops {
    const char *name; /* also its section's name in saved state, at most 15 characters */
    uint16_t version; /* of its section in saved state */
    /* The widest port access it takes; the bus splits wider ones as the ISA bus would. 0: any. */
    uint8_t port_width;
    uint8_t lock; /* enum device_lock_kind */
    /*
     * A port access: port is absolute, size 1, 2 or 4. A read returns the value in its low bits.
     * Accesses that no single device covers wholly are split into bytes by the bus; what nobody
     * claims reads all ones.
     */
    uint32_t (*port_read)(struct device *d, uint16_t port, unsigned size);
    void (*port_write)(struct device *d, uint16_t port, unsigned size, uint32_t value);
    /* A memory access within the device's range: offset from its start, size 1, 2, 4 or 8; 3, 5, 6
     * and 7, too, as parts of an instruction's access that goes over a page's end. */
    uint64_t (*mmio_read)(struct device *d, uint64_t offset, unsigned size);
    void (*mmio_write)(struct device *d, uint64_t offset, unsigned size, uint64_t value);
    /* Timer number `timer` reached its deadline; it is off now and may be set again. now is in
     * guest TSC ticks. */
    void (*timer)(struct device *d, unsigned timer, uint64_t now);
    /*
     * NULL, or: whether nothing is under way that goes on without the guest's processors, as DMA
     * does. It looks after that meanwhile: asked again and again it comes to a yes. over: a reset
     * follows, so nothing of it is wanted any more, and nothing new begins.
     */
    bool (*idle)(struct device *d, bool over);
    /* Power-on state. Timers and interrupt lines have been cleared by the caller. */
    void (*reset)(struct device *d);
    /*
     * Write or read everything that the guest could tell apart. bus_save() and bus_load() open and
     * close the section and keep the deadlines; levels of interrupt lines are the interrupt
     * controllers' state, so load drives none. load checks every value it takes (a stream is
     * hostile) and returns 0 or -EBADMSG.
     */
    void (*save)(struct device *d, struct state_writer *w);
    int (*load)(struct device *d, struct state_reader *r);
};

struct device {
    const struct device_ops *ops;
    struct board *board;
    struct spinlock *lock;            /* bus_add_device() chooses: */
    struct spinlock own;              /* this one, or that of the board's chips */
    uint64_t deadline[DEVICE_TIMERS]; /* owned by device_timer_set(); atomic */
};

/* Run the device from outside of the bus, as when its host side has something for it. */
void device_lock(struct device *d);
/* The same without waiting; false: somebody runs it. Whatever locks are held. */
bool device_trylock(struct device *d);
void device_unlock(struct device *d);

/* --- what a device may ask of its VM; guest/board/board.c answers in the microkernel, a mock in
 * unit tests --- */

/* Set interrupt line gsi (0-23; 0-15 are also the 8259s' inputs) of the VM. A level that stands
 * already is no event. A line is one device's, or is driven under one lock. */
void device_irq(struct device *d, unsigned gsi, bool level);
/* A message-signalled interrupt, as the guest has written it into the device: straight to the local
 * APICs that it addresses, past the interrupt controllers and their lock. Whether one took it. */
bool device_msi(struct device *d, uint64_t address, uint32_t data);
/* The guest's TSC now, and its frequency in Hz. All deadlines are in these ticks. */
uint64_t device_now(struct device *d);
uint64_t device_tsc_hz(struct device *d);
/* Call ops->timer(d, timer, now) at the first moment at or after deadline; TIMER_OFF stops it. */
void device_timer_set(struct device *d, unsigned timer, uint64_t deadline);
/* As soon as may be, from any processor and without the device's lock: for a timer that the device
 * itself sets no other way. */
void device_timer_soon(struct device *d, unsigned timer);
/* Copy from or to guest-physical memory: 0, or -EFAULT with nothing copied when any byte is no
 * memory, or to be written and read-only. Who writes: -ENOMEM, no memory is left for all of it. */
int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size) MUST_CHECK;
int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size) MUST_CHECK;
/* To RAM, whatever lies over it: for who traps writes to it. -EFAULT when it is not all RAM. */
int device_ram_write(struct device *d, uint64_t gpa, const void *data, size_t size) MUST_CHECK;
/* One aligned load or store of 2, 4 or 8 bytes, atomic against what the guest does. -EFAULT also
 * when unaligned. */
int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value) MUST_CHECK;
int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value) MUST_CHECK;
/*
 * For hardware that reads or, with write, writes guest memory by itself (DMA): where in host memory
 * that from gpa on is, as far as it is one piece and at most size bytes. It is pinned until
 * device_memory_unpin() with the same address and length. -EFAULT: no memory, or to be written and
 * read-only; -EAGAIN: pinned as often as can be, some other request has to come back first.
 */
int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, bool write, paddr *address,
                      uint64_t *length) MUST_CHECK;
void device_memory_unpin(struct device *d, paddr address, uint64_t length);
/*
 * The guest gives the page of RAM at gpa back: its frame is Corbel's, a while after
 * device_memory_given(), which follows the last one of several. 0; or nothing has changed: -EFAULT,
 * it is no RAM; -ENOENT, it has been given before; -EBUSY, hardware or somebody who looks on uses
 * it; -ENOMEM, no memory to note it; -EAGAIN, later, when those before have gone. By one device of
 * a board.
 */
int device_memory_give(struct device *d, uint64_t gpa) MUST_CHECK;
void device_memory_given(struct device *d);
/* The same of the 2 MiB at gpa, which are as if nobody had touched them then. -EINVAL: these cannot
 * be given as one. */
#define DEVICE_BLOCK GUEST_CHUNK
int device_memory_give_block(struct device *d, uint64_t gpa) MUST_CHECK;
/* How much has been given so far whose frames are still in some processor's hands, 0: nothing; and
 * whether that is over. */
uint64_t device_memory_leaving(struct device *d);
bool device_memory_settled(struct device *d, uint64_t leaving);
/* The page at gpa has a frame again, a zeroed one if it had none. -EFAULT: it is no RAM; -ENOMEM:
 * no frame is left. */
int device_memory_back(struct device *d, uint64_t gpa) MUST_CHECK;
/* End or restart the VM once the running instruction has completed. */
enum vm_request { VM_REQUEST_POWEROFF, VM_REQUEST_RESET };
void device_vm_request(struct device *d, enum vm_request request, const char *why);

/* Seconds and microseconds since 1970-01-01 UTC by the VM's wall clock. */
void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds);

/*
 * --- the bus: who owns which port and which guest-physical range ---
 *
 * Ranges come, move and go while the VM runs, and may lie over one another: where several are,
 * that of the highest priority answers, and among equals the one that was added first. What a
 * device is asked for may come from a moment before its range moved: it answers for any port, and
 * for any offset below the size of a range of its own.
 *
 * Look-ups race with changes, and neither waits for the other:
 *   - Ports: each has a byte that says whose it is, in pages that are never freed while the bus is
 *     there. A change stores the bytes that become others; an access loads one for each port that
 *     it touches.
 *   - Memory: a list of pieces that do not overlap, which is read and changed with the bus's lock
 *     held. Each vCPU keeps a copy of the piece that it has found last (struct bus_view). A change
 *     counts `changes` up before it lets the lock go, and no copy with another count is used any
 *     more. So nothing that is looked at without the lock is ever freed or half changed.
 *   - Devices: who goes leaves a place to the device that answers for nobody. Whoever has found it
 *     just before may ask it still: it is destroyed when all processors have been elsewhere since.
 *
 * A range of memory may show memory instead of calling its device: ROM and frame buffers are frames
 * of the device's, PAM and SMRAM are RAM of the VM's, at its own place or at another. The guest
 * reads, executes and, where it is writable, writes that without exits. Writes where it is not
 * writable are mmio_write's, which may drop them, or carry them out (device_ram_write()): thus ROM
 * and RAM that traps writes are the same. Everything that looks at guest memory - DMA, page walks,
 * the instructions that are emulated, debugger and monitor - sees what the guest sees; none of them
 * can write what the guest cannot. Below BUS_OVER a range does not show where there is RAM, whether
 * it shows memory or calls.
 *
 * When a range comes, moves, goes or shows something else, copies of guest memory follow at once.
 * Processors follow before the vCPU whose access was the cause executes another instruction (when
 * it was no vCPU's access, vCPU 0): all of them have left the guest and forgotten by then. Another
 * vCPU that asks the device meanwhile, or is interrupted by it, has forgotten before it goes on. So
 * no vCPU that could know of the change sees what was before; one that runs meanwhile is as if it
 * had been a little earlier. (Only a device that writes of it into the VM's RAM could tell one that
 * looks there too early.) Memory shows in whole pages; of a page that two ranges share, the one
 * that calls its device is asked for its part, and the other one by its functions, too. What is
 * over RAM (BUS_OVER) lies there in whole pages, whatever it shows.
 */

#define BUS_DEVICES 48
#define BUS_RANGES  96

enum bus_space { BUS_PORTS, BUS_MEMORY };

enum bus_priority {
    BUS_MOVABLE, /* where a guest puts them, as the BARs of PCI */
    BUS_FIXED,   /* what a board has in its place */
    BUS_OVER,    /* over what is fixed, and over RAM; more is over that */
};

enum bus_shows {
    BUS_CALLS,  /* accesses call the device */
    BUS_FRAMES, /* frames of the device's, contiguous, which it keeps until it is destroyed: no vCPU
                   runs then, and nothing of them is pinned */
    BUS_RAM,    /* RAM of the VM's */
};

/* A range of a device's, in memory that stays while the bus does. Its owner fills in what comes
 * first. */
struct bus_range {
    struct device *device;
    uint64_t size;
    uint8_t space;    /* enum bus_space */
    uint8_t priority; /* enum bus_priority */
    bool bytes_only;  /* ports that are there for accesses of one byte only: CF9h beside CF8h */
    uint8_t shows;    /* enum bus_shows; bus_show() */
    bool writable;    /* what it shows */
    uint64_t from;    /* its address: a frame's, or a gpa */

    uint64_t base; /* bus_place() */
    bool placed;
    struct bus_range *next; /* of those that the bus has made itself */
};

/* Indices into bus->devices, atomic: whose a port is for a byte, and for what is wider. */
struct bus_port_page {
    uint8_t owner[256], wide_owner[256];
};

/* What is seen of a range at one place: all of it, or what others leave of it. */
struct bus_piece {
    uint64_t base, size;
    uint64_t range_base; /* of which the device's offsets count */
    struct device *device;
    const struct bus_range *range; /* with the bus's lock held */
};

/* The piece that somebody has found last; all zero at first. */
struct bus_view {
    uint64_t changes; /* of the bus when it was found: 0 never is */
    struct bus_piece piece;
};

struct bus {
    struct bus_port_page *port_page[256]; /* by port >> 8; atomic */
    struct device
        *devices[BUS_DEVICES];         /* index 0 is nobody, as are places that were left; atomic */
    unsigned device_count;             /* including nobody */
    struct device *timed[BUS_DEVICES]; /* those of them that have timers; atomic */
    unsigned timed_count;
    uint64_t changes;       /* of piece, and one; atomic */
    struct spinlock *chips; /* of DEVICE_CHIPS; NULL: they have their own, too */
    struct device nobody; /* device 0: answers for every port that has no owner, and for memory that
                             bus_add_mmio() gives it */

    struct spinlock timer_lock; /* over changes of all deadlines */
    uint64_t next_deadline;     /* earliest of all devices' timers; atomic */

    struct spinlock lock;                /* over what follows, and all changes of ranges */
    struct bus_range *range[BUS_RANGES]; /* highest priority first */
    unsigned range_count;
    struct bus_range *fixed; /* those that bus_add_ports() and bus_add_mmio() have made */
    struct bus_piece *piece; /* sorted by base; there is room for those of room_for ranges */
    unsigned piece_count, room_for;
    struct guest_memory_layer *layer; /* what memory shows: NULL before any may; for: */
    /* NULL, or the board's: they are to stand in guest memory, where there is room for them before.
     * As the functions of guest memory; and where something else stands now. With the bus's lock
     * held. */
    int (*make_room)(struct bus *bus);
    bool (*set_layers)(struct bus *bus, const struct guest_memory_layer *layers, unsigned count);
    void (*memory_changed)(struct bus *bus, uint64_t gpa, uint64_t size);
    /* NULL, or the board's, not on the bus: asked for any gpa, its offset, where no device is. What
     * was one's when the access was made may be memory now. */
    struct device *otherwise;
};

void bus_init(struct bus *bus);
void bus_destroy(struct bus *bus); /* frees what it has allocated */
/* Add a device (its ops and board set; timers are switched off) with any number of ranges. -ENOSPC,
 * -EEXIST, -EINVAL without the functions that all need. */
int bus_add_device(struct bus *bus, struct device *d) MUST_CHECK;
/* Take it off, with all its ranges and timers, while others look things up. With its lock held, or
 * nobody else has ever known it; not both this and bus_add_device() at a time. It may be asked
 * still until all processors have left what they are doing; no device may be added before that. */
void bus_remove_device(struct bus *bus, struct device *d);

/* A range that stays where it is. -EEXIST where another such is; -ENOSPC, -ENOMEM; -EINVAL: empty
 * or wrapping, or its device is not on the bus or lacks the functions for it. */
int bus_add_ports(struct bus *bus, struct device *d, uint16_t base, unsigned count) MUST_CHECK;
int bus_add_mmio(struct bus *bus, struct device *d, uint64_t base, uint64_t size) MUST_CHECK;

/* Make a range known that is placed later, and maybe elsewhere then. -ENOSPC, -ENOMEM; -EINVAL as
 * above. */
int bus_add_range(struct bus *bus, struct bus_range *r) MUST_CHECK;
/*
 * From now on it is at base, whether it was anywhere before or not. With its device's lock held or
 * none, on any processor. -EINVAL: that wraps, goes past port FFFFh, or memory would show, or RAM
 * be hidden, that is not page aligned, and now it is nowhere; -ENOMEM: some of its ports are
 * nobody's.
 */
int bus_place(struct bus *bus, struct bus_range *r, uint64_t base) MUST_CHECK;
/* From now on it shows that, wherever it is, or will be: as bus_place(). from: see struct
 * bus_range. -EINVAL: it would not be page aligned; -ENOMEM, never when it showed memory, or could
 * hide RAM, when it was added: it shows what it did. */
int bus_show(struct bus *bus, struct bus_range *r, enum bus_shows shows, uint64_t from,
             bool writable) MUST_CHECK;
/* It is nowhere. */
void bus_withdraw(struct bus *bus, struct bus_range *r);

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size);
void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value);

/* Whether gpa lies in a piece that was found before and still is what it was: a quick yes, or no
 * answer. */
static inline bool bus_view_covers(const struct bus *bus, const struct bus_view *v, uint64_t gpa)
{
    return gpa - v->piece.base < v->piece.size &&
           v->changes == __atomic_load_n(&bus->changes, __ATOMIC_RELAXED);
}

/* Whether gpa belongs to a device, or to what is there otherwise. An access that leaves the piece
 * reads ones and drops writes. */
bool bus_mmio_read(struct bus *bus, struct bus_view *v, uint64_t gpa, unsigned size,
                   uint64_t *value);
bool bus_mmio_write(struct bus *bus, struct bus_view *v, uint64_t gpa, unsigned size,
                    uint64_t value);

/* Whether no device has anything under way: see device_ops.idle. No vCPU runs. */
bool bus_idle(struct bus *bus, bool over);
/* Timers off, then every device's reset. The caller has lowered all interrupt lines, no vCPU runs
 * and bus_idle() has said yes; the same holds for save and load. */
void bus_reset(struct bus *bus);
void bus_save(struct bus *bus, struct state_writer *w);
int bus_load(struct bus *bus, struct state_reader *r) MUST_CHECK;
/* What device_timer_set() does to a device on this bus: d->deadline[timer] and next_deadline,
 * exactly; what became of the latter. With the device's lock held, or as device_timer_soon(). */
enum bus_timer_change { BUS_TIMER_SAME, BUS_TIMER_EARLIER, BUS_TIMER_LATER };
enum bus_timer_change bus_timer_set(struct bus *bus, struct device *d, unsigned timer,
                                    uint64_t deadline);
/* Run every timer whose deadline is at or before now. On any processor. */
void bus_run_timers(struct bus *bus, uint64_t now);
