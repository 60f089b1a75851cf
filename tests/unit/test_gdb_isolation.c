/* links: guest/gdb/isolation.c guest/cpu/walk.c */
/* A kernel's addresses while the program's page tables are in CR3. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/isolation.h"

#define RW_U   7ULL
#define RW     3ULL
#define LARGE  BIT(7)
#define NX     BIT(63)
#define KERNEL 0xffffffff81234567ULL
#define USER   0x400123ULL

/* By page: 2 the kernel's root, 3 the program's, 4 and 5 the kernel's part, 6 and 7 the program's.
 */
static uint64_t ram[8 * 512];
static struct walk_context c;

static int read_ram(void *opaque, uint64_t gpa, uint64_t *value)
{
    if (gpa >= sizeof(ram))
        return -EFAULT;
    *value = ram[gpa / 8];
    return 0;
}

static uint64_t *entry(unsigned page, unsigned index)
{
    return &ram[page * 512 + index];
}

static int fresh(void **state)
{
    memset(ram, 0, sizeof(ram));
    *entry(2, 511) = 0x4000 | RW;
    *entry(4, 510) = 0x5000 | RW;
    *entry(5, 9) = 0x1200000 | RW | LARGE;
    *entry(2, 0) = 0x6000 | RW_U | NX;
    *entry(3, 0) = 0x6000 | RW_U | BIT(5);
    *entry(6, 0) = 0x7000 | RW_U;
    *entry(7, 2) = 0x5000000 | RW_U | LARGE;
    c = (struct walk_context){.cr0 = BIT(31) | BIT(16),
                              .cr3 = 0x3000,
                              .cr4 = BIT(5) | BIT(20) | BIT(21),
                              .efer = BIT(10) | BIT(11),
                              .physical_bits = 40,
                              .read = read_ram};
    return 0;
}

static uint64_t walk(uint64_t linear)
{
    uint64_t gpa = 0;
    int result = gdb_walk(&c, linear, &gpa);

    assert_true(result == 0 || result == -EFAULT);
    return result == 0 ? gpa : 0;
}

static void test_isolated(void **state)
{
    assert_int_equal(walk(KERNEL), 0x1234567);
    assert_int_equal(walk(USER), 0x5000123);
    c.cr3 |= 0x801; /* PCIDs */
    assert_int_equal(walk(KERNEL), 0x1234567);
    c.cr3 = 0x2000;
    assert_int_equal(walk(KERNEL), 0x1234567);
    assert_int_equal(walk(USER), 0x5000123);
}

/* What the program cannot see of its own half is nobody's. */
static void test_lower_half(void **state)
{
    *entry(2, 1) = *entry(3, 1) = 0x6000 | RW_U;
    assert_int_equal(walk(0x8000000000), 0);
    *entry(6, 0) = 0;
    assert_int_equal(walk(USER), 0);
}

static void test_no_twin(void **state)
{
    *entry(2, 7) = 0x6000 | RW_U;
    assert_int_equal(walk(KERNEL), 0);
    *entry(3, 7) = 0x6000 | RW_U;
    assert_int_equal(walk(KERNEL), 0x1234567);
    *entry(3, 0) = 0x6000 | RW; /* other rights */
    assert_int_equal(walk(KERNEL), 0);
}

/* Two pages that have nothing in common but zeroes. */
static void test_nothing_there(void **state)
{
    *entry(2, 0) = *entry(3, 0) = 0;
    assert_int_equal(walk(KERNEL), 0);
}

static void test_outside_ram(void **state)
{
    c.cr3 = sizeof(ram) | 0x1000;
    assert_int_equal(walk(KERNEL), 0);
    c.cr3 = ~0ULL;
    assert_int_equal(walk(KERNEL), 0);
}

/* 32-bit and PAE paging have no such roots, and without paging there are no tables. */
static void test_other_modes(void **state)
{
    c.efer = 0;
    assert_int_equal(walk(KERNEL), 0);
    c.cr0 = 0;
    assert_int_equal(walk(USER), USER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_isolated, fresh),
        cmocka_unit_test_setup(test_lower_half, fresh),
        cmocka_unit_test_setup(test_no_twin, fresh),
        cmocka_unit_test_setup(test_nothing_there, fresh),
        cmocka_unit_test_setup(test_outside_ram, fresh),
        cmocka_unit_test_setup(test_other_modes, fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
