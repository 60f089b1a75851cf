#include "guest/console/console.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/console.h"
#include "drivers/framebuffer.h"
#include "drivers/serial.h"
#include "guest/vm/control.h"
#include "guest/console/front.h"
#include "guest/console/kept.h"
#include "guest/console/lines.h"
#include "guest/console/places.h"
#include "guest/console/port.h"
#include "guest/console/terminal.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"
#include "guest/vm/vm_console.h"
#include "mm/heap.h"

#define INPUT_MAX 64                 /* bytes that are looked at in one go */
#define CHUNK     (2 * TERMINAL_OUT) /* bytes of what is kept that are sent at once, at most */
/* How often a second the port is looked at while output waits for it: its interrupt may be held
 * back for as long as a guest runs with interrupts off (Bochs does that). Less often than a FIFO of
 * 16 empties. */
#define CONSOLE_HZ 500

/* By number: the VMs' serial ports, as the VMs are numbered, then their other ports. */
static struct console {
    struct kept *kept;    /* NULL until it says something */
    struct terminal left; /* what it had made of the terminal when it was left */
} * consoles;
static unsigned console_count;

static const struct console_monitor *monitor;

/* Who is in front. Processor 0 alone changes it, under console_lock(); others read it so. */
static struct front front = {.vm = FRONT_NO_VM};
/* The monitor has come to the front from a guest's console, and no key was typed there yet: a
 * second Ctrl-] is for the guest then. Processor 0's. */
static bool just_entered;

/* What the port is in the middle of, and when to look at it again; under console_lock(). */
static struct stream {
    bool replaying; /* what the guest in front has said before is being sent again: its new
                     * bytes are kept until that has come to its end */
    bool refused;   /* whoever came to the front last, or had a byte refused since
                     * console_pump() was called, may have bytes that wait in its UART */
    bool raw;       /* what the guest in front sends passes as it is */
    struct terminal terminal; /* what it has made of the terminal */
    uint64_t deadline;        /* host TSC at which console_pump() is to be called again */
} stream = {.deadline = CONSOLE_NEVER};

static enum lines_gate gate(void)
{
    if (front.state == FRONT_LOG || front.state == FRONT_ASKS)
        return LINES_ALONE;
    return front.state == FRONT_MONITOR || stream.replaying || stream.terminal.in_line ||
                   terminal_is_full(&stream.terminal) ||
                   serial_room(&com1) < TERMINAL_OUT + PORT_RESERVE
               ? LINES_BARRED
               : LINES_BETWEEN;
}

static void send_to_terminal(size_t (*what)(struct terminal *t, char *out))
{
    char out[TERMINAL_OUT];
    size_t used = what(&stream.terminal, out);

    if (serial_room(&com1) >= used) /* half a sequence would swallow what comes behind it */
        serial_write(&com1, out, used);
}

/* What waits, if this is a place for it. Under the lock. */
static void send_lines(void)
{
    enum lines_gate g = gate();

    if (g == LINES_BETWEEN && lines_wait())
        send_to_terminal(terminal_between);
    lines_send(g);
}

/* --- in time for what comes next --- */

static bool output_waits(void)
{
    return serial_sending(&com1) || stream.replaying || (lines_wait() && gate() != LINES_BARRED);
}

/* Let processor 0 come to console_pump() in time. Under the lock. */
static void watch(void)
{
    if (output_waits())
        stream.deadline = MIN(stream.deadline, rdtsc() + tsc_hz / CONSOLE_HZ);
    if (stream.deadline == CONSOLE_NEVER)
        return;
    if (this_cpu()->number == 0)
        vcpu_again_at(stream.deadline);
    else
        run_attention(0);
}

/* --- Corbel's lines --- */

/* Above the monitor's prompt; on processor 0, without the lock. */
static void show_lines(void)
{
    char line[LINES_MAX];
    size_t length;

    while (lines_wait() && serial_room(&com1) >= CONSOLE_ROOM && monitor->hide()) {
        console_lock();
        length = lines_take(line);
        console_unlock();
        serial_write(&com1, line, length); /* the screen has it */
        monitor->show();
    }
}

/* The log's; under the lock, on any processor. */
static void corbel_line(const char *line, size_t length)
{
    enum lines_gate g = gate();

    if (g == LINES_BETWEEN)
        send_to_terminal(terminal_between);
    lines_write(line, length, g);
    if (lines_wait() && !stream.terminal.in_line)
        run_attention(0); /* console_pump() sends it, or the monitor shows it */
}

/* --- what guests have said --- */

static struct kept *kept_of(unsigned id)
{
    return id < console_count ? consoles[id].kept : NULL;
}

/* Send what is kept as the port takes it. */
static void send_kept(void)
{
    struct kept *k = front.vm != FRONT_NO_VM ? kept_of((unsigned)front.vm) : NULL;
    char out[CHUNK], byte;

    while (k && stream.replaying && serial_room(&com1) >= sizeof(out) + PORT_RESERVE) {
        size_t used = 0;

        while (used + TERMINAL_OUT <= sizeof(out) && kept_take(k, &byte, 1))
            used += terminal_byte(&stream.terminal, (uint8_t)byte, false, out + used);
        serial_write(&com1, out, used);
        stream.replaying = kept_unseen(k) != 0;
    }
    if (stream.raw && !stream.replaying) /* what it makes of it from now on nobody looks at */
        stream.terminal = (struct terminal){.in_line = stream.terminal.in_line};
}

static bool is_unseen(unsigned id)
{
    const struct kept *k = kept_of(id);

    return k && kept_unseen(k);
}

bool console_unseen(const struct vm_slot *slot)
{
    bool unseen = is_unseen(slot->id);

    for (unsigned i = 0; i < slot->config->console; i++)
        unseen |= is_unseen(place_number(slot->id, (int)i));
    return unseen;
}

void console_kept(const struct vm_slot *slot, int port, uint64_t *unseen, uint64_t *lost)
{
    const struct kept *k = kept_of(place_number(slot->id, port));

    *unseen = k ? kept_unseen(k) : 0;
    *lost = k ? k->lost : 0;
}

/* --- who is in front --- */

struct vm_slot *console_front(void)
{
    return front.vm == FRONT_NO_VM ? NULL : control_slot(place_vm((unsigned)front.vm));
}

int console_front_port(void)
{
    return front.vm == FRONT_NO_VM ? VM_SERIAL : place_port((unsigned)front.vm);
}

/* Of a console; it is there when its VM is. */
static unsigned facts(unsigned id)
{
    const struct vm_slot *slot = control_slot(place_vm(id));

    return (slot->vm ? FRONT_VM_EXISTS : 0) | (control_awaits(slot) ? FRONT_VM_AWAITED : 0) |
           (is_unseen(id) ? FRONT_VM_UNSEEN : 0);
}

/* That of the VM's consoles which is in front, if one is; else its serial port. */
static unsigned front_of(const struct vm_slot *slot)
{
    bool its = front.vm != FRONT_NO_VM && place_vm((unsigned)front.vm) == slot->id;

    return its ? (unsigned)front.vm : slot->id;
}

/* Console number id goes, which is in front. Under the lock. */
static void give_terminal_back(unsigned id)
{
    if (id < console_count)
        consoles[id].left = stream.terminal;
    send_to_terminal(terminal_leave);
}

/* Whoever is in front leaves. */
static void leave(void)
{
    const struct vm_slot *guest = console_front();

    if (front.state == FRONT_MONITOR)
        monitor->leave();
    console_lock();
    if (front.vm != FRONT_NO_VM && front_has(&front, (unsigned)front.vm))
        give_terminal_back((unsigned)front.vm);
    stream.replaying = false;
    front.state = FRONT_LOG;
    lines_send(gate());
    console_unlock();
    if (guest && guest->vm)
        vm_console_retry(guest->vm); /* from now on it is kept */
}

/* Whoever is in front is `next` from now on. */
static void enter(const struct front *next)
{
    console_lock();
    front = *next;
    stream.refused = true;
    console_unlock();
}

static void enter_guest(const struct front *next, bool again)
{
    unsigned id = (unsigned)next->vm;
    struct kept *k = kept_of(id);

    console_lock();
    front = *next;
    stream.refused = true;
    stream.raw = control_slot(place_vm(id))->config->terminal == CONFIG_TERMINAL_RAW;
    if (again && id < console_count) {
        stream.terminal = consoles[id].left;
        send_to_terminal(terminal_return);
    }
    if (k)
        k->sent = again ? kept_cut_line(k) : kept_oldest_line(k);
    stream.replaying = k && kept_unseen(k);
    send_kept();
    console_unlock();
}

static void announce(const struct front *next)
{
    char line[PLACE_NAME + 80], name[PLACE_NAME];

    format(line, sizeof(line), "corbel: console of %s%s%s: Ctrl-] for the monitor\r\n",
           place_name((unsigned)next->vm, name), next->state == FRONT_OFF ? ", which is off" : "",
           monitor->permits() ? "" : ", read-only");
    port_wait(strlen(line));
    console_write(line, strlen(line));
}

static void say_that_it_is_off(unsigned id)
{
    char line[2 * PLACE_NAME + 80], name[PLACE_NAME];

    format(line, sizeof(line), "%s is off: console %s shows what it said\r\n",
           control_slot(place_vm(id))->name, place_name(id, name));
    if (monitor->hide())
        console_write(line, strlen(line));
    monitor->show();
}

/* Make `next`, which guest/console/front.c has worked out, the front, and do what has to be done.
 */
static void carry_out(const struct front *next, enum front_move move)
{
    switch (move) {
    case FRONT_STAYS:
        enter(next);
        break;
    case FRONT_SHOWS:
        leave();
        announce(next);
        enter_guest(next, false);
        break;
    case FRONT_GOES_ON:
        leave();
        enter_guest(next, true);
        break;
    case FRONT_PROMPTS:
        just_entered = front.state == FRONT_GUEST;
        leave();
        enter(next);
        monitor->enter();
        break;
    case FRONT_CLEARS:
        leave();
        enter(next);
        break;
    case FRONT_CANNOT:
        enter(next);
        say_that_it_is_off((unsigned)front.vm);
        break;
    }
}

static void happens(enum front_event event)
{
    struct front next = front;
    enum front_move move = front_happens(&next, event, FRONT_NO_VM);

    carry_out(&next, move);
}

void console_attach(struct vm_slot *slot, int port)
{
    struct front next = front;
    enum front_move move = front_show(&next, place_number(slot->id, port));

    carry_out(&next, move);
}

void console_monitor(void)
{
    struct front next = front;
    enum front_move move = front_ask_monitor(&next);

    carry_out(&next, move);
}

void console_back(void)
{
    happens(FRONT_ESCAPE);
}

/* --- what happens to VMs --- */

/* What it has made of the terminal nobody wants any more. */
static void forget_terminals(const struct vm_slot *slot)
{
    for (int port = VM_SERIAL; port < (int)slot->config->console; port++)
        if (place_number(slot->id, port) < console_count)
            consoles[place_number(slot->id, port)].left = (struct terminal){0};
}

void console_vm_starts(struct vm_slot *slot)
{
    struct front next = front;
    enum front_move move = front_vm_starts(&next, front_of(slot));

    forget_terminals(slot);
    carry_out(&next, move);
}

void console_vm_ends(struct vm_slot *slot, bool restarts)
{
    struct front next = front;

    console_lock();
    if (front_has(&front, front_of(slot)) && !stream.replaying) {
        give_terminal_back(front_of(slot));
        send_lines();
    }
    forget_terminals(slot);
    console_unlock();
    if (!restarts) {
        enum front_move move = front_vm_ends(&next, front_of(slot));
        carry_out(&next, move);
    }
}

void console_idle(void)
{
    happens(FRONT_IDLE);
}

/* --- a question to whoever is there --- */

void console_ask_for_key(void)
{
    struct front next = front;
    enum front_move move = front_ask_key(&next);

    carry_out(&next, move);
}

enum vm_answer console_answer(void)
{
    if (front.answered)
        return VM_KEY;
    return front.person && monitor->permits() ? VM_MONITOR_IN_USE : VM_NO_KEY;
}

/* --- bytes --- */

/* To the terminal, for which the port has room. Under the lock. */
static void send_byte(uint8_t byte)
{
    struct terminal *t = &stream.terminal;
    char out[TERMINAL_OUT];

    if (LIKELY(stream.raw || terminal_is_plain(t, byte))) {
        serial_write(&com1, &byte, 1);
        t->in_line = byte != '\n';
        t->away = !stream.raw;
        return;
    }
    serial_write(&com1, out, terminal_byte(t, byte, monitor->permits(), out));
}

/* Under the lock. */
static bool put(struct kept *k, unsigned id, uint8_t byte)
{
    bool ours = front_has(&front, id);

    if (k && ours && stream.replaying && kept_unseen(k) == KEPT_SIZE)
        return false;
    if (ours && !stream.replaying && !port_takes(TERMINAL_OUT))
        return false;
    if (LIKELY(k))
        kept_add(k, (char)byte, ours && !stream.replaying);
    if (!ours || stream.replaying)
        return true;
    send_byte(byte);
    if (UNLIKELY(!stream.terminal.in_line && lines_wait()))
        send_lines();
    return true;
}

/* What is kept of it, if there is memory; before the lock, whose rank is higher. */
static __attribute__((noinline)) struct kept *make_kept(unsigned id)
{
    if (id < console_count)
        consoles[id].kept = heap_alloc(sizeof(struct kept));
    return kept_of(id);
}

bool console_put(void *context, uint8_t byte)
{
    const struct vm *vm = context;
    struct kept *k = kept_of(vm->id);
    bool taken;

    if (UNLIKELY(!k))
        k = make_kept(vm->id);
    console_lock();
    taken = put(k, vm->id, byte);
    stream.refused |= !taken;
    if (stream.deadline == CONSOLE_NEVER)
        watch();
    console_unlock();
    return taken;
}

size_t console_put_port(void *context, unsigned port, const void *data, size_t size)
{
    const struct vm *vm = context;
    unsigned id = place_number(vm->id, (int)port);
    struct kept *k = kept_of(id);
    size_t taken = 0;

    if (id == vm->id) /* there was no memory for the table: it is lost */
        return size;
    if (!k)
        k = make_kept(id);
    console_lock();
    while (taken < size && put(k, id, ((const uint8_t *)data)[taken]))
        taken++;
    if (stream.deadline == CONSOLE_NEVER)
        watch();
    console_unlock();
    return taken;
}

static void type_into_guest(uint8_t byte)
{
    struct vm *vm = console_front()->vm;

    if (!monitor->permits()) {
        console_lock();
        serial_write(&com1, "\a", 1);
        console_unlock();
        return;
    }
    terminal_typed(&stream.terminal);
    if (vm)
        vm_console_type(vm, console_front_port(), byte);
}

/* Give a byte that was typed to the guest in front, or else to the monitor. */
static void type(uint8_t byte)
{
    bool literal = byte != PORT_ESCAPE || just_entered;

    monitor->typed();
    just_entered = false;
    if (front.state == FRONT_ASKS && byte != PORT_ESCAPE && !monitor->permits())
        return;
    happens(byte == PORT_ESCAPE ? FRONT_ESCAPE : FRONT_KEY);
    if (front.state == FRONT_GUEST && literal)
        type_into_guest(byte);
    else if (front.state == FRONT_MONITOR && byte != PORT_ESCAPE)
        monitor->input(byte);
}

static bool take_input(uint64_t *next)
{
    int c;

    if ((front.state == FRONT_GUEST &&
         !port_input_taken(console_front()->vm, console_front_port(), next)) ||
        (front.state == FRONT_MONITOR && console_room() < CONSOLE_ROOM) ||
        (c = serial_read(&com1)) < 0)
        return false;
    type((uint8_t)c);
    return true;
}

/* A guest is in front, and nothing is to be done before the deadline. Who changes that on another
 * processor asks for this one's attention afterwards. */
static bool quiet(void)
{
    return front.state == FRONT_GUEST && !stream.refused && !lines_wait() &&
           (stream.deadline == CONSOLE_NEVER || rdtsc() < stream.deadline);
}

/* Out of line: nearly never anything is to be done when processor 0's loop comes round. */
static __attribute__((noinline)) uint64_t work(void)
{
    uint64_t next = CONSOLE_NEVER, wish;
    bool refused;

    console_lock();
    stream.deadline = CONSOLE_NEVER;
    refused = stream.refused;
    stream.refused = false;
    if (stream.replaying)
        send_kept();
    if (lines_wait())
        send_lines();
    console_unlock();
    if (front.state == FRONT_PARTING && !stream.replaying)
        happens(FRONT_SHOWN);
    if (refused && front.state == FRONT_GUEST && console_front()->vm)
        vm_console_retry(console_front()->vm);
    for (unsigned i = 0; take_input(&next); i++)
        if (i == INPUT_MAX) {
            next = 0;
            break;
        }
    wish = monitor->work();
    next = MIN(next, wish);
    if (front.state == FRONT_MONITOR)
        show_lines();
    /* What another processor has sent since the lock was held has called watch() itself. */
    if (next == CONSOLE_NEVER && !output_waits())
        return next;
    console_lock();
    stream.deadline = MIN(stream.deadline, next);
    watch();
    next = stream.deadline;
    console_unlock();
    return next;
}

uint64_t console_pump(void)
{
    return LIKELY(!serial_poll(&com1) && quiet()) ? stream.deadline : work();
}

/* Wait until what is on its way has been sent. */
static void drain(void)
{
    do {
        serial_flush(&com1);
        console_lock();
        send_kept();
        console_unlock();
    } while (stream.replaying && serial_room(&com1) >= CHUNK + PORT_RESERVE);
}

void console_flush(void)
{
    drain();
    /* What nobody has seen would be lost: shown now, VM by VM. */
    for (unsigned i = 0; i < console_count && front.state == FRONT_PARTING; i++) {
        happens(FRONT_SHOWN);
        drain();
    }
    if (front.state == FRONT_MONITOR)
        show_lines();
    leave();
    serial_flush(&com1);
    console_lock();
    lines_send(gate());
    console_unlock();
    serial_flush(&com1);
}

/* --- for the monitor --- */

size_t console_room(void)
{
    return serial_room(&com1);
}

void console_write(const char *text, size_t length)
{
    console_lock();
    serial_write(&com1, text, length);
    framebuffer_write(text, length, FB_GREEN);
    console_unlock();
}

/* --- beginning --- */

static void input_arrived(void)
{
    run_attention(0);
}

void console_mux_init(const struct console_monitor *m)
{
    monitor = m;
    console_set_serial_line_sink(corbel_line);
    serial_set_rx_handler(&com1, input_arrived);
}

void console_begin(int attach)
{
    struct front next = {.vm = FRONT_NO_VM, .count = control_count(), .facts = facts};
    enum front_move move;

    console_count = places_make();
    consoles = heap_alloc((console_count + 1) * sizeof(*consoles));
    if (!consoles)
        console_count = 0;
    if (attach == CONSOLE_MONITOR)
        move = front_ask_monitor(&next);
    else
        move = front_begin(&next, attach == CONSOLE_ANY ? FRONT_NO_VM : attach);
    carry_out(&next, move);
}
