#include "guest/monitor/job.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"

#define LINE   254 /* of output, with its terminator */
#define SCREEN 80  /* columns */

#define LOOK_HZ  100 /* how often what a command waits for is looked at, */
#define SHOWN_HZ 2   /* and how often it is written; */
#define SOON_HZ  10  /* what takes less than this part of a second is not */

void job_text(const char *text, size_t length)
{
    console_write(text, length);
}

static void write_line(const char *fmt, va_list args, size_t most, const char *end)
{
    char line[LINE];
    size_t length = MIN((size_t)vformat(line, sizeof(line), fmt, args), most);

    for (size_t i = 0; i < length; i++)
        if (line[i] < ' ' || line[i] > '~')
            line[i] = '?';
    console_write(line, length);
    console_write(end, strlen(end));
}

void job_line(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    write_line(fmt, args, LINE - 1, "\r\n");
    va_end(args);
}

void job_progress(struct job *j, const char *fmt, ...)
{
    uint64_t now = rdtsc();
    va_list args;

    j->wake = now + tsc_hz / LOOK_HZ;
    if (!j->show)
        j->show = now + tsc_hz / SOON_HZ;
    if (now < j->show)
        return;
    j->show = now + tsc_hz / SHOWN_HZ;
    va_start(args, fmt);
    job_text("\r", 1);
    write_line(fmt, args, SCREEN - 1, JOB_ERASE_TO_END);
    va_end(args);
    j->line = true;
}

void job_end_progress(struct job *j, const char *by)
{
    if (j->line)
        job_text(by, strlen(by));
    j->line = false;
}

static struct vm_slot *find_vm(struct word w)
{
    struct vm_slot *slot = control_find(w.text, w.length);

    if (!slot)
        job_line("there is no VM '%.*s': list shows them", (int)MIN(w.length, 40), w.text);
    return slot;
}

struct vm_slot *job_vm(const struct job *j, unsigned i)
{
    return find_vm(j->words.word[i]);
}

struct vm_slot *job_console(const struct job *j, unsigned i, int *port)
{
    struct word w = j->words.word[i], number;
    const char *dot = memchr(w.text, '.', w.length);
    struct vm_slot *slot;
    uint64_t n;

    *port = VM_SERIAL;
    if (!dot)
        return find_vm(w);
    number = (struct word){dot + 1, w.length - (size_t)(dot + 1 - w.text)};
    w.length = (size_t)(dot - w.text);
    slot = find_vm(w);
    if (!slot)
        return NULL;
    if (slot->config->console && word_number(number, slot->config->console - 1, &n) == 0) {
        *port = (int)n;
        return slot;
    }
    if (slot->config->console)
        job_line("%s has the ports 0 to %u", slot->name, slot->config->console - 1);
    else
        job_line("%s has no ports: `console = N` in its section gives it N", slot->name);
    return NULL;
}
