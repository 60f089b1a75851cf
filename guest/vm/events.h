/*
 * What happens in the lives of VMs, told to those who stand above guest/vm/ and know it. It knows
 * them by this table only, which guest/observers.c fills in. On processor 0, but for the outputs.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct vm;
struct vm_slot;

/* What has come of a question to whoever is at the console. */
enum vm_answer { VM_NO_KEY, VM_KEY, VM_MONITOR_IN_USE };

struct vm_events {
    /* --- a VM --- */

    /* Its files have been loaded for the first time, and it has not run. A negative errno, after
     * the log has said why: it is not to run. */
    int (*loaded)(struct vm *vm);
    /* It has been reset and loaded anew while a debugger has it. Whether it is to stand still
     * before its first instruction. forced: somebody else than its guest has reset it. */
    bool (*stands_still)(struct vm *vm, bool forced);
    /* It is about to run for the first time. Restarts are not told. */
    void (*started)(struct vm_slot *slot);
    /* It has ended, or could not start; or it has ended and restarts. */
    void (*ended)(struct vm_slot *slot, bool restarts);
    /* A byte from its UART (vm is a struct vm): whether it was taken. If not, vm_console_retry()
     * is called when it may be. On any processor, with the UART's lock. */
    bool (*output)(void *vm, uint8_t byte);
    /* Bytes from one of its ports: how many of them were taken. They are offered again by and by.
     * On any processor, with the port's lock. */
    size_t (*port_output)(void *vm, unsigned port, const void *data, size_t size);

    /* --- none is left --- */

    /* No VM runs and none starts by itself, but some can be started. */
    void (*none_runs)(void);
    /* No VM is left, and the machine stays on. */
    void (*stays_on)(void);
    /* The log has just asked something: a key that is typed is the answer. */
    void (*ask_for_key)(void);
    /* What has come of that. */
    enum vm_answer (*answer)(void);

    /* --- the machine goes down --- */

    /* All VMs have ended: the trace records no more, and nothing is captured. */
    void (*trace_finish)(void);
    /* Send as much of what it has recorded as the port takes without waiting. */
    uint64_t (*trace_pump)(void);
    /* How many records are left to be sent. */
    uint64_t (*trace_left)(void);
    /* How many captured packets are. */
    uint64_t (*capture_left)(void);
    /* The machine goes down at once: the trace records no more, and what it has is lost. */
    void (*trace_off)(void);
    /* The last thing: wait until all that was said to terminals and debuggers is sent. */
    void (*flush)(void);
};

extern const struct vm_events *vm_events;

/* Once, before anything else of guest/vm/ is called; all stays in place. */
void vm_events_init(const struct vm_events *all);
