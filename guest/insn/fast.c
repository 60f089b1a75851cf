/*
 * The MOV forms that drivers use on device registers, decoded without tables of the whole
 * instruction set: nearly every memory-mapped I/O exit ends here, so the straight line for 88-8B is
 * kept short. The faulting guest-physical address comes from the hardware; of the addressing form
 * only its length matters. Intel SDM vol. 2, "Instruction Format" and "Opcode Map".
 */
#include "guest/insn/insn.h"

/* Bytes that ModRM brings along, itself included: 1 + SIB + displacement. 0 for a register operand.
 */
#define MOD0       1, 1, 1, 1, 2, 5, 1, 1
#define MOD1       2, 2, 2, 2, 3, 2, 2, 2
#define MOD2       5, 5, 5, 5, 6, 5, 5, 5
#define EIGHT(row) row, row, row, row, row, row, row, row

static const uint8_t modrm_length[256] = {EIGHT(MOD0), EIGHT(MOD1), EIGHT(MOD2)};

/* Bytes of the addressing form at p, of which n >= 1 are readable; 0 when it is a register or does
 * not fit. */
static inline unsigned addressing_length(const uint8_t *p, unsigned n, unsigned address_size)
{
    unsigned modrm = p[0], length;
    if (LIKELY(address_size != 2)) {
        length = modrm_length[modrm];
        /* Without a base, mod 0 brings a 32-bit displacement. */
        if ((modrm & 0xc7) == 4 && n >= 2 && (p[1] & 7) == 5)
            length += 4;
    } else {
        unsigned mod = modrm >> 6;
        length = mod == 3 ? 0 : mod == 0 ? ((modrm & 7) == 6 ? 3 : 1) : 1 + mod;
    }
    return length <= n ? length : 0;
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
static inline void byte_register(struct insn_mov *out, unsigned reg, unsigned rex)
{
    bool high = !rex && (reg & 4);
    out->reg = high ? reg & 3 : reg;
    out->shift = high ? 8 : 0;
}

struct prefixes {
    unsigned rex; /* 0 without */
    bool operand_size, address_size;
};

/* MOV r/m,imm and MOVZX/MOVSX/MOVSXD and MOV with an absolute address. at: index of the opcode's
 * last byte. */
static bool mov_after_prefixes(const uint8_t *bytes, unsigned n, unsigned at, unsigned mode,
                               bool two_byte, const struct prefixes *prefix, struct insn_mov *out)
{
    unsigned opcode = bytes[at++], rex = prefix->rex;
    unsigned word = (mode == 16) == prefix->operand_size ? 4 : 2; /* operand size but for REX.W */
    unsigned size = rex & 8 ? 8 : word;
    unsigned address_size = mode == 64                             ? (prefix->address_size ? 4 : 8)
                            : (mode == 16) == prefix->address_size ? 4
                                                                   : 2;
    unsigned length, immediate_size = 0;

    *out = (struct insn_mov){.register_size = size};
    if (!two_byte && opcode >= 0xa0 && opcode <= 0xa3) {
        out->size = opcode & 1 ? size : 1;
        out->register_size = out->size;
        out->write = opcode & 2;
        out->length = at + address_size;
        return out->length <= n;
    }

    if (at >= n)
        return false;
    unsigned modrm = bytes[at];
    unsigned reg = (modrm >> 3 & 7) | (rex & 4) << 1;
    length = addressing_length(bytes + at, n - at, address_size);
    if (!length)
        return false;
    at += length;
    out->reg = reg;

    if (!two_byte && (opcode & 0xfc) == 0x88) {
        out->size = opcode & 1 ? size : 1;
        out->register_size = out->size;
        out->write = !(opcode & 2);
        if (out->size == 1)
            byte_register(out, reg, rex);
    } else if (two_byte) {
        if ((opcode & 0xf6) != 0xb6)
            return false;
        out->size = opcode & 1 ? 2 : 1;
        out->sign = opcode & 8;
    } else if (opcode == 0x63 && mode == 64) {
        /* MOVSXD reads 16 bits with prefix 66 and 32 bits otherwise. */
        out->size = size == 2 ? 2 : 4;
        out->sign = true;
    } else if ((opcode == 0xc6 || opcode == 0xc7) && (modrm & 0x38) == 0) {
        out->size = opcode & 1 ? size : 1;
        out->register_size = out->size;
        out->reg = 0;
        out->write = true;
        out->from_immediate = true;
        immediate_size = opcode & 1 ? MIN(size, 4U) : 1;
        if (at + immediate_size > n)
            return false;
        uint32_t value = 0;
        for (unsigned i = 0; i < immediate_size; i++)
            value |= (uint32_t)bytes[at + i] << 8 * i;
        unsigned unused = 32 - 8 * immediate_size;
        out->immediate = (uint64_t)(int64_t)((int32_t)(value << unused) >> unused);
    } else {
        return false;
    }
    out->length = at + immediate_size;
    return true;
}

/* Any prefixes, any mode, all forms. */
static __attribute__((noinline)) bool general_mov(const uint8_t *bytes, unsigned n, unsigned mode,
                                                  struct insn_mov *out)
{
    struct prefixes prefix = {0};

    for (unsigned at = 0; at < n; at++) {
        unsigned byte = bytes[at];
        switch (byte) {
        case 0x40 ... 0x4f:
            if (mode != 64)
                return false;
            prefix.rex = byte;
            continue;
        case 0x66:
            prefix.operand_size = true;
            break;
        case 0x67:
            prefix.address_size = true;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0x64:
        case 0x65:
            break;
        case 0x0f:
            return at + 1 < n && mov_after_prefixes(bytes, n, at + 1, mode, true, &prefix, out);
        default:
            return mov_after_prefixes(bytes, n, at, mode, false, &prefix, out);
        }
        /* A REX prefix counts only directly before the opcode. */
        prefix.rex = 0;
    }
    return false;
}

bool insn_fast_mov(const uint8_t *bytes, unsigned n, unsigned mode, struct insn_mov *out)
{
    /* The straight line: 89 and 8B with at most REX before them. The longest is REX 89 ModRM SIB
     * disp32. */
    if (LIKELY(n >= 8 && mode != 16)) {
        const uint8_t *p = bytes;
        unsigned rex = 0;
        if (mode == 64 && (*p & 0xf0) == 0x40)
            rex = *p++;
        if (LIKELY((*p & 0xfd) == 0x89)) {
            unsigned modrm = p[1], length = modrm_length[modrm];
            if ((modrm & 0xc7) == 4 && (p[2] & 7) == 5)
                length += 4;
            unsigned size = rex & 8 ? 8 : 4;
            out->length = p - bytes + 1 + length;
            out->size = size;
            out->register_size = size;
            out->reg = (modrm >> 3 & 7) | (rex & 4) << 1;
            out->shift = 0;
            out->write = *p == 0x89;
            out->sign = false;
            out->from_immediate = false;
            out->immediate = 0;
            return length != 0;
        }
    }
    return general_mov(bytes, MIN(n, INSN_BYTES), mode, out);
}
