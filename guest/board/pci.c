/* See pci.h. */
#include "guest/board/pci.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"

#define ADDRESS_ENABLE   BIT(31)
#define ADDRESS_BITS     0x80fffffcu
#define HEADER_MULTI     0x80
#define BARS             6
#define BAR_MEMORY_FLAGS 0xf
#define BAR_IO_FLAGS     0x3

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
        bytes[i] = (uint8_t)(value >> (8 * i));
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

    if (bar >= BARS || (wide && bar + 1 >= BARS) || (io && (wide || size > 0x10000)))
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

    if (bar >= BARS)
        return 0;
    low = get(f->config + at, 4);
    if (low & PCI_BAR_IO)
        return command & PCI_COMMAND_IO ? low & ~(uint32_t)BAR_IO_FLAGS : 0;
    if (!(command & PCI_COMMAND_MEMORY))
        return 0;
    if ((low & PCI_BAR_64) && bar + 1 < BARS)
        return (uint64_t)get(f->config + at + 4, 4) << 32 | (low & ~(uint32_t)BAR_MEMORY_FLAGS);
    return low & ~(uint32_t)BAR_MEMORY_FLAGS;
}

int pci_add_function(struct pci *p, unsigned devfn, struct pci_function *f)
{
    if (devfn >= ARRAY_SIZE(p->function) || ((devfn & 7) != 0 && !p->function[devfn & ~7u]))
        return -EINVAL;
    if (p->function[devfn])
        return -EEXIST;
    if ((devfn & 7) != 0) {
        p->function[devfn & ~7u]->config[PCI_HEADER_TYPE] |= HEADER_MULTI;
        p->function[devfn & ~7u]->initial[PCI_HEADER_TYPE] |= HEADER_MULTI;
    }
    memcpy(f->initial, f->config, sizeof(f->initial));
    p->function[devfn] = f;
    return 0;
}

static void config_write(struct pci_function *f, unsigned at, unsigned size, uint32_t value)
{
    for (unsigned i = at; i < at + size; i++, value >>= 8) {
        uint8_t byte = (uint8_t)value;

        f->config[i] = (f->config[i] & ~f->writable[i]) | (byte & f->writable[i]);
        f->config[i] &= ~(byte & f->clearable[i]);
    }
    if (f->ops && f->ops->written)
        f->ops->written(f, at, size);
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
    if (f->ops && f->ops->reading)
        f->ops->reading(f, offset, size);
    return get(f->config + offset, size);
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
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        struct pci_function *f = p->function[i];

        if (!f)
            continue;
        memcpy(f->config, f->initial, sizeof(f->config));
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
    }
}

/* What neither the guest nor the device can change has to be what it is here. */
static bool load_config(struct pci_function *f, const uint8_t *config)
{
    for (unsigned i = 0; i < sizeof(f->config); i++) {
        uint8_t variable = f->writable[i] | f->clearable[i] | f->changeable[i];

        if ((config[i] ^ f->config[i]) & ~variable)
            return false;
    }
    memcpy(f->config, config, sizeof(f->config));
    if (f->ops && f->ops->written)
        f->ops->written(f, 0, sizeof(f->config));
    return true;
}

static int pci_load(struct device *d, struct state_reader *r)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);
    uint8_t config[256];

    p->address = state_get_u32(r) & ADDRESS_BITS;
    for (unsigned i = 0; i < ARRAY_SIZE(p->function); i++) {
        if (!p->function[i])
            continue;
        if (state_get_u8(r) != i)
            return -EBADMSG;
        state_get(r, config, sizeof(config));
        if (!load_config(p->function[i], config))
            return -EBADMSG;
    }
    return 0;
}

static const struct device_ops pci_ops = {
    .name = "pci",
    .version = 1,
    .lock = DEVICE_OUTER,
    .port_read = pci_read,
    .port_write = pci_write,
    .reset = pci_reset,
    .save = pci_save,
    .load = pci_load,
};

static int pci_create(struct device *d, struct device_setup *s)
{
    struct pci *p = CONTAINER_OF(d, struct pci, dev);

    /* The 440FX's host bridge: Linux trusts mechanism #1 only where it finds a host bridge. */
    pci_function_init(&p->bridge, NULL, 0x8086, 0x1237, 0x060000);
    memcpy(p->bridge.initial, p->bridge.config, sizeof(p->bridge.initial));
    p->function[0] = &p->bridge;
    s->pci = p;
    return 0;
}

const struct device_class pci_class = {
    .ops = &pci_ops,
    .size = sizeof(struct pci),
    .ports = {{PORT_PCI_ADDRESS, 8}},
    .create = pci_create,
};
