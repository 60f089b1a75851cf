/* See pci.h. */
#include "guest/board/pci.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/board/ports.h"

#define ADDRESS_ENABLE   BIT(31)
#define ADDRESS_BITS     0x80fffffcu
#define HEADER_MULTI     0x80
#define BAR_MEMORY_FLAGS 0xf
#define BAR_IO_FLAGS     0x3

/* Of the host bridge: where ECAM is, how long, and whether. */
#define PCIEXBAR              0x60
#define PCIEXBAR_ENABLE       BIT(0)
#define PCIEXBAR_LENGTH_SHIFT 1 /* 256 MiB for 256 buses, 128 MiB, 64 MiB; there is bus 0 only */
#define PCIEXBAR_LENGTH       (3u << PCIEXBAR_LENGTH_SHIFT)
#define PCIEXBAR_MAX          (256 * MIB)
#define PCIEXBAR_LOW          0xfc000007u /* bits that can be written; */
#define PCIEXBAR_HIGH         0xfu        /* of its upper half */

static uint32_t get(const uint8_t *bytes, unsigned size)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)bytes[i] << (8 * i);
    return value;
}

static void put(uint8_t *bytes, unsigned size, uint32_t value)
{
    for (unsigned i = 0; i < size; i++)
        __atomic_store_n(&bytes[i], (uint8_t)(value >> (8 * i)), __ATOMIC_RELAXED);
}

/* --- functions --- */

void pci_function_init(struct pci_function *f, const struct pci_function_ops *ops, uint16_t vendor,
                       uint16_t device, uint32_t class_code)
{
    memset(f, 0, sizeof(*f));
    f->ops = ops;
    put(f->config + PCI_VENDOR_ID, 2, vendor);
    put(f->config + PCI_DEVICE_ID, 2, device);
    put(f->config + PCI_PROG_IF, 3, class_code);
    put(f->writable + PCI_COMMAND, 2,
        PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
}

int pci_function_bar(struct pci_function *f, unsigned bar, uint64_t size, unsigned flags)
{
    bool io = flags & PCI_BAR_IO, wide = flags & PCI_BAR_64;
    unsigned at = PCI_BAR0 + 4 * bar;

    if (bar >= PCI_BARS || (wide && bar + 1 >= PCI_BARS) || (io && (wide || size > 0x10000)))
        return -EINVAL;
    if ((size & (size - 1)) != 0 || size < (io ? 4 : 16) || (!wide && size > BIT(31)))
        return -EINVAL;
    put(f->config + at, 4, flags);
    put(f->writable + at, 4, (uint32_t)-size);
    if (wide)
        put(f->writable + at + 4, 4, (uint32_t)(-size >> 32));
    return 0;
}

uint64_t pci_function_bar_base(const struct pci_function *f, unsigned bar)
{
    unsigned at = PCI_BAR0 + 4 * bar;
    uint32_t low, command = get(f->config + PCI_COMMAND, 2);

    if (bar >= PCI_BARS)
        return 0;
    low = get(f->config + at, 4);
    if (low & PCI_BAR_IO)
        return command & PCI_COMMAND_IO ? low & ~(uint32_t)BAR_IO_FLAGS : 0;
    if (!(command & PCI_COMMAND_MEMORY))
        return 0;
    if ((low & PCI_BAR_64) && bar + 1 < PCI_BARS)
        return (uint64_t)get(f->config + at + 4, 4) << 32 | (low & ~(uint32_t)BAR_MEMORY_FLAGS);
    return low & ~(uint32_t)BAR_MEMORY_FLAGS;
}

/* Put what is behind the BARs where they are now. */
static void follow_bars(struct pci_function *f)
{
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        struct bus_range *r = f->range[bar];
        uint64_t base = pci_function_bar_base(f, bar);

        if (!r || (r->placed && r->base == base))
            continue;
        /* A place that cannot be is none. */
        if (base == 0 || bus_place(f->pci->bus, r, base) < 0)
            bus_withdraw(f->pci->bus, r);
    }
}

int pci_function_map(struct pci_function *f, unsigned bar, struct bus *bus, struct bus_range *range)
{
    int error = bar < PCI_BARS ? bus_add_range(bus, range) : -EINVAL;

    if (error == 0)
        f->range[bar] = range;
    return error;
}

int pci_function_capability(struct pci_function *f, uint8_t id, unsigned size)
{
    unsigned at = f->capabilities_end ? f->capabilities_end : PCI_FIRST_CAPABILITY;
    uint8_t *link = &f->config[PCI_CAPABILITIES];

    if (size > sizeof(f->config) - at)
        return -ENOSPC;
    while (*link)
        link = &f->config[*link + 1];
    *link = (uint8_t)at;
    f->config[at] = id;
    f->config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    f->capabilities_end = (uint8_t)MIN(ALIGN_UP(at + size, 4), UINT8_MAX);
    return (int)at;
}

/* --- INTx --- */

/*
 * The pin is up, and the guest has not switched it off. The one is known with the device's lock
 * held, the other with that of config space; whoever has changed either comes here and sees the
 * other's latest.
 */
static bool drives_line(const struct pci_function *f)
{
    return __atomic_load_n(&f->intx, __ATOMIC_RELAXED) &&
           !(__atomic_load_n(&f->config[PCI_COMMAND + 1], __ATOMIC_RELAXED) &
             PCI_COMMAND_INTX_OFF >> 8);
}

static unsigned line_of(const struct pci_function *f)
{
    return pci_intx_line(f->devfn >> 3, f->config[PCI_INTERRUPT_PIN] - 1u);
}

static void update_line(struct pci_function *f)
{
    struct pci *p = f->pci;
    bool level = false;

    spin_lock(&p->intx_lock);
    if (f->config[PCI_INTERRUPT_PIN] && drives_line(f) != f->drives) {
        unsigned line = line_of(f);

        f->drives = !f->drives;
        p->asserted[line] += f->drives ? 1 : -1;
        for (unsigned i = 0; i < PCI_INTX_LINES; i++)
            level |= GSI_PIRQ(i) == GSI_PIRQ(line) && p->asserted[i];
        device_irq(&p->dev, GSI_PIRQ(line), level);
    }
    spin_unlock(&p->intx_lock);
}

void pci_intx(struct pci_function *f, bool level)
{
    __atomic_store_n(&f->intx, level, __ATOMIC_RELAXED);
    update_line(f);
}

/* --- coming and going --- */

/* The size of f's BAR number *bar if that is one for I/O, or for memory and below 4 GiB; else 0.
 * *bar is the last half of one of 64 bits. */
static uint32_t small_bar(const struct pci_function *f, unsigned *bar, bool io)
{
    unsigned at = PCI_BAR0 + 4 * *bar;
    uint32_t mask = get(f->writable + at, 4), flags = f->config[at];

    if (!(flags & PCI_BAR_IO))
        *bar += (flags & PCI_BAR_64) != 0;
    return !!(flags & PCI_BAR_IO) == io ? -mask : 0;
}

/* Where what begins at or before base + size ends of the places that f's BARs begin with; 0: it
 * leaves that free. */
static uint32_t taken(const struct pci_function *f, const uint8_t *config, bool io, uint32_t base,
                      uint32_t size)
{
    uint32_t flags = io ? BAR_IO_FLAGS : BAR_MEMORY_FLAGS;

    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        unsigned at = PCI_BAR0 + 4 * bar;
        uint32_t other = small_bar(f, &bar, io), from = get(config + at, 4) & ~flags;

        if (other && from && from < base + size && base < from + other)
            return from + other;
    }
    return 0;
}

static uint32_t find_place(const struct pci *p, const struct pci_function *f, bool io,
                           uint32_t size)
{
    uint64_t base = ALIGN_UP((uint64_t)(io ? PORT_PCI : GPA_PCI_MEMORY), size);
    uint32_t last = io ? UINT16_MAX : GPA_PCI_MEMORY_END - 1, end = 0;

    for (; base + size - 1 <= last; base = ALIGN_UP((uint64_t)end, size)) {
        end = taken(f, f->config, io, (uint32_t)base, size);
        for (unsigned i = 0; i < ARRAY_SIZE(p->function) && end == 0; i++)
            if (p->function[i])
                end = taken(p->function[i], p->function[i]->initial, io, (uint32_t)base, size);
        if (end == 0)
            return (uint32_t)base;
    }
    return 0;
}

/* BARs get a place each, as firmware would give them one. */
static void give_places(struct pci *p, struct pci_function *f)
{
    for (unsigned bar = 0; bar < PCI_BARS; bar++) {
        unsigned at = PCI_BAR0 + 4 * bar;
        bool io = f->config[at] & PCI_BAR_IO;
        uint32_t size = small_bar(f, &bar, io);

        if (size)
            put(f->config + at, 4, find_place(p, f, io, size) | f->config[at]);
    }
}

bool pci_is_bare(const struct pci *p)
{
    for (unsigned i = 1; i < ARRAY_SIZE(p->function); i++)
        if (p->function[i])
            return false;
    return true;
}

static int add_function(struct pci *p, unsigned devfn, struct pci_function *f)
{
    if (devfn >= ARRAY_SIZE(p->function) || ((devfn & 7) != 0 && !p->function[devfn & ~7u]))
        return -EINVAL;
    if (p->function[devfn])
        return -EEXIST;
    if ((devfn & 7) != 0) {
        p->function[devfn & ~7u]->config[PCI_HEADER_TYPE] |= HEADER_MULTI;
        p->function[devfn & ~7u]->initial[PCI_HEADER_TYPE] |= HEADER_MULTI;
    }
    f->pci = p;
    f->devfn = (uint8_t)devfn;
    give_places(p, f);
    f->config[PCI_INTERRUPT_LINE] = f->config[PCI_INTERRUPT_PIN] ? GSI_PIRQ(line_of(f)) : 0;
    memcpy(f->initial, f->config, sizeof(f->initial));
    p->function[devfn] = f;
    return 0;
}

int pci_add_function(struct pci *p, unsigned devfn, struct pci_function *f)
{
    device_lock(&p->dev);
    int result = add_function(p, devfn, f);
    device_unlock(&p->dev);
    return result;
}

int pci_add_device(struct pci *p, struct pci_function *f)
{
    int result = -ENOSPC;

    device_lock(&p->dev);
    for (unsigned device = 0; device < PCI_DEVICES && result == -ENOSPC; device++)
        if (p->places >> device & 1 && !p->function[PCI_DEVFN(device, 0)])
            result = add_function(p, PCI_DEVFN(device, 0), f);
    device_unlock(&p->dev);
    return result;
}

static bool is_of(const struct pci_function *f, const struct device *d)
{
    for (unsigned bar = 0; f && bar < PCI_BARS; bar++)
        if (f->range[bar] && f->range[bar]->device == d)
            return true;
    return false;
}

void pci_boot_path(const struct pci_function *f, const char *name, const char *behind, char *path)
{
    char function[8] = "";

    if (f->devfn & 7)
        format(function, sizeof(function), ",%x", f->devfn & 7);
    format(path, DEVICE_BOOT_PATH, "/pci@i0cf8/%s@%x%s%s", name, f->devfn >> 3, function, behind);
}

int pci_device_of(const struct pci *p, const struct device *d)
{
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++)
        if (is_of(p->function[i], d))
            return (int)(i >> 3);
    return -ENOENT;
}

void pci_remove_device(struct pci *p, struct device *d)
{
    device_lock(&p->dev);
    device_lock(d);
    if (d->ops->idle)
        (void)d->ops->idle(d, true); /* before the guest can see that it is gone */
    device_unlock(d);
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        struct pci_function *f = p->function[i];

        if (!is_of(f, d))
            continue;
        p->function[i] = NULL;
        put(f->config + PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF); /* from now on, for good */
        follow_bars(f);
        update_line(f);
    }
    device_unlock(&p->dev);
}

static void config_write(struct pci_function *f, unsigned at, unsigned size, uint32_t value)
{
    for (unsigned i = at; i < at + size; i++, value >>= 8) {
        uint8_t byte = (uint8_t)value,
                kept = (f->config[i] & ~f->writable[i]) | (byte & f->writable[i]);

        __atomic_store_n(&f->config[i], kept & ~(byte & f->clearable[i]), __ATOMIC_RELAXED);
    }
    follow_bars(f);
    update_line(f);
    if (f->ops && f->ops->written)
        f->ops->written(f, at, size);
}

static uint32_t config_read(struct pci_function *f, unsigned at, unsigned size)
{
    if (f->ops && f->ops->reading)
        f->ops->reading(f, at, size);
    uint32_t value = get(f->config + at, size);
    if (at <= PCI_STATUS && at + size > PCI_STATUS && __atomic_load_n(&f->intx, __ATOMIC_RELAXED))
        value |= (uint32_t)PCI_STATUS_INTX << 8 * (PCI_STATUS - at);
    return value;
}

/* --- ECAM: 4 KiB for each function, of which the first 256 bytes are there --- */

static struct pci_function *at_ecam(const struct pci *p, uint64_t offset, unsigned size,
                                    unsigned *at)
{
    *at = offset & 0xfff;
    return *at + size <= sizeof(p->bridge.config) ? p->function[offset >> 12 & 0xff] : NULL;
}

static uint64_t ecam_read(struct device *d, uint64_t offset, unsigned size)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    unsigned at;

    if (size == 8)
        return ecam_read(d, offset, 4) | ecam_read(d, offset + 4, 4) << 32;
    struct pci_function *f = at_ecam(p, offset, size, &at);
    return f ? config_read(f, at, size) : UINT32_MAX;
}

static void ecam_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    unsigned at;

    if (size == 8) {
        ecam_write(d, offset, 4, (uint32_t)value);
        ecam_write(d, offset + 4, 4, value >> 32);
        return;
    }
    struct pci_function *f = at_ecam(p, offset, size, &at);
    if (f)
        config_write(f, at, size, (uint32_t)value);
}

/* The register is written in two halves: what is in between is a place like any other. */
static void place_ecam(struct pci_function *bridge)
{
    struct pci *p = bridge->pci;
    uint32_t low = get(bridge->config + PCIEXBAR, 4), high = get(bridge->config + PCIEXBAR + 4, 4);
    unsigned length = (low & PCIEXBAR_LENGTH) >> PCIEXBAR_LENGTH_SHIFT;
    uint64_t base = ((uint64_t)high << 32 | low) & ~((PCIEXBAR_MAX >> length) - 1);

    if (!(low & PCIEXBAR_ENABLE) || bus_place(p->bus, &p->ecam, base) < 0)
        bus_withdraw(p->bus, &p->ecam);
}

static void bridge_written(struct pci_function *bridge, unsigned offset, unsigned size)
{
    struct pci *p = bridge->pci;

    place_ecam(bridge);
    if (p->bridge_written)
        p->bridge_written(p->bridge_owner, bridge->config);
}

static const struct pci_function_ops bridge_ops = {.written = bridge_written};

void pci_bridge_registers(struct pci *p, unsigned at, const uint8_t *value, const uint8_t *writable,
                          unsigned count, void (*written)(struct device *d, const uint8_t *config),
                          struct device *d)
{
    memcpy(p->bridge.config + at, value, count);
    memcpy(p->bridge.initial + at, value, count);
    memcpy(p->bridge.writable + at, writable, count);
    p->bridge_owner = d;
    p->bridge_written = written;
}

/* --- configuration mechanism #1 --- */

/* The function that the address register selects for a data access at port, and the offset in its
 * config space. */
static struct pci_function *selected(const struct pci *p, uint16_t port, unsigned *offset)
{
    *offset = (p->address & 0xfc) + (port & 3);
    /* Bus 0 only: bits 23-16 of the address are the bus. */
    if (!(p->address & ADDRESS_ENABLE) || (p->address >> 16 & 0xff) != 0)
        return NULL;
    return p->function[p->address >> 8 & 0xff];
}

static uint32_t pci_read(struct device *d, uint16_t port, unsigned size)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    struct pci_function *f;
    unsigned offset;

    if (port < PORT_PCI_DATA) {
        if (port == PORT_PCI_ADDRESS && size == 4)
            return p->address;
        return UINT32_MAX;
    }
    f = selected(p, port, &offset);
    if (!f || offset + size > sizeof(f->config))
        return UINT32_MAX;
    return config_read(f, offset, size);
}

static void pci_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    struct pci_function *f;
    unsigned offset;

    if (port < PORT_PCI_DATA) {
        /* The address register exists for whole dwords only: Linux writes a byte to CFBh to see
         * that. */
        if (port == PORT_PCI_ADDRESS && size == 4)
            p->address = value & ADDRESS_BITS;
        return;
    }
    f = selected(p, port, &offset);
    if (f && offset + size <= sizeof(f->config))
        config_write(f, offset, size, value);
}

/* --- life --- */

static void pci_reset(struct device *d)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);

    p->address = 0;
    /* A device's interrupt may come from another VM's processor, until that is reset, too. */
    spin_lock(&p->intx_lock);
    memset(p->asserted, 0, sizeof(p->asserted)); /* the lines are low */
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        struct pci_function *f = p->function[i];

        if (!f)
            continue;
        __atomic_store_n(&f->intx, false, __ATOMIC_RELAXED);
        f->drives = false;
        memcpy(f->config, f->initial, sizeof(f->config));
    }
    spin_unlock(&p->intx_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        struct pci_function *f = p->function[i];

        if (!f)
            continue;
        follow_bars(f);
        if (f->ops && f->ops->written)
            f->ops->written(f, 0, sizeof(f->config));
    }
}

static void pci_save(struct device *d, struct state_writer *w)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);

    state_put_u32(w, p->address);
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        if (!p->function[i])
            continue;
        state_put_u8(w, (uint8_t)i);
        state_put(w, p->function[i]->config, sizeof(p->function[i]->config));
        state_put_u8(w, __atomic_load_n(&p->function[i]->intx, __ATOMIC_RELAXED));
    }
}

/* What neither the guest nor the device can change has to be what it is here. */
static bool load_config(struct pci_function *f, const uint8_t *config, bool intx)
{
    for (unsigned i = 0; i < sizeof(f->config); i++) {
        uint8_t variable = f->writable[i] | f->clearable[i] | f->changeable[i];

        if ((config[i] ^ f->config[i]) & ~variable)
            return false;
    }
    spin_lock(&f->pci->intx_lock);
    memcpy(f->config, config, sizeof(f->config));
    __atomic_store_n(&f->intx, intx, __ATOMIC_RELAXED);
    f->drives = drives_line(f) && f->config[PCI_INTERRUPT_PIN];
    if (f->drives)
        f->pci->asserted[line_of(f)]++;
    spin_unlock(&f->pci->intx_lock);
    follow_bars(f);
    if (f->ops && f->ops->written)
        f->ops->written(f, 0, sizeof(f->config));
    return true;
}

static int pci_load(struct device *d, struct state_reader *r)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    uint8_t config[256];

    p->address = state_get_u32(r) & ADDRESS_BITS;
    spin_lock(&p->intx_lock);
    memset(p->asserted, 0, sizeof(p->asserted));
    spin_unlock(&p->intx_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        if (!p->function[i])
            continue;
        if (state_get_u8(r) != i)
            return -EBADMSG;
        state_get(r, config, sizeof(config));
        if (!load_config(p->function[i], config, state_get_u8(r) & 1))
            return -EBADMSG;
    }
    return 0;
}

static const struct device_ops pci_ops = {
    .name = "pci",
    .version = 2,
    .lock = DEVICE_OUTER,
    .port_read = pci_read,
    .port_write = pci_write,
    .mmio_read = ecam_read,
    .mmio_write = ecam_write,
    .reset = pci_reset,
    .save = pci_save,
    .load = pci_load,
};

static int pci_create(struct device *d, struct device_setup *s)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    int error;

    p->bus = s->bus;
    p->places = ~(UINT32_C(1) << (PCI_LPC >> 3) | 1); /* 0 is the host bridge */
    spin_init(&p->intx_lock, RANK_INTX);
    /* The Q35's host bridge: Linux trusts mechanism #1 only where it finds a host bridge, and OVMF
     * and SeaBIOS know the platform by its id and this subsystem. */
    pci_function_init(&p->bridge, &bridge_ops, 0x8086, 0x29c0, 0x060000);
    put(p->bridge.config + PCI_SUBSYSTEM_VENDOR_ID, 4, 0x11001af4);
    put(p->bridge.config + PCIEXBAR, 4, GPA_ECAM | PCIEXBAR_ENABLE);
    put(p->bridge.writable + PCIEXBAR, 4, PCIEXBAR_LOW);
    put(p->bridge.writable + PCIEXBAR + 4, 4, PCIEXBAR_HIGH);
    p->bridge.pci = p;
    memcpy(p->bridge.initial, p->bridge.config, sizeof(p->bridge.initial));
    p->function[0] = &p->bridge;
    s->pci = p;
    p->ecam = (struct bus_range){
        .device = d, .size = GPA_ECAM_SIZE, .space = BUS_MEMORY, .priority = BUS_FIXED};
    error = bus_add_range(s->bus, &p->ecam);
    return error ? error : bus_place(s->bus, &p->ecam, GPA_ECAM);
}

const struct device_class pci_class = {
    .ops = &pci_ops,
    .size = sizeof(struct pci),
    .ports = {{PORT_PCI_ADDRESS, 8}},
    .create = pci_create,
};
