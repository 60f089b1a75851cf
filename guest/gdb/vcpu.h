/* What a debugger does to one vCPU; part of struct vcpu. */
#pragma once

#include "arch/x86/lib/types.h"

#define GDB_TURN_DUE UINT64_MAX

struct gdb_vcpu {
    /* Processor 0's, while the VM stands still. */
    bool step; /* to stop behind the next instruction */
    /* Of the processor that runs it. */
    bool armed;       /* its VMCS has something of ours */
    uint8_t why;      /* enum gdb_why: why the VM has stopped, if this vCPU stopped it */
    uint8_t tries;    /* to have its turn */
    uint64_t turn;    /* host TSC at which that ends; 0: it has had it, or GDB_TURN_DUE */
    uint64_t address; /* what a watchpoint watches */
};
