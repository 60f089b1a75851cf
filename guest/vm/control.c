/*
 * VMs from start to end, on processor 0. What takes time goes by way of control_work(), which the
 * loop calls: a VM whose vCPUs have all left their processors is reset, paused or taken down there,
 * as its config and the monitor want it.
 */
#include "guest/vm/control.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "guest/config/config_text.h"
#include "guest/console/console.h"
#include "guest/vm/files.h"
#include "guest/gdb/gdb.h"
#include "guest/vm/idle.h"
#include "guest/run/run.h"
#include "guest/vm/summary.h"
#include "guest/vm/vm.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"

/* A VM that restarts sooner than this after its start is held back until then. */
#define RESTART_MIN_MS 1000

static const struct config *config;
static struct vm_slot *slots;
static unsigned count;
static unsigned next_start; /* slots below it have been started, or are not to be by themselves */
static unsigned active;     /* slots that are not off */
static unsigned waiting;    /* slots in state SLOT_WAITING */
static uint64_t handover_tsc;
static bool idle_told; /* that no VM is left */
static uint64_t stay_until;

/* --- which there are --- */

int control_init(const struct config *c, const struct vm_config *vms, uint64_t handover)
{
    config = c;
    handover_tsc = handover;
    slots = heap_alloc((c->vm_count + 1) * sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    count = (unsigned)c->vm_count;
    for (unsigned i = 0; i < count; i++) {
        struct vm_slot *s = &slots[i];
        s->config = &vms[i];
        s->id = i;
        s->weight = vms[i].weight;
        s->cap = vms[i].cap;
        s->affinity = vms[i].affinity;
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

const char *control_state_text(const struct vm_slot *slot)
{
    static const char *const states[] = {[SLOT_OFF] = "off",
                                         [SLOT_RUNNING] = "running",
                                         [SLOT_PAUSED] = "paused",
                                         [SLOT_ENDING] = "ending",
                                         [SLOT_WAITING] = "restarts"};
    static const char *const ends[] = {[SLOT_NEVER_RAN] = "not started",
                                       [SLOT_POWERED_OFF] = "powered off",
                                       [SLOT_CRASHED] = "crashed",
                                       [SLOT_KILLED] = "killed",
                                       [SLOT_FAILED] = "did not start"};

    return slot->state == SLOT_OFF ? ends[slot->ended] : states[slot->state];
}

static int refuse(char *error, int result, const struct vm_slot *slot, const char *why)
{
    format(error, CONTROL_ERROR, "%s %s", slot->name, why);
    return result;
}

/* --- starting --- */

static bool affinity_is_absent(const struct config_cpus *set)
{
    bool any = false, given = false;

    for (unsigned i = 0; i < CONFIG_PROCESSORS; i++) {
        bool in = set->bits[i / 64] >> (i % 64) & 1;
        given |= in;
        any |= in && run_takes_part(i);
    }
    return given && !any;
}

static int check_scheduling(const struct vm_slot *s, char *error)
{
    if (affinity_is_absent(&s->affinity)) {
        format(error, CONTROL_ERROR,
               "%s: affinity names no processor that this machine has: it has 0 to %u", s->name,
               smp_cpus - 1);
        return -EINVAL;
    }
    if (s->cap > 100 * smp_cpus)
        log_warn("%s: cap = %u is more than this machine's %u processor%s give: it changes nothing",
                 s->name, s->cap, smp_cpus, smp_cpus == 1 ? "" : "s");
    return 0;
}

static void vm_parked(void *arg);

static void begin(struct vm_slot *s)
{
    struct vm *vm = s->vm;

    s->state = SLOT_RUNNING;
    s->starts++;
    s->began = rdtsc();
    if (!vm->started)
        vm->started = s->began;
    vm->parked = (struct cpu_work){.fn = vm_parked, .arg = s};
    vm->active = vm->vcpu_count;
    run_enter(vm, UINT64_MAX);
}

/* `paused = yes`: its first instruction waits for the monitor's resume, or a debugger's. */
static void begin_paused(struct vm_slot *s)
{
    s->state = SLOT_PAUSED;
    s->starts++;
    s->began = s->paused_at = rdtsc();
    if (!s->vm->started)
        s->vm->started = s->began;
    s->vm->parked = (struct cpu_work){.fn = vm_parked, .arg = s};
    log_info("%s: paused before its first instruction", s->name);
}

static void apply_test_invalid(struct vm_slot *s)
{
    const struct vmx_segment none = {.access = BIT(16)};

    if (config->test_invalid != s->id + 1)
        return;
    bool held = vcpu_hold(s->vm->vcpu[0]);
    vmx_set_segment(SEG_TR, &none); /* which must always be usable */
    vcpu_release(s->vm->vcpu[0], held);
}

static int bring_up(struct vm_slot *s)
{
    struct vm_files files = {0};
    int result = files_find(s->config, &files);

    if (result < 0)
        return result;
    result = vm_create(&s->vm, s->id, s->config);
    if (result < 0)
        return result;
    result = run_schedule(s->vm, s->weight, s->cap, &s->affinity);
    if (result == 0)
        result = vm_boot(s->vm, &files);
    if (result == 0)
        result = watch_configured(s->vm);
    if (result < 0) {
        vm_destroy(s->vm);
        s->vm = NULL;
    }
    return result;
}

/* bring_up(), and what it takes. */
static int bring_up_measured(struct vm_slot *s)
{
    static uint64_t failed; /* in a row */
    struct frame_stats before, after;
    uint64_t start = rdtsc();

    frame_stats(&before);
    if (config->test_memory)
        frame_limit(config->test_memory + failed);
    int result = bring_up(s);
    if (config->test_memory)
        frame_limit(UINT64_MAX);
    failed = result < 0 ? failed + 1 : 0;
    if (result < 0)
        return result;
    s->cost.make = rdtsc() - start;
    s->cost.clear = s->vm->clear_ticks;
    frame_stats(&after);
    s->cost.memory = after.kernel - before.kernel;
    return 0;
}

int control_start(struct vm_slot *s, char *error)
{
    int result;

    error[0] = '\0';
    if (s->state != SLOT_OFF)
        return refuse(error, -EBUSY, s, "is not off");
    if (s->config->broken)
        return refuse(error, -EINVAL, s, "has a problem in its section of corbel.conf");
    s->ended = SLOT_FAILED;
    result = check_scheduling(s, error);
    if (result < 0)
        return result;
    run_unload();
    result = bring_up_measured(s);
    if (result < 0)
        return result;
    active++;
    idle_told = false;
    s->kind = s->vm->kind;
    log_info("%s: starts with %lu MiB and %u vCPU%s; its kernel is %s", s->name,
             s->config->memory / MIB, s->vm->vcpu_count, s->vm->vcpu_count == 1 ? "" : "s",
             s->kind);
    if (!s->starts)
        s->vm->start_ticks = rdtsc() - handover_tsc;
    apply_test_invalid(s);
    console_vm_starts(s);
    if (s->config->paused)
        begin_paused(s);
    else
        begin(s);
    return 0;
}

/* --- ending --- */

static void take_down(struct vm_slot *s)
{
    struct vm *vm = s->vm;

    s->ended = s->forced ? SLOT_KILLED : vm->killed ? SLOT_CRASHED : SLOT_POWERED_OFF;
    s->state = SLOT_OFF;
    active--;
    s->vm = NULL;
    console_vm_ends(s, false);
    vm_print_summary(vm);
    uint64_t start = rdtsc();
    run_unload();
    vm_destroy(vm);
    s->cost.destroy = rdtsc() - start;
}

static void restart(struct vm_slot *s)
{
    struct vm *vm = s->vm;
    struct vm_files files = {0};
    int result = files_find(s->config, &files);

    run_unload();
    run_flush(vm); /* whoever asked it to leave has done with asking */
    vm->resets++;
    vm_reset(vm);
    guest_memory_clear(&vm->memory);
    if (result == 0)
        result = vm_boot(vm, &files);
    if (result < 0)
        take_down(s);
    else if (gdb_restarted(vm, s->forced))
        begin_paused(s);
    else
        begin(s);
}

static void restart_in_time(struct vm_slot *s)
{
    uint64_t least = tsc_hz / 1000 * RESTART_MIN_MS;

    console_vm_ends(s, true);
    log_info("%s: restarts: %s", s->name, s->vm->why);
    if (!s->forced && rdtsc() - s->began < least) {
        log_warn("%s: restarts after less than %u ms: held back for the rest of them", s->name,
                 RESTART_MIN_MS);
        s->state = SLOT_WAITING;
        waiting++;
        s->restart_at = s->began + least;
        return;
    }
    restart(s);
}

static enum config_end what_to_do(const struct vm_slot *s)
{
    const struct vm *vm = s->vm;

    if (s->forced)
        return vm->request == VM_REQUEST_RESET ? CONFIG_END_RESTART : CONFIG_END_STOP;
    if (vm->killed)
        return s->config->on_crash;
    return vm->request == VM_REQUEST_RESET ? s->config->on_reboot : s->config->on_poweroff;
}

/* All its vCPUs have left their processors. */
static void vm_parked(void *arg)
{
    struct vm_slot *s = arg;
    struct vm *vm = s->vm;

    if (!vm->ending) { /* a pause */
        s->paused_at = rdtsc();
        s->state = SLOT_PAUSED;
        return;
    }
    switch (what_to_do(s)) {
    case CONFIG_END_RESTART:
        restart_in_time(s);
        break;
    case CONFIG_END_PAUSE:
        console_vm_ends(s, true);
        log_info("%s: paused at its end, for a look at it: %s", s->name, vm->why);
        s->state = SLOT_PAUSED;
        s->paused_at = rdtsc();
        break;
    default:
        take_down(s);
    }
    s->forced = false;
}

/* --- what a person may ask for --- */

static int need_running(struct vm_slot *s, char *error)
{
    return s->state == SLOT_RUNNING ? 0 : refuse(error, -EBUSY, s, "is not running");
}

int control_stop(struct vm_slot *s, char *error)
{
    int result = need_running(s, error);

    if (result < 0)
        return result;
    spin_lock(&s->vm->board);
    acpi_pm_power_button(&s->vm->acpi_pm);
    spin_unlock(&s->vm->board);
    return 0;
}

int control_pause(struct vm_slot *s, char *error)
{
    int result = need_running(s, error);

    if (result < 0)
        return result;
    s->state = SLOT_ENDING;
    run_leave(s->vm);
    return 0;
}

int control_resume_some(struct vm_slot *s, uint64_t vcpus, char *error)
{
    struct vm *vm = s->vm;

    if (s->state != SLOT_PAUSED)
        return refuse(error, -EBUSY, s, "is not paused");
    if (vm->ending)
        return refuse(error, -EBUSY, s, "has come to its end: reset or kill it");
    run_unload();
    vm_move_clock(vm, s->paused_at - rdtsc());
    s->state = SLOT_RUNNING;
    vm->active = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vm->active += vcpus >> i & 1;
    run_enter(vm, vcpus);
    return 0;
}

int control_resume(struct vm_slot *s, char *error)
{
    return control_resume_some(s, UINT64_MAX, error);
}

/* End it, with the reason given, wherever it is; vm_parked() decides what follows. */
static int force(struct vm_slot *s, enum vm_request request, const char *why, char *error)
{
    if (s->state == SLOT_OFF)
        return refuse(error, -EBUSY, s, "is off");
    if (s->state == SLOT_ENDING)
        return refuse(error, -EBUSY, s, "is on its way already");
    s->forced = true;
    if (s->state == SLOT_RUNNING) {
        s->state = SLOT_ENDING;
        vm_request(s->vm, request, why);
        return 0;
    }
    if (s->state == SLOT_WAITING)
        waiting--;
    s->vm->ending = false;
    s->vm->killed = false;
    vm_request(s->vm, request, why);
    vm_parked(s);
    return 0;
}

int control_reset(struct vm_slot *s, char *error)
{
    return force(s, VM_REQUEST_RESET, "reset from the monitor", error);
}

int control_kill(struct vm_slot *s, char *error)
{
    return force(s, VM_REQUEST_POWEROFF, "killed from the monitor", error);
}

static int change(struct vm_slot *s, enum config_vm_key key, struct config_span value, char *error)
{
    static struct vm_config values; /* too large for the stack */

    values = *s->config;
    if (!config_change(&values, key, value, error))
        return -EINVAL;
    if (key == CONFIG_VM_WEIGHT)
        s->weight = values.weight;
    else if (key == CONFIG_VM_CAP)
        s->cap = values.cap;
    else
        s->affinity = values.affinity;
    return 0;
}

int control_set(struct vm_slot *s, const char *key, size_t key_length, const char *value,
                size_t value_length, char *error)
{
    static const enum config_vm_key keys[] = {CONFIG_VM_WEIGHT, CONFIG_VM_CAP, CONFIG_VM_AFFINITY};
    struct config_span name = {key, key_length};
    struct vm_slot changed = *s;
    unsigned i = 0;
    int result;

    while (i < ARRAY_SIZE(keys) && !config_span_is(name, config_vm_keys[keys[i]].name))
        i++;
    if (i == ARRAY_SIZE(keys))
        return refuse(error, -EINVAL, s, "has weight, cap and affinity to be set");
    result = change(&changed, keys[i], (struct config_span){value, value_length}, error);
    if (result == 0)
        result = check_scheduling(&changed, error);
    if (result < 0)
        return result;
    s->weight = changed.weight;
    s->cap = changed.cap;
    s->affinity = changed.affinity;
    return s->vm ? run_schedule(s->vm, s->weight, s->cap, &s->affinity) : 0;
}

int control_inspect(struct vm_slot *s, unsigned vcpu, void (*fn)(struct vcpu *v, void *arg),
                    void *arg, char *error)
{
    if (!s->vm)
        return refuse(error, -EBUSY, s, "is off");
    if (vcpu >= s->vm->vcpu_count) {
        format(error, CONTROL_ERROR, "%s has no vCPU %u", s->name, vcpu);
        return -EINVAL;
    }
    if (run_inspect(s->vm->vcpu[vcpu], fn, arg) < 0)
        return refuse(error, -EBUSY, s, "does not hold still; try again");
    return 0;
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
        awaits = awaits && !active;
        for (unsigned i = next_start; i < slot->id; i++)
            awaits = awaits && !starts_by_itself(&slots[i]);
    }
    return awaits;
}

/* The next VM that starts by itself: all at once, or in turn, each when the one before has ended.
 */
static bool start_next(void)
{
    char error[CONTROL_ERROR];

    if (next_start == count || (config->start == CONFIG_START_IN_TURN && active))
        return false;
    struct vm_slot *s = &slots[next_start];
    bool starts = starts_by_itself(s);
    next_start++;
    if (!starts || control_start(s, error) == 0)
        return true;
    if (error[0])
        log_error("%s", error);
    console_vm_ends(s, false); /* for whoever waits in front of its console */
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

void control_stay_on(uint64_t until)
{
    stay_until = until;
}

static void nobody_runs(void)
{
    idle_told = true;
    if (nothing_left()) {
        idle_begin(config, "no VM is left", any_started() ? NULL : "no VM could start");
        return;
    }
    log_info("no VM runs: those with autostart = no can be started here");
    console_idle();
}

uint64_t control_work(void)
{
    uint64_t next = idle_work(), now = rdtsc();

    if (start_next())
        return now;
    if (!active && !idle_told && next_start == count) {
        next = MIN(next, stay_until);
        if (now >= stay_until) {
            nobody_runs();
            next = now;
        }
    }
    for (unsigned i = 0; i < count && waiting; i++) {
        struct vm_slot *s = &slots[i];
        if (s->state == SLOT_WAITING && now >= s->restart_at) {
            waiting--;
            restart(s);
            next = now;
        } else if (s->state == SLOT_WAITING) {
            next = MIN(next, s->restart_at);
        }
    }
    return next;
}
