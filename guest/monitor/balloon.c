/* `balloon`: how much memory a VM shall have, and what has become of that. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/config/config_text.h"
#include "guest/monitor/text.h"
#include "guest/vm/balloon.h"

static void amount(const char *what, uint64_t bytes)
{
    char size[TEXT_CELL];

    if (bytes != BALLOON_UNKNOWN)
        job_line("  %-34s %8s", what, text_size(size, bytes));
}

static void count(const char *what, uint64_t n)
{
    char number[TEXT_CELL];

    if (n != BALLOON_UNKNOWN)
        job_line("  %-34s %8s", what, text_number(number, n));
}

static void show(const struct vm_slot *slot, const struct balloon_view *v, bool fresh)
{
    char size[TEXT_CELL];

    job_line("%s: shall have %s%s", slot->name, text_size(size, v->target),
             v->driver ? "" : "; nothing in it drives the balloon");
    amount("memory", v->memory);
    amount("as the guest counts, without balloon", v->actual);
    amount("given back to this machine", v->given);
    if (v->kept)
        amount("given, but in use: kept", v->kept);
    if (v->waits)
        job_line("  the guest wants memory back, and waits: this machine has none");
    if (!v->updates)
        return;
    job_line("the guest says%s:", fresh ? "" : ", some time ago");
    amount("memory", v->total);
    amount("free", v->free);
    amount("available", v->available);
    amount("caches", v->caches);
    amount("swapped in, so far", v->swap_in);
    amount("swapped out, so far", v->swap_out);
    count("major faults, so far", v->major_faults);
    count("minor faults, so far", v->minor_faults);
}

static bool resize(struct job *job, struct vm_slot *slot)
{
    const struct word w = job->words.word[2];
    char error[CONTROL_ERROR], text[TEXT_CELL];
    uint64_t size;

    if (!config_parse_size((struct config_span){w.text, w.length}, &size))
        job_line("'%.*s' is not a size, such as 512M", (int)MIN(w.length, 40), w.text);
    else if (balloon_resize(slot, size, error) < 0)
        job_line("%s", error);
    else
        job_line("%s: shall have %s; how soon is the guest's", slot->name, text_size(text, size));
    return false;
}

/* The guest gets a second to say how things are. */
bool command_balloon(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];
    struct balloon_view v;

    if (!slot)
        return false;
    if (job->words.count > 2)
        return resize(job, slot);
    if (balloon_find(slot, &v, error) < 0) {
        job_line("%s", error);
        return false;
    }
    if (job->step == 0) {
        job->next = v.updates;
        balloon_refresh(slot);
        job->deadline = rdtsc() + tsc_hz;
    }
    if (v.updates == job->next && v.updates && v.driver && rdtsc() < job->deadline) {
        job_progress(job, "%s is asked", slot->name);
        return true;
    }
    show(slot, &v, v.updates != job->next);
    return false;
}
