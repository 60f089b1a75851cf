/* Pictures of points as they go over the second serial port (docs/COM2.md, "Screens"). Pure. */
#pragma once

#include "arch/x86/lib/types.h"

#define SCREEN_STREAM_HEADER 8u
/* Bytes of the record of a row of so many points, at most. */
#define SCREEN_STREAM_ROW(width) (SCREEN_STREAM_HEADER + 4u * (width))
#define SCREEN_STREAM_NAME       31u
#define SCREEN_STREAM_SMALL      (SCREEN_STREAM_HEADER + 4u + SCREEN_STREAM_NAME) /* of another one */

/* Each fills out with a record, and returns its length. number: of the picture, modulo 256. */
size_t screen_stream_begin(uint8_t *out, uint8_t number, unsigned width, unsigned height,
                           const char *name);
/* Row y; above: the one before it, or zeroes. Points are red, green and blue. */
size_t screen_stream_row(uint8_t *out, uint8_t number, unsigned y, unsigned width,
                         const uint8_t *row, const uint8_t *above);
/* crc: CRC-32 of all rows. */
size_t screen_stream_end(uint8_t *out, uint8_t number, uint32_t crc);
