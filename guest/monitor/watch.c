/* `watch`, `watches` and `unwatch`: docs/RESEARCH.md. */
#include "guest/watch/watch.h"

#include "arch/x86/lib/errno.h"
#include "guest/vm/control.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/text.h"

/* The VM that argument 1 names, while there is one; NULL after saying why not. */
static struct vm *vm_of(const struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);

    if (slot && !slot->vm)
        job_line("%s is off: its watches come and go with it", slot->name);
    return slot ? slot->vm : NULL;
}

bool command_watch(struct job *job)
{
    const struct word *first = &job->words.word[2], *last = &job->words.word[job->words.count - 1];
    struct vm *vm = vm_of(job);
    char error[WATCH_ERROR], text[WATCH_TEXT];

    if (!vm)
        return false;
    int number =
        watch_add(vm, first->text, (size_t)(last->text + last->length - first->text), error);
    if (number < 0) {
        job_line("%s", error);
    } else {
        const struct watch *w = watch_get(vm, (unsigned)number);
        job_line("watch %d: %s: %s", number, watch_event_text(&w->spec, text),
                 watch_policy_text(&w->spec));
    }
    return false;
}

static void print_row(const char *const *cells)
{
    static const struct column columns[] = {{"N", 2, true},      {"EVENT", 34, false},
                                            {"DOES", 16, false}, {"EVENTS", 10, true},
                                            {"LINES", 7, true},  {"LEFT OUT", 9, true}};
    char row[TEXT_ROW];

    text_row(row, columns, ARRAY_SIZE(columns), cells);
    job_line("%s", row);
}

bool command_watches(struct job *job)
{
    char number[TEXT_CELL], event[WATCH_TEXT], hits[TEXT_CELL], said[TEXT_CELL], lost[TEXT_CELL];
    const struct vm *vm = vm_of(job);
    const struct watch *w = NULL;

    if (!vm)
        return false;
    if (job->step == 0) {
        print_row(NULL);
        return true;
    }
    while (job->next < WATCHES_MAX && !(w = watch_get(vm, job->next)))
        job->next++;
    if (!w)
        return false;
    const char *const cells[] = {text_number(number, job->next), watch_event_text(&w->spec, event),
                                 watch_policy_text(&w->spec),    text_number(hits, w->hits),
                                 text_number(said, w->said),     text_number(lost, w->lost)};
    print_row(cells);
    job->next++;
    return true;
}

bool command_unwatch(struct job *job)
{
    struct word w = job->words.word[2];
    struct vm *vm = vm_of(job);
    uint64_t number = 0;
    unsigned count = 0;

    if (!vm)
        return false;
    if (word_is(w, "all")) {
        for (unsigned i = 0; i < WATCHES_MAX; i++)
            count += watch_remove(vm, i) == 0;
        job_line("%s: %u watch%s less", vm->name, count, count == 1 ? "" : "es");
    } else if (word_number(w, WATCHES_MAX, &number) < 0 || watch_remove(vm, (unsigned)number) < 0) {
        job_line("%s has no watch '%.*s': watches %s lists them", vm->name, (int)MIN(w.length, 40),
                 w.text, vm->name);
    } else {
        job_line("watch %lu ends", number);
    }
    return false;
}
