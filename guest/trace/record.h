/*
 * What is traced: events of seven classes, each in a record of fixed size. docs/TRACE.md says what
 * the fields of each mean and how they travel; tools/trace_stream.py reads them.
 */
#pragma once

#include "guest/config/trace_class.h"

/* Class SCHEDULING: what has happened to the vCPU. X(symbol, word) */
#define TRACE_SCHED_LIST(X)                                                                        \
    X(RUN, "runs")                                                                                 \
    X(HALTED, "halted")                                                                            \
    X(PREEMPTED, "preempted")                                                                      \
    X(STOPPED, "stopped")

enum trace_sched {
#define TRACE_SCHED_ENUM(symbol, word) TRACE_SCHED_##symbol,
    TRACE_SCHED_LIST(TRACE_SCHED_ENUM)
#undef TRACE_SCHED_ENUM
};

/* Class INJECTIONS: beside the interruption information's bits, "by virtual-interrupt delivery". */
#define TRACE_INJECT_VIRTUAL BIT(12)

/*
 * Class BLOCK: a is the first sector, b how many, cost the ticks from submit to completion, 0 at
 * submit. code: enum block_op, and the bits here.
 */
#define TRACE_BLOCK_OP       0xfu
#define TRACE_BLOCK_OVER     BIT(4) /* completion; else submit */
#define TRACE_BLOCK_FUA      BIT(5)
#define TRACE_BLOCK_ERROR(c) ((c) >> 8 & 0xff) /* as in arch/x86/lib/errno.h; 0: it went well */
#define TRACE_BLOCK_DISK(c)  ((c) >> 16)       /* number of the VM's disk */

/* What a request is, by enum block_op. X(symbol, word) */
#define TRACE_BLOCK_LIST(X)                                                                        \
    X(READ, "read")                                                                                \
    X(WRITE, "write")                                                                              \
    X(FLUSH, "flush")                                                                              \
    X(DISCARD, "discard")                                                                          \
    X(WRITE_ZEROES, "write zeroes")

#define TRACE_NO_VM 0xffff

struct trace_record {
    uint64_t time; /* host TSC */
    uint64_t rip;  /* the guest's; 0 where the class has none */
    uint64_t a, b; /* by class and code */
    uint32_t cost; /* TSC ticks, 0 where the class has none */
    uint32_t code; /* exit reason, interruption information, vector, enum trace_sched, ... */
    uint16_t vm;   /* its number in the config, from 0; TRACE_NO_VM */
    uint16_t vcpu;
    uint8_t kind; /* enum trace_class */
};
_Static_assert(sizeof(struct trace_record) == 48, "a trace record's size is documented");
