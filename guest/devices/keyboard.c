/* See keyboard.h. Commands as the 8042 of the PC/AT has them (the "keyboard controller" chapter of
 * its manual). */
#include "guest/devices/keyboard.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"
#include "guest/devices/ps2/input.h"

#define STATUS_OBF      0x01 /* a byte waits at port 60h */
#define STATUS_SYSTEM   0x04 /* the self test has passed */
#define STATUS_COMMAND  0x08 /* the last write went to port 64h */
#define STATUS_UNLOCKED 0x10
#define STATUS_AUX      0x20 /* the byte is of the mouse's port; with two ports */
#define STATUS_TIMEOUT  0x40 /* the byte stands for no answer from the keyboard */
#define STATUS_KEPT     (STATUS_OBF | STATUS_SYSTEM | STATUS_COMMAND | STATUS_AUX | STATUS_TIMEOUT)

#define CONFIG_IRQ    0x01
#define CONFIG_SYSTEM 0x04
#define CONFIG_OFF    0x10 /* keyboard interface disabled */
/* With two ports: */
#define CONFIG_AUX_IRQ   0x02
#define CONFIG_AUX_OFF   0x20
#define CONFIG_TRANSLATE 0x40 /* what the keyboard says becomes scan code set 1 */

#define OUTPUT_NO_RESET 0x01 /* active low */
#define OUTPUT_A20      0x02

enum {
    READ_RAM = 0x20,  /* to 0x3f */
    WRITE_RAM = 0x60, /* to 0x7f; a parameter follows */
    DISABLE_AUX = 0xa7,
    ENABLE_AUX = 0xa8,
    AUX_TEST = 0xa9,
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
    bool full = k->status & STATUS_OBF, aux = k->status & STATUS_AUX;

    device_irq(&k->dev, GSI_KEYBOARD, full && !aux && (k->config & CONFIG_IRQ));
    if (k->ports)
        device_irq(&k->dev, GSI_MOUSE, full && aux && (k->config & CONFIG_AUX_IRQ));
}

static void give(struct keyboard *k, uint8_t byte, bool aux)
{
    k->data = byte;
    k->status &= ~(STATUS_TIMEOUT | STATUS_AUX);
    k->status |= STATUS_OBF | (aux ? STATUS_AUX : 0);
}

static void answer_as(struct keyboard *k, uint8_t byte, bool aux)
{
    if (!k->ports || !(k->status & STATUS_OBF)) {
        give(k, byte, aux);
        return;
    }
    k->held = true;
    k->held_aux = aux;
    k->held_byte = byte;
}

static void answer(struct keyboard *k, uint8_t byte)
{
    answer_as(k, byte, false);
}

/* --- what is plugged in --- */

/* The keyboard's next byte as the guest gets it; -1: there is none. A break code's first byte
 * becomes a bit of the next one. */
static int next_code(struct keyboard *k)
{
    int byte = ps2_take(&k->ports->keyboard.out);

    if (byte < 0 || !(k->config & CONFIG_TRANSLATE))
        return byte;
    if (byte == PS2_BREAK) {
        byte = ps2_take(&k->ports->keyboard.out);
        return byte < 0 ? PS2_BREAK : ps2_translated((uint8_t)byte) | 0x80;
    }
    return byte < 0x80 || byte == PS2_F7 ? ps2_translated((uint8_t)byte) : byte;
}

bool keyboard_is_on(const struct keyboard *k)
{
    return !(k->config & CONFIG_OFF);
}

void keyboard_fill(struct keyboard *k)
{
    int byte = -1;

    if (!(k->status & STATUS_OBF) && k->held) {
        k->held = false;
        give(k, k->held_byte, k->held_aux);
    }
    if (!(k->status & STATUS_OBF) && keyboard_is_on(k) && (byte = next_code(k)) >= 0)
        give(k, (uint8_t)byte, false);
    if (!(k->status & STATUS_OBF) && !(k->config & CONFIG_AUX_OFF)) {
        ps2_mouse_report(&k->ports->mouse);
        byte = ps2_take(&k->ports->mouse.out);
        if (byte >= 0)
            give(k, (uint8_t)byte, true);
    }
    update_irq(k);
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
    case WRITE_AUX_BUFFER: /* where there is no such port silence tells Linux so */
        if (k->ports)
            answer_as(k, value, true);
        break;
    case WRITE_AUX:
        if (!k->ports)
            break;
        k->config &= ~CONFIG_AUX_OFF; /* as what is sent to the keyboard */
        ps2_mouse_write(&k->ports->mouse, value);
        break;
    default:
        write_ram(k, command & 0x1f, value);
        break;
    }
}

static uint8_t initial_config(const struct keyboard *k)
{
    return CONFIG_SYSTEM | CONFIG_OFF | (k->ports ? CONFIG_AUX_OFF | CONFIG_TRANSLATE : 0);
}

static void aux_command(struct keyboard *k, uint8_t command)
{
    if (command == AUX_TEST)
        answer(k, 0);
    else if (command == ENABLE_AUX)
        k->config &= ~CONFIG_AUX_OFF;
    else
        k->config |= CONFIG_AUX_OFF;
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
        k->config = initial_config(k);
        answer(k, 0x55);
        break;
    case INTERFACE_TEST:
        answer(k, 0);
        break;
    case DISABLE_AUX ... AUX_TEST:
        if (k->ports)
            aux_command(k, command);
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
    uint8_t byte = k->data;
    k->status &= ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
    update_irq(k);
    if (k->ports) {
        keyboard_fill(k);
        k->ports->taken(k->ports);
    }
    return byte;
}

static void keyboard_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);
    uint8_t command = k->command;
    bool was_on = keyboard_is_on(k);

    if (port == PORT_KEYBOARD) {
        k->status |= STATUS_COMMAND;
        write_command(k, (uint8_t)value);
    } else {
        k->status &= ~STATUS_COMMAND;
        k->command = 0;
        if (command != 0) {
            parameter(k, command, (uint8_t)value);
        } else if (k->ports) {
            k->config &= ~CONFIG_OFF; /* what is sent there switches its port on */
            ps2_keyboard_write(&k->ports->keyboard, (uint8_t)value);
        } else {
            /* For the keyboard, which is not there: the controller reports that its clock never
             * came. */
            answer(k, 0xfe);
            k->status |= STATUS_TIMEOUT;
        }
    }
    if (k->ports)
        keyboard_fill(k);
    if (k->ports && !was_on && keyboard_is_on(k))
        k->ports->taken(k->ports);
    update_irq(k);
}

static void keyboard_reset(struct device *d)
{
    struct keyboard *k = CONTAINER_OF(d, struct keyboard, dev);

    k->status = STATUS_SYSTEM;
    k->config = initial_config(k);
    k->held = false;
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
    state_put_u8(w, k->held);
    state_put_u8(w, k->held_aux);
    state_put_u8(w, k->held_byte);
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
    k->held = state_get_u8(r) & 1;
    k->held_aux = state_get_u8(r) & 1;
    k->held_byte = state_get_u8(r);
    return 0;
}

static const struct device_ops keyboard_ops = {
    .name = "keyboard",
    .version = 2,
    .port_width = 1,
    .port_read = keyboard_read,
    .port_write = keyboard_write,
    .reset = keyboard_reset,
    .save = keyboard_save,
    .load = keyboard_load,
};

static int keyboard_create(struct device *d, struct device_setup *s)
{
    s->keyboard = CONTAINER_OF(d, struct keyboard, dev);
    return 0;
}

const struct device_class keyboard_class = {
    .ops = &keyboard_ops,
    .size = sizeof(struct keyboard),
    .ports = {{PORT_KEYBOARD_DATA, 1}, {PORT_KEYBOARD, 1}},
    .create = keyboard_create,
};
