/* The disc in a VM's CD-ROM drive. */
#include "guest/monitor/commands.h"

#include "guest/vm/discs.h"

bool command_eject(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    const struct word *word = &job->words.word[2];
    bool now = job->words.count > 2;
    char error[CONTROL_ERROR];

    if (!slot)
        return false;
    if (now && !word_is(*word, "now"))
        job_line("'%.*s' is not 'now'", (int)MIN(word->length, 40), word->text);
    else if (discs_eject(slot, now, error) < 0)
        job_line("%s", error);
    else
        job_line("%s: the tray is open", slot->name);
    return false;
}

bool command_insert(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct word file = job->words.count > 2 ? job->words.word[2] : (struct word){"", 0};
    char error[CONTROL_ERROR];

    if (!slot)
        return false;
    if (discs_insert(slot, file.text, file.length, error) < 0)
        job_line("%s", error);
    else
        job_line("%s: the tray is closed", slot->name);
    return false;
}
