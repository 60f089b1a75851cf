/*
 * gdb on the second serial port, on processor 0: one VM at a time, its vCPUs as threads. Nothing
 * here waits: a VM that is to stop has stopped some rounds of the loop later, and gdb is told then.
 */
#include "guest/cpu/probe.h"
#include "guest/gdb/gdb.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/com2/com2.h"
#include "guest/gdb/access.h"
#include "guest/gdb/inspect.h"
#include "guest/gdb/points.h"
#include "guest/run/run.h"
#include "guest/vm/control.h"

/* Bytes that are looked at in one go, and how often a second at least: a guest with interrupts off
 * may hold the port's interrupt back (Bochs does that). */
#define INPUT_MAX 256
#define PUMP_HZ   500
/* Code that has not come back that long after a reset does not. */
#define RECOVERY_SECONDS 30

static bool on;
static struct gdb_stub stub;
static bool attached;                 /* to it, from the first stop to detaching or its end */
static bool stop_wanted;              /* as soon as it runs */
static bool clear, detaching;         /* to be done when it has stopped */
static bool let_go;                   /* gdb has let it run */
static uint64_t resumed = UINT64_MAX; /* the vCPUs that gdb let run */
static uint64_t recover_until;        /* host TSC; lost INT3s are planted again until then, or 0 */

static struct vm *vm(void)
{
    return gdb_slot ? gdb_slot->vm : NULL;
}

/* --- breakpoints and watchpoints --- */

static int target_insert(unsigned thread, const struct gdb_point *p)
{
    static struct gdb_registers r;
    uint64_t gpa = 0;
    int result;

    if (!access_stands_still() || thread >= access_threads())
        return -EBUSY;
    if (p->kind != GDB_POINT_SOFTWARE)
        return points_watch(p);
    result = access_get(thread, &r);
    if (result == 0)
        result = gdb_translate(vm()->vcpu[thread], &r, p->address, &gpa);
    return result < 0 ? result : points_plant(&vm()->memory, p->address, gpa);
}

/* One that is gone already (the VM was reset) is as good as removed. */
static int target_remove(const struct gdb_point *p)
{
    if (!access_stands_still())
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
            gdb_slot = control_slot(i);
            return;
        }
    }
}

static void attach(void)
{
    attached = true;
    gdb_slot->vm->debugged = true;
    probes_begin();
}

/* Refused while it restarts: asked again in watch(). */
static void pause(void)
{
    char error[CONTROL_ERROR];

    if (gdb_slot->state == SLOT_RUNNING)
        (void)!control_pause(gdb_slot, error);
}

static void target_stop(void)
{
    choose_first();
    if (!vm())
        return; /* told in watch() */
    attach();
    stop_wanted = true;
    pause();
}

/* gdb takes it to stand still unless it waits for it; the monitor may have let it run. */
static bool target_ready(void)
{
    if (!attached || !vm() || access_stands_still())
        return true;
    stop_wanted = true;
    pause();
    return false;
}

/* Several may have stopped at once, and gdb is told of one, and of one watchpoint unless it takes
 * more. At a breakpoint the others stop again; behind an access that is watched they would not. */
static bool has_news(struct gdb_vcpu *d)
{
    unsigned left = 0;

    for (unsigned i = 0; i < d->hits && d->why == GDB_WATCH; i++)
        if (points_watched(&d->hit[i]))
            d->hit[left++] = d->hit[i];
    d->hits = (uint8_t)left;
    return left;
}

/* By the page tables of any vCPU. */
static bool mapped(uint64_t linear, uint64_t gpa)
{
    static struct gdb_registers r;
    uint64_t to;

    for (unsigned i = 0; i < access_threads(); i++)
        if (access_get(i, &r) == 0 && gdb_translate(vm()->vcpu[i], &r, linear, &to) == 0 &&
            to == gpa)
            return true;
    return false;
}

static int target_resume(const enum gdb_action *action)
{
    char error[CONTROL_ERROR];
    unsigned waiting;
    bool news = false;

    if (!access_stands_still())
        return -EBUSY;
    resumed = 0;
    for (unsigned i = 0; i < access_threads(); i++) {
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
    for (unsigned i = 0; i < access_threads(); i++) {
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        d->step = action[i] == GDB_STEP;
        d->turn = action[i] == GDB_STAY ? 0 : GDB_TURN_DUE;
        d->tries = 0;
        vm()->turns += action[i] != GDB_STAY;
    }
    if (!resumed)
        return -EINVAL;
    if (vm()->ending.wanted) { /* it cannot go on: gdb sees it where it is */
        gdb_say(&stub.news, "%s has come to its end (%s): reset or kill it\n", gdb_slot->name,
                vm()->ending.why);
        return 0;
    }
    let_go = true;
    (void)points_recover(&vm()->memory, mapped, &waiting);
    recover_until = waiting ? rdtsc() + RECOVERY_SECONDS * tsc_hz : 0;
    return control_resume_some(gdb_slot, resumed, error);
}

static void target_detach(void)
{
    if (!vm() || !attached)
        return;
    detaching = true;
    pause();
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
            (void)!vcpu_inspect(vm()->vcpu[i], end_step, NULL);
}

/* What was under way. */
static void forget_stops(void)
{
    vm()->turns = 0;
    vm()->stopping = false;
    for (unsigned i = 0; i < vm()->vcpu_count; i++) {
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        d->step = false;
        d->turn = 0;
        d->why = GDB_NOT_STOPPED;
        d->hits = 0;
    }
    resumed = UINT64_MAX;
}

static void forget(void)
{
    attached = stop_wanted = clear = detaching = let_go = false;
    recover_until = 0;
}

static void finish_detach(void)
{
    char error[CONTROL_ERROR];

    points_remove_all(&vm()->memory);
    vm()->debugged = false;
    forget();
    forget_stops();
    (void)!control_resume(gdb_slot, error); /* refused when it has come to its end */
}

static void take_news(struct gdb_vcpu *d, struct gdb_stop *stop)
{
    unsigned told = gdb_stub_hits(&stub, d->hits);

    stop->why = d->why;
    stop->hits = told;
    memcpy(stop->hit, d->hit, sizeof(stop->hit));
    d->hits = (uint8_t)(d->hits - told);
    memmove(d->hit, d->hit + told, d->hits * sizeof(d->hit[0]));
    if (!d->hits)
        d->why = GDB_NOT_STOPPED;
}

static struct gdb_stop why_stopped(void)
{
    struct gdb_stop stop = {.why = GDB_STOPPED, .thread = stub.thread};
    unsigned count = access_threads();

    /* The one behind that of the last time is the first. */
    for (unsigned n = 1; n <= count; n++) {
        unsigned i = (stub.thread + n) % count;
        struct gdb_vcpu *d = &vm()->vcpu[i]->debug;
        if (d->why == GDB_NOT_STOPPED || !(resumed & BIT(i)))
            continue;
        take_news(d, &stop);
        stop.thread = i;
        break;
    }
    if (stop.thread >= access_threads())
        stop.thread = 0;
    return stop;
}

static void gone(void)
{
    const struct gdb_stop stop = {
        .why = gdb_slot && (gdb_slot->ended == SLOT_CRASHED || gdb_slot->ended == SLOT_KILLED)
                   ? GDB_KILLED
                   : GDB_EXITED};

    if (attached || stub.running)
        gdb_stub_stopped(&stub, &stop);
    points_remove_all(NULL);
    forget();
    gdb_slot = NULL;
}

/* --- over a reset --- */

bool gdb_restarted(struct vm *restarted, bool forced)
{
    bool stays = stop_wanted || detaching || !stub.running;
    unsigned waiting, wanted;

    if (!attached || vm() != restarted)
        return false;
    end_steps();
    forget_stops();
    points_lose();
    wanted = points_recover(&vm()->memory, mapped, &waiting);
    recover_until = wanted ? rdtsc() + RECOVERY_SECONDS * tsc_hz : 0;
    gdb_say(&stub.news, "%s was reset %s: hardware breakpoints and watchpoints hold",
            gdb_slot->name, forced ? "from the monitor" : "by its guest");
    if (wanted)
        gdb_say(&stub.news, ", %u of %u breakpoints stand again", wanted - waiting, wanted);
    gdb_say(&stub.news, stays ? "; it stands before its first instruction\n" : "\n");
    gdb_stub_tell(&stub);
    return stays;
}

/* Until gdb stops it: it plants them all anew when it goes on. */
static void recover(void)
{
    unsigned waiting;
    uint64_t linear;

    if (LIKELY(!recover_until))
        return;
    (void)points_recover(&vm()->memory, mapped, &waiting);
    if (rdtsc() < recover_until)
        return;
    recover_until = 0;
    while (points_give_up(&linear))
        gdb_say(&stub.news, "the breakpoint at 0x%lx is gone: its code has not come back\n",
                linear);
    gdb_stub_tell(&stub);
}

/* --- what has become of the VM since the last time --- */

static void watch_running(void)
{
    if (stop_wanted || detaching) {
        pause();
    } else if (gdb_slot->state == SLOT_RUNNING && !let_go) {
        let_go = true;
        resumed = UINT64_MAX;
        gdb_say(&stub.news, "%s was resumed from the monitor\n", gdb_slot->name);
        gdb_stub_tell(&stub);
    }
    recover();
}

static void watch_standing(void)
{
    stop_wanted = let_go = false;
    recover_until = 0;
    end_steps();
    if (clear) { /* of what a session left that is over */
        points_remove_all(&vm()->memory);
        forget_stops();
    }
    clear = false;
    if (detaching) {
        finish_detach();
        return;
    }
    if (stub.running) {
        const struct gdb_stop stop = why_stopped();
        gdb_stub_stopped(&stub, &stop);
    }
    gdb_stub_ready(&stub);
}

static void watch(void)
{
    bool same = vm() && vm()->debugged; /* another life of that VM is not debugged */

    if (!vm() || (attached && !same)) {
        if (gdb_slot || stub.running)
            gone();
        gdb_stub_ready(&stub);
    } else if (attached && access_stands_still()) {
        watch_standing();
    } else if (attached) {
        watch_running();
    } else {
        gdb_stub_ready(&stub);
    }
}

/* --- the monitor command --- */

static void list_vms(struct gdb_text *out)
{
    for (unsigned i = 0; i < control_count(); i++) {
        const struct vm_slot *s = control_slot(i);
        gdb_say(out, "%s %s: %s\n", s == gdb_slot ? "*" : " ", s->name, control_state_text(s));
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
    if (vm() && next != gdb_slot) {
        if (!access_stands_still()) {
            gdb_say(out, "%s has to stand still first\n", gdb_slot->name);
            return;
        }
        if (attached)
            finish_detach();
    }
    gdb_slot = next;
    target_stop();
    gdb_say(out, "%s now; say: maintenance flush register-cache, then: info threads\n",
            gdb_slot->name);
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
    .threads = access_threads,
    .thread_text = access_thread_text,
    .get = access_get,
    .set = access_set,
    .read = access_read,
    .write = access_write,
    .insert = target_insert,
    .remove = target_remove,
    .remove_all = target_remove_all,
    .ready = target_ready,
    .resume = target_resume,
    .stop = target_stop,
    .detach = target_detach,
    .monitor = target_monitor,
};

/* --- the port --- */

static void send(const void *data, size_t size)
{
    com2_write(COM2_GDB, data, size); /* gdb_pump() has seen that there is room */
}

void gdb_init(void)
{
    if (com2_open(COM2_GDB) < 0) {
        log_warn("gdb: there is no second serial port (2F8h) for it");
        return;
    }
    gdb_stub_init(&stub, &target, send);
    on = true;
    log_info("gdb: a debugger may connect to the second serial port%s",
             com2_framed() ? ", through tools/com2" : "");
}

uint64_t gdb_pump(void)
{
    int byte;

    if (LIKELY(!on))
        return UINT64_MAX;
    com2_poll();
    watch();
    for (unsigned i = 0; i < INPUT_MAX && com2_room(COM2_GDB) > 2 * GDB_FRAME; i++) {
        byte = com2_read(COM2_GDB);
        if (byte < 0)
            break;
        gdb_stub_input(&stub, (uint8_t)byte);
        watch();
    }
    watch();
    return rdtsc() + tsc_hz / PUMP_HZ;
}
