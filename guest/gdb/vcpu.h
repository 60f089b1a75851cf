/* What a debugger does to one vCPU; part of struct vcpu. */
#pragma once

#include "arch/x86/lib/types.h"

struct gdb_vcpu {
    /* Processor 0's, while the VM stands still. */
    bool step; /* to stop behind the next instruction */
    /* Of the processor that runs it. */
    bool armed;        /* its VMCS has something of ours */
    bool stepping;     /* and a trap that will end the step */
    bool guest_tf;     /* RFLAGS.TF as the guest has it */
    uint8_t opcode[2]; /* of the instruction being stepped, without prefixes */
    uint8_t why;       /* enum gdb_why: why the VM has stopped, if this vCPU stopped it */
    uint64_t step_rip;
    uint64_t address; /* what a watchpoint watches */
};
