/*
 * Decoding and emulating the instructions that cause memory-mapped I/O exits. VMX gives no
 * instruction bytes with an EPT violation: the caller fetches them at the guest's RIP. Pure:
 * registers and memory come by pointers and callbacks.
 *
 * The hot way, for the MOV forms that drivers use:  insn_fast_mov(), one device access at the
 * exit's guest-physical address, insn_mov_store_value() or insn_mov_load(). Everything else:
 * insn_decode(), then insn_emulate().
 */
#pragma once

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/types.h"

#define INSN_BYTES 15 /* longest instruction */

/* --- the hot MOV forms (fast.c) --- */

/* MOV/MOVZX/MOVSX between memory and a register or an immediate, as insn_fast_mov() found it. 16
 * bytes, no pointers. */
struct insn_mov {
    uint8_t length;        /* of the instruction, 1 to 15 */
    uint8_t size;          /* of the memory access: 1, 2, 4 or 8 */
    uint8_t register_size; /* written to the destination: 1, 2, 4 (clears bits 63:32) or 8 */
    uint8_t reg;           /* register number, 0 to 15; unused when from_immediate */
    uint8_t shift;         /* 8 for AH, CH, DH and BH, else 0 */
    bool write;            /* memory is the destination */
    bool sign;             /* MOVSX and MOVSXD: sign-extend what was read */
    bool from_immediate;   /* C6 and C7: store `immediate` */
    uint64_t immediate;    /* sign-extended to 64 bits */
};

/*
 * Decode MOV 88-8B, C6, C7, A0-A3, MOVZX/MOVSX 0F B6, B7, BE, BF and MOVSXD 63 with a memory
 * operand and the prefixes 66, 67, REX and segment override. n bytes are readable (0 to 15); mode
 * is the code segment's width: 16, 32 or 64. False when it is anything else or the bytes do not
 * hold all of it: then insn_decode() tells.
 */
bool insn_fast_mov(const uint8_t *bytes, unsigned n, unsigned mode, struct insn_mov *out);

/* The value that a store writes (in its low `size` bytes). gpr in the encoding's order RAX RCX RDX
 * RBX RSP RBP RSI... */
static inline uint64_t insn_mov_store_value(const struct insn_mov *mov, const uint64_t *gpr)
{
    uint64_t value = mov->from_immediate ? mov->immediate : gpr[mov->reg & 15] >> mov->shift;
    return mov->size == 8 ? value : value & ((1ULL << (mov->size * 8)) - 1);
}

/* Complete a load: value is what memory held, in its low `size` bytes (higher ones are ignored). */
static inline void insn_mov_load(const struct insn_mov *mov, uint64_t *gpr, uint64_t value)
{
    uint64_t *reg = &gpr[mov->reg & 15];
    unsigned unused = 64 - mov->size * 8;
    value <<= unused;
    value = mov->sign ? (uint64_t)((int64_t)value >> unused) : value >> unused;
    if (LIKELY(mov->register_size == 4))
        *reg = (uint32_t)value;
    else if (mov->register_size == 8)
        *reg = value;
    else {
        uint64_t mask = (mov->register_size == 1 ? 0xffULL : 0xffffULL) << mov->shift;
        *reg = (*reg & ~mask) | (value << mov->shift & mask);
    }
}

/* --- every other instruction (decode.c, emulate.c, alu.c) --- */

/* Segment registers in the encoding's order. */
enum insn_segment { INSN_ES, INSN_CS, INSN_SS, INSN_DS, INSN_FS, INSN_GS };

/* The vCPU as the decoder and the emulator see it. */
struct insn_context {
    uint64_t *gpr;    /* 16 registers, RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15 */
    uint64_t *rflags; /* only the arithmetic flags are changed */
    uint64_t rip;     /* of this instruction; never changed here */
    uint8_t mode;     /* 16, 32 or 64: by EFER.LMA, CS.L and CS.D */
    uint8_t stack;    /* stack pointer's width 16, 32 or 64: 64 in 64-bit mode, else by SS.B */
    uint8_t count;    /* bytes fetched at RIP, 0 to 15 */
    uint8_t bytes[INSN_BYTES];
    void *opaque; /* handed to all callbacks */
    /* Base of a segment; asked lazily, since it costs a VMREAD. In 64-bit mode asked for FS and GS
     * only. */
    uint64_t (*segment_base)(void *opaque, enum insn_segment segment);
};

/*
 * Memory by linear address. size is 1, 2, 4 or 8, and no access crosses a page boundary except that
 * an access of 1-8 bytes which does is split in two, each of 1 to 7 bytes. Values are in the low
 * bytes, the higher ones zero. 0, or -EFAULT once the callback has noted the fault to inject.
 */
struct insn_memory_ops {
    int (*read)(void *opaque, uint64_t linear, unsigned size, uint64_t *value);
    int (*write)(void *opaque, uint64_t linear, unsigned size, uint64_t value);
    /* Would a write of these bytes succeed? Asked before a write that is split or must not happen
     * half. May be NULL. */
    int (*probe_write)(void *opaque, uint64_t linear, unsigned size);
    /* Does the segment let through what the CPU may not have come to yet: a string instruction's
     * operands and the stack? Not asked in 64-bit mode. May be NULL. */
    int (*check)(void *opaque, enum insn_segment segment, uint32_t offset, unsigned size,
                 bool write);
    /* 64-bit mode: the stack would be used at an address that is not canonical. Notes #SS(0) and
     * returns -EFAULT. May be NULL: then it is a read or write like others. */
    int (*stack_fault)(void *opaque);
};

enum insn_operation {
    INSN_MOV, /* also MOVZX, MOVSX, MOVSXD, MOVNTI */
    INSN_MOVBE,
    INSN_ADD,
    INSN_OR,
    INSN_ADC,
    INSN_SBB,
    INSN_AND,
    INSN_SUB,
    INSN_XOR,
    INSN_CMP,
    INSN_TEST,
    INSN_INC,
    INSN_DEC,
    INSN_NOT,
    INSN_NEG,
    INSN_XCHG,
    INSN_XADD,
    INSN_CMPXCHG,
    INSN_CMPXCHG8B,
    INSN_BT,
    INSN_BTS,
    INSN_BTR,
    INSN_BTC,
    INSN_PUSH,
    INSN_POP,
    INSN_MOVS,
    INSN_CMPS,
    INSN_STOS,
    INSN_LODS,
    INSN_SCAS,
    INSN_NOP, /* CLFLUSH, CLFLUSHOPT, CLWB, PREFETCHh: nothing that a guest sees */
    INSN_OPERATIONS
};

/* What the operand beside memory is. */
enum insn_other { INSN_OTHER_NONE, INSN_OTHER_REGISTER, INSN_OTHER_IMMEDIATE };

enum insn_repeat { INSN_ONCE, INSN_REP, INSN_REPNE };

struct insn {
    uint8_t length;       /* 1 to 15 */
    uint8_t operation;    /* enum insn_operation */
    uint8_t size;         /* operand size in bytes: 1, 2, 4 or 8 */
    uint8_t memory_size;  /* of the memory operand; differs from size for MOVZX and MOVSX */
    uint8_t address_size; /* 2, 4 or 8 */
    uint8_t repeat;       /* enum insn_repeat */
    uint8_t other;        /* enum insn_other */
    uint8_t reg;          /* its register number, 0 to 15 */
    uint8_t shift;        /* 8 for AH, CH, DH and BH, else 0 */
    uint8_t segment;      /* enum insn_segment of the memory operand (the source's for string
                             instructions) */
    bool sign;            /* sign-extend from memory_size to size */
    bool memory_is_destination;
    bool lock;
    uint64_t immediate; /* sign-extended to 64 bits */
    uint64_t linear; /* memory operand's address; not for string instructions, which have theirs in
                        registers */
};

/*
 * Decode what stands in context->bytes. Returns the length, or
 * - -EAGAIN: more than `count` bytes are needed: fetch from the next page, where a fault is a #PF
 * - -EBADMSG: no valid instruction (EVEX counts as such): a CPU raises #UD
 * - -ENOTSUP: valid, but not emulated: SSE, AVX, x87, CALL and JMP through memory, segment
 *   registers, CMPXCHG16B, everything without a memory operand
 */
int insn_decode(const struct insn_context *context, struct insn *out) MUST_CHECK;

/*
 * Carry out a decoded instruction: registers, flags and memory. Bounded: at most eight callbacks.
 * - 0: done; RIP moves on by insn->length
 * - 1: one element of a repeated string instruction is done; RIP stays
 * - -EFAULT: a callback has noted a fault; registers and flags are as before, RIP stays
 * - -ENOTSUP: not emulated
 */
int insn_emulate(const struct insn *insn, struct insn_context *context,
                 const struct insn_memory_ops *memory) MUST_CHECK;

/* Name of an operation for logs. */
const char *insn_operation_name(unsigned operation);
