/* See platform.h. */
#include "guest/vm/platform.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/random.h"
#include "arch/x86/smp.h"
#include "guest/board/pci.h"
#include "guest/board/ports.h"
#include "guest/config/disk.h"
#include "guest/cpu/wires.h"
#include "guest/devices/acpi_pm.h"
#include "guest/devices/flash.h"
#include "guest/devices/hotplug.h"
#include "guest/run/run.h"
#include "guest/vm/discs.h"
#include "guest/vm/disks.h"
#include "guest/vm/events.h"
#include "guest/vm/files.h"
#include "guest/vm/layers.h"
#include "guest/vm/nets.h"
#include "guest/vm/variables.h"
#include "guest/vm/vm.h"

#ifdef CORBEL_DEBUG /* tests/devices/ */
#define TEST_CLASSES(X) X(test_memory_class)
#else
#define TEST_CLASSES(X)
#endif

/*
 * Every class of devices that a VM may have. In their order devices are made, reset and saved.
 * Several have the key `disk`: those lines are for them whose `bus=` is theirs.
 */
#define CLASSES(X)                                                                                 \
    X(uart_class)                                                                                  \
    X(pit_class)                                                                                   \
    X(rtc_class)                                                                                   \
    X(acpi_pm_class)                                                                               \
    X(hotplug_class)                                                                               \
    X(keyboard_class)                                                                              \
    X(input_class)                                                                                 \
    X(reset_control_class)                                                                         \
    X(pci_class)                                                                                   \
    X(fw_cfg_class)                                                                                \
    X(flash_class)                                                                                 \
    X(shadow_class)                                                                                \
    X(vga_class)                                                                                   \
    X(debug_console_class)                                                                         \
    X(virtio_blk_class)                                                                            \
    X(ide_class)                                                                                   \
    X(ahci_class)                                                                                  \
    X(virtio_net_class)                                                                            \
    X(e1000_class)                                                                                 \
    X(nvme_class)                                                                                  \
    X(virtio_rng_class)                                                                            \
    X(virtio_balloon_class)                                                                        \
    X(virtio_console_class)                                                                        \
    X(lpc_class)                                                                                   \
    TEST_CLASSES(X)

#define DECLARE(class) extern const struct device_class class;
CLASSES(DECLARE)
#define POINTER(class) &class,
static const struct device_class *const classes[] = {CLASSES(POINTER)};

/* --- what devices get from their VM --- */

static void log_text(void *context, const char *text)
{
    const struct vm *vm = context;

    log_info("%s: debug console: %s", vm->name, text);
}

static size_t random_numbers(void *context, void *data, size_t size)
{
    return random_bytes(data, size);
}

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    const struct vm *vm = context;
    struct config_line found;

    if (!config_vm_says(vm->config, key, index, &found))
        return NULL;
    *length = found.text.length;
    *number = found.line;
    return found.text.data;
}

/* Processor 0 takes them off. It is not disturbed for what is not there. */
static void eject(void *context, uint32_t devices)
{
    struct vm_life *life = ((struct vm *)context)->life;

    devices &= __atomic_load_n(&life->removable, __ATOMIC_RELAXED);
    if (devices == 0)
        return;
    __atomic_fetch_or(&life->ejected, devices, __ATOMIC_SEQ_CST);
    if (life->eject)
        (void)cpu_call_async(0, life->eject);
    run_attention(0);
}

/* --- life --- */

_Static_assert(DEVICE_ERROR == CONFIG_MESSAGE, "a check's sentence fits into either");

static int check_disk(const char *text, size_t length, char *error)
{
    int result = device_class_check(classes, ARRAY_SIZE(classes), "disk", text, length, error);

    return result ? MIN(result, 0) : config_disk_no_bus(text, length, error);
}

void platform_set_checks(void)
{
    config_set_check("disk", check_disk);
}

static void settle(void *context)
{
    vm_settle_rights(context);
}

static struct device_host host_of(struct vm *vm)
{
    struct file firmware = {0};

    if (vm->config->firmware.data)
        (void)!files_find_one(vm->config->firmware, &firmware);
    return (struct device_host){
        .context = vm,
        .memory_below_4g = vm->life->layout.low_top,
        .memory_above_4g = vm->life->layout.high_top - GPA_4G,
        .firmware = firmware.data,
        .firmware_size = firmware.size,
        .variables = variables_of,
        .serial_put = vm_events->output,
        .port_put = vm_events->port_output,
        .log = log_text,
        .random = random_numbers,
        .overcommits = vm->config->overcommit,
        .line = line,
        .disk = disk_open,
        .net = net_open,
        .disc = disc_open,
        .eject = eject,
        .settle = vm->vcpu_count ? settle : NULL,
    };
}

int platform_create(struct vm *vm)
{
    const struct device_host host = host_of(vm);
    int result =
        board_create(&vm->board, &vcpu_wires, vm, &vm->memory, phys_to_virt(vm->life->ioapic_page));

    if (result < 0)
        return result;
    struct device_setup setup = {.board = vm->board, .bus = board_bus(vm->board), .host = &host};
    result = device_list_fill(&vm->life->devices, classes, ARRAY_SIZE(classes), &setup);
    if (vm->config->rng && random_source() == RANDOM_JITTER)
        log_warn("%s: rng: this processor has no RDRAND; what the guest gets may be guessed",
                 vm->name);
    if (result == 0 || !setup.error[0])
        return result;
    log_error("corbel.conf:%u: [vm %s]: %s", setup.line ? setup.line : vm->config->section_line,
              vm->name, setup.error);
    return -EINVAL;
}

bool platform_quiet(struct vm *vm)
{
    bool put_back = vm_layers_quiet(vm);

    vm_layers_give_up(vm);
    return bus_idle(board_bus(vm->board), true) && put_back;
}

bool platform_idle(struct vm *vm)
{
    struct device *flash = platform_device(vm, &flash_class);
    bool kept = !flash || flash_kept(flash);

    return platform_quiet(vm) && kept;
}

void platform_stop(struct vm *vm)
{
    if (!vm->vcpu_count) /* nothing has ever run, and not all devices may be there */
        return;
    while (!platform_idle(vm))
        cpu_pause();
    board_reset(vm->board);
}

void platform_destroy(struct vm *vm)
{
    if (!vm->board)
        return;
    bus_destroy(board_bus(vm->board)); /* first: its ranges are part of devices */
    device_list_destroy(&vm->life->devices);
    board_destroy(vm->board); /* last: devices may ask it for something until they are gone */
}

/* --- what others want of one --- */

struct device *platform_device(const struct vm *vm, const struct device_class *class)
{
    return device_list_find(&vm->life->devices, class, 0);
}

void platform_power_button(struct vm *vm)
{
    struct device *d = platform_device(vm, &acpi_pm_class);

    acpi_pm_power_button(CONTAINER_OF(d, struct acpi_pm, dev));
}

/* --- what comes and goes while the guest runs --- */

static struct pci *pci_of(const struct vm *vm)
{
    return CONTAINER_OF(platform_device(vm, &pci_class), struct pci, dev);
}

/* Something has happened that the slots' methods tell of. */
static bool raise(struct vm *vm)
{
    struct device *d = platform_device(vm, &acpi_pm_class);

    return acpi_pm_event(CONTAINER_OF(d, struct acpi_pm, dev), GPE_HOTPLUG);
}

static struct hotplug *hotplug_of(const struct vm *vm)
{
    return CONTAINER_OF(platform_device(vm, &hotplug_class), struct hotplug, dev);
}

static const struct device_class *class_for(const char *key, const char *text, size_t length,
                                            char *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(classes); i++)
        if (classes[i]->key && strcmp(classes[i]->key, key) == 0 &&
            (!classes[i]->check || classes[i]->check(text, length, error) > 0))
            return classes[i];
    return NULL;
}

const struct device_class *platform_disk_class(const char *text, size_t length)
{
    char error[DEVICE_ERROR];

    return class_for("disk", text, length, error);
}

uint32_t platform_slots(struct vm *vm)
{
    struct pci *pci = pci_of(vm);
    struct device_list *list = &vm->life->devices;
    uint32_t slots = 0, removable = 0;

    for (unsigned i = 0; i < list->count; i++) {
        int device = pci_device_of(pci, list->item[i].device);
        if (list->item[i].class->removable && device >= 0)
            removable |= UINT32_C(1) << device;
    }
    __atomic_store_n(&vm->life->removable, removable, __ATOMIC_RELAXED);
    for (unsigned device = 1, left = PLATFORM_FREE_SLOTS; device < PCI_LPC >> 3; device++) {
        bool taken = pci->function[PCI_DEVFN(device, 0)];
        if (removable >> device & 1 || (!taken && left > 0))
            slots |= UINT32_C(1) << device;
        left -= !taken && left > 0;
    }
    return pci->places = slots;
}

int platform_attach(struct vm *vm, const char *key, const char *text, size_t length,
                    struct platform_attached *out, char *error)
{
    const struct device_host host = host_of(vm);
    struct device_list *list = &vm->life->devices;
    struct device_setup setup = {.board = vm->board,
                                 .bus = board_bus(vm->board),
                                 .host = &host,
                                 .pci = pci_of(vm),
                                 .text = text,
                                 .length = length};
    const struct device_class *class;
    int result = device_class_check(classes, ARRAY_SIZE(classes), key, text, length, error);

    if (result < 0)
        return result;
    class = result > 0 ? class_for(key, text, length, error) : NULL;
    if (!class || !class->removable)
        return -ENOTSUP;
    result = device_list_add(list, class, &setup);
    if (result < 0) {
        memcpy(error, setup.error, sizeof(setup.error));
        return result;
    }
    struct device_item *item = &list->item[list->count - 1];
    device_lock(item->device);
    item->device->ops->reset(item->device);
    device_unlock(item->device);
    *out = (struct platform_attached){.id = item->id,
                                      .device = pci_device_of(setup.pci, item->device)};
    __atomic_fetch_or(&vm->life->removable, UINT32_C(1) << out->device, __ATOMIC_RELAXED);
    hotplug_come(hotplug_of(vm), (unsigned)out->device);
    out->heard = raise(vm);
    return 0;
}

struct device_item *platform_item(const struct vm *vm, unsigned *index)
{
    struct device_list *list = &vm->life->devices;

    while (*index < list->count) {
        struct device_item *item = &list->item[(*index)++];
        if (item->class->removable)
            return item;
    }
    return NULL;
}

int platform_place(const struct vm *vm, const struct device_item *item)
{
    return pci_device_of(pci_of(vm), item->device);
}

bool platform_ask(struct vm *vm, struct device_item *item)
{
    item->stay = DEVICE_ASKED;
    hotplug_go(hotplug_of(vm), (unsigned)platform_place(vm, item));
    return raise(vm);
}

void platform_unplug(struct vm *vm, struct device_item *item, bool unasked)
{
    const struct device_host host = host_of(vm);
    struct device_setup setup = {.bus = board_bus(vm->board), .host = &host, .pci = pci_of(vm)};
    int device = pci_device_of(setup.pci, item->device);

    __atomic_fetch_and(&vm->life->removable, ~(UINT32_C(1) << device), __ATOMIC_RELAXED);
    device_item_unplug(item, &setup);
    if (unasked) {
        hotplug_go(hotplug_of(vm), (unsigned)device);
        (void)raise(vm);
    }
}

bool platform_remove(struct vm *vm, struct device_item *item)
{
    const struct device_host host = host_of(vm);
    struct device_setup setup = {.bus = board_bus(vm->board), .host = &host};

    return device_list_remove(&vm->life->devices, item, &setup);
}
