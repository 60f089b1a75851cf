/* Results and flags of the arithmetic and logic instructions. */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/insn/insn.h"

#define FLAG_CF 0x001ULL
#define FLAG_PF 0x004ULL
#define FLAG_AF 0x010ULL
#define FLAG_ZF 0x040ULL
#define FLAG_SF 0x080ULL
#define FLAG_DF 0x400ULL
#define FLAG_OF 0x800ULL

/*
 * The result of operation (INSN_ADD to INSN_NEG, INSN_BT to INSN_BTC; one-operand ones ignore
 * source) on operands of size 1, 2, 4 or 8 bytes, and its effect on *flags. For CMP, TEST and BT
 * the result is the unchanged destination. Flags that the architecture leaves undefined become what
 * Intel's CPUs make of them: AF is cleared by the logic operations, the bit tests touch CF alone.
 * Intel SDM vol. 1, "EFLAGS Cross-Reference".
 */
uint64_t insn_alu(enum insn_operation operation, unsigned size, uint64_t destination,
                  uint64_t source, uint64_t *flags);
