/* A virtual CPU: its state, its life, and what others may ask of it. */
#pragma once

#include "guest/cpu/cpuid.h"
#include "guest/cpu/msr.h"
#include "guest/cpu/observed.h"
#include "guest/cpu/progress.h"
#include "guest/cpu/vm.h"
#include "guest/insn/insn.h"
#include "vmx/exit.h"
#include "vmx/vcpu.h"

struct guest_start;

/* The local APIC timer counts at tsc_hz / 2^LAPIC_BUS_SHIFT, which CPUID leaf 15h gives as crystal
 * clock. */
#define LAPIC_BUS_SHIFT 2

/* Why vmx_run() came back; 0 is what vcpu_exit() returns to stay in the guest. */
enum vcpu_leave {
    VCPU_STAY,
    VCPU_HALTED,    /* HLT, or waits for a start-up IPI, with nothing that would end that */
    VCPU_PREEMPTED, /* the processor has something else to do */
    VCPU_REQUEST,   /* the VM wants to end, to restart or to be paused */
};

/* Bits of struct task.requests: looked at before each VM entry. */
#define REQUEST_RESCHEDULE TASK_RESCHEDULE
#define REQUEST_LEAVE      TASK_LEAVE /* see guest/cpu/ending.h */
#define REQUEST_TIMER      TASK_TIMER
/* Interrupts, exceptions or NMIs may have to be delivered. */
#define REQUEST_EVENT BIT(TASK_OWN + 0)
#define REQUEST_HALT  BIT(TASK_OWN + 1)
/* Kept set while the reload test is on (vcpu_reload_test). */
#define REQUEST_RELOAD BIT(TASK_OWN + 2)
/* An INIT, or a start-up IPI (startup_vector), has arrived. */
#define REQUEST_INIT    BIT(TASK_OWN + 3)
#define REQUEST_STARTUP BIT(TASK_OWN + 4)
/* The I/O APIC's level-triggered vectors have changed. */
#define REQUEST_EOI_EXITS BIT(TASK_OWN + 5)
/* The VM's EPT has changed: so does a view of it. */
#define REQUEST_VIEW BIT(TASK_OWN + 6)
/* What stands in the VM's memory has changed: vm_settle_rights(). */
#define REQUEST_MEMORY BIT(TASK_OWN + 7)
/* So do translations on its processor, which are to be forgotten before it enters its guest. */
#define REQUEST_FLUSH BIT(TASK_OWN + 8)
/* Its paravirtual clock's page is to be written again. */
#define REQUEST_CLOCK BIT(TASK_OWN + 9)
/* Another vCPU ends its HLT, or the next one. */
#define REQUEST_UNHALT BIT(TASK_OWN + 10)
/* What a vCPU has to do whatever becomes of itself. */
#define REQUESTS_KEPT (REQUEST_VIEW | REQUEST_MEMORY | REQUEST_FLUSH)

struct vcpu {
    struct vmx_vcpu hw; /* must be first: the exit path casts one into the other */

    /* --- the exit path's part --- */
    struct task task; /* how its processor's loop sees it */
    bool halted;
    bool wait_for_startup; /* INIT has stopped it */
    bool runs;             /* between vcpu_begins() and vcpu_ends(); atomic */
    bool virtual_delivery; /* virtual-interrupt delivery is in force */
    bool tpr_shadow;
    uint8_t nmis;         /* that wait (nmi.h); atomic */
    bool accepts_startup; /* atomic: INIT has come, and no start-up IPI since */
    uint64_t next_exit;   /* host TSC at which the guest must be left: a timer, or task.until */
    uint64_t timer_armed; /* without preemption timer: what the host's APIC timer is set to */
    /* For each exit reason: how many exits, and the host TSC ticks from exit to entry; the last
     * element of ticks is for what has no reason. At an exit its TSC is subtracted, at the entry
     * the TSC is added: meanwhile an element is negative, see vcpu_root_ticks(). */
    uint64_t exits[VMX_EXIT_REASONS];
    uint64_t ticks[VMX_EXIT_REASONS + 1];
    struct vm_exit exit;    /* the one being handled */
    struct bus_view device; /* where the last device access was */
    struct insn_mov mov;    /* the instruction that accesses a device, */
    uint8_t code[16];       /* and its bytes */
    struct vmx_event event; /* to be delivered first; info 0: none */

    struct vm *vm;
    struct board *board; /* the VM's: an exit that wants it need not go by way of vm */
    unsigned id;
    struct lapic lapic;
    struct cpuid_table cpuid;
    struct msr_state msr;
    struct msr_env msr_env;
    paddr lapic_page, msr_bitmap;
    struct gdb_vcpu debug;
    struct step step;
    struct watch_vcpu watch;
    struct pv_vcpu pv;
    struct ept_window apic_view; /* its EPT while its local APIC is not where it was at power-on */
    uint32_t trace;              /* BIT(enum trace_class): what is recorded of it */
    uint8_t traced_vector;       /* the trace's: RVI, when it last looked */
    uint8_t tpr_threshold;       /* the VMCS's, which is written only when it changes */
    uint8_t startup_vector;      /* of REQUEST_STARTUP */
    struct progress progress;    /* exits that have left it where it was */
    const struct task_ops *plain_ops; /* its task's, while that has those of bus_lock.c */
    uint64_t stands_until;            /* host TSC: it has taken too many bus locks */
};

int vcpu_create(struct vcpu **out, struct vm *vm, unsigned id) MUST_CHECK;
void vcpu_destroy(struct vcpu *v);
/* The state after power-on or RESET. tsc_offset is added to the host's TSC; with -rdtsc() the
 * guest's begins at 0. */
void vcpu_reset(struct vcpu *v, uint64_t tsc_offset);
/* The state after INIT, of the vCPU that is loaded. */
void vcpu_init_reset(struct vcpu *v);
/* INIT and start-up IPIs have arrived: REQUEST_INIT, REQUEST_STARTUP. */
void vcpu_startup_message(struct vcpu *v, uint32_t requests);
/* Have it loaded on this CPU, unless it is already; vcpu_release() with the result undoes that. */
bool vcpu_hold(struct vcpu *v);
void vcpu_release(struct vcpu *v, bool held);
/* The state in which a loader wants its guest's software to start. */
void vcpu_start_at(struct vcpu *v, const struct guest_start *start);
/* Run the loaded vCPU until there is a reason to leave; an enum vcpu_leave. */
int vcpu_run(struct vcpu *v);
/* Raise an exception in the guest. If another event was being delivered, the two are combined: SDM,
 * "Interrupt 8 - Double Fault Exception". A fault sets RFLAGS.RF. error: the error code, for the
 * vectors that have one. */
void vcpu_exception(struct vcpu *v, unsigned vector, uint32_t error);
/* #PF with that error code; CR2 becomes the linear address. */
void vcpu_page_fault(struct vcpu *v, uint64_t address, uint32_t error);

/* Ask something of the vCPU that this CPU runs, or of one that is not running anywhere. */
static inline void vcpu_ask(struct vcpu *v, uint32_t request)
{
    task_ask(&v->task, request);
}

/* The same of any vCPU: one that runs on another CPU leaves its guest for it, one that is halted
 * wakes. */
static inline void vcpu_notify(struct vcpu *v, uint32_t request)
{
    task_notify(&v->task, request);
}

/* run_inspect() for a vCPU. */
int vcpu_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg) MUST_CHECK;
/* run_again_at(): the vCPU that runs here, if one does, leaves its guest by then. */
void vcpu_again_at(uint64_t deadline);

/* --- dump.c --- */

/* The vCPU's registers, the exit's cause and the code bytes at RIP, line by line; it is loaded. */
void vcpu_describe(struct vcpu *v, void (*line)(void *ctx, const char *text), void *ctx);
/* The same on the log. */
void vcpu_dump(struct vcpu *v);
