/*
 * Carrying out what insn_decode() found. Every operation reads memory first, computes, writes
 * memory, and only then changes registers and flags: a fault at any point leaves the instruction as
 * if it had not begun. The memory operand's segment is not checked: the CPU has done so before the
 * access that caused the exit.
 */
#include "guest/insn/alu.h"
#include "guest/insn/insn.h"
#include "guest/insn/string_io.h"

#define RAX 0
#define RCX 1
#define RDX 2
#define RBX 3
#define RSP 4
#define RSI 6
#define RDI 7

static uint64_t mask_of(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ULL << size * 8) - 1;
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
    unsigned unused = 64 - size * 8;
    return (uint64_t)((int64_t)(value << unused) >> unused);
}

/* Write a register as the CPU does: 32 bits clear the upper half, 8 and 16 bits leave the rest. */
static void set_register(struct insn_context *context, unsigned reg, unsigned shift, unsigned size,
                         uint64_t value)
{
    uint64_t mask = size == 4 ? UINT64_MAX : mask_of(size) << shift;
    value = (value & mask_of(size)) << shift;
    context->gpr[reg & 15] = (context->gpr[reg & 15] & ~mask) | value;
}

/* --- memory: an access that crosses a page boundary becomes two --- */

static unsigned bytes_in_page(uint64_t linear, unsigned size)
{
    return MIN(size, PAGE_SIZE - (linear & (PAGE_SIZE - 1)));
}

static uint64_t linear_after(const struct insn_context *context, uint64_t linear, uint64_t offset)
{
    return context->mode == 64 ? linear + offset : (uint32_t)(linear + offset);
}

static int read_memory(struct insn_context *context, const struct insn_memory_ops *memory,
                       uint64_t linear, unsigned size, uint64_t *value)
{
    unsigned first = bytes_in_page(linear, size);
    uint64_t high = 0;

    int error = memory->read(context->opaque, linear, first, value);
    if (!error && first < size) {
        error = memory->read(context->opaque, linear_after(context, linear, first), size - first,
                             &high);
        *value = (*value & mask_of(first)) | high << first * 8;
    }
    *value &= mask_of(size);
    return error;
}

static int write_memory(struct insn_context *context, const struct insn_memory_ops *memory,
                        uint64_t linear, unsigned size, uint64_t value)
{
    unsigned first = bytes_in_page(linear, size);

    value &= mask_of(size);
    if (first == size)
        return memory->write(context->opaque, linear, size, value);
    uint64_t next = linear_after(context, linear, first);
    if (memory->probe_write) {
        int error = memory->probe_write(context->opaque, linear, first);
        if (!error)
            error = memory->probe_write(context->opaque, next, size - first);
        if (error)
            return error;
    }
    int error = memory->write(context->opaque, linear, first, value & mask_of(first));
    return error ? error : memory->write(context->opaque, next, size - first, value >> first * 8);
}

/* --- one memory operand --- */

static uint64_t other_operand(const struct insn *insn, const struct insn_context *context)
{
    uint64_t value = insn->other == INSN_OTHER_REGISTER
                         ? context->gpr[insn->reg & 15] >> insn->shift
                     : insn->other == INSN_OTHER_IMMEDIATE ? insn->immediate
                                                           : 0;
    return value & mask_of(insn->size);
}

static uint64_t swap_bytes(uint64_t value, unsigned size)
{
    return __builtin_bswap64(value) >> (64 - size * 8);
}

static int move(const struct insn *insn, struct insn_context *context,
                const struct insn_memory_ops *memory)
{
    bool swap = insn->operation == INSN_MOVBE;
    uint64_t value;

    if (insn->memory_is_destination) {
        value = other_operand(insn, context);
        if (swap)
            value = swap_bytes(value, insn->size);
        return write_memory(context, memory, insn->linear, insn->size, value);
    }
    int error = read_memory(context, memory, insn->linear, insn->memory_size, &value);
    if (error)
        return error;
    if (insn->sign)
        value = sign_extend(value, insn->memory_size);
    if (swap)
        value = swap_bytes(value, insn->size);
    set_register(context, insn->reg, insn->shift, insn->size, value);
    return 0;
}

static bool only_compares(unsigned operation)
{
    return operation == INSN_CMP || operation == INSN_TEST || operation == INSN_BT;
}

static int arithmetic(const struct insn *insn, struct insn_context *context,
                      const struct insn_memory_ops *memory)
{
    uint64_t in_memory, flags = *context->rflags, other = other_operand(insn, context);

    int error = read_memory(context, memory, insn->linear, insn->size, &in_memory);
    if (error)
        return error;
    uint64_t result = insn->memory_is_destination
                          ? insn_alu(insn->operation, insn->size, in_memory, other, &flags)
                          : insn_alu(insn->operation, insn->size, other, in_memory, &flags);
    if (!only_compares(insn->operation)) {
        if (insn->memory_is_destination) {
            error = write_memory(context, memory, insn->linear, insn->size, result);
            if (error)
                return error;
        } else {
            set_register(context, insn->reg, insn->shift, insn->size, result);
        }
    }
    *context->rflags = flags;
    return 0;
}

static int exchange(const struct insn *insn, struct insn_context *context,
                    const struct insn_memory_ops *memory)
{
    uint64_t in_memory, flags = *context->rflags, other = other_operand(insn, context);

    int error = read_memory(context, memory, insn->linear, insn->size, &in_memory);
    if (error)
        return error;
    uint64_t result = other;
    if (insn->operation == INSN_XADD)
        result = insn_alu(INSN_ADD, insn->size, in_memory, other, &flags);
    error = write_memory(context, memory, insn->linear, insn->size, result);
    if (error)
        return error;
    set_register(context, insn->reg, insn->shift, insn->size, in_memory);
    *context->rflags = flags;
    return 0;
}

/* The destination gets a write cycle whatever the comparison says. */
static int compare_exchange(const struct insn *insn, struct insn_context *context,
                            const struct insn_memory_ops *memory)
{
    uint64_t in_memory, flags = *context->rflags,
                        accumulator = context->gpr[RAX] & mask_of(insn->size);

    int error = read_memory(context, memory, insn->linear, insn->size, &in_memory);
    if (error)
        return error;
    insn_alu(INSN_CMP, insn->size, accumulator, in_memory, &flags);
    bool equal = accumulator == in_memory;
    error = write_memory(context, memory, insn->linear, insn->size,
                         equal ? other_operand(insn, context) : in_memory);
    if (error)
        return error;
    if (!equal)
        set_register(context, RAX, 0, insn->size, in_memory);
    *context->rflags = flags;
    return 0;
}

static int compare_exchange_8b(const struct insn *insn, struct insn_context *context,
                               const struct insn_memory_ops *memory)
{
    uint64_t in_memory, expected = context->gpr[RDX] << 32 | (uint32_t)context->gpr[RAX];
    uint64_t replacement = context->gpr[RCX] << 32 | (uint32_t)context->gpr[RBX];

    int error = read_memory(context, memory, insn->linear, 8, &in_memory);
    if (error)
        return error;
    bool equal = in_memory == expected;
    error = write_memory(context, memory, insn->linear, 8, equal ? replacement : in_memory);
    if (error)
        return error;
    if (equal) {
        *context->rflags |= FLAG_ZF;
    } else {
        *context->rflags &= ~FLAG_ZF;
        set_register(context, RAX, 0, 4, in_memory);
        set_register(context, RDX, 0, 4, in_memory >> 32);
    }
    return 0;
}

/* --- the stack --- */

static int check(const struct insn_context *context, const struct insn_memory_ops *memory,
                 enum insn_segment segment, uint64_t offset, unsigned size, bool write)
{
    if (context->mode == 64 || !memory->check)
        return 0;
    return memory->check(context->opaque, segment, (uint32_t)offset, size, write);
}

static int stack_linear(const struct insn_context *context, const struct insn_memory_ops *memory,
                        uint64_t pointer, unsigned size, bool write, uint64_t *linear)
{
    *linear = pointer;
    if (context->mode == 64)
        return memory->stack_fault && !insn_canonical(pointer, size)
                   ? memory->stack_fault(context->opaque)
                   : 0;
    pointer &= mask_of(context->stack / 8);
    *linear = (uint32_t)(pointer + context->segment_base(context->opaque, INSN_SS));
    return check(context, memory, INSN_SS, pointer, size, write);
}

static int push(const struct insn *insn, struct insn_context *context,
                const struct insn_memory_ops *memory)
{
    uint64_t value, linear, pointer = context->gpr[RSP] - insn->size;

    int error = stack_linear(context, memory, pointer, insn->size, true, &linear);
    if (!error)
        error = read_memory(context, memory, insn->linear, insn->size, &value);
    if (!error)
        error = write_memory(context, memory, linear, insn->size, value);
    if (!error)
        set_register(context, RSP, 0, context->stack / 8, pointer);
    return error;
}

static int pop(const struct insn *insn, struct insn_context *context,
               const struct insn_memory_ops *memory)
{
    uint64_t value, linear, pointer = context->gpr[RSP];

    int error = stack_linear(context, memory, pointer, insn->size, false, &linear);
    if (!error)
        error = read_memory(context, memory, linear, insn->size, &value);
    if (!error)
        error = write_memory(context, memory, insn->linear, insn->size, value);
    if (!error)
        set_register(context, RSP, 0, context->stack / 8, pointer + insn->size);
    return error;
}

/* --- string instructions, one element at a time --- */

static int string_linear(const struct insn *insn, const struct insn_context *context,
                         const struct insn_memory_ops *memory, unsigned reg, unsigned segment,
                         bool write, uint64_t *linear)
{
    uint64_t offset = context->gpr[reg] & mask_of(insn->address_size);

    *linear = offset;
    if (context->mode == 64 && segment < INSN_FS)
        return 0;
    *linear += context->segment_base(context->opaque, segment);
    if (context->mode != 64)
        *linear = (uint32_t)*linear;
    return check(context, memory, segment, offset, insn->size, write);
}

static void step(const struct insn *insn, struct insn_context *context, unsigned reg)
{
    uint64_t distance = *context->rflags & FLAG_DF ? -(uint64_t)insn->size : insn->size;
    set_register(context, reg, 0, insn->address_size, context->gpr[reg] + distance);
}

static int string_element(const struct insn *insn, struct insn_context *context,
                          const struct insn_memory_ops *memory)
{
    unsigned op = insn->operation, size = insn->size;
    bool from_source = op == INSN_MOVS || op == INSN_CMPS || op == INSN_LODS;
    bool destination = op != INSN_LODS, compare = op == INSN_CMPS || op == INSN_SCAS;
    uint64_t value = context->gpr[RAX], other, source = 0, target = 0;
    int error = 0;

    if (from_source)
        error = string_linear(insn, context, memory, RSI, insn->segment, false, &source);
    if (!error && destination)
        error = string_linear(insn, context, memory, RDI, INSN_ES, !compare, &target);
    if (!error && from_source)
        error = read_memory(context, memory, source, size, &value);
    if (!error && destination)
        error = compare ? read_memory(context, memory, target, size, &other)
                        : write_memory(context, memory, target, size, value);
    if (error)
        return error;
    if (compare)
        insn_alu(INSN_CMP, size, value, other, context->rflags);
    if (op == INSN_LODS)
        set_register(context, RAX, 0, size, value);
    if (from_source)
        step(insn, context, RSI);
    if (destination)
        step(insn, context, RDI);
    return 0;
}

/* One element; 1 when the instruction is to be repeated. */
static int string(const struct insn *insn, struct insn_context *context,
                  const struct insn_memory_ops *memory)
{
    bool compare = insn->operation == INSN_CMPS || insn->operation == INSN_SCAS;

    if (insn->repeat == INSN_ONCE)
        return string_element(insn, context, memory);
    uint64_t left = context->gpr[RCX] & mask_of(insn->address_size);
    if (!left)
        return 0;
    int error = string_element(insn, context, memory);
    if (error)
        return error;
    set_register(context, RCX, 0, insn->address_size, --left);
    /* REPE goes on while equal, REPNE while unequal; for the others both prefixes mean REP. */
    if (compare && !(*context->rflags & FLAG_ZF) == (insn->repeat == INSN_REP))
        return 0;
    return left != 0;
}

int insn_emulate(const struct insn *insn, struct insn_context *context,
                 const struct insn_memory_ops *memory)
{
    switch (insn->operation) {
    case INSN_MOV:
    case INSN_MOVBE:
        return move(insn, context, memory);
    case INSN_ADD ... INSN_NEG:
    case INSN_BT ... INSN_BTC:
        return arithmetic(insn, context, memory);
    case INSN_XCHG:
    case INSN_XADD:
        return exchange(insn, context, memory);
    case INSN_CMPXCHG:
        return compare_exchange(insn, context, memory);
    case INSN_CMPXCHG8B:
        return compare_exchange_8b(insn, context, memory);
    case INSN_PUSH:
        return push(insn, context, memory);
    case INSN_POP:
        return pop(insn, context, memory);
    case INSN_MOVS ... INSN_SCAS:
        return string(insn, context, memory);
    case INSN_NOP:
        return 0;
    default:
        return -ENOTSUP;
    }
}

const char *insn_operation_name(unsigned operation)
{
    static const char *const names[INSN_OPERATIONS] = {[INSN_MOV] = "MOV",
                                                       [INSN_MOVBE] = "MOVBE",
                                                       [INSN_ADD] = "ADD",
                                                       [INSN_OR] = "OR",
                                                       [INSN_ADC] = "ADC",
                                                       [INSN_SBB] = "SBB",
                                                       [INSN_AND] = "AND",
                                                       [INSN_SUB] = "SUB",
                                                       [INSN_XOR] = "XOR",
                                                       [INSN_CMP] = "CMP",
                                                       [INSN_TEST] = "TEST",
                                                       [INSN_INC] = "INC",
                                                       [INSN_DEC] = "DEC",
                                                       [INSN_NOT] = "NOT",
                                                       [INSN_NEG] = "NEG",
                                                       [INSN_XCHG] = "XCHG",
                                                       [INSN_XADD] = "XADD",
                                                       [INSN_CMPXCHG] = "CMPXCHG",
                                                       [INSN_CMPXCHG8B] = "CMPXCHG8B",
                                                       [INSN_BT] = "BT",
                                                       [INSN_BTS] = "BTS",
                                                       [INSN_BTR] = "BTR",
                                                       [INSN_BTC] = "BTC",
                                                       [INSN_PUSH] = "PUSH",
                                                       [INSN_POP] = "POP",
                                                       [INSN_MOVS] = "MOVS",
                                                       [INSN_CMPS] = "CMPS",
                                                       [INSN_STOS] = "STOS",
                                                       [INSN_LODS] = "LODS",
                                                       [INSN_SCAS] = "SCAS",
                                                       [INSN_NOP] = "cache hint"};
    return operation < INSN_OPERATIONS ? names[operation] : "?";
}
