/* `snapshot`, `restore`, `snapshots`, `forget`: moments of VMs that are kept in memory. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/tsc.h"
#include "guest/monitor/text.h"
#include "guest/vm/moments.h"

typedef int moments_ask(struct vm_slot *slot, const char *name, size_t length, char *error);

/* Ask that of the VM and the name that were typed: the VM, or NULL after saying why not. */
static struct vm_slot *ask(struct job *job, moments_ask *what)
{
    const struct word name = job->words.word[2];
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];

    if (!slot || what(slot, name.text, name.length, error) == 0)
        return slot;
    job_line("%s", error);
    return NULL;
}

/* What came of it. */
static void tell(const struct vm_slot *slot, const struct word name, const char *done)
{
    if (slot->moments.said[0])
        job_line("%s", slot->moments.said);
    else
        job_line("%s: %s '%.*s'%s", slot->name, done, (int)name.length, name.text,
                 life_stands_still(slot->state) ? "; it stands still" : "");
}

static bool wait(struct job *job, const char *how, const char *done)
{
    const struct vm_slot *slot = job_vm(job, 1);

    if (slot && moments_working(slot)) {
        job_progress(job, "%s: %s: %u %%", slot->name, how, moment_progress(slot));
        return true;
    }
    if (slot)
        tell(slot, job->words.word[2], done);
    return false;
}

static void give_up(struct job *job)
{
    moments_give_up(job_vm(job, 1));
}

bool command_snapshot(struct job *job)
{
    if (job->step > 0)
        return wait(job, "its memory is kept", "is kept as");
    job->stop = give_up;
    return ask(job, moments_keep) != NULL;
}

bool command_restore(struct job *job)
{
    if (job->step > 0)
        return wait(job, "it is put back", "is what was kept as");
    return ask(job, moments_put_back) != NULL;
}

bool command_forget(struct job *job)
{
    const struct word name = job->words.word[2];
    const struct vm_slot *slot = ask(job, moments_forget);

    if (slot)
        job_line("%s: '%.*s' is forgotten", slot->name, (int)name.length, name.text);
    return false;
}

/* Number n of all VMs', and whose; NULL: there are not so many. */
static const struct moment *moment_at(unsigned n, const struct vm_slot **slot)
{
    for (unsigned i = 0; i < control_count(); i++) {
        *slot = control_slot(i);
        for (const struct moment *m = moments_next(*slot, NULL); m; m = moments_next(*slot, m))
            if (n-- == 0)
                return m;
    }
    return NULL;
}

bool command_snapshots(struct job *job)
{
    static const struct column columns[] = {
        {"VM", 16, false}, {"SNAPSHOT", 31, false}, {"MEMORY", 8, true}, {"SECONDS AGO", 11, true}};
    char row[TEXT_ROW], size[TEXT_CELL], age[TEXT_CELL];
    const struct vm_slot *slot;
    const struct moment *m = moment_at(job->step ? job->step - 1 : 0, &slot);

    if (!m) {
        if (job->step == 0)
            job_line("there is none: snapshot VM NAME makes one");
        return false;
    }
    if (job->step == 0) {
        text_row(row, columns, ARRAY_SIZE(columns), NULL);
        job_line("%s", row);
        return true;
    }
    const char *const cells[] = {slot->name, m->name, text_size(size, moments_size(m)),
                                 text_number(age, (rdtsc() - m->taken) / tsc_hz)};
    text_row(row, columns, ARRAY_SIZE(columns), cells);
    job_line("%s", row);
    return true;
}

const char *moments_choice(const char *before, size_t length, unsigned n)
{
    const struct moment *m = NULL;
    const struct vm_slot *slot;
    struct words w;

    if (!words_cut(&w, before, length) || w.count < 2)
        return NULL;
    slot = control_find(w.word[1].text, w.word[1].length);
    if (!slot)
        return NULL;
    do {
        m = moments_next(slot, m);
    } while (m && n--);
    return m ? m->name : NULL;
}
