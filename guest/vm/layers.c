/* See layers.h. */
#include "guest/vm/layers.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "guest/run/run.h"
#include "guest/storage/layer.h"
#include "guest/storage/sources.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

#define SPARE (4 * MIB) /* of the machine's memory, which is left to others */
#define TEXT  60        /* of a disk's source, in a sentence */

/* Of a VM, by its name: it stays, as what is kept of it may. */
struct keeper {
    char name[CONFIG_MAX_NAME + 1];
    struct past_memory memory;
    bool torn; /* its disks are, see layers.h */
    struct keeper *next;
};

struct vm_layer {
    struct block_layer layer;
    struct source_claim claim;
    struct keeper *keeper;
    const struct vm *vm; /* whose disk it is; NULL: it is off, or has let go of it */
    bool can;            /* the drive's blocks are not too large for it */
    bool told;           /* atomic: nobody has to be told that it waits for memory */
    bool restoring, restored;
    struct vm_layer *next;
    char text[]; /* of its source, with the final 0 */
};

static struct keeper *keepers;
static struct vm_layer *layers; /* the oldest first */
static void (*attention)(void);

/* --- coming and going --- */

static struct keeper *find_keeper(const struct vm *vm)
{
    struct keeper *k = keepers;

    while (k && strcmp(k->name, vm->name) != 0)
        k = k->next;
    return k;
}

/* NULL: memory is out. */
static struct keeper *keeper_of(const struct vm *vm)
{
    struct keeper *k = find_keeper(vm);

    if (!k) {
        k = heap_alloc(sizeof(*k));
        if (!k)
            return NULL;
        memcpy(k->name, vm->name, sizeof(vm->name));
        k->next = keepers;
        keepers = k;
    }
    k->memory.owner = vm->memory.owner;
    k->memory.limit = vm->config->snapshot_memory;
    k->memory.spare = SPARE;
    return k;
}

static void look_after(void *arg)
{
    for (struct vm_layer *l = layers; l; l = l->next)
        layer_work(&l->layer);
    if (attention)
        attention();
}

static void call(struct block_layer *starved)
{
    static struct cpu_work work = {.fn = look_after};

    if (starved)
        __atomic_store_n(&CONTAINER_OF(starved, struct vm_layer, layer)->told, false,
                         __ATOMIC_RELEASE);
    (void)cpu_call_async(0, &work);
    run_attention(0);
}

static struct vm_layer *find_closed(const struct keeper *k, const struct source_wish *wish)
{
    struct vm_layer *l = layers;

    while (l && (l->vm || l->keeper != k || strlen(l->text) != wish->length ||
                 memcmp(l->text, wish->text, wish->length) != 0))
        l = l->next;
    return l;
}

static int make(struct keeper *k, const struct source_wish *wish, struct vm_layer **out, char *why)
{
    struct vm_layer *l = heap_alloc(sizeof(*l) + wish->length + 1), **end = &layers;
    int result;

    if (!l)
        return -ENOMEM;
    result = source_claim(wish, &l->claim, why);
    if (result < 0) {
        heap_free(l);
        return result;
    }
    memcpy(l->text, wish->text, wish->length);
    l->keeper = k;
    l->told = true;
    l->can = layer_init(&l->layer, &l->claim.slice.device, &k->memory, call) == 0;
    while (*end)
        end = &(*end)->next;
    *end = *out = l;
    return 0;
}

int vm_layer_open(const struct vm *vm, const struct source_wish *wish, struct vm_layer **out,
                  char *why)
{
    struct keeper *k = keeper_of(vm);
    struct source_wish by_keeper = *wish;
    int result = 0;

    if (!k)
        return -ENOMEM;
    by_keeper.owner = k->name;
    *out = find_closed(k, wish);
    if (!*out)
        result = make(k, &by_keeper, out, why);
    if (result < 0)
        return result;
    (*out)->vm = vm;
    (*out)->claim.kept = false;
    return 0;
}

/* If it is closed and nobody has something of it. */
static void free_unused(struct vm_layer *l)
{
    struct vm_layer **at = &layers;

    if (l->vm || l->layer.newest)
        return;
    while (!layer_idle(&l->layer)) /* whoever gave back the last request is about to go */
        cpu_pause();
    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    source_release(&l->claim);
    heap_free(l);
}

void vm_layer_close(struct vm_layer *l)
{
    l->vm = NULL;
    l->claim.kept = true;
    free_unused(l);
}

struct source_claim *vm_layer_claim(struct vm_layer *l)
{
    return &l->claim;
}

/* --- a VM's --- */

static struct vm_layer *next_of(const struct vm *vm, const struct vm_layer *after)
{
    struct vm_layer *l = after ? after->next : layers;

    while (l && l->vm != vm)
        l = l->next;
    return l;
}

#define FOR_EACH_OF(vm, l) for (struct vm_layer *l = next_of((vm), NULL); l; l = next_of((vm), l))

static int text_length(const struct vm_layer *l)
{
    return (int)MIN(strlen(l->text), (size_t)TEXT);
}

int vm_layers_possible(const struct vm *vm, char *error)
{
    FOR_EACH_OF(vm, l)
    {
        if (l->can)
            continue;
        format(error, LAYERS_ERROR,
               "%s writes to %.*s, whose blocks of %u bytes are too large to be kept: memory that "
               "is older than its disk destroys file systems",
               vm->name, text_length(l), l->text, l->layer.device->logical_block);
        return -EINVAL;
    }
    return 0;
}

bool vm_layers_wait(const struct vm *vm)
{
    bool waits = false;

    FOR_EACH_OF(vm, l)
    {
        waits |= layer_is_starved(&l->layer);
    }
    return waits;
}

int vm_layers_keep(const struct vm *vm, const void *of)
{
    FOR_EACH_OF(vm, l)
    {
        if (layer_keep(&l->layer, of) < 0) {
            vm_layers_forget(of);
            return -ENOMEM;
        }
    }
    return 0;
}

static bool has_snapshots(const struct keeper *k)
{
    bool found = false;

    for (const struct vm_layer *l = layers; l; l = l->next)
        found |= l->keeper == k && l->layer.newest;
    return found;
}

void vm_layers_forget(const void *of)
{
    for (struct vm_layer *l = layers, *next; l; l = next) {
        next = l->next;
        layer_forget(&l->layer, of);
        free_unused(l);
    }
    for (struct keeper *k = keepers; k; k = k->next)
        k->torn = k->torn && has_snapshots(k);
}

uint64_t vm_layers_size(const void *of)
{
    uint64_t bytes = 0;

    for (const struct vm_layer *l = layers; l; l = l->next)
        bytes += layer_size(&l->layer, of);
    return bytes;
}

void vm_layers_go_on(const struct vm *vm)
{
    FOR_EACH_OF(vm, l)
    {
        layer_go_on(&l->layer);
    }
}

void vm_layers_give_up(const struct vm *vm)
{
    FOR_EACH_OF(vm, l)
    {
        layer_give_up(&l->layer);
    }
}

void vm_layers_lose(const struct vm *vm)
{
    FOR_EACH_OF(vm, l)
    {
        while (l->layer.newest)
            layer_forget(&l->layer, l->layer.newest->of);
        layer_go_on(&l->layer);
    }
}

bool vm_layers_any(const struct vm *vm)
{
    bool any = false;

    FOR_EACH_OF(vm, l)
    {
        any |= l->layer.newest != NULL;
    }
    return any;
}

void vm_layers_set_attention(void (*fn)(void))
{
    attention = fn;
}

bool vm_layers_starve(const struct vm *vm, char *said)
{
    bool found = false;

    FOR_EACH_OF(vm, l)
    {
        if (__atomic_exchange_n(&l->told, true, __ATOMIC_ACQUIRE) || !layer_is_starved(&l->layer))
            continue;
        found = true;
        format(said, LAYERS_ERROR,
               "%s stands still: it writes to %.*s, and no memory is left to keep for its "
               "snapshots what is there (%lu KiB are taken, `snapshot_memory` is %lu KiB). "
               "Forget a snapshot, then resume it",
               vm->name, text_length(l), l->text,
               __atomic_load_n(&l->keeper->memory.used, __ATOMIC_RELAXED) / KIB,
               l->keeper->memory.limit / KIB);
    }
    return found;
}

/* --- putting back --- */

static uint64_t memory_left(const struct past_memory *m)
{
    uint64_t used = __atomic_load_n(&m->used, __ATOMIC_RELAXED);
    struct frame_stats f;

    frame_stats(&f);
    return MIN(m->limit - MIN(used, m->limit), f.free - MIN(m->spare, f.free));
}

static int other_disks(const struct vm *vm, const struct vm_layer *l, const char *why, char *error)
{
    format(error, LAYERS_ERROR, "%s has other disks than it had then: %.*s %s", vm->name,
           text_length(l), l->text, why);
    return -EINVAL;
}

int vm_layers_fit(const struct vm *vm, const void *of, char *error)
{
    const struct keeper *k = NULL;
    uint64_t cost = 0;

    for (const struct vm_layer *l = layers; l; l = l->next) {
        bool has = layer_has(&l->layer, of);

        if (l->vm == vm && !has)
            return other_disks(vm, l, "has come since", error);
        if (l->vm != vm && has)
            return other_disks(vm, l, "has gone", error);
        if (!has)
            continue;
        cost += layer_restore_cost(&l->layer, of);
        k = l->keeper;
    }
    if (!k || cost <= memory_left(&k->memory))
        return 0;
    format(error, LAYERS_ERROR,
           "%s: there is no memory for it: %lu KiB are wanted for what newer snapshots have of its "
           "disks, %lu KiB are left of them: forget one of those",
           vm->name, cost / KIB, memory_left(&k->memory) / KIB);
    return -ENOMEM;
}

static void tell_failure(const struct vm_layer *l, int result, const struct layer_failure *where,
                         char *error)
{
    char what[80];

    if (result == -ENOMEM)
        format(what, sizeof(what), "no memory is left for what newer snapshots have of it");
    else if (where->sectors == 0)
        format(what, sizeof(what), "the drive could not flush it");
    else
        format(what, sizeof(what), "the drive failed at sectors %lu to %lu", where->sector,
               where->sector + where->sectors - 1);
    format(error, LAYERS_ERROR,
           "%s: %.*s is not put back: %s. %s; nothing of the snapshot is lost: restore it again",
           l->vm->name, text_length(l), l->text, what,
           l->keeper->torn ? "The VM's disks are of two moments now"
                           : "Nothing was written to the VM's disks");
}

static void begin_anew(const struct vm *vm)
{
    FOR_EACH_OF(vm, l)
    {
        l->restored = false;
    }
}

/* The next piece of one disk. */
static int restore_some(struct vm_layer *l, const void *of, struct layer_failure *where)
{
    int result = l->restoring ? 0 : layer_restore_begin(&l->layer, of);

    if (result < 0)
        return result;
    l->keeper->torn = true;
    result = layer_restore_step(&l->layer, where);
    l->restoring = result == -EAGAIN;
    return result;
}

/* One disk after the other. */
int vm_layers_restore(const struct vm *vm, const void *of, char *error)
{
    struct layer_failure where = {0, 0};
    struct keeper *k = NULL;
    int result = 0;

    FOR_EACH_OF(vm, l)
    {
        k = l->keeper;
        if (l->restored)
            continue;
        result = restore_some(l, of, &where);
        if (result == -EAGAIN)
            return result;
        l->restored = true;
        if (result < 0) {
            tell_failure(l, result, &where, error);
            break;
        }
    }
    begin_anew(vm);
    if (k && result == 0)
        k->torn = false;
    return result;
}

bool vm_layers_stop(const struct vm *vm)
{
    bool begun = false;

    FOR_EACH_OF(vm, l)
    {
        begun |= l->restoring || l->restored;
    }
    begin_anew(vm);
    (void)vm_layers_quiet(vm);
    return begun;
}

bool vm_layers_quiet(const struct vm *vm)
{
    bool quiet = true;

    FOR_EACH_OF(vm, l)
    {
        l->restoring = !layer_restore_stop(&l->layer);
        quiet &= !l->restoring;
    }
    return quiet;
}

bool vm_layers_torn(const struct vm *vm)
{
    const struct keeper *k = find_keeper(vm);

    return k && k->torn;
}
