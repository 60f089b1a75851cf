/*
 * Any instruction, by Zydis: it tells validity, length, mnemonic and the raw fields of the
 * encoding; operands, sizes and the memory operand's address are worked out here, so that Zydis'
 * minimal mode (no operand tables) is enough. Intel SDM vol. 2, "Instruction Format" and
 * "Instruction Set Reference".
 */
#include "guest/insn/insn.h"

#include <Zydis/Decoder.h>
#include <Zydis/Mnemonic.h>
#include <Zydis/Status.h>

#include "arch/x86/lib/string.h"

#define NO_REGISTER 16

/* What is emulated; a mnemonic that is not in the list is not. */
static int operation(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_MOVZX:
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
    case ZYDIS_MNEMONIC_MOVNTI:
        return INSN_MOV;
    case ZYDIS_MNEMONIC_MOVBE:
        return INSN_MOVBE;
    case ZYDIS_MNEMONIC_ADD:
        return INSN_ADD;
    case ZYDIS_MNEMONIC_OR:
        return INSN_OR;
    case ZYDIS_MNEMONIC_ADC:
        return INSN_ADC;
    case ZYDIS_MNEMONIC_SBB:
        return INSN_SBB;
    case ZYDIS_MNEMONIC_AND:
        return INSN_AND;
    case ZYDIS_MNEMONIC_SUB:
        return INSN_SUB;
    case ZYDIS_MNEMONIC_XOR:
        return INSN_XOR;
    case ZYDIS_MNEMONIC_CMP:
        return INSN_CMP;
    case ZYDIS_MNEMONIC_TEST:
        return INSN_TEST;
    case ZYDIS_MNEMONIC_INC:
        return INSN_INC;
    case ZYDIS_MNEMONIC_DEC:
        return INSN_DEC;
    case ZYDIS_MNEMONIC_NOT:
        return INSN_NOT;
    case ZYDIS_MNEMONIC_NEG:
        return INSN_NEG;
    case ZYDIS_MNEMONIC_XCHG:
        return INSN_XCHG;
    case ZYDIS_MNEMONIC_XADD:
        return INSN_XADD;
    case ZYDIS_MNEMONIC_CMPXCHG:
        return INSN_CMPXCHG;
    case ZYDIS_MNEMONIC_CMPXCHG8B:
        return INSN_CMPXCHG8B;
    case ZYDIS_MNEMONIC_BT:
        return INSN_BT;
    case ZYDIS_MNEMONIC_BTS:
        return INSN_BTS;
    case ZYDIS_MNEMONIC_BTR:
        return INSN_BTR;
    case ZYDIS_MNEMONIC_BTC:
        return INSN_BTC;
    case ZYDIS_MNEMONIC_PUSH:
        return INSN_PUSH;
    case ZYDIS_MNEMONIC_POP:
        return INSN_POP;
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD: /* SSE2's MOVSD has the same name and another opcode map */
    case ZYDIS_MNEMONIC_MOVSQ:
        return INSN_MOVS;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD: /* likewise */
    case ZYDIS_MNEMONIC_CMPSQ:
        return INSN_CMPS;
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return INSN_STOS;
    case ZYDIS_MNEMONIC_LODSB:
    case ZYDIS_MNEMONIC_LODSW:
    case ZYDIS_MNEMONIC_LODSD:
    case ZYDIS_MNEMONIC_LODSQ:
        return INSN_LODS;
    case ZYDIS_MNEMONIC_SCASB:
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
        return INSN_SCAS;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
        return INSN_NOP;
    default:
        return -ENOTSUP;
    }
}

/* A byte register's number; without REX, 4 to 7 are AH, CH, DH and BH. */
static void byte_register(struct insn *out, bool rex)
{
    if (!rex && out->reg >= 4) {
        out->reg &= 3;
        out->shift = 8;
    }
}

/* Operand of a one-byte opcode (map 0): direction, size and what stands beside memory. */
static int one_byte_operands(const ZydisDecodedInstruction *z, struct insn *out)
{
    unsigned opcode = z->opcode;

    if (!(opcode & 1))
        out->size = 1;
    out->other = INSN_OTHER_REGISTER;
    if (opcode <
        0x40) { /* the eight ALU operations; with the accumulator (4, 5) there is no memory */
        out->memory_is_destination = !(opcode & 2);
        return opcode & 4 ? -ENOTSUP : 0;
    }
    switch (opcode) {
    case 0x63: /* MOVSXD */
        out->size = z->operand_width / 8;
        out->memory_size = out->size == 2 ? 2 : 4;
        out->sign = true;
        return 0;
    case 0x80 ... 0x83: /* the ALU operations with an immediate */
    case 0xc6 ... 0xc7: /* MOV */
    case 0xf6 ... 0xf7: /* TEST, NOT, NEG */
    case 0xfe:          /* INC, DEC */
        out->memory_is_destination = true;
        out->other = z->raw.imm[0].size ? INSN_OTHER_IMMEDIATE : INSN_OTHER_NONE;
        return 0;
    case 0xff: /* INC, DEC, PUSH */
        out->memory_is_destination = out->operation != INSN_PUSH;
        out->other = INSN_OTHER_NONE;
        return 0;
    case 0x84 ... 0x89: /* TEST, XCHG, MOV */
        out->memory_is_destination = true;
        return 0;
    case 0x8a ... 0x8b: /* MOV */
        return 0;
    case 0x8f: /* POP */
        out->memory_is_destination = true;
        out->other = INSN_OTHER_NONE;
        return 0;
    case 0xa0 ... 0xa3: /* MOV with an absolute address */
        out->memory_is_destination = opcode & 2;
        return 0;
    case 0xa4 ... 0xa7: /* MOVS, CMPS */
    case 0xaa ... 0xaf: /* STOS, LODS, SCAS */
        out->other = INSN_OTHER_NONE;
        return 0;
    default:
        return -ENOTSUP;
    }
}

/* Operand of an opcode after 0F (map 1). */
static int two_byte_operands(const ZydisDecodedInstruction *z, struct insn *out)
{
    unsigned opcode = z->opcode;

    out->other = INSN_OTHER_REGISTER;
    out->memory_is_destination = true;
    switch (opcode) {
    case 0x0d: /* PREFETCHW */
    case 0x18: /* PREFETCHh */
    case 0xae: /* CLFLUSH, CLFLUSHOPT, CLWB */
        out->other = INSN_OTHER_NONE;
        out->memory_is_destination = false;
        return 0;
    case 0xa3: /* BT, BTS, BTR, BTC */
    case 0xab:
    case 0xb3:
    case 0xbb:
        return 0;
    case 0xc3: /* MOVNTI knows no 16-bit form */
        out->size = MAX(out->size, 4);
        return 0;
    case 0xba:
        out->other = INSN_OTHER_IMMEDIATE;
        return 0;
    case 0xb0 ... 0xb1: /* CMPXCHG */
    case 0xc0 ... 0xc1: /* XADD */
        if (!(opcode & 1))
            out->size = 1;
        return 0;
    case 0xb6 ... 0xb7: /* MOVZX */
    case 0xbe ... 0xbf: /* MOVSX */
        out->memory_is_destination = false;
        out->memory_size = opcode & 1 ? 2 : 1;
        out->sign = opcode & 8;
        return 0;
    case 0xc7: /* CMPXCHG8B */
        out->size = 8;
        out->other = INSN_OTHER_NONE;
        return 0;
    default:
        return -ENOTSUP;
    }
}

static bool is_string(unsigned op)
{
    return op >= INSN_MOVS && op <= INSN_SCAS;
}

/* Segment, repetition and lock prefixes; of several in one group the last counts. */
static void prefixes(const ZydisDecodedInstruction *z, struct insn *out, unsigned mode,
                     int *segment)
{
    for (unsigned i = 0; i < z->raw.prefix_count; i++) {
        switch (z->raw.prefixes[i].value) {
        case 0xf0:
            out->lock = true;
            break;
        case 0xf2:
            out->repeat = INSN_REPNE;
            break;
        case 0xf3:
            out->repeat = INSN_REP;
            break;
        case 0x64:
            *segment = INSN_FS;
            break;
        case 0x65:
            *segment = INSN_GS;
            break;
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (mode != 64) /* there they are ignored and do not undo FS or GS */
                *segment = z->raw.prefixes[i].value >> 3 & 3;
            break;
        default:
            break;
        }
    }
}

/* The effective address before it is cut to the address size, and the segment that the base
 * register implies. */
static uint64_t effective_address(const struct insn_context *context,
                                  const ZydisDecodedInstruction *z, const struct insn *insn,
                                  int *segment)
{
    static const uint8_t base16[8] = {3, 3, 5, 5, 6, 7, 5, 3};
    static const uint8_t index16[8] = {6,           7,           6,           7,
                                       NO_REGISTER, NO_REGISTER, NO_REGISTER, NO_REGISTER};
    unsigned base = NO_REGISTER, index = NO_REGISTER, scale = 0;
    uint64_t address = (uint64_t)z->raw.disp.value;

    *segment = INSN_DS;
    if (!(z->attributes & ZYDIS_ATTRIB_HAS_MODRM)) /* an absolute address */
        return address;

    unsigned mod = z->raw.modrm.mod, rm = z->raw.modrm.rm;
    if (insn->address_size == 2) {
        if (mod != 0 || rm != 6) {
            base = base16[rm];
            index = index16[rm];
        }
    } else if (rm == 4) {
        if (mod != 0 || z->raw.sib.base != 5)
            base = z->raw.sib.base | z->raw.rex.B << 3;
        if ((z->raw.sib.index | z->raw.rex.X << 3) != 4) {
            index = z->raw.sib.index | z->raw.rex.X << 3;
            scale = z->raw.sib.scale;
        }
    } else if (mod != 0 || rm != 5) {
        base = rm | z->raw.rex.B << 3;
    } else if (context->mode == 64) {
        address += context->rip + insn->length;
    }

    if (base != NO_REGISTER) {
        address += context->gpr[base];
        if (base == 4 || base == 5)
            *segment = INSN_SS;
        /* POP counts its stack pointer up before it uses it as a base. */
        if (base == 4 && insn->operation == INSN_POP)
            address += insn->size;
    }
    if (index != NO_REGISTER)
        address += context->gpr[index] << scale;
    return address;
}

/* BT and its kin take a signed bit offset from a register: it reaches beyond the operand. */
static uint64_t bit_string_offset(const struct insn_context *context, const struct insn *insn)
{
    unsigned shift = insn->size == 2 ? 4 : insn->size == 4 ? 5 : 6;
    unsigned unused = 64 - insn->size * 8;
    int64_t bit = (int64_t)(context->gpr[insn->reg] << unused) >> unused;
    return (uint64_t)(bit >> shift) * insn->size;
}

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ULL << size * 8) - 1;
}

/* Validity and raw fields. */
static int raw_decode(const struct insn_context *context, ZydisDecodedInstruction *z)
{
    ZydisMachineMode mode = context->mode == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                            : context->mode == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                                  : ZYDIS_MACHINE_MODE_LEGACY_16;
    ZydisStackWidth stack = context->mode == 64    ? ZYDIS_STACK_WIDTH_64
                            : context->stack == 32 ? ZYDIS_STACK_WIDTH_32
                                                   : ZYDIS_STACK_WIDTH_16;
    ZydisDecoder decoder;

    if (ZYAN_FAILED(ZydisDecoderInit(&decoder, mode, stack)) ||
        ZYAN_FAILED(ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE)))
        return -ENOTSUP;
    unsigned count = MIN(context->count, INSN_BYTES);
    ZyanStatus status = ZydisDecoderDecodeInstruction(&decoder, NULL, context->bytes, count, z);
    if (status == ZYDIS_STATUS_NO_MORE_DATA)
        return count < INSN_BYTES ? -EAGAIN : -EBADMSG;
    return ZYAN_FAILED(status) ? -EBADMSG : 0;
}

int insn_decode(const struct insn_context *context, struct insn *out)
{
    ZydisDecodedInstruction z;

    int error = raw_decode(context, &z);
    if (error)
        return error;
    if (z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return -ENOTSUP;
    int op = operation(z.mnemonic);
    if (op < 0)
        return op;
    *out = (struct insn){.length = z.length,
                         .operation = op,
                         .size = z.operand_width / 8,
                         .address_size = z.address_width / 8,
                         .immediate = (uint64_t)z.raw.imm[0].value.s};

    switch (z.opcode_map) {
    case ZYDIS_OPCODE_MAP_DEFAULT:
        error = one_byte_operands(&z, out);
        break;
    case ZYDIS_OPCODE_MAP_0F:
        error = two_byte_operands(&z, out);
        break;
    case ZYDIS_OPCODE_MAP_0F38: /* only MOVBE comes this far */
        out->other = INSN_OTHER_REGISTER;
        out->memory_is_destination = z.opcode & 1;
        break;
    default:
        error = -ENOTSUP;
    }
    if (error)
        return error;
    bool modrm = z.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    if (modrm && z.raw.modrm.mod == 3)
        return -ENOTSUP;
    if (!out->memory_size)
        out->memory_size = out->size;
    if (out->other == INSN_OTHER_REGISTER && modrm) {
        out->reg = z.raw.modrm.reg | z.raw.rex.R << 3;
        if (out->size == 1)
            byte_register(out, z.attributes & ZYDIS_ATTRIB_HAS_REX);
    }
    if (out->other == INSN_OTHER_IMMEDIATE) {
        unsigned unused = 64 - z.raw.imm[0].size;
        out->immediate = (uint64_t)((int64_t)(out->immediate << unused) >> unused);
    }

    int implied = INSN_DS, overriding = -1;
    prefixes(&z, out, context->mode, &overriding);
    uint64_t address = effective_address(context, &z, out, &implied);
    out->segment = overriding >= 0 ? overriding : implied;
    if (is_string(op))
        return out->length;
    out->repeat = INSN_ONCE;
    if (op >= INSN_BT && op <= INSN_BTC && out->other == INSN_OTHER_REGISTER)
        address += bit_string_offset(context, out);
    address &= size_mask(out->address_size);
    if (context->mode != 64)
        out->linear = (uint32_t)(address + context->segment_base(context->opaque, out->segment));
    else if (out->segment >= INSN_FS)
        out->linear = address + context->segment_base(context->opaque, out->segment);
    else
        out->linear = address;
    return out->length;
}
