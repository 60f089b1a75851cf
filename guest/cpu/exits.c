#include "guest/cpu/exits.h"

#include "arch/x86/cpu.h"
#include "guest/cpu/exit.h"

void vcpu_no_progress(struct vcpu *v, uint64_t what)
{
    uint64_t exits = 0;

    for (unsigned reason = 0; reason < VMX_EXIT_REASONS; reason++)
        if (reason != EXIT_EXTERNAL_INTERRUPT && reason != EXIT_PREEMPTION_TIMER)
            exits += v->exits[reason];
    if (!progress_none(&v->progress, vmx_rip(), what, v->hw.gpr, exits))
        vm_kill(v, "the same exit again and again (%s, %lx), and nothing gets on",
                vmx_exit_name(v->exit.reason), what);
}

uint64_t vcpu_root_ticks(const struct vcpu *v, unsigned reason)
{
    uint64_t ticks = v->ticks[reason];

    return (int64_t)ticks < 0 ? ticks + rdtsc() : ticks;
}

static struct exit_count row_of(const struct vm *vm, unsigned reason)
{
    struct exit_count row = {.reason = reason};

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        row.count += vm->vcpu[i]->exits[reason];
        row.ticks += vcpu_root_ticks(vm->vcpu[i], reason);
    }
    return row;
}

unsigned vm_exit_counts(const struct vm *vm, struct exit_count rows[VMX_EXIT_REASONS],
                        struct exit_count *all)
{
    unsigned count = 0;

    *all = (struct exit_count){0};
    for (unsigned reason = 0; reason < VMX_EXIT_REASONS; reason++) {
        struct exit_count row = row_of(vm, reason);
        unsigned at = count;

        if (!row.count)
            continue;
        for (; at && rows[at - 1].count < row.count; at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
        count++;
        all->count += row.count;
        all->ticks += row.ticks;
    }
    return count;
}
