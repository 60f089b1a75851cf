#include "guest/vm/summary.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/exits.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"

#define ROWS 12

/* part of whole in hundredths of a percent */
static uint64_t share(uint64_t part, uint64_t whole)
{
    return whole ? part / (whole / 10000 + 1) : 0;
}

static void print_exits(const struct exit_count *rows, unsigned count, uint64_t total)
{
    uint64_t left = total;

    for (unsigned i = 0; i < MIN(count, ROWS); i++) {
        log_info("  %-28s %10lu  %3lu%%", vmx_exit_name(rows[i].reason), rows[i].count,
                 rows[i].count * 100 / total);
        left -= rows[i].count;
    }
    if (left)
        log_info("  %-28s %10lu  %3lu%%", "others", left, left * 100 / total);
}

void vm_print_summary(struct vm *vm)
{
    uint64_t ran = vm->life->started ? rdtsc() - vm->life->started : 0;
    uint64_t ms = tsc_to_ns(ran) / 1000000, halted = 0, busy = 0;
    struct exit_count rows[VMX_EXIT_REASONS], all;
    struct frame_stats frames;
    unsigned count;

    count = vm_exit_counts(vm, rows, &all);
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        halted += vm->vcpu[i]->task.blocked_ticks;
        busy += run_stats(&vm->vcpu[i]->task).ran;
    }
    frame_stats(&frames);
    log_info("%s: %s after %lu.%03lu s%s%s", vm->name, vm->ending.killed ? "killed" : "ended",
             ms / 1000, ms % 1000, vm->ending.why[0] ? ": " : "", vm->ending.why);
    log_info(
        "  time: %lu ms halted, %lu.%02lu%% of the rest in Corbel (%lu ticks of %lu); %u restarts",
        tsc_to_ns(halted) / 1000000, share(all.ticks, busy) / 100, share(all.ticks, busy) % 100,
        all.ticks, busy, vm->life->resets);
    if (vm->life->reloads)
        log_info("  state saved, wiped and reloaded %u times", vm->life->reloads);
    log_info("  memory: %lu MiB RAM, %lu KiB of EPT; Corbel itself %lu KiB", vm->memory.size / MIB,
             rights_frames(&vm->rights) * PAGE_SIZE / KIB,
             frames.kernel / KIB + frames.metadata / KIB);
    log_info(
        "  start: %lu ticks from the hand-over to the first instruction: %lu clearing RAM, %lu "
        "loading",
        vm->life->start_ticks, vm->life->clear_ticks, vm->life->load_ticks);
    log_info("  VM exits: %lu", all.count);
    print_exits(rows, count, all.count);
}
