/* See keyboard.h. Commands as the 8042 of the PC/AT has them (the "keyboard controller" chapter of
 * its manual). */
#include "guest/devices/keyboard.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"

#define STATUS_OBF      0x01 /* a byte waits at port 60h */
#define STATUS_SYSTEM   0x04 /* the self test has passed */
#define STATUS_COMMAND  0x08 /* the last write went to port 64h */
#define STATUS_UNLOCKED 0x10
#define STATUS_TIMEOUT  0x40 /* the byte stands for no answer from the keyboard */
#define STATUS_KEPT     (STATUS_OBF | STATUS_SYSTEM | STATUS_COMMAND | STATUS_TIMEOUT)

#define CONFIG_IRQ    0x01
#define CONFIG_SYSTEM 0x04
#define CONFIG_OFF    0x10 /* keyboard interface disabled */

#define OUTPUT_NO_RESET 0x01 /* active low */
#define OUTPUT_A20      0x02

enum {
    READ_RAM = 0x20,  /* to 0x3f */
    WRITE_RAM = 0x60, /* to 0x7f; a parameter follows */
    SELF_TEST = 0xaa,
    INTERFACE_TEST = 0xab,
    DISABLE = 0xad,
    ENABLE = 0xae,
    READ_INPUT = 0xc0,
    READ_OUTPUT = 0xd0,
    WRITE_OUTPUT = 0xd1,     /* a parameter follows */
    WRITE_BUFFER = 0xd2,     /* a parameter follows */
    WRITE_AUX_BUFFER = 0xd3, /* a parameter follows */
    WRITE_AUX = 0xd4,        /* a parameter follows */
    A20_OFF = 0xdd,
    A20_ON = 0xdf,
    PULSE = 0xf0, /* to 0xff: output lines whose bit is 0 go low for a moment */
};

static void update_irq(struct keyboard *k)
{
    device_irq(&k->dev, GSI_KEYBOARD, (k->status & STATUS_OBF) && (k->config & CONFIG_IRQ));
}

static void answer(struct keyboard *k, uint8_t byte)
{
    k->data = byte;
    k->status = (k->status & ~STATUS_TIMEOUT) | STATUS_OBF;
}

static void write_output(struct keyboard *k, uint8_t value)
{
    k->output_port = value | OUTPUT_NO_RESET;
    if (!(value & OUTPUT_NO_RESET))
        device_vm_request(&k->dev, VM_REQUEST_RESET, "keyboard controller's reset line");
}

static void write_ram(struct keyboard *k, unsigned at, uint8_t value)
{
    if (at != 0) {
        k->ram[at] = value;
        return;
    }
    k->config = value;
    k->status &= ~STATUS_SYSTEM;
    k->status |= value & CONFIG_SYSTEM ? STATUS_SYSTEM : 0;
}

static void parameter(struct keyboard *k, uint8_t command, uint8_t value)
{
    switch (command) {
    case WRITE_OUTPUT:
        write_output(k, value);
        break;
    case WRITE_BUFFER:
        answer(k, value);
        break;
    case WRITE_AUX_BUFFER: /* there is no auxiliary port: silence tells Linux so */
    case WRITE_AUX:
        break;
    default:
        write_ram(k, command & 0x1f, value);
        break;
    }
}

static void write_command(struct keyboard *k, uint8_t command)
{
    k->command = 0;
    switch (command) {
    case READ_RAM ... READ_RAM + 0x1f:
        answer(k, command == READ_RAM ? k->config : k->ram[command & 0x1f]);
        break;
    case WRITE_RAM ... WRITE_RAM + 0x1f:
    case WRITE_OUTPUT ... WRITE_AUX:
        k->command = command;
        break;
    case SELF_TEST:
        k->status |= STATUS_SYSTEM;
        k->config = CONFIG_SYSTEM | CONFIG_OFF;
        answer(k, 0x55);
        break;
    case INTERFACE_TEST:
        answer(k, 0);
        break;
    case DISABLE:
        k->config |= CONFIG_OFF;
        break;
    case ENABLE:
        k->config &= ~CONFIG_OFF;
        break;
    case READ_INPUT:
        answer(k, 0x80); /* not locked */
        break;
    case READ_OUTPUT:
        answer(k, k->output_port);
        break;
    case A20_OFF:
        k->output_port &= ~OUTPUT_A20;
        break;
    case A20_ON:
        k->output_port |= OUTPUT_A20;
        break;
    case PULSE ... 0xff:
        if (!(command & OUTPUT_NO_RESET))
            device_vm_request(&k->dev, VM_REQUEST_RESET, "keyboard controller (pulsed reset line)");
        break;
    default: /* not known to this controller: no answer */
        break;
    }
}

static uint32_t keyboard_read(struct device *d, uint16_t port, unsigned size)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);

    if (port == PORT_KEYBOARD)
        return k->status | STATUS_UNLOCKED;
    k->status &= ~(STATUS_OBF | STATUS_TIMEOUT);
    update_irq(k);
    return k->data;
}

static void keyboard_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);
    uint8_t command = k->command;

    if (port == PORT_KEYBOARD) {
        k->status |= STATUS_COMMAND;
        write_command(k, (uint8_t)value);
    } else {
        k->status &= ~STATUS_COMMAND;
        k->command = 0;
        if (command != 0) {
            parameter(k, command, (uint8_t)value);
        } else {
            /* For the keyboard, which is not there: the controller reports that its clock never
             * came. */
            answer(k, 0xfe);
            k->status |= STATUS_TIMEOUT;
        }
    }
    update_irq(k);
}

static void keyboard_reset(struct device *d)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);

    k->status = STATUS_SYSTEM;
    k->config = CONFIG_SYSTEM | CONFIG_OFF;
    k->output_port = OUTPUT_NO_RESET | OUTPUT_A20;
    k->data = 0;
    k->command = 0;
    memset(k->ram, 0, sizeof(k->ram));
}

static void keyboard_save(struct device *d, struct state_writer *w)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);

    state_put_u8(w, k->status);
    state_put_u8(w, k->config);
    state_put_u8(w, k->output_port);
    state_put_u8(w, k->data);
    state_put_u8(w, k->command);
    state_put(w, k->ram, sizeof(k->ram));
}

static int keyboard_load(struct device *d, struct state_reader *r)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);

    k->status = state_get_u8(r) & STATUS_KEPT;
    k->config = state_get_u8(r);
    k->output_port = state_get_u8(r);
    k->data = state_get_u8(r);
    k->command = state_get_u8(r);
    state_get(r, k->ram, sizeof(k->ram));
    return 0;
}

static const struct device_ops keyboard_ops = {
    .name = "keyboard",
    .version = 1,
    .port_width = 1,
    .port_read = keyboard_read,
    .port_write = keyboard_write,
    .reset = keyboard_reset,
    .save = keyboard_save,
    .load = keyboard_load,
};

const struct device_class keyboard_class = {
    .ops = &keyboard_ops,
    .size = sizeof(struct keyboard),
    .ports = {{PORT_KEYBOARD_DATA, 1}, {PORT_KEYBOARD, 1}},
};
