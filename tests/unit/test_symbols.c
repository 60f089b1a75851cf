/* links: arch/x86/symbols.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/types.h"
#include "arch/x86/symbols.h"

static const struct {
    uint32_t count;
    struct {
        uint32_t address, name;
    } entries[3];
    char names[12];
} table = {3, {{0x80100000, 0}, {0x80100010, 4}, {0x80200000, 8}}, "one\0two\0six"};

static void test_lookup(void **state)
{
    uint64_t offset = 99;

    assert_null(symbol_find(&table, sizeof(table), 0x800fffff, &offset));
    assert_string_equal(symbol_find(&table, sizeof(table), 0x80100000, &offset), "one");
    assert_int_equal(offset, 0);
    assert_string_equal(symbol_find(&table, sizeof(table), 0x8010000f, &offset), "one");
    assert_int_equal(offset, 15);
    assert_string_equal(symbol_find(&table, sizeof(table), 0x80100010, &offset), "two");
    assert_string_equal(symbol_find(&table, sizeof(table), 0xffffffff, &offset), "six");
    assert_int_equal(offset, 0x7fdfffff);
}

/* The first link has no table; a torn one must not lead a panic astray. */
static void test_malformed(void **state)
{
    uint64_t offset;

    for (size_t size = 0; size < sizeof(table); size++) {
        void *copy = malloc(size + 1);

        memcpy(copy, &table, size);
        for (uint32_t address = 0x80000000; address < 0x80300000; address += 0x8000)
            (void)symbol_find(copy, size, address, &offset);
        assert_null(symbol_find(copy, size, 0x80200000, &offset));
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_malformed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
