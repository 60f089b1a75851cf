/* `variables`: what VMs' firmware has left in the state partition. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/string.h"
#include "guest/vm/control.h"
#include "guest/vm/variables.h"

static bool list(struct job *job)
{
    uint32_t size;
    const char *name = variables_get(job->step, &size);

    if (!name && job->step == 0)
        job_line("no VM's firmware has left variables there");
    if (!name)
        return false;
    job_line("  %-31s %5u KiB%s", name, size / 1024,
             control_find(name, strlen(name)) ? "" : "  corbel.conf has no such VM");
    return true;
}

/* Whether there is something to wait for. */
static bool begin(struct word vm)
{
    const struct vm_slot *slot = control_find(vm.text, vm.length);
    char error[CONFIG_MESSAGE];

    if (slot && slot->state != SLOT_OFF) {
        job_line("%s is not off: its firmware may use them", slot->name);
        return false;
    }
    if (variables_forget(vm.text, vm.length, error) == 0)
        return true;
    job_line("%s", error);
    return false;
}

static bool wait(struct job *job, struct word vm)
{
    int result = variables_forgotten(vm.text, vm.length);

    if (result == 0) {
        job_progress(job, "the drive is waited for");
        return true;
    }
    if (result > 0)
        job_line("%.*s: its variables are forgotten", (int)vm.length, vm.text);
    else
        job_line("%.*s: its variables are still on the drive, which has not taken it: `log` has "
                 "more",
                 (int)vm.length, vm.text);
    return false;
}

bool command_variables(struct job *job)
{
    if (!variables_are_kept()) {
        job_line("there is no state partition: see `state` in docs/CONFIG.md, and what `log` says");
        return false;
    }
    if (job->words.count == 1)
        return list(job);
    if (job->words.count == 2 || !word_is(job->words.word[2], "forget")) {
        job_line("usage: variables, or variables VM forget");
        return false;
    }
    return job->step == 0 ? begin(job->words.word[1]) : wait(job, job->words.word[1]);
}
