/* What a debugger puts into a vCPU's VMCS, and the exits that come of it: on the processor that
 * runs the vCPU. */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/linear.h"
#include "guest/gdb/gdb.h"
#include "guest/gdb/points.h"
#include "guest/run/run.h"
#include "guest/cpu/walk.h"
#include "vmx/debug.h"

#define TURN_HZ    10000 /* a vCPU's turn is such a part of a second */
#define TURN_TRIES 8     /* if it is not disturbed before that more often */

#define DR6_BD BIT(13)
#define DR7_GD BIT(13)

/* --- stopping --- */

/* The VM stops: its vCPUs leave their processors, and processor 0 sees why. */
static void stop(struct vcpu *v, enum gdb_why why)
{
    struct vm *vm = v->vm;

    gdb_end_step(v);
    v->debug.why = (uint8_t)why;
    __atomic_store_n(&vm->stopping, true, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&vm->turns, __ATOMIC_SEQ_CST) == 0)
        run_leave(&vm->tasks);
    else
        vcpu_ask(v, REQUEST_LEAVE);
}

/* Else a vCPU that comes to a breakpoint again and again would keep the others from running at all:
 * it is always the first. */
void gdb_ran(struct vcpu *v, int why)
{
    if (why != VCPU_HALTED && why != VCPU_REQUEST && rdtsc() < v->debug.turn &&
        ++v->debug.tries < TURN_TRIES)
        return;
    v->debug.turn = 0;
    if (__atomic_sub_fetch(&v->vm->turns, 1, __ATOMIC_SEQ_CST) == 0 &&
        __atomic_load_n(&v->vm->stopping, __ATOMIC_SEQ_CST))
        run_leave(&v->vm->tasks);
}

static void take_turn(struct vcpu *v)
{
    if (!v->debug.turn)
        return;
    v->debug.turn = rdtsc() + tsc_hz / TURN_HZ;
    vcpu_again_at(v->debug.turn);
}

/* --- stepping --- */

void gdb_end_step(struct vcpu *v)
{
    if (v->step.users & STEP_DEBUGGER)
        v->debug.step = false;
    step_end(v, STEP_DEBUGGER);
}

void gdb_step_done(struct vcpu *v)
{
    stop(v, GDB_STEPPED);
}

/* --- before a stay in the guest --- */

void gdb_arm(struct vcpu *v)
{
    bool on = v->vm->debugged;
    uint64_t dr[4], dr7;

    v->debug.armed = on;
    step_intercept(v);
    if (on && points_debug_registers(dr, &dr7))
        vmx_take_debug_registers(&v->hw, dr, dr7);
    else
        vmx_return_debug_registers(&v->hw);
    if (on && v->debug.step && !(v->step.users & STEP_DEBUGGER))
        step_begin(v, STEP_DEBUGGER);
    take_turn(v);
}

/* --- what exits --- */

void gdb_breakpoint(struct vcpu *v, struct vm_exit *e)
{
    struct vmx_event own = {.info = e->intr & ~(uint32_t)INTR_NMI_UNBLOCKING,
                            .length = vmx_exit_instruction_length()};
    uint64_t gpa;
    uint32_t error;

    /* RIP is still that of the INT3. */
    if (v->debug.armed && linear_translate(v, vcpu_linear_rip(v), WALK_FETCH, &gpa, &error) == 0 &&
        points_planted(gpa)) {
        stop(v, GDB_SOFTWARE_BREAK);
        return;
    }
    v->event = own;
    vcpu_ask(v, REQUEST_EVENT);
}

bool gdb_debug_exception(struct vcpu *v, struct vm_exit *e)
{
    if (!v->hw.debug_taken)
        return false;
    v->debug.hits = (uint8_t)points_hit(e->qualification, v->debug.hit);
    if (!v->debug.hits && !points_hit_code(e->qualification))
        return false;
    stop(v, v->debug.hits ? GDB_WATCH : GDB_HARDWARE_BREAK);
    return true;
}

/*
 * MOV DR while the debugger has the registers: the guest's are values in memory. Qualification:
 * bits 2:0 the register, 4 from it, 11:8 the general register (SDM, "Exit Qualification for MOV
 * DR"). This exit comes before all faults, those of privilege as well (SDM, "Instructions That
 * Cause VM Exits Conditionally").
 */
enum exit_result gdb_dr_access(struct vcpu *v, struct vm_exit *e)
{
    unsigned n = e->qualification & 7;
    enum gpr reg = (e->qualification >> 8) & 15;
    uint64_t value, *dr;

    if ((n == 4 || n == 5) && (vmx_get_cr4() & CR4_DE)) {
        vcpu_exception(v, VECTOR_UD, 0);
        return EXIT_RESUME;
    }
    if (vcpu_cpl() != 0) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    dr = vmx_taken_debug_register(&v->hw, 7);
    if (*dr & DR7_GD) {
        *dr &= ~(uint64_t)DR7_GD;
        *vmx_taken_debug_register(&v->hw, 6) |= DR6_BD;
        vmx_set_resume_flag(); /* this #DB is a fault */
        vcpu_exception(v, VECTOR_DB, 0);
        return EXIT_RESUME;
    }
    dr = vmx_taken_debug_register(&v->hw, n == 4 || n == 5 ? n + 2 : n);
    if (e->qualification & BIT(4)) {
        vmx_set_gpr(&v->hw, reg, *dr);
        return EXIT_SKIP;
    }
    value = vmx_get_gpr(&v->hw, reg);
    if (vcpu_code_width(v) != 64)
        value = (uint32_t)value;
    if (n >= 4 && value >> 32) {
        vcpu_exception(v, VECTOR_GP, 0);
        return EXIT_RESUME;
    }
    if (n >= 4 && (n & 1))
        value = (value & 0xffff2bff) | BIT(10); /* DR7 */
    else if (n >= 4)
        value = (value & 0xe00f) | 0xffff0ff0; /* DR6 */
    *dr = value;
    return EXIT_SKIP;
}
