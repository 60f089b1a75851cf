#include "drivers/framebuffer.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "mm/heap.h"
#include "mm/space.h"

#define CELL_WIDTH  8
#define CELL_HEIGHT 16
#define FIRST_GLYPH 0x20
#define TAB         8
#define SIDE_MAX    16384

/* Printable ASCII, made at build time from a font of the build machine; empty when it has none. */
static const uint8_t font[][CELL_HEIGHT] = {
#include "font.inc"
};

struct cell {
    char text;
    uint8_t color;
};

static const uint32_t colors[] = {
    [FB_GREY] = 0xa8a8a8, [FB_WHITE] = 0xf0f0f0, [FB_YELLOW] = 0xf0d040,
    [FB_RED] = 0xf05040,  [FB_GREEN] = 0x50d050, [FB_DARK] = 0x606060,
};

static volatile uint32_t *pixels; /* NULL: no text */
static unsigned stride;           /* in pixels */
static bool swap_red_blue;
static struct cell *cells; /* what stands on the screen, row by row */
static unsigned columns, rows, column, row;
static enum { TEXT, AFTER_ESC, SEQUENCE } escape; /* ECMA-48: ESC [ parameters letter */

static uint32_t pixel(enum framebuffer_color color)
{
    uint32_t c = colors[color];

    return swap_red_blue ? (c & 0xff) << 16 | (c & 0xff00) | c >> 16 : c;
}

/* Two pixels at a time: write-combining memory likes few wide stores. */
static void draw(unsigned x, unsigned y)
{
    const struct cell *cell = &cells[y * columns + x];
    unsigned index = (uint8_t)cell->text - FIRST_GLYPH;
    uint64_t ink = pixel(cell->color);
    const uint64_t pair[] = {0, ink << 32, ink, ink << 32 | ink}; /* the left one is the high bit */
    volatile uint32_t *line = pixels + (size_t)y * CELL_HEIGHT * stride + x * CELL_WIDTH;

    for (unsigned i = 0; i < CELL_HEIGHT; i++, line += stride) {
        uint8_t bits = index < ARRAY_SIZE(font) ? font[index][i] : 0x7e;
        volatile uint64_t *two = (volatile uint64_t *)line;

        two[0] = pair[bits >> 6];
        two[1] = pair[bits >> 4 & 3];
        two[2] = pair[bits >> 2 & 3];
        two[3] = pair[bits & 3];
    }
}

int framebuffer_init(const struct handover_framebuffer *fb)
{
    uint64_t size = (uint64_t)fb->stride * fb->height * 4;

    if (!fb->base || fb->format == HANDOVER_PIXEL_NONE || !ARRAY_SIZE(font))
        return -ENODEV;
    if (fb->width < CELL_WIDTH || fb->height < CELL_HEIGHT || fb->stride < fb->width ||
        fb->stride > SIDE_MAX || fb->height > SIDE_MAX || (fb->stride & 1) || size > fb->size)
        return -ENODEV;
    columns = fb->width / CELL_WIDTH;
    rows = fb->height / CELL_HEIGHT;
    stride = fb->stride;
    swap_red_blue = fb->format == HANDOVER_PIXEL_RGBX;
    cells = heap_alloc(sizeof(*cells) * columns * rows);
    pixels = cells ? map_mmio(fb->base, size, CACHE_WC) : NULL;
    if (!pixels) {
        heap_free(cells);
        return -ENOMEM;
    }
    memset((void *)pixels, 0, size);
    for (unsigned i = 0; i < columns * rows; i++)
        cells[i].text = ' ';
    return 0;
}

bool framebuffer_present(void)
{
    return pixels;
}

static void put(unsigned x, unsigned y, struct cell cell)
{
    struct cell *old = &cells[y * columns + x];
    bool same = old->text == cell.text && (old->color == cell.color || cell.text == ' ');

    *old = cell;
    if (!same)
        draw(x, y);
}

/* Only cells that differ from the line above are drawn: most of a screen of text is blank. */
static void scroll(void)
{
    for (unsigned y = 0; y + 1 < rows; y++)
        for (unsigned x = 0; x < columns; x++)
            put(x, y, cells[(y + 1) * columns + x]);
    for (unsigned x = 0; x < columns; x++)
        put(x, rows - 1, (struct cell){.text = ' '});
}

static void newline(void)
{
    column = 0;
    if (row + 1 < rows)
        row++;
    else
        scroll();
}

static void erase(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        put(i % columns, i / columns, (struct cell){.text = ' '});
}

/* The last byte of a sequence. Parameters do not matter for those that are sent here. */
static void control(char letter)
{
    unsigned here = row * columns + MIN(column, columns - 1);

    if (letter == 'H')
        row = column = 0;
    else if (letter == 'J')
        erase(here, rows * columns);
    else if (letter == 'K')
        erase(here, (row + 1) * columns);
}

/* Whether the character belongs to an escape sequence. */
static bool escaped(char c)
{
    if (escape == TEXT && c != 0x1b)
        return false;
    if (c == 0x1b) {
        escape = AFTER_ESC;
    } else if (escape == AFTER_ESC) {
        escape = c == '[' ? SEQUENCE : TEXT;
    } else if (c < '0' || c > '?') {
        escape = TEXT;
        control(c);
    }
    return true;
}

void framebuffer_write(const char *text, size_t length, enum framebuffer_color color)
{
    if (!pixels)
        return;
    for (size_t i = 0; i < length; i++) {
        if (escaped(text[i]))
            continue;
        switch (text[i]) {
        case '\a':
            break;
        case '\n':
            newline();
            break;
        case '\r':
            column = 0;
            break;
        case '\b':
            column -= column > 0;
            break;
        case '\t':
            column = MIN((column / TAB + 1) * TAB, columns - 1);
            break;
        default:
            if (column == columns)
                newline();
            put(column++, row, (struct cell){.text = text[i], .color = (uint8_t)color});
        }
    }
}
