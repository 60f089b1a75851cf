/* A VM's life: made from its section of the config, booted from its files, reset, ended, and given
 * back. */
#include "guest/vm/vm.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"
#include "guest/board/ioapic.h"
#include "guest/cpu/bus_lock.h"
#include "guest/load/acpi.h"
#include "guest/load/acpi_link.h"
#include "guest/load/kernel.h"
#include "guest/run/run.h"
#include "guest/vm/firmware.h"
#include "guest/vm/platform.h"
#include "guest/vm/screen_begin.h"
#include "mm/heap.h"
#include "vmx/cpu.h"

_Static_assert(CONFIG_MAX_CPUS <= BOARD_CPUS, "a VM's vCPUs fit into its board");
_Static_assert(CONFIG_MAX_CPUS <= SCHED_MAX_VCPUS, "and into its group");

static int no_memory(struct vm *vm, const char *what)
{
    struct frame_stats s;

    frame_stats(&s);
    log_error(
        "corbel.conf:%u: [vm %s]: not enough memory for %s: it wants %lu MiB and %lu MiB are free",
        config_vm_line(vm->config, CONFIG_VM_MEMORY), vm->name, what, vm->config->memory / MIB,
        s.free / MIB);
    return -ENOMEM;
}

static void scarce(void *context)
{
    vm_starve(context);
}

static int create_memory(struct vm *vm)
{
    struct guest_memory_region regions[GPA_RAM_RANGES];

    if (gpa_layout_init(&vm->life->layout, vm->config->memory, vm->config->hole) < 0) {
        log_error("corbel.conf:%u: [vm %s]: memory and hole do not go together",
                  config_vm_line(vm->config, CONFIG_VM_MEMORY), vm->name);
        return -EINVAL;
    }
    /* Around the VGA hole two ranges share a 2 MiB block: it is backed as a whole, the E820 map
     * leaves the hole out. */
    unsigned count = 0;
    for (unsigned i = 0; i < vm->life->layout.count; i++) {
        const struct gpa_range *r = &vm->life->layout.ram[i];
        struct guest_memory_region *last = count ? &regions[count - 1] : NULL;
        if (last && ALIGN_DOWN(r->base, GUEST_CHUNK) < last->gpa + last->size)
            last->size = r->base + r->size - last->gpa;
        else
            regions[count++] = (struct guest_memory_region){.gpa = r->base, .size = r->size};
    }
    if (guest_memory_create(&vm->memory, (uint16_t)(FRAME_VM + vm->id), regions, count) < 0)
        return no_memory(vm, "its RAM");
    vm->memory.scarce = scarce;
    vm->memory.context = vm;
    if (!vm->config->overcommit &&
        guest_memory_promise(&vm->memory, rights_tables(&vm->memory, &vmx_features)) < 0)
        return no_memory(vm, "its RAM");
    if (vm->config->balloon && guest_memory_balloon(&vm->memory) < 0)
        return no_memory(vm, "its balloon");
    if (rights_init(&vm->rights, &vm->memory, &vmx_features, &host_mtrr) < 0)
        return no_memory(vm, "its page tables");
    vm->life->ioapic_page = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (vm->life->ioapic_page == FRAME_NONE)
        return no_memory(vm, "its I/O APIC's page");
    memset(phys_to_virt(vm->life->ioapic_page), 0, PAGE_SIZE);
    if (rights_place(&vm->rights, IOAPIC_BASE, vm->life->ioapic_page, PAGE_SIZE, EPT_READ) < 0)
        return no_memory(vm, "its page tables");
    if (!vmx_features.virtualize_apic_accesses)
        return 0;
    vm->apic_access_page = frame_alloc(FRAME_ORDER_4K, FRAME_KERNEL);
    if (vm->apic_access_page == FRAME_NONE)
        return no_memory(vm, "its APIC page");
    memset(phys_to_virt(vm->apic_access_page), 0, PAGE_SIZE);
    if (rights_place(&vm->rights, LAPIC_BASE, vm->apic_access_page, PAGE_SIZE,
                     EPT_READ | EPT_WRITE) < 0)
        return no_memory(vm, "its page tables");
    return 0;
}

static void all_dead(struct task_group *tasks)
{
    vm_request(CONTAINER_OF(tasks, struct vm, tasks), VM_REQUEST_POWEROFF,
               "halted for good: interrupts off and no timer set");
}

int vm_create(struct vm **out, unsigned id, const struct vm_config *config)
{
    struct whole {
        struct vm vm;
        struct vm_life life;
        struct bus_locks bus_locks;
    } *whole = heap_alloc(ALIGN_UP(sizeof(*whole), PAGE_SIZE));
    struct vm *vm = &whole->vm;
    int result;

    if (!whole) {
        log_error("corbel.conf:%u: [vm %.*s]: no memory is left for another VM",
                  config->section_line, (int)config->name.length, config->name.data);
        return -ENOMEM;
    }
    vm->life = &whole->life;
    vm->bus_locks = &whole->bus_locks;
    vm->id = id;
    vm->config = config;
    vm->tasks.all_dead = all_dead;
    vm->apic_access_page = FRAME_NONE;
    vm->life->ioapic_page = FRAME_NONE;
    memcpy(vm->name, config->name.data, MIN(config->name.length, sizeof(vm->name) - 1));
    if ((result = create_memory(vm)) < 0)
        goto failed;
    if ((result = run_add_group(&vm->tasks)) < 0) {
        no_memory(vm, "its parts of the processors");
        goto failed;
    }
    if ((result = platform_create(vm)) < 0) {
        if (result != -EINVAL)
            no_memory(vm, "its devices");
        goto failed;
    }
    for (unsigned i = 0; i < config->cpus; i++) {
        if ((result = vcpu_create(&vm->vcpu[i], vm, i)) < 0) {
            no_memory(vm, "its vCPUs");
            goto failed;
        }
        struct vcpu *v = vm->vcpu[i];
        vm->vcpu_count++;
        if (i == 0)
            board_front(vm->board)->timekeeper = v;
        lapic_init(&v->lapic, phys_to_virt(v->lapic_page), i, i == 0, LAPIC_BUS_SHIFT);
        lapic_set_physical_bits(&v->lapic, v->cpuid.physical_bits);
        board_add_cpu(vm->board, &v->lapic);
        run_add(&vm->tasks, &v->task);
    }
    vm_reset(vm);
    *out = vm;
    return 0;
failed:
    vm_destroy(vm);
    return result;
}

void vm_reset(struct vm *vm)
{
    while (!platform_quiet(vm)) /* first: what comes back may interrupt */
        cpu_pause();
    uint64_t tsc_offset = -rdtsc(); /* RESET clears the TSC; the devices' clock goes on */

    vm->ending = (struct ending){0};
    vm->starved = false;
    vm->tasks.dead = 0;
    vm->pv.clock_start = board_front(vm->board)->tsc_offset - tsc_offset;
    vm->life->cleared = 0;
    vm->life->clear_ticks = 0;
    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_reset(vm->vcpu[i], tsc_offset);
    board_reset(vm->board);
}

/* --- loading --- */

static int sink_write(void *ctx, uint64_t gpa, const void *data, uint64_t size)
{
    return guest_memory_write(&((struct vm *)ctx)->memory, gpa, data, size);
}

static int sink_zero(void *ctx, uint64_t gpa, uint64_t size)
{
    return guest_memory_zero(&((struct vm *)ctx)->memory, gpa, size);
}

static int load_acpi(struct vm *vm)
{
    const struct acpi_platform platform = {.cpus = vm->vcpu_count,
                                           .slots = platform_slots(vm),
                                           .display = config_has_display(vm->config)};
    paddr frames = frame_run_alloc(GPA_ACPI_SIZE / PAGE_SIZE, FRAME_KERNEL);
    void *tables = phys_to_virt(frames); /* not cleared: a small part of it will be written to */
    int size;

    if (frames == FRAME_NONE)
        return -ENOMEM;
    size = acpi_build(&platform, tables, GPA_ACPI_SIZE);
    if (size >= 0)
        size = guest_memory_write(&vm->memory, GPA_ACPI, tables, (size_t)size);
    frame_run_free(frames);
    return size;
}

/* The config's line to blame for a loader's error; see kernel_load(). */
static uint32_t line_of_error(const struct vm_config *config, int error)
{
    return config_vm_line(config, error == -ENOMEM    ? CONFIG_VM_MEMORY
                                  : error == -E2BIG   ? CONFIG_VM_CMDLINE
                                  : error == -ERANGE  ? CONFIG_VM_INITRD
                                  : error == -ENOTSUP ? CONFIG_VM_MODULE
                                                      : CONFIG_VM_KERNEL);
}

static void show_points(void *ctx, struct guest_screen *screen)
{
    screen_begin(board_bus(((struct vm *)ctx)->board), screen);
}

static int load_kernel(struct vm *vm, const struct vm_files *files, struct guest_start *start)
{
    const struct vm_config *config = vm->config;
    const struct guest_sink sink = {.write = sink_write, .zero = sink_zero, .ctx = vm};
    const struct guest_display display = {.show = show_points, .ctx = vm};
    uint8_t rsdp[ACPI_RSDP_SIZE];
    char error[LOAD_ERROR];
    struct guest_image image = {
        .kernel = files->kernel.data,
        .kernel_size = files->kernel.size,
        .path = config->kernel.data,
        .path_size = config->kernel.length,
        .cmdline = config->cmdline.data,
        .cmdline_size = config->cmdline.length,
        .initrd = files->initrd.data,
        .initrd_size = files->initrd.size,
        .initrd_path = config->initrd.data,
        .initrd_path_size = config->initrd.length,
        .module_count = config->modules.count,
        .rsdp = GPA_ACPI,
        .display = config_has_display(config) ? &display : NULL,
    };

    if (guest_memory_read(&vm->memory, GPA_ACPI, rsdp, sizeof(rsdp)) == 0)
        image.rsdp_copy = rsdp;

    for (unsigned i = 0; i < config->modules.count; i++) {
        const struct config_module *m = &config->modules.item[i];
        image.module[i] = (struct guest_module){
            .data = files->module[i].data,
            .size = files->module[i].size,
            .path = m->file.data,
            .path_size = m->file.length,
            .args = m->args.data,
            .args_size = m->args.length,
        };
    }
    vm->life->kind = kernel_kind(image.kernel, image.kernel_size);
    int result = kernel_load(&image, &vm->life->layout, &sink, start, error);
    if (result < 0)
        log_error("corbel.conf:%u: [vm %s]: %.*s %s", line_of_error(config, result), vm->name,
                  (int)config->kernel.length, config->kernel.data, error);
    else if (start->mode == GUEST_REAL)
        log_info("%s: a boot sector starts in real mode at 0:7c00, without BIOS services",
                 vm->name);
    return result;
}

int vm_boot(struct vm *vm, const struct vm_files *files)
{
    struct guest_start start;
    uint64_t from = rdtsc();
    bool has_firmware = vm->config->firmware.data != NULL;
    int result;

    if (guest_memory_given(&vm->memory))
        return no_memory(vm, "what its balloon had given back");
    result = has_firmware ? firmware_tell(vm) : load_acpi(vm);
    if (result < 0)
        return no_memory(vm, "its ACPI tables");
    if (!has_firmware) {
        result = load_kernel(vm, files, &start);
        vm_unpack_drop(vm);
        if (result < 0 && vm->starved)
            no_memory(vm, "what it is started from");
        if (result < 0)
            return result;
        vcpu_start_at(vm->vcpu[0], &start);
    }
    rights_fill(&vm->rights);
    vm->life->load_ticks = rdtsc() - from;
    return 0;
}

/* --- its clock and its end --- */

void vm_move_clock(struct vm *vm, uint64_t delta)
{
    board_front(vm->board)->tsc_offset += delta;
    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        struct vcpu *v = vm->vcpu[i];
        bool held = vcpu_hold(v);

        v->lapic.tsc_offset += delta;
        vmx_set_tsc_offset(v->lapic.tsc_offset);
        vcpu_release(v, held);
        vcpu_ask(v, REQUEST_TIMER | REQUEST_EVENT);
    }
}

void vm_destroy(struct vm *vm)
{
    run_flush(&vm->tasks);
    platform_stop(vm);
    platform_destroy(vm); /* first: until devices are gone they may interrupt */
    for (unsigned i = 0; i < vm->config->cpus; i++)
        vcpu_destroy(vm->vcpu[i]);
    rights_destroy(&vm->rights);
    if (vm->life->ioapic_page != FRAME_NONE)
        frame_free(vm->life->ioapic_page, FRAME_ORDER_4K);
    if (vm->apic_access_page != FRAME_NONE)
        frame_free(vm->apic_access_page, FRAME_ORDER_4K);
    guest_memory_destroy(&vm->memory);
    run_remove_group(&vm->tasks);
    vm_unpack_drop(vm);
    heap_free(vm->watches);
    heap_free(vm->life->firmware);
    heap_free(vm);
}
