/* See firmware.h. */
#include "guest/vm/firmware.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "guest/board/ports.h"
#include "guest/devices/fw_cfg.h"
#include "guest/load/acpi.h"
#include "guest/load/acpi_link.h"
#include "guest/load/smbios.h"
#include "guest/vm/boot_order.h"
#include "guest/vm/files.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

#define SLEEP_STATES    6
#define SLEEP_SUPPORTED 0x80 /* of a state; the rest is its SLP_TYP */

#define RAM_RANGES 2
#define BOOT_ORDER "bootorder" /* SeaBIOS and OVMF look for it by this name */

#define PATH_SHOWN ((size_t)100) /* of a file's name, in a line */

struct firmware_items {
    uint8_t tables[GPA_ACPI_SIZE], script[ACPI_LINK_MAX * ACPI_LINK_COMMAND];
    uint8_t anchor[SMBIOS_ANCHOR_SIZE], smbios[SMBIOS_MAX];
    struct e820_entry ram[RAM_RANGES];
    uint16_t cpus;
    char boot_order[BOOT_TEXT_SIZE];
    struct fw_cfg_item item[FW_CFG_ITEMS];
    unsigned count;
};

static void add(struct firmware_items *f, uint16_t key, const char *name, const void *data,
                size_t size)
{
    f->item[f->count++] =
        (struct fw_cfg_item){.key = key, .name = name, .data = data, .size = (uint32_t)size};
}

static int add_acpi(struct firmware_items *f, struct vm *vm)
{
    const struct acpi_platform platform = {.cpus = vm->vcpu_count,
                                           .slots = platform_slots(vm),
                                           .display = config_has_display(vm->config)};
    int size = acpi_build(&platform, f->tables, sizeof(f->tables)), script;

    if (size < 0)
        return size;
    script = acpi_link(f->tables, (size_t)size, f->script, ACPI_LINK_MAX);
    if (script < 0)
        return script;
    add(f, 0, ACPI_LINK_RSDP, f->tables, ACPI_RSDP_SIZE);
    add(f, 0, ACPI_LINK_TABLES, f->tables + ACPI_LINK_TABLES_AT,
        (size_t)size - ACPI_LINK_TABLES_AT);
    add(f, 0, ACPI_LINK_SCRIPT, f->script, (size_t)script);
    return 0;
}

/* Each range in one piece, from 0 on: OVMF takes what is behind a hole for none. */
static void add_ram(struct firmware_items *f, const struct gpa_layout *layout)
{
    bool high = layout->high_top > GPA_4G;

    f->ram[0] = (struct e820_entry){0, layout->low_top, E820_RAM};
    f->ram[1] = (struct e820_entry){GPA_4G, layout->high_top - GPA_4G, E820_RAM};
    add(f, 0, "etc/e820", f->ram, (high ? RAM_RANGES : 1) * sizeof(f->ram[0]));
}

/* SeaBIOS takes it for that of the function with this vendor and device; OVMF does without. */
static void add_video_bios(struct firmware_items *f, struct vm *vm)
{
    const struct config_span path = vm->config->display;
    struct file file;
    int status = files_find_one(path, &file);

    if (status == 0)
        add(f, 0, "pci1234,1111.rom", file.data, file.size);
    else
        log_warn("corbel.conf:%u: [vm %s]: '%.*s', its video BIOS, cannot be loaded: %s",
                 config_vm_line(vm->config, CONFIG_VM_DISPLAY), vm->name,
                 (int)MIN(path.length, PATH_SHOWN), path.data, files_status_text(status));
}

static void add_boot_order(struct firmware_items *f, const struct vm *vm)
{
    size_t size;

    if (!vm->life->boot.count)
        return;
    size = boot_order(&vm->life->boot, &vm->life->devices, &vm->config->disks, platform_disk_class,
                      f->boot_order);
    add(f, 0, BOOT_ORDER, f->boot_order, size);
}

int firmware_tell(struct vm *vm)
{
    static const uint8_t states[SLEEP_STATES] = {
        [0] = SLEEP_SUPPORTED, [5] = SLEEP_SUPPORTED | PM_SLP_TYP_S5};
    static const uint8_t irq0_is_pin_2 = 1;
    static const uint16_t serial = PORT_UART1, yes = 1, no = 0;
    bool display = config_has_display(vm->config);
    struct firmware_items *f = vm->life->firmware;
    int result;

    if (!f)
        f = vm->life->firmware = heap_alloc(ALIGN_UP(sizeof(*f), PAGE_SIZE));
    if (!f)
        return -ENOMEM;
    f->count = 0;
    f->cpus = (uint16_t)vm->vcpu_count;
    add(f, FW_CFG_CPUS, NULL, &f->cpus, sizeof(f->cpus));
    add(f, FW_CFG_MAX_CPUS, NULL, &f->cpus, sizeof(f->cpus));
    add(f, FW_CFG_NO_GRAPHICS, NULL, display ? &no : &yes, sizeof(yes));
    add(f, FW_CFG_IRQ0_OVERRIDE, NULL, &irq0_is_pin_2, sizeof(irq0_is_pin_2));
    add_ram(f, &vm->life->layout);
    add(f, 0, "etc/system-states", states, sizeof(states));
    add(f, 0, "etc/sercon-port", &serial, sizeof(serial));
    size_t size = smbios_build(vm->name, f->anchor, f->smbios);
    add(f, 0, SMBIOS_ANCHOR, f->anchor, sizeof(f->anchor));
    add(f, 0, SMBIOS_TABLES, f->smbios, size);
    if (display)
        add_video_bios(f, vm);
    add_boot_order(f, vm);
    result = add_acpi(f, vm);
    if (result < 0)
        return result;
    struct device *d = platform_device(vm, &fw_cfg_class);
    fw_cfg_set(CONTAINER_OF(d, struct fw_cfg, dev), f->item, f->count);
    return 0;
}
