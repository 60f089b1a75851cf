/* See platform.h. */
#include "guest/vm/platform.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "guest/config/disk.h"
#include "guest/cpu/wires.h"
#include "guest/devices/acpi_pm.h"
#include "guest/vm/disks.h"
#include "guest/vm/events.h"
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
    X(keyboard_class)                                                                              \
    X(reset_control_class)                                                                         \
    X(pci_class)                                                                                   \
    X(debug_console_class)                                                                         \
    X(virtio_blk_class)                                                                            \
    X(ide_class)                                                                                   \
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

static const char *line(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number)
{
    const struct vm *vm = context;
    const struct config_lines *lines = config_vm_lines(vm->config, key);

    if (index >= lines->count)
        return NULL;
    *length = lines->item[index].text.length;
    *number = lines->item[index].line;
    return lines->item[index].text.data;
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

int platform_create(struct vm *vm)
{
    const struct device_host host = {
        .context = vm,
        .memory_below_4g = vm->life->layout.low_top,
        .memory_above_4g = vm->life->layout.high_top - GPA_4G,
        .serial_put = vm_events->output,
        .log = log_text,
        .line = line,
        .disk = disk_open,
    };
    int result =
        board_create(&vm->board, &vcpu_wires, vm, &vm->memory, phys_to_virt(vm->life->ioapic_page));

    if (result < 0)
        return result;
    struct device_setup setup = {.board = vm->board, .bus = board_bus(vm->board), .host = &host};
    result = device_list_fill(&vm->life->devices, classes, ARRAY_SIZE(classes), &setup);
    if (result == 0 || !setup.error[0])
        return result;
    log_error("corbel.conf:%u: [vm %s]: %s", setup.line ? setup.line : vm->config->section_line,
              vm->name, setup.error);
    return -EINVAL;
}

bool platform_idle(struct vm *vm)
{
    return bus_idle(board_bus(vm->board), true);
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
