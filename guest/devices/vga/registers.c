/* The VGA's ports (IBM, "Video Graphics Array"; FreeVGA). See chip.h. */
#include "guest/devices/vga/chip.h"

#define ATTRIBUTE_INDEX 0x1f
#define OVERFLOW_FREE   0x10 /* of CRTC_OVERFLOW: it can be written all the same */

static bool is_crtc(const struct vga_chip *c, uint16_t port)
{
    return ((port & 0x3f0) == 0x3d0) == !!(c->misc & MISC_COLOUR);
}

static uint8_t dac_read(struct vga_chip *c)
{
    uint8_t value = c->dac[c->dac_read * 3 + c->dac_part];

    if (++c->dac_part == 3) {
        c->dac_part = 0;
        c->dac_read++;
    }
    return value;
}

static void dac_write(struct vga_chip *c, uint8_t value)
{
    bool wide = c->dispi[DISPI_ENABLE] & DISPI_DAC_8;

    c->dac[c->dac_write * 3 + c->dac_part] = wide ? value : value & 0x3f;
    if (++c->dac_part == 3) {
        c->dac_part = 0;
        c->dac_write++;
    }
}

static uint8_t crtc_port_read(struct vga_chip *c, uint16_t port, uint8_t status)
{
    if (!is_crtc(c, port))
        return 0xff;
    switch (port & 0xf) {
    case 4:
        return c->crtc_index;
    case 5:
        return c->crtc_index < VGA_CRTC ? c->crtc[c->crtc_index] : 0;
    case 0xa:
        c->attribute_data = false;
        return status;
    default:
        return 0xff;
    }
}

uint8_t vga_port_read(struct vga_chip *c, uint16_t port, uint8_t status)
{
    switch (port) {
    case 0x3c0:
        return c->attribute_index;
    case 0x3c1: {
        unsigned index = c->attribute_index & ATTRIBUTE_INDEX;
        return index < VGA_ATTRIBUTE ? c->attribute[index] : 0;
    }
    case 0x3c2: /* input status 0: no monitor is sensed, no interrupt waits */
        return 0;
    case 0x3c3:
        return 1; /* it is there */
    case 0x3c4:
        return c->sequencer_index;
    case 0x3c5:
        return c->sequencer_index < VGA_SEQUENCER ? c->sequencer[c->sequencer_index] : 0;
    case 0x3c6:
        return c->dac_mask;
    case 0x3c7:
        return c->dac_reads ? 3 : 0;
    case 0x3c8:
        return c->dac_write;
    case 0x3c9:
        return dac_read(c);
    case 0x3ca:
        return c->feature;
    case 0x3cc:
        return c->misc;
    case 0x3ce:
        return c->graphics_index;
    case 0x3cf:
        return c->graphics_index < VGA_GRAPHICS ? c->graphics[c->graphics_index] : 0;
    default:
        return port < 0x3c0 || port >= 0x3d0 ? crtc_port_read(c, port, status) : 0xff;
    }
}

static void attribute_write(struct vga_chip *c, uint8_t value)
{
    unsigned index = c->attribute_index & ATTRIBUTE_INDEX;

    if (!c->attribute_data)
        c->attribute_index = value & (ATTRIBUTE_INDEX | ATTRIBUTE_ON);
    else if (index < VGA_ATTRIBUTE)
        c->attribute[index] = value;
    c->attribute_data = !c->attribute_data;
}

static void crtc_write(struct vga_chip *c, uint8_t value)
{
    uint8_t writable = 0xff;

    if (c->crtc_index >= VGA_CRTC)
        return;
    if (c->crtc_index <= CRTC_OVERFLOW && (c->crtc[CRTC_PROTECT] & 0x80))
        writable = c->crtc_index == CRTC_OVERFLOW ? OVERFLOW_FREE : 0;
    c->crtc[c->crtc_index] = (c->crtc[c->crtc_index] & ~writable) | (value & writable);
}

static void crtc_port_write(struct vga_chip *c, uint16_t port, uint8_t value)
{
    if (!is_crtc(c, port))
        return;
    switch (port & 0xf) {
    case 4:
        c->crtc_index = value;
        break;
    case 5:
        crtc_write(c, value);
        break;
    case 0xa:
        c->feature = value;
        break;
    }
}

void vga_port_write(struct vga_chip *c, uint16_t port, uint8_t value)
{
    switch (port) {
    case 0x3c0:
        attribute_write(c, value);
        break;
    case 0x3c2:
        c->misc = value;
        break;
    case 0x3c4:
        c->sequencer_index = value;
        break;
    case 0x3c5:
        if (c->sequencer_index < VGA_SEQUENCER)
            c->sequencer[c->sequencer_index] = value;
        break;
    case 0x3c6:
        c->dac_mask = value;
        break;
    case 0x3c7:
        c->dac_read = value;
        c->dac_part = 0;
        c->dac_reads = true;
        break;
    case 0x3c8:
        c->dac_write = value;
        c->dac_part = 0;
        c->dac_reads = false;
        break;
    case 0x3c9:
        dac_write(c, value);
        break;
    case 0x3ce:
        c->graphics_index = value;
        break;
    case 0x3cf:
        if (c->graphics_index < VGA_GRAPHICS)
            c->graphics[c->graphics_index] = value;
        break;
    default:
        if (port < 0x3c0 || port >= 0x3d0)
            crtc_port_write(c, port, value);
        break;
    }
}
