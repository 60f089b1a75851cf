/*
 * A graphics card on PCI as OVMF, SeaBIOS and Linux know the "standard VGA": 1234:1111, the VGA's
 * ports and windows, the Bochs display's registers at 1CEh and 1CFh, and behind two BARs the memory
 * (a linear frame buffer) and the registers with the monitor's EDID. Pixels and text are memory of
 * the guest's that it writes without exits; only what goes through the VGA's planes calls.
 */
#include "guest/devices/vga/vga.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/lib/zeroes.h"
#include "guest/board/ports.h"
#include "mm/frame.h"

#define VENDOR    0x1234
#define DEVICE    0x1111
#define CLASS     0x030000
#define REVISION  2 /* registers behind BAR 2 are there, and those from 600h on */
#define SUBSYSTEM 0x11001af4

#define MEMORY_BAR    0
#define REGISTERS_BAR 2

/* Behind REGISTERS_BAR: */
#define REGISTERS_SIZE 0x1000u
#define VGA_AT         0x400u /* ports from 3C0h on */
#define VGA_COUNT      0x20u
#define DISPI_AT       0x500u /* 16 bits each */
#define DISPI_COUNT    (DISPI_MEMORY + 1u)
#define MORE_AT        0x600u /* how many bytes are there, and the order of pixels' bytes */
#define MORE_SIZE      8u
#define LITTLE_ENDIAN  0x1e1e1e1eu

#define WINDOW       0xa0000u
#define LINES        525u /* of a frame, of which */
#define LINES_SHOWN  480u
#define FRAMES_A_SEC 60u
#define IN_RETRACE   0x08 /* of input status 1 */
#define NOT_SHOWN    0x01

/* The windows all begin at A0000h, so that offsets are alike; each shows where those before it have
 * ended. */
enum { BANK, MONO, COLOUR, WINDOWS };
static const uint32_t end_of[WINDOWS] = {VGA_BANK, VGA_BANK + VGA_TEXT, VGA_WINDOW};

struct vga {
    struct device dev;       /* ports and windows */
    struct device registers; /* and what is behind the BARs, with the same lock */
    struct device memory;
    struct bus *bus;
    struct pci_function function;
    struct bus_range window[WINDOWS], registers_range, memory_range;
    paddr frames, text; /* the chip's memory and its text */
    struct vga_chip chip;
    struct vga_plain plain; /* what the windows show */
};

static struct vga *vga_of(struct device *d)
{
    return CONTAINER_OF(d, struct vga, dev);
}

const struct vga_chip *vga_chip_of(const struct device *d)
{
    return &CONTAINER_OF(d, struct vga, dev)->chip;
}

/* --- the windows --- */

static void show(struct vga *v, unsigned window, bool shows, uint64_t from)
{
    (void)!bus_show(v->bus, &v->window[window], shows ? BUS_FRAMES : BUS_CALLS, shows ? from : 0,
                    shows);
}

/* Registers have been written: what of the windows is memory now. */
static void follow(struct vga *v)
{
    const struct vga_plain now = vga_plain(&v->chip), was = v->plain;

    v->plain = now;
    if (now.text_at != was.text_at) {
        for (unsigned i = MONO; i < WINDOWS; i++) /* first of all nobody writes there any more */
            show(v, i, false, 0);
        vga_text_apart(&v->chip, now.text_at);
        for (unsigned i = MONO; i < WINDOWS; i++)
            if (now.text_at == end_of[i] - VGA_TEXT)
                show(v, i, true, v->text - now.text_at);
    }
    if (now.bank != was.bank || now.bank_from != was.bank_from)
        show(v, BANK, now.bank, v->frames + now.bank_from);
}

static uint64_t window_read(struct device *d, uint64_t offset, unsigned size)
{
    struct vga *v = vga_of(d);
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)vga_memory_read(&v->chip, (uint32_t)offset + i) << (8 * i);
    return value;
}

static void window_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = vga_of(d);

    for (unsigned i = 0; i < size; i++)
        vga_memory_write(&v->chip, (uint32_t)offset + i, (uint8_t)(value >> (8 * i)));
}

/* --- ports --- */

/* Where the beam would be. */
static uint8_t status(struct vga *v)
{
    uint64_t frame = MAX(device_tsc_hz(&v->dev) / FRAMES_A_SEC, 1ul);
    uint64_t at = device_now(&v->dev) % frame * LINES, line = at / frame, across = at % frame;

    if (line >= LINES_SHOWN)
        return IN_RETRACE | NOT_SHOWN;
    return across > frame / 5 * 4 ? NOT_SHOWN : 0;
}

static void write_byte(struct vga *v, uint16_t port, uint8_t value)
{
    vga_port_write(&v->chip, port, value);
    if (port == 0x3c2 || port == 0x3c5 || port == 0x3cf) /* what vga_plain() looks at */
        follow(v);
}

static uint32_t vga_read(struct device *d, uint16_t port, unsigned size)
{
    struct vga *v = vga_of(d);
    uint32_t value = 0;

    if (port == PORT_DISPI)
        return v->chip.dispi_index;
    if (port > PORT_DISPI && port < PORT_DISPI + PORTS_DISPI)
        return vga_dispi_read(&v->chip, v->chip.dispi_index);
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)vga_port_read(&v->chip, (uint16_t)(port + i), status(v)) << (8 * i);
    return value;
}

static void vga_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct vga *v = vga_of(d);

    if (port == PORT_DISPI) {
        v->chip.dispi_index = (uint16_t)value;
    } else if (port > PORT_DISPI && port < PORT_DISPI + PORTS_DISPI) {
        vga_dispi_write(&v->chip, v->chip.dispi_index, (uint16_t)value);
        follow(v);
    } else {
        for (unsigned i = 0; i < size; i++)
            write_byte(v, (uint16_t)(port + i), (uint8_t)(value >> (8 * i)));
    }
}

/* --- behind the BARs --- */

static struct vga *of_registers(struct device *d)
{
    return CONTAINER_OF(d, struct vga, registers);
}

static uint8_t more(unsigned at)
{
    static const uint32_t words[MORE_SIZE / 4] = {MORE_SIZE, LITTLE_ENDIAN};

    return (uint8_t)(words[at / 4] >> (8 * (at % 4)));
}

static uint8_t register_byte(struct vga *v, uint64_t at)
{
    if (at < 2 * VGA_EDID) /* as much is kept free for it */
        return vga_edid((unsigned)at);
    if (at - VGA_AT < VGA_COUNT)
        return vga_port_read(&v->chip, (uint16_t)(0x3c0 + at - VGA_AT), status(v));
    if (at - DISPI_AT < 2 * DISPI_COUNT)
        return (uint8_t)(vga_dispi_read(&v->chip, (unsigned)(at - DISPI_AT) / 2) >> (8 * (at % 2)));
    return at - MORE_AT < MORE_SIZE ? more((unsigned)(at - MORE_AT)) : 0xff;
}

static uint64_t registers_read(struct device *d, uint64_t offset, unsigned size)
{
    struct vga *v = of_registers(d);
    uint64_t value = 0;

    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)register_byte(v, offset + i) << (8 * i);
    return value;
}

static void registers_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = of_registers(d);

    for (unsigned i = 0; i < size; i++) {
        uint64_t at = offset + i;

        if (at - VGA_AT < VGA_COUNT)
            write_byte(v, (uint16_t)(0x3c0 + at - VGA_AT), (uint8_t)(value >> (8 * i)));
    }
    if (offset - DISPI_AT < 2 * DISPI_COUNT && offset % 2 == 0) {
        for (unsigned i = 0; i < size; i += 2)
            vga_dispi_write(&v->chip, (unsigned)(offset - DISPI_AT + i) / 2,
                            (uint16_t)(value >> (8 * i)));
        follow(v);
    }
}

/* The frame buffer calls only while it moves. */
static uint64_t memory_read(struct device *d, uint64_t offset, unsigned size)
{
    const struct vga *v = CONTAINER_OF(d, struct vga, memory);
    uint64_t value = 0;

    if (offset < VGA_MEMORY)
        memcpy(&value, v->chip.memory + offset, MIN((uint64_t)size, VGA_MEMORY - offset));
    return value;
}

static void memory_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct vga *v = CONTAINER_OF(d, struct vga, memory);

    if (offset < VGA_MEMORY)
        memcpy(v->chip.memory + offset, &value, MIN((uint64_t)size, VGA_MEMORY - offset));
}

/* --- life --- */

/* What is in the memory stays, as on most cards. */
static void vga_reset(struct device *d)
{
    struct vga *v = vga_of(d);
    struct vga_chip *c = &v->chip;
    uint8_t *memory = c->memory, *text = c->text;

    vga_text_apart(c, false);
    *c = (struct vga_chip){.memory = memory, .text = text, .dac_mask = 0xff};
    c->dispi[DISPI_ID] = 0xb0c5;
    follow(v);
}

static void vga_save(struct device *d, struct state_writer *w)
{
    const struct vga_chip *c = &vga_of(d)->chip;
    const uint8_t bytes[] = {c->misc,           c->feature,        c->sequencer_index,
                             c->crtc_index,     c->graphics_index, c->attribute_index,
                             c->attribute_data, c->dac_mask,       c->dac_read,
                             c->dac_write,      c->dac_part,       c->dac_reads};

    state_put(w, bytes, sizeof(bytes));
    state_put(w, c->sequencer, sizeof(c->sequencer));
    state_put(w, c->crtc, sizeof(c->crtc));
    state_put(w, c->graphics, sizeof(c->graphics));
    state_put(w, c->attribute, sizeof(c->attribute));
    state_put(w, c->dac, sizeof(c->dac));
    state_put(w, c->latch, sizeof(c->latch));
    state_put_u16(w, c->dispi_index);
    for (unsigned i = 0; i < VGA_DISPI; i++)
        state_put_u16(w, c->dispi[i]);
}

static int vga_load(struct device *d, struct state_reader *r)
{
    struct vga *v = vga_of(d);
    struct vga_chip *c = &v->chip;
    uint8_t bytes[12];

    state_get(r, bytes, sizeof(bytes));
    c->misc = bytes[0];
    c->feature = bytes[1];
    c->sequencer_index = bytes[2];
    c->crtc_index = bytes[3];
    c->graphics_index = bytes[4];
    c->attribute_index = bytes[5];
    c->attribute_data = bytes[6] & 1;
    c->dac_mask = bytes[7];
    c->dac_read = bytes[8];
    c->dac_write = bytes[9];
    c->dac_part = MIN(bytes[10], 2);
    c->dac_reads = bytes[11] & 1;
    state_get(r, c->sequencer, sizeof(c->sequencer));
    state_get(r, c->crtc, sizeof(c->crtc));
    state_get(r, c->graphics, sizeof(c->graphics));
    state_get(r, c->attribute, sizeof(c->attribute));
    state_get(r, c->dac, sizeof(c->dac));
    state_get(r, c->latch, sizeof(c->latch));
    c->dispi_index = state_get_u16(r);
    for (unsigned i = 0; i < VGA_DISPI; i++)
        c->dispi[i] = state_get_u16(r);
    follow(v);
    return bytes[10] > 2 ? -EBADMSG : 0;
}

static void nothing(struct device *d)
{
}

static void nothing_to_save(struct device *d, struct state_writer *w)
{
}

static int nothing_to_load(struct device *d, struct state_reader *r)
{
    return 0;
}

#define MEMORY_PAGES (VGA_MEMORY / PAGE_SIZE)
#define TEXT_PAGES   (VGA_TEXT / PAGE_SIZE)
#define PAGES        (MEMORY_PAGES + TEXT_PAGES)

static uint8_t *page_at(const struct vga *v, uint32_t n)
{
    return n < MEMORY_PAGES ? v->chip.memory + n * PAGE_SIZE
                            : v->chip.text + (n - MEMORY_PAGES) * PAGE_SIZE;
}

/* The pages that are not all zeroes: most never were anything else. */
static void memory_save(struct device *d, struct state_writer *w)
{
    const struct vga *v = CONTAINER_OF(d, struct vga, memory);

    for (uint32_t i = 0; i < PAGES; i++) {
        const uint8_t *page = page_at(v, i);

        if (is_zeroes(page, PAGE_SIZE))
            continue;
        state_put_u32(w, i);
        state_put(w, page, PAGE_SIZE);
    }
    state_put_u32(w, PAGES);
}

static int memory_load(struct device *d, struct state_reader *r)
{
    struct vga *v = CONTAINER_OF(d, struct vga, memory);
    uint32_t page, next = 0;

    memset(v->chip.memory, 0, VGA_MEMORY);
    memset(v->chip.text, 0, VGA_TEXT);
    while ((page = state_get_u32(r)) < PAGES) {
        if (page < next)
            return -EBADMSG;
        state_get(r, page_at(v, page), PAGE_SIZE);
        next = page + 1;
    }
    return page == PAGES ? 0 : -EBADMSG;
}

static const struct device_ops vga_ops = {
    .name = "vga",
    .version = 1,
    .port_read = vga_read,
    .port_write = vga_write,
    .mmio_read = window_read,
    .mmio_write = window_write,
    .reset = vga_reset,
    .save = vga_save,
    .load = vga_load,
};

static const struct device_ops registers_ops = {
    .name = "vga-registers",
    .version = 1,
    .mmio_read = registers_read,
    .mmio_write = registers_write,
    .reset = nothing,
    .save = nothing_to_save,
    .load = nothing_to_load,
};

static const struct device_ops memory_ops = {
    .name = "vga-memory",
    .version = 1,
    .mmio_read = memory_read,
    .mmio_write = memory_write,
    .reset = nothing,
    .save = memory_save,
    .load = memory_load,
};

static int add_windows(struct vga *v)
{
    int result = 0;

    for (unsigned i = 0; i < WINDOWS && result == 0; i++) {
        v->window[i] = (struct bus_range){
            .device = &v->dev, .size = end_of[i], .space = BUS_MEMORY, .priority = BUS_OVER + 1};
        result = bus_add_range(v->bus, &v->window[i]);
        if (result == 0)
            result = bus_place(v->bus, &v->window[i], WINDOW);
    }
    return result;
}

static int add_part(struct vga *v, struct device *part, const struct device_ops *ops)
{
    int result;

    part->ops = ops;
    part->board = v->dev.board;
    result = bus_add_device(v->bus, part);
    part->lock = v->dev.lock;
    return result;
}

static int add_function(struct vga *v, struct pci *pci)
{
    struct pci_function *f = &v->function;
    const uint32_t subsystem = SUBSYSTEM;
    int result;

    pci_function_init(f, NULL, VENDOR, DEVICE, CLASS);
    f->config[PCI_REVISION] = REVISION;
    memcpy(f->config + PCI_SUBSYSTEM_VENDOR_ID, &subsystem, sizeof(subsystem));
    v->memory_range = (struct bus_range){.device = &v->memory,
                                         .size = VGA_MEMORY,
                                         .space = BUS_MEMORY,
                                         .shows = BUS_FRAMES,
                                         .writable = true,
                                         .from = v->frames};
    v->registers_range =
        (struct bus_range){.device = &v->registers, .size = REGISTERS_SIZE, .space = BUS_MEMORY};
    result = pci_function_bar(f, MEMORY_BAR, VGA_MEMORY, PCI_BAR_PREFETCH);
    if (result == 0)
        result = pci_function_bar(f, REGISTERS_BAR, REGISTERS_SIZE, 0);
    if (result == 0)
        result = pci_function_map(f, MEMORY_BAR, v->bus, &v->memory_range);
    if (result == 0)
        result = pci_function_map(f, REGISTERS_BAR, v->bus, &v->registers_range);
    return result == 0 ? pci_add_device(pci, f) : result;
}

/* Its other value, `none`, is for nobody. */
static int vga_check(const char *text, size_t length, char *error)
{
    return !(length == 4 && memcmp(text, "none", 4) == 0);
}

static void free_frames(const struct vga *v)
{
    if (v->frames != FRAME_NONE)
        frame_run_free(v->frames);
    if (v->text != FRAME_NONE)
        frame_run_free(v->text);
}

static int take_frames(struct vga *v)
{
    v->frames = frame_run_alloc(MEMORY_PAGES, FRAME_KERNEL);
    v->text = frame_run_alloc(TEXT_PAGES, FRAME_KERNEL);
    if (v->frames == FRAME_NONE || v->text == FRAME_NONE) {
        free_frames(v);
        return -ENOMEM;
    }
    v->chip.memory = phys_to_virt(v->frames);
    v->chip.text = phys_to_virt(v->text);
    memset(v->chip.memory, 0, VGA_MEMORY); /* it may have been another VM's */
    memset(v->chip.text, 0, VGA_TEXT);
    return 0;
}

static int vga_create(struct device *d, struct device_setup *s)
{
    struct vga *v = vga_of(d);
    int result;

    v->bus = s->bus;
    result = take_frames(v);
    if (result < 0)
        return result;
    result = add_part(v, &v->registers, &registers_ops);
    if (result < 0)
        goto no_registers;
    result = add_part(v, &v->memory, &memory_ops);
    if (result < 0)
        goto no_memory;
    result = add_windows(v);
    if (result == 0)
        result = add_function(v, s->pci);
    if (result == 0)
        return 0;
    bus_remove_device(s->bus, &v->memory);
no_memory:
    bus_remove_device(s->bus, &v->registers);
no_registers:
    free_frames(v);
    return result;
}

static void vga_destroy(struct device *d)
{
    free_frames(vga_of(d));
}

const struct device_class vga_class = {
    .ops = &vga_ops,
    .size = sizeof(struct vga),
    .key = "display",
    .check = vga_check,
    .ports = {{PORT_VGA_MONO, PORTS_VGA_MONO}, {PORT_VGA, PORTS_VGA}, {PORT_DISPI, PORTS_DISPI}},
    .create = vga_create,
    .destroy = vga_destroy,
};
