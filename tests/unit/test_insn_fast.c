/* links: guest/insn/fast.c */
/* The hot MOV forms, one by one: what is stored or loaded, how long it is, and what must be left to
 * the rest. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/string.h"
#include "guest/insn/insn.h"

struct sample {
    unsigned mode;
    uint8_t bytes[INSN_BYTES];
    struct insn_mov want; /* length 0: must be refused */
};

#define LOAD(len, mem, dst, r)                                                                     \
    {                                                                                              \
        .length = len, .size = mem, .register_size = dst, .reg = r                                 \
    }
#define LOAD_SIGN(len, mem, dst, r)                                                                \
    {                                                                                              \
        .length = len, .size = mem, .register_size = dst, .reg = r, .sign = true                   \
    }
#define STORE(len, mem, r)                                                                         \
    {                                                                                              \
        .length = len, .size = mem, .register_size = mem, .reg = r, .write = true                  \
    }
#define STORE_IMM(len, mem, imm)                                                                   \
    {                                                                                              \
        .length = len, .size = mem, .register_size = mem, .write = true, .from_immediate = true,   \
        .immediate = (imm)                                                                         \
    }
#define REFUSED                                                                                    \
    {                                                                                              \
        0                                                                                          \
    }

/* clang-format off */
static const struct sample samples[] = {
    /* 64-bit mode, the straight line */
    {64, {0x89, 0x07}, STORE(2, 4, 0)},                                         /* mov %eax,(%rdi) */
    {64, {0x8b, 0x47, 0x10}, LOAD(3, 4, 4, 0)},                                 /* mov 0x10(%rdi),%eax */
    {64, {0x89, 0x97, 0xb0, 0, 0, 0}, STORE(6, 4, 2)},                          /* mov %edx,0xb0(%rdi) */
    {64, {0x44, 0x8b, 0x40, 0x20}, LOAD(4, 4, 4, 8)},                           /* mov 0x20(%rax),%r8d */
    {64, {0x4c, 0x89, 0x3e}, STORE(3, 8, 15)},                                  /* mov %r15,(%rsi) */
    {64, {0x48, 0x8b, 0x0d, 1, 2, 3, 4}, LOAD(7, 8, 8, 1)},                     /* mov 0x4030201(%rip),%rcx */
    {64, {0x8b, 0x04, 0x25, 0x20, 0xd0, 0x5f, 0xff}, LOAD(7, 4, 4, 0)},         /* mov 0xff5fd020,%eax */
    {64, {0x89, 0x34, 0x25, 0xb0, 0xd0, 0x5f, 0xff}, STORE(7, 4, 6)},           /* mov %esi,0xff5fd0b0 */
    {64, {0x89, 0x4c, 0x24, 0x08}, STORE(4, 4, 1)},                             /* mov %ecx,8(%rsp) */
    {64, {0x43, 0x89, 0x84, 0x65, 0, 1, 0, 0}, STORE(8, 4, 0)},                 /* mov %eax,0x100(%r13,%r12,2) */
    {64, {0x41, 0x8b, 0x44, 0x24, 0x10}, LOAD(5, 4, 4, 0)},                     /* mov 0x10(%r12),%eax */
    {64, {0x8b, 0x04, 0x6d, 0, 0, 0, 0}, LOAD(7, 4, 4, 0)},                     /* mov 0(,%rbp,2),%eax */
    /* bytes and words */
    {64, {0x88, 0x07}, STORE(2, 1, 0)},
    {64, {0x8a, 0x07}, LOAD(2, 1, 1, 0)},
    {64, {0x40, 0x88, 0x37}, STORE(3, 1, 6)},                                   /* mov %sil,(%rdi) */
    {64, {0x66, 0x89, 0x07}, STORE(3, 2, 0)},
    {64, {0x66, 0x8b, 0x47, 0x04}, LOAD(4, 2, 2, 0)},
    {64, {0x66, 0x45, 0x8b, 0x47, 0x04}, LOAD(5, 2, 2, 8)},
    {64, {0x66, 0x4d, 0x8b, 0x47, 0x04}, LOAD(5, 8, 8, 8)},                     /* REX.W beats 66 */
    {64, {0x48, 0x66, 0x8b, 0x47, 0x04}, LOAD(5, 2, 2, 0)},                     /* a REX before 66 counts for nothing */
    {64, {0x65, 0x8b, 0x04, 0x25, 0, 0, 0, 0}, LOAD(8, 4, 4, 0)},               /* mov %gs:0,%eax */
    {64, {0x67, 0x8b, 0x07}, LOAD(3, 4, 4, 0)},                                 /* mov (%edi),%eax */
    /* immediates */
    {64, {0xc7, 0x40, 0x10, 1, 0, 0, 0x80}, STORE_IMM(7, 4, 0xffffffff80000001)},
    {64, {0x48, 0xc7, 0x00, 0xfe, 0xff, 0xff, 0xff}, STORE_IMM(7, 8, (uint64_t)-2)},
    {64, {0x66, 0xc7, 0x07, 0x34, 0x12}, STORE_IMM(5, 2, 0x1234)},
    {64, {0xc6, 0x07, 0x80}, STORE_IMM(3, 1, (uint64_t)-128)},
    {64, {0xc7, 0x04, 0x25, 0, 1, 2, 3, 4, 5, 6, 7}, STORE_IMM(11, 4, 0x07060504)},
    {64, {0xc7, 0x4f, 0, 0, 0, 0, 0}, REFUSED},                                 /* C7 /1 */
    /* absolute addresses */
    {64, {0xa1, 1, 2, 3, 4, 5, 6, 7, 8}, LOAD(9, 4, 4, 0)},
    {64, {0x67, 0xa1, 1, 2, 3, 4}, LOAD(6, 4, 4, 0)},
    {64, {0x48, 0xa3, 1, 2, 3, 4, 5, 6, 7, 8}, STORE(10, 8, 0)},
    {32, {0xa0, 1, 2, 3, 4}, LOAD(5, 1, 1, 0)},
    {32, {0x67, 0xa2, 1, 2}, STORE(4, 1, 0)},
    {16, {0xa1, 1, 2}, LOAD(3, 2, 2, 0)},
    {16, {0x66, 0x67, 0xa3, 1, 2, 3, 4}, STORE(7, 4, 0)},
    /* widening loads */
    {64, {0x0f, 0xb6, 0x07}, LOAD(3, 1, 4, 0)},
    {64, {0x48, 0x0f, 0xb6, 0x47, 1}, LOAD(5, 1, 8, 0)},
    {64, {0x0f, 0xb7, 0x47, 2}, LOAD(4, 2, 4, 0)},
    {64, {0x66, 0x0f, 0xb6, 0x47, 2}, LOAD(5, 1, 2, 0)},
    {64, {0x0f, 0xbe, 0x07}, LOAD_SIGN(3, 1, 4, 0)},
    {64, {0x4c, 0x0f, 0xbf, 0x07}, LOAD_SIGN(4, 2, 8, 8)},
    {64, {0x48, 0x63, 0x07}, LOAD_SIGN(3, 4, 8, 0)},
    {64, {0x66, 0x63, 0x07}, LOAD_SIGN(3, 2, 2, 0)},
    {32, {0x63, 0x07}, REFUSED},                                                /* ARPL */
    /* 32-bit and 16-bit code */
    {32, {0x8b, 0x40, 0x10}, LOAD(3, 4, 4, 0)},
    {32, {0x8b, 0x0d, 0x20, 0, 0xe0, 0xfe}, LOAD(6, 4, 4, 1)},
    {32, {0x66, 0x89, 0x1c, 0x8f}, STORE(4, 2, 3)},
    {32, {0x40, 0x8b, 0x07}, REFUSED},                                          /* INC EAX */
    {32, {0x67, 0x8b, 0x06, 1, 2}, LOAD(5, 4, 4, 0)},
    {32, {0x67, 0x8b, 0x47, 1}, LOAD(4, 4, 4, 0)},
    {16, {0x8b, 0x07}, LOAD(2, 2, 2, 0)},
    {16, {0x89, 0x87, 1, 2}, STORE(4, 2, 0)},
    {16, {0x66, 0x8b, 0x5c, 1}, LOAD(4, 4, 4, 3)},
    {16, {0x67, 0x66, 0x8b, 0x44, 0x24, 1}, LOAD(6, 4, 4, 0)},
    /* registers, other opcodes, prefixes that change the meaning */
    {64, {0x89, 0xc0}, REFUSED},
    {64, {0x8b, 0xff}, REFUSED},
    {64, {0xc7, 0xc0, 0, 0, 0, 0}, REFUSED},
    {64, {0x0f, 0xb6, 0xc0}, REFUSED},
    {64, {0x0f, 0xaf, 0x07}, REFUSED},
    {64, {0x01, 0x07}, REFUSED},
    {64, {0xf0, 0x89, 0x07}, REFUSED},
    {64, {0xf3, 0x89, 0x07}, REFUSED},
    {64, {0xf2, 0xc7, 0x07}, REFUSED},
    {64, {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}, REFUSED},
};
/* clang-format on */

static void check(const struct insn_mov *got, const struct insn_mov *want)
{
    assert_int_equal(got->length, want->length);
    assert_int_equal(got->size, want->size);
    assert_int_equal(got->register_size, want->register_size);
    assert_int_equal(got->reg, want->reg);
    assert_int_equal(got->shift, want->shift);
    assert_int_equal(got->write, want->write);
    assert_int_equal(got->sign, want->sign);
    assert_int_equal(got->from_immediate, want->from_immediate);
    assert_int_equal(got->immediate, want->immediate);
}

static void test_forms(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
        const struct sample *s = &samples[i];
        struct insn_mov got;
        bool found = insn_fast_mov(s->bytes, INSN_BYTES, s->mode, &got);
        if (found != (s->want.length != 0))
            fail_msg("sample %zu: found is %d", i, found);
        if (!found)
            continue;
        check(&got, &s->want);
        /* Exactly as many bytes as it has are enough; one fewer is not. */
        assert_true(insn_fast_mov(s->bytes, s->want.length, s->mode, &got));
        check(&got, &s->want);
        for (unsigned n = 0; n < s->want.length; n++) {
            uint8_t exact[INSN_BYTES];
            memcpy(exact, s->bytes, n);
            assert_false(insn_fast_mov(exact, n, s->mode, &got));
        }
    }
}

static void test_high_bytes(void **state)
{
    static const uint8_t store_ch[] = {0x88, 0x2f}, load_bh[] = {0x8a, 0x3f};
    uint64_t gpr[16] = {[1] = 0x1122334455667788, [3] = 0xffffffffffffffff};
    struct insn_mov mov;

    assert_true(insn_fast_mov(store_ch, sizeof(store_ch), 64, &mov));
    assert_int_equal(insn_mov_store_value(&mov, gpr), 0x77);
    assert_true(insn_fast_mov(load_bh, sizeof(load_bh), 64, &mov));
    insn_mov_load(&mov, gpr, 0xabcd12);
    assert_int_equal(gpr[3], 0xffffffffffff12ff);
}

static void test_loads_widen_and_merge(void **state)
{
    static const struct {
        uint8_t size, register_size;
        bool sign;
        uint64_t memory, want;
    } cases[] = {
        {4, 4, false, 0xffffffff89abcdef, 0x89abcdef},
        {8, 8, false, 0xfedcba9876543210, 0xfedcba9876543210},
        {2, 2, false, 0xffff1234, 0xaaaaaaaaaaaa1234},
        {1, 1, false, 0xffffff12, 0xaaaaaaaaaaaaaa12},
        {1, 4, false, 0xffffff92, 0x92},
        {1, 4, true, 0xffffff92, 0xffffff92},
        {1, 8, true, 0x92, 0xffffffffffffff92},
        {1, 2, true, 0x92, 0xaaaaaaaaaaaaff92},
        {4, 8, true, 0x80000000, 0xffffffff80000000},
        {2, 8, true, 0x7fff, 0x7fff},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint64_t gpr[16] = {[9] = 0xaaaaaaaaaaaaaaaa};
        struct insn_mov mov = {.size = cases[i].size,
                               .register_size = cases[i].register_size,
                               .sign = cases[i].sign,
                               .reg = 9};
        insn_mov_load(&mov, gpr, cases[i].memory);
        assert_int_equal(gpr[9], cases[i].want);
    }
}

static void test_stores_are_cut_to_size(void **state)
{
    uint64_t gpr[16] = {[2] = 0x1122334455667788};
    struct insn_mov mov = {.size = 4, .reg = 2, .write = true};
    assert_int_equal(insn_mov_store_value(&mov, gpr), 0x55667788);
    mov.size = 8;
    assert_int_equal(insn_mov_store_value(&mov, gpr), 0x1122334455667788);
    mov.size = 1;
    assert_int_equal(insn_mov_store_value(&mov, gpr), 0x88);
    mov = (struct insn_mov){.size = 2, .from_immediate = true, .immediate = (uint64_t)-2};
    assert_int_equal(insn_mov_store_value(&mov, gpr), 0xfffe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_high_bytes),
        cmocka_unit_test(test_loads_widen_and_merge),
        cmocka_unit_test(test_stores_are_cut_to_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
