/*
 * What is traced: events of six classes, each in a record of fixed size. docs/TRACE.md says what
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
