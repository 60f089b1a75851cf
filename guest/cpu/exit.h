/* The exit path: from VM exit to VM entry. */
#pragma once

#include "guest/cpu/vcpu.h"

/* The reload test (guest/vm/reload.h), called before VM entries; NULL: it is off. Set before the
 * first vCPU is made. */
extern void (*vcpu_reload_test)(struct vcpu *v);

/* Add host TSC ticks to those of the exit that is being handled; see struct vcpu.ticks. */
static inline void vcpu_account(struct vcpu *v, uint64_t ticks)
{
    v->ticks[v->exit.reason] += ticks;
}

/* Serve what was asked for and arm the timer before vmx_run(); an enum vcpu_leave. */
int vcpu_prepare(struct vcpu *v);
/* Host TSC ticks from VM exits for that reason (below VMX_EXIT_REASONS + 1) to VM entries. */
uint64_t vcpu_root_ticks(const struct vcpu *v, unsigned reason);
/* For a handler that has neither moved RIP nor delivered anything, so that the guest will exit for
 * the same reason again. Too many of them in a row end the VM (guest/cpu/progress.h). what: the
 * address, or whatever else tells one cause from another. */
void vcpu_no_progress(struct vcpu *v, uint64_t what);
/* In place of vcpu_exit(), with its arguments and result: the instruction is not carried out, so
 * that it exits again when the guest goes on. */
int vcpu_exit_again(struct vcpu *v, uint64_t reason, uint64_t tsc);
/* #MC: in the guest, or before it was entered. */
void vcpu_machine_check(struct vcpu *v, bool entered); /* machine_check.c */
/* Between vcpu_exit() and VM entry: leave the guest at that host TSC at the latest. */
void vcpu_leave_by(struct vcpu *v, uint64_t tsc);

enum exit_result { EXIT_RESUME, EXIT_SKIP /* RIP moves past the instruction */ };

typedef enum exit_result (*exit_handler)(struct vcpu *v, struct vm_exit *e);

enum exit_result exit_io(struct vcpu *v, struct vm_exit *e);            /* exit_io.c */
enum exit_result exit_ept_violation(struct vcpu *v, struct vm_exit *e); /* exit_memory.c */
enum exit_result exit_apic_access(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_cr_access(struct vcpu *v, struct vm_exit *e);    /* exit_control.c */
enum exit_result exit_monitor_trap(struct vcpu *v, struct vm_exit *e); /* step.c */
enum exit_result exit_xsetbv(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_task_switch(struct vcpu *v, struct vm_exit *e);
enum exit_result exit_rdmsr(struct vcpu *v, struct vm_exit *e); /* exit_msr.c */
enum exit_result exit_wrmsr(struct vcpu *v, struct vm_exit *e);
