/* See vm_stream.h. */
#include "guest/vm/vm_stream.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/cpu/needs.h"
#include "guest/moments/stream.h"
#include "guest/vm/vm_state.h"
#include "mm/heap.h"
#include "vmx/fpu.h"

#define MADE    "made"
#define VERSION 1 /* of that section */
#define GUESS   (16 * KIB)

_Static_assert(STREAM_ERROR <= VM_STREAM_ERROR && NEEDS_ERROR <= VM_STREAM_ERROR, "sentences");

/* --- what it is made of: RAM, vCPUs, and which devices there are --- */

static void put_text(struct state_writer *w, const char *text)
{
    size_t length = text ? strlen(text) : 0;

    state_put_u8(w, (uint8_t)length);
    state_put(w, text ? text : "", length);
}

static void save_made(const struct vm *vm, struct state_writer *w)
{
    const struct device_list *list = &vm->life->devices;

    state_begin(w, MADE, VERSION);
    state_put_u32(w, vm->memory.range_count);
    for (uint32_t i = 0; i < vm->memory.range_count; i++) {
        state_put_u64(w, vm->memory.ranges[i].gpa);
        state_put_u64(w, vm->memory.ranges[i].size);
    }
    state_put_u32(w, vm->vcpu_count);
    state_put_u32(w, list->count);
    for (unsigned i = 0; i < list->count; i++) {
        state_put_u32(w, list->item[i].id);
        put_text(w, list->item[i].class->ops->name);
        put_text(w, list->item[i].name);
    }
    state_end(w);
}

static int wrong(char *error, const char *fmt, ...) PRINTF(2, 3);

static int wrong(char *error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vformat(error, VM_STREAM_ERROR, fmt, args);
    va_end(args);
    return -EBADMSG;
}

static bool same_memory(const struct vm *vm, struct state_reader *r)
{
    uint32_t count = state_get_u32(r);
    bool same = count == vm->memory.range_count;

    for (uint32_t i = 0; same && i < count; i++) {
        same = state_get_u64(r) == vm->memory.ranges[i].gpa;
        same = state_get_u64(r) == vm->memory.ranges[i].size && same;
    }
    return same;
}

/* Into text[DEVICE_NAME], which is cut there. */
static void get_text(struct state_reader *r, char *text)
{
    uint8_t length = state_get_u8(r);

    memset(text, 0, DEVICE_NAME);
    for (unsigned i = 0; i < length; i++) {
        char c = (char)state_get_u8(r);
        if (i < DEVICE_NAME - 1)
            text[i] = c >= ' ' && c <= '~' ? c : '?';
    }
}

static int check_device(const struct device_item *here, struct state_reader *r, char *error)
{
    uint32_t id = state_get_u32(r);
    char kind[DEVICE_NAME], name[DEVICE_NAME];
    const char *own_kind = here ? here->class->ops->name : "none";
    const char *own_name = here && here->name ? here->name : "";

    get_text(r, kind);
    get_text(r, name);
    if (here && id == here->id && strcmp(kind, own_kind) == 0 &&
        strncmp(name, own_name, DEVICE_NAME - 1) == 0)
        return 0;
    return wrong(error, "has a device '%s%s%s' where this VM has %s%s%s%s", kind,
                 name[0] ? " " : "", name, own_kind, own_name[0] ? " " : "", own_name,
                 here && strcmp(kind, own_kind) == 0 ? ", another one" : "");
}

static int check_devices(const struct vm *vm, struct state_reader *r, char *error)
{
    const struct device_list *list = &vm->life->devices;
    uint32_t count = state_get_u32(r);

    for (uint32_t i = 0; i < MIN(count, (uint32_t)BUS_DEVICES); i++)
        if (check_device(i < list->count ? &list->item[i] : NULL, r, error) < 0)
            return -EBADMSG;
    if (count < list->count)
        return wrong(error, "knows no device '%s', which this VM has",
                     list->item[count].name ? list->item[count].name
                                            : list->item[count].class->ops->name);
    return 0;
}

static int check_made(const struct vm *vm, struct state_reader *r, char *error)
{
    uint32_t vcpus;

    if (state_enter(r, MADE, VERSION) < 0)
        return wrong(error, "does not say what its VM was made of");
    if (!same_memory(vm, r))
        return wrong(error, "is of a VM with other memory");
    vcpus = state_get_u32(r);
    if (vcpus != vm->vcpu_count)
        return wrong(error, "has %u vCPUs, and this VM has %u", vcpus, vm->vcpu_count);
    if (check_devices(vm, r, error) < 0)
        return -EBADMSG;
    return state_leave(r) < 0 ? wrong(error, "does not say as it should what its VM was made of")
                              : 0;
}

/* --- saving --- */

static struct cpu_has has(const struct vm *vm)
{
    return (struct cpu_has){.tsc_hz = tsc_hz,
                            .fpu_size = fpu_size(),
                            .cpuid = &vm->vcpu[0]->cpuid,
                            .capabilities = vm->vcpu[0]->msr_env.features.capabilities};
}

static void write_all(struct vm *vm, struct state_writer *w)
{
    const struct cpu_has cpu = has(vm);

    stream_begin(w);
    needs_save(&cpu, w);
    save_made(vm, w);
    vm_save(vm, w);
    stream_end(w);
}

int vm_stream_save(struct vm *vm, struct vm_stream *out)
{
    size_t capacity = vm->life->stream_size ? vm->life->stream_size : GUESS;

    for (;;) {
        struct state_writer w = {.data = heap_alloc(capacity), .capacity = capacity};

        if (!w.data)
            return -ENOMEM;
        write_all(vm, &w);
        *out = (struct vm_stream){w.data, w.used};
        vm->life->stream_size = w.used;
        if (w.used <= capacity)
            return 0;
        heap_free(w.data);
        capacity = w.used;
    }
}

void vm_stream_free(struct vm_stream *s)
{
    heap_free(s->data);
    *s = (struct vm_stream){0};
}

/* --- loading --- */

/* Whether that stream is one for this VM, which would write `own` now (NULL: that has been found
 * out); r is before what vm_load() reads. */
static int check_all(struct vm *vm, const struct vm_stream *s, const struct vm_stream *own,
                     struct state_reader *r, char *error)
{
    const struct cpu_has cpu = has(vm);
    struct state_reader mine;
    int result = stream_open(s->data, s->size, r, error);

    if (result == 0 && own) {
        result = stream_open(own->data, own->size, &mine, error);
        if (result == 0)
            result = stream_same(r, &mine, error);
    }
    if (result == 0)
        result = needs_check(&cpu, r, error);
    return result == 0 ? check_made(vm, r, error) : result;
}

/* What it had is what it has. */
static int take_back(struct vm *vm, const struct vm_stream *own)
{
    char error[VM_STREAM_ERROR];
    struct state_reader r;

    if (check_all(vm, own, NULL, &r, error) < 0 || vm_load(vm, &r) < 0)
        return -EIO;
    return -EBADMSG;
}

static int load(struct vm *vm, const struct vm_stream *s, const struct vm_stream *own, char *error)
{
    struct state_reader r;
    int result = check_all(vm, s, own, &r, error);

    if (result < 0)
        return result;
    const struct ending ending = vm->ending;
    unsigned dead = vm->tasks.dead;
    vm_reset(vm);
    if (vm_load(vm, &r) == 0)
        return 0;
    (void)wrong(error, "cannot be loaded: %s, in its section '%s'", r.error, r.name);
    result = take_back(vm, own);
    vm->ending = ending;
    vm->tasks.dead = dead;
    return result;
}

int vm_stream_load(struct vm *vm, const struct vm_stream *s, char *error)
{
    struct vm_stream own;
    int result = vm_stream_save(vm, &own);

    if (result < 0) {
        format(error, VM_STREAM_ERROR, "cannot be checked: memory is out");
        return result;
    }
    result = load(vm, s, &own, error);
    vm_stream_free(&own);
    return result;
}

int vm_stream_load_again(struct vm *vm, const struct vm_stream *s, char *error)
{
    struct state_reader r;
    int result = check_all(vm, s, NULL, &r, error);

    vm_reset(vm);
    if (result == 0 && vm_load(vm, &r) < 0)
        result = wrong(error, "cannot be loaded: %s, in its section '%s'", r.error, r.name);
    return result < 0 ? -EIO : 0;
}
