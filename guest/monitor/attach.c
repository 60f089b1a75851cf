/* Devices that come and go while their VM runs. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/string.h"
#include "guest/vm/hotplug.h"

bool command_attach(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct word what = job->words.word[2];
    const char *equals = memchr(what.text, '=', what.length);
    char said[CONTROL_ERROR];

    if (!slot)
        return false;
    if (!equals) {
        job_line("'%.*s' is not KEY=VALUE, such as disk=part:data", (int)MIN(what.length, 40),
                 what.text);
        return false;
    }
    size_t key = (size_t)(equals - what.text);
    (void)!hotplug_attach(slot, what.text, key, equals + 1, what.length - key - 1, said);
    job_line("%s", said);
    return false;
}

/* The guest may take its time, for which the command waits; what it has begun goes on without it.
 */
bool command_detach(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct word what = job->words.word[2];
    bool force = job->words.count > 3;
    char said[CONTROL_ERROR];

    if (!slot)
        return false;
    if (job->step == 0) {
        if (force && !word_is(job->words.word[3], "force")) {
            job_line("'%.*s' is not 'force'", (int)MIN(job->words.word[3].length, 40),
                     job->words.word[3].text);
            return false;
        }
        bool begun = hotplug_detach(slot, what.text, what.length, force, &job->next, said) == 0;
        job_line("%s", said);
        return begun;
    }
    switch (hotplug_state(slot, job->next)) {
    case HOTPLUG_GONE:
        job_line("%s: %.*s is gone", slot->name, (int)MIN(what.length, 80), what.text);
        return false;
    case HOTPLUG_LEAVING:
        job_progress(job, "%s: it has let go of %.*s, of which something is in flight yet",
                     slot->name, (int)MIN(what.length, 80), what.text);
        return true;
    default:
        job_progress(job, "%s has not let go of %.*s yet; Ctrl-C: do not wait for it", slot->name,
                     (int)MIN(what.length, 80), what.text);
        return true;
    }
}
