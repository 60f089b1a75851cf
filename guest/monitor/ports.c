/* What becomes of a VM's consoles beside its serial port. */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/console/console.h"
#include "guest/monitor/text.h"
#include "guest/vm/control.h"

static bool has_ports(const struct vm_slot *slot)
{
    if (!slot->config->console)
        job_line("%s has no ports: `console = N` in its section gives it N", slot->name);
    return slot->config->console;
}

static const char *state(const struct vm_slot *slot, const struct vm_port *p)
{
    return !slot->vm ? "VM is off" : !p->there ? "no driver" : p->open ? "open" : "closed";
}

bool command_ports(struct job *job)
{
    static const struct column columns[] = {
        {"PORT", 4, true}, {"NAME", 8, false},  {"IN THE GUEST", 12, false}, {"UNSEEN", 8, true},
        {"LOST", 8, true}, {"UNREAD", 8, true}, {"DROPPED", 8, true},
    };
    const struct vm_slot *slot = job_vm(job, 1);
    char number[TEXT_CELL], name[TEXT_CELL], unseen[TEXT_CELL], lost[TEXT_CELL], unread[TEXT_CELL];
    char dropped[TEXT_CELL], row[TEXT_ROW];
    uint64_t not_seen, never_seen;
    struct vm_port p = {0};

    if (!slot || !has_ports(slot))
        return false;
    if (job->step == 0) {
        text_row(row, columns, ARRAY_SIZE(columns), NULL);
        job_line("%s", row);
        return true;
    }
    unsigned port = job->step - 1;
    if (slot->vm)
        vm_port_look(slot->vm, port, &p);
    console_kept(slot, (int)port, &not_seen, &never_seen);
    format(name, sizeof(name), "corbel.%u", port);
    const char *const cells[] = {
        text_number(number, port),
        name,
        state(slot, &p),
        text_number(unseen, not_seen),
        text_number(lost, never_seen),
        text_number(unread, p.typed),
        text_number(dropped, p.dropped),
    };
    text_row(row, columns, ARRAY_SIZE(columns), cells);
    job_line("%s", row);
    return job->step < slot->config->console;
}

bool command_resize(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct word w = job->words.word[2], rows;
    const char *x = memchr(w.text, 'x', w.length);
    uint64_t columns, lines;

    if (!slot || !has_ports(slot))
        return false;
    rows = x ? (struct word){x + 1, w.length - (size_t)(x + 1 - w.text)} : (struct word){NULL, 0};
    if (x)
        w.length = (size_t)(x - w.text);
    if (word_number(w, 1000, &columns) < 0 || word_number(rows, 1000, &lines) < 0 || !columns ||
        !lines) {
        job_line("a size is COLUMNSxROWS, such as 132x50, each from 1 to 1000");
        return false;
    }
    if (!slot->vm) {
        job_line("%s is off", slot->name);
        return false;
    }
    vm_console_resize(slot->vm, (uint16_t)columns, (uint16_t)lines);
    job_line("%s.0: %lu columns, %lu rows", slot->name, columns, lines);
    return false;
}
