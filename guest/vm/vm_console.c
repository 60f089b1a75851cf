#include "guest/vm/vm_console.h"

#include "guest/devices/uart.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"

static struct uart *uart(const struct vm *vm)
{
    return CONTAINER_OF(platform_device(vm, &uart_class), struct uart, dev);
}

bool vm_console_takes(const struct vm *vm)
{
    return uart_receive_room(uart(vm)) != 0;
}

void vm_console_type(struct vm *vm, uint8_t byte)
{
    uart_receive(uart(vm), &byte, 1);
}

void vm_console_retry(struct vm *vm)
{
    struct uart *u = uart(vm);

    if (uart_output_waits(u))
        uart_output_ready(u);
}
