/* `trace`: what is recorded, switched on and off, shown and sent. */
#include "guest/trace/trace.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/tsc.h"
#include "guest/vm/control.h"
#include "guest/monitor/commands.h"
#include "mm/heap.h"

#define SHOWN_BY_DEFAULT 20
#define SHOWN_AT_MOST    100000
#define BACK_AT_ONCE     500 /* records */

static void print_state(void)
{
#define CLASS_WORD(symbol, word, what) {word, what},
    static const struct {
        const char *word, *what;
    } classes[TRACE_CLASSES] = {TRACE_CLASS_LIST(CLASS_WORD)};
#undef CLASS_WORD
    struct trace_state s = trace_state();

    job_line("trace is %s%s%s", trace_events ? "on" : "off",
             trace_events && trace_vm != TRACE_ALL_VMS ? " for " : "",
             trace_events && trace_vm != TRACE_ALL_VMS ? control_slot(trace_vm)->name : "");
    for (unsigned i = 0; i < TRACE_CLASSES; i++)
        job_line("  %-12s %-3s %s", classes[i].word, trace_events & BIT(i) ? "on" : "",
                 classes[i].what);
    if (s.port)
        job_line("%lu records, %lu of them to be sent, %lu lost", s.recorded, s.waiting, s.lost);
    else
        job_line(
            "%lu records; there is no second serial port to send them over, or the debugger has "
            "it (see com2)",
            s.recorded);
}

static void switch_on(const struct job *job)
{
    unsigned vm = TRACE_ALL_VMS;
    uint32_t events = 0;

    for (unsigned i = 2; i < job->words.count; i++) {
        struct word w = job->words.word[i];
        const struct vm_slot *slot;

        if (trace_class_by_name(w.text, w.length, &events) == 0)
            continue;
        slot = control_find(w.text, w.length);
        if (!slot || vm != TRACE_ALL_VMS) {
            job_line("'%.*s' is no %s: trace alone lists those", (int)MIN(w.length, 40), w.text,
                     slot ? "class of events, and one VM was named already"
                          : "VM and no class of events");
            return;
        }
        vm = slot->id;
    }
    if (trace_on(vm, events ? events : TRACE_EVERYTHING) < 0)
        job_line("there is no memory for the records");
    else
        print_state();
}

static bool show(struct job *job)
{
    char line[TRACE_TEXT];
    uint64_t count = SHOWN_BY_DEFAULT;

    if (job->step == 0) {
        if (job->words.count > 2 && word_number(job->words.word[2], SHOWN_AT_MOST, &count) < 0) {
            job_line("'%.*s' is not a number of records, at most %u",
                     (int)MIN(job->words.word[2].length, 40), job->words.word[2].text,
                     SHOWN_AT_MOST);
            return false;
        }
        job->data = heap_alloc(sizeof(struct trace_view));
        if (!job->data) {
            job_line("there is no memory for it");
            return false;
        }
        trace_show(job->data);
        job->next = (unsigned)count;
        return true;
    }
    if (job->next) { /* a piece of the way back, which may be long */
        unsigned piece = MIN(job->next, BACK_AT_ONCE);
        job->next = trace_view_back(job->data, piece) ? job->next - piece : 0;
        return true;
    }
    if (!trace_show_next(job->data, line))
        return false;
    job_line("%s", line);
    return true;
}

static void stop_save(struct job *job)
{
    trace_save_stop();
}

static bool begin_save(struct job *job)
{
    int64_t records = trace_save();

    if (records == -ENODEV)
        job_line("there is no second serial port, or nothing was ever recorded");
    else if (records < 0)
        job_line("another processor is sending: try again");
    else
        job_line("%ld records go out over the second serial port; Ctrl-C: no more of them",
                 records);
    job->stop = stop_save;
    return records > 0;
}

static bool save(struct job *job)
{
    uint64_t left;

    if (job->step == 0)
        return begin_save(job);
    left = trace_save_left();
    job_progress(job, "%lu records are left to be sent", left);
    return left != 0;
}

bool command_trace(struct job *job)
{
    struct word w = job->words.word[1];

    if (job->words.count == 1) {
        print_state();
    } else if (word_is(w, "show")) {
        return show(job);
    } else if (word_is(w, "on")) {
        switch_on(job);
    } else if (word_is(w, "off")) {
        trace_off();
        print_state();
    } else if (word_is(w, "save")) {
        return save(job);
    } else {
        job_line("trace what? on, off, show or save");
    }
    return false;
}
