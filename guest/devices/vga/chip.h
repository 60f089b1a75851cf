/*
 * The graphics chip without its bus: registers and memory of an IBM VGA, and of the Bochs display
 * (ports 1CEh and 1CFh), which has a linear frame buffer besides. Pure: memory.c what its windows
 * do, picture.c what is on the screen.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define VGA_SEQUENCER 5u
#define VGA_CRTC      25u
#define VGA_GRAPHICS  9u
#define VGA_ATTRIBUTE 21u
#define VGA_DAC       768u
#define VGA_DISPI     10u /* registers; one more only tells how much memory there is */

#define VGA_MEMORY (16u * 1024 * 1024)
#define VGA_WINDOW 0x20000u /* from A0000h on */
#define VGA_BANK   0x10000u
#define VGA_TEXT   0x8000u /* one of the two windows for text */

#define VGA_WIDTH_MAX  2560u
#define VGA_HEIGHT_MAX 2048u /* OVMF has modes as far as memory goes: 2048 by 2048 */

/* FreeVGA's names; only bits that something follows. */
#define MISC_COLOUR           0x01 /* CRTC at 3D4h, not at 3B4h */
#define MISC_RAM              0x02
#define SEQUENCER_CLOCKING    1
#define CLOCKING_HALF         0x08
#define CLOCKING_OFF          0x20
#define SEQUENCER_MAP_MASK    2
#define SEQUENCER_MODE        4
#define MODE_NOT_ODD_EVEN     0x04
#define MODE_CHAIN4           0x08
#define GRAPHICS_SET          0
#define GRAPHICS_ENABLE_SET   1
#define GRAPHICS_COMPARE      2
#define GRAPHICS_ROTATE       3 /* and a function in bits 3 and 4 */
#define GRAPHICS_READ_MAP     4
#define GRAPHICS_MODE         5
#define GRAPHICS_WRITE_MODE   0x03
#define GRAPHICS_READ_COMPARE 0x08
#define GRAPHICS_ODD_EVEN     0x10
#define GRAPHICS_INTERLEAVED  0x20
#define GRAPHICS_256          0x40
#define GRAPHICS_MISC         6 /* bits 2 and 3: which window */
#define GRAPHICS_ON           0x01
#define GRAPHICS_DONT_CARE    7
#define GRAPHICS_BIT_MASK     8
#define ATTRIBUTE_MODE        16
#define ATTRIBUTE_BITS_5_4    0x80
#define ATTRIBUTE_PLANES      18
#define ATTRIBUTE_COLOUR      20
#define ATTRIBUTE_ON          0x20 /* of its index: the screen is not blank */
#define CRTC_WIDTH            1
#define CRTC_OVERFLOW         7
#define CRTC_SCAN_LINE        9
#define CRTC_CURSOR_START     10
#define CRTC_START            12
#define CRTC_CURSOR           14
#define CRTC_PROTECT          17 /* bit 7: 0 to 7 are not written */
#define CRTC_HEIGHT           18
#define CRTC_OFFSET           19
#define CRTC_MODE             23

enum dispi {
    DISPI_ID,
    DISPI_WIDTH,
    DISPI_HEIGHT,
    DISPI_BITS,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRTUAL_WIDTH,
    DISPI_VIRTUAL_HEIGHT,
    DISPI_X,
    DISPI_Y,
    DISPI_MEMORY, /* in units of 64 KiB */
};
#define DISPI_ON       0x01
#define DISPI_MOST     0x02 /* width, height and bits read as what they are at most */
#define DISPI_DAC_8    0x20
#define DISPI_LINEAR   0x40
#define DISPI_NO_CLEAR 0x80

struct vga_chip {
    uint8_t misc, feature;
    uint8_t sequencer_index, sequencer[VGA_SEQUENCER];
    uint8_t crtc_index, crtc[VGA_CRTC];
    uint8_t graphics_index, graphics[VGA_GRAPHICS];
    uint8_t attribute_index, attribute[VGA_ATTRIBUTE];
    bool attribute_data; /* the next write to 3C0h is one, or else an index */
    uint8_t dac_mask, dac_read, dac_write;
    uint8_t dac_part; /* of the colour that is read or written, 0 to 2 */
    bool dac_reads;   /* 3C7h was written last, not 3C8h */
    uint8_t dac[VGA_DAC];
    uint8_t latch[4];
    uint16_t dispi_index, dispi[VGA_DISPI];

    /* Plane p of address a is byte 4 * a + p: so pixels of 256 colours lie as the guest has them.
     */
    uint8_t *memory;
    /* While text_apart what a text mode has in planes 0 and 1 is here instead, as the guest sees it
     * in its window. */
    uint8_t *text;
    bool text_apart;
};

/* A byte access to port 3B0h to 3DFh; status: what 3BAh or 3DAh reads, which the clock says. */
uint8_t vga_port_read(struct vga_chip *c, uint16_t port, uint8_t status);
void vga_port_write(struct vga_chip *c, uint16_t port, uint8_t value);

uint16_t vga_dispi_read(const struct vga_chip *c, unsigned index);
void vga_dispi_write(struct vga_chip *c, unsigned index, uint16_t value);

/* A pixel mode of the Bochs display, as far as memory has it. */
struct vga_linear {
    unsigned width, height, bits; /* bits: 4 is planes, as the VGA's */
    uint32_t pitch, start;        /* bytes; height * pitch from start on are memory */
};
static inline bool vga_is_linear(const struct vga_chip *c)
{
    return c->dispi[DISPI_ENABLE] & DISPI_ON;
}
struct vga_linear vga_linear(const struct vga_chip *c);

/* A byte access to the windows, from A0000h on. */
uint8_t vga_memory_read(struct vga_chip *c, uint32_t offset);
void vga_memory_write(struct vga_chip *c, uint32_t offset, uint8_t value);
/* What of the windows is plain memory, as things are: the window of 64 KiB at A0000h shows memory
 * from *from on; the text is apart, and shows at text_at from A0000h on (0: nowhere). */
struct vga_plain {
    bool bank;
    uint32_t bank_from;
    uint32_t text_at;
};
struct vga_plain vga_plain(const struct vga_chip *c);
/* Have the text where it is wanted. */
void vga_text_apart(struct vga_chip *c, bool apart);
