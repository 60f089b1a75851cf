/* The classes of events that `trace` in the config and in the monitor choose from; guest/trace/
 * records them. */
#pragma once

#include "arch/x86/lib/types.h"

/* X(symbol, name in the config and the monitor, what it is). The number of a class is also that of
 * its records' kind: new ones go to the end. */
#define TRACE_CLASS_LIST(X)                                                                        \
    X(EXITS, "exits", "VM exits, with what they cost")                                             \
    X(INJECTIONS, "injections", "what a VM entry delivers into the guest")                         \
    X(SCHEDULING, "scheduling", "vCPUs that come to a processor and leave it")                     \
    X(INTERRUPTS, "interrupts", "the machine's own interrupts")                                    \
    X(HYPERCALLS, "hypercalls", "VMCALLs, with their arguments")                                   \
    X(DEVICES, "devices", "virtual devices: interrupt lines, timers")                              \
    X(BLOCK, "block", "requests to VMs' disks, from submit to completion")

enum trace_class {
#define TRACE_CLASS_ENUM(symbol, name, what) TRACE_##symbol,
    TRACE_CLASS_LIST(TRACE_CLASS_ENUM)
#undef TRACE_CLASS_ENUM
        TRACE_CLASSES
};

#define TRACE_EVERYTHING ((uint32_t)BIT(TRACE_CLASSES) - 1)

/* Class DEVICES: what a device has done. X(symbol, word) */
#define TRACE_DEVICE_LIST(X)                                                                       \
    X(LINE, "line")                                                                                \
    X(TIMERS, "timers")

enum trace_device {
#define TRACE_DEVICE_ENUM(symbol, word) TRACE_DEVICE_##symbol,
    TRACE_DEVICE_LIST(TRACE_DEVICE_ENUM)
#undef TRACE_DEVICE_ENUM
};
