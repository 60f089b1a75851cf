/* links: guest/vm/control.c guest/vm/moments.c guest/monitor/moments.c guest/monitor/text.c guest/vm/settings.c guest/vm/inspect.c guest/vm/events.c guest/vm/idle.c guest/vm/life.c guest/vm/down.c guest/monitor/monitor.c guest/monitor/job.c guest/monitor/commands.c guest/monitor/table.c guest/monitor/command.c guest/monitor/editor.c guest/config/config_text.c guest/config/config_keys.c arch/x86/lib/format.c arch/x86/lib/log.c */
/* VMs' lives and the machine's end, with guests that are a few rules each, and a clock of the
 * test's own. Commands are typed at the monitor. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
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
#include "guest/vm/hotplug.h"
#include "guest/vm/making.h"
#include "guest/vm/moments.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/monitor.h"
#include "guest/monitor/users.h"
#include "guest/run/run.h"
#include "guest/vm/summary.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"
#include "guest/vm/reload.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"

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
    bool in_between;    /* it comes to a breakpoint now and then */
    unsigned pieces;    /* in which it is kept, or put back */
    bool fails, ruined; /* that */
    bool debugged;      /* so that it cannot be */
    unsigned in_flight; /* of its disks' requests when it ends; one comes back at each look */
    unsigned presses;
    uint64_t pressed;
} guests[VMS];

static struct config config;
static struct vm_config vms[VMS];
static uint64_t now;
static unsigned starts;      /* VMs that were made, or made anew */
static uint64_t trace_waits; /* records */
static char said[65536];     /* at the terminal */
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

static struct guest *guest_of(struct vm *vm)
{
    return CONTAINER_OF(vm, struct guest, vm);
}

static struct guest *guest_of_tasks(struct task_group *tasks)
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

void run_enter(struct task_group *tasks, uint64_t which)
{
    struct guest *g = guest_of_tasks(tasks);

    assert_false(g->runs);
    assert_false(g->vm.ending.wanted);
    g->runs = true;
    g->leaves = false;
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

static void live(struct guest *g)
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

static void pass_steps(const char *keys, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        now += STEP;
        for (unsigned n = 0; n < VMS; n++)
            live(&guests[n]);
        monitor.work();
        control_work();
    }
}

static void type_keys(const char *keys, unsigned count)
{
    for (; *keys; keys++) {
        monitor.input((uint8_t)*keys);
        monitor.work();
    }
}

/* Whether the machine is still on afterwards. */
static bool survives(void (*fn)(const char *keys, unsigned count), const char *keys, unsigned count)
{
    if (setjmp(the_end))
        return false;
    fn(keys, count);
    return true;
}

/* Let that many hundredths of a second pass; whether the machine is still on then. */
static bool pass(unsigned count)
{
    return survives(pass_steps, NULL, count);
}

static bool type(const char *keys)
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
    if (m->back) {
        put_back++;
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
static void forget_all(void)
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

/* --- what is of no interest here --- */

unsigned vms_settling;

void hotplug_ejected(void *slot)
{
}

bool hotplug_settle(struct vm_slot *slot)
{
    return false;
}

void hotplug_end(struct vm_slot *slot)
{
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    abort(); /* there is nobody else */
}

void run_unload(void)
{
}

int slot_schedule(struct vm_slot *s)
{
    return 0;
}

int vcpu_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
    return 0;
}

void vm_print_summary(struct vm *vm)
{
    log_info("%s: ended: %s", vm->name, vm->ending.why);
}

void console_monitor(void)
{
}

static void of_slot(struct vm_slot *slot)
{
}

static void of_end(struct vm_slot *slot, bool restarts)
{
}

static void nothing(void)
{
}

static enum vm_answer answer(void)
{
    return VM_NO_KEY;
}

static uint64_t pump_trace(void)
{
    return UINT64_MAX;
}

static uint64_t left(void)
{
    return trace_waits;
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
    .trace_off = nothing,
    .flush = nothing,
};

bool config_change(struct vm_config *vm, enum config_vm_key key, struct config_span value,
                   char *error)
{
    return true;
}

void console_attach(struct vm_slot *slot, int port)
{
}

void console_back(void)
{
}

int console_front_port(void)
{
    return VM_SERIAL;
}

struct vm_slot *console_front(void)
{
    return NULL;
}

size_t console_room(void)
{
    return CONSOLE_ROOM;
}

void console_write(const char *text, size_t length)
{
    if (strlen(said) + length < sizeof(said))
        strncat(said, text, length);
}

const char *watch_kind_name(unsigned n)
{
    return NULL;
}

const char *watch_policy_name(unsigned n, const struct watch_handlers *handlers)
{
    return NULL;
}

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void heap_free(void *p)
{
    free(p);
}

#define NO_COMMAND(name)                                                                           \
    bool command_##name(struct job *job)                                                           \
    {                                                                                              \
        return false;                                                                              \
    }
NO_COMMAND(attach)
NO_COMMAND(detach)
NO_COMMAND(screenshot)
NO_COMMAND(type)
NO_COMMAND(keys)
NO_COMMAND(mouse)
NO_COMMAND(eject)
NO_COMMAND(insert)
NO_COMMAND(list)
NO_COMMAND(show)
NO_COMMAND(cpus)
NO_COMMAND(memory)
NO_COMMAND(log)
NO_COMMAND(stats)
NO_COMMAND(top)
NO_COMMAND(trace)
NO_COMMAND(com2)
NO_COMMAND(dump)
NO_COMMAND(regs)
NO_COMMAND(read)
NO_COMMAND(write)
NO_COMMAND(walk)
NO_COMMAND(watch)
NO_COMMAND(watches)
NO_COMMAND(unwatch)
NO_COMMAND(variables)
NO_COMMAND(nets)
NO_COMMAND(switch)
NO_COMMAND(link)
NO_COMMAND(balloon)
NO_COMMAND(ports)
NO_COMMAND(resize)
NO_COMMAND(login)
NO_COMMAND(logout)

bool users_permit(void)
{
    return true;
}

void users_used(void)
{
}

void users_asked(void)
{
}

uint64_t users_work(void)
{
    return CONSOLE_NEVER;
}

bool command_disks(struct job *job)
{
    if (job->words.count > 1)
        job_line("disks of %.*s", (int)job->words.word[1].length, job->words.word[1].text);
    return false;
}

const char *disks_choice(unsigned n)
{
    static const char *const names[] = {"ata0", "ata1"};

    return n < ARRAY_SIZE(names) ? names[n] : NULL;
}

static void note(enum log_level level, const char *line, size_t length)
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

static void bring(unsigned i, enum slot_state state)
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

static void begin_anew(void)
{
    static void *before;

    free(before);
    assert_int_equal(control_init(&config, vms, now), 0);
    before = control_slot(0);
}

/* A machine whose VMs are in these states. */
static void build(const enum slot_state *in, enum config_start start)
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
    trace_waits = 0;
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

static bool runs_or_starts(void)
{
    for (unsigned i = 0; i < VMS; i++)
        if (control_slot(i)->state != SLOT_OFF)
            return true;
    return false;
}

/* The machine is on its way down: it gets there in time, in the way that is wanted. */
static void expect_end(int how, bool stuck)
{
    unsigned most = (TIMEOUT + (stuck ? 2 : 0)) * 100 + 50;

    if (pass(most))
        fail_msg("%s\n%s\nstates %u %u %u", logged, said, control_slot(0)->state,
                 control_slot(1)->state, control_slot(2)->state);
    assert_int_equal(machine, how);
    assert_int_equal(starts, 0);
    if (!stuck)
        assert_false(runs_or_starts());
}

/* --- tests --- */

enum kind { WILLING, DEAF, STUCK, STOPS_OFTEN, IN_FLIGHT, KINDS };

static void make_them(enum kind kind)
{
    for (unsigned i = 0; i < VMS; i++) {
        guests[i].listens = kind == WILLING || kind == STOPS_OFTEN || kind == IN_FLIGHT;
        guests[i].in_flight = kind == IN_FLIGHT && guests[i].runs ? 30 : 0;
        guests[i].stuck = kind == STUCK;
        guests[i].clearing = kind == DEAF;
        guests[i].pieces = kind == DEAF ? 1000000 : 0;
        guests[i].in_between = kind == STOPS_OFTEN;
        vms[i].on_poweroff = kind == WILLING ? CONFIG_END_RESTART : CONFIG_END_PAUSE;
    }
}

/* Every triple of states, with guests of each kind. */
static void test_going_down_ends(void **state)
{
    for (unsigned n = 0; n < STATES * STATES * STATES * KINDS; n++) {
        const enum slot_state in[VMS] = {states[n % STATES].state,
                                         states[n / STATES % STATES].state,
                                         states[n / STATES / STATES % STATES].state};
        enum kind kind = n / (STATES * STATES * STATES);
        bool reboot = n % 2;

        build(in, n % 5 ? CONFIG_START_TOGETHER : CONFIG_START_IN_TURN);
        make_them(kind);
        uint64_t began = now;
        assert_true(type(reboot ? "reboot\r" : "poweroff\r"));
        expect_end(reboot ? REBOOTED : OFF, kind == STUCK);
        if (kind == WILLING || kind == STOPS_OFTEN)
            assert_null(strstr(logged, "it is ended"));
        if (kind == WILLING) {
            assert_true(now - began <= (LISTENS + 1) * HZ);
        }
    }
}

static void test_going_down_beside_a_silent_drive(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].in_flight = 1000000;
    assert_true(type("poweroff\r"));
    expect_end(OFF, true);
    assert_non_null(
        strstr(logged, "a drive does not give back what was asked for by a: this ends"));
}

/* What a VM's disks have in flight when it ends is waited for; meanwhile the machine goes on. */
static void test_disks_come_to_rest_first(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_RUNNING};

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < VMS; i++)
        guests[i].in_flight = 50;
    now += 2 * HZ; /* else b's restart would be held back */
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    vm_request(&guests[1].vm, VM_REQUEST_RESET, "resets itself");
    assert_true(pass(20));
    assert_false(guests[0].runs || guests[1].runs);
    assert_true(guests[2].runs);
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_true(control_work() <= now + HZ / 1000);
    assert_true(type("pause c\r"));
    assert_true(pass(2));
    assert_int_equal(control_slot(2)->state, SLOT_PAUSED); /* that takes nothing to come back */
    assert_int_equal(guests[2].in_flight, 50);
    assert_true(type("kill a\r"));
    assert_true(pass(40));
    assert_int_equal(control_slot(0)->state, SLOT_OFF);
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_int_equal(guests[1].life.resets, 1);
    assert_true(guests[1].runs);
    assert_true(control_work() > now + HZ); /* there is nothing to look at any more */
}

/* Every state, and whatever is typed while the machine goes down. */
static void test_nobody_is_in_the_way(void **state)
{
    for (unsigned n = 0; n < STATES * command_count * 2; n++) {
        const enum slot_state in[VMS] = {states[n % STATES].state, SLOT_RUNNING, SLOT_PAUSED};
        const struct command *c = &commands[n / STATES % command_count];
        char line[80];

        build(in, CONFIG_START_TOGETHER);
        make_them(n / STATES / command_count ? DEAF : WILLING);
        assert_true(type("reboot\r"));
        assert_true(pass(2));
        monitor.leave();
        monitor.enter(); /* Ctrl-], twice */
        assert_true(pass(2));
        snprintf(line, sizeof(line), "%s %s\r", c->name, c->min ? "a" : "");
        assert_true(type(line));
        expect_end(strcmp(c->name, "poweroff") == 0 ? OFF : REBOOTED, false);
    }
}

/* Its argument is completed with what disks_choice() says, and help knows it. */
static void test_disks_is_typed(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    assert_true(type("disks at\t1\r"));
    assert_non_null(strstr(said, "disks of ata1\r\n"));
    assert_true(type("disks ata1 b\r"));
    assert_non_null(strstr(said, "usage: disks [DRIVE|VM]\r\n"));
    assert_true(type("help disks\r"));
    assert_non_null(strstr(said, "\r\nfor example: disks ata0"));
}

static void test_now_is_now(void **state)
{
    for (unsigned n = 0; n < STATES; n++) {
        const enum slot_state in[VMS] = {states[n].state, SLOT_RUNNING, SLOT_PAUSED};
        build(in, CONFIG_START_TOGETHER);
        trace_waits = 23542;
        assert_false(type("poweroff now\r"));
        assert_int_equal(machine, OFF);
        assert_non_null(strstr(logged, "23542 records of the trace are not sent"));
        build(in, CONFIG_START_TOGETHER);
        assert_true(type("poweroff\r"));
        assert_true(pass(1));
        assert_true(type("\x03"));
        assert_false(type("reboot now\r"));
        assert_int_equal(machine, REBOOTED);
    }
}

/* Without anybody who listens: each is ended by name, and not a moment earlier. */
static void test_who_does_not_listen_is_ended(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_PAUSED};

    build(in, CONFIG_START_TOGETHER);
    guests[1].listens = true;
    assert_true(type("poweroff\r"));
    assert_true(pass(TIMEOUT * 100 - 5));
    assert_non_null(strstr(said, "waiting for 3 VMs to shut down, 3 s: a, b, c"));
    assert_non_null(strstr(said, "waiting for 2 VMs to shut down, 1 s: a, c"));
    assert_null(strstr(logged, "it is ended"));
    assert_false(pass(20));
    assert_non_null(strstr(logged, "a: did not shut down within 3 s: it is ended"));
    assert_non_null(strstr(logged, "c: did not shut down within 3 s: it is ended"));
    assert_null(strstr(logged, "b: did not shut down"));
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_int_equal(control_slot(1)->ended, SLOT_POWERED_OFF);
}

static void test_no_patience(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_PAUSED};

    build(in, CONFIG_START_TOGETHER);
    config.shutdown_timeout = 0;
    assert_true(type("poweroff\r"));
    assert_false(pass(20));
    assert_non_null(strstr(logged, "a: did not shut down within 0 s: it is ended"));
}

/* A guest that boots forgets its power button. */
static void test_the_button_is_pressed_again(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    config.shutdown_timeout = 35;
    assert_true(type("poweroff\r"));
    assert_true(pass(3000));
    assert_true(guests[0].presses == 3 || guests[0].presses == 4);
}

static void test_called_off(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_WAITING};

    for (unsigned at_prompt = 0; at_prompt < 2; at_prompt++) {
        build(in, CONFIG_START_TOGETHER);
        assert_true(type("poweroff\r"));
        assert_true(pass(20));
        if (at_prompt) { /* he has been away meanwhile */
            monitor.leave();
            monitor.enter();
        }
        assert_true(type("\x03"));
        assert_true(pass(2 * TIMEOUT * 100));
        assert_int_equal(machine, ON);
        assert_false(down_wanted());
        assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(2)->state, SLOT_OFF);
        assert_true(type("start c\r"));
        assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
    }
}

/* Those that start in turn do not, and do when the job is called off. */
static void test_in_turn(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    for (unsigned cancelled = 0; cancelled < 2; cancelled++) {
        build(in, CONFIG_START_IN_TURN);
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true;
        begin_anew();
        assert_true(pass(2));
        assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        assert_int_equal(control_slot(1)->state, SLOT_OFF);
        starts = 0;
        assert_true(type("poweroff\r"));
        if (!cancelled) {
            expect_end(OFF, false);
        } else {
            guests[0].listens = true;
            trace_waits = 5;
            assert_true(pass(LISTENS * 100 + 20));
            assert_int_equal(control_slot(0)->state, SLOT_OFF);
            assert_int_equal(control_slot(1)->state, SLOT_OFF);
            assert_true(type("\x03"));
            assert_true(pass(5));
            assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
        }
    }
}

/* What the reload test has away goes on by itself, unless it is to stand still or to end. */
static void test_reloaded(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_OFF};
    struct vm *vm = &guests[0].vm;

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < 4; i++) {
        vm->life->reloading = true;
        run_leave(&vm->tasks);
        if (i == 1)
            assert_true(type("pause a\r"));
        if (i == 3)
            assert_true(type("kill a\r"));
        assert_true(pass(2));
        assert_int_equal(vm->life->reloads, i + 1);
        assert_false(vm->life->reloading);
        assert_int_equal(control_slot(0)->state, i == 1   ? SLOT_PAUSED
                                                 : i == 3 ? SLOT_OFF
                                                          : SLOT_RUNNING);
        assert_int_equal(guests[0].runs, i != 1 && i != 3);
        if (i == 1) {
            assert_true(type("resume a\r"));
            assert_true(pass(2));
            assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
        }
    }
}

/* --- kept, and put back --- */

static void shows(const char *typed, unsigned steps, const char *answer)
{
    assert_true(type(typed));
    assert_true(pass(steps));
    if (!strstr(said, answer))
        fail_msg("'%s': '%s' is not in '%s'", typed, answer, said);
}

static void is(unsigned vm, enum slot_state state)
{
    assert_int_equal(control_slot(vm)->state, state);
    assert_int_equal(guests[vm].runs, state == SLOT_RUNNING);
}

static void test_kept_and_put_back(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_PAUSED, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    put_back = 0;
    shows("snapshots\r", 1, "there is none");
    shows("snapshot a one\r", 5, "a: is kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    shows("snapshot a one\r", 5, "a has a snapshot 'one' already: forget it");
    shows("snapshot a a/b\r", 1, "'a/b' is no name");
    shows("snapshot a 0123456789012345678901234567890_\r", 1, "is no name");
    shows("restore a tw\r", 1, "a has no snapshot 'tw'");
    shows("restore a o\t\r", 5, "a: is what was kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    assert_int_equal(put_back, 1);
    shows("snapshot b two\r", 5, "b: is kept as 'two'; it stands still\r\n");
    is(1, SLOT_PAUSED);
    shows("restore b two\r", 5, "b: is what was kept as 'two'; it stands still\r\n");
    is(1, SLOT_PAUSED);
    shows("snapshots\r", 1, "b                 two");
    shows("snapshot c x\r", 1, "c is off\r\n");
    shows("forget b one\r", 1, "b has no snapshot 'one'");
    shows("forget b two\r", 1, "b: 'two' is forgotten");
    guests[0].debugged = true;
    shows("restore a one\r", 1, "a is debugged");
    guests[0].debugged = false;
    /* It stays when its VM ends. */
    shows("kill a\r", 3, "a: is killed");
    shows("restore a one\r", 1, "a is off: start it first");
    shows("start a\r", 3, "a: starts");
    shows("restore a one\r", 5, "a: is what was kept as 'one'\r\n");
    is(0, SLOT_RUNNING);
    forget_all();
}

static void test_kept_takes_its_time(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_RUNNING, SLOT_AT_START};
    char error[CONTROL_ERROR];

    build(in, CONFIG_START_TOGETHER);
    dropped = 0;
    guests[0].pieces = 100;
    shows("snapshot a one\r", 30, "a: its memory is kept: ");
    is(0, SLOT_KEEPING);
    is(1, SLOT_RUNNING);
    assert_int_equal(control_pause(control_slot(0), error), -EBUSY);
    assert_string_equal(error, "a is just being kept, or put back: try again");
    assert_int_equal(moments_keep(control_slot(0), "x", 1, error), -EBUSY);
    /* Ctrl-C: it goes on as if nothing had been. */
    assert_true(type("\x03"));
    assert_true(pass(3));
    is(0, SLOT_RUNNING);
    shows("snapshots\r", 1, "there is none");
    assert_int_equal(dropped, 1);
    /* Killed meanwhile. */
    guests[0].pieces = 100;
    shows("snapshot a one\r", 5, "");
    assert_int_equal(control_kill(control_slot(0), "killed", error), 0);
    assert_true(pass(5));
    assert_non_null(strstr(said, "a has come to its end, or begins anew, before"));
    is(0, SLOT_OFF);
    /* A guest that ends itself while its vCPUs are on their way. */
    guests[1].stuck = true;
    shows("snapshot b one\r", 2, "");
    assert_int_equal(control_slot(1)->state, SLOT_PAUSING);
    vm_request(&guests[1].vm, VM_REQUEST_POWEROFF, "powered off");
    guests[1].stuck = false;
    assert_true(pass(5));
    is(1, SLOT_OFF);
    assert_int_equal(dropped, 3);
    shows("snapshots\r", 1, "there is none");
    shows("snapshot c start\r", 5, "c: is kept as 'start'; it stands still");
    is(2, SLOT_PAUSED);
    forget_all();
}

static void test_put_back_at_its_end(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_AT_END, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    shows("snapshot b one\r", 1, "b has come to its end: reset or kill it");
    vms[0].on_poweroff = CONFIG_END_PAUSE;
    shows("snapshot a one\r", 5, "is kept");
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    assert_true(pass(3));
    is(0, SLOT_AT_END);
    guests[0].fails = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_AT_END);
    guests[0].fails = false;
    shows("restore a one\r", 5, "a: is what was kept as 'one'; it stands still");
    is(0, SLOT_PAUSED);
    shows("resume a\r", 2, "a: goes on");
    is(0, SLOT_RUNNING);
    /* It cannot, and goes on. */
    guests[0].fails = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_RUNNING);
    shows("snapshot a two\r", 5, "a cannot");
    is(0, SLOT_RUNNING);
    guests[0].fails = false;
    /* It ends while it is to be kept: that is over. */
    guests[0].stuck = true;
    shows("snapshot a two\r", 1, "");
    vm_request(&guests[0].vm, VM_REQUEST_POWEROFF, "powered off");
    guests[0].stuck = false;
    assert_true(pass(5));
    is(0, SLOT_AT_END);
    assert_non_null(strstr(said, "a has come to its end before that could be done"));
    /* Nothing is left of it. */
    shows("restore a one\r", 5, "a: is what");
    guests[0].ruined = true;
    shows("restore a one\r", 5, "a cannot");
    is(0, SLOT_OFF);
    forget_all();
}

/* The machine goes down meanwhile: it is asked as everybody else. */
static void test_kept_while_the_machine_goes_down(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};
    char error[CONTROL_ERROR];

    build(in, CONFIG_START_TOGETHER);
    guests[0].listens = true;
    guests[0].pieces = 50;
    assert_int_equal(moments_keep(control_slot(0), "x", 1, error), 0);
    assert_true(pass(3));
    is(0, SLOT_KEEPING);
    assert_true(type("poweroff\r"));
    assert_false(pass((LISTENS + 1) * 100 + 50));
    assert_int_equal(machine, OFF);
    assert_null(strstr(logged, "it is ended"));
    assert_int_equal(moments_put_back(control_slot(0), "x", 1, error), -EBUSY);
    forget_all();
}

/* `when_idle` does not come in between, whatever it says; and leads to the same end. */
static void test_when_idle(void **state)
{
    const enum slot_state in[VMS] = {SLOT_RUNNING, SLOT_OFF, SLOT_OFF};

    for (unsigned idle = 0; idle < 2; idle++) {
        build(in, CONFIG_START_TOGETHER);
        config.when_idle = idle;
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true; /* nobody waits for his start */
        guests[0].listens = true;
        assert_true(type("reboot\r"));
        monitor.leave();
        expect_end(REBOOTED, false);
        build(in, CONFIG_START_TOGETHER);
        config.when_idle = CONFIG_IDLE_POWEROFF;
        for (unsigned i = 0; i < VMS; i++)
            vms[i].autostart = true;
        assert_true(type("kill a\r"));
        assert_false(pass(20));
        assert_int_equal(machine, OFF);
        assert_non_null(strstr(logged, "no VM is left: power off"));
    }
}

/* The trace is sent first, beside the prompt. */
static void test_the_trace_is_sent(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    trace_waits = 5000;
    assert_true(type("poweroff\r"));
    assert_true(pass(2000));
    assert_non_null(strstr(said, "5000 records of the trace are left"));
    trace_waits = 0;
    assert_false(pass(20));
    build(in, CONFIG_START_TOGETHER);
    trace_waits = 5000;
    assert_true(type("poweroff\r"));
    assert_true(pass(20));
    assert_false(type("\x03poweroff now\r"));
    assert_int_equal(machine, OFF);
}

/* A VM whose memory takes its time: the command shows it, Ctrl-C ends it, others are not kept. */
static void test_what_is_made_slowly(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_PAUSED, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].clearing = guests[1].clearing = true;
    assert_true(type("start a\r"));
    assert_true(pass(200));
    assert_non_null(strstr(said, "a: its memory is cleared: 0 %"));
    assert_int_equal(control_slot(0)->state, SLOT_MAKING);
    assert_true(type("\x03"));
    assert_int_equal(control_slot(0)->state, SLOT_OFF);
    assert_int_equal(control_slot(0)->ended, SLOT_KILLED);
    assert_true(type("reset b\r"));
    assert_true(pass(200));
    assert_int_equal(control_slot(1)->state, SLOT_MAKING);
    monitor.leave(); /* Ctrl-], twice: it goes on */
    monitor.enter();
    assert_true(type("start c\r"));
    assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
    guests[1].clearing = false;
    assert_true(pass(2));
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
}

/* One whose memory takes a moment: the prompt is back as soon as it runs, and no progress shown. */
static void test_what_is_made_quickly(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    guests[0].clearing = true;
    assert_true(type("start a\r"));
    guests[0].clearing = false;
    assert_true(pass(3));
    assert_int_equal(control_slot(0)->state, SLOT_RUNNING);
    assert_null(strstr(said, "cleared"));
    assert_non_null(strstr(said, "corbel> "));
}

/* What cannot be started, as is found out at the end, has given its memory back before the next. */
static void test_one_is_made_after_the_other(void **state)
{
    const enum slot_state in[VMS] = {SLOT_OFF, SLOT_OFF, SLOT_OFF};

    build(in, CONFIG_START_TOGETHER);
    for (unsigned i = 0; i < VMS; i++)
        vms[i].autostart = true;
    begin_anew();
    guests[0].clearing = guests[0].broken = true;
    assert_true(pass(20));
    assert_int_equal(control_slot(0)->state, SLOT_MAKING);
    assert_int_equal(control_slot(1)->state, SLOT_OFF);
    guests[0].clearing = false;
    assert_true(pass(5));
    assert_int_equal(control_slot(0)->ended, SLOT_FAILED);
    assert_int_equal(control_slot(1)->state, SLOT_RUNNING);
    assert_int_equal(control_slot(2)->state, SLOT_RUNNING);
}

/* --- docs/USING.md's table, cell by cell --- */

static const char *const events[] = {"start a",      "stop a",      "pause a",
                                     "resume a",     "reset a",     "kill a",
                                     "snapshot a y", "restore a x", "down"};
#define COLUMNS ARRAY_SIZE(events)

static char *next_cell(char **row)
{
    char *cell = strsep(row, "|");

    assert_non_null(cell);
    while (*cell == ' ')
        cell++;
    for (size_t end = strlen(cell); end && cell[end - 1] == ' ';)
        cell[--end] = '\0';
    return cell;
}

static const char *name_of(enum slot_state state)
{
    for (unsigned i = 0; i < STATES; i++)
        if (states[i].state == state)
            return states[i].name;
    return "?";
}

/* What is kept of the first one, for `restore`. */
static void keep_something(void)
{
    struct moment *m = heap_alloc(sizeof(*m));

    m->name[0] = 'x';
    m->next = control_slot(0)->moments.kept;
    control_slot(0)->moments.kept = m;
}

/* What the cell says, from what happens. */
static void observe(char *text, size_t size, enum slot_state state, unsigned column, bool paused)
{
    const enum slot_state in[VMS] = {state, SLOT_OFF, SLOT_OFF};
    const struct vm_slot *s;
    char line[80];
    bool stood;

    build(in, CONFIG_START_TOGETHER);
    keep_something();
    s = control_slot(0);
    vms[0].paused = paused;
    stood = !guests[0].runs || state == SLOT_PAUSING;
    snprintf(line, sizeof(line), "%s\r", column == COLUMNS - 1 ? "poweroff" : events[column]);
    assert_true(type(line));
    guests[0].stuck = guests[0].clearing = false;
    guests[0].pieces = 0;
    if (column < COLUMNS - 1) {
        char *refusal = strstr(said, "\na ");
        if (refusal) {
            snprintf(text, size, "%.*s", (int)strcspn(refusal + 3, "\r"), refusal + 3);
            assert_int_equal(s->state, state);
            return;
        }
        bool at_once = strstr(said, "\na: ") != NULL;
        assert_true(pass(5));
        assert_true(at_once || strstr(said, "\ra: ") || strstr(said, "\na: "));
        snprintf(text, size, "%s%s", guests[0].presses ? "asked, " : "", name_of(s->state));
        return;
    }
    pass(20);
    snprintf(text, size, "%s",
             state == SLOT_OFF            ? "nothing"
             : s->state == SLOT_OFF       ? "ended"
             : guests[0].presses && stood ? "woken, asked"
             : guests[0].presses          ? "asked"
                                          : "?");
}

static void test_the_table_in_the_manual(void **state)
{
    FILE *f = fopen("docs/USING.md", "r");
    char line[1024], text[200];
    unsigned rows = 0;

    assert_non_null(f);
    while (fgets(line, sizeof(line), f) && !strstr(line, "| State | `start` |"))
        ;
    assert_non_null(fgets(line, sizeof(line), f)); /* |---| */
    for (; fgets(line, sizeof(line), f) && line[0] == '|'; rows++) {
        char *row = line + 1;
        const char *name = next_cell(&row);
        assert_true(rows < STATES);
        assert_string_equal(name, states[rows].name);
        for (unsigned column = 0; column < COLUMNS; column++) {
            const char *cell = next_cell(&row);
            bool starts_anew = column == 0 || column == 4 || states[rows].state == SLOT_MAKING;
            observe(text, sizeof(text), states[rows].state, column, false);
            assert_string_equal(text, cell);
            observe(text, sizeof(text), states[rows].state, column, true);
            if (starts_anew && strcmp(cell, "running") == 0)
                cell = "paused at its start";
            if (column != COLUMNS - 1 || states[rows].state != SLOT_RESETTING)
                assert_string_equal(text, cell);
        }
    }
    fclose(f);
    assert_int_equal(rows, STATES);
}

/* The same commands while the machine goes down. */
static void test_commands_while_going_down(void **state)
{
    for (unsigned n = 0; n < STATES; n++) {
        for (unsigned column = 0; column < COLUMNS - 1; column++) {
            const enum slot_state in[VMS] = {states[n].state, SLOT_OFF, SLOT_OFF};
            char line[40];
            bool refused = column == 0 || column == 2 || column == 4 || column > 5;

            build(in, CONFIG_START_TOGETHER);
            assert_true(type("poweroff\r"));
            monitor.leave();
            monitor.enter();
            assert_true(down_wanted());
            keep_something();
            snprintf(line, sizeof(line), "%s\r", events[column]);
            assert_true(type(line));
            if (refused) {
                assert_non_null(strstr(said, "\na "));
                assert_int_equal(control_slot(0)->state, states[n].state);
            }
            if (column == 0 && states[n].state == SLOT_OFF)
                assert_non_null(strstr(said, "a stays as it is: the machine goes down"));
        }
    }
}

static int setup(void **state)
{
    log_set_sink(note);
    log_set_level(LOG_INFO);
    monitor_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_going_down_ends),
        cmocka_unit_test(test_going_down_beside_a_silent_drive),
        cmocka_unit_test(test_disks_come_to_rest_first),
        cmocka_unit_test(test_nobody_is_in_the_way),
        cmocka_unit_test(test_disks_is_typed),
        cmocka_unit_test(test_now_is_now),
        cmocka_unit_test(test_who_does_not_listen_is_ended),
        cmocka_unit_test(test_no_patience),
        cmocka_unit_test(test_the_button_is_pressed_again),
        cmocka_unit_test(test_called_off),
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_reloaded),
        cmocka_unit_test(test_kept_and_put_back),
        cmocka_unit_test(test_kept_takes_its_time),
        cmocka_unit_test(test_put_back_at_its_end),
        cmocka_unit_test(test_kept_while_the_machine_goes_down),
        cmocka_unit_test(test_when_idle),
        cmocka_unit_test(test_the_trace_is_sent),
        cmocka_unit_test(test_what_is_made_slowly),
        cmocka_unit_test(test_what_is_made_quickly),
        cmocka_unit_test(test_one_is_made_after_the_other),
        cmocka_unit_test(test_the_table_in_the_manual),
        cmocka_unit_test(test_commands_while_going_down),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
