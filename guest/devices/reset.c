/* See reset.h. */
#include "guest/devices/reset.h"
#include "arch/x86/lib/errno.h"
#include "guest/board/ports.h"

#define CONTROL_SYSTEM_RESET 0x02 /* a hard reset rather than the CPU's INIT */
#define CONTROL_RESET_CPU    0x04 /* its rising edge resets */
#define CONTROL_FULL_RESET   0x08 /* power-cycles */
#define CONTROL_BITS         (CONTROL_SYSTEM_RESET | CONTROL_FULL_RESET)

#define SYSTEM_A_FAST_RESET 0x01
#define SYSTEM_A_A20        0x02

static uint32_t reset_control_read(struct device *d, uint16_t port, unsigned size)
{
    struct reset_control *r = CONTAINER_OF(d, struct reset_control, dev);

    return port == PORT_RESET_CONTROL ? r->control : r->system_a;
}

static void reset_control_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct reset_control *r = CONTAINER_OF(d, struct reset_control, dev);

    if (port == PORT_RESET_CONTROL) {
        r->control = value & CONTROL_BITS;
        if (value & CONTROL_RESET_CPU)
            device_vm_request(d, VM_REQUEST_RESET, "reset control register");
        return;
    }
    /* As in the ICHs, this bit and the 8042's A20 output are two, and either opens the gate. Both
     * read back as written; there is no gate, as nothing here depends on the wrap at 1 MiB. */
    if ((value & ~r->system_a) & SYSTEM_A_FAST_RESET)
        device_vm_request(d, VM_REQUEST_RESET, "fast reset (port 92h)");
    r->system_a = value & (SYSTEM_A_FAST_RESET | SYSTEM_A_A20);
}

static void reset_control_reset(struct device *d)
{
    struct reset_control *r = CONTAINER_OF(d, struct reset_control, dev);

    r->control = 0;
    r->system_a = SYSTEM_A_A20;
}

static void reset_control_save(struct device *d, struct state_writer *w)
{
    struct reset_control *r = CONTAINER_OF(d, struct reset_control, dev);

    state_put_u8(w, r->control);
    state_put_u8(w, r->system_a);
}

static int reset_control_load(struct device *d, struct state_reader *reader)
{
    struct reset_control *r = CONTAINER_OF(d, struct reset_control, dev);

    r->control = state_get_u8(reader) & CONTROL_BITS;
    r->system_a = state_get_u8(reader) & (SYSTEM_A_FAST_RESET | SYSTEM_A_A20);
    return 0;
}

static const struct device_ops reset_control_ops = {
    .name = "reset",
    .version = 1,
    .port_width = 1,
    .port_read = reset_control_read,
    .port_write = reset_control_write,
    .reset = reset_control_reset,
    .save = reset_control_save,
    .load = reset_control_load,
};

static int reset_control_create(struct device *d, struct device_setup *s)
{
    struct bus_range *port = &CONTAINER_OF(d, struct reset_control, dev)->control_port;
    int error;

    *port = (struct bus_range){
        .device = d, .size = 1, .space = BUS_PORTS, .priority = BUS_OVER, .bytes_only = true};
    error = bus_add_range(s->bus, port);
    return error ? error : bus_place(s->bus, port, PORT_RESET_CONTROL);
}

const struct device_class reset_control_class = {
    .ops = &reset_control_ops,
    .size = sizeof(struct reset_control),
    .ports = {{PORT_SYSTEM_A, 1}},
    .create = reset_control_create,
};
