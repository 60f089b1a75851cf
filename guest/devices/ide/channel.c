/*
 * A channel: the registers of its two drives, which of them is selected, its interrupt line, and
 * resets by software (ATA/ATAPI-6, "I/O register descriptions", "Single device configurations" and
 * "Software reset protocol").
 */
#include "arch/x86/lib/string.h"
#include "guest/devices/ide/ide.h"

/* The command block. */
enum { DATA, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS };
#define FEATURE ERROR
#define COMMAND STATUS

/* Device control. */
#define NO_INTERRUPT 0x02
#define SOFT_RESET   0x04
#define HIGH_ORDER   0x80 /* the previous contents are read */

#define DEVICE_ONES 0xa0

#define DEVICE_RESET 0x08
#define DIAGNOSTIC   0x90

static struct ide_drive *selected(struct ide_channel *c)
{
    return &c->drive[c->selected];
}

/* Drive 0 answers for drive 1 where that is missing, and the other way round. */
static struct ide_drive *answering(struct ide_channel *c)
{
    return selected(c)->kind ? selected(c) : &c->drive[!c->selected];
}

/* --- its interrupt line --- */

static void update_line(struct ide_channel *c)
{
    bool level = selected(c)->kind && selected(c)->interrupt && !(c->control & NO_INTERRUPT);

    if (level == c->level)
        return;
    c->level = level;
    if (level)
        ide_master_interrupt(c);
    device_irq(&c->ide->dev, c->irq, level);
}

void ide_interrupt(struct ide_drive *d)
{
    d->interrupt = true;
    update_line(d->channel);
}

void ide_complete(struct ide_drive *d, uint8_t status, uint8_t error, bool interrupt)
{
    d->status = status;
    d->error = error;
    if (interrupt)
        ide_interrupt(d);
}

/* --- resets --- */

void ide_sign(struct ide_drive *d)
{
    struct ide_registers *r = &d->registers;

    r->count[0] = r->low[0] = 1;
    r->mid[0] = (uint8_t)d->kind->signature;
    r->high[0] = d->kind->signature >> 8;
    r->device = 0;
    d->status = d->kind->ready;
    d->error = 1; /* "Diagnostic codes": it has passed, or is not there */
    d->interrupt = false;
}

void ide_end(struct ide_drive *d)
{
    ide_cancel(d);
    while (!ide_drained(d))
        ;
    d->draining = false;
}

static void reset_drive(struct ide_drive *d)
{
    if (!d->kind)
        return;
    d->interrupt = false;
    ide_cancel(d);
}

void ide_channel_settle(struct ide_channel *c)
{
    if (c->control & SOFT_RESET)
        return;
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];

        if (d->draining && ide_drained(d)) {
            d->draining = false;
            ide_sign(d);
        }
    }
}

static void diagnose(struct ide_channel *c)
{
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        if (c->drive[i].kind)
            ide_sign(&c->drive[i]);
    c->selected = false;
    ide_interrupt(&c->drive[0]);
}

/* --- device control, alternate status --- */

static uint8_t status_of(const struct ide_channel *c, const struct ide_drive *d)
{
    if (!d->kind)
        return 0;
    if (d->draining || (c->control & SOFT_RESET))
        return IDE_BSY;
    switch (d->phase) {
    case IDE_IDLE:
        return d->status;
    case IDE_BLOCK:
        return d->kind->ready | IDE_DRDY | IDE_DRQ;
    default:
        return IDE_BSY;
    }
}

uint8_t ide_control_read(struct ide_channel *c)
{
    ide_channel_settle(c);
    return status_of(c, selected(c));
}

void ide_control_write(struct ide_channel *c, uint8_t value)
{
    bool begins = (value & SOFT_RESET) && !(c->control & SOFT_RESET);

    c->control = value & (NO_INTERRUPT | SOFT_RESET | HIGH_ORDER);
    if (begins) {
        for (unsigned i = 0; i < IDE_DRIVES; i++)
            reset_drive(&c->drive[i]);
        c->selected = false;
    }
    ide_channel_settle(c);
    update_line(c);
}

/* --- command block --- */

static uint8_t read_register(struct ide_channel *c, unsigned port)
{
    struct ide_drive *d = answering(c);
    const struct ide_registers *r = &d->registers;
    bool previous = c->control & HIGH_ORDER;

    switch (port) {
    case ERROR:
        return previous ? r->feature[1] : d->error;
    case COUNT:
        return r->count[previous];
    case LOW:
        return r->low[previous];
    case MID:
        return r->mid[previous];
    case HIGH:
        return r->high[previous];
    case DEVICE:
        return (uint8_t)(DEVICE_ONES | (r->device & ~IDE_DEV) | (c->selected ? IDE_DEV : 0));
    default:
        ide_channel_settle(c);
        selected(c)->interrupt = false;
        update_line(c);
        return status_of(c, selected(c));
    }
}

static void push(uint8_t bytes[2], uint8_t value)
{
    bytes[1] = bytes[0];
    bytes[0] = value;
}

static void write_drive(struct ide_drive *d, unsigned port, uint8_t value)
{
    struct ide_registers *r = &d->registers;

    switch (port) {
    case FEATURE:
        push(r->feature, value);
        break;
    case COUNT:
        push(r->count, value);
        break;
    case LOW:
        push(r->low, value);
        break;
    case MID:
        push(r->mid, value);
        break;
    case HIGH:
        push(r->high, value);
        break;
    case DEVICE:
        r->device = value;
        break;
    }
}

static void write_command(struct ide_channel *c, uint8_t value)
{
    struct ide_drive *d = selected(c);

    d->interrupt = false;
    update_line(c);
    if (value == DIAGNOSTIC) {
        diagnose(c);
    } else if (d->kind) {
        d->status = d->kind->ready | IDE_DRDY;
        d->error = 0;
        d->kind->command(d, value);
    }
}

/* While a drive is busy or wants data its registers are not the host's to write. */
static bool is_free(const struct ide_channel *c)
{
    bool free = !(c->control & SOFT_RESET);

    for (unsigned i = 0; i < IDE_DRIVES; i++)
        free = free && !c->drive[i].draining && c->drive[i].phase == IDE_IDLE;
    return free;
}

/* DEVICE RESET is a packet device's alone, which takes it at any time. */
static bool reset_device(struct ide_channel *c)
{
    struct ide_drive *d = selected(c);

    if (!d->kind || !d->kind->packet || (c->control & SOFT_RESET))
        return false;
    reset_drive(d);
    ide_channel_settle(c);
    update_line(c);
    return true;
}

static void write_register(struct ide_channel *c, unsigned port, uint8_t value)
{
    c->control &= (uint8_t)~HIGH_ORDER;
    if (port == COMMAND && value == DEVICE_RESET && reset_device(c))
        return;
    if (!is_free(c))
        return;
    if (port == COMMAND) {
        write_command(c, value);
        return;
    }
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        write_drive(&c->drive[i], port, value);
    if (port == DEVICE) {
        c->selected = value & IDE_DEV;
        update_line(c);
    }
}

uint32_t ide_command_read(struct ide_channel *c, unsigned port, unsigned size)
{
    uint32_t value = 0;

    if (port == DATA)
        return ide_data_read(selected(c), size);
    for (unsigned i = 0; i < size && port + i <= STATUS; i++)
        value |= (uint32_t)read_register(c, port + i) << 8 * i;
    return value;
}

void ide_command_write(struct ide_channel *c, unsigned port, unsigned size, uint32_t value)
{
    if (port == DATA) {
        ide_data_write(selected(c), size, value);
        return;
    }
    for (unsigned i = 0; i < size && port + i <= COMMAND; i++, value >>= 8)
        write_register(c, port + i, (uint8_t)value);
}

/* --- power-on and saved state --- */

void ide_channel_reset(struct ide_channel *c)
{
    c->control = 0;
    c->selected = c->level = false;
    c->master = (struct ide_master){0};
    for (unsigned i = 0; i < IDE_DRIVES; i++) {
        struct ide_drive *d = &c->drive[i];

        if (!d->kind)
            continue;
        ide_end(d);
        d->registers = (struct ide_registers){0};
        d->kind->reset(d);
        ide_sign(d);
    }
}

static void save_drive(const struct ide_drive *d, struct state_writer *w)
{
    if (!d->kind)
        return;
    state_put(w, &d->registers, sizeof(d->registers));
    state_put_u8(w, d->status);
    state_put_u8(w, d->error);
    state_put_u8(w, d->interrupt);
    state_put_u8(w, d->draining);
    ide_transfer_save(d, w);
    d->kind->save(d, w);
}

static bool load_drive(struct ide_drive *d, struct state_reader *r)
{
    if (!d->kind)
        return true;
    state_get(r, &d->registers, sizeof(d->registers));
    d->status = state_get_u8(r);
    d->error = state_get_u8(r);
    d->interrupt = state_get_u8(r) & 1;
    d->draining = state_get_u8(r) & 1;
    return ide_transfer_load(d, r) && d->kind->load(d, r);
}

void ide_channel_save(const struct ide_channel *c, struct state_writer *w)
{
    state_put_u8(w, c->control);
    state_put_u8(w, c->selected);
    state_put_u8(w, c->level);
    ide_master_save(c, w);
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        save_drive(&c->drive[i], w);
}

bool ide_channel_load(struct ide_channel *c, struct state_reader *r)
{
    bool good;

    c->control = state_get_u8(r) & (NO_INTERRUPT | SOFT_RESET | HIGH_ORDER);
    c->selected = state_get_u8(r) & 1;
    c->level = state_get_u8(r) & 1;
    good = ide_master_load(c, r);
    for (unsigned i = 0; i < IDE_DRIVES; i++)
        good = good && load_drive(&c->drive[i], r);
    return good;
}
