/* links: guest/insn/string_io.c */
/* INS and OUTS: prefixes, and what a segment lets through. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/insn/string_io.h"

#define DATA        0x93
#define READ_ONLY   0x91
#define EXPAND_DOWN 0x97
#define CODE        0x9b
#define CODE_ONLY   0x99
#define BIG         0x4000
#define UNUSABLE    0x10000

static struct insn_string_io io;

static bool decode(unsigned mode, unsigned n, const uint8_t *bytes)
{
    io = (struct insn_string_io){0xff, 0xff};
    return insn_string_io_decode(bytes, n, mode, &io);
}

#define DECODE(mode, ...) decode(mode, sizeof((uint8_t[]){__VA_ARGS__}), (uint8_t[]){__VA_ARGS__})
#define EXPECT(size, s)                                                                            \
    do {                                                                                           \
        assert_int_equal(io.address_size, size);                                                   \
        assert_int_equal(io.segment, s);                                                           \
    } while (0)

static void test_address_sizes(void **state)
{
    static const struct {
        unsigned mode, size, other;
    } rows[] = {{16, 2, 4}, {32, 4, 2}, {64, 8, 4}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (unsigned opcode = 0x6c; opcode <= 0x6f; opcode++) {
            unsigned segment = opcode & 2 ? INSN_DS : INSN_ES;
            assert_true(DECODE(rows[i].mode, opcode));
            EXPECT(rows[i].size, segment);
            assert_true(DECODE(rows[i].mode, 0x67, 0xf3, 0x66, opcode));
            EXPECT(rows[i].other, segment);
            assert_true(DECODE(rows[i].mode, 0x67, 0x67, 0xf2, opcode, 0xff));
            EXPECT(rows[i].other, segment);
        }
    }
}

static void test_segments(void **state)
{
    static const uint8_t prefix[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};

    for (unsigned i = 0; i < ARRAY_SIZE(prefix); i++) {
        for (unsigned mode = 16; mode <= 64; mode *= 2) {
            assert_true(DECODE(mode, 0xf3, prefix[i], 0x6e));
            EXPECT(mode / 8, mode == 64 && i < INSN_FS ? INSN_DS : i);
            assert_true(DECODE(mode, prefix[i], 0xf3, 0x6c)); /* INS has ES and no other */
            EXPECT(mode / 8, INSN_ES);
        }
    }
    assert_true(DECODE(32, 0x64, 0x2e, 0x6f)); /* the last one counts */
    EXPECT(4, INSN_CS);
    assert_true(DECODE(64, 0x64, 0x2e, 0x6f)); /* where it counts at all */
    EXPECT(8, INSN_FS);
    assert_true(DECODE(64, 0x65, 0x48, 0x6f));
    EXPECT(8, INSN_GS);
}

static void test_refused(void **state)
{
    uint8_t prefixes[16];

    assert_false(DECODE(64, 0xec)); /* IN */
    assert_false(DECODE(64, 0x0f, 0x6e));
    assert_false(DECODE(32, 0x48, 0x6e)); /* REX is for 64-bit mode */
    assert_false(DECODE(16, 0x41, 0x6e));
    assert_false(DECODE(64, 0x67, 0xf3)); /* cut short */
    assert_false(decode(64, 0, prefixes));
    for (unsigned i = 0; i < 15; i++)
        prefixes[i] = 0x66;
    prefixes[15] = 0x6e; /* 16 bytes are none */
    assert_false(decode(64, 16, prefixes));
    prefixes[14] = 0x6e;
    assert_true(decode(64, 16, prefixes));
}

static bool allows(uint32_t access, uint32_t limit, uint32_t offset, unsigned size, bool write)
{
    const struct insn_limits s = {.access = access, .limit = limit, .protected = true};

    return insn_segment_allows(&s, offset, size, write);
}

static void test_limits(void **state)
{
    for (unsigned size = 1; size <= 4; size *= 2) {
        for (unsigned write = 0; write < 2; write++) {
            assert_true(allows(DATA, 0xffff, 0, size, write));
            assert_true(allows(DATA, 0xffff, 0x10000 - size, size, write));
            assert_false(allows(DATA, 0xffff, 0x10001 - size, size, write));
            assert_false(allows(DATA, 0xffff, 0x10000, size, write));
            assert_true(allows(DATA | BIG, 0xffffffff, 0u - size, size, write));
            /* expand-down: behind the limit, up to 64 KiB or 4 GiB */
            assert_false(allows(EXPAND_DOWN, 0xfff, 0xfff, size, write));
            assert_true(allows(EXPAND_DOWN, 0xfff, 0x1000, size, write));
            assert_true(allows(EXPAND_DOWN, 0xfff, 0x10000 - size, size, write));
            assert_false(allows(EXPAND_DOWN, 0xfff, 0x10001 - size, size, write));
            assert_true(allows(EXPAND_DOWN | BIG, 0xfff, 0u - size, size, write));
        }
        if (size > 1) {
            assert_false(allows(DATA | BIG, 0xffffffff, 1u - size, size, false));
            assert_false(allows(EXPAND_DOWN | BIG, 0xfff, 1u - size, size, false));
        }
    }
}

static void test_types(void **state)
{
    struct insn_limits real = {.access = CODE, .limit = 0xffff};

    assert_false(allows(DATA | UNUSABLE, 0xffff, 0, 1, false));
    assert_true(allows(READ_ONLY, 0xffff, 0, 1, false));
    assert_false(allows(READ_ONLY, 0xffff, 0, 1, true));
    assert_true(allows(CODE, 0xffff, 0, 1, false));
    assert_false(allows(CODE, 0xffff, 0, 1, true));
    assert_false(allows(CODE_ONLY, 0xffff, 0, 1, false));
    /* a conforming code segment's bit 2 is no expand-down */
    assert_true(allows(CODE | 4, 0xffff, 0, 1, false));
    /* real mode knows limits only */
    assert_true(insn_segment_allows(&real, 0xffff, 1, true));
    assert_false(insn_segment_allows(&real, 0xffff, 2, true));
    real.access = DATA | UNUSABLE;
    assert_false(insn_segment_allows(&real, 0, 1, false));
}

static void test_canonical(void **state)
{
    assert_true(insn_canonical(0, 8));
    assert_true(insn_canonical(0x7ffffffffff8, 8));
    assert_false(insn_canonical(0x7ffffffffffd, 4));
    assert_false(insn_canonical(0x800000000000, 1));
    assert_false(insn_canonical(0xffff7fffffffffff, 2));
    assert_true(insn_canonical(0xffff800000000000, 4));
    assert_true(insn_canonical(0xffffffffffffffff, 2)); /* behind which comes 0 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_sizes), cmocka_unit_test(test_segments),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_types),         cmocka_unit_test(test_canonical),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
