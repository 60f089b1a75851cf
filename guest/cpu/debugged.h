/* What a debugger does to one vCPU; part of struct vcpu. */
#pragma once

#include "arch/x86/lib/types.h"

#define GDB_TURN_DUE UINT64_MAX

/* A watchpoint that was hit: what it watches. */
struct gdb_hit {
    uint64_t address;
    bool access;
};
#define GDB_HITS 4 /* one instruction may hit all that the processor has */

struct gdb_vcpu {
    /* Processor 0's, while the VM stands still. */
    bool step; /* to stop behind the next instruction */
    /* Of the processor that runs it. */
    bool armed;    /* its VMCS has something of ours */
    uint8_t why;   /* enum gdb_why: why the VM has stopped, if this vCPU stopped it */
    uint8_t tries; /* to have its turn */
    uint8_t hits;  /* GDB_WATCH: of which gdb has not been told yet */
    uint64_t turn; /* host TSC at which that ends; 0: it has had it, or GDB_TURN_DUE */
    struct gdb_hit hit[GDB_HITS];
};
