/* From the loader's jump to corbel_main(): the order in which the machine comes up. */
#include "drivers/machine.h"

#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/machine_check.h"
#include "arch/x86/panic.h"
#include "arch/x86/random.h"
#include "arch/x86/smp.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "drivers/acpi.h"
#include "drivers/console.h"
#include "drivers/framebuffer.h"
#include "drivers/ioapic.h"
#include "drivers/pci.h"
#include "drivers/processors.h"
#include "drivers/serial.h"
#include "mm/heap.h"
#include "mm/space.h"

extern uint8_t boot_stack_base[], boot_stack_top[];

static struct percpu boot_cpu;
static struct handover handover;

static const struct stack boot_stack = {(uint64_t)boot_stack_base, (uint64_t)boot_stack_top};

/* Until there is an address space with guard pages, faults share the lower half of the boot stack.
 */
static void early_cpu(void)
{
    struct stack half = {boot_stack.base, boot_stack.base + (boot_stack.top - boot_stack.base) / 2};
    struct percpu_stacks stacks = {.main = boot_stack, .ist = {half, half, half}};

    percpu_load(&boot_cpu, 0, 0, &stacks);
    idt_init();
    idt_load();
}

static void final_cpu(void)
{
    struct percpu_stacks stacks = {.main = boot_stack};

    if (processor_stacks(&stacks))
        panic("no memory for the boot processor's stacks");
    percpu_load(&boot_cpu, 0, 0, &stacks);
}

static void *map_apic(uint64_t physical)
{
    return map_mmio(physical, PAGE_SIZE, CACHE_UC);
}

static void bring_up_interrupts(void)
{
    int error;

    pic_disable();
    if (apic_init(map_apic))
        panic("this CPU has no local APIC");
    apic_enable();
    boot_cpu.apic_id = apic_id();
    smp_add_cpu(&boot_cpu);
    error = host_ioapic_init();
    if (!error)
        error = serial_enable_interrupts(&com1);
    if (error && serial_present(&com1))
        log_warn("no interrupts from the serial port (error %d): it is polled", -error);
    log_debug("APIC id %u in %s mode, timer %s", boot_cpu.apic_id,
              apic_is_x2apic() ? "x2APIC" : "xAPIC",
              apic_timer_is_deadline() ? "by TSC deadline" : "one-shot");
}

static void bring_up_firmware_tables(void)
{
    int error = acpi_init(handover.rsdp, map_table);

    if (error == -ENODEV)
        log_info("firmware has no ACPI tables; using what every PC has");
    else if (error)
        log_warn("firmware's ACPI tables are damaged; using what every PC has");
    power_init(&handover);
}

static void bring_up_framebuffer(void)
{
    const struct handover_framebuffer *fb = &handover.framebuffer;
    int error = framebuffer_init(fb);

    if (!error)
        log_debug("framebuffer %ux%u at %lx", fb->width, fb->height, fb->base);
    else if (fb->base)
        log_warn("no text on the framebuffer (%ux%u, error %d)", fb->width, fb->height, -error);
    else
        log_debug("no framebuffer");
}

/* What firmware left running writes into memory that is ours from here on. */
static void stop_devices(void)
{
    (void)host_pci_init(host_pci_by_ports());
    (void)host_pci_quiet();
}

__attribute__((no_stack_protector)) void kernel_start(struct handover *h)
{
    early_cpu();
    stack_guard_init();
    (void)serial_init(&com1);
    (void)serial_init(&com2);
    console_init();
    if (h->magic != HANDOVER_MAGIC || h->version != HANDOVER_VERSION || h->size < sizeof(*h))
        panic("loader and microkernel do not fit together (hand-over version %u, expected %u)",
              h->version, HANDOVER_VERSION);
    handover = *h;

    stop_devices();
    frame_init(&handover);
    space_init(&handover);
    cpu_setup();
    final_cpu();
    machine_check_start();

    bring_up_framebuffer();
    bring_up_firmware_tables();
    tsc_init(power_pm_timer());
    random_init(heap_alloc);
    bring_up_interrupts();
    corbel_main(&handover);
}
