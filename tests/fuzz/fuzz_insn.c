/* links: guest/insn/fast.c guest/insn/decode.c guest/insn/emulate.c guest/insn/alu.c guest/insn/string_io.c */
/*
 * Any bytes in any mode: the fast decoder against Zydis' full decoder (which knows operands),
 * insn_decode() against the same, and the emulator with registers, memory and faults from the
 * input: bounded work, no undefined behaviour.
 */
#include <stdlib.h>
#include <Zydis/Decoder.h>
#include <Zydis/Register.h>

#include "arch/x86/lib/string.h"
#include "guest/insn/insn.h"
#include "guest/insn/string_io.h"

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x))                                                                                  \
            __builtin_trap();                                                                      \
    } while (0)

struct input {
    const uint8_t *data;
    size_t left;
    unsigned accesses;
};

static uint64_t take(struct input *in, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size && in->left; i++, in->left--)
        value |= (uint64_t)*in->data++ << 8 * i;
    return value;
}

/* --- Zydis' own view --- */

struct full {
    bool valid;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const ZydisDecodedOperand *memory, *other; /* of the explicit and implicit operands */
    bool memory_first;
};

static void full_decode(struct full *f, const uint8_t *bytes, unsigned count, unsigned mode)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder,
                     mode == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                     : mode == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                  : ZYDIS_MACHINE_MODE_LEGACY_16,
                     mode == 64   ? ZYDIS_STACK_WIDTH_64
                     : mode == 32 ? ZYDIS_STACK_WIDTH_32
                                  : ZYDIS_STACK_WIDTH_16);
    memset(f, 0, sizeof(*f));
    f->valid =
        ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, count, &f->instruction, f->operands));
    if (!f->valid)
        return;
    for (unsigned i = 0; i < f->instruction.operand_count_visible; i++) {
        if (f->operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !f->memory) {
            f->memory = &f->operands[i];
            f->memory_first = i == 0;
        } else if (!f->other) {
            f->other = &f->operands[i];
        }
    }
}

static unsigned register_number(ZydisRegister reg, unsigned *shift)
{
    *shift = 0;
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR8) {
        /* AL CL DL BL AH CH DH BH SPL ... : four more names than registers. */
        unsigned id = reg - ZYDIS_REGISTER_AL;
        if (id >= 4 && id < 8) {
            *shift = 8;
            return id - 4;
        }
        return id < 4 ? id : id - 4;
    }
    return (unsigned)ZydisRegisterGetId(reg);
}

/* Width of the memory operand. CPUs read 16 bits for MOVSXD r16, where Zydis says 32. */
static unsigned memory_width(const struct full *f)
{
    bool short_movsxd = f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD && f->other->size == 16;
    return short_movsxd ? 16 : f->memory->size;
}

/* --- the fast decoder --- */

static void check_fast(const uint8_t *bytes, unsigned count, unsigned mode, const struct full *f)
{
    struct insn_mov mov;
    unsigned shift;

    if (!insn_fast_mov(bytes, count, mode, &mov)) {
        /* It may refuse what it need not know, but never a plain MOV. */
        if (f->valid && f->memory && f->instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
            f->instruction.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
            (f->instruction.opcode & 0xfc) == 0x88)
            for (unsigned i = 0;; i++) {
                CHECK(i < f->instruction.raw.prefix_count);
                uint8_t prefix = f->instruction.raw.prefixes[i].value;
                if (prefix == 0xf2 || prefix == 0xf3)
                    break;
            }
        return;
    }
    CHECK(f->valid && f->memory && f->other);
    CHECK(mov.length == f->instruction.length);
    CHECK(f->instruction.mnemonic == ZYDIS_MNEMONIC_MOV ||
          f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVZX ||
          f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSX ||
          f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD);
    CHECK(mov.size * 8 == memory_width(f));
    CHECK(mov.write == f->memory_first);
    CHECK(mov.sign == (f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSX ||
                       f->instruction.mnemonic == ZYDIS_MNEMONIC_MOVSXD));
    CHECK(mov.from_immediate == (f->other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE));
    if (mov.from_immediate) {
        uint64_t unused = 64 - mov.size * 8;
        CHECK(mov.immediate << unused == f->other->imm.value.u << unused);
    } else {
        CHECK(mov.register_size * 8 == f->other->size);
        CHECK(mov.reg == register_number(f->other->reg.value, &shift) && mov.shift == shift);
    }
}

/* --- the general decoder --- */

static uint64_t segment_base(void *opaque, enum insn_segment segment)
{
    CHECK(segment <= INSN_GS);
    return segment * 0x1000000ULL;
}

static void check_operands(const struct insn *insn, const struct insn_context *context,
                           const struct full *f)
{
    unsigned shift;
    const ZydisDecodedOperand *memory = f->memory;

    CHECK(insn->address_size * 8 == f->instruction.address_width);
    if (insn->operation >= INSN_MOVS && insn->operation <= INSN_SCAS) {
        CHECK(insn->size * 8 == f->operands[0].size);
        return;
    }
    CHECK(memory);
    if (insn->operation != INSN_NOP)
        CHECK(insn->memory_size * 8 == memory_width(f));
    if (insn->other == INSN_OTHER_REGISTER) {
        CHECK(f->other && f->other->type == ZYDIS_OPERAND_TYPE_REGISTER);
        CHECK(insn->size * 8 == f->other->size);
        CHECK(insn->reg == register_number(f->other->reg.value, &shift) && insn->shift == shift);
        CHECK(insn->memory_is_destination == f->memory_first);
    } else if (insn->other == INSN_OTHER_IMMEDIATE) {
        uint64_t unused = 64 - insn->size * 8;
        CHECK(f->other && f->other->type == ZYDIS_OPERAND_TYPE_IMMEDIATE);
        if (insn->operation < INSN_BT || insn->operation > INSN_BTC)
            CHECK(insn->immediate << unused == f->other->imm.value.u << unused);
    } else {
        CHECK(!f->other || insn->operation == INSN_NOP);
    }

    /* Zydis 4.0 takes R13D for a base where there is none: mod 0, SIB base 5, REX.B, prefix 67. */
    bool no_base = insn->address_size == 4 && (f->instruction.attributes & ZYDIS_ATTRIB_HAS_SIB) &&
                   f->instruction.raw.modrm.mod == 0 && f->instruction.raw.sib.base == 5;
    uint64_t address = (uint64_t)(no_base ? f->instruction.raw.disp.value : memory->mem.disp.value);
    if (no_base)
        ;
    else if (memory->mem.base == ZYDIS_REGISTER_RIP || memory->mem.base == ZYDIS_REGISTER_EIP)
        address += context->rip + insn->length;
    else if (memory->mem.base)
        address += context->gpr[register_number(memory->mem.base, &shift)];
    if (memory->mem.index)
        address += context->gpr[register_number(memory->mem.index, &shift)] * memory->mem.scale;
    if (insn->address_size < 8)
        address &= (1ULL << insn->address_size * 8) - 1;
    unsigned segment = (unsigned)ZydisRegisterGetId(memory->mem.segment);
    CHECK(insn->segment == segment);
    if (context->mode != 64 || segment >= INSN_FS)
        address += segment_base(NULL, segment);
    if (context->mode != 64)
        address = (uint32_t)address;
    bool beyond =
        insn->operation == INSN_POP || (insn->operation >= INSN_BT && insn->operation <= INSN_BTC &&
                                        insn->other == INSN_OTHER_REGISTER);
    CHECK(beyond || insn->linear == address);
}

static void check_string_io(const uint8_t *bytes, unsigned n, unsigned mode, const struct full *f)
{
    struct insn_string_io io;
    bool is = insn_string_io_decode(bytes, n, mode, &io);

    if (!f->valid)
        return;
    switch (f->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
        break;
    default:
        CHECK(!is);
        return;
    }
    CHECK(is && io.address_size * 8 == f->instruction.address_width);
    for (unsigned i = 0; i < f->instruction.operand_count; i++)
        if (f->operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
            CHECK(io.segment == (unsigned)ZydisRegisterGetId(f->operands[i].mem.segment));
}

/* --- the emulator --- */

static void check_access(struct input *in, uint64_t linear, unsigned size)
{
    CHECK(size >= 1 && size <= 8);
    CHECK(linear / PAGE_SIZE == (linear + size - 1) / PAGE_SIZE);
    CHECK(++in->accesses <= 6);
}

static int fuzz_read(void *opaque, uint64_t linear, unsigned size, uint64_t *value)
{
    struct input *in = opaque;
    check_access(in, linear, size);
    if (take(in, 1) == 0xff)
        return -EFAULT;
    *value = take(in, size);
    return 0;
}

static int fuzz_write(void *opaque, uint64_t linear, unsigned size, uint64_t value)
{
    check_access(opaque, linear, size);
    CHECK(size == 8 || value >> size * 8 == 0);
    return take(opaque, 1) == 0xff ? -EFAULT : 0;
}

static int fuzz_probe(void *opaque, uint64_t linear, unsigned size)
{
    CHECK(size <= 8);
    return take(opaque, 1) == 0xff ? -EFAULT : 0;
}

static int fuzz_segment(void *opaque, enum insn_segment segment, uint32_t offset, unsigned size,
                        bool write)
{
    const struct insn_limits s = {.limit = (uint32_t)take(opaque, 4),
                                  .access = (uint32_t)take(opaque, 3),
                                  .protected = take(opaque, 1) & 1};

    CHECK(segment <= INSN_GS && size <= 8);
    return insn_segment_allows(&s, offset, size, write) ? 0 : -EFAULT;
}

static int fuzz_stack_fault(void *opaque)
{
    return -EFAULT;
}

static const struct insn_memory_ops fuzz_ops = {fuzz_read, fuzz_write, fuzz_probe, fuzz_segment,
                                                fuzz_stack_fault};

static void emulate(const struct insn *insn, struct insn_context *context, struct input *in)
{
    for (unsigned i = 0; i < 4; i++) {
        uint64_t before[16], flags = *context->rflags;
        memcpy(before, context->gpr, sizeof(before));
        in->accesses = 0;
        int result = insn_emulate(insn, context, &fuzz_ops);
        CHECK(result == 0 || result == 1 || result == -EFAULT);
        CHECK((flags ^ *context->rflags) >> 12 == 0);
        if (result == -EFAULT)
            CHECK(!memcmp(before, context->gpr, sizeof(before)) && flags == *context->rflags);
        if (result == 1)
            CHECK(insn->repeat != INSN_ONCE && before[1] != context->gpr[1]);
        else
            break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t modes[] = {64, 32, 16, 64};
    struct input in = {.data = data, .left = size};
    uint64_t gpr[16], rflags;
    struct insn insn;
    struct full full;

    if (!size)
        return 0;
    unsigned control = take(&in, 1);
    struct insn_context context = {.gpr = gpr,
                                   .rflags = &rflags,
                                   .mode = modes[control & 3],
                                   .stack = modes[control & 3],
                                   .opaque = &in,
                                   .segment_base = segment_base};
    if (context.mode != 64 && control & 4)
        context.stack = 48 - context.stack;
    context.count = MIN(in.left, INSN_BYTES);
    /* An exact copy, so that the sanitizer sees any byte read too many. */
    uint8_t *exact = malloc(context.count ? context.count : 1);
    memcpy(exact, in.data, context.count);
    memcpy(context.bytes, in.data, context.count);
    in.data += context.count;
    in.left -= context.count;

    full_decode(&full, exact, context.count, context.mode);
    check_fast(exact, context.count, context.mode, &full);
    check_string_io(exact, context.count, context.mode, &full);
    free(exact);

    context.rip = take(&in, 8);
    rflags = take(&in, 2);
    for (unsigned i = 0; i < 16; i++)
        gpr[i] = take(&in, 8);
    int result = insn_decode(&context, &insn);
    CHECK(result > 0                                ? full.valid
          : result == -EAGAIN || result == -EBADMSG ? !full.valid
                                                    : result == -ENOTSUP);
    if (result < 0)
        return 0;
    CHECK(result == insn.length && result == full.instruction.length);
    check_operands(&insn, &context, &full);
    emulate(&insn, &context, &in);
    return 0;
}
