/* The table of all commands, and those that steer. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"
#include "guest/vm/down.h"

#define HELP_WIDTH 26 /* of name and arguments */

/* --- help --- */

static void help_line(const struct command *c)
{
    int width = HELP_WIDTH - (int)strlen(c->name) - 1;

    job_line("  %s %-*s %s", c->name, width, c->arguments, c->help);
}

static void help_command(const struct command *c)
{
    job_line("%s%s%s: %s", c->name, c->arguments[0] ? " " : "", c->arguments, c->help);
    job_line("for example: %s", c->example);
}

static bool command_help(struct job *job)
{
    if (job->words.count > 1) {
        struct word name = job->words.word[1];
        const struct command *c = command_find(commands, command_count, name);
        if (c)
            help_command(c);
        else
            job_line("there is no command '%.*s': help lists them", (int)MIN(name.length, 40),
                     name.text);
        return false;
    }
    if (job->step < command_count) {
        help_line(&commands[job->step]);
        return true;
    }
    job_line(
        "Tab completes commands and VM names; cursor up brings earlier lines back; Ctrl-C ends");
    job_line("what runs; Ctrl-] goes back to the guest, and twice sends it a Ctrl-].");
    return false;
}

/* --- consoles --- */

static bool command_console(struct job *job)
{
    int port = console_front_port();
    struct vm_slot *slot = job->words.count > 1 ? job_console(job, 1, &port) : console_front();

    if (slot)
        console_attach(slot, port);
    else if (job->words.count == 1)
        job_line("whose? usage: console VM, or VM.PORT");
    return false;
}

/* --- lifecycle --- */

static bool steer(struct job *job, int (*action)(struct vm_slot *slot, char *error),
                  const char *done)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];

    if (!slot)
        return false;
    if (action(slot, error) == 0)
        job_line("%s: %s", slot->name, done);
    else if (error[0])
        job_line("%s", error);
    else
        job_line("%s does not start: the log says why", slot->name);
    return false;
}

static void end_making(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];

    if (slot->state == SLOT_MAKING)
        (void)!control_kill(slot, "killed from the monitor", error);
}

/* The same, for what takes its time: all of the VM's memory is cleared. */
static bool steer_and_wait(struct job *job, int (*action)(struct vm_slot *slot, char *error),
                           const char *done)
{
    struct vm_slot *slot;

    if (job->step == 0) {
        (void)!steer(job, action, done);
        slot = control_find(job->words.word[1].text, job->words.word[1].length);
        job->stop = end_making;
        return slot && slot->state == SLOT_MAKING;
    }
    slot = job_vm(job, 1);
    if (slot->state != SLOT_MAKING)
        return false;
    job_progress(job, "%s: its memory is cleared: %u %%", slot->name, control_progress(slot));
    return true;
}

static bool command_start(struct job *job)
{
    return steer_and_wait(job, control_start, "starts");
}

static bool command_stop(struct job *job)
{
    return steer(job, control_stop, "its power button was pressed; what follows is the guest's");
}

static bool command_pause(struct job *job)
{
    return steer(job, control_pause, "stands still");
}

static bool command_resume(struct job *job)
{
    return steer(job, control_resume, "goes on");
}

static bool command_reset(struct job *job)
{
    return steer_and_wait(job, control_reset, "is reset");
}

static int kill(struct vm_slot *slot, char *error)
{
    return control_kill(slot, "killed from the monitor", error);
}

static bool command_kill(struct job *job)
{
    return steer(job, kill, "is killed");
}

static bool command_set(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];

    for (unsigned i = 2; slot && i < job->words.count; i++) {
        struct word key = job->words.word[i];
        const char *equals = memchr(key.text, '=', key.length);
        if (!equals) {
            job_line("'%.*s' is not KEY=VALUE, such as weight=200", (int)MIN(key.length, 40),
                     key.text);
            break;
        }
        size_t name = (size_t)(equals - key.text);
        if (control_set(slot, key.text, name, equals + 1, key.length - name - 1, error) < 0) {
            job_line("%s", error);
            break;
        }
        job_line("%s: %.*s", slot->name, (int)key.length, key.text);
    }
    return false;
}

/* --- the machine --- */

static void call_off(struct job *job)
{
    down_cancel();
}

/* The machine's job, which goes on whatever becomes of the command that shows it. */
static bool go_down(struct job *job, enum down_kind kind)
{
    const struct word *word = &job->words.word[1];
    char text[DOWN_TEXT];

    if (job->step == 0) {
        if (job->words.count > 1 && word_is(*word, "now"))
            down_now(kind);
        if (job->words.count > 1) {
            job_line("'%.*s' is not 'now'", (int)MIN(word->length, 40), word->text);
            return false;
        }
        job_line("Ctrl-C: no longer; Ctrl-]: leave it to itself; '%s now' does not wait",
                 job->command->name);
        down_begin(kind, "asked for at the monitor");
        job->stop = call_off;
        return true;
    }
    if (!down_wanted())
        return false;
    down_text(text);
    job_progress(job, "%s", text);
    return true;
}

static bool command_poweroff(struct job *job)
{
    return go_down(job, DOWN_POWEROFF);
}

static bool command_reboot(struct job *job)
{
    return go_down(job, DOWN_REBOOT);
}

/* --- all of them --- */

#define VM      ARGUMENT_VM
#define SETTING ARGUMENT_SETTING

const struct command commands[] = {
    {"help",
     "[COMMAND]",
     0,
     1,
     {ARGUMENT_COMMAND},
     "all commands, or one with an example",
     "help stats",
     command_help},
    {"list",
     "",
     0,
     0,
     {ARGUMENT_NONE},
     "the VMs: state, size, what their consoles have to say",
     "list",
     command_list},
    {"console",
     "[VM[.PORT]]",
     0,
     1,
     {VM},
     "its console, or port; without VM the one seen last",
     "console debian, and Ctrl-] to come back; console debian.0",
     command_console},
    {"ports",
     "VM",
     1,
     1,
     {VM},
     "its other consoles, and who has them open",
     "ports debian",
     command_ports},
    {"resize",
     "VM COLUMNSxROWS",
     2,
     2,
     {VM, ARGUMENT_OTHER},
     "the size of the terminal at its port 0",
     "resize debian 132x50",
     command_resize},
    {"start", "VM", 1, 1, {VM}, "start a VM that is off", "start debian", command_start},
    {"stop",
     "VM",
     1,
     1,
     {VM},
     "press its power button: the guest shuts itself down",
     "stop debian",
     command_stop},
    {"pause", "VM", 1, 1, {VM}, "let it stand still, its clock too", "pause debian", command_pause},
    {"resume", "VM", 1, 1, {VM}, "let it go on after pause", "resume debian", command_resume},
    {"reset",
     "VM",
     1,
     1,
     {VM},
     "start it again at once, as by a reset button",
     "reset debian",
     command_reset},
    {"kill",
     "VM",
     1,
     1,
     {VM},
     "end it at once, without asking the guest",
     "kill debian",
     command_kill},
    {"set",
     "VM KEY=VALUE ...",
     2,
     COMMAND_WORDS - 1,
     {VM, SETTING, SETTING, SETTING},
     "its weight, cap (percent of a CPU) or affinity",
     "set debian weight=200 cap=50 affinity=0,2-3",
     command_set},
    {"attach",
     "VM KEY=VALUE",
     2,
     2,
     {VM, ARGUMENT_OTHER},
     "plug a device in while it runs, as its config would say",
     "attach debian disk=part:data,ro",
     command_attach},
    {"detach",
     "VM DEVICE [force]",
     2,
     3,
     {VM, ARGUMENT_OTHER},
     "unplug it, with the guest's consent or by force",
     "detach debian part:data",
     command_detach},
    {"balloon",
     "VM [SIZE]",
     1,
     2,
     {VM, ARGUMENT_OTHER},
     "how much memory it shall have, or what has come of that",
     "balloon debian 128M",
     command_balloon},
    {"eject",
     "VM [now]",
     1,
     2,
     {VM, ARGUMENT_OTHER},
     "open its CD-ROM drive; now: in spite of the guest",
     "eject debian",
     command_eject},
    {"insert",
     "VM [FILE]",
     1,
     2,
     {VM, ARGUMENT_OTHER},
     "close it, with a file that the config names",
     "insert debian second.iso",
     command_insert},
    {"top",
     "",
     0,
     0,
     {ARGUMENT_NONE},
     "who uses the processors, live; v shows vCPUs, q leaves",
     "top",
     command_top},
    {"stats",
     "VM",
     1,
     1,
     {VM},
     "its time, and its VM exits by reason",
     "stats debian",
     command_stats},
    {"show", "VM", 1, 1, {VM}, "its configuration", "show debian", command_show},
    {"dump",
     "VM [VCPU]",
     1,
     2,
     {VM, ARGUMENT_OTHER},
     "registers, VMCS, code at RIP",
     "dump debian 0",
     command_dump},
    {"regs",
     "VM [VCPU] [REG=VALUE]",
     1,
     COMMAND_WORDS - 1,
     {VM, ARGUMENT_OTHER},
     "a vCPU's registers, or change them while it is paused",
     "regs debian 0 rax=2a rip=ffffffff81000000",
     command_regs},
    {"read",
     "VM ADDR [BYTES]",
     2,
     3,
     {VM, ARGUMENT_OTHER},
     "memory by vCPU 0's page tables, or phys:ADDR",
     "read debian phys:1000000 256",
     command_read},
    {"write",
     "VM ADDR BYTES",
     3,
     3,
     {VM, ARGUMENT_OTHER},
     "change it; two hexadecimal digits for each byte",
     "write debian phys:9000 0f0b90",
     command_write},
    {"walk",
     "VM ADDR",
     2,
     2,
     {VM, ARGUMENT_OTHER},
     "page tables from cr3 to the host's memory",
     "walk debian ffffffff81000000",
     command_walk},
    {"watch",
     "VM EVENT POLICY ...",
     3,
     COMMAND_WORDS - 1,
     {VM, ARGUMENT_EVENT, ARGUMENT_POLICY, ARGUMENT_POLICY},
     "tell of events: docs/RESEARCH.md",
     "watch debian write phys:1000000+2M pause",
     command_watch},
    {"watches",
     "VM",
     1,
     1,
     {VM},
     "what is watched, and how often it was",
     "watches debian",
     command_watches},
    {"unwatch",
     "VM N|all",
     2,
     2,
     {VM, ARGUMENT_OTHER},
     "no longer",
     "unwatch debian 0",
     command_unwatch},
    {"trace",
     "[on [VM] [EVENTS] | off | show [N] | save]",
     0,
     COMMAND_WORDS - 1,
     {ARGUMENT_TRACE, VM},
     "record what happens: docs/TRACE.md",
     "trace on debian exits injections",
     command_trace},
    {"nets", "", 0, 0, {ARGUMENT_NONE}, "the switches that VMs are at", "nets", command_nets},
    {"switch",
     "NAME",
     1,
     1,
     {ARGUMENT_OTHER},
     "who is at a switch, what went through, what was lost and why",
     "switch lan",
     command_switch},
    {"link",
     "VM up|down [CARD]",
     2,
     3,
     {VM, ARGUMENT_OTHER, ARGUMENT_OTHER},
     "put the cable of its network cards in, or pull it",
     "link debian down 0",
     command_link},
    {"cpus", "", 0, 0, {ARGUMENT_NONE}, "this machine's processors", "cpus", command_cpus},
    {"memory",
     "",
     0,
     0,
     {ARGUMENT_NONE},
     "who has this machine's memory",
     "memory",
     command_memory},
    {"disks",
     "[DRIVE|VM]",
     0,
     1,
     {ARGUMENT_DISK},
     "drives, partitions and VMs' disks: who has what, how busy",
     "disks ata0, or disks debian: one alone in detail",
     command_disks},
    {"log", "[LINES]", 0, 1, {ARGUMENT_OTHER}, "what Corbel has said last", "log 20", command_log},
    {"poweroff",
     "[now]",
     0,
     1,
     {ARGUMENT_OTHER},
     "stop all VMs and switch the machine off; now: at once",
     "poweroff",
     command_poweroff},
    {"reboot",
     "[now]",
     0,
     1,
     {ARGUMENT_OTHER},
     "stop all VMs and start the machine again; now: at once",
     "reboot",
     command_reboot},
};
const unsigned command_count = ARRAY_SIZE(commands);
