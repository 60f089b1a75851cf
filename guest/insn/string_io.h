/*
 * Where the elements of string instructions lie, and what their segments let through. The VM exit
 * of INS and OUTS comes before the segment's limit and type, canonical form and alignment are
 * checked (SDM, "Relative Priority of Faults and VM Exits"). Pure.
 */
#pragma once

#include "guest/insn/insn.h"

/* What the instruction's prefixes say. */
struct insn_string_io {
    uint8_t address_size; /* 2, 4 or 8 */
    uint8_t segment;      /* enum insn_segment of the element in memory */
};

/*
 * Decode INS or OUTS (6C to 6F). n bytes are readable; mode is 16, 32 or 64. False when it is
 * anything else or the bytes do not hold all of it.
 */
bool insn_string_io_decode(const uint8_t *bytes, unsigned n, unsigned mode,
                           struct insn_string_io *out);

/* A segment outside 64-bit mode; access as in the VMCS. */
struct insn_limits {
    uint32_t limit, access;
    bool protected; /* CR0.PE: type checks apply */
};

/* May size bytes at that offset be read, or written? SDM, "Limit Checking" and "Type Checking". */
bool insn_segment_allows(const struct insn_limits *s, uint32_t offset, unsigned size, bool write);

/* Is each of size bytes at a canonical address of 48 bits? */
static inline bool insn_canonical(uint64_t linear, unsigned size)
{
    uint64_t last = linear + size - 1;

    return (uint64_t)((int64_t)(linear << 16) >> 16) == linear &&
           (uint64_t)((int64_t)(last << 16) >> 16) == last;
}
