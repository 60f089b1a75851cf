/*
 * A VM under a debugger: gdb on the second serial port. Processor 0 talks to it between guest
 * entries (gdb_pump); the VM being debugged is paused while gdb looks at it, others run on.
 *
 * A VM without debugger pays nothing: what a debugger needs of a vCPU (exits for #BP and MOV DR,
 * debug registers, a trap) is put into its VMCS when it comes to its processor next (gdb_run).
 */
#pragma once

#include "guest/vm/vm.h"
#include "guest/cpu/exit.h"

/* Take the second serial port, once, and wait there for gdb. */
void gdb_init(void);
/* Talk to gdb; returns the host TSC at which to be called again at the latest. Processor 0's loop.
 */
uint64_t gdb_pump(void);
/* The VM has been reset and loaded anew, and has not run yet: whether it is to stand still, for
 * gdb.
 */
bool gdb_restarted(struct vm *vm, bool forced);

/* --- traps.c: the vCPU's side, on the processor that runs it --- */

void gdb_arm(struct vcpu *v);

/* Before each stay in the guest. */
static inline void gdb_run(struct vcpu *v)
{
    if (UNLIKELY(v->vm->debugged || v->debug.armed))
        gdb_arm(v);
}

/* Behind it, if its turn is not over, with what vcpu_run() is about to return. */
void gdb_ran(struct vcpu *v, int why);
/* The vCPU is loaded and will not go on stepping. */
void gdb_end_step(struct vcpu *v);
/* #BP, which exits only under a debugger: ours stops the VM, the guest's own goes to the guest. */
void gdb_breakpoint(struct vcpu *v, struct vm_exit *e);
/* Whether a #DB was a debug register's of the debugger; else it is the guest's. */
bool gdb_debug_exception(struct vcpu *v, struct vm_exit *e);
/* The instruction that was to be stepped has been carried out (guest/cpu/step.h). */
void gdb_step_done(struct vcpu *v);
enum exit_result gdb_dr_access(struct vcpu *v, struct vm_exit *e);
