/*
 * From VM exit to VM entry. One table says for each reason what has to be decoded and who handles
 * it; the road for a hot reason is vcpu_exit(), the row's handler, and back into the guest.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/apic.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/panic.h"
#include "arch/x86/trap.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/probe.h"
#include "guest/cpu/pv.h"
#include "guest/run/run.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/events.h"
#include "guest/cpu/timers.h"
#include "guest/cpu/linear.h"
#include "vmx/cpu.h"

void (*vcpu_reload_test)(struct vcpu *v);

static inline __attribute__((always_inline)) enum exit_result
answer_cpuid(struct vcpu *v, const struct cpuid_regs *r)
{
    v->hw.gpr[RAX] = r->eax;
    v->hw.gpr[RBX] = r->ebx;
    v->hw.gpr[RCX] = r->ecx;
    v->hw.gpr[RDX] = r->edx;
    return EXIT_SKIP;
}

static __attribute__((noinline)) enum exit_result cpuid_past_last_subleaf(struct vcpu *v)
{
    const struct cpuid_regs r =
        cpuid_lookup(&v->cpuid, (uint32_t)v->hw.gpr[RAX], (uint32_t)v->hw.gpr[RCX]);

    return answer_cpuid(v, &r);
}

static enum exit_result exit_cpuid(struct vcpu *v, struct vm_exit *e)
{
    uint64_t subleaf = (uint32_t)v->hw.gpr[RCX];
    const struct cpuid_slot *s = cpuid_slot(&v->cpuid, (uint32_t)v->hw.gpr[RAX]);

    if (UNLIKELY(subleaf > s->last))
        return cpuid_past_last_subleaf(v);
    return answer_cpuid(v, &v->cpuid.regs[s->first + subleaf]);
}

#ifdef CORBEL_COUNT
struct access_counts access_counts;

#define HYPERCALL_COUNT 0x436f756e74ULL

static bool read_counts(struct vcpu *v)
{
    if (v->hw.gpr[RAX] != HYPERCALL_COUNT)
        return false;
    v->hw.gpr[RAX] = 0;
    v->hw.gpr[RBX] = access_counts.vmread;
    v->hw.gpr[RCX] = access_counts.vmwrite;
    v->hw.gpr[RDX] = access_counts.msr;
    return true;
}
#endif

/* Where calls are offered vcpu_exit_wrapped() answers behind this. */
static enum exit_result exit_vmcall(struct vcpu *v, struct vm_exit *e)
{
#ifdef CORBEL_COUNT
    if (read_counts(v))
        return EXIT_SKIP;
#endif
    v->hw.gpr[RAX] = (uint64_t)NO_SUCH_HYPERCALL;
    return EXIT_SKIP;
}

static enum exit_result exit_undefined(struct vcpu *v, struct vm_exit *e)
{
    vcpu_exception(v, VECTOR_UD, 0);
    return EXIT_RESUME;
}

static enum exit_result exit_protection(struct vcpu *v, struct vm_exit *e)
{
    vcpu_exception(v, VECTOR_GP, 0);
    return EXIT_RESUME;
}

/* Caches are coherent and no device is passed through: writing them back changes nothing a guest
 * sees. */
static enum exit_result exit_skip(struct vcpu *v, struct vm_exit *e)
{
    return EXIT_SKIP;
}

/* Pause-loop exiting: it spins, perhaps for a vCPU that is not running. */
static enum exit_result exit_pause(struct vcpu *v, struct vm_exit *e)
{
    v->task.spins = true;
    vcpu_ask(v, REQUEST_RESCHEDULE);
    return EXIT_SKIP;
}

static enum exit_result exit_hlt(struct vcpu *v, struct vm_exit *e)
{
    vcpu_ask(v, REQUEST_HALT | REQUEST_EVENT);
    return EXIT_SKIP;
}

static enum exit_result exit_external_interrupt(struct vcpu *v, struct vm_exit *e)
{
    /* Acknowledged by the exit. Under some hypervisors the information is not valid: then there is
     * nothing to do. */
    if (LIKELY(e->intr & INTR_VALID))
        interrupt_dispatch(INTR_VECTOR(e->intr));
    v->timer_armed = 0; /* it may have been the timer, and a one-shot timer may be early */
    vcpu_ask(v, REQUEST_TIMER | (run_wanted() ? REQUEST_RESCHEDULE : 0));
    return EXIT_RESUME;
}

static enum exit_result exit_window(struct vcpu *v, struct vm_exit *e)
{
    vcpu_deliver_events(v);
    return EXIT_RESUME;
}

static enum exit_result exit_preemption_timer(struct vcpu *v, struct vm_exit *e)
{
    /* Nothing may be due any more: reading the APIC's current count has fired the timer. */
    vcpu_run_timers(v);
    vcpu_deliver_events(v);
    return EXIT_RESUME;
}

/*
 * #DB does not change DR6 when it exits, and clears the pending debug exceptions, which the next
 * entry wants set again under STI or MOV SS blocking (SDM, "Checks on Guest Non-Register State").
 */
static void forward_debug_exception(struct vcpu *v, struct vm_exit *e)
{
    struct vmx_event event = {.info = e->intr & ~(uint32_t)INTR_NMI_UNBLOCKING};

    if (INTR_TYPE(e->intr) == INTR_PRIV_SOFT_EXCEPTION)
        event.length = vmx_exit_instruction_length(); /* ICEBP: a trap after the instruction */
    vmx_debug_exception(&v->hw, e->qualification);
    if (v->event.info & INTR_VALID)
        vcpu_exception(v, VECTOR_DB, 0);
    else
        v->event = event;
    vcpu_ask(v, REQUEST_EVENT);
}

static void fault(struct vcpu *v, unsigned vector, uint32_t error)
{
    step_fault(v);
    vcpu_exception(v, vector, error);
}

static enum exit_result exit_exception(struct vcpu *v, struct vm_exit *e)
{
    unsigned vector = INTR_VECTOR(e->intr);
    bool ours;

    if (INTR_TYPE(e->intr) == INTR_NMI) {
        nmi_dispatch(); /* another CPU asks for something, and could not wait for an interrupt */
        vcpu_ask(v, REQUEST_RESCHEDULE);
        return EXIT_RESUME;
    }
    if ((e->intr & INTR_NMI_UNBLOCKING) && !(e->interrupted.info & INTR_VALID))
        vmx_block_nmi(); /* an IRET that faulted had unblocked them already */
    switch (vector) {
    case VECTOR_DB:
        ours = UNLIKELY(v->step.users) && step_debug_exception(v, e);
        if (UNLIKELY(v->debug.armed) && probes->debug_exception(v, e))
            ours = true;
        if (!ours)
            forward_debug_exception(v, e);
        break;
    case VECTOR_BP:
        step_fault(v);
        probes->breakpoint(v, e);
        break;
    case VECTOR_PF:
        step_fault(v);
        vcpu_page_fault(v, e->qualification, e->error);
        break;
    case VECTOR_MC:
        vcpu_machine_check(v, true);
        break;
    case VECTOR_OF: /* INTO: a trap, with the instruction's length */
        step_fault(v);
        v->event = (struct vmx_event){.info = e->intr & ~(uint32_t)INTR_NMI_UNBLOCKING,
                                      .length = vmx_exit_instruction_length()};
        vcpu_ask(v, REQUEST_EVENT);
        break;
    case VECTOR_AC:
        if (!split_lock_begin(v))
            fault(v, vector, e->error);
        break;
    case VECTOR_UD:
        if (probes && probes->undefined(v))
            break;
        /* fall through */
    default:
        fault(v, vector, e->error);
    }
    return EXIT_RESUME;
}

static enum exit_result exit_triple_fault(struct vcpu *v, struct vm_exit *e)
{
    log_warn("%s: triple fault at rip %lx: the VM is reset", v->vm->name, vmx_rip());
    vm_request(v->vm, VM_REQUEST_RESET, "triple fault");
    return EXIT_RESUME;
}

/* INIT and SIPI exits are the host's own signals; the guest's go through its virtual APIC. */
static enum exit_result exit_ignore(struct vcpu *v, struct vm_exit *e)
{
    return EXIT_RESUME;
}

static enum exit_result exit_eoi(struct vcpu *v, struct vm_exit *e)
{
    lapic_eoi_exit(&v->lapic, (uint8_t)e->qualification);
    vcpu_ask(v, REQUEST_EVENT);
    return EXIT_RESUME;
}

static enum exit_result exit_apic_write(struct vcpu *v, struct vm_exit *e)
{
    lapic_after_write(&v->lapic, e->qualification & 0xfff);
    vcpu_update_deadline(v);
    vcpu_ask(v, REQUEST_EVENT);
    return EXIT_RESUME; /* the exit comes after the instruction */
}

static enum exit_result exit_ept_misconfiguration(struct vcpu *v, struct vm_exit *e)
{
    struct ept_leaf leaf = {0};

    if (rights_lookup(&v->vm->rights, e->gpa, &leaf) < 0)
        leaf.entry = 0;
    vm_kill(v,
            "EPT misconfiguration at guest-physical %lx (entry %lx, level %u): a fault of Corbel's",
            e->gpa, leaf.entry, leaf.level);
    return EXIT_RESUME;
}

/* It comes behind the instruction. */
static enum exit_result exit_bus_lock(struct vcpu *v, struct vm_exit *e)
{
    vcpu_bus_lock(v);
    return EXIT_RESUME;
}

/* The guest has kept its processor from taking any event: benign where it goes on afterwards. */
static enum exit_result exit_notify(struct vcpu *v, struct vm_exit *e)
{
    if ((e->qualification & QUALIFICATION_NMI_UNBLOCKING) && !(e->interrupted.info & INTR_VALID))
        vmx_block_nmi();
    if (e->qualification & NOTIFY_CONTEXT_INVALID)
        vm_kill(v, "kept its processor from taking any event, and its state is lost by that");
    else
        vcpu_ask(v, REQUEST_RESCHEDULE);
    return EXIT_RESUME;
}

static enum exit_result exit_unknown(struct vcpu *v, struct vm_exit *e)
{
    vm_kill(v, "unexpected VM exit %u (%s)", e->reason, vmx_exit_name(e->reason));
    return EXIT_RESUME;
}

/* MOV DR exits only for a debugger, descriptor tables only for watches. */
static enum exit_result exit_dr_access(struct vcpu *v, struct vm_exit *e)
{
    return probes->dr_access(v, e);
}

static enum exit_result exit_descriptor_table(struct vcpu *v, struct vm_exit *e)
{
    return probes->descriptor_table(v, e);
}

static enum exit_result decode_first(struct vcpu *v, struct vm_exit *e);

#define PLAIN(handler)                                                                             \
    {                                                                                              \
        handler, handler, 0                                                                        \
    }
#define NEEDS(handler, needs)                                                                      \
    {                                                                                              \
        decode_first, handler, needs                                                               \
    }

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored                                                                     \
    "-Woverride-init" /* the first row stands for all that are not named */
/* A row that needs something decoded is entered by way of decode_first(). */
static const struct exit_row {
    exit_handler enter, handle;
    uint32_t needs;
} exit_table[VMX_EXIT_REASONS] = {
    [0 ... VMX_EXIT_REASONS - 1] = PLAIN(exit_unknown),
    [EXIT_EXCEPTION_NMI] = NEEDS(exit_exception, NEED_INTR | NEED_QUALIFICATION | NEED_VECTORING),
    [EXIT_EXTERNAL_INTERRUPT] = NEEDS(exit_external_interrupt, NEED_INTR),
    [EXIT_TRIPLE_FAULT] = PLAIN(exit_triple_fault),
    [EXIT_INIT] = PLAIN(exit_ignore),
    [EXIT_SIPI] = PLAIN(exit_ignore),
    [EXIT_INTERRUPT_WINDOW] = PLAIN(exit_window),
    [EXIT_NMI_WINDOW] = PLAIN(exit_window),
    [EXIT_TASK_SWITCH] = NEEDS(exit_task_switch, NEED_QUALIFICATION | NEED_VECTORING),
    [EXIT_CPUID] = PLAIN(exit_cpuid),
    [EXIT_GETSEC] = PLAIN(exit_undefined),
    [EXIT_HLT] = PLAIN(exit_hlt),
    [EXIT_INVD] = PLAIN(exit_skip),
    [EXIT_RDPMC] = PLAIN(exit_protection),
    [EXIT_VMCALL] = PLAIN(exit_vmcall),
    [EXIT_VMCLEAR] = PLAIN(exit_undefined),
    [EXIT_VMLAUNCH] = PLAIN(exit_undefined),
    [EXIT_VMPTRLD] = PLAIN(exit_undefined),
    [EXIT_VMPTRST] = PLAIN(exit_undefined),
    [EXIT_VMREAD] = PLAIN(exit_undefined),
    [EXIT_VMRESUME] = PLAIN(exit_undefined),
    [EXIT_VMWRITE] = PLAIN(exit_undefined),
    [EXIT_VMXOFF] = PLAIN(exit_undefined),
    [EXIT_VMXON] = PLAIN(exit_undefined),
    [EXIT_CR_ACCESS] = NEEDS(exit_cr_access, NEED_QUALIFICATION),
    [EXIT_DR_ACCESS] = NEEDS(exit_dr_access, NEED_QUALIFICATION),
    [EXIT_IO] = NEEDS(exit_io, NEED_QUALIFICATION),
    [EXIT_RDMSR] = PLAIN(exit_rdmsr),
    [EXIT_WRMSR] = PLAIN(exit_wrmsr),
    [EXIT_MWAIT] = PLAIN(exit_undefined),
    [EXIT_MONITOR_TRAP] = PLAIN(exit_monitor_trap),
    [EXIT_MONITOR] = PLAIN(exit_undefined),
    [EXIT_PAUSE] = PLAIN(exit_pause),
    [EXIT_TPR_THRESHOLD] = PLAIN(exit_window),
    [EXIT_APIC_ACCESS] = NEEDS(exit_apic_access, NEED_QUALIFICATION | NEED_VECTORING),
    [EXIT_EOI] = NEEDS(exit_eoi, NEED_QUALIFICATION),
    [EXIT_GDTR_IDTR] = PLAIN(exit_descriptor_table),
    [EXIT_LDTR_TR] = PLAIN(exit_descriptor_table),
    [EXIT_EPT_VIOLATION] =
        NEEDS(exit_ept_violation, NEED_QUALIFICATION | NEED_GPA | NEED_VECTORING),
    [EXIT_EPT_MISCONFIGURATION] = NEEDS(exit_ept_misconfiguration, NEED_GPA),
    [EXIT_INVEPT] = PLAIN(exit_undefined),
    [EXIT_PREEMPTION_TIMER] = PLAIN(exit_preemption_timer),
    [EXIT_INVVPID] = PLAIN(exit_undefined),
    [EXIT_WBINVD] = PLAIN(exit_skip),
    [EXIT_XSETBV] = PLAIN(exit_xsetbv),
    [EXIT_APIC_WRITE] = NEEDS(exit_apic_write, NEED_QUALIFICATION),
    [EXIT_BUS_LOCK] = PLAIN(exit_bus_lock),
    [EXIT_NOTIFY] = NEEDS(exit_notify, NEED_QUALIFICATION | NEED_VECTORING),
};
#pragma GCC diagnostic pop

#define REQUESTS_RARE                                                                              \
    (REQUEST_INIT | REQUEST_STARTUP | REQUEST_EOI_EXITS | REQUEST_VIEW | REQUEST_MEMORY |          \
     REQUEST_FLUSH | REQUEST_CLOCK | REQUEST_UNHALT)

#define SERVE_ROUNDS 16u /* of requests that come while others are served */

/* Returns what is still to be done. */
static __attribute__((noinline)) uint32_t serve_memory(struct vcpu *v, uint32_t requests)
{
    if (requests & REQUEST_MEMORY)
        vm_settle_rights(v->vm);
    return requests & ~REQUEST_MEMORY;
}

static __attribute__((noinline)) void serve_rare(struct vcpu *v, uint32_t requests)
{
    if (requests & (REQUEST_INIT | REQUEST_STARTUP))
        vcpu_startup_message(v, requests); /* which ends HLT */
    if (requests & REQUEST_EOI_EXITS)
        vcpu_write_eoi_bitmap(v);
    serve_memory(v, requests);
    if (requests & REQUEST_FLUSH)
        vmx_flush_all();
    if (requests & REQUEST_VIEW)
        vcpu_refresh_view(v);
    if (requests & (REQUEST_CLOCK | REQUEST_UNHALT))
        pv_serve(v, requests);
}

static inline uint32_t take_requests(struct vcpu *v)
{
    return __atomic_exchange_n(&v->task.requests, 0, __ATOMIC_ACQUIRE);
}

/* Those that say what becomes of the vCPU: LEAVE, and nothing more is to be done, or RESCHEDULE. */
static inline __attribute__((always_inline)) uint32_t serve(struct vcpu *v, uint32_t requests)
{
    if (requests & REQUEST_LEAVE) {
        vcpu_ask(v, serve_memory(v, requests)); /* the rest for when it comes back */
        return REQUEST_LEAVE;
    }
    v->halted |= (requests & REQUEST_HALT) != 0;
    if (UNLIKELY(requests & REQUESTS_RARE))
        serve_rare(v, requests);
    if (requests & REQUEST_TIMER)
        vcpu_run_timers(v);
    if (requests & (REQUEST_EVENT | REQUEST_TIMER))
        vcpu_deliver_events(v);
    return requests & REQUEST_RESCHEDULE;
}

/* What was asked for while that was done. Other vCPUs may ask more quickly than this one can serve,
 * for as long as they like: after some rounds its processor is for others. */
static __attribute__((noinline)) uint32_t serve_more(struct vcpu *v, uint32_t requests)
{
    uint32_t become = 0;
    unsigned round = 0;

    do {
        become |= serve(v, requests);
        if (become & REQUEST_LEAVE)
            return become;
        if (++round == SERVE_ROUNDS)
            return REQUEST_RESCHEDULE;
    } while ((requests = take_requests(v)));
    return become;
}

/* What was asked for meanwhile; returns an enum vcpu_leave. */
static int serve_requests(struct vcpu *v)
{
    uint32_t requests, become = 0;
    bool test = v->task.requests & REQUEST_RELOAD;

    if (UNLIKELY(test))
        vcpu_reload_test(v);
    requests = take_requests(v);
    if (requests) {
        become = serve(v, requests);
        if (UNLIKELY(become & REQUEST_LEAVE))
            return VCPU_REQUEST;
        requests = take_requests(v);
        if (UNLIKELY(requests)) {
            become |= serve_more(v, requests);
            if (become & REQUEST_LEAVE) {
                if (test)
                    vcpu_ask(v, REQUEST_RELOAD); /* which is not among what serve() has put back */
                return VCPU_REQUEST;
            }
        }
    }
    if (UNLIKELY(test))
        vcpu_ask(v, REQUEST_RELOAD);
    if (UNLIKELY(v->wait_for_startup))
        return VCPU_HALTED;
    if (v->halted) {
        v->halted = !vcpu_wakes(v);
        if (v->halted)
            return VCPU_HALTED;
    }
    return become & REQUEST_RESCHEDULE ? VCPU_PREEMPTED : VCPU_STAY;
}

/* Before the guest runs again: the next exit for a timer. now is the host's TSC. */
static inline __attribute__((always_inline)) void arm_timer(struct vcpu *v, uint64_t now)
{
    if (LIKELY(vmx_features.preemption_timer)) {
        int64_t ticks = (int64_t)(v->next_exit - now);
        vmx_set_preemption_timer(ticks > 0 ? (uint64_t)ticks : 0, vmx_features.preemption_shift);
    } else if (v->timer_armed != v->next_exit) {
        v->timer_armed = v->next_exit;
        apic_timer_set(v->next_exit);
    }
}

void vcpu_leave_by(struct vcpu *v, uint64_t tsc)
{
    if (v->next_exit <= tsc)
        return;
    v->next_exit = tsc;
    arm_timer(v, rdtsc());
}

int vcpu_prepare(struct vcpu *v)
{
    int leave = serve_requests(v);

    arm_timer(v, rdtsc());
    return leave;
}

/* What the row needs, and an event that the exit kept from being delivered; then the row's own
 * handler. */
static enum exit_result decode_first(struct vcpu *v, struct vm_exit *e)
{
    const struct exit_row *row = &exit_table[e->reason];

    vmx_decode_exit(e, row->needs);
    if (UNLIKELY((row->needs & NEED_VECTORING) && e->interrupted.info)) {
        v->event = e->interrupted;
        vcpu_ask(v, REQUEST_EVENT);
    }
    return row->handle(v, e);
}

/*
 * EIP wraps at 4 GiB behind an instruction that was skipped there. Code of any privilege can do
 * that, and nobody does: so it is left for the refused VM entry to find out.
 */
static bool wrap_rip(struct vcpu *v)
{
    uint64_t rip = vmx_rip();

    if (rip >> 32 == 0 || vcpu_code_width(v) == 64)
        return false;
    vmx_set_rip((uint32_t)rip);
    return true;
}

static inline __attribute__((always_inline)) void enter(struct vcpu *v)
{
    uint64_t now = rdtsc();

#ifdef CORBEL_DEBUG
    if (vmx_report_no_progress())
        panic("%s: a vCPU that would never execute its next instruction", v->vm->name);
#endif
    vcpu_account(v, now);
    arm_timer(v, now);
}

static __attribute__((noinline)) int serve_and_enter(struct vcpu *v)
{
    int leave = serve_requests(v);

    enter(v);
    return leave;
}

/* A reason without a row, or with bit 31: the entry failed. Out of line, so that the usual road
 * saves no registers for it. */
static __attribute__((noinline)) int unusual_exit(struct vcpu *v, uint32_t reason, uint64_t tsc)
{
    bool failed = reason & BIT(31);

    if (!failed && reason & EXIT_REASON_BUS_LOCK) {
        reason &= ~(uint32_t)EXIT_REASON_BUS_LOCK;
        if (reason != EXIT_BUS_LOCK)
            vcpu_bus_lock(v);
        return vcpu_exit(&v->hw, reason, tsc);
    }
    v->exit.reason = reason;
    if ((reason & 0xffff) == EXIT_MACHINE_CHECK) {
        vcpu_machine_check(v, false);
    } else if (!failed) {
        exit_unknown(v, &v->exit);
    } else if ((reason & 0xffff) != EXIT_INVALID_GUEST_STATE || !wrap_rip(v)) {
        vmx_report_entry_failure(&v->hw);
        vm_kill(v, "the processor refused to enter the guest's state (%s)",
                vmx_exit_name(reason & 0xffff));
    }
    if (failed)
        vmx_entry_failed(&v->hw);
    v->exit.reason = VMX_EXIT_REASONS;
    vcpu_account(v, -tsc);
    int leave = serve_and_enter(v);
    return failed && leave == VCPU_STAY ? VCPU_PREEMPTED : leave; /* by way of vmx_run() */
}

int vcpu_exit_again(struct vcpu *v, uint64_t reason, uint64_t tsc)
{
    vmx_set_resume_flag(); /* a breakpoint at it has been hit, or is not to be */
    v->exit.reason = (uint32_t)reason;
    v->exits[reason]++;
    v->ticks[reason] -= tsc;
    return serve_and_enter(v);
}

int vcpu_exit(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    struct vcpu *v = (struct vcpu *)hw;

    COUNT(vmread); /* the reason's, in entry.asm */
    if (UNLIKELY(reason >= VMX_EXIT_REASONS))
        return unusual_exit(v, (uint32_t)reason, tsc);
    v->exit.reason = (uint32_t)reason;
    v->exits[reason]++;
    v->ticks[reason] -= tsc; /* enter() adds its own */
    if (LIKELY(exit_table[reason].enter(v, &v->exit) == EXIT_SKIP))
        vmx_skip_instruction();
    if (UNLIKELY(v->task.requests))
        return serve_and_enter(v);
    enter(v);
    return VCPU_STAY;
}
