/* The input of a fuzzer that takes it number by number. Behind its end all are zero. */
#pragma once

#include <stddef.h>
#include <stdint.h>

static const uint8_t *input;
static size_t left; /* bytes that nobody has taken */

static inline void take_input(const uint8_t *data, size_t size)
{
    input = data;
    left = size;
}

static inline uint8_t next(void)
{
    if (left == 0)
        return 0;
    left--;
    return *input++;
}

static inline uint16_t next16(void)
{
    uint16_t low = next();

    return (uint16_t)(low | next() << 8);
}

static inline uint32_t next32(void)
{
    uint32_t low = next16();

    return low | (uint32_t)next16() << 16;
}
