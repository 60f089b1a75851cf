/*
 * Tracing: each CPU writes records of what it sees into a ring of its own, and the rings are
 * streamed over the second serial port by and by.
 *
 * Switched off it costs nothing on the exit path: a vCPU whose exits are recorded has another exit
 * address in its VMCS (vmx_watch_exits), which leads by vcpu_exit_watched() in cpu/exit_watched.c
 * to trace_exit(). Rarer events are behind the one test that all observers share.
 */
#pragma once

#include "guest/trace/text.h"
#include "guest/trace/view.h"

struct vcpu;
struct vm;
struct vm_config;

/* Which classes are recorded, BIT(enum trace_class), and of which VM. */
extern uint32_t trace_events;
extern unsigned trace_vm;
#define TRACE_ALL_VMS 0xffffffffu

/*
 * Which classes a word stands for: their bit, or all; -ENOENT for a word that stands for none. For
 * the config and the monitor.
 */
int trace_class_by_name(const char *name, size_t length, uint32_t *events);

/* Whose names the stream carries, and how large each CPU's ring is to be. Once, before
 * trace_on(). */
void trace_init(const struct vm_config *vms, size_t vm_count, size_t ring_bytes);
/*
 * Record events (BIT(enum trace_class)) of one VM, or of TRACE_ALL_VMS, from now on; vCPUs follow
 * when they next come to their processor's loop. 0; -ENOMEM, logged.
 */
int trace_on(unsigned vm, uint32_t events) MUST_CHECK;
/* Stop recording. What the rings hold stays there. */
void trace_off(void);

/*
 * Send what waits as far as the port takes it without waiting. Returns the host TSC at which it
 * will take more; UINT64_MAX when there is nothing to send. Any CPU, with no lock held.
 */
uint64_t trace_pump(void);
/* Send once more all that is still in memory, for a reader that was not there before. Returns how
 * many records that is; -ENODEV without a port, -EBUSY. */
int64_t trace_save(void);
/* How many of those are still to be sent; 0, too, when the port has been stuck for a second. On
 * processor 0. */
uint64_t trace_save_left(void);
/* No more of what was sent before. */
void trace_save_stop(void);
/* Stop recording; what waits is sent by and by, with names and clock once more. */
void trace_finish(void);
/* Records that have yet to be sent, counting what the port has not sent yet as one; 0 without a
 * port, or when it has been stuck for a second. On processor 0. */
uint64_t trace_left(void);

/* --- for the monitor --- */

struct trace_state {
    bool port;         /* there is one to send over */
    uint64_t recorded; /* records since the start, of all processors */
    uint64_t waiting;  /* of those, not sent yet */
    uint64_t lost;     /* pushed out before they were sent */
};

struct trace_state trace_state(void);
/* The records as they are now: trace_view_back() brings the newest into view. */
void trace_show(struct trace_view *v);
/* The next line of it; false at the end. */
bool trace_show_next(struct trace_view *v, char line[TRACE_TEXT]);

/* --- where things happen --- */

void trace_put(const struct trace_record *r);

/* Around vmx_run(), for the loaded vCPU: it adopts what is to be recorded of it. leave is what
 * vmx_run() returned. */
void trace_run(struct vcpu *v);
void trace_leave(struct vcpu *v, int leave);

/* A device of that VM's: see guest/cpu/probe.h. */
void trace_device(const struct vm *vm, enum trace_device code, uint64_t a, uint64_t b);
/* In place of vcpu_exit() for a vCPU that is traced (exits.c). */
int trace_exit(struct vcpu *v, uint64_t reason, uint64_t tsc);

/* What the next VM entry injects into the loaded vCPU, if it does. */
void trace_injection(struct vcpu *v);
