/* Who looks on from outside, as vCPUs (guest/cpu/probe.h) and VMs know them. */
#include "guest/observers.h"

#include "guest/capture/capture.h"
#include "guest/com2/com2.h"
#include "guest/console/console.h"
#include "guest/cpu/probe.h"
#include "guest/gdb/gdb.h"
#include "guest/trace/trace.h"
#include "guest/watch/watch.h"

static void enter(struct vcpu *v)
{
    gdb_run(v);
    watch_run(v);
}

static void leave(struct vcpu *v, int why)
{
    if (v->debug.turn)
        gdb_ran(v, why);
}

static const struct probes observers = {
    .enter = enter,
    .leave = leave,
    .reset = watch_reset,
    .device = trace_device,
    .breakpoint = gdb_breakpoint,
    .debug_exception = gdb_debug_exception,
    .dr_access = gdb_dr_access,
    .before_exit = watch_exit,
    .ept_violation = watch_ept_violation,
    .undefined = watch_undefined,
    .touched = watch_touched,
    .descriptor_table = watch_descriptor_table,
    .msr_bitmap = watch_msr_bitmap,
    .debugger_stepped = gdb_step_done,
    .watch_stepped = watch_step_done,
    .stay = trace_run,
    .stayed = trace_leave,
    .traced_exit = trace_exit,
};

/* What VMs' lives tell them (guest/vm/events.h). */
static void finish(void)
{
    trace_finish();
    capture_stop();
}

static void flush(void)
{
    com2_flush();
    console_flush();
}

static const struct vm_events events = {
    .loaded = watch_configured,
    .stands_still = gdb_restarted,
    .started = console_vm_starts,
    .ended = console_vm_ends,
    .output = console_put,
    .port_output = console_put_port,
    .none_runs = console_idle,
    .stays_on = console_monitor,
    .ask_for_key = console_ask_for_key,
    .answer = console_answer,
    .trace_finish = finish,
    .trace_pump = trace_pump,
    .trace_left = trace_left,
    .capture_left = capture_left,
    .trace_off = trace_off,
    .flush = flush,
};

void observers_init(void)
{
    probes_init(&observers);
    vm_events_init(&events);
}
