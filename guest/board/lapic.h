/*
 * The virtual local APIC, xAPIC and x2APIC (SDM volume 3, "Advanced Programmable Interrupt
 * Controller (APIC)").
 *
 * Its registers live in the 4 KiB virtual-APIC page at the offsets that the SDM gives them, so that
 * the same state serves software (no APIC virtualization), hardware that shadows TPR, and hardware
 * that evaluates and delivers
 * ("APIC Virtualization and Virtual Interrupts"). The page and everything else here belong to the
 * CPU that runs the vCPU; other CPUs touch only the posted-interrupt descriptor, level[] and
 * esr_pending, all with atomic operations, through lapic_post() and lapic_receive().
 *
 * A turn of the vCPU loop, in root mode before VM entry:
 *     lapic_run_timer(l, now); lapic_sync(l);
 *     with virtual-interrupt delivery:  guest interrupt status = lapic_interrupt_status(l)
 *     without: vector = lapic_pending_vector(l); if it can be injected: inject, lapic_accept(l,
 * vector); else open the interrupt window; TPR threshold = lapic_tpr_threshold(l) the next exit is
 * due at l->timer_deadline.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "arch/x86/msr.h"
#include "guest/board/apic_message.h"
#include "guest/board/state.h"

#define LAPIC_BASE      0xfee00000ULL
#define LAPIC_TIMER_OFF UINT64_MAX
#define LAPIC_NO_PAGE   1 /* no page begins there */

/* Offsets in the virtual-APIC page (SDM "Local APIC Register Address Map"). */
enum lapic_offset {
    LAPIC_ID = 0x020,
    LAPIC_VERSION = 0x030,
    LAPIC_TPR = 0x080,
    LAPIC_APR = 0x090,
    LAPIC_PPR = 0x0a0,
    LAPIC_EOI = 0x0b0,
    LAPIC_RRD = 0x0c0,
    LAPIC_LDR = 0x0d0,
    LAPIC_DFR = 0x0e0,
    LAPIC_SVR = 0x0f0,
    LAPIC_ISR = 0x100,
    LAPIC_TMR = 0x180,
    LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280,
    LAPIC_ICR = 0x300,
    LAPIC_ICR_HIGH = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_THERMAL = 0x330,
    LAPIC_LVT_PERF = 0x340,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERROR = 0x370,
    LAPIC_TMICT = 0x380,
    LAPIC_TMCCT = 0x390,
    LAPIC_TDCR = 0x3e0,
    LAPIC_SELF_IPI = 0x3f0, /* x2APIC only */
};

/* IA32_APIC_BASE */
#define APIC_BASE_BSP    BIT(8)
#define APIC_BASE_EXTD   BIT(10)
#define APIC_BASE_ENABLE BIT(11)

#define SVR_ENABLE 0x100u
#define LVT_MASKED 0x10000u

struct board;

enum lapic_timer_mode { LAPIC_ONE_SHOT, LAPIC_PERIODIC, LAPIC_TSC_DEADLINE, LAPIC_TIMER_RESERVED };

/* SDM "Posted-Interrupt Processing"; NV, SN and NDST as the VT-d specification lays them out. */
struct posted_interrupts {
    uint64_t pir[4];
    uint32_t control; /* bit 0 ON (outstanding notification), bit 1 SN, bits 23:16 NV */
    uint32_t ndst;
    uint64_t reserved[3];
} __attribute__((aligned(64)));
#define POSTED_ON 1u

struct lapic {
    struct posted_interrupts posted;
    uint64_t
        level[4]; /* trigger mode of each vector's last message; lapic_sync() puts it into TMR */
    struct board *board;
    uint64_t tsc_offset;     /* its processor's: guest TSC = host TSC + offset */
    uint32_t *page;          /* the virtual-APIC page */
    uint64_t base;           /* IA32_APIC_BASE */
    uint64_t claimed;        /* the page of its registers, or LAPIC_NO_PAGE */
    uint64_t timer_deadline; /* in guest TSC ticks; LAPIC_TIMER_OFF: not armed */
    uint64_t tsc_deadline;   /* IA32_TSC_DEADLINE */
    uint32_t id;
    uint32_t esr_pending; /* errors since the last write to ESR */
    uint8_t timer_mode;   /* of the LVT timer register before the write that is being handled */
    uint8_t bus_shift;    /* one tick of the timer's input clock is 2^bus_shift TSC ticks */
    uint8_t count_shift;  /* bus_shift + divide configuration: one count of TMCCT */
    uint8_t irr_words;    /* which 32-bit words of IRR and of ISR are non-zero; all of them where */
    uint8_t isr_words;    /* hardware delivers and changes both by itself */
    uint8_t lint;         /* levels of LINT0 and LINT1 */
    bool virtual_delivery;
    uint8_t physical_bits; /* MAXPHYADDR: where IA32_APIC_BASE may point */
    bool bsp;              /* RESET makes it the bootstrap processor's */
};

/* --- what a local APIC asks; guest/board/board.c answers in the microkernel, a mock in unit tests
 * --- */

/* The guest's TSC now. */
uint64_t lapic_now(struct lapic *l);
/* An IPI other than a fixed interrupt to the sender itself: route it, e.g. by apic_route(). */
void lapic_send(struct lapic *from, const struct apic_message *m);
/*
 * A vector was posted for a vCPU that had no notification outstanding: kick its CPU or wake it;
 * nothing to do where that vCPU is the one in root mode on this CPU. Called on any CPU.
 */
void lapic_notify(struct lapic *target);
/* SMI, NMI, INIT, start-up or ExtINT arrived for this vCPU. Called on any CPU. */
void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector);
/* A level-triggered vector was completed: tell the I/O APICs. */
void lapic_broadcast_eoi(struct lapic *l, uint8_t vector);
/*
 * IA32_APIC_BASE changed to xAPIC, x2APIC or disabled, or to another page: MSR bitmap, APIC
 * controls and EPT may follow.
 */
void lapic_mode_changed(struct lapic *l);

/* --- life --- */

/*
 * page: 4 KiB that the caller keeps for as long as l; id: x2APIC id (below 255 to be usable in
 * xAPIC mode); bus_shift: 0-16, as CPUID leaf 15h's crystal clock is TSC frequency / 2^bus_shift.
 * Ends as after power-on.
 */
void lapic_init(struct lapic *l, void *page, uint32_t id, bool bsp, unsigned bus_shift);
/* Its processor's MAXPHYADDR; 52 before. */
void lapic_set_physical_bits(struct lapic *l, unsigned bits);
/* Power-on state (SDM "Local APIC State After Power-Up or Reset"). */
void lapic_reset(struct lapic *l);
/* State after INIT: as after power-on, but IA32_APIC_BASE and so the mode stay. */
void lapic_init_reset(struct lapic *l);
/*
 * As firmware leaves a BSP: enabled, LINT0 ExtINT (virtual wire mode), LINT1 NMI. For guests
 * started without firmware.
 */
void lapic_virtual_wire(struct lapic *l);
/*
 * Whether hardware evaluates and delivers virtual interrupts in this page (default: software does).
 */
void lapic_set_virtual_delivery(struct lapic *l, bool on);
/* Save and load write and read one section, "lapic". */
void lapic_save(const struct lapic *l, struct state_writer *w);
/*
 * Replace the whole state, of a local APIC with the same id. 0 or -EBADMSG, then with the state as
 * after power-on.
 */
int lapic_load(struct lapic *l, struct state_reader *r) MUST_CHECK;

static inline bool lapic_enabled(const struct lapic *l)
{
    return l->base & APIC_BASE_ENABLE;
}

static inline bool lapic_x2apic(const struct lapic *l)
{
    return l->base & APIC_BASE_EXTD;
}

/* It has a page of registers: it is enabled and not in x2APIC mode. */
static inline bool lapic_claims_mmio(const struct lapic *l)
{
    return l->claimed != LAPIC_NO_PAGE;
}

/* Whether gpa lies in that page. */
static inline bool lapic_claims(const struct lapic *l, uint64_t gpa)
{
    return (gpa & ~0xfffULL) == l->claimed;
}

static inline uint32_t lapic_register(const struct lapic *l, unsigned offset)
{
    return l->page[offset / 4];
}

/* --- register accesses of the guest --- */

/*
 * xAPIC accesses: offset 0-fffh, size 1, 2, 4 or 8. What the SDM leaves undefined (stores that are
 * not 32 bits at a 16-byte boundary) is dropped; loads within a register's 32 bits give those
 * bytes, others 0.
 */
uint64_t lapic_mmio_read(struct lapic *l, unsigned offset, unsigned size);
void lapic_mmio_write(struct lapic *l, unsigned offset, unsigned size, uint64_t value);
/*
 * RDMSR, WRMSR of 800h-8ffh, IA32_APIC_BASE and IA32_TSC_DEADLINE: 0, or -EINVAL for #GP(0). With
 * APIC-register virtualization TMCCT (839h) must still exit.
 */
int lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value) MUST_CHECK;
int lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value) MUST_CHECK;
/* APIC-write VM exit: the hardware has stored the guest's value at offset (0-ff0h) of the page. */
void lapic_after_write(struct lapic *l, unsigned offset);
/* Virtualized-EOI VM exit: the hardware has completed the vector already. */
void lapic_eoi_exit(struct lapic *l, uint8_t vector);

/* CR8 and the TPR shadow. */
static inline uint8_t lapic_tpr(const struct lapic *l)
{
    return (uint8_t)l->page[LAPIC_TPR / 4];
}

static inline void lapic_set_tpr(struct lapic *l, uint8_t tpr)
{
    l->page[LAPIC_TPR / 4] = tpr;
}

/*
 * WRMSR IA32_TSC_DEADLINE, which never faults. A deadline that has passed fires at the next
 * lapic_run_timer().
 */
static inline void lapic_set_tsc_deadline(struct lapic *l, uint64_t value)
{
    if (UNLIKELY(l->timer_mode != LAPIC_TSC_DEADLINE)) {
        return;
    }
    l->tsc_deadline = value;
    l->timer_deadline = value != 0 ? value : LAPIC_TIMER_OFF;
}

/* The guest moved its TSC by delta (modulo 2^64): the count-down timer's deadline moves with it. */
void lapic_tsc_moved(struct lapic *l, uint64_t delta);

/* --- interrupts arriving --- */

/*
 * Post a vector (16-255) from any CPU: lock-free. Returns whether a notification is due, that is
 * none is outstanding; lapic_sync() on the vCPU's own CPU picks the vector up.
 */
bool lapic_post(struct lapic *l, uint8_t vector, bool level);
/*
 * The same by the CPU that owns l, straight into IRR and without atomic operations. Edge-triggered.
 */
void lapic_raise(struct lapic *l, uint8_t vector);
/*
 * Deliver a message that matched, from any CPU; calls lapic_notify() or lapic_event(). Whether it
 * was accepted.
 */
bool lapic_receive(struct lapic *l, const struct apic_message *m);
/* Whether a destination addresses this local APIC (SDM "Determining IPI Destination"). */
bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical);
/*
 * Deliver a message to those of a VM's local APICs that it addresses; from: the sender, NULL for
 * I/O APIC and MSI. Lowest-priority goes to one of them. Returns whether any accepted it.
 */
bool apic_route(struct lapic *const *lapics, unsigned count, const struct lapic *from,
                const struct apic_message *m);
/*
 * Level of local interrupt pin 0 or 1. For an 8259 at LINT0 in ExtINT mode see
 * lapic_accepts_external().
 */
void lapic_set_lint(struct lapic *l, unsigned pin, bool level);
/*
 * Whether the 8259's INTR reaches the processor: through LINT0, or around a disabled local APIC.
 * From any CPU.
 */
bool lapic_accepts_external(const struct lapic *l);
static inline bool lapic_lint0(const struct lapic *l)
{
    return __atomic_load_n(&l->lint, __ATOMIC_RELAXED) & 1;
}

/* The 8259s' INTR is up and reaches the processor. */
static inline bool lapic_external_pending(const struct lapic *l)
{
    return lapic_lint0(l) && lapic_accepts_external(l);
}

/* Slow halves of inline functions. */
void lapic_sync_posted(struct lapic *l);
void lapic_timer_expired(struct lapic *l, uint64_t now);
int lapic_evaluate(const struct lapic *l);
unsigned lapic_blocking_class(const struct lapic *l);

/* Move what was posted into IRR. */
static inline void lapic_sync(struct lapic *l)
{
    if (UNLIKELY(__atomic_load_n(&l->posted.control, __ATOMIC_RELAXED) & POSTED_ON)) {
        lapic_sync_posted(l);
    }
}

/* Fire the timer if its deadline is at or before now; afterwards timer_deadline is later. */
static inline void lapic_run_timer(struct lapic *l, uint64_t now)
{
    if (UNLIKELY(now >= l->timer_deadline)) {
        lapic_timer_expired(l, now);
    }
}

/* --- evaluation (SDM "Interrupt, Task, and Processor Priority") --- */

/* Highest vector requested and in service, or -1. */
int lapic_highest_irr(const struct lapic *l);
int lapic_highest_isr(const struct lapic *l);
/* Processor priority by TPR and ISR, also stored in the page. */
uint8_t lapic_update_ppr(struct lapic *l);
/* The vector that priorities allow to be delivered now, or -1. */
static inline int lapic_pending_vector(const struct lapic *l)
{
    return l->irr_words == 0 ? -1 : lapic_evaluate(l);
}

/* The processor takes this pending vector: from IRR to ISR. */
void lapic_accept(struct lapic *l, uint8_t vector);
/* Complete the highest vector in service. */
void lapic_eoi(struct lapic *l);
/* Whether that is all that an EOI would do now: the vector is edge-triggered, and none is
 * requested. Without virtual-interrupt delivery. */
bool lapic_eoi_is_plain(const struct lapic *l);
/*
 * TPR threshold 0-15: the class below which TPR must fall for the highest request to become
 * deliverable; 0 where it is not TPR that holds it back.
 */
static inline unsigned lapic_tpr_threshold(const struct lapic *l)
{
    return l->irr_words == 0 ? 0 : lapic_blocking_class(l);
}

/* Guest interrupt status: SVI << 8 | RVI. */
uint16_t lapic_interrupt_status(const struct lapic *l);
/*
 * Add to bitmap the level-triggered vectors in flight here; together with ioapic_eoi_bitmap() that
 * makes the EOI-exit bitmaps.
 */
void lapic_eoi_bitmap(const struct lapic *l, uint64_t bitmap[4]);
