#include "guest/vm/vm_console.h"

#include "guest/devices/uart.h"
#include "guest/devices/virtio/console.h"
#include "guest/vm/platform.h"
#include "guest/vm/vm.h"

extern const struct device_class virtio_console_class;

static struct uart *uart(const struct vm *vm)
{
    return CONTAINER_OF(platform_device(vm, &uart_class), struct uart, dev);
}

static struct device *ports(const struct vm *vm)
{
    return platform_device(vm, &virtio_console_class);
}

bool vm_console_takes(const struct vm *vm, int port)
{
    if (vm->life->held)
        return false;
    if (port != VM_SERIAL)
        return vconsole_room(ports(vm), (unsigned)port) != 0;
    return uart_receive_room(uart(vm)) != 0;
}

void vm_console_type(struct vm *vm, int port, uint8_t byte)
{
    if (vm->life->held)
        return;
    if (port != VM_SERIAL)
        vconsole_type(ports(vm), (unsigned)port, byte);
    else
        uart_receive(uart(vm), &byte, 1);
}

void vm_console_retry(struct vm *vm)
{
    struct uart *u = uart(vm);

    if (uart_output_waits(u))
        uart_output_ready(u);
}

void vm_port_look(const struct vm *vm, unsigned port, struct vm_port *out)
{
    struct vconsole_port p;

    vconsole_look(ports(vm), port, &p);
    *out = (struct vm_port){p.there, p.open, p.typed, p.dropped};
}

void vm_console_resize(struct vm *vm, uint16_t columns, uint16_t rows)
{
    vconsole_resize(ports(vm), columns, rows);
}
