/*
 * What all drivers of drives share: requests wait in queues, go to the hardware as there is room,
 * come back, time out and are tried again after a reset. A driver knows registers, and nothing of
 * all that.
 *
 * A unit is what is reset at once: an ATA channel, a port of an AHCI controller, an NVMe
 * controller. It has queues, each with a lock, and disks, which are block devices.
 */
#pragma once

#include "arch/x86/spinlock.h"
#include "drivers/block.h"
#include "drivers/dma.h"
#include "drivers/io.h"

#define DISK_SLOTS      64 /* of a queue */
#define DISK_QUEUES     8  /* of a unit */
#define DISKS_MAX       64 /* of the machine */
#define DISK_TRIES      3  /* of a request, by resets and errors in transit */
#define DISK_SECONDS    10 /* until a drive that has not answered is reset; a FLUSH gets more */
#define FLUSH_SECONDS   60
#define BESIDE_SECONDS  120 /* that FLUSHes let others wait beyond their time, at most */
#define RESET_SECONDS   35  /* more than any specification gives it */
#define DISK_MODEL_SIZE 41

struct disk;
struct disk_queue;
struct disk_unit;
struct host_pci;

struct disk_ops {
    /*
     * Give the request in this slot to the hardware. 0; -EAGAIN: not while others are under way;
     * else it has failed. The queue's lock is held.
     */
    int (*start)(struct disk_queue *q, unsigned slot);
    /* Tell by disk_finish() what the hardware is done with. The queue's lock is held. */
    void (*collect)(struct disk_queue *q);
    /*
     * The next step of a reset, at first with begin: after it nothing of what was under way goes
     * on, or touches memory, any more. 0: it is done; -EAGAIN: call again in a while; else the
     * drive is lost. No lock is held, and nothing else is called meanwhile.
     */
    int (*reset)(struct disk_unit *u, bool begin);
    /* The drive is lost: see that it touches no memory any more. */
    void (*cut)(struct disk_unit *u);
};

struct disk_slot {
    struct block_request *request; /* NULL: free */
    uint64_t deadline;             /* TSC */
};

struct disk_queue {
    struct spinlock lock;
    struct disk_unit *unit;
    unsigned number, depth;
    unsigned busy;                        /* slots in use */
    unsigned alone;                       /* that many go one at a time, the first ones of all */
    bool stopped;                         /* nothing is given to the hardware now */
    bool unsettled;                       /* memory was taken from it, which it may still know */
    struct block_request *first, *last;   /* wait, in this order */
    struct block_request *back, *back_to; /* have come back: done() is to be called */
    struct disk_slot slots[DISK_SLOTS];
    uint64_t interrupts, strays; /* strays: answers that nobody waited for */
};

enum disk_state { DISK_RUNS, DISK_RESETS, DISK_LOST };

struct disk_unit {
    const struct disk_ops *ops;
    const struct host_pci *pci;                   /* several units may be one function's */
    struct dma *dma;                              /* what that function may reach */
    void (*master_off)(const struct host_pci *p); /* it reaches no memory any more; or NULL */
    char name[BLOCK_NAME];
    struct disk_queue *queues; /* queue_count of them */
    unsigned queue_count;
    bool interrupting;     /* else it is polled */
    uint32_t attended;     /* atomic: somebody looks after it now: */
    enum disk_state state; /* atomic: his to change */
    uint32_t wanted;       /* atomic: a reset is wanted */
    uint32_t strayed;      /* atomic: it has reached for memory that is not its */
    bool doubt;            /* atomic: at the next reset nobody knows what has been carried out */
    uint32_t in_vain;      /* atomic: resets since something came back */
    uint32_t in_use;       /* atomic: something has been submitted since it was looked after */
    uint64_t flushed;      /* atomic: TSC at the end of a FLUSH */
    uint64_t reset_until, next_step;
    uint64_t resets;
    struct disk_unit *next;
};

/*
 * What has come back from a disk by way of one queue, whose lock is held where this is written: no
 * atomic instruction counts, and no other processor's cache line does.
 */
struct disk_counts {
    uint64_t ticks, longest; /* TSC from submit() until it was back: all together, and of one */
    uint64_t sectors[2];     /* read, written */
    uint64_t done[BLOCK_OPS];
    uint64_t errors, retries; /* errors: that failed for good */
    uint64_t unused[5];       /* so that what is busy of two queues shares no cache line */
};
_Static_assert(sizeof(struct disk_counts) == 128, "room between two queues' counts");

struct disk {
    struct block_device block;
    struct disk_unit *unit;
    char model[DISK_MODEL_SIZE];
    const char *how;      /* "AHCI" or the like, for people */
    uint32_t id;          /* the driver's: device on its channel, namespace */
    uint8_t sector_shift; /* of a logical block, in sectors of 512 bytes */
    bool lost;            /* atomic */
    struct disk_counts counts[DISK_QUEUES];
};

static inline bool disk_is_lost(const struct disk *d)
{
    return __atomic_load_n(&d->lost, __ATOMIC_RELAXED);
}

/* --- for drivers --- */

/* Get ready; queue_count and depth of each queue are set afterwards. -ENOMEM. */
int disk_unit_init(struct disk_unit *u, const struct disk_ops *ops, unsigned queues,
                   unsigned depth) MUST_CHECK;
/* From now on it is looked after. */
void disk_unit_add(struct disk_unit *u);
/* The machine's next disk; the block device's limits are filled in. -ENOSPC. */
int disk_add(struct disk_unit *u, struct disk *d) MUST_CHECK;
/* What the request of a slot is for. */
struct disk *disk_of(const struct block_request *r);
/*
 * The hardware is done with that slot: 0, -EIO for good, -ENODEV: the disk is not there any more,
 * -EAGAIN: worth another try.
 */
void disk_finish(struct disk_queue *q, unsigned slot, int error);
/*
 * The hardware needs a reset; what is under way is tried again behind it, but for a FLUSH that may
 * have failed meanwhile: none has where nothing of what is under way has begun. The lock is held.
 */
void disk_want_reset(struct disk_queue *q, bool has_begun);
/*
 * The same where one of those under way has failed, and the hardware does not say for sure which:
 * behind the reset each of them goes alone. No FLUSH may be among them. The lock is held.
 */
void disk_want_each_alone(struct disk_queue *q);
/* That function has reached for memory that is not its: all its units are reset. */
void disks_strayed(const struct host_pci *p);
/* The interrupt of one queue. */
void disk_interrupt(void *queue);

/* --- for their users --- */

/* All disks in the order in which they were found; NULL from the last on. */
struct disk *disk_get(unsigned index);

/* What a disk has done since it was found, and how many requests the hardware has, or wait until
 * it has room. */
struct disk_stats {
    struct disk_counts counts;
    uint64_t requests; /* that came back, with errors or without */
    unsigned given, waiting;
};
/* By way of one queue of its unit's, or of all of them. Takes their locks. */
void disk_queue_stats(const struct disk *d, unsigned queue, struct disk_stats *out);
void disk_stats(const struct disk *d, struct disk_stats *out);

/*
 * Time-outs, resets, polling: processor 0 calls this. Returns the TSC at which it wants to be
 * called again; UINT64_MAX: not before a request has come.
 */
uint64_t disks_work(void);
/* Called, on any processor, when disks_work() has something to do earlier than it said. */
void disks_set_attention(void (*fn)(void));
/* Call `wait` until the request is back, and return its error: for start-up. */
int disk_do(struct block_device *d, struct block_request *r, void (*wait)(void));
