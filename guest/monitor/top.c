/* `top`: who uses the processors, drawn again each second in the same place; with their vCPUs or
 * without. */
#include "guest/monitor/commands.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/vm/control.h"
#include "guest/monitor/text.h"
#include "guest/run/run.h"
#include "guest/vm/vm.h"
#include "mm/frame.h"
#include "mm/heap.h"

#define ROWS 18 /* of VMs and vCPUs; a terminal has 24 */

/* Without scrolling: each line is written over the old one, and what is longer there erased. */
#define HOME         "\x1b[H"
#define ERASE_TO_END "\x1b[K"
#define ERASE_BELOW  "\x1b[J"
#define HIDE_CURSOR  "\x1b[?25l"
#define CLEAR        "\x1b[2J"

/* Of a vCPU: ticks on processors and waiting for one, VM exits. */
struct sample {
    uint64_t ran, waited, exits;
};

struct vm_sample {
    const struct vm *vm;                                           /* NULL: it was off */
    struct sample so_far[SCHED_MAX_VCPUS], since[SCHED_MAX_VCPUS]; /* the last time */
};

struct row {
    const struct vm_slot *slot;
    const struct sample *vcpus; /* since the last time */
    uint64_t ran, exits;        /* of all of them */
};

struct screen {
    uint64_t taken; /* host TSC of the samples; 0: none yet */
    bool vcpus;     /* show them */
    unsigned count; /* VMs of which there is a sample */
    struct vm_sample samples[];
};

static void draw(const char *fmt, ...) PRINTF(1, 2);

static void draw(const char *fmt, ...)
{
    char line[TEXT_ROW + 8];
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(line, sizeof(line), fmt, args);
    va_end(args);
    job_text(line, (size_t)MIN(length, 79));
    job_text(ERASE_TO_END "\r\n", strlen(ERASE_TO_END) + 2);
}

static struct sample take(struct vcpu *v)
{
    struct sched_stats stats = run_stats(&v->task);
    struct sample s = {.ran = stats.ran, .waited = stats.waited};

    for (unsigned reason = 0; reason < VMX_EXIT_REASONS; reason++)
        s.exits += v->exits[reason];
    return s;
}

/* What has been of a VM since the last time. */
static struct row take_vm(const struct vm_slot *slot, struct vm_sample *s)
{
    struct row row = {.slot = slot, .vcpus = s->since};
    bool same = s->vm == slot->vm;

    s->vm = slot->vm;
    for (unsigned i = 0; s->vm && i < s->vm->vcpu_count; i++) {
        struct sample now = take(s->vm->vcpu[i]), *last = &s->so_far[i], *since = &s->since[i];
        *since = (struct sample){0};
        if (same && now.ran >= last->ran && now.waited >= last->waited &&
            now.exits >= last->exits) {
            since->ran = now.ran - last->ran;
            since->waited = now.waited - last->waited;
            since->exits = now.exits - last->exits;
        }
        *last = now;
        row.ran += since->ran;
        row.exits += since->exits;
    }
    return row;
}

/* Keep the ROWS that used most, in order; equal ones as in the config. */
static unsigned insert(struct row *rows, unsigned count, struct row row)
{
    unsigned at = count;

    if (count == ROWS && rows[ROWS - 1].ran >= row.ran)
        return count;
    at = MIN(count, ROWS - 1);
    for (; at && rows[at - 1].ran < row.ran; at--)
        rows[at] = rows[at - 1];
    rows[at] = row;
    return MIN(count + 1, ROWS);
}

static unsigned sample_all(struct screen *s, struct row *rows, unsigned *running, uint64_t *ran)
{
    unsigned count = 0;

    for (unsigned i = 0; i < s->count; i++) {
        const struct vm_slot *slot = control_slot(i);
        struct row row = take_vm(slot, &s->samples[i]);
        *running += slot->state == SLOT_RUNNING;
        *ran += row.ran;
        count = insert(rows, count, row);
    }
    return count;
}

static uint64_t per_second(uint64_t n, uint64_t passed)
{
    return n * 1000 / MAX(tsc_to_ns(passed) / 1000000, 1);
}

static const char *const doing[] = {
    [SCHED_BLOCKED] = "sleeps",
    [SCHED_READY] = "waits",
    [SCHED_RUNNING] = "runs",
    [SCHED_PARKED] = "capped",
};

/* A VM's vCPUs, room lines at most; returns how many. */
static unsigned draw_vcpus(const struct row *r, unsigned room, uint64_t passed)
{
    const struct vm *vm = r->slot->vm;
    unsigned count = vm ? MIN(vm->vcpu_count, room) : 0;

    for (unsigned i = 0; i < count; i++) {
        char share[TEXT_CELL], waited[TEXT_CELL], exits[TEXT_CELL];
        const struct sched_vcpu *v = &vm->vcpu[i]->task.sched;
        const struct sample *since = &r->vcpus[i];
        draw("  vCPU %-13u %-8s %6s %10s   waited %s %% for CPU %u", i,
             doing[v->state % ARRAY_SIZE(doing)], text_percent(share, since->ran, passed),
             text_number(exits, per_second(since->exits, passed)),
             text_percent(waited, since->waited, passed), v->cpu);
    }
    return count;
}

static void draw_row(const struct row *r, uint64_t passed)
{
    char share[TEXT_CELL], exits[TEXT_CELL], memory[TEXT_CELL];
    const struct vm_slot *slot = r->slot;

    draw("%-20s %-8s %6s %10s %8s %5u %6u", slot->name, control_state_text(slot),
         slot->vm ? text_percent(share, r->ran, passed) : "",
         slot->vm ? text_number(exits, per_second(r->exits, passed)) : "",
         slot->vm ? text_size(memory, slot->vm->memory.size) : "", slot->config->cpus,
         slot->config->weight);
}

static void draw_screen(struct screen *s)
{
    struct row rows[ROWS];
    unsigned running = 0, count, shown = 0, vms = 0;
    uint64_t now = rdtsc(), passed = s->taken ? now - s->taken : 0, ran = 0;
    struct frame_stats frames;
    char used[TEXT_CELL], free[TEXT_CELL], up[TEXT_CELL];

    count = sample_all(s, rows, &running, &ran);
    s->taken = now;
    frame_stats(&frames);
    job_text(HOME, strlen(HOME));
    draw("corbel up %s; %u of %u VMs run; %u CPU%s %s %% busy; %s free; q leaves",
         text_duration(up, tsc_to_ns(now) / 1000000), running, s->count, smp_cpus,
         smp_cpus == 1 ? "" : "s", text_percent(used, ran, passed * smp_cpus),
         text_size(free, frames.free));
    draw("v %s vCPUs", s->vcpus ? "hides" : "shows");
    draw("%-20s %-8s %6s %10s %8s %5s %6s", "VM", "STATE", "CPU %", "EXITS/s", "MEMORY", "CPUS",
         "WEIGHT");
    for (unsigned i = 0; i < count && shown < ROWS; i++) {
        draw_row(&rows[i], passed);
        shown++;
        if (s->vcpus)
            shown += draw_vcpus(&rows[i], ROWS - shown, passed);
        vms++;
    }
    if (vms < s->count)
        draw("... and %u more", s->count - vms);
    job_text(ERASE_BELOW, strlen(ERASE_BELOW));
}

static bool begin(struct job *job)
{
    struct screen *s = heap_alloc(sizeof(*s) + control_count() * sizeof(s->samples[0]));

    if (!s) {
        job_line("there is no memory for it");
        return false;
    }
    s->count = control_count();
    job->data = s;
    job->keys = true;
    job_text(HIDE_CURSOR CLEAR, strlen(HIDE_CURSOR CLEAR));
    return true;
}

bool command_top(struct job *job)
{
    if (job->step == 0 && !begin(job))
        return false;
    if (job->key == 'q' || job->key == 'Q')
        return false;
    if (job->key == 'v' || job->key == 'V') /* from the next picture on */
        ((struct screen *)job->data)->vcpus ^= true;
    if (job->key && job->wake > rdtsc())
        return true; /* any other key */
    draw_screen(job->data);
    /* The first picture shows what has been since then; so the second comes soon. */
    job->wake = rdtsc() + (job->step ? tsc_hz : tsc_hz / 4);
    return true;
}
