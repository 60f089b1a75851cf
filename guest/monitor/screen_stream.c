/* See screen_stream.h. */
#include "guest/monitor/screen_stream.h"

#include "arch/x86/lib/string.h"

#define MAGIC_0 0xd5
#define MAGIC_1 0xc3

enum record { BEGIN = 1, ROW, END };
enum piece { DIFFERENT, ALIKE, AS_ABOVE }; /* two bits; the rest of 16 is how many points, less 1 */

#define POINT 3u /* bytes */
/* Fewer points are not worth a piece of their own. */
#define ALIKE_LEAST 3u
#define ABOVE_LEAST 2u

static size_t put16(uint8_t *out, unsigned value)
{
    out[0] = (uint8_t)value;
    out[1] = (uint8_t)(value >> 8);
    return 2;
}

/* The header of a record whose body has that length. */
static size_t put_header(uint8_t *out, enum record kind, uint8_t number, unsigned y, size_t length)
{
    out[0] = MAGIC_0;
    out[1] = MAGIC_1;
    out[2] = (uint8_t)kind;
    out[3] = number;
    put16(out + 4, y);
    put16(out + 6, (unsigned)length);
    return SCREEN_STREAM_HEADER + length;
}

size_t screen_stream_begin(uint8_t *out, uint8_t number, unsigned width, unsigned height,
                           const char *name)
{
    size_t length = MIN(strlen(name), (size_t)SCREEN_STREAM_NAME);
    uint8_t *body = out + SCREEN_STREAM_HEADER;

    put16(body, width);
    put16(body + 2, height);
    memcpy(body + 4, name, length);
    return put_header(out, BEGIN, number, 0, 4 + length);
}

size_t screen_stream_end(uint8_t *out, uint8_t number, uint32_t crc)
{
    put16(out + SCREEN_STREAM_HEADER, crc & 0xffff);
    put16(out + SCREEN_STREAM_HEADER + 2, crc >> 16);
    return put_header(out, END, number, 0, 4);
}

static bool is_same(const uint8_t *a, const uint8_t *b)
{
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

/* How many points from x on are as those above, or as the first of them. */
static unsigned count_above(const uint8_t *row, const uint8_t *above, unsigned x, unsigned width)
{
    unsigned n = 0;

    while (x + n < width && is_same(row + POINT * (x + n), above + POINT * (x + n)))
        n++;
    return n;
}

static unsigned count_alike(const uint8_t *row, unsigned x, unsigned width)
{
    unsigned n = 1;

    while (x + n < width && is_same(row + POINT * (x + n), row + POINT * x))
        n++;
    return n;
}

static size_t put_piece(uint8_t *out, enum piece kind, unsigned count, const uint8_t *points)
{
    size_t bytes = kind == DIFFERENT ? POINT * count : kind == ALIKE ? POINT : 0;

    put16(out, (unsigned)kind << 14 | (count - 1));
    memcpy(out + 2, points, bytes);
    return 2 + bytes;
}

size_t screen_stream_row(uint8_t *out, uint8_t number, unsigned y, unsigned width,
                         const uint8_t *row, const uint8_t *above)
{
    uint8_t *body = out + SCREEN_STREAM_HEADER;
    size_t length = 0;
    unsigned x = 0, from = 0; /* points from `from` to x are in no piece yet */

    while (x < width) {
        unsigned same = count_above(row, above, x, width), alike = count_alike(row, x, width);
        bool is_above = same >= ABOVE_LEAST && same + 1 >= alike;

        if (!is_above && alike < ALIKE_LEAST) {
            x++;
            continue;
        }
        if (x > from)
            length += put_piece(body + length, DIFFERENT, x - from, row + POINT * from);
        length += put_piece(body + length, is_above ? AS_ABOVE : ALIKE, is_above ? same : alike,
                            row + POINT * x);
        x += is_above ? same : alike;
        from = x;
    }
    if (x > from)
        length += put_piece(body + length, DIFFERENT, x - from, row + POINT * from);
    return put_header(out, ROW, number, y, length);
}
