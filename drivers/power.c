/* Switching the machine off and restarting it: every way there is, the most regular first. */
#include "arch/x86/apic.h"
#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "drivers/acpi.h"
#include "drivers/machine.h"
#include "drivers/serial.h"
#include "mm/heap.h"
#include "mm/space.h"

#define WAIT_US 100000 /* how long a way gets before the next one is tried */

#define SLP_EN       BIT(13)
#define SLP_TYP(v)   ((v) << 10)
#define SLP_TYP_MASK SLP_TYP(7)
#define SCI_EN       BIT(0)

/* What the ways need of the hand-over and the ACPI tables, copied: the loader's memory is released
 * by then. */
static struct acpi_power acpi;
static uint64_t system_table;
static struct handover_mem *runtime;
static unsigned runtime_count;

#define EFI_MEMORY_RUNTIME BIT(63)

static bool is_runtime(const struct handover_mem *m)
{
    return m->type == HANDOVER_MEM_RUNTIME || (m->efi_attribute & EFI_MEMORY_RUNTIME);
}

void power_init(const struct handover *h)
{
    const struct handover_mem *map = phys_to_virt(h->memory);
    unsigned count = 0;

    (void)acpi_read_power(&acpi);
    for (unsigned i = 0; i < h->memory_count; i++)
        count += is_runtime(&map[i]);
    runtime = heap_alloc(count * sizeof(*runtime));
    if (!runtime)
        return;
    for (unsigned i = 0; i < h->memory_count; i++)
        if (is_runtime(&map[i]))
            runtime[runtime_count++] = map[i];
    system_table = h->system_table;
}

uint16_t power_pm_timer(void)
{
    return acpi.pm_timer;
}

static void poweroff_acpi(void)
{
    uint16_t value;

    if (!acpi.s5)
        return;
    if (!(inw(acpi.pm1a) & SCI_EN) && acpi.smi_command && acpi.acpi_enable) {
        outb(acpi.smi_command, acpi.acpi_enable);
        for (int i = 0; i < 1000 && !(inw(acpi.pm1a) & SCI_EN); i++)
            tsc_delay_us(100);
    }
    value = (uint16_t)(inw(acpi.pm1a) & ~SLP_TYP_MASK);
    outw(acpi.pm1a, (uint16_t)(value | SLP_TYP(acpi.s5_a)));
    outw(acpi.pm1a, (uint16_t)(value | SLP_TYP(acpi.s5_a) | SLP_EN));
    if (acpi.pm1b)
        outw(acpi.pm1b, (uint16_t)(SLP_TYP(acpi.s5_b) | SLP_EN));
    tsc_delay_us(WAIT_US);
}

#define PCI_ADDRESS     0xcf8
#define PCI_DATA        0xcfc
#define PIIX4_PM        (0x80000000u | 1 << 11 | 3 << 8) /* bus 0, device 1, function 3 */
#define PIIX4_PM_ID     0x71138086u
#define PIIX4_PMBA      0x40
#define PIIX4_PMREGMISC 0x80 /* bit 0: the ports are decoded */
#define PIIX4_PMCNTRL   4

static uint32_t pci_read(uint32_t function, unsigned offset)
{
    outl(PCI_ADDRESS, function | offset);
    return inl(PCI_DATA);
}

/*
 * The PIIX4's datasheet, "PMCNTRL": suspend type 0 is soft off. Emulators without ACPI tables
 * (Bochs with OVMF) have this chip.
 */
static void poweroff_piix4(void)
{
    uint16_t ports;

    if (pci_read(PIIX4_PM, 0) != PIIX4_PM_ID || !(pci_read(PIIX4_PM, PIIX4_PMREGMISC) & 1))
        return;
    ports = pci_read(PIIX4_PM, PIIX4_PMBA) & 0xffc0;
    if (!ports)
        return;
    outw(ports + PIIX4_PMCNTRL, SLP_EN);
    tsc_delay_us(WAIT_US);
}

/* Offsets in the UEFI tables (UEFI specification, "EFI System Table" and "EFI Runtime Services
 * Table"). */
#define SYSTEM_TABLE_RUNTIME 88
#define RUNTIME_RESET_SYSTEM 104

enum efi_reset { EFI_RESET_COLD = 0, EFI_RESET_SHUTDOWN = 2 };

typedef void(__attribute__((ms_abi)) * efi_reset_system)(uint32_t type, uint64_t status,
                                                         uint64_t size, void *data);

static void call_firmware(void *arg)
{
    const uint64_t *type = arg;
    uint64_t services = *(const uint64_t *)(system_table + SYSTEM_TABLE_RUNTIME);
    efi_reset_system reset;

    __builtin_memcpy(&reset, (const void *)(services + RUNTIME_RESET_SYSTEM), sizeof(reset));
    reset((uint32_t)*type, 0, 0, NULL);
}

/* The one call into firmware after ExitBootServices. Firmware may do anything there: an exception
 * brings us back. */
static void reset_firmware(uint64_t type)
{
    if (!system_table || space_map_runtime(runtime, runtime_count))
        return;
    trap_try(call_firmware, &type);
}

/*
 * Go on as the boot processor, for which firmware's code is made, and the only one that runs. After
 * a panic the others are stopped already: then it is the one that panicked.
 */
static void run_alone(void (*fn)(void *))
{
    cpu_cli();
    if (this_cpu()->number != 0 && !spin_forsaken)
        cpu_call(0, fn, NULL);
    (void)smp_stop_others();
    if (smp_leave)
        smp_leave();
    serial_flush(&com1);
}

static void poweroff_here(void *arg)
{
    machine_poweroff();
}

void machine_poweroff(void)
{
    static const char bochs[] = "Shutdown";

    run_alone(poweroff_here);
    poweroff_acpi();
    poweroff_piix4();
    reset_firmware(EFI_RESET_SHUTDOWN);
    /* Bochs's own way out; no other machine is known to have anything at that port. */
    for (const char *c = bochs; *c; c++)
        outb(0x8900, (uint8_t)*c);
    log_warn("this machine does not say how to switch it off; it is safe to do it by hand now");
    serial_flush(&com1);
    for (;;)
        cpu_hlt();
}

#define RESET_CONTROL      0xcf9
#define RESET_CONTROL_HARD 0x02
#define RESET_CONTROL_GO   0x04

static void reset_acpi(void)
{
    volatile uint8_t *reg;

    if (!acpi.reset)
        return;
    if (acpi.reset_register.space == 1) {
        outb((uint16_t)acpi.reset_register.address, acpi.reset_value);
    } else {
        reg = map_mmio(acpi.reset_register.address, 1, CACHE_UC);
        if (reg)
            *reg = acpi.reset_value;
    }
    tsc_delay_us(WAIT_US);
}

#define KEYBOARD_COMMAND 0x64
#define KEYBOARD_RESET   0xfe

static void reset_control(void)
{
    outb(RESET_CONTROL, RESET_CONTROL_HARD);
    outb(RESET_CONTROL, RESET_CONTROL_HARD | RESET_CONTROL_GO);
    tsc_delay_us(WAIT_US);
}

/*
 * Bochs resets this chip's PM base to 0 and leaves its ports decoded, which OVMF takes for a base
 * that is set: it would wait for ever for a timer at port 8.
 */
static void reset_piix4(void)
{
    if (pci_read(PIIX4_PM, 0) != PIIX4_PM_ID)
        return;
    outl(PCI_ADDRESS, PIIX4_PM | PIIX4_PMREGMISC);
    outb(PCI_DATA, 0);
    reset_control();
}

static void reset_here(void *arg)
{
    machine_reset();
}

void machine_reset(void)
{
    static const struct descriptor_table empty;

    run_alone(reset_here);
    reset_acpi();
    reset_piix4();
    reset_firmware(EFI_RESET_COLD);
    reset_control();
    outb(KEYBOARD_COMMAND, KEYBOARD_RESET);
    tsc_delay_us(WAIT_US);
    /* No IDT: the exception, the double fault and the triple fault all fail, and the CPU shuts
     * down. */
    __asm__ volatile("lidt %0; int3" : : "m"(empty));
    for (;;)
        cpu_hlt();
}
