/*
 * Who looks on from outside: a debugger, watches, the trace. They stand above and know vCPUs; a
 * vCPU knows them by this table only, which is handed down at start.
 *
 * As long as nobody has looked on, `probes` is NULL, and that is the one word that is tested for
 * all of them: before a stay in the guest and at a few rare events, not at VM exits. From the first
 * observer on, a vCPU that is looked at has its VM exits lead to vcpu_exit_watched().
 */
#pragma once

#include "guest/config/trace_class.h"
#include "guest/cpu/exit.h"

struct probes {
    /* When the loaded vCPU gets its processor, and with what vcpu_run() is about to return. */
    void (*enter)(struct vcpu *v);
    void (*leave)(struct vcpu *v, int why);
    /* Between these two, if it comes to a stay in the guest: before it, and behind it with what
     * vmx_run() has returned. */
    void (*stay)(struct vcpu *v);
    void (*stayed)(struct vcpu *v, int why);
    /* INIT or reset of the loaded vCPU. */
    void (*reset)(struct vcpu *v);
    /* An interrupt line of the VM's board (a: its number, b: its level), or its timers. */
    void (*device)(const struct vm *vm, enum trace_device what, uint64_t a, uint64_t b);

    /* --- the debugger's (struct vcpu.debug) --- */

    /* #BP: its own stops the VM, the guest's own goes to the guest. */
    void (*breakpoint)(struct vcpu *v, struct vm_exit *e);
    /* Whether a #DB was one of its debug registers'; else it is the guest's. */
    bool (*debug_exception)(struct vcpu *v, struct vm_exit *e);
    enum exit_result (*dr_access)(struct vcpu *v, struct vm_exit *e);

    /* --- the watches' (struct vcpu.watch) --- */

    /* Before an exit is handled: whether it is not to be, as the VM pauses before the
     * instruction. */
    bool (*before_exit)(struct vcpu *v, uint64_t reason);
    /* RAM: whether rights were missing that watches have taken. */
    bool (*ept_violation)(struct vcpu *v, const struct vm_exit *e);
    /* #UD: whether it was a watched instruction, which has been carried out. */
    bool (*undefined)(struct vcpu *v);
    /* Corbel reads or writes RAM for an instruction of the guest's. */
    void (*touched)(struct vcpu *v, uint64_t linear, uint64_t gpa, size_t size, bool write);
    enum exit_result (*descriptor_table)(struct vcpu *v, struct vm_exit *e);
    /* The MSR bitmap has been built anew. */
    void (*msr_bitmap)(struct vcpu *v);

    /* --- both: a step that was asked for has ended (guest/cpu/step.h) --- */

    void (*debugger_stepped)(struct vcpu *v);
    /* With the instruction carried out, or by a fault. */
    void (*watch_stepped)(struct vcpu *v, bool carried_out);

    /* --- the trace's (struct vcpu.trace) --- */

    /* In place of vcpu_exit(), which it calls. */
    int (*traced_exit)(struct vcpu *v, uint64_t reason, uint64_t tsc);
};

extern const struct probes *probes;

/* Once, before the first VM is made; all stays in place. */
void probes_init(const struct probes *all);
/* Somebody looks on from now on. */
void probes_begin(void);
