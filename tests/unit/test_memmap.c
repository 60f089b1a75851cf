/* links: boot/memmap.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include "boot/memmap.h"
#include "arch/x86/lib/errno.h"

#define ENTRY(b, s, t) ((struct handover_mem){.base = (b), .size = (s), .type = (t)})

static void expect(const struct handover_mem *m, uint64_t base, uint64_t size, uint32_t type)
{
    assert_int_equal(m->base, base);
    assert_int_equal(m->size, size);
    assert_int_equal(m->type, type);
}

static void sorts_and_merges(void **state)
{
    struct handover_mem in[] = {ENTRY(0x200000, 0x100000, HANDOVER_MEM_USABLE),
                                ENTRY(0, 0x9f000, HANDOVER_MEM_USABLE),
                                ENTRY(0x100000, 0x100000, HANDOVER_MEM_USABLE)},
                        out[6];

    assert_int_equal(memmap_build(in, 3, out, 6), 2);
    expect(&out[0], 0, 0x9f000, HANDOVER_MEM_USABLE);
    expect(&out[1], 0x100000, 0x200000, HANDOVER_MEM_USABLE);
}

static void higher_type_wins_where_entries_overlap(void **state)
{
    struct handover_mem in[] = {ENTRY(0x100000, 0x10000, HANDOVER_MEM_LOADER),
                                ENTRY(0x104000, 0x4000, HANDOVER_MEM_KERNEL),
                                ENTRY(0x10f000, 0x2000, HANDOVER_MEM_USABLE)},
                        out[6];

    assert_int_equal(memmap_build(in, 3, out, 6), 4);
    expect(&out[0], 0x100000, 0x4000, HANDOVER_MEM_LOADER);
    expect(&out[1], 0x104000, 0x4000, HANDOVER_MEM_KERNEL);
    expect(&out[2], 0x108000, 0x8000, HANDOVER_MEM_LOADER);
    expect(&out[3], 0x110000, 0x1000, HANDOVER_MEM_USABLE);
}

static void usable_shrinks_to_pages_and_all_else_grows(void **state)
{
    struct handover_mem in[] = {ENTRY(0x1001, 0x3000, HANDOVER_MEM_USABLE),
                                ENTRY(0x10001, 0x10, HANDOVER_MEM_ACPI),
                                ENTRY(0x20001, 0xffe, HANDOVER_MEM_USABLE)},
                        out[6];

    assert_int_equal(memmap_build(in, 3, out, 6), 2);
    expect(&out[0], 0x2000, 0x2000, HANDOVER_MEM_USABLE);
    expect(&out[1], 0x10000, 0x1000, HANDOVER_MEM_ACPI);
}

static void neighbours_with_other_attributes_stay_apart(void **state)
{
    struct handover_mem in[] = {ENTRY(0x1000, 0x1000, HANDOVER_MEM_USABLE),
                                ENTRY(0x2000, 0x1000, HANDOVER_MEM_USABLE)},
                        out[4];

    in[1].efi_attribute = 8;
    assert_int_equal(memmap_build(in, 2, out, 4), 2);
    assert_int_equal(memmap_build(in, 2, out, 1), -ENOSPC);
}

static void an_entry_up_to_the_end_of_addresses_is_cut(void **state)
{
    struct handover_mem in[] = {ENTRY(UINT64_MAX - 0xfff, UINT64_MAX, HANDOVER_MEM_RESERVED),
                                ENTRY(0xfffffffffffe0000, 0x40000, HANDOVER_MEM_MMIO),
                                ENTRY(0x1000, 0, HANDOVER_MEM_USABLE)},
                        out[6];

    assert_int_equal(memmap_build(in, 3, out, 6), 1);
    expect(&out[0], 0xfffffffffffe0000, 0x1f000, HANDOVER_MEM_MMIO);
}

/* Against the definition: each page belongs to the highest type that names it wholly (usable) or in
 * part (others). */
static void random_maps_match_the_definition(void **state)
{
    enum { PAGES = 32, N = 6 };

    srand(1);
    for (int round = 0; round < 5000; round++) {
        struct handover_mem in[N], out[2 * N];
        int n;
        uint64_t last = 0;

        for (int i = 0; i < N; i++)
            in[i] = ENTRY((uint64_t)(rand() % (PAGES * 4)) * 0x400, (uint64_t)(rand() % 64) * 0x400,
                          (uint32_t)(rand() % 7));
        n = memmap_build(in, N, out, 2 * N);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++) {
            assert_true(out[i].base >= last && out[i].size);
            last = out[i].base + out[i].size;
        }
        for (uint64_t page = 0; page < 2 * PAGES; page++) {
            int want = -1, got = -1;
            uint64_t a = page * 0x1000, z = a + 0x1000;

            for (int i = 0; i < N; i++) {
                bool in_part = in[i].size && in[i].base < z && in[i].base + in[i].size > a;
                bool whole = in[i].base <= a && in[i].base + in[i].size >= z;

                if (in[i].type == HANDOVER_MEM_USABLE ? whole : in_part)
                    want = (int)in[i].type > want ? (int)in[i].type : want;
            }
            for (int i = 0; i < n; i++)
                if (out[i].base <= a && out[i].base + out[i].size >= z)
                    got = (int)out[i].type;
            assert_int_equal(got, want);
        }
    }
}

static void types_of_uefi(void **state)
{
    assert_int_equal(memmap_type(7), HANDOVER_MEM_USABLE);
    assert_int_equal(memmap_type(4), HANDOVER_MEM_USABLE);
    assert_int_equal(memmap_type(2), HANDOVER_MEM_LOADER);
    assert_int_equal(memmap_type(6), HANDOVER_MEM_RUNTIME);
    assert_int_equal(memmap_type(9), HANDOVER_MEM_ACPI);
    assert_int_equal(memmap_type(11), HANDOVER_MEM_MMIO);
    assert_int_equal(memmap_type(13), HANDOVER_MEM_RESERVED);
    assert_int_equal(memmap_type(0x80000000), HANDOVER_MEM_RESERVED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_and_merges),
        cmocka_unit_test(higher_type_wins_where_entries_overlap),
        cmocka_unit_test(usable_shrinks_to_pages_and_all_else_grows),
        cmocka_unit_test(neighbours_with_other_attributes_stay_apart),
        cmocka_unit_test(an_entry_up_to_the_end_of_addresses_is_cut),
        cmocka_unit_test(random_maps_match_the_definition),
        cmocka_unit_test(types_of_uefi),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
