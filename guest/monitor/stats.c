/* `stats`: what a VM has done with its time, and why it left its guest. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/vm/control.h"
#include "guest/cpu/bus_lock.h"
#include "guest/cpu/exits.h"
#include "guest/cpu/pv.h"
#include "guest/monitor/text.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

struct picture {
    struct exit_count all;
    unsigned count;
    struct exit_count rows[VMX_EXIT_REASONS];
};

static uint64_t microseconds(uint64_t ticks)
{
    return tsc_to_ns(ticks) / 1000;
}

/* Where the time of its vCPUs went. */
static void print_time(const struct vm *vm, uint64_t root)
{
    uint64_t now = rdtsc(), age = now - vm->life->started, all = age * vm->vcpu_count, halted = 0;
    struct sched_stats sum = {0};
    char up[TEXT_CELL], ran[TEXT_CELL], in_root[TEXT_CELL], waited[TEXT_CELL], parked[TEXT_CELL],
        idle[TEXT_CELL];

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];
        struct sched_stats s = run_stats(&v->task);
        uint64_t since = v->task.blocked_at;
        sum.ran += s.ran;
        sum.waited += s.waited;
        sum.parked += s.parked;
        sum.wakes += s.wakes;
        sum.wake_sum += s.wake_sum;
        sum.wake_max = MAX(sum.wake_max, s.wake_max);
        sum.moves += s.moves;
        halted += v->task.blocked_ticks + (since ? now - MIN(since, now) : 0);
    }
    job_line("%s: up %s, %u vCPU%s, %u restarts", vm->name,
             text_duration(up, tsc_to_ns(age) / 1000000), vm->vcpu_count,
             vm->vcpu_count == 1 ? "" : "s", vm->life->resets);
    job_line("  time: ran %s %%, of that in Corbel %s %%; waited for a CPU %s %%; "
             "held back by its cap %s %%; halted %s %%",
             text_percent(ran, sum.ran, all), text_percent(in_root, root, sum.ran),
             text_percent(waited, sum.waited, all), text_percent(parked, sum.parked, all),
             text_percent(idle, halted, all));
    job_line(
        "  woke %lu times, and ran %lu us later, at most %lu us; came to another CPU %lu times",
        sum.wakes, microseconds(sum.wake_sum / MAX(sum.wakes, 1)), microseconds(sum.wake_max),
        sum.moves);
}

/* What it makes of KVM's paravirtual interfaces. */
static void print_pv(const struct vm *vm)
{
    unsigned clocks = 0, steals = 0;
    uint64_t written = 0, stolen = 0, flushes = 0, ipis = 0, kicks = 0, yields = 0, eois = 0;

    if (!vm->vcpu[0]->pv.offered)
        return;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        const struct pv_vcpu *pv = &vm->vcpu[i]->pv;
        clocks += (pv->clock & PV_ON) != 0;
        written += pv->clocks_written;
        steals += (pv->steal & PV_ON) != 0;
        stolen += pv->stolen;
        flushes += pv->flushes;
        ipis += pv->ipis;
        kicks += pv->kicks;
        yields += pv->yields;
        eois += pv->eois;
    }
    job_line("  paravirtual: clock of %u vCPUs, %s, written %lu times", clocks,
             pv_stable(vm->vcpu[0]) ? "stable" : "not stable", written);
    job_line("  steal time of %u vCPUs: %lu ms; %lu TLB flushes left until they came back", steals,
             stolen / 1000000, flushes);
    job_line("  calls: %lu IPIs, %lu kicks, %lu yields; %lu EOIs without an exit", ipis, kicks,
             yields, eois);
}

static void print_bus_locks(const struct vm *vm)
{
    const struct bus_locks *b = vm->bus_locks;

    if (b && b->count)
        job_line("  bus locks: %lu; its vCPUs have stood still for them for %lu ms", b->count,
                 tsc_to_ns(b->stood) / 1000000);
}

static const struct column columns[] = {{"EXIT", 28, false},
                                        {"COUNT", 12, true},
                                        {"SHARE %", 7, true},
                                        {"TICKS EACH", 10, true},
                                        {"COST %", 7, true}};

/* Its share of all exits and of the time that all of them took. */
static void exit_text(char *row, const char *name, const struct exit_count *r,
                      const struct exit_count *all)
{
    char count[TEXT_CELL], share[TEXT_CELL], each[TEXT_CELL], cost[TEXT_CELL];
    const char *const cells[] = {
        name, text_number(count, r->count), text_percent(share, r->count, all->count),
        text_number(each, r->ticks / MAX(r->count, 1)), text_percent(cost, r->ticks, all->ticks)};

    text_row(row, columns, ARRAY_SIZE(columns), cells);
}

bool command_stats(struct job *job)
{
    const struct vm_slot *slot = job->step ? NULL : job_vm(job, 1);
    struct picture *p = job->data;
    char row[TEXT_ROW];

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
        p->count = vm_exit_counts(slot->vm, p->rows, &p->all);
        print_time(slot->vm, p->all.ticks);
        print_pv(slot->vm);
        print_bus_locks(slot->vm);
        text_row(row, columns, ARRAY_SIZE(columns), NULL);
    } else if (job->step <= p->count) {
        const struct exit_count *r = &p->rows[job->step - 1];
        exit_text(row, vmx_exit_name(r->reason), r, &p->all);
    } else {
        exit_text(row, "all", &p->all, &p->all);
    }
    job_line("%s", row);
    return job->step <= p->count;
}
