/* See picture.h. */
#include "guest/devices/vga/picture.h"

#define CHARACTER 8u /* points of a character clock */

static unsigned field(uint8_t value, unsigned from, unsigned count)
{
    return value >> from & ((1u << count) - 1);
}

/* Rows of points that the CRTC sends; some of them may be the same. */
static unsigned scan_lines(const struct vga_chip *c)
{
    return (c->crtc[CRTC_HEIGHT] | field(c->crtc[CRTC_OVERFLOW], 1, 1) << 8 |
            field(c->crtc[CRTC_OVERFLOW], 6, 1) << 9) +
           1;
}

/* How many rows of points are one of the memory's, or of text. */
static unsigned lines_of_row(const struct vga_chip *c)
{
    uint8_t scan = c->crtc[CRTC_SCAN_LINE];

    return (field(scan, 0, 5) + 1) * (field(scan, 7, 1) + 1);
}

/* As on a CGA: even rows of points are in one half of the memory, odd ones in the other, and both
 * are one of the CRTC's. */
static bool rows_apart(const struct vga_chip *c)
{
    return !(c->crtc[CRTC_MODE] & 1);
}

static bool is_256(const struct vga_chip *c)
{
    return c->graphics[GRAPHICS_MODE] & GRAPHICS_256;
}

struct picture picture_of(const struct vga_chip *c)
{
    unsigned across = c->crtc[CRTC_WIDTH] + 1u, lines = scan_lines(c), each = lines_of_row(c);
    struct picture p = {.kind = PICTURE_PIXELS};

    if (!(c->attribute_index & ATTRIBUTE_ON) || (c->sequencer[SEQUENCER_CLOCKING] & CLOCKING_OFF))
        return (struct picture){.kind = PICTURE_BLANK};
    if (vga_is_linear(c)) {
        struct vga_linear l = vga_linear(c);

        p.width = l.width;
        p.height = l.height;
    } else if (c->graphics[GRAPHICS_MISC] & GRAPHICS_ON) {
        p.width = MIN(across * (is_256(c) ? CHARACTER / 2 : CHARACTER), VGA_WIDTH_MAX);
        p.height = MIN(MAX(lines / (rows_apart(c) ? MAX(each / 2, 1u) : each), 1u), VGA_HEIGHT_MAX);
    } else {
        p.kind = PICTURE_TEXT;
        p.width = MIN(across, PICTURE_COLUMNS);
        p.height = MIN(MAX(lines / each, 1u), PICTURE_ROWS);
    }
    return p;
}

/* --- text --- */

static uint32_t start_of(const struct vga_chip *c)
{
    return (uint32_t)c->crtc[CRTC_START] << 8 | c->crtc[CRTC_START + 1];
}

/* Code page 437 from 80h on, by letters that look alike. */
static const char looks_like[] = "CueaaaaceeeiiiAA"
                                 "EaAooouuyOUc$YPf"
                                 "aiounNao?--24!<>"
                                 "###|++++++|+++++"
                                 "++++-++++++++=++"
                                 "+++++++++++#####"
                                 "aBGpSsutOTOd8oEn"
                                 "=+><()/~o..Vn2# ";

/* And below 20h. */
static const char arrows[] = " oo****.o.oommn*><|!Ps-|^v><L-^v";

static char letter(uint8_t code)
{
    if (code >= 0x80)
        return looks_like[code - 0x80];
    if (code < ' ')
        return arrows[code];
    return (char)(code == 0x7f ? '^' : code);
}

void picture_text(const struct vga_chip *c, const struct picture *p, unsigned y, char *out)
{
    uint32_t cell = start_of(c) + y * c->crtc[CRTC_OFFSET] * 2u;

    for (unsigned x = 0; x < p->width; x++) {
        uint32_t at = (cell + x) * 2 % VGA_TEXT;

        out[x] = letter(c->text_apart ? c->text[at] : c->memory[4 * at]);
    }
}

/* --- points --- */

static void put_colour(const struct vga_chip *c, uint8_t index, uint8_t out[3])
{
    const uint8_t *colour = &c->dac[3u * (index & c->dac_mask)];

    for (unsigned i = 0; i < 3; i++)
        out[i] = c->dispi[DISPI_ENABLE] & DISPI_DAC_8
                     ? colour[i]
                     : (uint8_t)((colour[i] & 0x3f) << 2 | (colour[i] & 0x3f) >> 4);
}

/* A value of so many bits, of those from `from` on, as one of 8. */
static uint8_t spread(unsigned value, unsigned from, unsigned count)
{
    unsigned part = value >> from & ((1u << count) - 1);

    return (uint8_t)(part << (8 - count) | part >> (2 * count - 8));
}

static void put_point(const struct vga_chip *c, unsigned bits, const uint8_t *in, uint8_t out[3])
{
    unsigned both = bits == 8 ? 0 : in[0] | (unsigned)in[1] << 8;

    switch (bits) {
    case 8:
        put_colour(c, in[0], out);
        break;
    case 15:
    case 16:
        out[0] = spread(both, bits == 15 ? 10 : 11, 5);
        out[1] = spread(both, 5, bits == 15 ? 5 : 6);
        out[2] = spread(both, 0, 5);
        break;
    default: /* blue is first */
        out[0] = in[2];
        out[1] = in[1];
        out[2] = in[0];
        break;
    }
}

static void linear_row(const struct vga_chip *c, const struct vga_linear *l, unsigned y,
                       uint8_t *out)
{
    const uint8_t *in = c->memory + l->start + y * l->pitch;

    for (unsigned x = 0; x < l->width; x++)
        put_point(c, l->bits, in + x * ((l->bits + 7) / 8), out + 3 * (size_t)x);
}

/* The attribute controller's way from four bits to a colour. */
static void put_index(const struct vga_chip *c, unsigned four, uint8_t out[3])
{
    uint8_t select = c->attribute[ATTRIBUTE_COLOUR];
    uint8_t index = c->attribute[four & c->attribute[ATTRIBUTE_PLANES] & 0xf] & 0x3f;

    if (c->attribute[ATTRIBUTE_MODE] & ATTRIBUTE_BITS_5_4)
        index = (index & 0xf) | (select & 3) << 4;
    put_colour(c, index | (select & 0xc) << 4, out);
}

/* The address in the planes of what is at byte x of row y of the VGA's own modes. */
static uint32_t address_of(const struct vga_chip *c, unsigned x, unsigned y)
{
    bool words = !(c->crtc[CRTC_MODE] & 0x40);
    uint32_t row = rows_apart(c) ? y / 2 : y, at;

    at = start_of(c) + row * c->crtc[CRTC_OFFSET] * 2u + x;
    at = words ? at * 2 : at;
    if (rows_apart(c))
        at = (at & ~0x2000u) | (y & 1) << 13;
    return at & 0xffff;
}

static uint8_t plane_byte(const struct vga_chip *c, uint32_t address, unsigned p)
{
    if (c->text_apart && p < 2 && !(address & 1) && address < VGA_TEXT)
        return c->text[address | p];
    return c->memory[4 * address + p];
}

static unsigned four_bits(const struct vga_chip *c, uint32_t address, unsigned x)
{
    unsigned four = 0;

    for (unsigned p = 0; p < 4; p++)
        four |= (plane_byte(c, address, p) >> (7 - x % 8) & 1u) << p;
    return four;
}

/* Two bits of a point lie together, four points in plane 0, then four in plane 1. */
static unsigned two_bits(const struct vga_chip *c, uint32_t address, unsigned x)
{
    return plane_byte(c, address, x / 4 % 2) >> (6 - 2 * (x % 4)) & 3;
}

static void planes_row(const struct vga_chip *c, const struct picture *p, unsigned y, uint8_t *out)
{
    bool interleaved = c->graphics[GRAPHICS_MODE] & GRAPHICS_INTERLEAVED;

    for (unsigned x = 0; x < p->width; x++) {
        uint32_t address = address_of(c, x / 8, y);

        put_index(c, interleaved ? two_bits(c, address, x) : four_bits(c, address, x),
                  out + 3 * (size_t)x);
    }
}

/* 256 colours: a plane for each of four points beside one another, chained or not. */
static void bytes_row(const struct vga_chip *c, const struct picture *p, unsigned y, uint8_t *out)
{
    uint32_t from = 4 * start_of(c) + y * c->crtc[CRTC_OFFSET] * 8u;

    for (unsigned x = 0; x < p->width; x++)
        put_colour(c, c->memory[(from + x) & 0x3ffff], out + 3 * (size_t)x);
}

/* Planes of a mode of the Bochs display. */
static void linear_planes_row(const struct vga_chip *c, const struct vga_linear *l, unsigned y,
                              uint8_t *out)
{
    uint32_t address = (l->start + y * l->pitch) / 4;

    for (unsigned x = 0; x < l->width; x++)
        put_index(c, four_bits(c, address + x / 8, x), out + 3 * (size_t)x);
}

void picture_row(const struct vga_chip *c, const struct picture *p, unsigned y, uint8_t *out)
{
    if (vga_is_linear(c)) {
        struct vga_linear l = vga_linear(c);

        if (l.bits == 4)
            linear_planes_row(c, &l, y, out);
        else
            linear_row(c, &l, y, out);
    } else if (is_256(c)) {
        bytes_row(c, p, y, out);
    } else {
        planes_row(c, p, y, out);
    }
}
