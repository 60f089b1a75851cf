#include "guest/vm/down.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/machine.h"
#include "guest/vm/control.h"
#include "guest/vm/events.h"

#define LOOK_HZ     10
#define TOLD_EVERY  10   /* seconds, on the log */
#define PRESS_EVERY 10   /* seconds: a guest that still boots forgets that the button was pressed */
#define LEAVE_MS    2000 /* for the vCPUs of a VM that is ended to leave their processors */

static const struct config *config;
static enum down_kind kind;
static enum { VMS, LEAVING, TRACE } phase;
static const char *reason;
static uint64_t until; /* host TSC at which the phase ends; phase TRACE has no such end */
/* Host TSC when the log was last told how far it is, and when all VMs were last asked to end. */
static uint64_t told, asked;

static const char *const names[] = {[DOWN_POWEROFF] = "power off", [DOWN_REBOOT] = "reboot"};

void down_init(const struct config *c)
{
    config = c;
}

bool down_wanted(void)
{
    return kind != DOWN_NOT;
}

/* --- which VMs --- */

/* How many are left, with the names of the first ones. */
static unsigned vms_left(char *text, size_t size)
{
    unsigned left = 0;
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < control_count(); i++) {
        const struct vm_slot *s = control_slot(i);
        if (s->state == SLOT_OFF)
            continue;
        if (left++ && used < size)
            used += (size_t)format(text + used, size - used, ", ");
        if (used < size)
            used += (size_t)format(text + used, size - used, "%s", s->name);
    }
    return left;
}

static bool any_settles(void)
{
    for (unsigned i = 0; i < control_count(); i++)
        if (control_slot(i)->settling)
            return true;
    return false;
}

/* Ask all VMs to end, every PRESS_EVERY seconds; those that do not run are asked each time. */
static void ask(uint64_t now)
{
    bool all = !asked || now - asked >= PRESS_EVERY * tsc_hz;

    for (unsigned i = 0; i < control_count(); i++) {
        struct vm_slot *s = control_slot(i);
        if (s->state != SLOT_OFF && (all || s->state != SLOT_RUNNING))
            control_go_down(s);
    }
    if (all)
        asked = now;
}

static void end_all(void)
{
    char why[64], error[CONTROL_ERROR];

    format(why, sizeof(why), "did not shut down within %u s", config->shutdown_timeout);
    for (unsigned i = 0; i < control_count(); i++) {
        struct vm_slot *s = control_slot(i);
        if (s->state == SLOT_OFF)
            continue;
        log_warn("%s: %s: it is ended", s->name, why);
        (void)!control_kill(s, why, error); /* refused where it is on its way already */
    }
}

/* --- from step to step --- */

static uint64_t seconds_left(uint64_t now)
{
    return now < until ? (until - now + tsc_hz - 1) / tsc_hz : 0;
}

void down_text(char text[DOWN_TEXT])
{
    char who[DOWN_TEXT];
    unsigned left = vms_left(who, sizeof(who));

    if (phase == TRACE && vm_events->capture_left() && !vm_events->trace_left())
        format(text, DOWN_TEXT, "%lu captured packets are left to be sent",
               vm_events->capture_left());
    else if (phase == TRACE)
        format(text, DOWN_TEXT, "%lu records of the trace are left to be sent",
               vm_events->trace_left());
    else if (!left)
        format(text, DOWN_TEXT, "all VMs have ended");
    else
        format(text, DOWN_TEXT, "waiting for %u VM%s to shut down, %lu s: %s", left,
               left == 1 ? "" : "s", seconds_left(rdtsc()), who);
}

static void tell(uint64_t now)
{
    char text[DOWN_TEXT];

    if (now - told < TOLD_EVERY * tsc_hz)
        return;
    told = now;
    down_text(text);
    log_info("%s: %s", names[kind], text);
}

void down_begin(enum down_kind k, const char *why)
{
    uint64_t now = rdtsc();

    reason = why;
    if (kind != DOWN_NOT) { /* it goes down already: only what comes last is another now */
        kind = k;
        return;
    }
    kind = k;
    phase = VMS;
    until = now + config->shutdown_timeout * tsc_hz;
    asked = told = 0;
}

void down_cancel(void)
{
    if (kind == DOWN_NOT)
        return;
    log_info("%s: called off: the machine stays on", names[kind]);
    kind = DOWN_NOT;
}

static NORETURN void go(void)
{
    log_info("%s: %s", reason, names[kind]);
    vm_events->flush();
    if (kind == DOWN_REBOOT)
        machine_reset();
    machine_poweroff();
}

NORETURN void down_now(enum down_kind k)
{
    uint64_t left = vm_events->trace_left(), packets = vm_events->capture_left();

    vm_events->trace_off();
    if (left)
        log_warn("%lu records of the trace are not sent", left);
    if (packets)
        log_warn("%lu captured packets are not sent", packets);
    kind = k;
    reason = "now";
    go();
}

static void wait_for_vms(uint64_t now)
{
    char who[DOWN_TEXT];

    if (phase == VMS)
        ask(now);
    if (!vms_left(who, sizeof(who))) {
        phase = TRACE;
        vm_events->trace_finish();
        told = now;
        return;
    }
    if (now < until) {
        tell(now);
        return;
    }
    if (phase == VMS) {
        end_all();
        phase = LEAVING;
        until = now + tsc_hz / 1000 * LEAVE_MS;
        return;
    }
    log_error("%s: %s %s: this ends with the machine", names[kind],
              any_settles() ? "a drive does not give back what was asked for by"
                            : "no processor gets rid of",
              who);
    phase = TRACE;
    vm_events->trace_finish();
    told = now;
}

uint64_t down_work(void)
{
    uint64_t now = rdtsc();

    if (phase != TRACE)
        wait_for_vms(now);
    if (phase == TRACE) {
        (void)vm_events->trace_pump();
        if (!vm_events->trace_left() && !vm_events->capture_left())
            go();
        tell(now);
    }
    return now + tsc_hz / LOOK_HZ;
}
