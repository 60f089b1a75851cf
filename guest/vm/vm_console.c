#include "guest/vm/vm_console.h"

#include "guest/vm/vm.h"

bool vm_console_takes(const struct vm *vm)
{
    return uart_receive_room(&vm->uart) != 0;
}

void vm_console_type(struct vm *vm, uint8_t byte)
{
    spin_lock(&vm->board.lock);
    uart_receive(&vm->uart, &byte, 1);
    spin_unlock(&vm->board.lock);
}

void vm_console_retry(struct vm *vm)
{
    if (!uart_output_waits(&vm->uart))
        return;
    spin_lock(&vm->board.lock);
    uart_output_ready(&vm->uart);
    spin_unlock(&vm->board.lock);
}
