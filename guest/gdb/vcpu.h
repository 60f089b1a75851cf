/* What a debugger does to one vCPU; part of struct vcpu. */
#pragma once

#include "arch/x86/lib/types.h"

struct gdb_vcpu {
    /* Processor 0's, while the VM stands still. */
    bool step; /* to stop behind the next instruction */
    /* Of the processor that runs it. */
    bool armed;       /* its VMCS has something of ours */
    uint8_t why;      /* enum gdb_why: why the VM has stopped, if this vCPU stopped it */
    uint64_t address; /* what a watchpoint watches */
};
