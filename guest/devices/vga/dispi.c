/*
 * The Bochs display's registers ("VBE DISPI"): a mode of pixels in memory from its start on. They
 * keep what is written; what of that cannot be is brought into range where it is used, and when the
 * mode is switched on.
 */
#include "arch/x86/lib/string.h"
#include "guest/devices/vga/chip.h"

#define ID_FIRST 0xb0c0
#define ID_LAST  0xb0c5

#define WIDTH_UNIT  8u
#define VIRTUAL_MAX 16000u
#define BITS_MAX    32u

static unsigned usable_bits(unsigned bits)
{
    switch (bits) {
    case 4:
    case 15:
    case 16:
    case 24:
    case 32:
        return bits;
    default:
        return 8;
    }
}

/* Bytes of so many pixels in a row. Planes are four times a bit for each. */
static uint32_t bytes_of(unsigned pixels, unsigned bits)
{
    return bits == 4 ? pixels / 8 * 4 : pixels * ((bits + 7) / 8);
}

struct vga_linear vga_linear(const struct vga_chip *c)
{
    const uint16_t *r = c->dispi;
    struct vga_linear l = {.bits = usable_bits(r[DISPI_BITS])};
    unsigned across;
    uint64_t start;

    l.width = MIN(MAX(ALIGN_DOWN((unsigned)r[DISPI_WIDTH], WIDTH_UNIT), WIDTH_UNIT), VGA_WIDTH_MAX);
    across =
        MIN(MAX(ALIGN_DOWN((unsigned)r[DISPI_VIRTUAL_WIDTH], WIDTH_UNIT), l.width), VIRTUAL_MAX);
    l.pitch = bytes_of(across, l.bits);
    l.height = MIN(MAX((unsigned)r[DISPI_HEIGHT], 1u), MIN(VGA_HEIGHT_MAX, VGA_MEMORY / l.pitch));
    start = bytes_of(r[DISPI_X], l.bits) + (uint64_t)r[DISPI_Y] * l.pitch;
    if (start + (uint64_t)l.height * l.pitch <= VGA_MEMORY)
        l.start =
            (uint32_t)start; /* else what would be shown is not all there: it is the beginning */
    return l;
}

uint16_t vga_dispi_read(const struct vga_chip *c, unsigned index)
{
    if (index == DISPI_MEMORY)
        return VGA_MEMORY / VGA_BANK;
    if (index >= VGA_DISPI)
        return 0;
    if (c->dispi[DISPI_ENABLE] & DISPI_MOST) {
        if (index == DISPI_WIDTH)
            return VGA_WIDTH_MAX;
        if (index == DISPI_HEIGHT)
            return VGA_HEIGHT_MAX;
        if (index == DISPI_BITS)
            return BITS_MAX;
    }
    if (index == DISPI_VIRTUAL_HEIGHT && vga_is_linear(c))
        return (uint16_t)MIN(VGA_MEMORY / vga_linear(c).pitch, (uint32_t)UINT16_MAX);
    return c->dispi[index];
}

/* The mode begins: its registers say what it is. */
static void begin(struct vga_chip *c, uint16_t flags)
{
    struct vga_linear l;

    vga_text_apart(c, false); /* it is in the memory that is cleared */
    c->dispi[DISPI_BANK] = 0;
    c->dispi[DISPI_X] = c->dispi[DISPI_Y] = 0;
    c->dispi[DISPI_VIRTUAL_WIDTH] = 0;
    l = vga_linear(c);
    c->dispi[DISPI_WIDTH] = c->dispi[DISPI_VIRTUAL_WIDTH] = (uint16_t)l.width;
    c->dispi[DISPI_HEIGHT] = (uint16_t)l.height;
    c->dispi[DISPI_BITS] = (uint16_t)l.bits;
    if (!(flags & DISPI_NO_CLEAR))
        memset(c->memory, 0, (size_t)l.height * l.pitch);
}

void vga_dispi_write(struct vga_chip *c, unsigned index, uint16_t value)
{
    bool was_on = vga_is_linear(c);

    if (index >= VGA_DISPI || index == DISPI_VIRTUAL_HEIGHT)
        return;
    if (index == DISPI_ID && (value < ID_FIRST || value > ID_LAST))
        return;
    c->dispi[index] = value;
    if (index == DISPI_ENABLE && (value & DISPI_ON) && !was_on)
        begin(c, value);
}
