/* What is on the screen: letters, or points of colour. Pure. */
#pragma once

#include "guest/devices/vga/chip.h"

#define PICTURE_COLUMNS 160u /* of text, at most */
#define PICTURE_ROWS    100u

struct picture {
    enum { PICTURE_BLANK, PICTURE_TEXT, PICTURE_PIXELS } kind;
    unsigned width, height; /* letters, or points: at most VGA_WIDTH_MAX by VGA_HEIGHT_MAX */
};

struct picture picture_of(const struct vga_chip *c);
/* Row y of a picture of text, in ASCII: what that does not have is shown by what looks alike, or
 * as '?'. out holds width bytes. */
void picture_text(const struct vga_chip *c, const struct picture *p, unsigned y, char *out);
/* Row y of a picture of points: red, green and blue of each. out holds 3 * width bytes. */
void picture_row(const struct vga_chip *c, const struct picture *p, unsigned y, uint8_t *out);
