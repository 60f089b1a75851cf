/*
 * What a virtual device sees of the world (the third seam of docs/ARCHITECTURE.md): its VM's
 * handle, interrupt lines, one clock, timers, checked copies of guest memory, and the ranges it
 * registers. Nothing else.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/board/state.h"
#include "mm/frame.h"

struct board; /* opaque to devices */
struct device;

#define DEVICE_TIMERS 2          /* timers a device may have */
#define TIMER_OFF     UINT64_MAX /* a deadline that never comes */

struct device_ops {
    const char *name; /* also its section's name in saved state, at most 15 characters */
    uint16_t version; /* of its section in saved state */
    /* The widest port access it takes; the bus splits wider ones as the ISA bus would. 0: any. */
    uint8_t port_width;
    /*
     * A port access: port is absolute, size 1, 2 or 4. A read returns the value in its low bits.
     * Accesses that no single device covers wholly are split into bytes by the bus; what nobody
     * claims reads all ones.
     */
    uint32_t (*port_read)(struct device *d, uint16_t port, unsigned size);
    void (*port_write)(struct device *d, uint16_t port, unsigned size, uint32_t value);
    /* A memory access within the device's range: offset from its start, size 1, 2, 4 or 8. */
    uint64_t (*mmio_read)(struct device *d, uint64_t offset, unsigned size);
    void (*mmio_write)(struct device *d, uint64_t offset, unsigned size, uint64_t value);
    /* Timer number `timer` reached its deadline; it is off now and may be set again. now is in
     * guest TSC ticks. */
    void (*timer)(struct device *d, unsigned timer, uint64_t now);
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
    uint64_t deadline[DEVICE_TIMERS]; /* owned by device_timer_set() */
};

/* --- what a device may ask of its VM; guest/board/board.c answers in the microkernel, a mock in
 * unit tests --- */

/* Set interrupt line gsi (0-23; 0-15 are also the 8259s' inputs) of the VM. A level that stands
 * already is no event. */
void device_irq(struct device *d, unsigned gsi, bool level);
/* The guest's TSC now, and its frequency in Hz. All deadlines are in these ticks. */
uint64_t device_now(struct device *d);
uint64_t device_tsc_hz(struct device *d);
/* Call ops->timer(d, timer, now) at the first moment at or after deadline; TIMER_OFF stops it. */
void device_timer_set(struct device *d, unsigned timer, uint64_t deadline);
/* Copy from or to guest-physical memory: 0, or -EFAULT with nothing copied when any byte is not
 * RAM. */
int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size) MUST_CHECK;
int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size) MUST_CHECK;
/* One aligned load or store of 2, 4 or 8 bytes, atomic against what the guest does. -EFAULT also
 * when unaligned. */
int device_memory_load(struct device *d, uint64_t gpa, unsigned size, uint64_t *value) MUST_CHECK;
int device_memory_store(struct device *d, uint64_t gpa, unsigned size, uint64_t value) MUST_CHECK;
/*
 * For hardware that reads or writes guest memory by itself (DMA): where in host memory the RAM from
 * gpa on is, as far as that is one piece and at most size bytes. It is pinned until
 * device_memory_unpin() with the same address and length. -EFAULT: not RAM; -EAGAIN: pinned as
 * often as can be, some other request has to come back first.
 */
int device_memory_pin(struct device *d, uint64_t gpa, uint64_t size, paddr *address,
                      uint64_t *length) MUST_CHECK;
void device_memory_unpin(struct device *d, paddr address, uint64_t length);
/* End or restart the VM once the running instruction has completed. */
enum vm_request { VM_REQUEST_POWEROFF, VM_REQUEST_RESET };
void device_vm_request(struct device *d, enum vm_request request, const char *why);

/* Seconds and microseconds since 1970-01-01 UTC by the VM's wall clock. */
void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds);

/* --- the bus: who owns which port and which guest-physical range --- */

#define BUS_DEVICES 48
#define BUS_RANGES  48

struct bus_mmio {
    uint64_t base, size;
    struct device *device;
};

struct bus {
    struct device *devices[BUS_DEVICES]; /* index 0 is nobody */
    unsigned device_count;               /* including nobody */
    struct device *timed[BUS_DEVICES];   /* those of them that have timers */
    unsigned timed_count;
    uint8_t *port_page[256];          /* port >> 8 -> 256 device indices, or NULL */
    struct bus_mmio mmio[BUS_RANGES]; /* sorted by base */
    unsigned mmio_count;
    unsigned mmio_last;     /* index of the range that was accessed last */
    uint64_t next_deadline; /* earliest of all devices' timers */
};

/*
 * Add a device (its ops and vm set; timers are switched off) with any number of ranges. -ENOSPC,
 * -EEXIST on overlap, -ENOMEM, -EINVAL for an empty or wrapping range or a device without the
 * functions that it needs.
 */
void bus_init(struct bus *bus);
int bus_add_device(struct bus *bus, struct device *d) MUST_CHECK;
int bus_add_ports(struct bus *bus, struct device *d, uint16_t base, unsigned count) MUST_CHECK;
int bus_add_mmio(struct bus *bus, struct device *d, uint64_t base, uint64_t size) MUST_CHECK;
void bus_destroy(struct bus *bus); /* frees what bus_add_ports allocated */

uint32_t bus_port_read(struct bus *bus, uint16_t port, unsigned size);
void bus_port_write(struct bus *bus, uint16_t port, unsigned size, uint32_t value);
/* Whether gpa lies in the range that was accessed last: a quick yes, or no answer. */
static inline bool bus_mmio_again(const struct bus *bus, uint64_t gpa)
{
    const struct bus_mmio *r = &bus->mmio[bus->mmio_last];
    return gpa - r->base < r->size;
}

/* Whether gpa belongs to a device; an access that leaves the device's range reads ones and drops
 * writes. */
bool bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned size, uint64_t *value);
bool bus_mmio_write(struct bus *bus, uint64_t gpa, unsigned size, uint64_t value);

/* Timers off, then every device's reset. The caller has lowered all interrupt lines. */
void bus_reset(struct bus *bus);
void bus_save(struct bus *bus, struct state_writer *w);
int bus_load(struct bus *bus, struct state_reader *r) MUST_CHECK;
/* What device_timer_set() does to a device on this bus: d->deadline[timer] and next_deadline,
 * exactly. */
void bus_timer_set(struct bus *bus, struct device *d, unsigned timer, uint64_t deadline);
/* Run every timer whose deadline is at or before now and recompute next_deadline. */
void bus_run_timers(struct bus *bus, uint64_t now);
