/* links: guest/load/smbios.c */
/* The SMBIOS structures, read as their specification says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "guest/load/smbios.h"

static uint8_t anchor[SMBIOS_ANCHOR_SIZE], tables[SMBIOS_MAX];

/* String number n, from 1, of the structure at s. */
static const char *string_of(const uint8_t *s, unsigned n)
{
    const char *text = (const char *)s + s[1];

    while (--n)
        text += strlen(text) + 1;
    return text;
}

static const uint8_t *behind(const uint8_t *s)
{
    const uint8_t *at = s + s[1];

    while (at[0] || at[1])
        at++;
    return at + 2;
}

static size_t build(const char *name)
{
    memset(tables, 0xee, sizeof(tables));
    return smbios_build(name, anchor, tables);
}

static void names_the_vm(void **state)
{
    size_t size = build("debian");

    assert_int_equal(tables[0], 1);
    assert_string_equal(string_of(tables, tables[4]), "Corbel");
    assert_string_equal(string_of(tables, tables[7]), "debian");
    const uint8_t *end = behind(tables);
    assert_int_equal(end[0], 127);
    assert_ptr_equal(behind(end), tables + size);
}

static void the_entry_point_counts_them(void **state)
{
    size_t size = build("debian");
    uint16_t longest, length, count;

    memcpy(&longest, anchor + 8, 2);
    memcpy(&length, anchor + 22, 2);
    memcpy(&count, anchor + 28, 2);
    assert_memory_equal(anchor, "_SM_", 4);
    assert_memory_equal(anchor + 16, "_DMI_", 5);
    assert_int_equal(anchor[5], 31);
    assert_int_equal(length, size);
    assert_int_equal(count, 2);
    assert_int_equal(longest, behind(tables) - tables);
    assert_int_equal(anchor[4] | anchor[21], 0); /* firmware's to fill in */
}

static void uuids_follow_names(void **state)
{
    uint8_t first[16];

    build("a");
    memcpy(first, tables + 8, 16);
    assert_int_equal(first[7] >> 4, 8);
    assert_int_equal(first[8] >> 6, 2);
    build("b");
    assert_memory_not_equal(first, tables + 8, 16);
    build("a");
    assert_memory_equal(first, tables + 8, 16);
}

static void long_names_are_cut(void **state)
{
    char name[200];

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    size_t size = build(name);
    assert_true(size <= SMBIOS_MAX);
    assert_int_equal(strlen(string_of(tables, tables[7])), SMBIOS_NAME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_the_vm),
        cmocka_unit_test(the_entry_point_counts_them),
        cmocka_unit_test(uuids_follow_names),
        cmocka_unit_test(long_names_are_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
