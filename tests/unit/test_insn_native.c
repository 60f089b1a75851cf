/* links: guest/insn/fast.c guest/insn/decode.c guest/insn/emulate.c guest/insn/alu.c */
/*
 * The emulator against the CPU that runs this test: random instructions with a memory operand are
 * executed natively and by emulation from the same registers, flags and memory, and must end alike.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>

#include "arch/x86/lib/string.h"
#include "guest/insn/alu.h"
#include "guest/insn/insn.h"

#define ARITHMETIC (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)
#define ARENA      (4 * PAGE_SIZE)
#define ROUNDS     400000

/* --- running natively --- */

struct native {
    uint64_t gpr[16], rflags;
    void *code;
} native __attribute__((used));

void native_run(void);
__asm__(".text\n"
        "native_run:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "pushq native+128(%rip); popfq\n"
        "mov native+0(%rip), %rax;   mov native+8(%rip), %rcx;   mov native+16(%rip), %rdx\n"
        "mov native+24(%rip), %rbx;  mov native+40(%rip), %rbp;  mov native+48(%rip), %rsi\n"
        "mov native+56(%rip), %rdi;  mov native+64(%rip), %r8;   mov native+72(%rip), %r9\n"
        "mov native+80(%rip), %r10;  mov native+88(%rip), %r11;  mov native+96(%rip), %r12\n"
        "mov native+104(%rip), %r13; mov native+112(%rip), %r14; mov native+120(%rip), %r15\n"
        "call *native+136(%rip)\n"
        "mov %rax, native+0(%rip);   mov %rcx, native+8(%rip);   mov %rdx, native+16(%rip)\n"
        "mov %rbx, native+24(%rip);  mov %rbp, native+40(%rip);  mov %rsi, native+48(%rip)\n"
        "mov %rdi, native+56(%rip);  mov %r8, native+64(%rip);   mov %r9, native+72(%rip)\n"
        "mov %r10, native+80(%rip);  mov %r11, native+88(%rip);  mov %r12, native+96(%rip)\n"
        "mov %r13, native+104(%rip); mov %r14, native+112(%rip); mov %r15, native+120(%rip)\n"
        "pushfq; popq native+128(%rip); cld\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n");

/* --- memory: one arena that both use in turn --- */

static uint8_t arena[ARENA] __attribute__((aligned(4096)));

static int arena_read(void *opaque, uint64_t linear, unsigned size, uint64_t *value)
{
    if (linear < (uintptr_t)arena || linear + size > (uintptr_t)arena + ARENA ||
        linear / PAGE_SIZE != (linear + size - 1) / PAGE_SIZE)
        return -EFAULT;
    *value = 0;
    memcpy(value, (void *)(uintptr_t)linear, size);
    return 0;
}

static int arena_write(void *opaque, uint64_t linear, unsigned size, uint64_t value)
{
    if (linear < (uintptr_t)arena || linear + size > (uintptr_t)arena + ARENA ||
        linear / PAGE_SIZE != (linear + size - 1) / PAGE_SIZE)
        return -EFAULT;
    memcpy((void *)(uintptr_t)linear, &value, size);
    return 0;
}

static int arena_probe(void *opaque, uint64_t linear, unsigned size)
{
    uint64_t value;
    return arena_read(opaque, linear, size, &value);
}

static const struct insn_memory_ops arena_ops = {
    .read = arena_read, .write = arena_write, .probe_write = arena_probe};

static uint64_t no_base(void *opaque, enum insn_segment segment)
{
    return 0;
}

/* --- making instructions --- */

enum {
    BYTE = 1,
    IMM8 = 2,
    IMM = 4,
    LOCKABLE = 8,
    BITS = 16,
    STRING = 32,
    MOFFS = 64,
    NO_66 = 128,
    NO_W = 256
};

struct form {
    uint8_t map; /* bytes of 0F, or 38 for 0F38 */
    uint8_t opcode;
    int8_t digit; /* ModRM.reg, or -1 for any register */
    uint16_t flags;
};

static const struct form forms[] = {
    {0, 0x88, -1, BYTE},
    {0, 0x89, -1, 0},
    {0, 0x8a, -1, BYTE},
    {0, 0x8b, -1, 0},
    {0, 0xc6, 0, BYTE | IMM8},
    {0, 0xc7, 0, IMM},
    {0, 0xa0, -1, MOFFS | BYTE},
    {0, 0xa1, -1, MOFFS},
    {0, 0xa2, -1, MOFFS | BYTE},
    {0, 0xa3, -1, MOFFS},
    {1, 0xb6, -1, 0},
    {1, 0xb7, -1, 0},
    {1, 0xbe, -1, 0},
    {1, 0xbf, -1, 0},
    {0, 0x63, -1, 0},
    {1, 0xc3, -1, NO_66},
    {0x38, 0xf0, -1, 0},
    {0x38, 0xf1, -1, 0},
    {0, 0x84, -1, BYTE},
    {0, 0x85, -1, 0},
    {0, 0x86, -1, BYTE | LOCKABLE},
    {0, 0x87, -1, LOCKABLE},
    {0, 0xf6, 0, BYTE | IMM8},
    {0, 0xf7, 0, IMM},
    {0, 0xf6, 1, BYTE | IMM8},
    {0, 0xf7, 1, IMM},
    {0, 0xf6, 2, BYTE | LOCKABLE},
    {0, 0xf7, 2, LOCKABLE},
    {0, 0xf6, 3, BYTE | LOCKABLE},
    {0, 0xf7, 3, LOCKABLE},
    {0, 0xfe, 0, BYTE | LOCKABLE},
    {0, 0xff, 0, LOCKABLE},
    {0, 0xfe, 1, BYTE | LOCKABLE},
    {0, 0xff, 1, LOCKABLE},
    {1, 0xa3, -1, BITS},
    {1, 0xab, -1, BITS | LOCKABLE},
    {1, 0xb3, -1, BITS | LOCKABLE},
    {1, 0xbb, -1, BITS | LOCKABLE},
    {1, 0xba, 4, IMM8},
    {1, 0xba, 5, IMM8 | LOCKABLE},
    {1, 0xba, 6, IMM8 | LOCKABLE},
    {1, 0xba, 7, IMM8 | LOCKABLE},
    {1, 0xb0, -1, BYTE | LOCKABLE},
    {1, 0xb1, -1, LOCKABLE},
    {1, 0xc0, -1, BYTE | LOCKABLE},
    {1, 0xc1, -1, LOCKABLE},
    {1, 0xc7, 1, LOCKABLE | NO_W},
    {1, 0x18, 1, 0},
    {1, 0xae, 7, NO_66},
    {0, 0xa4, -1, STRING},
    {0, 0xa5, -1, STRING},
    {0, 0xa6, -1, STRING},
    {0, 0xa7, -1, STRING},
    {0, 0xaa, -1, STRING},
    {0, 0xab, -1, STRING},
    {0, 0xac, -1, STRING},
    {0, 0xad, -1, STRING},
    {0, 0xae, -1, STRING},
    {0, 0xaf, -1, STRING},
};

static uint64_t random_state = 88172645463325252;

static uint64_t random64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static unsigned random_below(unsigned n)
{
    return (random64() >> 20) % n;
}

/* Values near the carries and signs of every width come up often. */
static uint64_t interesting(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x7fffffffffffffff,
                                     0x8000000000000000,
                                     0xffffffffffffffff};
    unsigned kind = random_below(4);
    return kind < 2    ? random64()
           : kind == 2 ? edges[random_below(ARRAY_SIZE(edges))]
                       : random64() >> random_below(64);
}

struct made {
    uint8_t bytes[INSN_BYTES + 2];
    unsigned length;
    bool movbe;
    uint64_t undefined; /* flags that the architecture leaves undefined */
};

static void put(struct made *m, uint64_t value, unsigned size)
{
    memcpy(m->bytes + m->length, &value, size);
    m->length += size;
}

/* A random ALU operation by an old-style opcode or by an immediate, else one of the table. */
static struct form choose(void)
{
    unsigned pick = random_below(100), op = random_below(8);
    uint16_t lock = op == 7 ? 0 : LOCKABLE;

    if (pick < 25) {
        unsigned low = random_below(4);
        return (struct form){0, op * 8 + low, -1, (low & 1 ? 0 : BYTE) | (low & 2 ? 0 : lock)};
    }
    if (pick < 40) {
        static const uint8_t opcodes[] = {0x80, 0x81, 0x83};
        unsigned which = random_below(3);
        return (struct form){0, opcodes[which], op,
                             lock | (which == 0   ? BYTE | IMM8
                                     : which == 1 ? IMM
                                                  : IMM8)};
    }
    return forms[random_below(ARRAY_SIZE(forms))];
}

/* Set up native.gpr and write one instruction whose memory operand lies in the arena. */
static struct made make(void)
{
    struct form f = choose();
    struct made m = {0};
    /* Half of all operands lie around a page boundary. */
    uint64_t target = (uintptr_t)arena + (random_below(2) ? 2 * PAGE_SIZE - 8 + random_below(16)
                                                          : 2048 + random_below(8192));
    bool operand_size = !(f.flags & NO_66) && random_below(4) == 0;
    unsigned rex = random_below(3) ? 0x40 | random_below(16) : 0;
    unsigned reg = f.digit >= 0 ? (unsigned)f.digit : random_below(8);
    bool lock = f.flags & LOCKABLE && random_below(4) == 0;

    /* A lock across two cache lines stops all processors for a while, and some kernels punish it:
     * few will do. */
    if ((lock || (!f.map && (f.opcode == 0x86 || f.opcode == 0x87))) && random_below(64))
        target &= ~15ULL;
    for (unsigned i = 0; i < 16; i++)
        native.gpr[i] = interesting();
    native.rflags = 0x202 | (random64() & (ARITHMETIC | FLAG_DF));
    if (f.flags & NO_W)
        rex &= ~8U;
    if (f.flags & (STRING | MOFFS))
        rex &= 0x48;
    /* The stack pointer is the test's own. */
    if (reg == 4 && !(rex & 4) && f.digit < 0 && (!(f.flags & BYTE) || rex))
        reg = 5;

    if (operand_size)
        put(&m, 0x66, 1);
    if (lock)
        put(&m, 0xf0, 1);
    if (f.flags & STRING) {
        unsigned repeat = random_below(3);
        if (repeat)
            put(&m, repeat == 1 ? 0xf2 : 0xf3, 1);
        native.gpr[1] = random_below(12);
        native.gpr[6] = (uintptr_t)arena + 2 * PAGE_SIZE - 100 + random_below(200);
        native.gpr[7] = (uintptr_t)arena + 2 * PAGE_SIZE - 100 + random_below(200);
    }
    if (rex)
        put(&m, rex, 1);
    if (f.map)
        put(&m, 0x0f, 1);
    m.movbe = f.map == 0x38;
    if (m.movbe)
        put(&m, 0x38, 1);
    put(&m, f.opcode, 1);

    unsigned size = f.flags & BYTE ? 1 : rex & 8 ? 8 : operand_size ? 2 : 4;
    if (f.flags & MOFFS) {
        put(&m, target, 8);
    } else if (!(f.flags & STRING)) {
        static const uint8_t bases[] = {7, 6, 3, 5};
        unsigned mod = random_below(3), base = bases[random_below(4)];
        bool sib = random_below(3) == 0 && base != 5;
        int64_t disp = mod == 0   ? 0
                       : mod == 1 ? (int8_t)random64()
                                  : (int)(random64() % 100000) - 50000;
        if (base == 5 && mod == 0)
            base = 7;
        unsigned base_register = base | (rex & 1) << 3;
        uint64_t offset = 0;
        put(&m, mod << 6 | reg << 3 | (sib ? 4 : base), 1);
        if (sib) {
            unsigned index = random_below(8), scale = random_below(4);
            unsigned index_register = index | (rex & 2) << 2;
            if (index_register == base_register)
                index = 4, index_register = 4 | (rex & 2) << 2;
            put(&m, scale << 6 | index << 3 | base, 1);
            if (index_register != 4) {
                native.gpr[index_register] = random_below(1000);
                offset = native.gpr[index_register] << scale;
            }
        }
        put(&m, (uint64_t)disp, mod == 0 ? 0 : mod == 1 ? 1 : 4);
        unsigned reg_register = reg | (rex & 4) << 1;
        if (f.flags & BITS) {
            /* The bit offset's register must be none of the address. */
            int64_t bit = (int64_t)(random64() % 4000) - 2000;
            if (reg_register != base_register)
                native.gpr[reg_register] = (uint64_t)bit;
            else
                return (struct made){0};
            if (sib)
                return (struct made){0};
        }
        native.gpr[base_register] = target - (uint64_t)disp - offset;
        if (f.opcode == 0xb1 && random_below(2))
            memcpy((void *)(uintptr_t)target, &native.gpr[0], size);
    }
    if (f.flags & IMM8)
        put(&m, random64(), 1);
    if (f.flags & IMM)
        put(&m, interesting(), size == 2 ? 2 : 4);

    unsigned alu = f.digit >= 0 ? (unsigned)f.digit : f.opcode >> 3;
    bool logic = (f.opcode < 0x40 || (f.opcode >= 0x80 && f.opcode <= 0x83)) &&
                 (alu == 1 || alu == 4 || alu == 6);
    if (!f.map &&
        (logic || f.opcode == 0x84 || f.opcode == 0x85 || f.opcode == 0xf6 || f.opcode == 0xf7))
        m.undefined = f.opcode >= 0xf6 && f.digit >= 2 ? 0 : FLAG_AF;
    if (f.map == 1 && (f.flags & BITS || f.opcode == 0xba))
        m.undefined = FLAG_OF | FLAG_SF | FLAG_AF | FLAG_PF;
    return m;
}

static void describe(const struct made *m, const char *what, uint64_t emulated, uint64_t cpu)
{
    char text[64];
    for (unsigned i = 0; i < m->length; i++)
        snprintf(text + i * 3, 4, "%02x ", m->bytes[i]);
    fail_msg("%s: %s: emulated %#lx, CPU %#lx", text, what, emulated, cpu);
}

static void test_like_the_cpu(void **state)
{
    static uint8_t before[ARENA], after[ARENA];
    uint8_t *code = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool movbe = false;
    unsigned a = 1, b, c = 0, d, operations[INSN_OPERATIONS] = {0};

    __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    movbe = c & 1U << 22;
    assert_ptr_not_equal(code, MAP_FAILED);
    for (unsigned i = 0; i < ARENA; i++)
        arena[i] = random64();

    for (unsigned round = 0; round < ROUNDS; round++) {
        /* A few bytes change each round; all 16 KiB need no refilling. */
        struct made m = make();
        if (!m.length || (m.movbe && !movbe))
            continue;
        uint64_t gpr[16], rflags = native.rflags;
        memcpy(gpr, native.gpr, sizeof(gpr));
        memcpy(before, arena, ARENA);

        struct insn_context context = {.gpr = gpr,
                                       .rflags = &rflags,
                                       .mode = 64,
                                       .stack = 64,
                                       .count = INSN_BYTES,
                                       .segment_base = no_base};
        memset(context.bytes, 0xc3, INSN_BYTES);
        memcpy(context.bytes, m.bytes, m.length);
        struct insn insn;
        int result = insn_decode(&context, &insn);
        if (result != (int)m.length)
            describe(&m, "length", (uint64_t)(int64_t)result, m.length);
        unsigned elements = 0;
        do {
            result = insn_emulate(&insn, &context, &arena_ops);
        } while (result == 1 && elements++ < 20);
        if (result)
            describe(&m, "result", (uint64_t)(int64_t)result, 0);
        operations[insn.operation]++;
        memcpy(after, arena, ARENA);
        memcpy(arena, before, ARENA);

        memcpy(code, m.bytes, m.length);
        code[m.length] = 0xc3;
        native.code = code;
        native_run();
        native.gpr[4] = gpr[4];
        for (unsigned i = 0; i < 16; i++)
            if (gpr[i] != native.gpr[i])
                describe(&m, "register", gpr[i], native.gpr[i]);
        uint64_t compared = (ARITHMETIC | FLAG_DF) & ~m.undefined;
        if ((rflags & compared) != (native.rflags & compared))
            describe(&m, "flags", rflags & compared, native.rflags & compared);
        if (memcmp(after, arena, ARENA))
            describe(&m, "memory", 0, 0);

        struct insn_mov mov;
        if (insn_fast_mov(context.bytes, context.count, 64, &mov) && mov.length != m.length)
            describe(&m, "fast length", mov.length, m.length);
    }
    /* Everything but the stack operations has had its turn. */
    for (unsigned i = 0; i < INSN_OPERATIONS; i++)
        if (i != INSN_PUSH && i != INSN_POP && (i != INSN_MOVBE || movbe) && !operations[i])
            fail_msg("%s was never made", insn_operation_name(i));
    munmap(code, PAGE_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_the_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
