/* A VM's watches: added and taken away on processor 0, while the VM may run. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/probe.h"
#include "guest/run/run.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"
#include "vmx/cpu.h"

static int refuse(char *error, int result, const char *fmt, ...) PRINTF(3, 4);

static int refuse(char *error, int result, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vformat(error, WATCH_ERROR, fmt, args);
    va_end(args);
    return result;
}

/* --- where it is --- */

struct search {
    uint64_t linear, length;
    uint64_t gpa;
    uint64_t failed; /* the linear address at which it ended */
    int result;
};

static void find(struct vcpu *v, void *arg)
{
    struct search *s = arg;
    uint64_t end = s->linear + s->length - 1, gpa;

    s->result = linear_find(v, s->linear, &s->gpa);
    s->failed = s->linear;
    for (uint64_t at = ALIGN_DOWN(s->linear, PAGE_SIZE) + PAGE_SIZE;
         s->result == 0 && at > s->linear && at <= end; at += PAGE_SIZE) {
        s->failed = at;
        s->result = linear_find(v, at, &gpa);
        if (s->result == 0 && gpa - s->gpa != at - s->linear)
            s->result = -ERANGE;
    }
}

static int locate(struct vm *vm, struct watch *w, char *error)
{
    struct search s = {.linear = w->spec.address, .length = w->spec.length};

    w->gpa = w->spec.address;
    if (!w->spec.physical) {
        if (vcpu_inspect(vm->vcpu[0], find, &s) < 0)
            return refuse(error, -EBUSY, "vCPU 0 does not hold still: try again");
        if (s.result == -ERANGE)
            return refuse(error, -EINVAL,
                          "%lx is not behind %lx in guest-physical memory: watch its pages one by "
                          "one",
                          s.failed, w->spec.address);
        if (s.result < 0)
            return refuse(error, -EINVAL, "linear %lx is not mapped by vCPU 0's page tables",
                          s.failed);
        w->gpa = s.gpa;
    }
    if (!guest_memory_valid(&vm->memory, w->gpa, 1))
        return refuse(error, -EINVAL,
                      "phys:%lx is no RAM: accesses to devices exit anyway, and trace records them",
                      w->gpa);
    if (!guest_memory_valid(&vm->memory, w->gpa, w->spec.length))
        return refuse(error, -EINVAL, "RAM at phys:%lx ends before 0x%lx bytes are over", w->gpa,
                      w->spec.length);
    return 0;
}

/* --- rights in EPT --- */

/* Why accesses to a page exit. */
static unsigned reasons_at(const struct watch_set *set, uint64_t page)
{
    unsigned reasons = 0;

    for (unsigned i = 0; i < WATCHES_MAX; i++) {
        const struct watch *w = &set->item[i];
        if (!w->used || !watch_is_memory(w->spec.kind) || page + PAGE_SIZE <= w->gpa ||
            page >= w->gpa + w->spec.length)
            continue;
        reasons |= w->spec.kind == WATCH_READ    ? REASON_WATCH_READ
                   : w->spec.kind == WATCH_WRITE ? REASON_WATCH_WRITE
                                                 : REASON_WATCH_EXECUTE;
    }
    return reasons;
}

/* Give the pages of a watch's range the reasons that all watches together are. */
static int protect(struct vm *vm, const struct watch *w)
{
    uint64_t page = ALIGN_DOWN(w->gpa, PAGE_SIZE);
    uint64_t end = ALIGN_UP(w->gpa + w->spec.length, PAGE_SIZE);
    int worst = 0;

    while (watch_is_memory(w->spec.kind) && page < end) {
        unsigned reasons = reasons_at(vm->watches, page);
        uint64_t next = page + PAGE_SIZE;

        while (next < end && reasons_at(vm->watches, next) == reasons)
            next += PAGE_SIZE;
        int result = rights_change(&vm->rights, page, next - page, reasons, REASONS_WATCH);
        worst = MIN(worst, result);
        page = next;
    }
    return worst;
}

/* --- telling the vCPUs --- */

static void publish(struct vm *vm)
{
    struct watch_set *set = vm->watches;
    uint32_t needs = 0;

    for (unsigned i = 0; i < WATCHES_MAX; i++)
        needs |= set->item[i].used ? (uint32_t)BIT(set->item[i].spec.kind) : 0;
    set->needs = needs;
    __atomic_store_n(&set->revision, set->revision + 1, __ATOMIC_RELEASE);
    vm_settle_rights(vm);
}

/* --- adding and taking away --- */

static int check_processor(const struct watch_spec *spec, char *error)
{
    if (spec->kind >= WATCH_GDTR && spec->kind <= WATCH_TR && !vmx_features.descriptor_table)
        return refuse(error, -ENOTSUP,
                      "this CPU cannot tell when %s is loaded: it has no descriptor-table exiting",
                      watch_kind_name(spec->kind));
    if (spec->kind == WATCH_READ && !vmx_features.ept_execute_only)
        return refuse(error, -ENOTSUP,
                      "this CPU cannot watch reads: its EPT has no execute-only pages");
    return 0;
}

static int place(struct vm *vm, const struct watch *new, char *error)
{
    for (unsigned i = 0; i < WATCHES_MAX; i++) {
        struct watch *w = &vm->watches->item[i];

        if (w->used)
            continue;
        *w = *new;
        __atomic_store_n(&w->used, true, __ATOMIC_RELEASE);
        for (unsigned k = 0; k < vm->vcpu_count; k++)
            vm->vcpu[k]->watch.memory[i] = 0;
        if (protect(vm, w) < 0) {
            (void)watch_remove(vm, i);
            return refuse(error, -ENOMEM, "there is no memory for the page tables of it");
        }
        publish(vm);
        return (int)i;
    }
    return refuse(error, -ENOSPC, "%s has %u watches: unwatch one of them first", vm->name,
                  WATCHES_MAX);
}

int watch_add(struct vm *vm, const char *text, size_t length, char *error)
{
    struct watch new = {0};
    int result = watch_parse(text, length, &watch_handlers, &new.spec, error);

    if (result == 0)
        result = check_processor(&new.spec, error);
    if (result == 0 && watch_is_memory(new.spec.kind))
        result = locate(vm, &new, error);
    if (result < 0)
        return result;
    if (!vm->watches)
        vm->watches = heap_alloc(sizeof(*vm->watches));
    probes_begin();
    if (!vm->watches)
        return refuse(error, -ENOMEM, "there is no memory for it");
    return place(vm, &new, error);
}

int watch_remove(struct vm *vm, unsigned number)
{
    struct watch *w;

    if (!watch_get(vm, number))
        return -ENOENT;
    w = &vm->watches->item[number];
    __atomic_store_n(&w->used, false, __ATOMIC_RELEASE);
    /* What there is no memory for comes back when it is missed. */
    (void)!protect(vm, w);
    publish(vm);
    return 0;
}

const struct watch *watch_get(const struct vm *vm, unsigned number)
{
    if (!vm->watches || number >= WATCHES_MAX || !vm->watches->item[number].used)
        return NULL;
    return &vm->watches->item[number];
}

int watch_configured(struct vm *vm)
{
    const struct config_lines *all = &vm->config->watches;
    char error[WATCH_ERROR];
    int result = 0;

    for (unsigned i = 0; i < all->count; i++) {
        int added = watch_add(vm, all->item[i].text.data, all->item[i].text.length, error);
        if (added < 0) {
            log_error("corbel.conf:%u: [vm %s]: watch: %s", all->item[i].line, vm->name, error);
            result = added;
        }
    }
    return result;
}
