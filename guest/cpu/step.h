/*
 * One instruction of a guest, and no more: by the monitor trap flag where the processor has it,
 * else by RFLAGS.TF, which the guest neither sees nor loses. Who debugs and who watches may both
 * want one; it is the same step then.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct vcpu;
struct vm_exit;

#define STEP_DEBUGGER 1u /* guest/gdb */
#define STEP_WATCH    2u /* guest/watch */
#define STEP_SPLIT    4u /* bus_lock.c; only with the monitor trap flag */

/* Part of struct vcpu, and of the processor that runs it. */
struct step {
    uint8_t users;     /* who wants the step that is under way; 0: none is */
    bool guest_tf;     /* RFLAGS.TF as the guest has it */
    bool held;         /* the guest's RFLAGS.IF is 1, and off for the step */
    uint8_t opcode[2]; /* of the instruction, without prefixes */
    uint64_t rip;
};

/* All of them for the vCPU that is loaded. A step of which interrupts and faults must be kept out
 * (STEP_WATCH) ends before a fault is delivered. */
void step_begin(struct vcpu *v, unsigned user);
/* This user wants it no more; it ends with the last one. */
void step_end(struct vcpu *v, unsigned user);
/* Have the exceptions exit that are wanted now. */
void step_intercept(struct vcpu *v);

/* #DB: whether it was the step's, and nothing of it is the guest's. */
bool step_debug_exception(struct vcpu *v, struct vm_exit *e);
/* Any other exception of the instruction, which is about to be given to the guest. */
void step_fault(struct vcpu *v);
/* Behind an exit: an instruction that exits is carried out by Corbel, and the monitor trap flag
 * would only show behind the next one. */
void step_exited(struct vcpu *v);
