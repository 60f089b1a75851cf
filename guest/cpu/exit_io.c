/* Port I/O: IN and OUT straight to the bus; INS and OUTS element by element through the guest's
 * memory. */
#include "arch/x86/cpu.h"
#include "drivers/serial.h"
#include "guest/console/console.h"
#include "guest/vm/vm.h"

/* Exit qualification for I/O instructions */
#define IO_SIZE(q) (((unsigned)(q)&7) + 1)
#define IO_STRING  BIT(4)
#define IO_REP     BIT(5)
#define IO_PORT(q) ((uint16_t)((q) >> 16))

/* Elements done by one exit, so that interrupts get in between. */
#define STRING_BATCH 256

static inline uint32_t port_read(struct vm *vm, uint16_t port, unsigned size)
{
    spin_lock(&vm->board);
    uint32_t value = bus_port_read(&vm->bus, port, size);
    spin_unlock(&vm->board);
    return value;
}

static inline void port_write(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    spin_lock(&vm->board);
    bus_port_write(&vm->bus, port, size, value);
    spin_unlock(&vm->board);
}

static uint64_t add_masked(uint64_t value, uint64_t delta, unsigned width)
{
    /* 16-bit registers keep their upper part, 32-bit ones lose it. */
    if (width == 64)
        return value + delta;
    if (width == 32)
        return (uint32_t)(value + delta);
    return (value & ~0xffffULL) | ((value + delta) & 0xffff);
}

/*
 * INS and OUTS. The linear address of the first element and the address size come with the exit;
 * INS always writes through ES, which the hardware has checked, as it has checked OUTS's segment.
 */
static enum exit_result string_io(struct vcpu *v, struct vm_exit *e)
{
    unsigned size = IO_SIZE(e->qualification);
    bool in = e->qualification & IO_IN, rep = e->qualification & IO_REP;

    vmx_decode_exit(e, NEED_GLA | NEED_INSTRUCTION);
    unsigned width = 16u << ((e->instruction >> 7) & 3); /* address size */
    if (width > 64)
        width = 64;
    uint64_t mask = width == 64 ? ~0ULL : BIT(width) - 1;
    uint64_t left = rep ? v->hw.gpr[RCX] & mask : 1, rflags = vmx_rflags();
    uint64_t step = rflags & RFLAGS_DF ? -(uint64_t)size : size;
    enum gpr pointer = in ? RDI : RSI;
    uint64_t linear = e->gla;
    unsigned batch = rflags & RFLAGS_TF ? 1 : STRING_BATCH; /* each repetition traps */

    for (unsigned n = 0; left && n < batch; n++) {
        uint32_t value = 0;
        if (in) {
            /* Where it goes is found out first: a device gives a byte away only once. */
            if (linear_writable(v, linear, size) < 0)
                return EXIT_RESUME;
            value = port_read(v->vm, IO_PORT(e->qualification), size);
            if (linear_write(v, linear, &value, size) < 0)
                return EXIT_RESUME;
        } else {
            if (linear_read(v, linear, &value, size) < 0)
                return EXIT_RESUME;
            port_write(v->vm, IO_PORT(e->qualification), size, value);
        }
        linear += step;
        left--;
        v->hw.gpr[pointer] = add_masked(v->hw.gpr[pointer], step, width);
        if (rep)
            v->hw.gpr[RCX] = add_masked(v->hw.gpr[RCX], (uint64_t)-1, width);
    }
    if (!left)
        return EXIT_SKIP;
    vmx_end_repetition();
    return EXIT_RESUME;
}

enum exit_result exit_io(struct vcpu *v, struct vm_exit *e)
{
    uint64_t q = e->qualification;
    unsigned size = IO_SIZE(q);

    if (UNLIKELY(q & IO_STRING))
        return string_io(v, e);
    if (q & IO_IN) {
        uint32_t value = port_read(v->vm, IO_PORT(q), size);
        if (size == 4)
            v->hw.gpr[RAX] = value;
        else if (size == 1)
            v->hw.gpr[RAX] = (v->hw.gpr[RAX] & ~0xffULL) | (uint8_t)value;
        else
            v->hw.gpr[RAX] = (v->hw.gpr[RAX] & ~0xffffULL) | (uint16_t)value;
    } else {
        uint32_t value = (uint32_t)v->hw.gpr[RAX];
        port_write(v->vm, IO_PORT(q), size, size == 4 ? value : value & ((1u << size * 8) - 1));
    }
    /* A guest that waits for its UART with interrupts off: the host's port may not be able to
     * interrupt it. */
    if (UNLIKELY(uart_output_waits(&v->vm->uart))) {
        serial_poll(&com1);
        console_retry(v->vm);
    }
    return EXIT_SKIP;
}
