/* The exit path of a vCPU that is traced: around vcpu_exit(), which does not know of it. */
#include "arch/x86/cpu.h"
#include "drivers/serial.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/exit.h"
#include "guest/trace/trace.h"
#include "guest/vm/vm.h"

/* How long a vCPU stays in its guest at most while its records are streamed: else a quiet guest's
 * last ones would wait in memory. */
#define STREAM_HZ 100

/* What the guest's registers say, which the handler will change. */
static void look_before(const struct vcpu *v, struct trace_record *r)
{
    const uint64_t *gpr = v->hw.gpr;

    switch (r->code) {
    case EXIT_CPUID:
        r->a = (uint32_t)gpr[RAX];
        r->b = (uint32_t)gpr[RCX];
        break;
    case EXIT_RDMSR:
        r->a = (uint32_t)gpr[RCX];
        break;
    case EXIT_WRMSR:
        r->a = (uint32_t)gpr[RCX];
        r->b = gpr[RDX] << 32 | (uint32_t)gpr[RAX];
        break;
    case EXIT_VMCALL:
        r->a = gpr[RAX];
        r->b = gpr[RBX];
        break;
    case EXIT_IO:
        r->b = (uint32_t)gpr[RAX];
        break;
    }
}

/* What the handler has decoded or answered. */
static void look_after(const struct vcpu *v, struct trace_record *r)
{
    const struct vm_exit *e = &v->exit;

    switch (r->code) {
    case EXIT_EXCEPTION_NMI:
    case EXIT_EXTERNAL_INTERRUPT:
        r->a = e->intr;
        r->b = e->error;
        break;
    case EXIT_RDMSR:
        r->b = v->hw.gpr[RDX] << 32 | (uint32_t)v->hw.gpr[RAX];
        break;
    case EXIT_IO:
        r->a = e->qualification;
        if (e->qualification & IO_IN)
            r->b = (uint32_t)v->hw.gpr[RAX];
        break;
    case EXIT_EPT_VIOLATION:
        r->a = e->qualification;
        r->b = e->gpa;
        break;
    case EXIT_EPT_MISCONFIGURATION:
        r->b = e->gpa;
        break;
    case EXIT_TASK_SWITCH:
    case EXIT_CR_ACCESS:
    case EXIT_APIC_ACCESS:
    case EXIT_EOI:
    case EXIT_APIC_WRITE:
        r->a = e->qualification;
        break;
    }
}

static void record_hypercall(const struct trace_record *exit)
{
    struct trace_record r = *exit;

    r.kind = TRACE_HYPERCALLS;
    r.code = 0;
    r.cost = 0;
    trace_put(&r);
}

static void record_injection(const struct vcpu *v, uint32_t code, uint64_t error)
{
    const struct trace_record r = {.time = rdtsc(),
                                   .rip = vmx_rip(),
                                   .kind = TRACE_INJECTIONS,
                                   .code = code,
                                   .vm = (uint16_t)v->vm->id,
                                   .vcpu = (uint16_t)v->id,
                                   .a = error};

    trace_put(&r);
}

void trace_injection(struct vcpu *v)
{
    struct vmx_event e;

    if (vmx_pending_injection(&e))
        record_injection(v, e.info & (uint32_t)~INTR_VALID, e.error);
    if (!v->virtual_delivery)
        return;
    uint8_t requested = vmx_requested_vector();
    if (requested && requested != v->traced_vector)
        record_injection(v, TRACE_INJECT_VIRTUAL | requested, 0);
    v->traced_vector = requested;
}

int trace_exit(struct vcpu *v, uint64_t reason, uint64_t tsc)
{
    struct trace_record r = {.time = rdtsc(),
                             .rip = vmx_rip(),
                             .kind = TRACE_EXITS,
                             .code = (uint32_t)reason,
                             .vm = (uint16_t)v->vm->id,
                             .vcpu = (uint16_t)v->id};
    uint32_t events = v->trace;

    if (v->virtual_delivery && (events & BIT(TRACE_INJECTIONS)))
        v->traced_vector = vmx_requested_vector();
    look_before(v, &r);
    int leave = vcpu_exit(&v->hw, reason, tsc);
    uint64_t done = rdtsc();
    r.cost = (uint32_t)MIN(done - r.time, UINT32_MAX);
    look_after(v, &r);
    if (events & BIT(TRACE_EXITS))
        trace_put(&r);
    if ((events & BIT(TRACE_HYPERCALLS)) && reason == EXIT_VMCALL)
        record_hypercall(&r);
    if (leave == VCPU_STAY) {
        if (events & BIT(TRACE_INJECTIONS))
            trace_injection(v);
        if (trace_pump() != UINT64_MAX)
            vcpu_leave_by(v, done + tsc_hz / STREAM_HZ);
        vcpu_account(v, rdtsc() - done); /* vcpu_exit() has counted up to there */
    }
    return leave;
}
