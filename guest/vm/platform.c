/*
 * The virtual machine's board: its devices on the bus, the wires between them, and the answers to
 * what device models and APICs ask of their VM.
 */
#include "arch/x86/cpu.h"
#include "arch/x86/tsc.h"
#include "guest/console/console.h"
#include "guest/board/ports.h"
#include "guest/cpu/probe.h"
#include "guest/vm/vm.h"
#include "guest/board/wall_clock.h"

/* --- what devices ask (guest/board/device.h) --- */

/* ISA interrupts reach the 8259s and the I/O APIC; the 8254's comes in at pin 2 there, as the MADT
 * says. */
void device_irq(struct device *d, unsigned gsi, bool level)
{
    struct vm *vm = d->vm;

    if (((vm->irq_lines >> gsi) & 1) == level)
        return;
    vm->irq_lines ^= 1u << gsi;
    if (UNLIKELY(probes))
        probes->device(vm, TRACE_DEVICE_LINE, gsi, level);
    if (gsi < 16)
        pic_set_irq(&vm->pic, gsi, level);
    ioapic_set_irq(&vm->ioapic, gsi == GSI_PIT ? 2 : gsi, level);
}

uint64_t device_now(struct device *d)
{
    return rdtsc() + d->vm->tsc_offset;
}

uint64_t device_tsc_hz(struct device *d)
{
    return tsc_hz;
}

void device_timer_set(struct device *d, unsigned timer, uint64_t deadline)
{
    struct bus *bus = &d->vm->bus;
    uint64_t before = bus->next_deadline;

    bus_timer_set(bus, d, timer, deadline);
    if (bus->next_deadline == before)
        return;
    if (d->vm->vcpu[0] == this_cpu()->current)
        vcpu_update_deadline(d->vm->vcpu[0]);
    else if (bus->next_deadline < before)
        vcpu_notify(d->vm->vcpu[0], REQUEST_TIMER);
}

int device_memory_read(struct device *d, uint64_t gpa, void *data, size_t size)
{
    return guest_memory_read(&d->vm->memory, gpa, data, size);
}

int device_memory_write(struct device *d, uint64_t gpa, const void *data, size_t size)
{
    return guest_memory_write(&d->vm->memory, gpa, data, size);
}

void device_vm_request(struct device *d, enum vm_request request, const char *why)
{
    vm_request(d->vm, request, why);
}

void device_wall_clock(struct device *d, int64_t *seconds, uint32_t *microseconds)
{
    wall_clock_now(seconds, microseconds);
}

/* --- what local APICs ask (guest/board/lapic.h) --- */

static struct vcpu *vcpu_of(struct lapic *l)
{
    return CONTAINER_OF(l, struct vcpu, lapic);
}

uint64_t lapic_now(struct lapic *l)
{
    return vcpu_tsc(vcpu_of(l));
}

void lapic_send(struct lapic *from, const struct apic_message *m)
{
    struct vm *vm = vcpu_of(from)->vm;

    apic_route(vm->lapic, vm->vcpu_count, from, m);
}

void lapic_notify(struct lapic *target)
{
    vcpu_notify(vcpu_of(target), REQUEST_EVENT);
}

void lapic_event(struct lapic *target, enum apic_mode mode, uint8_t vector)
{
    struct vcpu *v = vcpu_of(target);

    switch (mode) {
    case APIC_NMI:
        vcpu_nmi(v);
        break;
    case APIC_INIT:
        /* The boot processor after INIT would run the firmware's reset vector, and there is no
         * firmware. */
        if (target->base & APIC_BASE_BSP) {
            vm_request(v->vm, VM_REQUEST_RESET, "INIT to the boot processor");
            break;
        }
        __atomic_fetch_and(&v->task.requests, ~(uint32_t)REQUEST_STARTUP, __ATOMIC_SEQ_CST);
        __atomic_store_n(&v->accepts_startup, true, __ATOMIC_SEQ_CST);
        vcpu_notify(v, REQUEST_INIT);
        break;
    case APIC_STARTUP:
        /* The first after an INIT counts, which the vCPU may not have seen yet. */
        if (!__atomic_exchange_n(&v->accepts_startup, false, __ATOMIC_SEQ_CST))
            break;
        __atomic_store_n(&v->startup_vector, vector, __ATOMIC_SEQ_CST);
        vcpu_notify(v, REQUEST_STARTUP);
        break;
    default: /* SMI: no SMM; ExtINT: the 8259s are asked by themselves */
        break;
    }
}

void lapic_broadcast_eoi(struct lapic *l, uint8_t vector)
{
    struct vm *vm = vcpu_of(l)->vm;

    spin_lock(&vm->board);
    ioapic_eoi(&vm->ioapic, vector);
    spin_unlock(&vm->board);
}

void lapic_mode_changed(struct lapic *l)
{
    vcpu_apic_mode(vcpu_of(l));
}

/* --- what the I/O APIC asks (guest/board/ioapic.h) --- */

bool ioapic_send(struct ioapic *io, const struct apic_message *m)
{
    struct vm *vm = io->device.vm;

    return apic_route(vm->lapic, vm->vcpu_count, NULL, m);
}

void ioapic_changed(struct ioapic *io)
{
    struct vm *vm = io->device.vm;

    for (unsigned i = 0; i < vm->vcpu_count; i++)
        vcpu_notify(vm->vcpu[i], REQUEST_EOI_EXITS);
}

/* INTR is wired to LINT0 of all vCPUs. Whoever lets it through to an idle processor takes it. */
static void pic_intr(void *context, bool level)
{
    struct vm *vm = context;

    for (unsigned i = 0; i < vm->vcpu_count; i++) {
        lapic_set_lint(vm->lapic[i], 0, level);
        if (level && lapic_accepts_external(vm->lapic[i]))
            vcpu_notify(vm->vcpu[i], REQUEST_EVENT);
    }
}

/* --- life --- */

int platform_init(struct vm *vm)
{
    struct bus *bus = &vm->bus;
    int result;

    bus_init(bus);
    uart_init(&vm->uart, vm, PORT_UART1, GSI_UART1, console_put, vm);
    pic_init(&vm->pic, vm, pic_intr, vm);
    pit_init(&vm->pit, vm);
    rtc_init(&vm->rtc, vm);
    rtc_set_memory(&vm->rtc, vm->layout.low_top, vm->layout.high_top - GPA_4G);
    acpi_pm_init(&vm->acpi_pm, vm);
    reset_control_init(&vm->reset_control, vm);
    keyboard_init(&vm->keyboard, vm);
    pci_init(&vm->pci, vm, &vm->reset_control.dev);
    ioapic_init(&vm->ioapic, vm, 0);
    ioapic_set_read_page(&vm->ioapic, phys_to_virt(vm->ioapic_page));
    if ((result = uart_attach(&vm->uart, bus)) < 0 || (result = pic_attach(&vm->pic, bus)) < 0 ||
        (result = pit_attach(&vm->pit, bus)) < 0 || (result = rtc_attach(&vm->rtc, bus)) < 0 ||
        (result = acpi_pm_attach(&vm->acpi_pm, bus)) < 0 ||
        (result = reset_control_attach(&vm->reset_control, bus)) < 0 ||
        (result = keyboard_attach(&vm->keyboard, bus)) < 0 ||
        (result = pci_attach(&vm->pci, bus)) < 0 ||
        (result = bus_add_device(bus, &vm->ioapic.device)) < 0 ||
        (result = bus_add_mmio(bus, &vm->ioapic.device, IOAPIC_BASE, IOAPIC_SIZE)) < 0)
        return result;
    return 0;
}

void platform_destroy(struct vm *vm)
{
    bus_destroy(&vm->bus);
}

void platform_reset(struct vm *vm)
{
    spin_lock(&vm->board);
    vm->irq_lines = 0;
    bus_reset(&vm->bus);
    spin_unlock(&vm->board);
}
