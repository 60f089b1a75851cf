/*
 * The VGA's windows from A0000h on: four planes behind a data path with latches ("Graphics
 * Controller"), and when what a guest sees there is no more than memory. See chip.h.
 */
#include "guest/devices/vga/chip.h"

#define WINDOW_SHIFT 2 /* in GRAPHICS_MISC: */
enum window { WINDOW_128K, WINDOW_64K, WINDOW_MONO, WINDOW_COLOUR };
#define MONO_AT   0x10000u /* B0000h */
#define COLOUR_AT 0x18000u /* B8000h */

#define PLANE      (VGA_MEMORY / 4)
#define VGA_PLANE  0x10000u /* what a VGA has of each */
#define ALL_PLANES 0xf

static enum window window_of(const struct vga_chip *c)
{
    return c->graphics[GRAPHICS_MISC] >> WINDOW_SHIFT & 3;
}

/* The address within the chip's memory of an offset from A0000h on; false: no window is there. */
static bool find(const struct vga_chip *c, uint32_t offset, uint32_t *at)
{
    static const uint32_t first[] = {0, 0, MONO_AT, COLOUR_AT},
                          size[] = {VGA_WINDOW, VGA_BANK, VGA_TEXT, VGA_TEXT};
    enum window w = vga_is_linear(c) ? WINDOW_64K : window_of(c);

    *at = offset - first[w];
    if (offset < first[w] || *at >= size[w] || !(c->misc & MISC_RAM))
        return false;
    if (vga_is_linear(c))
        *at += (uint32_t)c->dispi[DISPI_BANK] * VGA_BANK;
    return true;
}

/* Where in each plane that is, and which planes it reaches at most. */
static uint8_t planes_at(const struct vga_chip *c, uint32_t at, bool odd_even, uint32_t *address)
{
    uint8_t planes = ALL_PLANES;

    if (c->sequencer[SEQUENCER_MODE] & MODE_CHAIN4) {
        planes = (uint8_t)(1u << (at & 3));
        at /= 4;
    } else if (odd_even) {
        planes = (uint8_t)(5u << (at & 1));
        at &= ~1u;
    }
    *address = at & (vga_is_linear(c) ? PLANE - 1 : VGA_PLANE - 1);
    return planes;
}

static uint8_t *at_planes(const struct vga_chip *c, uint32_t address)
{
    return c->memory + 4 * address;
}

/* The pixels of a mode of 8 bits and more, in the window. */
static uint8_t *pixel_byte(const struct vga_chip *c, uint32_t at)
{
    return vga_is_linear(c) && vga_linear(c).bits != 4 ? c->memory + (at & (VGA_MEMORY - 1)) : NULL;
}

static uint8_t compared(const struct vga_chip *c)
{
    uint8_t same = 0xff;

    for (unsigned p = 0; p < 4; p++) {
        uint8_t wanted = c->graphics[GRAPHICS_COMPARE] >> p & 1 ? 0xff : 0;
        if (c->graphics[GRAPHICS_DONT_CARE] >> p & 1)
            same &= ~(c->latch[p] ^ wanted);
    }
    return same;
}

uint8_t vga_memory_read(struct vga_chip *c, uint32_t offset)
{
    uint8_t mode = c->graphics[GRAPHICS_MODE], plane = c->graphics[GRAPHICS_READ_MAP] & 3;
    uint32_t at, address;
    const uint8_t *byte;

    if (!find(c, offset, &at))
        return 0xff;
    byte = pixel_byte(c, at);
    if (byte)
        return *byte;
    (void)planes_at(c, at, mode & GRAPHICS_ODD_EVEN, &address);
    for (unsigned p = 0; p < 4; p++)
        c->latch[p] = at_planes(c, address)[p];
    if (c->sequencer[SEQUENCER_MODE] & MODE_CHAIN4)
        plane = at & 3;
    else if (mode & GRAPHICS_ODD_EVEN)
        plane = (plane & 2) | (at & 1);
    return mode & GRAPHICS_READ_COMPARE ? compared(c) : c->latch[plane];
}

static uint8_t combined(unsigned function, uint8_t value, uint8_t latch)
{
    switch (function) {
    case 1:
        return value & latch;
    case 2:
        return value | latch;
    case 3:
        return value ^ latch;
    default:
        return value;
    }
}

/* What plane p gets: the data path's four ways ("Write Mode"). */
static uint8_t path(const struct vga_chip *c, unsigned p, uint8_t value)
{
    const uint8_t *g = c->graphics;
    unsigned mode = g[GRAPHICS_MODE] & GRAPHICS_WRITE_MODE, by = g[GRAPHICS_ROTATE] & 7;
    uint8_t rotated = (uint8_t)(value >> by | value << (8 - by)), mask = g[GRAPHICS_BIT_MASK];
    uint8_t set = g[GRAPHICS_SET] >> p & 1 ? 0xff : 0, from;

    switch (mode) {
    case 0:
        from = g[GRAPHICS_ENABLE_SET] >> p & 1 ? set : rotated;
        break;
    case 1:
        return c->latch[p];
    case 2:
        from = value >> p & 1 ? 0xff : 0;
        break;
    default:
        from = set;
        mask &= rotated;
        break;
    }
    from = combined(g[GRAPHICS_ROTATE] >> 3 & 3, from, c->latch[p]);
    return (from & mask) | (c->latch[p] & ~mask);
}

void vga_memory_write(struct vga_chip *c, uint32_t offset, uint8_t value)
{
    uint32_t at, address;
    uint8_t planes, *byte;

    if (!find(c, offset, &at))
        return;
    byte = pixel_byte(c, at);
    if (byte) {
        *byte = value;
        return;
    }
    planes = planes_at(c, at, !(c->sequencer[SEQUENCER_MODE] & MODE_NOT_ODD_EVEN), &address) &
             c->sequencer[SEQUENCER_MAP_MASK];
    for (unsigned p = 0; p < 4; p++)
        if (planes >> p & 1)
            at_planes(c, address)[p] = path(c, p, value);
}

/* --- what is no more than memory --- */

/* The data path changes nothing, for these planes. */
static bool is_straight(const struct vga_chip *c, uint8_t planes)
{
    const uint8_t *g = c->graphics;

    return !(g[GRAPHICS_MODE] & (GRAPHICS_WRITE_MODE | GRAPHICS_READ_COMPARE)) &&
           !(g[GRAPHICS_ENABLE_SET] & planes) && !(g[GRAPHICS_ROTATE] & 0x1f) &&
           g[GRAPHICS_BIT_MASK] == 0xff &&
           (c->sequencer[SEQUENCER_MAP_MASK] & ALL_PLANES) == planes && (c->misc & MISC_RAM);
}

static bool is_text(const struct vga_chip *c)
{
    return !(c->sequencer[SEQUENCER_MODE] & (MODE_CHAIN4 | MODE_NOT_ODD_EVEN)) &&
           (c->graphics[GRAPHICS_MODE] & GRAPHICS_ODD_EVEN) &&
           !(c->graphics[GRAPHICS_READ_MAP] & 2) && is_straight(c, 3);
}

struct vga_plain vga_plain(const struct vga_chip *c)
{
    enum window w = window_of(c);

    if (vga_is_linear(c))
        return (struct vga_plain){
            .bank = vga_linear(c).bits != 4 && (c->misc & MISC_RAM),
            .bank_from = c->dispi[DISPI_BANK] * VGA_BANK & (VGA_MEMORY - 1),
        };
    if (w == WINDOW_64K && (c->sequencer[SEQUENCER_MODE] & MODE_CHAIN4))
        return (struct vga_plain){.bank = is_straight(c, ALL_PLANES)};
    if ((w == WINDOW_MONO || w == WINDOW_COLOUR) && is_text(c))
        return (struct vga_plain){.text_at = w == WINDOW_MONO ? MONO_AT : COLOUR_AT};
    return (struct vga_plain){0};
}

void vga_text_apart(struct vga_chip *c, bool apart)
{
    if (apart == c->text_apart)
        return;
    c->text_apart = apart;
    for (uint32_t at = 0; at < VGA_TEXT; at++) {
        uint8_t *byte = at_planes(c, at & ~1u) + (at & 1);

        if (apart)
            c->text[at] = *byte;
        else
            *byte = c->text[at];
    }
}
