/* links: drivers/dmar.c */
/* The DMAR table, as firmware has it, and as it should not be. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "drivers/dmar.h"

/* --- a table --- */

static uint8_t table[65536];
static uint32_t length, structure; /* structure: where the last one begins */

static void put(uint64_t value, unsigned bytes)
{
    memset(table + length, 0, bytes);
    memcpy(table + length, &value, MIN(bytes, 8u));
    length += bytes;
}

static void close_structure(void)
{
    uint16_t size = (uint16_t)(length - structure);

    memcpy(table + structure + 2, &size, 2);
}

static void unit(uint64_t registers, unsigned segment, bool rest)
{
    structure = length;
    put(0, 4);
    put(rest, 2);
    put(segment, 2);
    put(registers, 8);
    close_structure();
}

static void region(uint64_t base, uint64_t last)
{
    structure = length;
    put(1, 2);
    put(0, 6);
    put(base, 8);
    put(last, 8);
    close_structure();
}

/* path: pairs of device and function. */
static void scope(unsigned type, unsigned id, unsigned bus, const uint8_t *path, unsigned hops)
{
    put(type, 1);
    put(6 + 2 * hops, 1);
    put(0, 2);
    put(id, 1);
    put(bus, 1);
    for (unsigned i = 0; i < 2 * hops; i++)
        put(path[i], 1);
    close_structure();
}

#define SCOPE(type, id, bus, ...)                                                                  \
    scope(type, id, bus, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}) / 2)

static int setup(void **state)
{
    memset(table, 0, sizeof(table));
    memcpy(table, "DMAR", 4);
    table[36] = 38;
    table[37] = 1;
    length = 48;
    return 0;
}

/* From memory of just its length, so that the sanitizer sees a step beyond. */
static int read(struct dmar *d)
{
    uint8_t *copy = malloc(length);
    int error;

    memcpy(copy, table, length);
    error = dmar_read(copy, length, d);
    free(copy);
    return error;
}

/* --- bridges --- */

static struct {
    uint16_t address;
    uint8_t secondary, subordinate;
} bridges[4];

static uint32_t config(uint16_t address, unsigned offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bridges); i++)
        if (bridges[i].secondary && bridges[i].address == address)
            return offset == 0x18 ? (uint32_t)(address >> 8 | bridges[i].secondary << 8 |
                                               bridges[i].subordinate << 16)
                                  : 1u << 16;
    return offset == 0x18 ? 0xffffff : 0;
}

static int setup_bridges(void **state)
{
    memset(bridges, 0, sizeof(bridges));
    bridges[0].address = 0x0010; /* 0:2.0 leads to 1 to 3 */
    bridges[0].secondary = 1;
    bridges[0].subordinate = 3;
    bridges[1].address = 0x0108; /* 1:1.0 to 2 */
    bridges[1].secondary = bridges[1].subordinate = 2;
    bridges[2].address = 0x0018; /* 0:3.0 leads back */
    bridges[2].secondary = 0;
    return setup(state);
}

/* --- what is read --- */

static void test_as_it_is(void **state)
{
    static struct dmar d;

    unit(0xfed90000, 0, false);
    SCOPE(DMAR_ENDPOINT, 0, 0, 2, 0);
    unit(0xfed91000, 0, true);
    SCOPE(DMAR_IOAPIC, 2, 0xf0, 31, 0);
    SCOPE(DMAR_HPET, 0, 0xf0, 15, 0);
    region(0x7f800000, 0x7fffffff);
    SCOPE(DMAR_ENDPOINT, 0, 0, 2, 0);
    structure = length; /* of a kind that is not looked at */
    put(2, 2);
    put(8, 2);
    put(0xffffffff, 4);
    assert_int_equal(read(&d), 0);
    assert_int_equal(d.address_bits, 39);
    assert_true(d.remaps_interrupts);
    assert_false(d.no_x2apic);
    assert_int_equal(d.unit_count, 2);
    assert_int_equal(d.units[0].registers, 0xfed90000);
    assert_false(d.units[0].rest);
    assert_int_equal(d.units[0].count, 1);
    assert_true(d.units[1].rest);
    assert_int_equal(d.units[1].first, 1);
    assert_int_equal(d.units[1].count, 2);
    assert_int_equal(d.region_count, 1);
    assert_int_equal(d.regions[0].base, 0x7f800000);
    assert_int_equal(d.regions[0].end, 0x80000000);
    assert_int_equal(d.regions[0].count, 1);
    assert_int_equal(d.scopes[1].type, DMAR_IOAPIC);
    assert_int_equal(d.scopes[1].id, 2);
    table[37] = 2;
    assert_int_equal(read(&d), 0);
    assert_false(d.remaps_interrupts);
    assert_true(d.no_x2apic);
}

static void bad(int error)
{
    static struct dmar d;

    assert_int_equal(read(&d), error);
    setup(NULL);
}

static void test_damaged(void **state)
{
    bad(-ENODEV);
    length = 47;
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    length--; /* of the last structure a part */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    put(0, 3); /* no header */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    put(0, 4); /* a structure without length */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    put(2 | 2 << 16, 4); /* one that ends within its header, and seems to be another one there */
    put(4, 2);
    bad(-EBADMSG);
    structure = length;
    put(0, 8); /* a unit without registers */
    close_structure();
    bad(-EBADMSG);
    unit(0, 0, true);
    bad(-EBADMSG);
    unit(0xfed90800, 0, true);
    bad(-EBADMSG);
    unit(1ull << 52, 0, true);
    bad(-EBADMSG);
    unit(0xfed90000, 0, false); /* two at one place */
    unit(0xfed90000, 0, true);
    bad(-EBADMSG);
}

static void test_damaged_scopes(void **state)
{
    static const uint8_t long_path[2 * (DMAR_HOPS + 1)];

    unit(0xfed90000, 0, true);
    scope(DMAR_ENDPOINT, 0, 0, NULL, 0); /* no path */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    scope(DMAR_ENDPOINT, 0, 0, long_path, DMAR_HOPS + 1);
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 32, 0);
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 1, 8);
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 1, 0);
    table[structure + 16 + 1] = 10; /* longer than its unit */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 1, 0);
    table[structure + 16 + 1] = 0;
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 1, 0);
    put(1, 5); /* less than a scope */
    close_structure();
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    SCOPE(DMAR_ENDPOINT, 0, 0, 1, 0, 2);
    table[structure + 16 + 1] = 9; /* half a hop */
    length = structure + 16 + 9;
    close_structure();
    bad(-EBADMSG);
}

static void test_damaged_regions(void **state)
{
    unit(0xfed90000, 0, true);
    region(0x7f800800, 0x7fffffff);
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    region(0x7f800000, 0x7ffffffe);
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    region(0x7f800000, 0x7f7fffff); /* empty */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    region(0, UINT64_MAX); /* its end is 0 */
    bad(-EBADMSG);
    unit(0xfed90000, 0, true);
    structure = length;
    put(1, 2);
    put(0, 18);
    close_structure();
    bad(-EBADMSG);
}

static void test_too_many(void **state)
{
    for (unsigned i = 0; i <= DMAR_UNITS; i++)
        unit(0xfed00000 + i * PAGE_SIZE, 0, false);
    bad(-ENOSPC);
    unit(0xfed90000, 0, true);
    for (unsigned i = 0; i <= DMAR_REGIONS; i++)
        region(0x1000, 0x1fff);
    bad(-ENOSPC);
    unit(0xfed90000, 0, true);
    for (unsigned i = 0; i <= DMAR_SCOPES; i++)
        SCOPE(DMAR_ENDPOINT, 0, 0, 1, 0);
    bad(-ENOSPC);
}

/* --- what it means --- */

static void test_whose_unit(void **state)
{
    static struct dmar d;
    uint16_t address;

    unit(0xfed90000, 0, true); /* the rest is first, as it should not be */
    SCOPE(DMAR_IOAPIC, 2, 0xf0, 31, 7);
    unit(0xfed91000, 0, false);
    SCOPE(DMAR_ENDPOINT, 0, 0, 4, 1);
    SCOPE(DMAR_ENDPOINT, 0, 0, 2, 0, 1, 0, 5, 0); /* 0:2.0, 1:1.0, 2:5.0 */
    unit(0xfed92000, 0, false);
    SCOPE(DMAR_BRIDGE, 0, 0, 2, 0);
    unit(0xfed93000, 1, true); /* another segment's */
    SCOPE(DMAR_IOAPIC, 3, 0xf1, 0, 0);
    SCOPE(DMAR_ENDPOINT, 0, 0, 6, 0);
    unit(0xfed94000, 0, false);
    SCOPE(DMAR_ENDPOINT, 0, 0, 3, 0, 1, 0); /* by what leads nowhere */
    assert_int_equal(read(&d), 0);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0021), &d.units[1]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0020), &d.units[0]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0228), &d.units[1]); /* before the bridge's */
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0010), &d.units[2]); /* the bridge itself */
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0100), &d.units[2]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x03ff), &d.units[2]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0400), &d.units[0]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0030), &d.units[0]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0x0008), &d.units[0]);
    assert_ptr_equal(dmar_unit_of(&d, config, 0xff08), &d.units[0]); /* not by what is no bridge */
    assert_ptr_equal(dmar_unit_of_ioapic(&d, config, 2, &address), &d.units[0]);
    assert_int_equal(address, 0xf0ff);
    assert_null(dmar_unit_of_ioapic(&d, config, 3, &address));
    d.units[0].rest = false;
    assert_null(dmar_unit_of(&d, config, 0x0400));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_as_it_is, setup),
        cmocka_unit_test_setup(test_damaged, setup),
        cmocka_unit_test_setup(test_damaged_scopes, setup),
        cmocka_unit_test_setup(test_damaged_regions, setup),
        cmocka_unit_test_setup(test_too_many, setup),
        cmocka_unit_test_setup(test_whose_unit, setup_bridges),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
