/*
 * gdb on the second serial port, on processor 0: one VM at a time, its vCPUs as threads. Nothing
 * here waits: a VM that is to stop has stopped some rounds of the loop later, and gdb is told then.
 */
#include "guest/gdb/gdb.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h"
#include "guest/vm/control.h"
#include "guest/gdb/points.h"
#include "guest/gdb/inspect.h"
#include "guest/run/run.h"

/* Bytes that are looked at in one go, and how often a second at least: a guest with interrupts off
 * may hold the port's interrupt back (Bochs does that). */
#define INPUT_MAX 256
#define PUMP_HZ   500

static bool on;
static struct gdb_stub stub;
static struct vm_slot *slot;          /* the VM; NULL until gdb comes */
static bool clear, detaching;         /* to be done when it has stopped */
static uint64_t resumed = UINT64_MAX; /* the vCPUs that gdb let run */
static unsigned starts, resets;       /* of the VM when the points were planted */

static struct vm *vm(void)
{
    return slot ? slot->vm : NULL;
}

/* Its vCPUs are in no processor, and registers and memory ours to change. */
static bool stands_still(void)
{
    return vm() && slot->state == SLOT_PAUSED;
}

/* --- looking at vCPUs --- */

struct request {
    struct gdb_registers *get;
    const struct gdb_registers *set;
    int result;
};

static void exchange(struct vcpu *v, void *arg)
{
    struct request *r = arg;

    if (r->get)
        gdb_get_registers(v, r->get);
    if (r->set)
        r->result = gdb_set_registers(v, r->set);
}

static unsigned target_threads(void)
{
    return vm() ? MIN(vm()->vcpu_count, GDB_THREADS) : 0;
}

static bool target_thread_text(unsigned thread, struct gdb_text *out)
{
    const struct vcpu *v = thread < target_threads() ? vm()->vcpu[thread] : NULL;

    if (!v)
        return false;
    gdb_say(out, "%s vCPU %u%s", slot->name, thread,
            v->wait_for_startup ? ", waits for its start-up"
            : v->halted         ? ", halted"
                                : "");
    return true;
}

static int target_get(unsigned thread, struct gdb_registers *r)
{
    struct request request = {.get = r};

    return thread < target_threads() ? run_inspect(vm()->vcpu[thread], exchange, &request)
                                     : -ENODEV;
}

static int target_set(unsigned thread, const struct gdb_registers *r)
{
    struct request request = {.set = r};
    int result;

    if (!stands_still() || thread >= target_threads())
        return -EBUSY;
    result = run_inspect(vm()->vcpu[thread], exchange, &request);
    return result < 0 ? result : request.result;
}

/* --- memory --- */

/* Page by page, as far as there is RAM. */
static size_t copy(unsigned thread, bool physical, uint64_t address, void *in, const void *out,
                   size_t size)
{
    static struct gdb_registers r;
    size_t done = 0;

    if (thread >= target_threads() || (!physical && target_get(thread, &r) < 0))
        return 0;
    while (done < size) {
        uint64_t at = address + done, gpa = at;
        size_t piece = MIN(size - done, PAGE_SIZE - at % PAGE_SIZE);

        if (!physical && gdb_translate(vm()->vcpu[thread], &r, at, &gpa) < 0)
            break;
        if ((out ? points_write(&vm()->memory, gpa, (const char *)out + done, piece)
                 : points_read(&vm()->memory, gpa, (char *)in + done, piece)) < 0)
            break;
        done += piece;
    }
    return done;
}

static size_t target_read(unsigned thread, bool physical, uint64_t address, void *data, size_t size)
{
    return copy(thread, physical, address, data, NULL, size);
}

static size_t target_write(unsigned thread, bool physical, uint64_t address, const void *data,
                           size_t size)
{
    return stands_still() ? copy(thread, physical, address, NULL, data, size) : 0;
}

/* --- breakpoints and watchpoints --- */

static int target_insert(unsigned thread, const struct gdb_point *p)
{
    static struct gdb_registers r;
    uint64_t gpa = 0;
    int result;

    if (!stands_still() || thread >= target_threads())
        return -EBUSY;
    if (p->kind != GDB_POINT_SOFTWARE)
        return points_watch(p);
    result = target_get(thread, &r);
    if (result == 0)
        result = gdb_translate(vm()->vcpu[thread], &r, p->address, &gpa);
    return result < 0 ? result : points_plant(&vm()->memory, p->address, gpa);
}

/* One that is gone already (the VM was reset) is as good as removed. */
static int target_remove(const struct gdb_point *p)
{
    if (!stands_still())
        return vm() ? -EBUSY : 0;
    if (p->kind == GDB_POINT_SOFTWARE)
        (void)points_uproot(&vm()->memory, p->address);
    else
        (void)points_unwatch(p);
    return 0;
}

static void target_remove_all(void)
{
    clear = true;
}

/* --- stopping and going on --- */

static void choose_first(void)
{
    if (vm())
        return;
    for (unsigned i = 0; i < control_count(); i++) {
        if (control_slot(i)->vm) {
            slot = control_slot(i);
            return;
        }
    }
}

/* What was planted before the VM was started anew has gone with its memory. */
static void attach(void)
{
    if (starts != slot->starts || resets != slot->vm->resets)
        points_remove_all(NULL);
    starts = slot->starts;
    resets = slot->vm->resets;
    slot->vm->debugged = true;
}

static void target_stop(void)
{
    char error[CONTROL_ERROR];

    choose_first();
    if (!vm())
        return; /* told in watch() */
    attach();
    if (slot->state == SLOT_RUNNING)
        (void)!control_pause(slot, error);
}

/* Several may have stopped at once, and gdb is told of one. At a breakpoint the others stop again;
 * behind an access that is watched they would not. */
static bool has_news(const struct gdb_vcpu *d)
{
    return (d->why == GDB_WATCH_WRITE || d->why == GDB_WATCH_ACCESS) && points_watched(d->address);
}

static int target_resume(const enum gdb_action *action)
{
    char error[CONTROL_ERROR];
    bool news = false;

    if (!stands_still())
        return -EBUSY;
    resumed = 0;
    for (unsigned i = 0; i < target_threads(); i++) {
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        if (action[i] == GDB_STAY)
            continue;
        resumed |= BIT(i);
        if (has_news(d))
            news = true;
        else
            d->why = GDB_NOT_STOPPED;
    }
    if (news)
        return 0; /* told in watch() */
    vm()->turns = 0;
    vm()->stopping = false;
    for (unsigned i = 0; i < target_threads(); i++) {
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        d->step = action[i] == GDB_STEP;
        d->turn = action[i] == GDB_STAY ? 0 : GDB_TURN_DUE;
        d->tries = 0;
        vm()->turns += action[i] != GDB_STAY;
    }
    return resumed ? control_resume_some(slot, resumed, error) : -EINVAL;
}

static void target_detach(void)
{
    char error[CONTROL_ERROR];

    if (!vm())
        return;
    detaching = true;
    if (slot->state == SLOT_RUNNING)
        (void)!control_pause(slot, error);
}

static void end_step(struct vcpu *v, void *arg)
{
    gdb_end_step(v);
    v->debug.step = false;
}

/* A step may not have come to its end, since another vCPU has stopped them all. */
static void end_steps(void)
{
    for (unsigned i = 0; i < vm()->vcpu_count; i++)
        if (vm()->vcpu[i]->step.users & STEP_DEBUGGER)
            (void)!run_inspect(vm()->vcpu[i], end_step, NULL);
}

static void finish_detach(void)
{
    char error[CONTROL_ERROR];

    detaching = false;
    resumed = UINT64_MAX;
    points_remove_all(&vm()->memory);
    vm()->debugged = false;
    vm()->turns = 0;
    vm()->stopping = false;
    for (unsigned i = 0; i < vm()->vcpu_count; i++) {
        vm()->vcpu[i]->debug.step = false;
        vm()->vcpu[i]->debug.turn = 0;
    }
    (void)!control_resume(slot, error); /* refused when it has come to its end */
}

static struct gdb_stop why_stopped(void)
{
    struct gdb_stop stop = {.why = GDB_STOPPED, .thread = stub.thread};
    unsigned count = target_threads();

    /* The one behind that of the last time is the first. */
    for (unsigned n = 1; n <= count; n++) {
        unsigned i = (stub.thread + n) % count;
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        if (d->why == GDB_NOT_STOPPED || !(resumed & BIT(i)))
            continue;
        stop = (struct gdb_stop){.why = d->why, .thread = i, .address = d->address};
        d->why = GDB_NOT_STOPPED;
        break;
    }
    if (stop.thread >= target_threads())
        stop.thread = 0;
    return stop;
}

static void gone(void)
{
    const struct gdb_stop stop = {
        .why = slot && (slot->ended == SLOT_CRASHED || slot->ended == SLOT_KILLED) ? GDB_KILLED
                                                                                   : GDB_EXITED};

    points_remove_all(NULL);
    clear = detaching = false;
    gdb_stub_stopped(&stub, &stop);
}

/* What has become of the VM since the last time. */
static void watch(void)
{
    if (!vm()) {
        if (stub.running || detaching || slot)
            gone();
        slot = NULL;
        return;
    }
    if (vm()->debugged)
        attach();
    if (!stands_still())
        return;
    if (vm()->debugged)
        end_steps();
    if (clear)
        points_remove_all(&vm()->memory);
    clear = false;
    if (detaching) {
        finish_detach();
        return;
    }
    if (stub.running) {
        const struct gdb_stop stop = why_stopped();
        gdb_stub_stopped(&stub, &stop);
    }
}

/* --- the monitor command --- */

static void list_vms(struct gdb_text *out)
{
    for (unsigned i = 0; i < control_count(); i++) {
        const struct vm_slot *s = control_slot(i);
        gdb_say(out, "%s %s: %s\n", s == slot ? "*" : " ", s->name, control_state_text(s));
    }
}

static void choose_vm(const char *name, size_t length, struct gdb_text *out)
{
    struct vm_slot *next = control_find(name, length);

    if (!next || !next->vm) {
        gdb_say(out, "%.*s %s\n", (int)MIN(length, 40), name,
                next ? "is off" : "is no VM: monitor vm lists them");
        return;
    }
    if (vm() && next != slot) {
        if (!stands_still()) {
            gdb_say(out, "%s has to stand still first\n", slot->name);
            return;
        }
        finish_detach();
    }
    slot = next;
    target_stop();
    gdb_say(out, "%s now; say: maintenance flush register-cache, then: info threads\n", slot->name);
}

static void target_monitor(const char *line, size_t length, struct gdb_text *out)
{
    if (length == 2 && memcmp(line, "vm", 2) == 0)
        list_vms(out);
    else if (length > 3 && memcmp(line, "vm ", 3) == 0)
        choose_vm(line + 3, length - 3, out);
    else
        gdb_say(out, "monitor vm           list the VMs\n"
                     "monitor vm NAME      debug this one; the one before goes on\n"
                     "monitor phys on|off  addresses are guest-physical, or the vCPU's own\n");
}

static const struct gdb_target target = {
    .threads = target_threads,
    .thread_text = target_thread_text,
    .get = target_get,
    .set = target_set,
    .read = target_read,
    .write = target_write,
    .insert = target_insert,
    .remove = target_remove,
    .remove_all = target_remove_all,
    .resume = target_resume,
    .stop = target_stop,
    .detach = target_detach,
    .monitor = target_monitor,
};

/* --- the port --- */

static void send(const void *data, size_t size)
{
    serial_write(&com2, data, size); /* gdb_pump() has seen that there is room */
}

static void arrived(void)
{
    run_attention(0);
}

void gdb_init(void)
{
    if (!serial_present(&com2)) {
        log_warn("gdb: there is no second serial port (2F8h) for it");
        return;
    }
    gdb_stub_init(&stub, &target, send);
    serial_set_rx_handler(&com2, arrived);
    if (serial_enable_interrupts(&com2) < 0)
        log_debug("gdb: the second serial port is polled");
    on = true;
    log_info("gdb: a debugger may connect to the second serial port");
}

uint64_t gdb_pump(void)
{
    int byte;

    if (LIKELY(!on))
        return UINT64_MAX;
    serial_poll(&com2);
    for (unsigned i = 0; i < INPUT_MAX && serial_room(&com2) > 2 * GDB_FRAME; i++) {
        byte = serial_read(&com2);
        if (byte < 0)
            break;
        gdb_stub_input(&stub, (uint8_t)byte);
        watch();
    }
    watch();
    return rdtsc() + tsc_hz / PUMP_HZ;
}

void gdb_flush(void)
{
    if (on)
        serial_flush(&com2);
}
