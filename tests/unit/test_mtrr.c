/* links: mm/mtrr.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "mm/mtrr.h"

static uint64_t msrs[0x400];
static struct mtrr m;

static uint64_t mock_rdmsr(void *ctx, uint32_t msr)
{
    assert_uint_in_range(msr, 0xfe, 0x3ff);
    return msrs[msr];
}

static void setup(uint64_t def, unsigned variable)
{
    for (size_t i = 0; i < ARRAY_SIZE(msrs); i++)
        msrs[i] = 0;
    msrs[0xfe] = 0x500 | variable;
    msrs[0x2ff] = def;
}

static void variable(unsigned n, uint64_t base, uint64_t mask, unsigned type)
{
    msrs[0x200 + 2 * n] = base | type;
    msrs[0x201 + 2 * n] = mask | 0x800;
}

static void take(void)
{
    mtrr_read(&m, true, 36, mock_rdmsr, NULL);
}

/* SDM, "Example 12-2: Setting Variable Ranges": a 96 MiB machine. */
static void sdm_example(void **state)
{
    setup(0xc00, 8);
    variable(0, 0, 0xffc000000, MEMORY_WB);         /* 0-64 MiB */
    variable(1, 0x4000000, 0xffe000000, MEMORY_WB); /* 64-96 MiB */
    for (unsigned i = 0; i < 11; i++)
        msrs[(unsigned[]){0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e,
                          0x26f}[i]] = 0x0606060606060606;
    take();
    enum memory_type t;
    assert_true(mtrr_uniform(&m, 0, 96 * MIB, &t));
    assert_int_equal(t, MEMORY_WB);
    assert_int_equal(mtrr_type(&m, 96 * MIB, NULL), MEMORY_UC);
    assert_false(mtrr_uniform(&m, 64 * MIB, 33 * MIB, &t));
    assert_int_equal(mtrr_type(&m, 0xfffffffff000, NULL), MEMORY_UC);
}

static void precedence(void **state)
{
    uint64_t until;

    setup(0x800 | MEMORY_WB, 4);
    variable(0, 0x80000000, 0xf80000000, MEMORY_UC);
    variable(1, 0x80000000, 0xff0000000, MEMORY_WB);
    variable(2, 0x10000000, 0xfff000000, MEMORY_WT);
    variable(3, 0x10000000, 0xfff800000, MEMORY_WB);
    take();
    assert_int_equal(mtrr_type(&m, 0x80000000, NULL), MEMORY_UC);
    assert_int_equal(mtrr_type(&m, 0x10000000, &until), MEMORY_WT);
    assert_true(until == 0x10800000);
    assert_int_equal(mtrr_type(&m, 0x10800000, &until), MEMORY_WT);
    assert_true(until == 0x11000000);
    assert_int_equal(mtrr_type(&m, 0, &until), MEMORY_WB);
    assert_true(until == 0x10000000);
    assert_int_equal(mtrr_type(&m, 0x100000000, &until), MEMORY_WB);
    assert_true(until == UINT64_MAX);
    msrs[0x200 + 2] = 0x80000000 | MEMORY_WC;
    msrs[0x200] = 0x80000000 | MEMORY_WB;
    take();
    assert_int_equal(mtrr_type(&m, 0x80000000, NULL), MEMORY_UC); /* undefined: the safe one */
}

static void fixed(void **state)
{
    enum memory_type t;

    setup(0xc00 | MEMORY_WB, 0);
    msrs[0x250] = 0x0606060606060606;
    msrs[0x258] = 0x0606060606060606;
    msrs[0x259] = 0; /* a0000-bffff */
    msrs[0x268] = 0x0505050505050505;
    msrs[0x26f] = 0x0100000000000000; /* ff000: WC */
    take();
    assert_int_equal(mtrr_type(&m, 0x9ffff, NULL), MEMORY_WB);
    assert_int_equal(mtrr_type(&m, 0xa0000, NULL), MEMORY_UC);
    assert_int_equal(mtrr_type(&m, 0xc0000, NULL), MEMORY_WP);
    assert_int_equal(mtrr_type(&m, 0xc8000, NULL), MEMORY_UC);
    assert_int_equal(mtrr_type(&m, 0xfffff, NULL), MEMORY_WC);
    assert_int_equal(mtrr_type(&m, 0x100000, NULL), MEMORY_WB);
    assert_true(mtrr_uniform(&m, 0, 0xa0000, &t));
    assert_false(mtrr_uniform(&m, 0, 0xa1000, &t));
    msrs[0x2ff] = 0x800 | MEMORY_WB; /* fixed ones off */
    take();
    assert_int_equal(mtrr_type(&m, 0xa0000, NULL), MEMORY_WB);
    setup(0xc00 | MEMORY_WB, 0);
    msrs[0xfe] = 0x400; /* on, but the CPU has none */
    take();
    assert_int_equal(mtrr_type(&m, 0xa0000, NULL), MEMORY_WB);
}

static void switched_off(void **state)
{
    setup(MEMORY_WB, 1);
    take();
    assert_int_equal(mtrr_type(&m, 0, NULL), MEMORY_UC);
    mtrr_read(&m, false, 36, mock_rdmsr, NULL);
    assert_int_equal(mtrr_type(&m, 0, NULL), MEMORY_WB);
    setup(0x800 | MEMORY_WB, 1); /* a register that is not in use keeps its old contents */
    variable(0, 0x80000000, 0xf80000000, MEMORY_WC);
    msrs[0x201] &= ~0x800ULL;
    take();
    assert_int_equal(mtrr_type(&m, 0x80000000, NULL), MEMORY_WB);
    setup(0x800 | 7, 0); /* reserved type */
    take();
    assert_int_equal(mtrr_type(&m, 0, NULL), MEMORY_UC);
}

/* Against the definition, page by page, with random and not always contiguous masks. */
static void against_definition(void **state)
{
    srand(1);
    for (unsigned round = 0; round < 300; round++) {
        setup(0x800 | MEMORY_WB, 3);
        for (unsigned n = 0; n < 3; n++) {
            uint64_t mask = 0xfffff0000 & ~((uint64_t)(rand() % 16) << (12 + rand() % 12));
            variable(n, (uint64_t)(rand() % 256) << 14, mask, (unsigned[]){0, 4, 6}[rand() % 3]);
        }
        take();
        uint64_t until = 0;
        enum memory_type run = 0;
        for (uint64_t pa = 0; pa < 8 * MIB; pa += 4096) {
            int t = -1;
            for (unsigned n = 0; n < 3; n++) {
                uint64_t mask = msrs[0x201 + 2 * n] & 0xffffff000;
                int type = msrs[0x200 + 2 * n] & 7;
                if ((pa & mask) != (msrs[0x200 + 2 * n] & mask))
                    continue;
                t = t < 0 || t == type ? type : t == 0 || type == 0 ? 0 : 4;
            }
            if (t < 0)
                t = MEMORY_WB;
            if (pa >= until)
                run = mtrr_type(&m, pa, &until);
            assert_true(until > pa);
            assert_int_equal(run, t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sdm_example),
        cmocka_unit_test(precedence),
        cmocka_unit_test(fixed),
        cmocka_unit_test(switched_off),
        cmocka_unit_test(against_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
