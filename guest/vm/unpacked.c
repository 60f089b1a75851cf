/* See unpacked.h. */
#include "guest/vm/unpacked.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "guest/load/image.h"
#include "guest/load/unpack.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

static void say(const struct vm *vm, enum config_vm_key key, const char *error)
{
    const struct config_span path = vm->config->kernel;

    log_error("corbel.conf:%u: [vm %s]: %.*s %s", config_vm_line(vm->config, key), vm->name,
              (int)path.length, path.data, error);
}

static int no_memory(const struct vm *vm, uint64_t bytes)
{
    const struct config_span path = vm->config->kernel;

    log_error("corbel.conf:%u: [vm %s]: not enough memory to unpack %.*s: it wants %lu KiB",
              config_vm_line(vm->config, CONFIG_VM_KERNEL), vm->name, (int)path.length, path.data,
              bytes / KIB);
    return -ENOMEM;
}

static int begin(struct vm *vm, const struct file *kernel)
{
    struct vm_unpacked *p = &vm->life->unpacked;

    p->with = unpack_kind(kernel->data, kernel->size);
    if (!p->with)
        return 0;
    p->work = heap_alloc(UNPACK_WORK);
    if (!p->work)
        return no_memory(vm, UNPACK_WORK);
    unpack_begin(p->work, kernel->data, kernel->size, vm->config->memory);
    return 0;
}

static int make_room(struct vm *vm)
{
    struct vm_unpacked *p = &vm->life->unpacked;
    uint64_t room = unpack_room(p->work), pages = MAX(ALIGN_UP(room, PAGE_SIZE) / PAGE_SIZE, 1ul);

    p->frames = frame_run_alloc(pages, FRAME_KERNEL);
    if (p->frames == FRAME_NONE)
        return no_memory(vm, room);
    p->pages = pages;
    unpack_into(p->work, phys_to_virt(p->frames));
    return 0;
}

int vm_unpack_some(struct vm *vm, struct file *kernel, uint64_t until)
{
    struct vm_unpacked *p = &vm->life->unpacked;
    int result = p->work ? 0 : begin(vm, kernel), next;
    char error[LOAD_ERROR];

    while (result == 0 && p->work) {
        next = unpack_some(p->work, error);
        if (next < 0) {
            say(vm, next == -ENOMEM ? CONFIG_VM_MEMORY : CONFIG_VM_KERNEL, error);
            result = next;
        } else if (next == UNPACK_DONE) {
            *kernel = (struct file){phys_to_virt(p->frames), unpack_size(p->work)};
            return 0;
        } else if (next == UNPACK_ROOM) {
            result = make_room(vm);
        } else if (rdtsc() >= until) {
            return 1;
        }
    }
    if (result < 0)
        vm_unpack_drop(vm);
    return result;
}

void vm_unpack_drop(struct vm *vm)
{
    struct vm_unpacked *p = &vm->life->unpacked;

    if (p->pages)
        frame_run_free(p->frames);
    heap_free(p->work);
    p->work = NULL;
    p->pages = 0;
}
