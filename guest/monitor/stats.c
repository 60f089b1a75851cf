/* `stats`: what a VM has done with its time, and why it left its guest. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/control.h"
#include "guest/exits.h"
#include "guest/monitor/text.h"
#include "guest/vm.h"
#include "mm/heap.h"

struct picture {
    uint64_t total;
    unsigned count;
    struct exit_row rows[VMX_EXIT_REASONS];
};

static void print_time(const struct vm *vm)
{
    uint64_t age = rdtsc() - vm->started, root = 0, halted = 0, vcpus = vm->vcpu_count;
    char up[TEXT_CELL], share[TEXT_CELL], in_root[TEXT_CELL];

    for (unsigned i = 0; i < vcpus; i++) {
        root += vm->vcpu[i]->hw.root_ticks;
        halted += vm->vcpu[i]->halt_ticks;
    }
    job_line("%s: up %s, halted %s %% of it, in Corbel %s %%; %u restarts", vm->name,
             text_duration(up, tsc_to_ns(age) / 1000000), text_percent(share, halted, age * vcpus),
             text_percent(in_root, root, age * vcpus), vm->resets);
}

bool command_stats(struct job *job)
{
    static const struct column columns[] = {
        {"EXIT", 28, false}, {"COUNT", 12, true}, {"SHARE %", 7, true}};
    const struct vm_slot *slot = job->step ? NULL : job_vm(job, 1);
    struct picture *p = job->data;
    char row[TEXT_ROW], count[TEXT_CELL], share[TEXT_CELL];

    if (job->step == 0) {
        if (!slot)
            return false;
        if (!slot->vm) {
            job_line("%s is off", slot->name);
            return false;
        }
        job->data = p = heap_alloc(sizeof(*p));
        if (!p) {
            job_line("there is no memory for it");
            return false;
        }
        p->count = vm_exit_rows(slot->vm, p->rows, &p->total);
        print_time(slot->vm);
        text_row(row, columns, ARRAY_SIZE(columns), NULL);
    } else if (job->step <= p->count) {
        const struct exit_row *r = &p->rows[job->step - 1];
        const char *const cells[] = {vmx_exit_name(r->reason), text_number(count, r->count),
                                     text_percent(share, r->count, p->total)};
        text_row(row, columns, ARRAY_SIZE(columns), cells);
    } else {
        const char *const cells[] = {"all", text_number(count, p->total), ""};
        text_row(row, columns, ARRAY_SIZE(columns), cells);
    }
    job_line("%s", row);
    return job->step <= p->count;
}
