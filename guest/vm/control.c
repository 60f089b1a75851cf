/*
 * VMs from start to end, on processor 0: what a person, a debugger, the machine's end or the guest
 * itself makes happen goes through the table of life.c, and the action that stands there is carried
 * out here. A VM whose vCPUs are to leave their processors comes back in vm_parked().
 */
#include "guest/vm/control.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/vm/down.h"
#include "guest/vm/events.h"
#include "guest/vm/hotplug.h"
#include "guest/vm/idle.h"
#include "guest/vm/layers.h"
#include "guest/vm/making.h"
#include "guest/vm/moments.h"
#include "guest/vm/platform.h"
#include "guest/run/run.h"
#include "guest/vm/reload.h"
#include "guest/vm/summary.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

/* A VM that restarts sooner than this after its start is held back until then. */
#define RESTART_MIN_MS 1000
#define SETTLE_HZ      1000 /* how often a VM that ends is looked at until nothing is in flight */

#define TORN                                                                                       \
    "has disks that are of two moments: restore it, or forget all of its snapshots, before it "    \
    "runs"

static const struct config *config;
static struct vm_slot *slots;
static unsigned count;
static unsigned next_start; /* number of the slot that is the next to start by itself, if it does */
static unsigned standing[SLOT_STATES]; /* how many slots are in each state */
static uint64_t handover_tsc;
static bool idle_told; /* it has been told that no VM runs */

/* --- which there are --- */

int control_init(const struct config *c, struct vm_config *vms, uint64_t handover)
{
    config = c;
    handover_tsc = handover;
    slots = heap_alloc((c->vm_count + 1) * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    memset(standing, 0, sizeof(standing));
    count = standing[SLOT_OFF] = (unsigned)c->vm_count;
    next_start = 0;
    idle_told = false;
    vms_settling = 0;
    vm_layers_set_attention(moments_starved);
    for (unsigned i = 0; i < count; i++) {
        struct vm_slot *s = &slots[i];
        s->config = &vms[i];
        s->id = i;
        s->eject = (struct cpu_work){.fn = hotplug_ejected, .arg = s};
        memcpy(s->name, vms[i].name.data, MIN(vms[i].name.length, sizeof(s->name) - 1));
    }
    return 0;
}

unsigned control_count(void)
{
    return count;
}

struct vm_slot *control_slot(unsigned index)
{
    return &slots[index];
}

struct vm_slot *control_find(const char *name, size_t length)
{
    for (unsigned i = 0; i < count; i++)
        if (strlen(slots[i].name) == length && memcmp(slots[i].name, name, length) == 0)
            return &slots[i];
    return NULL;
}

/* --- being made --- */

static void vm_parked(void *arg);
static int happen(struct vm_slot *s, enum life_event event, const char *why, char *error);

/* Whether it is to stand still before its first instruction. After a reset the debugger that has it
 * decides. */
static bool stands_first(struct vm_slot *s, bool forced)
{
    if (vm_layers_torn(s->vm))
        return true;
    if (s->vm->life->resets && s->vm->debugged)
        return vm_events->stands_still(s->vm, forced) || s->stops_short;
    return s->config->paused || s->stops_short;
}

/* Its memory is clear. */
static const char *kind_text(const struct vm_slot *s)
{
    static char text[96];

    if (s->kind)
        format(text, sizeof(text), "kernel is %s%s%s", s->kind, s->packed ? ", packed with " : "",
               s->packed ? s->packed : "");
    else
        format(text, sizeof(text), "firmware is %.*s", (int)MIN(s->config->firmware.length, 60ul),
               s->config->firmware.data);
    return text;
}

static int boot(struct vm_slot *s)
{
    int result = slot_boot(s);
    char error[CONTROL_ERROR];

    if (result > 0)
        return 0;
    if (result < 0) {
        (void)!happen(s, LIFE_FAILED, NULL, error);
        return result;
    }
    idle_told = false;
    if (!s->vm->life->resets) {
        s->kind = s->vm->life->kind;
        s->packed = s->vm->life->unpacked.with;
        log_info("%s: starts with %lu MiB and %u vCPU%s; its %s", s->name, s->config->memory / MIB,
                 s->vm->vcpu_count, s->vm->vcpu_count == 1 ? "" : "s", kind_text(s));
        if (!s->starts)
            s->vm->life->start_ticks = rdtsc() - handover_tsc;
        slot_invalidate(s, config);
        vm_events->started(s);
    }
    bool forced = s->why[0];
    s->starts++;
    s->began = rdtsc();
    s->why[0] = '\0';
    if (!s->vm->life->started)
        s->vm->life->started = s->began;
    s->vm->tasks.parked = (struct cpu_work){.fn = vm_parked, .arg = s};
    return happen(s, stands_first(s, forced) ? LIFE_MADE_PAUSED : LIFE_MADE, NULL, error);
}

/* The next piece of what is done before its first instruction. */
static int prepare(struct vm_slot *s)
{
    return slot_clear_some(s) ? 0 : boot(s);
}

static int make(struct vm_slot *s)
{
    int result = slot_make(s, config);
    char error[CONTROL_ERROR];

    if (result < 0) {
        (void)!happen(s, LIFE_FAILED, NULL, error);
        return result;
    }
    return prepare(s);
}

/* --- running and standing still --- */

static void enter(struct vm_slot *s, uint64_t vcpus)
{
    struct vm *vm = s->vm;

    vm->starved = false;
    vm_layers_go_on(vm);
    vm->tasks.active = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vm->tasks.active += vcpus >> i & 1;
    run_enter(&vm->tasks, vcpus);
    if (__atomic_load_n(&vm->starved, __ATOMIC_SEQ_CST)) /* what was asked then is forgotten */
        run_leave(&vm->tasks);
}

static void go_on(struct vm_slot *s, uint64_t vcpus)
{
    run_unload();
    vm_move_clock(s->vm, s->paused_at - rdtsc());
    enter(s, vcpus);
}

static void say_starved(const struct vm_slot *s)
{
    struct frame_stats f;

    frame_stats(&f);
    log_warn("%s: paused: it wants more memory than this machine has left for it, of which %lu MiB "
             "are free: `resume %s` when there is more",
             s->name, f.free / MIB, s->name);
}

static void stand(struct vm_slot *s)
{
    s->paused_at = rdtsc();
    if (s->state == SLOT_AT_START)
        log_info("%s: paused before its first instruction%s%s", s->name,
                 vm_layers_torn(s->vm) ? ": it " : "", vm_layers_torn(s->vm) ? TORN : "");
    else if (s->vm->starved && !down_wanted()) /* which has it try again and again */
        say_starved(s);
}

static void press(struct vm_slot *s)
{
    platform_power_button(s->vm);
}

/* --- ending --- */

static void take_down(struct vm_slot *s, enum slot_end ended)
{
    struct vm *vm = s->vm;

    s->ended = ended;
    s->vm = NULL;
    s->why[0] = '\0';
    vm_events->ended(s, false);
    if (!vm)
        return;
    if (vm->life->started)
        vm_print_summary(vm);
    else if (vm->ending.why[0])
        log_info("%s: ended before its first instruction: %s", vm->name, vm->ending.why);
    uint64_t start = rdtsc();
    run_unload();
    hotplug_end(s);
    vm_destroy(vm);
    s->cost.destroy = rdtsc() - start;
}

static void say_restart(struct vm_slot *s)
{
    vm_events->ended(s, true);
    log_info("%s: restarts: %s", s->name, s->vm->ending.why);
}

static void hold(struct vm_slot *s)
{
    say_restart(s);
    log_warn("%s: restarts after less than %u ms: held back for the rest of them", s->name,
             RESTART_MIN_MS);
    s->restart_at = s->began + tsc_hz / 1000 * RESTART_MIN_MS;
}

static void keep(struct vm_slot *s)
{
    vm_events->ended(s, true);
    log_info("%s: paused at its end, for a look at it: %s", s->name, s->vm->ending.why);
    s->paused_at = rdtsc();
}

/* Somebody else has asked for its end: that, not what the guest did itself meanwhile, is the reason
 * to be told. */
static void overrule(struct vm_slot *s)
{
    struct vm *vm = s->vm;

    if (!s->why[0])
        return;
    vm->ending.killed = false;
    format(vm->ending.why, sizeof(vm->ending.why), "%s", s->why);
}

/* --- events and actions --- */

static int carry_out(struct vm_slot *s, enum life_event event, enum life_action action)
{
    switch (action) {
    case LIFE_MAKE:
        s->stops_short = false;
        return make(s);
    case LIFE_MAKE_ANEW:
        s->stops_short = false;
        overrule(s);
        if (event != LIFE_DUE)
            say_restart(s);
        slot_make_anew(s);
        (void)!prepare(s); /* logged */
        break;
    case LIFE_STOP_SHORT:
        s->stops_short = true;
        break;
    case LIFE_ENTER:
        enter(s, UINT64_MAX);
        break;
    case LIFE_STAND:
        stand(s);
        break;
    case LIFE_KEEP:
        keep(s);
        break;
    case LIFE_HOLD:
        hold(s);
        break;
    case LIFE_LEAVE:
        run_leave(&s->vm->tasks);
        break;
    case LIFE_FORCE:
        vm_request(s->vm, VM_REQUEST_POWEROFF, s->why);
        break;
    case LIFE_SETTLE:
        vm_request(s->vm, VM_REQUEST_POWEROFF, s->why);
        vm_parked(s);
        break;
    case LIFE_GO_ON:
        go_on(s, s->resumed);
        break;
    case LIFE_WAKE:
        go_on(s, UINT64_MAX);
        press(s);
        break;
    case LIFE_WORK:
        moment_begin(s);
        break;
    case LIFE_STAY:
        break;
    case LIFE_PRESS:
        press(s);
        break;
    case LIFE_TAKE_DOWN:
        take_down(s, event == LIFE_FAILED   ? SLOT_FAILED
                     : s->vm->ending.killed ? SLOT_CRASHED
                                            : SLOT_POWERED_OFF);
        break;
    case LIFE_DESTROY:
        overrule(s);
        take_down(s, SLOT_KILLED);
        break;
    default:
        break;
    }
    return 0;
}

/* why: what is said of an end or a restart that the guest has not asked for. */
static int happen(struct vm_slot *s, enum life_event event, const char *why, char *error)
{
    struct life_step step = life_step(s->state, event, down_wanted());

    if (step.action == LIFE_REFUSE)
        return slot_refuse(error, -EBUSY, s, step.refusal);
    if (why && (step.action == LIFE_FORCE || step.action == LIFE_SETTLE ||
                step.action == LIFE_DESTROY || step.action == LIFE_MAKE_ANEW))
        format(s->why, sizeof(s->why), "%s", why);
    if (s->moments.work && step.next != SLOT_PAUSING && step.next != SLOT_KEEPING &&
        !life_stands_still(step.next))
        moment_drop(s, "has come to its end, or begins anew, before that could be done");
    standing[s->state]--;
    s->state = step.next;
    standing[s->state]++;
    return carry_out(s, event, step.action);
}

/* What stands still is kept, or put back, if that is what it stands still for. */
static void keep_if_wanted(struct vm_slot *s)
{
    char error[CONTROL_ERROR];

    if (!s->moments.work || !life_stands_still(s->state))
        return;
    s->moments.at_end = s->state == SLOT_AT_END;
    if (happen(s, s->moments.back ? LIFE_RESTORE : LIFE_SNAPSHOT, NULL, error) < 0)
        moment_drop(s, "has come to its end before that could be done");
}

/* When more of that is to be done. */
static uint64_t keep_some(struct vm_slot *s, uint64_t now)
{
    enum moment_result result = moment_step(s);
    const struct slot_moments *m = &s->moments;
    char error[CONTROL_ERROR];

    if (result == MOMENT_LATER)
        return now + tsc_hz / SETTLE_HZ;
    s->resumed = UINT64_MAX;
    if (result == MOMENT_OVER)
        (void)!happen(s,
                      m->at_end && m->said[0] ? LIFE_KEPT_AT_END
                      : m->ran                ? LIFE_KEPT
                                              : LIFE_KEPT_PAUSED,
                      NULL, error);
    if (result == MOMENT_RUINED) {
        log_error("%s", m->said);
        (void)!happen(s, LIFE_KILL, "what it was could not be put back", error);
    }
    return now;
}

/* The guest has come to its end: what its config says of that. */
static enum life_event end_of(const struct vm_slot *s)
{
    const struct vm *vm = s->vm;
    const struct vm_config *c = s->config;
    enum config_end end = vm->ending.killed                        ? c->on_crash
                          : vm->ending.request == VM_REQUEST_RESET ? c->on_reboot
                                                                   : c->on_poweroff;

    if (vm->ending.broken)
        return LIFE_ENDED;
    if (end != CONFIG_END_RESTART)
        return end == CONFIG_END_PAUSE ? LIFE_ENDED_PAUSE : LIFE_ENDED;
    return rdtsc() - s->began < tsc_hz / 1000 * RESTART_MIN_MS ? LIFE_ENDED_TOO_SOON
                                                               : LIFE_ENDED_RESTART;
}

/* All its vCPUs have left their processors, and of one that ends nothing is in flight either. */
static void settled(struct vm_slot *s)
{
    char error[CONTROL_ERROR];
    bool reloaded = vm_reload_parked(s->vm);

    if (reloaded && s->state == SLOT_RUNNING && !s->vm->ending.wanted)
        enter(s, UINT64_MAX);
    else
        (void)!happen(s, s->vm->ending.wanted ? end_of(s) : LIFE_STOOD, NULL, error);
    keep_if_wanted(s);
}

/* A drive that does not answer takes its time, in which the machine goes on. */
static void vm_parked(void *arg)
{
    struct vm_slot *s = arg;

    s->settling = s->vm->ending.wanted && !platform_idle(s->vm);
    if (s->settling)
        vms_settling++;
    else
        settled(s);
}

static uint64_t settle(uint64_t now)
{
    for (unsigned i = 0; i < count && vms_settling; i++) {
        struct vm_slot *s = &slots[i];

        if (s->leaving && hotplug_settle(s))
            return now;
        if (!s->settling || !platform_idle(s->vm))
            continue;
        s->settling = false;
        vms_settling--;
        settled(s);
        return now;
    }
    return vms_settling ? now + tsc_hz / SETTLE_HZ : UINT64_MAX;
}

/* --- what a person may ask for --- */

int control_start(struct vm_slot *s, char *error)
{
    int result;

    error[0] = '\0';
    if (s->state != SLOT_OFF || down_wanted())
        return happen(s, LIFE_START, NULL, error);
    if (s->config->broken)
        return slot_refuse(error, -EINVAL, s, "has a problem in its section of corbel.conf");
    s->ended = SLOT_FAILED;
    result = slot_check(s, error);
    return result < 0 ? result : happen(s, LIFE_START, NULL, error);
}

int control_stop(struct vm_slot *s, char *error)
{
    return happen(s, LIFE_STOP, NULL, error);
}

int control_pause(struct vm_slot *s, char *error)
{
    return happen(s, LIFE_PAUSE, NULL, error);
}

int control_resume_some(struct vm_slot *s, uint64_t vcpus, char *error)
{
    if (s->vm && life_stands_still(s->state) && vm_layers_torn(s->vm))
        return slot_refuse(error, -EBUSY, s, TORN);
    s->resumed = vcpus;
    return happen(s, LIFE_RESUME, NULL, error);
}

int control_resume(struct vm_slot *s, char *error)
{
    return control_resume_some(s, UINT64_MAX, error);
}

int control_reset(struct vm_slot *s, char *error)
{
    return happen(s, LIFE_RESET, "reset from the monitor", error);
}

int control_kill(struct vm_slot *s, const char *why, char *error)
{
    return happen(s, LIFE_KILL, why, error);
}

int control_keep(struct vm_slot *s, char *error)
{
    s->moments.ran = s->state == SLOT_RUNNING;
    s->moments.at_end = s->state == SLOT_AT_END;
    s->moments.said[0] = '\0';
    return happen(s, s->moments.back ? LIFE_RESTORE : LIFE_SNAPSHOT, NULL, error);
}

/* Nobody in it can be asked where nothing may run. */
void control_go_down(struct vm_slot *s)
{
    bool torn = s->state == SLOT_PAUSED && vm_layers_torn(s->vm);
    char error[CONTROL_ERROR];

    (void)!happen(s, torn ? LIFE_KILL : LIFE_DOWN, "the machine goes down", error);
}

/* --- what the loop of processor 0 calls --- */

static bool starts_by_itself(const struct vm_slot *s)
{
    return s->id >= next_start && !s->config->broken && s->config->autostart;
}

bool control_awaits(const struct vm_slot *slot)
{
    bool awaits = starts_by_itself(slot);

    if (config->start == CONFIG_START_IN_TURN) {
        awaits = awaits && standing[SLOT_OFF] == count;
        for (unsigned i = next_start; i < slot->id; i++)
            awaits = awaits && !starts_by_itself(&slots[i]);
    }
    return awaits || slot->state == SLOT_MAKING;
}

/*
 * The next VM that starts by itself: all at once, or in turn, each when the one before has ended.
 * One is made after the other: what cannot be started gives its memory back first.
 */
static bool start_next(void)
{
    char error[CONTROL_ERROR];

    if (next_start == count || standing[SLOT_MAKING] ||
        (config->start == CONFIG_START_IN_TURN && standing[SLOT_OFF] != count))
        return false;
    struct vm_slot *s = &slots[next_start];
    bool starts = starts_by_itself(s);
    next_start++;
    if (!starts || control_start(s, error) == 0)
        return true;
    if (error[0])
        log_error("%s", error);
    vm_events->ended(s, false); /* for whoever waits in front of its console */
    return true;
}

/* No VM is there that somebody could want to start. */
static bool nothing_left(void)
{
    bool left = false;

    for (unsigned i = 0; i < count; i++)
        left |= !slots[i].config->broken && !slots[i].config->autostart;
    return !left;
}

static bool any_started(void)
{
    bool any = false;

    for (unsigned i = 0; i < count; i++)
        any |= slots[i].starts != 0;
    return any;
}

static void nobody_runs(void)
{
    idle_told = true;
    if (nothing_left()) {
        idle_begin(config, "no VM is left", any_started() ? NULL : "no VM could start");
        return;
    }
    log_info("no VM runs: those with autostart = no can be started here");
    vm_events->none_runs();
}

/* Nearly always true when processor 0's loop comes round, and so quick to find out. */
static bool nothing_to_do(void)
{
    bool all_off = standing[SLOT_OFF] == count, all_begun = next_start == count;
    bool starts = !all_begun && (all_off || config->start != CONFIG_START_IN_TURN);

    return !starts && !standing[SLOT_WAITING] && !standing[SLOT_MAKING] &&
           !standing[SLOT_KEEPING] && !vms_settling && !(all_off && all_begun && !idle_told);
}

static __attribute__((noinline)) uint64_t work(uint64_t next)
{
    uint64_t now = rdtsc();
    char error[CONTROL_ERROR];

    if (vms_settling)
        next = MIN(next, settle(now));
    for (unsigned i = 0; i < count && standing[SLOT_KEEPING]; i++) {
        uint64_t then = slots[i].state == SLOT_KEEPING ? keep_some(&slots[i], now) : next;
        next = MIN(next, then);
    }
    if (down_wanted())
        return MIN(next, down_work());
    if (start_next())
        return now;
    if (standing[SLOT_OFF] == count && !idle_told && next_start == count) {
        nobody_runs();
        return now;
    }
    for (unsigned i = 0; i < count && (standing[SLOT_WAITING] || standing[SLOT_MAKING]); i++) {
        struct vm_slot *s = &slots[i];
        if (s->state == SLOT_MAKING) {
            (void)!prepare(s); /* logged */
            return now;
        }
        if (s->state == SLOT_WAITING && now >= s->restart_at) {
            (void)!happen(s, LIFE_DUE, NULL, error);
            next = now;
        } else if (s->state == SLOT_WAITING) {
            next = MIN(next, s->restart_at);
        }
    }
    return next;
}

uint64_t control_work(void)
{
    uint64_t next = idle_work();

    return LIKELY(nothing_to_do() && !down_wanted()) ? next : work(next);
}
