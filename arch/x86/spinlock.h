/*
 * Ticket locks: first come, first served. Root mode runs with IF=0, so nobody who holds a lock is
 * interrupted by somebody who wants it; NMI and machine-check handlers take none. A lock is held
 * for a short, bounded time: never across a VM entry, cpu_idle_once() or cpu_call()
 * (arch/x86/smp.h).
 *
 *     static struct spinlock lock = SPINLOCK(RANK_HEAP);
 *     spin_lock(&lock); ... spin_unlock(&lock);
 */
#pragma once

#include "arch/x86/lib/types.h"

/*
 * Who holds a lock takes only locks of a higher rank: thus nobody waits in a circle. A build with
 * CORBEL_DEBUG (make debug) checks that, and panics. A second one of the same rank:
 * spin_lock_second().
 *
 *     rank            owner                  one per   protects
 *     RANK_CONFIG     guest/board            VM        PCI's configuration space
 *     RANK_DEVICE     guest/board            device    its model, unless RANK_BOARD does
 *     RANK_SWITCH     guest/net              switch    which address is at which port
 *     RANK_PORT       guest/net              port,     what comes to it
 *                                            lane
 *     RANK_CAPTURE    guest/capture          one       what is captured and not sent yet
 *     RANK_INTX       guest/board            VM        which functions of PCI drive which line
 *     RANK_BOARD      guest/board            VM        interrupt controllers and their timer, and
 *                                                      who drives which line
 *     RANK_BUS        guest/board            VM        where its devices' ranges are
 *     RANK_TIMERS     guest/board            VM        when its devices' timers are due
 *     RANK_SCHED      guest/run              CPU       its run queue, who sleeps there
 *     RANK_GUEST      guest/memory           VM        what its EPT says, and why
 *     RANK_MEMORY     mm/guest_memory        VM        what lies over its RAM; pages without frames
 *     RANK_RANDOM     arch/x86/random        one       the pool, where there is no RDRAND
 *     RANK_LAYER      guest/storage          disk      what its snapshots keep; writes that wait
 *     RANK_DISK       drivers/disk           queue     what a drive has to do, its registers
 *     RANK_NET_CARD   drivers/net_card       card      what it has to send, its registers
 *     RANK_DMA        drivers/iommu          domain   what a device may reach
 *     RANK_IOMMU      drivers/vtd            unit     what it is told, its tables of devices
 *     RANK_PCI        drivers/pci_access     one       the ports of configuration space
 *     RANK_SPACE      mm/space               one       the microkernel's page tables
 *     RANK_HEAP       mm/heap                one       slabs
 *     RANK_FRAMES     mm/frame               one       free lists, owners, pins
 *     RANK_LOG        drivers/console        one       the log's ring, the screen, whose line the
 *                                                      serial port is in (console_lock());
 *                                                      what guests' consoles keep
 *     RANK_TRACE      guest/trace            one       who sends the trace's packets
 *     RANK_COM2       guest/com2             one       the second port's channels
 *     RANK_SERIAL     drivers/serial         one       the UART and its two rings
 */
enum lock_rank {
    RANK_CONFIG = 1,
    RANK_DEVICE,
    RANK_SWITCH,
    RANK_PORT,
    RANK_CAPTURE,
    RANK_INTX,
    RANK_BOARD,
    RANK_BUS,
    RANK_TIMERS,
    RANK_SCHED,
    RANK_GUEST,
    RANK_MEMORY,
    RANK_RANDOM,
    RANK_LAYER,
    RANK_DISK,
    RANK_NET_CARD,
    RANK_DMA,
    RANK_IOMMU,
    RANK_PCI,
    RANK_SPACE,
    RANK_HEAP,
    RANK_FRAMES,
    RANK_LOG,
    RANK_TRACE,
    RANK_COM2,
    RANK_SERIAL,
    RANK_COUNT
};

struct spinlock {
    uint16_t next;  /* the ticket that the next CPU draws */
    uint16_t owner; /* the ticket whose turn it is */
    uint8_t rank;   /* enum lock_rank */
};

#define SPINLOCK(r)                                                                                \
    {                                                                                              \
        .rank = (r)                                                                                \
    }

/* For a lock in memory that was allocated. */
static inline void spin_init(struct spinlock *l, enum lock_rank rank)
{
    *l = (struct spinlock)SPINLOCK((uint8_t)rank);
}

/*
 * Set for good when all other CPUs have been stopped (panic, power off): who held a lock will never
 * release it, so nobody waits any more.
 */
extern bool spin_forsaken;

/* The slow way: wait for the ticket's turn. */
void spin_wait(struct spinlock *l, uint16_t ticket);

/*
 * The rank check: no lock of a rank from least on may be held. Nothing in an ordinary
 * build.
 */
#if defined(CORBEL_DEBUG) && !__STDC_HOSTED__
void spin_check_lock(const struct spinlock *l, unsigned least);
void spin_check_unlock(const struct spinlock *l);
#else
static inline void spin_check_lock(const struct spinlock *l, unsigned least)
{
}
static inline void spin_check_unlock(const struct spinlock *l)
{
}
#endif

static inline void spin_take(struct spinlock *l)
{
    uint16_t ticket = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);
    if (UNLIKELY(__atomic_load_n(&l->owner, __ATOMIC_ACQUIRE) != ticket))
        spin_wait(l, ticket);
}

static inline void spin_lock(struct spinlock *l)
{
    spin_check_lock(l, l->rank);
    spin_take(l);
}

/* One more lock of the rank that is held: all of that rank's users keep an order among them. */
static inline void spin_lock_second(struct spinlock *l)
{
    spin_check_lock(l, l->rank + 1u);
    spin_take(l);
}

static inline void spin_unlock(struct spinlock *l)
{
    /* Only the holder writes owner: no locked instruction is needed. */
    __atomic_store_n(&l->owner, (uint16_t)(l->owner + 1), __ATOMIC_RELEASE);
    spin_check_unlock(l);
}

/* True when the lock was free and is ours now; of any rank, as it does not wait. */
static inline bool spin_trylock(struct spinlock *l)
{
    uint16_t ticket = __atomic_load_n(&l->owner, __ATOMIC_ACQUIRE);

    if (!__atomic_compare_exchange_n(&l->next, &ticket, (uint16_t)(ticket + 1), false,
                                     __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return false;
    spin_check_lock(l, RANK_COUNT);
    return true;
}
