#include "guest/cpu/step.h"

#include "arch/x86/cpu.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/probe.h"
#include "vmx/cpu.h"
#include "vmx/debug.h"
#include "vmx/watch.h"

/* #DB: a single-step trap; B0 to B3, BLD, BD. */
#define QUALIFICATION_BS     BIT(14)
#define QUALIFICATION_OTHERS (0xf | BIT(11) | BIT(13))

enum {
    PUSHF = 0x9c,
    POPF = 0x9d,
    IRET = 0xcf,
    INT = 0xcd,
    CLI = 0xfa,
    STI = 0xfb,
    TWO_BYTES = 0x0f,
    SYSCALL = 0x05,
    SYSRET = 0x07,
    SYSENTER = 0x34,
    SYSEXIT = 0x35
};

void step_intercept(struct vcpu *v)
{
    uint32_t vectors = 0;

    if (v->debug.armed)
        vectors |= BIT(VECTOR_BP);
    if (v->watch.undefined)
        vectors |= BIT(VECTOR_UD);
    if ((v->step.users & STEP_WATCH) && !vmx_features.monitor_trap_flag)
        vectors = ~0u;
    vmx_intercept_exceptions(vectors);
}

/* --- by TF --- */

static bool is_prefix(const struct vcpu *v, uint8_t byte)
{
    return byte == 0x66 || (vcpu_code_width(v) == 64 && (byte & 0xf0) == 0x40);
}

/* The instructions that save or load TF and IF have to be known. */
static void note_opcode(struct vcpu *v)
{
    uint8_t code[4] = {0};
    unsigned at = 0;

    (void)linear_fetch(v, vcpu_linear_rip(v), code, sizeof(code));
    while (at < 2 && is_prefix(v, code[at]))
        at++;
    v->step.opcode[0] = code[at];
    v->step.opcode[1] = code[at + 1];
}

static bool uses_flags(const uint8_t opcode[2])
{
    switch (opcode[0]) {
    case PUSHF:
    case POPF:
    case IRET:
    case INT:
    case CLI:
    case STI:
        return true;
    case TWO_BYTES:
        return opcode[1] == SYSCALL || opcode[1] == SYSRET || opcode[1] == SYSENTER ||
               opcode[1] == SYSEXIT;
    default:
        return false;
    }
}

/* No shadow may be left, with which an entry would want a pending trap. */
static void begin_by_tf(struct vcpu *v, unsigned user)
{
    uint64_t rflags = vmx_rflags();

    note_opcode(v);
    v->step.guest_tf = rflags & RFLAGS_TF;
    v->step.held = user == STEP_WATCH && (rflags & RFLAGS_IF) && !uses_flags(v->step.opcode);
    vmx_end_shadow();
    if (v->step.held)
        rflags &= ~(uint64_t)RFLAGS_IF;
    vmx_set_rflags(rflags | RFLAGS_TF);
}

static void end_by_tf(struct vcpu *v)
{
    uint64_t rflags = vmx_rflags();

    if (!v->step.guest_tf)
        rflags &= ~(uint64_t)RFLAGS_TF;
    if (v->step.held)
        rflags |= RFLAGS_IF;
    v->step.held = false;
    vmx_set_rflags(rflags);
}

/* The instruction has been carried out under our TF: what it saved of RFLAGS is the guest's again,
 * and what it loaded is kept. */
static void hide_tf(struct vcpu *v)
{
    const uint8_t *opcode = v->step.opcode;
    struct vmx_segment ss;
    uint64_t gpa;
    uint8_t flags;

    if (opcode[0] == POPF || opcode[0] == IRET)
        v->step.guest_tf = vmx_rflags() & RFLAGS_TF;
    if (v->step.guest_tf)
        return;
    if (opcode[0] == TWO_BYTES && opcode[1] == SYSCALL)
        v->hw.gpr[R11] &= ~(uint64_t)RFLAGS_TF;
    if (opcode[0] != PUSHF)
        return;
    vmx_get_segment(SEG_SS, &ss);
    uint64_t at = vmx_get_gpr(&v->hw, RSP) + 1; /* RFLAGS' bits 15:8 */
    if (vcpu_code_width(v) != 64)
        at = (uint32_t)((ss.access & BIT(14) ? at : (uint16_t)at) + ss.base);
    if (linear_find(v, at, &gpa) < 0 || guest_memory_read(&v->vm->memory, gpa, &flags, 1) < 0)
        return;
    flags &= (uint8_t) ~(RFLAGS_TF >> 8);
    (void)!guest_memory_write(&v->vm->memory, gpa, &flags, 1);
}

/* --- beginning and end --- */

void step_begin(struct vcpu *v, unsigned user)
{
    bool under_way = v->step.users;

    v->step.users |= (uint8_t)user;
    if (!under_way) {
        v->step.rip = vmx_rip();
        if (!vmx_features.monitor_trap_flag) {
            begin_by_tf(v, user);
        } else {
            vmx_set_monitor_trap(&v->hw, true);
            if (!v->halted)
                vmx_hold_interrupts();
        }
    }
    if (under_way && !vmx_features.monitor_trap_flag)
        vmx_drop_trap(); /* which Bochs leaves there when a repeated instruction faults */
    if (user == STEP_WATCH)
        step_intercept(v);
}

void step_end(struct vcpu *v, unsigned user)
{
    if (!(v->step.users & user))
        return;
    v->step.users &= (uint8_t)~user;
    if (user == STEP_WATCH)
        step_intercept(v);
    if (v->step.users)
        return;
    if (vmx_features.monitor_trap_flag)
        vmx_set_monitor_trap(&v->hw, false);
    else
        end_by_tf(v);
}

static void done(struct vcpu *v)
{
    unsigned users = v->step.users;

    if (UNLIKELY(users & STEP_SPLIT)) {
        step_end(v, STEP_SPLIT);
        split_lock_stepped(v);
    }
    if (users & STEP_WATCH) {
        step_end(v, STEP_WATCH);
        probes->watch_stepped(v, true);
    }
    if (users & STEP_DEBUGGER)
        probes->debugger_stepped(v);
}

bool step_debug_exception(struct vcpu *v, struct vm_exit *e)
{
    bool ours;

    if (!v->step.users || vmx_features.monitor_trap_flag || !(e->qualification & QUALIFICATION_BS))
        return false;
    hide_tf(v);
    ours = (v->step.users & STEP_DEBUGGER) || !v->step.guest_tf;
    done(v);
    if (ours)
        e->qualification &= ~QUALIFICATION_BS;
    return ours && !(e->qualification & QUALIFICATION_OTHERS);
}

void step_fault(struct vcpu *v)
{
    if (!(v->step.users & STEP_WATCH))
        return;
    step_end(v, STEP_WATCH);
    probes->watch_stepped(v, false);
}

void step_exited(struct vcpu *v)
{
    if (vmx_features.monitor_trap_flag && vmx_rip() != v->step.rip)
        done(v);
}

enum exit_result exit_monitor_trap(struct vcpu *v, struct vm_exit *e)
{
    if (v->step.users)
        done(v);
    return EXIT_RESUME;
}
