/* Little-endian fields at any address. */
#pragma once

#include "arch/x86/lib/string.h"
#include "arch/x86/lib/types.h"

static inline uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static inline uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

static inline void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

/* For messages: MiB, rounded up. */
static inline unsigned long long mib_up(uint64_t size)
{
    return size / MIB + (size % MIB != 0);
}
