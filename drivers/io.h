/* A device's registers: device memory that has been mapped, or I/O ports. Unit tests put a model of
 * the device behind them. */
#pragma once

#include "arch/x86/cpu.h"

struct io {
    uint64_t base; /* an address, or the first port */
    uint64_t size; /* bytes; 0: there is nothing */
    bool ports;
};

#if __STDC_HOSTED__
uint64_t model_read(const struct io *io, unsigned offset, unsigned size);
void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value);
#define IO_ACCESS(bits, in, out)                                                                   \
    static inline uint##bits##_t io_read##bits(const struct io *io, unsigned offset)               \
    {                                                                                              \
        return (uint##bits##_t)model_read(io, offset, bits / 8);                                   \
    }                                                                                              \
    static inline void io_write##bits(const struct io *io, unsigned offset, uint##bits##_t value)  \
    {                                                                                              \
        model_write(io, offset, bits / 8, value);                                                  \
    }
#else
#define IO_ACCESS(bits, in, out)                                                                   \
    static inline uint##bits##_t io_read##bits(const struct io *io, unsigned offset)               \
    {                                                                                              \
        if (io->ports)                                                                             \
            return in((uint16_t)(io->base + offset));                                              \
        return *(const volatile uint##bits##_t *)(io->base + offset);                              \
    }                                                                                              \
    static inline void io_write##bits(const struct io *io, unsigned offset, uint##bits##_t value)  \
    {                                                                                              \
        if (io->ports)                                                                             \
            out((uint16_t)(io->base + offset), value);                                             \
        else                                                                                       \
            *(volatile uint##bits##_t *)(io->base + offset) = value;                               \
    }
#endif
IO_ACCESS(8, inb, outb)
IO_ACCESS(16, inw, outw)
IO_ACCESS(32, inl, outl)
#undef IO_ACCESS

/* 64-bit registers as two halves, the lower first: some devices take nothing else. */
static inline uint64_t io_read64(const struct io *io, unsigned offset)
{
    uint64_t low = io_read32(io, offset);

    return low | (uint64_t)io_read32(io, offset + 4) << 32;
}

static inline void io_write64(const struct io *io, unsigned offset, uint64_t value)
{
    io_write32(io, offset, (uint32_t)value);
    io_write32(io, offset + 4, (uint32_t)(value >> 32));
}
