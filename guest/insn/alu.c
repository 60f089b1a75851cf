/* Flags by the carries of each bit, which is how the adder makes them; checked against the host's
 * CPU by the tests. */
#include "guest/insn/alu.h"

#define ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

static uint64_t common_flags(uint64_t result, uint64_t sign)
{
    uint64_t flags = 0;
    if (!__builtin_parity((unsigned)(result & 0xff)))
        flags |= FLAG_PF;
    if (!(result & (sign | (sign - 1))))
        flags |= FLAG_ZF;
    if (result & sign)
        flags |= FLAG_SF;
    return flags;
}

/* a + b + carry; carries[i] is the carry out of bit i. */
static uint64_t add(uint64_t a, uint64_t b, bool carry, uint64_t sign, uint64_t *flags)
{
    uint64_t result = a + b + carry;
    uint64_t carries = (a & b) | ((a | b) & ~result);

    *flags = common_flags(result, sign);
    if (carries & sign)
        *flags |= FLAG_CF;
    if (carries & 8)
        *flags |= FLAG_AF;
    if ((a ^ result) & (b ^ result) & sign)
        *flags |= FLAG_OF;
    return result;
}

/* a - b - borrow. */
static uint64_t subtract(uint64_t a, uint64_t b, bool borrow, uint64_t sign, uint64_t *flags)
{
    uint64_t result = a - b - borrow;
    uint64_t borrows = (~a & b) | ((~a | b) & result);

    *flags = common_flags(result, sign);
    if (borrows & sign)
        *flags |= FLAG_CF;
    if (borrows & 8)
        *flags |= FLAG_AF;
    if ((a ^ b) & (a ^ result) & sign)
        *flags |= FLAG_OF;
    return result;
}

uint64_t insn_alu(enum insn_operation operation, unsigned size, uint64_t destination,
                  uint64_t source, uint64_t *flags)
{
    uint64_t sign = 1ULL << (size * 8 - 1), mask = sign | (sign - 1);
    uint64_t bit = 1ULL << (source & (size * 8 - 1));
    bool carry = *flags & FLAG_CF;
    uint64_t a = destination & mask, b = source & mask;
    uint64_t result, changed = ARITHMETIC, set;

    switch (operation) {
    case INSN_ADD:
        result = add(a, b, false, sign, &set);
        break;
    case INSN_ADC:
        result = add(a, b, carry, sign, &set);
        break;
    case INSN_SUB:
        result = subtract(a, b, false, sign, &set);
        break;
    case INSN_SBB:
        result = subtract(a, b, carry, sign, &set);
        break;
    case INSN_CMP:
        subtract(a, b, false, sign, &set);
        result = a;
        break;
    case INSN_AND:
        result = a & b;
        set = common_flags(result, sign);
        break;
    case INSN_TEST:
        result = a;
        set = common_flags(a & b, sign);
        break;
    case INSN_OR:
        result = a | b;
        set = common_flags(result, sign);
        break;
    case INSN_XOR:
        result = a ^ b;
        set = common_flags(result, sign);
        break;
    case INSN_INC:
        result = add(a, 1, false, sign, &set);
        changed &= ~FLAG_CF;
        break;
    case INSN_DEC:
        result = subtract(a, 1, false, sign, &set);
        changed &= ~FLAG_CF;
        break;
    case INSN_NEG:
        result = subtract(0, a, false, sign, &set);
        break;
    case INSN_BT:
    case INSN_BTS:
    case INSN_BTR:
    case INSN_BTC:
        set = (a & bit) ? FLAG_CF : 0;
        changed = FLAG_CF;
        result = operation == INSN_BTS   ? a | bit
                 : operation == INSN_BTR ? a & ~bit
                 : operation == INSN_BTC ? a ^ bit
                                         : a;
        break;
    case INSN_NOT:
        return ~a & mask;
    default:
        return a;
    }
    *flags = (*flags & ~changed) | (set & changed);
    return result & mask;
}
