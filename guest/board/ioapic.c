/* The I/O APIC (82093AA data sheet, "I/O APIC Registers"; version 20h adds the EOI register). */
#include "guest/board/ioapic.h"
#include "arch/x86/lib/errno.h"

/* Registers in memory */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define IOEOI    0x40

/* Registers behind the window */
#define IOAPICID  0x00
#define IOAPICVER 0x01
#define IOAPICARB 0x02
#define IOREDTBL  0x10u
#define VERSION   0x20u
#define ID_SHIFT  24
#define ID_MASK   0xfu

/* Redirection entry */
#define ENTRY_VECTOR(e) ((uint8_t)(e))
#define ENTRY_MODE(e)   (((e) >> 8) & 7)
#define ENTRY_LOGICAL   BIT(11)
#define ENTRY_REMOTE    BIT(14)
#define ENTRY_LEVEL     BIT(15)
#define ENTRY_MASKED    BIT(16)
#define ENTRY_DEST(e)   ((uint32_t)((e) >> 56))
#define ENTRY_WRITABLE  0xff0000000001afffULL
/* What decides about EOI exits */
#define ENTRY_EOI_BITS (0x7ffULL | ENTRY_LEVEL | ENTRY_MASKED)

#define PIN(n) (1u << (n))

static bool is_level(uint64_t entry)
{
    return (entry & ENTRY_LEVEL) && ENTRY_MODE(entry) <= APIC_LOWEST_PRIORITY;
}

static void send(struct ioapic *io, unsigned pin)
{
    uint64_t entry = io->entry[pin];
    bool level = is_level(entry);
    struct apic_message m = {
        .dest = ENTRY_DEST(entry) == 0xff ? APIC_BROADCAST : ENTRY_DEST(entry),
        .vector = ENTRY_VECTOR(entry),
        .mode = ENTRY_MODE(entry),
        .logical = (entry & ENTRY_LOGICAL) != 0,
        .level = level,
    };

    if (ioapic_send(io, &m) && level) {
        io->remote_irr |= PIN(pin);
    }
}

/* A level-triggered pin that is asserted, unmasked and not yet awaiting an EOI sends. */
static void send_level(struct ioapic *io, unsigned pin)
{
    if (is_level(io->entry[pin]) && !(io->entry[pin] & ENTRY_MASKED) &&
        (io->asserted & ~io->remote_irr & PIN(pin))) {
        send(io, pin);
    }
}

static void show(struct ioapic *io);

void ioapic_set_irq(struct ioapic *io, unsigned pin, bool level)
{
    if (pin >= IOAPIC_PINS || ((io->asserted >> pin) & 1) == level) {
        return;
    }
    io->asserted ^= PIN(pin);
    /* An edge at a masked pin is lost, as in the 82093AA. */
    if (!level || (io->entry[pin] & ENTRY_MASKED) ||
        (is_level(io->entry[pin]) && (io->remote_irr & PIN(pin)))) {
        return;
    }
    send(io, pin);
    show(io);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
    for (uint32_t left = io->remote_irr; left != 0; left &= left - 1) {
        unsigned pin = (unsigned)__builtin_ctz(left);
        if (ENTRY_VECTOR(io->entry[pin]) == vector) {
            io->remote_irr &= ~PIN(pin);
            send_level(io, pin);
        }
    }
    show(io);
}

void ioapic_eoi_bitmap(const struct ioapic *io, uint64_t bitmap[4])
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t entry = io->entry[pin];
        if (is_level(entry) && (!(entry & ENTRY_MASKED) || (io->remote_irr & PIN(pin)))) {
            bitmap[ENTRY_VECTOR(entry) / 64] |= BIT(ENTRY_VECTOR(entry) % 64);
        }
    }
}

/* --- registers --- */

static void write_entry(struct ioapic *io, unsigned pin, uint64_t entry)
{
    uint64_t changed = io->entry[pin] ^ entry;

    io->entry[pin] = entry;
    if (!is_level(entry)) {
        io->remote_irr &= ~PIN(pin); /* by which guests of version 11h clear it */
    }
    if (changed & ENTRY_EOI_BITS) {
        ioapic_changed(io);
    }
    send_level(io, pin);
}

static uint32_t read_register(const struct ioapic *io)
{
    unsigned pin = (io->select - IOREDTBL) / 2; /* huge below the table */

    switch (io->select) {
    case IOAPICID:
    case IOAPICARB:
        return (uint32_t)io->id << ID_SHIFT;
    case IOAPICVER:
        return (IOAPIC_PINS - 1) << 16 | VERSION;
    default:
        if (io->select < IOREDTBL || pin >= IOAPIC_PINS) {
            return 0;
        }
        if (io->select & 1) {
            return (uint32_t)(io->entry[pin] >> 32);
        }
        return (uint32_t)io->entry[pin] |
               ((io->remote_irr & PIN(pin)) != 0 ? (uint32_t)ENTRY_REMOTE : 0);
    }
}

static void write_register(struct ioapic *io, uint32_t value)
{
    unsigned pin = (io->select - IOREDTBL) / 2; /* huge below the table */

    if (io->select == IOAPICID) {
        io->id = (value >> ID_SHIFT) & ID_MASK;
        return;
    }
    if (io->select < IOREDTBL || pin >= IOAPIC_PINS) {
        return;
    }
    uint64_t entry = io->entry[pin];
    if (io->select & 1) {
        entry = (uint32_t)entry | (uint64_t)value << 32;
    } else {
        entry = (entry >> 32 << 32) | value;
    }
    write_entry(io, pin, entry & ENTRY_WRITABLE);
}

/*
 * Registers are 32 bits wide; narrower loads get the low bytes, narrower stores only do for
 * IOREGSEL.
 */
static uint64_t mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    struct ioapic *io = CONTAINER_OF(d, struct ioapic, device);
    uint32_t value = 0;

    if (offset == IOWIN) {
        value = read_register(io);
    } else if (offset == IOREGSEL) {
        value = io->select;
    }
    return size < 4 ? value & ((1u << (size * 8)) - 1) : value;
}

static void mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct ioapic *io = CONTAINER_OF(d, struct ioapic, device);

    if (offset == IOREGSEL) {
        io->select = (uint8_t)value;
    } else if (size < 4) {
        return;
    } else if (offset == IOWIN) {
        write_register(io, (uint32_t)value);
    } else if (offset == IOEOI) {
        ioapic_eoi(io, (uint8_t)value);
    }
    show(io);
}

/* Of all offsets only these two read as anything but 0. */
static void show(struct ioapic *io)
{
    if (!io->read_page)
        return;
    io->read_page[IOREGSEL / 4] = io->select;
    io->read_page[IOWIN / 4] = read_register(io);
}

void ioapic_set_read_page(struct ioapic *io, void *page)
{
    io->read_page = page;
    show(io);
}

/* --- life --- */

static void reset(struct device *d)
{
    struct ioapic *io = CONTAINER_OF(d, struct ioapic, device);

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->entry[pin] = ENTRY_MASKED;
    }
    io->asserted = 0;
    io->remote_irr = 0;
    io->select = 0;
    io->id = io->power_on_id;
    ioapic_changed(io);
    show(io);
}

static void save(struct device *d, struct state_writer *w)
{
    const struct ioapic *io = CONTAINER_OF(d, struct ioapic, device);

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        state_put_u64(w, io->entry[pin]);
    }
    state_put_u32(w, io->asserted);
    state_put_u32(w, io->remote_irr);
    state_put_u8(w, io->select);
    state_put_u8(w, io->id);
}

static int load(struct device *d, struct state_reader *r)
{
    struct ioapic *io = CONTAINER_OF(d, struct ioapic, device);
    uint32_t level = 0;
    bool valid = true;

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->entry[pin] = state_get_u64(r);
        valid &= !(io->entry[pin] & ~ENTRY_WRITABLE);
        level |= is_level(io->entry[pin]) ? PIN(pin) : 0;
    }
    io->asserted = state_get_u32(r);
    io->remote_irr = state_get_u32(r);
    io->select = state_get_u8(r);
    io->id = state_get_u8(r);
    valid &= io->asserted < PIN(IOAPIC_PINS) && !(io->remote_irr & ~level) && io->id <= ID_MASK;
    if (r->error != NULL || !valid) {
        reset(d);
        return -EBADMSG;
    }
    ioapic_changed(io);
    show(io);
    return 0;
}

static const struct device_ops ioapic_ops = {
    .name = "ioapic",
    .version = 1,
    .lock = DEVICE_CHIPS,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .reset = reset,
    .save = save,
    .load = load,
};

void ioapic_init(struct ioapic *io, struct board *board, uint8_t id)
{
    *io = (struct ioapic){
        .device = {.ops = &ioapic_ops, .board = board},
        .id = id & ID_MASK,
        .power_on_id = id & ID_MASK,
    };
    for (unsigned i = 0; i < DEVICE_TIMERS; i++) {
        io->device.deadline[i] = TIMER_OFF;
    }
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->entry[pin] = ENTRY_MASKED;
    }
}
