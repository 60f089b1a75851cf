/* links: guest/insn/decode.c guest/insn/emulate.c guest/insn/alu.c */
/*
 * What the comparison with the CPU (test_insn_native.c) cannot reach: 16- and 32-bit code,
 * segments, the stack, faults half-way, what is refused and how.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/string.h"
#include "guest/insn/alu.h"
#include "guest/insn/insn.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

#define MEMORY_BASE 0x10000ULL
#define MEMORY_SIZE (8 * PAGE_SIZE)

static struct machine {
    uint8_t memory[MEMORY_SIZE];
    uint64_t fault_page; /* linear address of a page that faults; 0 for none */
    bool fault_on_write_only;
    unsigned reads, writes;
    uint64_t gpr[16], rflags;
    struct insn_context context;
} m;

static bool faults(uint64_t linear, bool write)
{
    if (linear < MEMORY_BASE || linear >= MEMORY_BASE + MEMORY_SIZE)
        return true;
    return m.fault_page && ALIGN_DOWN(linear, PAGE_SIZE) == m.fault_page &&
           (write || !m.fault_on_write_only);
}

static int memory_read(void *opaque, uint64_t linear, unsigned size, uint64_t *value)
{
    assert_ptr_equal(opaque, &m);
    assert_uint_in_range(size, 1, 8);
    assert_int_equal(linear / PAGE_SIZE, (linear + size - 1) / PAGE_SIZE);
    if (faults(linear, false))
        return -EFAULT;
    m.reads++;
    *value = 0;
    memcpy(value, m.memory + (linear - MEMORY_BASE), size);
    return 0;
}

static int memory_probe(void *opaque, uint64_t linear, unsigned size)
{
    return faults(linear, true) ? -EFAULT : 0;
}

static int memory_write(void *opaque, uint64_t linear, unsigned size, uint64_t value)
{
    assert_int_equal(linear / PAGE_SIZE, (linear + size - 1) / PAGE_SIZE);
    if (faults(linear, true))
        return -EFAULT;
    m.writes++;
    memcpy(m.memory + (linear - MEMORY_BASE), &value, size);
    return 0;
}

/* What the segments were asked: the next of these is to come. */
static struct check {
    unsigned segment, offset, size, write;
} checks[4];
static unsigned checked;
static int refuse_segment = -1;

static int segment_check(void *opaque, enum insn_segment segment, uint32_t offset, unsigned size,
                         bool write)
{
    assert_ptr_equal(opaque, &m);
    assert_int_not_equal(m.context.mode, 64);
    if (checked < ARRAY_SIZE(checks))
        checks[checked++] = (struct check){segment, offset, size, write};
    return (int)segment == refuse_segment ? -EFAULT : 0;
}

static unsigned stack_faults;

static int stack_fault(void *opaque)
{
    assert_ptr_equal(opaque, &m);
    assert_int_equal(m.context.mode, 64);
    stack_faults++;
    return -EFAULT;
}

static const struct insn_memory_ops memory_ops = {memory_read, memory_write, memory_probe,
                                                  segment_check, stack_fault};

static uint64_t segment_base(void *opaque, enum insn_segment segment)
{
    static const uint64_t bases[] = {0x11000, 0x12000, 0x13000, 0x14000, 0x15000, 0x16000};
    assert_ptr_equal(opaque, &m);
    assert_true(segment <= INSN_GS);
    if (m.context.mode == 64)
        assert_true(segment >= INSN_FS);
    return bases[segment];
}

static void setup(unsigned mode, unsigned count, const uint8_t *bytes)
{
    memset(&m, 0, sizeof(m));
    checked = 0;
    refuse_segment = -1;
    stack_faults = 0;
    for (unsigned i = 0; i < MEMORY_SIZE; i++)
        m.memory[i] = i * 7 + (i >> 8);
    m.rflags = 0x202;
    m.context = (struct insn_context){.gpr = m.gpr,
                                      .rflags = &m.rflags,
                                      .rip = 0x1000,
                                      .mode = mode,
                                      .stack = mode,
                                      .count = count,
                                      .opaque = &m,
                                      .segment_base = segment_base};
    memcpy(m.context.bytes, bytes, count);
}

#define SETUP(mode, ...) setup(mode, sizeof((uint8_t[]){__VA_ARGS__}), (uint8_t[]){__VA_ARGS__})

static uint64_t memory_at(uint64_t linear, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, m.memory + (linear - MEMORY_BASE), size);
    return value;
}

static int run(void)
{
    struct insn insn;
    int length = insn_decode(&m.context, &insn);
    assert_int_equal(length, m.context.count);
    return insn_emulate(&insn, &m.context, &memory_ops);
}

static uint64_t linear_of(void)
{
    struct insn insn;
    assert_int_equal(insn_decode(&m.context, &insn), m.context.count);
    return insn.linear;
}

static int decode_error(void)
{
    struct insn insn;
    return insn_decode(&m.context, &insn);
}

static void test_addresses_16(void **state)
{
    SETUP(16, 0x01, 0x00); /* add %ax,(%bx,%si) */
    m.gpr[RBX] = 0xfff0, m.gpr[RSI] = 0x120, m.gpr[RAX] = 5;
    assert_int_equal(linear_of(), 0x14110); /* wraps at 64 KiB */
    SETUP(16, 0x01, 0x42, 0xfe);            /* add %ax,-2(%bp,%si): BP means the stack segment */
    m.gpr[RBP] = 0x100, m.gpr[RSI] = 0xabcd0010;
    assert_int_equal(linear_of(), 0x1310e);
    SETUP(16, 0x01, 0x06, 0x34, 0x12); /* add %ax,0x1234 */
    assert_int_equal(linear_of(), 0x15234);
    SETUP(16, 0x26, 0x01, 0x86, 0x34, 0x02); /* add %ax,%es:0x234(%bp) */
    m.gpr[RBP] = 1;
    assert_int_equal(linear_of(), 0x11235);
    SETUP(16, 0x67, 0x01, 0x04, 0x8d, 0x10, 0, 0, 0); /* add %ax,0x10(,%ecx,4) */
    m.gpr[RCX] = 3;
    assert_int_equal(linear_of(), 0x1401c);
}

static void test_addresses_32(void **state)
{
    SETUP(32, 0x01, 0x44, 0x24, 0x08); /* add %eax,8(%esp) */
    m.gpr[RSP] = 0xdead00000100;
    assert_int_equal(linear_of(), 0x13108);
    SETUP(32, 0x01, 0x05, 0, 0, 0xff,
          0xff); /* add %eax,0xffff0000: base and offset wrap at 4 GiB */
    assert_int_equal(linear_of(), 0x4000);
    SETUP(32, 0x65, 0x01, 0x45, 0xff); /* add %eax,%gs:-1(%ebp) */
    m.gpr[RBP] = 0x10;
    assert_int_equal(linear_of(), 0x1600f);
}

static void test_addresses_64(void **state)
{
    SETUP(64, 0x01, 0x05, 0x10, 0, 0, 0); /* add %eax,0x10(%rip) */
    assert_int_equal(linear_of(), 0x1016);
    SETUP(64, 0x81, 0x05, 0x10, 0, 0, 0, 1, 2, 3, 4); /* RIP counts from behind the immediate */
    assert_int_equal(linear_of(), 0x101a);
    SETUP(64, 0x3e, 0x64, 0x2e, 0x01, 0x00); /* CS and DS are ignored and do not undo FS */
    m.gpr[RAX] = 0x8;
    assert_int_equal(linear_of(), 0x15008);
    SETUP(64, 0x67, 0x01, 0x40, 0xff); /* add %eax,-1(%eax) */
    m.gpr[RAX] = 0xffffffff00000000;
    assert_int_equal(linear_of(), 0xffffffff);
    SETUP(64, 0x43, 0x01, 0x04, 0xa4); /* add %eax,(%r12,%r12,4): R12 may be an index, RSP not */
    m.gpr[12] = 0x100;
    assert_int_equal(linear_of(), 0x500);
    SETUP(64, 0x48, 0x0f, 0xa3, 0x08); /* bt %rcx,(%rax) */
    m.gpr[RAX] = 0x12000, m.gpr[RCX] = (uint64_t)-1;
    assert_int_equal(linear_of(), 0x11ff8);
    SETUP(64, 0x66, 0x0f, 0xa3, 0x08); /* bt %cx,(%rax): CX is signed */
    m.gpr[RAX] = 0x12000, m.gpr[RCX] = 0xffff8000;
    assert_int_equal(linear_of(), 0x11000);
}

static void test_stack(void **state)
{
    SETUP(64, 0xff, 0x37); /* push (%rdi) */
    m.gpr[RSP] = 0x12008, m.gpr[RDI] = 0x14000;
    uint64_t value = memory_at(0x14000, 8);
    assert_int_equal(run(), 0);
    assert_int_equal(m.gpr[RSP], 0x12000);
    assert_int_equal(memory_at(0x12000, 8), value);

    SETUP(64, 0x8f, 0x44, 0x24, 0x08); /* pop 8(%rsp): RSP as it will be */
    m.gpr[RSP] = 0x12000;
    value = memory_at(0x12000, 8);
    assert_int_equal(run(), 0);
    assert_int_equal(m.gpr[RSP], 0x12008);
    assert_int_equal(memory_at(0x12010, 8), value);

    SETUP(32, 0x66, 0xff, 0x37); /* pushw (%edi) on a 16-bit stack */
    m.context.stack = 16;
    m.gpr[RSP] = 0x50000, m.gpr[RDI] = 0x10;
    value = memory_at(0x14010, 2);
    m.fault_page = 0x22000; /* SS base + fffeh lies outside: a fault changes nothing */
    assert_int_equal(run(), -EFAULT);
    assert_int_equal(m.gpr[RSP], 0x50000);
    m.gpr[RSP] = 0x50102;
    assert_int_equal(run(), 0);
    assert_int_equal(m.gpr[RSP], 0x50100);
    assert_int_equal(memory_at(0x13100, 2), value);
}

/* SDM, "PUSH" and "POP": #SS where the stack is not canonical, not #GP. */
static void test_stack_not_canonical(void **state)
{
    static const uint64_t pointers[] = {0x800000000000, 0xffff7ffffffffff8, 0x7ffffffffffc};

    for (unsigned i = 0; i < ARRAY_SIZE(pointers); i++) {
        SETUP(64, 0xff, 0x37); /* push (%rdi) */
        m.gpr[RSP] = pointers[i] + 8, m.gpr[RDI] = 0x14000;
        assert_int_equal(run(), -EFAULT);
        assert_int_equal(stack_faults, 1);
        assert_int_equal(m.reads + m.writes, 0);
        assert_int_equal(m.gpr[RSP], pointers[i] + 8);
        SETUP(64, 0x8f, 0x07); /* pop (%rdi) */
        m.gpr[RSP] = pointers[i], m.gpr[RDI] = 0x14000;
        assert_int_equal(run(), -EFAULT);
        assert_int_equal(stack_faults, 1);
        assert_int_equal(m.reads + m.writes, 0);
        assert_int_equal(m.gpr[RSP], pointers[i]);
    }
    SETUP(64, 0xff, 0x37);
    m.gpr[RSP] = 0x800000000000, m.gpr[RDI] = 0x14000; /* the last one that is; no page is there */
    assert_int_equal(run(), -EFAULT);
    assert_int_equal(stack_faults, 0);
}

static void test_strings_in_32_bit_code(void **state)
{
    SETUP(32, 0xf3, 0x64, 0xa5); /* rep movsl %fs:(%esi),%es:(%edi) */
    m.gpr[RCX] = 0xffffffff00000002, m.gpr[RSI] = 0x10, m.gpr[RDI] = 0x20;
    uint64_t first = memory_at(0x15010, 4), second = memory_at(0x15014, 4);
    assert_int_equal(run(), 1);
    assert_int_equal(m.gpr[RCX], 1);
    assert_int_equal(memory_at(0x11020, 4), first);
    assert_int_equal(run(), 0);
    assert_int_equal(m.gpr[RCX], 0);
    assert_int_equal(m.gpr[RSI], 0x18);
    assert_int_equal(m.gpr[RDI], 0x28);
    assert_int_equal(memory_at(0x11024, 4), second);
    m.reads = m.writes = 0;
    assert_int_equal(run(), 0); /* nothing left to do */
    assert_int_equal(m.reads + m.writes, 0);
}

static void test_strings_in_16_bit_code(void **state)
{
    SETUP(16, 0xf2, 0xae); /* repne scasb, downwards, DI wraps */
    m.gpr[RCX] = 0xabcd0005, m.gpr[RDI] = 0x12340000, m.gpr[RAX] = memory_at(0x11000, 1);
    m.rflags |= FLAG_DF;
    assert_int_equal(run(), 0);
    assert_true(m.rflags & FLAG_ZF);
    assert_int_equal(m.gpr[RCX], 0xabcd0004);
    assert_int_equal(m.gpr[RDI], 0x1234ffff);
}

static void test_a_fault_changes_nothing(void **state)
{
    static const struct {
        uint8_t count, bytes[6];
    } cases[] = {
        {2, {0x01, 0x07}},             /* add %eax,(%rdi) */
        {2, {0x87, 0x07}},             /* xchg */
        {3, {0x0f, 0xc1, 0x07}},       /* xadd */
        {3, {0x0f, 0xb1, 0x07}},       /* cmpxchg */
        {3, {0x0f, 0xc7, 0x0f}},       /* cmpxchg8b */
        {3, {0x0f, 0xab, 0x07}},       /* bts */
        {2, {0xff, 0x07}},             /* inc */
        {2, {0xf7, 0x1f}},             /* neg */
        {1, {0xab}},                   /* stos */
        {2, {0xf3, 0xa5}},             /* rep movs */
        {2, {0x8f, 0x07}},             /* pop (%rdi) */
        {6, {0xc7, 0x07, 1, 2, 3, 4}}, /* mov */
    };
    for (unsigned across = 0; across < 2; across++) {
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            setup(64, cases[i].count, cases[i].bytes);
            for (unsigned r = 0; r < 16; r++)
                m.gpr[r] = 0x12000 + r * 0x10;
            m.gpr[RDI] = across ? 0x13ffe : 0x14000;
            m.gpr[RAX] = 0x1; /* BTS stays in the operand */
            m.fault_page = 0x14000;
            m.fault_on_write_only = true;
            struct machine before = m;
            assert_int_equal(run(), -EFAULT);
            m.reads = before.reads;
            assert_memory_equal(&m, &before, sizeof(m));
        }
    }
}

static void test_page_crossing_is_split(void **state)
{
    SETUP(64, 0x48, 0x81, 0x07, 1, 0, 0, 0); /* addq $1,(%rdi) */
    m.gpr[RDI] = 0x13ffd;
    uint64_t value = memory_at(0x13ffd, 8);
    assert_int_equal(run(), 0);
    assert_int_equal(m.reads, 2);
    assert_int_equal(m.writes, 2);
    assert_int_equal(memory_at(0x13ffd, 8), value + 1);
    SETUP(64, 0x48, 0xff, 0x07); /* incq (%rdi): eight bytes in one access */
    m.gpr[RDI] = 0x13ff8;
    assert_int_equal(run(), 0);
    assert_int_equal(m.reads, 1);
    assert_int_equal(m.writes, 1);
}

static void test_failed_compare_exchange_clears_upper_half(void **state)
{
    SETUP(64, 0x0f, 0xb1, 0x0f); /* cmpxchg %ecx,(%rdi) */
    m.gpr[RDI] = 0x14000, m.gpr[RAX] = 0xffffffff00000000;
    uint64_t value = memory_at(0x14000, 4);
    assert_int_equal(run(), 0);
    assert_int_equal(m.gpr[RAX], value);
    assert_int_equal(memory_at(0x14000, 4), value);
    assert_int_equal(m.writes, 1);
}

static void test_refusals(void **state)
{
    static const struct {
        uint8_t mode, count, bytes[8];
        int error;
    } cases[] = {
        {64, 2, {0xff, 0x17}, -ENOTSUP},             /* call (%rdi) */
        {64, 2, {0xff, 0x27}, -ENOTSUP},             /* jmp (%rdi) */
        {64, 2, {0xff, 0x2f}, -ENOTSUP},             /* ljmp (%rdi) */
        {64, 3, {0x0f, 0x28, 0x07}, -ENOTSUP},       /* movaps (%rdi),%xmm0 */
        {64, 4, {0xf2, 0x0f, 0x10, 0x07}, -ENOTSUP}, /* movsd (%rdi),%xmm0: SSE2, not the string */
        {64, 5, {0xf2, 0x0f, 0xc2, 0x07, 0}, -ENOTSUP}, /* cmpsd, likewise */
        {64, 4, {0xc5, 0xf8, 0x28, 0x07}, -ENOTSUP},    /* vmovaps */
        {64,
         6,
         {0x62, 0xf1, 0x7c, 0x48, 0x28, 0x07},
         -EBADMSG},                                  /* AVX-512: left out of this Zydis */
        {64, 2, {0xd9, 0x07}, -ENOTSUP},             /* flds */
        {64, 2, {0x8c, 0x07}, -ENOTSUP},             /* mov %es,(%rdi) */
        {64, 2, {0x89, 0xc0}, -ENOTSUP},             /* mov %eax,%eax */
        {64, 2, {0x04, 0x01}, -ENOTSUP},             /* add $1,%al */
        {64, 4, {0x48, 0x0f, 0xc7, 0x0f}, -ENOTSUP}, /* cmpxchg16b */
        {64, 1, {0x06}, -EBADMSG},                   /* push %es, gone in 64-bit mode */
        {64, 2, {0x0f, 0x0b}, -ENOTSUP},             /* ud2 */
        {64, 3, {0xf0, 0x89, 0x07}, -EBADMSG},       /* LOCK MOV */
        {64, 0, {0}, -EAGAIN},
        {64, 1, {0x01}, -EAGAIN},
        {64, 3, {0x81, 0x07, 1}, -EAGAIN},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        setup(cases[i].mode, cases[i].count, cases[i].bytes);
        int error = decode_error();
        if (error != cases[i].error)
            fail_msg("case %zu: %d", i, error);
    }
    uint8_t prefixes_only[INSN_BYTES];
    memset(prefixes_only, 0x66, sizeof(prefixes_only));
    setup(64, INSN_BYTES, prefixes_only);
    assert_int_equal(decode_error(), -EBADMSG);

    struct insn nonsense = {.operation = 200};
    assert_int_equal(insn_emulate(&nonsense, &m.context, &memory_ops), -ENOTSUP);
    for (unsigned i = 0; i < INSN_OPERATIONS; i++)
        assert_non_null(insn_operation_name(i));
    assert_string_equal(insn_operation_name(200), "?");
}

static void expect_asked(unsigned n, unsigned segment, unsigned offset, unsigned size, bool write)
{
    assert_true(n < checked);
    assert_int_equal(checks[n].segment, segment);
    assert_int_equal(checks[n].offset, offset);
    assert_int_equal(checks[n].size, size);
    assert_int_equal(checks[n].write, write);
}

/* What the CPU has not come to is checked before anything is read or written. */
static void test_segments_are_asked(void **state)
{
    SETUP(16, 0x36, 0xa5); /* ss movsw */
    m.gpr[RSI] = 0xabcd0010, m.gpr[RDI] = 0xabcd3ffe;
    assert_int_equal(run(), 0);
    expect_asked(0, INSN_SS, 0x10, 2, false);
    expect_asked(1, INSN_ES, 0x3ffe, 2, true);
    assert_int_equal(checked, 2);
    assert_int_equal(m.gpr[RDI], 0xabcd4000);

    SETUP(32, 0xa5); /* movsl into a segment that ends before */
    m.gpr[RSI] = 0x100, m.gpr[RDI] = 0x100;
    refuse_segment = INSN_ES;
    assert_int_equal(run(), -EFAULT);
    assert_int_equal(m.reads + m.writes, 0);
    assert_int_equal(m.gpr[RSI], 0x100);

    SETUP(32, 0xa7); /* cmpsl only reads */
    m.gpr[RDI] = 4;
    assert_int_equal(run(), 0);
    expect_asked(1, INSN_ES, 4, 4, false);

    SETUP(16, 0xff, 0x36, 0x34, 0x02); /* pushw 0x234 */
    m.gpr[RSP] = 1;
    refuse_segment = INSN_SS;
    assert_int_equal(run(), -EFAULT);
    expect_asked(0, INSN_SS, 0xffff, 2, true);
    assert_int_equal(m.reads, 0);
    SETUP(16, 0x8f, 0x06, 0x34, 0x02); /* popw 0x234 */
    m.gpr[RSP] = 0x1ffff;
    refuse_segment = INSN_SS;
    assert_int_equal(run(), -EFAULT);
    expect_asked(0, INSN_SS, 0xffff, 2, false);

    SETUP(64, 0xa5); /* in 64-bit mode nobody is asked */
    m.gpr[RSI] = MEMORY_BASE, m.gpr[RDI] = MEMORY_BASE;
    assert_int_equal(run(), 0);
    assert_int_equal(checked, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_are_asked),
        cmocka_unit_test(test_addresses_16),
        cmocka_unit_test(test_addresses_32),
        cmocka_unit_test(test_addresses_64),
        cmocka_unit_test(test_stack),
        cmocka_unit_test(test_stack_not_canonical),
        cmocka_unit_test(test_strings_in_32_bit_code),
        cmocka_unit_test(test_strings_in_16_bit_code),
        cmocka_unit_test(test_a_fault_changes_nothing),
        cmocka_unit_test(test_page_crossing_is_split),
        cmocka_unit_test(test_failed_compare_exchange_clears_upper_half),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
