/*
 * A machine whose VMs have guests that are a few rules each, and a clock of the test's own.
 * Commands are typed at the monitor. For tests of VMs' lives; after cmocka.h.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "drivers/machine.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"
#include "guest/vm/down.h"
#include "guest/vm/events.h"
#include "guest/vm/making.h"
#include "guest/vm/moments.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/monitor.h"
#include "guest/run/run.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"
#include "guest/vm/reload.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"
#include "tests/unit/lives_stubs.h"

#define VMS     3
#define HZ      1000000u
#define STEP    (HZ / 100)
#define TIMEOUT 3 /* seconds: shutdown_timeout */
#define LISTENS 1 /* seconds that a guest needs to shut down */

/* --- the world --- */

static struct guest {
    struct vm vm;
    struct vm_life life;
    bool runs, leaves;
    bool stuck;         /* its processor does not get rid of it */
    bool listens;       /* to its power button */
    bool broken;        /* its kernel is none */
    bool clearing;      /* its memory, for as long as the test likes */
    bool unpacking;     /* its kernel, the same */
    bool in_between;    /* it comes to a breakpoint now and then */
    unsigned pieces;    /* in which it is kept, or put back */
    bool fails, ruined; /* that */
    bool torn;          /* its disks cannot be put back */
    bool debugged;      /* so that it cannot be */
    unsigned in_flight; /* of its disks' requests when it ends; one comes back at each look */
    unsigned presses;
    uint64_t pressed;
} guests[VMS];

static struct config config;
static struct vm_config vms[VMS];
static uint64_t now;
static unsigned starts;        /* VMs that were made, or made anew */
static uint64_t trace_waits;   /* records */
static uint64_t capture_waits; /* packets */
static char said[65536];       /* at the terminal */
static char logged[65536];
static enum { ON, OFF, REBOOTED } machine;
static jmp_buf the_end;

uint64_t tsc_hz = HZ;
unsigned smp_cpus = 1;
bool spin_forsaken;
const struct watch_handlers watch_handlers;

uint64_t test_tsc(void)
{
    return now;
}

void machine_poweroff(void)
{
    machine = OFF;
    longjmp(the_end, 1);
}

void machine_reset(void)
{
    machine = REBOOTED;
    longjmp(the_end, 1);
}

/* --- guests --- */

static inline struct guest *guest_of(struct vm *vm)
{
    return CONTAINER_OF(vm, struct guest, vm);
}

static inline struct guest *guest_of_tasks(struct task_group *tasks)
{
    return guest_of(CONTAINER_OF(tasks, struct vm, tasks));
}

int slot_refuse(char *error, int result, const struct vm_slot *slot, const char *why)
{
    snprintf(error, CONTROL_ERROR, "%s %s", slot->name, why);
    return result;
}

int slot_check(const struct vm_slot *s, char *error)
{
    return 0;
}

int slot_make(struct vm_slot *s, const struct config *c)
{
    struct guest *g = &guests[s->id];

    memset(&g->vm, 0, sizeof(g->vm));
    memset(&g->life, 0, sizeof(g->life));
    g->vm.life = &g->life;
    g->presses = 0;
    g->vm.id = s->id;
    g->vm.config = s->config;
    g->vm.vcpu_count = 1;
    memcpy(g->vm.name, s->name, sizeof(s->name));
    s->vm = &g->vm;
    starts++;
    return 0;
}

void slot_make_anew(struct vm_slot *s)
{
    assert_false(guests[s->id].runs);
    assert_false(s->vm->ending.wanted && guests[s->id].in_flight);
    guests[s->id].presses = 0;
    s->vm->ending.wanted = s->vm->ending.killed = false;
    s->vm->life->resets++;
    starts++;
}

bool slot_clear_some(struct vm_slot *s)
{
    return guests[s->id].clearing;
}

int slot_boot(struct vm_slot *s)
{
    if (guests[s->id].unpacking)
        return 1;
    starts++;
    return guests[s->id].broken ? -ENOEXEC : 0;
}

void slot_invalidate(struct vm_slot *s, const struct config *c)
{
}

void vm_destroy(struct vm *vm)
{
    assert_false(guest_of(vm)->runs);
    assert_false(vm->ending.wanted && guest_of(vm)->in_flight);
}

bool platform_idle(struct vm *vm)
{
    struct guest *g = guest_of(vm);

    assert_false(g->runs);
    assert_true(vm->ending.wanted);
    return !g->in_flight || !--g->in_flight;
}

void vm_request(struct vm *vm, enum vm_request request, const char *why)
{
    if (vm->ending.wanted)
        return;
    vm->ending.wanted = true;
    vm->ending.request = request;
    snprintf(vm->ending.why, sizeof(vm->ending.why), "%s", why);
    run_leave(&vm->tasks);
}

void vm_move_clock(struct vm *vm, uint64_t delta)
{
    assert_false(guest_of(vm)->runs);
}

static bool scarce; /* a device finds little memory, just before what was asked is forgotten */

void run_enter(struct task_group *tasks, uint64_t which)
{
    struct guest *g = guest_of_tasks(tasks);

    g->vm.starved |= scarce;
    scarce = false;

    assert_false(g->runs);
    assert_false(g->vm.ending.wanted);
    g->runs = true;
    g->leaves = false;
}

/* For what is said of a VM that has run out of it. */
void frame_stats(struct frame_stats *out)
{
    *out = (struct frame_stats){.free = 20 * MIB};
}

void run_leave(struct task_group *tasks)
{
    guest_of_tasks(tasks)->leaves = true;
}

/* Its vCPUs had left for the reload test. */
bool vm_reload_parked(struct vm *vm)
{
    bool reloaded = vm->life->reloading;

    assert_false(guest_of(vm)->runs);
    vm->life->reloading = false;
    vm->life->reloads += reloaded;
    return reloaded;
}

void platform_power_button(struct vm *vm)
{
    struct guest *g = guest_of(vm);

    assert_true(g->runs);
    if (!g->presses++)
        g->pressed = now;
}

static inline void live(struct guest *g)
{
    if (!g->runs)
        return;
    if (g->leaves && !g->stuck) {
        g->runs = false;
        g->vm.tasks.parked.fn(g->vm.tasks.parked.arg);
    } else if (g->listens && g->presses && now >= g->pressed + LISTENS * HZ) {
        vm_request(&g->vm, VM_REQUEST_POWEROFF, "powered off");
    } else if (g->in_between && now % (HZ / 2) == 0) {
        run_leave(&g->vm.tasks);
    }
}

static inline void pass_steps(const char *keys, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        now += STEP;
        for (unsigned n = 0; n < VMS; n++)
            live(&guests[n]);
        monitor.work();
        control_work();
    }
}

static inline void type_keys(const char *keys, unsigned count)
{
    for (; *keys; keys++) {
        monitor.input((uint8_t)*keys);
        monitor.work();
    }
}

/* Whether the machine is still on afterwards. */
static inline bool survives(void (*fn)(const char *keys, unsigned count), const char *keys,
                            unsigned count)
{
    if (setjmp(the_end))
        return false;
    fn(keys, count);
    return true;
}

/* Let that many hundredths of a second pass; whether the machine is still on then. */
static inline bool pass(unsigned count)
{
    return survives(pass_steps, NULL, count);
}

static inline bool type(const char *keys)
{
    said[0] = '\0';
    return survives(type_keys, keys, 0);
}

/* --- what is kept of them --- */

static unsigned put_back, dropped;

int moment_possible(const struct vm_slot *s, char *error)
{
    return guests[s->id].debugged ? slot_refuse(error, -EBUSY, s, "is debugged") : 0;
}

void moment_begin(struct vm_slot *s)
{
    assert_false(guests[s->id].runs);
    assert_non_null(s->moments.work);
}

void moment_destroy(struct vm_slot *s, struct moment *m)
{
    free(m);
}

void moment_drop(struct vm_slot *s, const char *why)
{
    snprintf(s->moments.said, sizeof(s->moments.said), "%s %s", s->name, why);
    if (!s->moments.back)
        free(s->moments.work);
    s->moments.work = NULL;
    dropped++;
}

enum moment_result moment_step(struct vm_slot *s)
{
    struct guest *g = &guests[s->id];
    struct slot_moments *m = &s->moments;

    assert_false(g->runs);
    if (m->given_up && !m->back) {
        moment_drop(s, "is not kept");
        return MOMENT_OVER;
    }
    if (g->pieces && g->pieces--)
        return g->pieces % 2 ? MOMENT_MORE : MOMENT_LATER;
    if (g->fails || g->ruined) {
        moment_drop(s, "cannot");
        return g->ruined ? MOMENT_RUINED : MOMENT_OVER;
    }
    if (m->back && g->torn) {
        torn_vms |= BIT(s->id);
        m->at_end = true;
        m->work = NULL;
        strcpy(m->said, "its disk is not put back");
        return MOMENT_OVER;
    }
    if (m->back) {
        put_back++;
        torn_vms &= ~BIT(s->id);
        s->vm->ending.wanted = s->vm->ending.killed = false;
    } else {
        m->work->next = m->kept;
        m->kept = m->work;
    }
    m->work = NULL;
    return MOMENT_OVER;
}

unsigned moment_progress(const struct vm_slot *s)
{
    return guests[s->id].pieces;
}

/* Of those before. */
static inline void forget_all(void)
{
    char error[CONTROL_ERROR];

    for (unsigned i = 0; i < control_count(); i++) {
        if (control_slot(i)->moments.work)
            moment_drop(control_slot(i), "is nobody's");
        while (control_slot(i)->moments.kept)
            assert_int_equal(moments_forget(control_slot(i), control_slot(i)->moments.kept->name,
                                            strlen(control_slot(i)->moments.kept->name), error),
                             0);
    }
}

/* --- who is told, and what is said --- */

static inline void of_slot(struct vm_slot *slot)
{
}

static inline void of_end(struct vm_slot *slot, bool restarts)
{
}

static inline void nothing(void)
{
}

static inline enum vm_answer answer(void)
{
    return VM_NO_KEY;
}

static inline uint64_t pump_trace(void)
{
    return UINT64_MAX;
}

static inline uint64_t left(void)
{
    return trace_waits;
}

static inline uint64_t packets_left(void)
{
    return capture_waits;
}

static const struct vm_events told = {
    .started = of_slot,
    .ended = of_end,
    .none_runs = nothing,
    .stays_on = nothing,
    .ask_for_key = nothing,
    .answer = answer,
    .trace_finish = nothing,
    .trace_pump = pump_trace,
    .trace_left = left,
    .capture_left = packets_left,
    .trace_off = nothing,
    .flush = nothing,
};

void console_write(const char *text, size_t length)
{
    if (strlen(said) + length < sizeof(said))
        strncat(said, text, length);
}

static inline void note(enum log_level level, const char *line, size_t length)
{
    if (strlen(logged) + length + 2 < sizeof(logged)) {
        strncat(logged, line, length);
        strcat(logged, "\n");
    }
}

/* --- VMs in their states --- */

/* Those that last, as docs/USING.md names them. */
static const struct {
    enum slot_state state;
    const char *name;
} states[] = {
    {SLOT_OFF, "off"},
    {SLOT_MAKING, "starting"},
    {SLOT_RUNNING, "running"},
    {SLOT_PAUSING, "pausing"},
    {SLOT_PAUSED, "paused"},
    {SLOT_AT_START, "paused at its start"},
    {SLOT_AT_END, "paused at its end"},
    {SLOT_WAITING, "restarts"},
    {SLOT_RESETTING, "resetting"},
    {SLOT_KILLING, "ending"},
    {SLOT_KEEPING, "kept"},
};
#define STATES ARRAY_SIZE(states)

static inline void bring(unsigned i, enum slot_state state)
{
    struct vm_slot *s = control_slot(i);
    struct guest *g = &guests[i];
    char error[CONTROL_ERROR];

    g->clearing = state == SLOT_MAKING;
    if (state != SLOT_OFF) {
        vms[i].paused = state == SLOT_AT_START;
        assert_int_equal(control_start(s, error), 0);
    }
    switch (state) {
    case SLOT_PAUSING:
    case SLOT_PAUSED:
        g->stuck = state == SLOT_PAUSING;
        assert_int_equal(control_pause(s, error), 0);
        break;
    case SLOT_AT_END:
        vms[i].on_poweroff = CONFIG_END_PAUSE;
        vm_request(s->vm, VM_REQUEST_POWEROFF, "powered off");
        break;
    case SLOT_WAITING:
        vms[i].on_reboot = CONFIG_END_RESTART;
        vm_request(s->vm, VM_REQUEST_RESET, "resets itself");
        break;
    case SLOT_RESETTING:
        g->stuck = true;
        assert_int_equal(control_reset(s, error), 0);
        break;
    case SLOT_KILLING:
        g->stuck = true;
        assert_int_equal(control_kill(s, "killed", error), 0);
        break;
    case SLOT_KEEPING:
        g->pieces = 1000000;
        assert_int_equal(moments_keep(s, "now", 3, error), 0);
        break;
    default:
        break;
    }
    live(g);
    assert_int_equal(s->state, state);
}

static inline void begin_anew(void)
{
    static void *before;

    free(before);
    assert_int_equal(control_init(&config, vms, now), 0);
    before = control_slot(0);
}

/* A machine whose VMs are in these states. */
static inline void build(const enum slot_state *in, enum config_start start)
{
    static const char *const name[VMS] = {"a", "b", "c"};

    monitor.leave();
    forget_all();
    memset(guests, 0, sizeof(guests));
    memset(vms, 0, sizeof(vms));
    memset(&config, 0, sizeof(config));
    down_cancel();
    now = 100 * HZ;
    said[0] = logged[0] = '\0';
    machine = ON;
    trace_waits = capture_waits = 0;
    config.vm_count = VMS;
    config.start = start;
    config.when_idle = CONFIG_IDLE_STAY;
    config.shutdown_timeout = TIMEOUT;
    for (unsigned i = 0; i < VMS; i++) {
        vms[i].name = (struct config_span){name[i], 1};
        vms[i].memory = 64 * MIB;
        vms[i].on_poweroff = vms[i].on_crash = CONFIG_END_STOP;
        vms[i].on_reboot = CONFIG_END_RESTART;
    }
    vm_events_init(&told);
    down_init(&config);
    begin_anew();
    control_work(); /* they do not start by themselves */
    control_work();
    control_work();
    for (unsigned i = 0; i < VMS; i++)
        bring(i, in[i]);
    monitor.enter();
    starts = 0;
}

static inline void shows(const char *typed, unsigned steps, const char *answer)
{
    assert_true(type(typed));
    assert_true(pass(steps));
    if (!strstr(said, answer))
        fail_msg("'%s': '%s' is not in '%s'", typed, answer, said);
}

static inline void is(unsigned vm, enum slot_state state)
{
    assert_int_equal(control_slot(vm)->state, state);
    assert_int_equal(guests[vm].runs, state == SLOT_RUNNING);
}

static inline int setup(void **state)
{
    log_set_sink(note);
    log_set_level(LOG_INFO);
    monitor_init();
    return 0;
}
