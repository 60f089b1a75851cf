#include "guest/vm/making.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "guest/config/config_text.h"
#include "guest/vm/events.h"
#include "guest/vm/files.h"
#include "guest/vm/hotplug.h"
#include "guest/vm/layers.h"
#include "guest/run/run.h"

#define PIECE_MS 5 /* of clearing or unpacking, in which processor 0 does nothing else */

int slot_refuse(char *error, int result, const struct vm_slot *slot, const char *why)
{
    format(error, CONTROL_ERROR, "%s %s", slot->name, why);
    return result;
}

static bool affinity_is_absent(const struct config_cpus *set)
{
    bool any = false, given = false;

    for (unsigned i = 0; i < CONFIG_PROCESSORS; i++) {
        bool in = set->bits[i / 64] >> (i % 64) & 1;
        given |= in;
        any |= in && run_takes_part(i);
    }
    return given && !any;
}

int slot_check(const struct vm_slot *s, char *error)
{
    if (affinity_is_absent(&s->config->affinity)) {
        format(error, CONTROL_ERROR,
               "%s: affinity names no processor that this machine has: it has 0 to %u", s->name,
               smp_cpus - 1);
        return -EINVAL;
    }
    if (s->config->cap > 100 * smp_cpus)
        log_warn("%s: cap = %u is more than this machine's %u processor%s give: it changes nothing",
                 s->name, s->config->cap, smp_cpus, smp_cpus == 1 ? "" : "s");
    return 0;
}

int slot_schedule(struct vm_slot *s)
{
    struct sched_cpus set;

    _Static_assert(sizeof(set) == sizeof(s->config->affinity), "one bit for each processor");
    memcpy(&set, &s->config->affinity, sizeof(set));
    return run_schedule(&s->vm->tasks, s->config->weight, s->config->cap, &set);
}

void slot_invalidate(struct vm_slot *s, const struct config *config)
{
    const struct vmx_segment none = {.access = SEGMENT_UNUSABLE};

    if (config->test_invalid != s->id + 1)
        return;
    bool held = vcpu_hold(s->vm->vcpu[0]);
    vmx_set_segment(SEG_TR, &none); /* which must always be usable */
    vcpu_release(s->vm->vcpu[0], held);
}

static int create(struct vm_slot *s)
{
    struct vm_files files = {0};
    int result = files_find(s->config, &files);

    if (result < 0)
        return result;
    result = vm_create(&s->vm, s->id, s->config);
    if (result < 0)
        return result;
    s->vm->life->eject = &s->eject;
    result = slot_schedule(s);
    if (result < 0) {
        vm_destroy(s->vm);
        s->vm = NULL;
    }
    return result;
}

int slot_make(struct vm_slot *s, const struct config *config)
{
    static uint64_t failed; /* in a row */
    struct frame_stats before, after;
    uint64_t start = rdtsc();

    run_unload();
    frame_stats(&before);
    if (config->test_memory)
        frame_limit(config->test_memory + failed);
    int result = create(s);
    if (config->test_memory)
        frame_limit(UINT64_MAX);
    failed = result < 0 ? failed + 1 : 0;
    frame_stats(&after);
    s->cost.make = rdtsc() - start;
    s->cost.memory = after.kernel - before.kernel;
    return result;
}

void slot_make_anew(struct vm_slot *s)
{
    struct vm *vm = s->vm;
    uint64_t start = rdtsc();

    run_unload();
    run_flush(&vm->tasks); /* no processor looks at its tasks any more when this returns */
    vm_layers_give_up(vm);
    hotplug_reset(s);
    vm->life->resets++;
    vm_reset(vm);
    s->cost.make = rdtsc() - start;
}

/* In which order its firmware looks: what holds once holds now. */
static void choose_boot(struct vm_slot *s)
{
    struct config_boot *order = &s->vm->life->boot;

    order->count = 0;
    if (s->boot.count)
        *order = s->boot;
    else if (s->config->boot.data)
        (void)config_parse_boot(s->config->boot, order); /* checked when it was read */
    s->boot.count = 0;
}

bool slot_clear_some(struct vm_slot *s)
{
    uint64_t start = rdtsc();
    bool more = vm_clear_some(s->vm, start + tsc_hz / 1000 * PIECE_MS);

    s->cost.make += rdtsc() - start;
    s->cost.clear = s->vm->life->clear_ticks;
    return more;
}

int slot_boot(struct vm_slot *s)
{
    struct vm_files files = {0};
    uint64_t start = rdtsc();
    int result = files_find(s->config, &files);

    if (result == 0)
        result = vm_unpack_some(s->vm, &files.kernel, start + tsc_hz / 1000 * PIECE_MS);
    if (result > 0) {
        s->cost.make += rdtsc() - start;
        return result;
    }
    run_unload();
    choose_boot(s);
    if (result == 0)
        result = vm_boot(s->vm, &files);
    if (result == 0 && !s->vm->life->resets)
        result = vm_events->loaded(s->vm);
    s->cost.make += rdtsc() - start;
    return result;
}
