/* The virtual machine's devices: which there are, and their places on its board. */
#include "guest/board/ports.h"
#include "guest/cpu/wires.h"
#include "guest/vm/events.h"
#include "guest/vm/vm.h"

int platform_init(struct vm *vm)
{
    struct board *board = &vm->board;
    struct bus *bus = &board->bus;
    int result = board_init(board, &vcpu_wires, &vm->memory, phys_to_virt(vm->ioapic_page));

    if (result < 0)
        return result;
    uart_init(&vm->uart, board, PORT_UART1, GSI_UART1, vm_events->output, vm);
    pit_init(&vm->pit, board);
    rtc_init(&vm->rtc, board);
    rtc_set_memory(&vm->rtc, vm->layout.low_top, vm->layout.high_top - GPA_4G);
    acpi_pm_init(&vm->acpi_pm, board);
    reset_control_init(&vm->reset_control, board);
    keyboard_init(&vm->keyboard, board);
    pci_init(&vm->pci, board, &vm->reset_control.dev);
    if ((result = uart_attach(&vm->uart, bus)) < 0 || (result = pit_attach(&vm->pit, bus)) < 0 ||
        (result = rtc_attach(&vm->rtc, bus)) < 0 ||
        (result = acpi_pm_attach(&vm->acpi_pm, bus)) < 0 ||
        (result = reset_control_attach(&vm->reset_control, bus)) < 0 ||
        (result = keyboard_attach(&vm->keyboard, bus)) < 0)
        return result;
    return pci_attach(&vm->pci, bus);
}
