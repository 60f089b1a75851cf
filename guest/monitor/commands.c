/* help, and the commands that steer. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"
#include "guest/monitor/users.h"
#include "guest/vm/down.h"
#include "guest/vm/vm.h"

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

bool command_help(struct job *job)
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
    if (!users_permit())
        job_line("Until `login` only those work that show something.");
    job_line(
        "Tab completes commands and VM names; cursor up brings earlier lines back; Ctrl-C ends");
    job_line("what runs; Ctrl-] goes back to the guest, and twice sends it a Ctrl-].");
    return false;
}

/* --- consoles --- */

bool command_console(struct job *job)
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

/* The same, for what takes its time: all of the VM's memory is cleared, then maybe its kernel
 * unpacked. */
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
    if (slot->vm && slot->vm->life->unpacked.work)
        job_progress(job, "%s: its kernel is unpacked", slot->name);
    else
        job_progress(job, "%s: its memory is cleared: %u %%", slot->name, control_progress(slot));
    return true;
}

bool command_start(struct job *job)
{
    return steer_and_wait(job, control_start, "starts");
}

bool command_stop(struct job *job)
{
    return steer(job, control_stop, "its power button was pressed; what follows is the guest's");
}

bool command_pause(struct job *job)
{
    return steer(job, control_pause, "stands still");
}

bool command_resume(struct job *job)
{
    return steer(job, control_resume, "goes on");
}

bool command_reset(struct job *job)
{
    return steer_and_wait(job, control_reset, "is reset");
}

static int kill(struct vm_slot *slot, char *error)
{
    return control_kill(slot, "killed from the monitor", error);
}

bool command_kill(struct job *job)
{
    return steer(job, kill, "is killed");
}

bool command_set(struct job *job)
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

bool command_boot(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    const struct word order = job->words.word[2];
    char error[CONTROL_ERROR];

    if (!slot)
        return false;
    if (control_boot(slot, order.text, order.length, error) < 0)
        job_line("%s", error);
    else
        job_line("%s: its next start or reset is with boot = %.*s, once", slot->name,
                 (int)order.length, order.text);
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

bool command_poweroff(struct job *job)
{
    return go_down(job, DOWN_POWEROFF);
}

bool command_reboot(struct job *job)
{
    return go_down(job, DOWN_REBOOT);
}
