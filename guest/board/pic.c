/* See pic.h. */
#include "guest/board/pic.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"

#define CASCADE 2 /* the master's input that the slave drives */

#define ICW1          0x10
#define ICW1_ICW4     0x01
#define ICW1_SINGLE   0x02
#define ICW1_LEVEL    0x08
#define ICW4_AUTO_EOI 0x02
#define ICW4_NESTED   0x10
#define OCW3          0x08
#define OCW3_READ_ISR 0x01
#define OCW3_READ     0x02
#define OCW3_POLL     0x04
#define OCW3_SMM      0x20
#define OCW3_SET_SMM  0x40
#define OCW2_EOI      0x20
#define OCW2_SPECIFIC 0x40
#define OCW2_ROTATE   0x80

/* The inputs that may be level triggered: the timer, the keyboard, the cascade, the clock and the
 * FPU may not. */
static const uint8_t elcr_allowed[2] = {0xf8, 0xde};

static uint8_t level_inputs(const struct pic_chip *c)
{
    return c->level_triggered ? 0xff : c->elcr;
}

/* How far input bit n is from the highest priority, which is the input after `lowest`: 0 is most
 * urgent; 8 for none. */
static unsigned best_priority(const struct pic_chip *c, uint8_t inputs)
{
    unsigned first = (c->lowest + 1) & 7;
    uint8_t rotated = (uint8_t)(inputs >> first | inputs << (8 - first));

    return rotated ? (unsigned)__builtin_ctz(rotated) : 8;
}

static unsigned input_of(const struct pic_chip *c, unsigned priority)
{
    return (priority + c->lowest + 1) & 7;
}

/* The input to be served next, or -1. */
static int pending_input(const struct pic_chip *c, bool master)
{
    uint8_t busy = c->isr;
    unsigned request = best_priority(c, c->irr & ~c->imr), current;

    if (request == 8 || c->next_icw != 0)
        return -1;
    if (c->special_mask)
        busy &= ~c->imr; /* masked inputs in service block nobody */
    /* The special fully nested mode: the slave may interrupt itself with something more urgent. */
    if (c->fully_nested && master)
        busy &= ~BIT(CASCADE);
    current = best_priority(c, busy);
    /* In special mask mode everything unmasked but what is in service itself may interrupt. */
    if (c->special_mask ? (busy & BIT(input_of(c, request))) != 0 : request >= current)
        return -1;
    return (int)input_of(c, request);
}

static void set_input(struct pic_chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)BIT(input);
    bool rising = level && !(c->lines & bit);

    c->lines = level ? c->lines | bit : c->lines & ~bit;
    /* A request that is withdrawn before its acknowledgement is forgotten, edge triggered or not.
     */
    if (!level)
        c->irr &= ~bit;
    else if (rising || (level_inputs(c) & bit))
        c->irr |= bit;
}

static void set_output(struct pic *p, bool output)
{
    if (output == p->output)
        return;
    p->output = output;
    if (p->intr)
        p->intr(p->context, output);
}

static void update_output(struct pic *p)
{
    set_input(&p->chip[0], CASCADE, pending_input(&p->chip[1], false) >= 0);
    set_output(p, pending_input(&p->chip[0], true) >= 0);
}

void pic_set_irq(struct pic *p, unsigned irq, bool level)
{
    if (irq > 15 || irq == CASCADE)
        return;
    set_input(&p->chip[irq >> 3], irq & 7, level);
    update_output(p);
}

/* One chip's part of INTA: its request moves to service. The input, or -1 when the request has
 * gone. */
static int acknowledge(struct pic_chip *c, bool master)
{
    int input = pending_input(c, master);

    if (input < 0)
        return -1;
    if (!(level_inputs(c) & BIT(input)))
        c->irr &= ~BIT(input);
    if (!c->auto_eoi)
        c->isr |= BIT(input);
    else if (c->rotate_on_auto_eoi)
        c->lowest = (uint8_t)input;
    return input;
}

int pic_acknowledge(struct pic *p)
{
    int input = acknowledge(&p->chip[0], true), vector;

    if (input == CASCADE) {
        input = acknowledge(&p->chip[1], false);
        vector = p->chip[1].base + (input < 0 ? 7 : input);
    } else {
        vector = p->chip[0].base + (input < 0 ? 7 : input);
    }
    /* A chip's output drops between its requests, so that the next one is an edge for whoever hears
     * it. */
    set_input(&p->chip[0], CASCADE, false);
    set_output(p, false);
    update_output(p);
    return vector;
}

/* --- registers --- */

static void write_icw1(struct pic_chip *c, uint8_t value)
{
    c->icw4_needed = value & ICW1_ICW4;
    c->single = value & ICW1_SINGLE;
    c->level_triggered = value & ICW1_LEVEL;
    c->imr = 0;
    c->isr = 0;
    /* The edge detector starts afresh: a line that is high already must fall and rise again. */
    c->irr = c->lines & level_inputs(c);
    c->lowest = 7;
    c->auto_eoi = c->rotate_on_auto_eoi = c->fully_nested = false;
    c->special_mask = c->read_isr = c->poll = false;
    c->next_icw = 2;
}

static void write_ocw2(struct pic_chip *c, uint8_t value)
{
    unsigned input = value & 7;

    if (!(value & OCW2_SPECIFIC)) {
        uint8_t busy = c->special_mask ? c->isr & ~c->imr : c->isr;
        unsigned priority = best_priority(c, busy);

        if (!(value & OCW2_EOI)) {
            c->rotate_on_auto_eoi = value & OCW2_ROTATE;
            return;
        }
        if (priority == 8)
            return;
        input = input_of(c, priority);
    } else if (!(value & (OCW2_EOI | OCW2_ROTATE))) {
        return; /* no operation */
    }
    if (value & OCW2_EOI)
        c->isr &= ~BIT(input);
    if (value & OCW2_ROTATE)
        c->lowest = (uint8_t)input;
}

static void write_ocw3(struct pic_chip *c, uint8_t value)
{
    if (value & OCW3_POLL)
        c->poll = true;
    else if (value & OCW3_READ)
        c->read_isr = value & OCW3_READ_ISR;
    if (value & OCW3_SET_SMM)
        c->special_mask = value & OCW3_SMM;
}

static void write_data(struct pic_chip *c, uint8_t value)
{
    switch (c->next_icw) {
    case 0:
        c->imr = value;
        break;
    case 2:
        c->base = value & 0xf8;
        c->next_icw = !c->single ? 3 : c->icw4_needed ? 4 : 0;
        break;
    case 3:
        c->icw3 = value;
        c->next_icw = c->icw4_needed ? 4 : 0;
        break;
    default:
        c->auto_eoi = value & ICW4_AUTO_EOI;
        c->fully_nested = value & ICW4_NESTED;
        c->next_icw = 0;
        break;
    }
}

static uint32_t pic_read(struct device *d, uint16_t port, unsigned size)
{
    struct pic *p = CONTAINER_OF(d, struct pic, dev);
    struct pic_chip *c = &p->chip[port >= PORT_PIC_SLAVE];
    int input;

    if (port >= PORT_PIC_ELCR)
        return p->chip[port & 1].elcr;
    if (c->poll) {
        c->poll = false;
        input = acknowledge(c, c == &p->chip[0]);
        if (c == &p->chip[0])
            set_output(p, false);
        else
            set_input(&p->chip[0], CASCADE, false);
        update_output(p);
        return input < 0 ? 0 : 0x80 | (uint32_t)input;
    }
    if (port & 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static void pic_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct pic *p = CONTAINER_OF(d, struct pic, dev);
    struct pic_chip *c = &p->chip[port >= PORT_PIC_SLAVE];
    uint8_t byte = (uint8_t)value;

    if (port >= PORT_PIC_ELCR) {
        c = &p->chip[port & 1];
        c->elcr = byte & elcr_allowed[port & 1];
        c->irr |= c->lines & level_inputs(c);
    } else if (port & 1) {
        write_data(c, byte);
    } else if (byte & ICW1) {
        write_icw1(c, byte);
    } else if (byte & OCW3) {
        write_ocw3(c, byte);
    } else {
        write_ocw2(c, byte);
    }
    update_output(p);
}

/* --- life --- */

static void clear(struct pic *p)
{
    memset(p->chip, 0, sizeof(p->chip));
    for (unsigned i = 0; i < 2; i++) {
        p->chip[i].imr = 0xff; /* undefined in the hardware; silent until somebody initialises it */
        p->chip[i].lowest = 7;
    }
    p->output = false;
}

static void pic_reset(struct device *d)
{
    struct pic *p = CONTAINER_OF(d, struct pic, dev);

    clear(p);
    if (p->intr)
        p->intr(p->context, false);
}

enum flag {
    FLAG_ICW4,
    FLAG_SINGLE,
    FLAG_LEVEL,
    FLAG_AUTO_EOI,
    FLAG_ROTATE,
    FLAG_SMM,
    FLAG_NESTED,
    FLAG_ISR,
    FLAG_POLL
};

static void pic_save(struct device *d, struct state_writer *w)
{
    struct pic *p = CONTAINER_OF(d, struct pic, dev);

    for (unsigned i = 0; i < 2; i++) {
        struct pic_chip *c = &p->chip[i];

        state_put_u8(w, c->lines);
        state_put_u8(w, c->irr);
        state_put_u8(w, c->imr);
        state_put_u8(w, c->isr);
        state_put_u8(w, c->elcr);
        state_put_u8(w, c->base);
        state_put_u8(w, c->icw3);
        state_put_u8(w, c->lowest);
        state_put_u8(w, c->next_icw);
        state_put_u16(w,
                      (uint16_t)(c->icw4_needed << FLAG_ICW4 | c->single << FLAG_SINGLE |
                                 c->level_triggered << FLAG_LEVEL | c->auto_eoi << FLAG_AUTO_EOI |
                                 c->rotate_on_auto_eoi << FLAG_ROTATE |
                                 c->special_mask << FLAG_SMM | c->fully_nested << FLAG_NESTED |
                                 c->read_isr << FLAG_ISR | c->poll << FLAG_POLL));
    }
}

static int load_chip(struct pic_chip *c, unsigned number, struct state_reader *r)
{
    uint16_t flags;

    c->lines = state_get_u8(r);
    c->irr = state_get_u8(r);
    c->imr = state_get_u8(r);
    c->isr = state_get_u8(r);
    c->elcr = state_get_u8(r);
    c->base = state_get_u8(r);
    c->icw3 = state_get_u8(r);
    c->lowest = state_get_u8(r);
    c->next_icw = state_get_u8(r);
    flags = state_get_u16(r);
    c->icw4_needed = flags & BIT(FLAG_ICW4);
    c->single = flags & BIT(FLAG_SINGLE);
    c->level_triggered = flags & BIT(FLAG_LEVEL);
    c->auto_eoi = flags & BIT(FLAG_AUTO_EOI);
    c->rotate_on_auto_eoi = flags & BIT(FLAG_ROTATE);
    c->special_mask = flags & BIT(FLAG_SMM);
    c->fully_nested = flags & BIT(FLAG_NESTED);
    c->read_isr = flags & BIT(FLAG_ISR);
    c->poll = flags & BIT(FLAG_POLL);
    if ((c->elcr & ~elcr_allowed[number]) || (c->base & 7) || c->lowest > 7 || c->next_icw > 4 ||
        c->next_icw == 1 || flags >= BIT(FLAG_POLL + 1))
        return -EBADMSG;
    return 0;
}

static int pic_load(struct device *d, struct state_reader *r)
{
    struct pic *p = CONTAINER_OF(d, struct pic, dev);

    for (unsigned i = 0; i < 2; i++) {
        if (load_chip(&p->chip[i], i, r) != 0) {
            pic_reset(d);
            return -EBADMSG;
        }
    }
    p->output = pending_input(&p->chip[0], true) >= 0;
    if (p->intr)
        p->intr(p->context, p->output);
    return 0;
}

static const struct device_ops pic_ops = {
    .name = "pic",
    .version = 1,
    .port_width = 1,
    .lock = DEVICE_CHIPS,
    .port_read = pic_read,
    .port_write = pic_write,
    .reset = pic_reset,
    .save = pic_save,
    .load = pic_load,
};

void pic_init(struct pic *p, struct board *board, void (*intr)(void *context, bool level),
              void *context)
{
    memset(p, 0, sizeof(*p));
    p->dev.ops = &pic_ops;
    p->dev.board = board;
    p->intr = intr;
    p->context = context;
    clear(p); /* nobody is told: whoever listens may not be there yet */
}

int pic_attach(struct pic *p, struct bus *bus)
{
    int error = bus_add_device(bus, &p->dev);

    if (!error)
        error = bus_add_ports(bus, &p->dev, PORT_PIC_MASTER, 2);
    if (!error)
        error = bus_add_ports(bus, &p->dev, PORT_PIC_SLAVE, 2);
    if (!error)
        error = bus_add_ports(bus, &p->dev, PORT_PIC_ELCR, 2);
    return error;
}
