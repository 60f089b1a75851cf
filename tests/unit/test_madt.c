/* links: boot/madt.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include "boot/madt.h"
#include "arch/x86/lib/errno.h"

static uint8_t table[256];
static uint32_t size;

static void begin(void)
{
    memset(table, 0, sizeof(table));
    memcpy(table, "APIC", 4);
    size = 44;
}

static void add(const uint8_t *entry, uint32_t length)
{
    memcpy(table + size, entry, length);
    size += length;
}

static void local_apic(uint8_t id, uint8_t flags)
{
    add((uint8_t[]){0, 8, id, id, flags, 0, 0, 0}, 8);
}

static void local_x2apic(uint8_t id_low, uint8_t id_second, uint8_t flags)
{
    add((uint8_t[]){9, 16, 0, 0, id_low, id_second, 0, 0, flags, 0, 0, 0, 0, 0, 0, 0}, 16);
}

static void lists_usable_processors(void **state)
{
    struct handover_cpu cpus[8];

    begin();
    local_apic(0, 1);
    add((uint8_t[]){1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}, 12); /* an I/O APIC between */
    local_apic(2, 1);
    local_apic(4, 2); /* not enabled but online capable */
    local_apic(6, 0); /* neither: an empty socket */
    local_x2apic(0x10, 1, 1);
    local_x2apic(2, 0, 1); /* the same as a local APIC above */
    assert_int_equal(madt_cpus(table, size, 2, cpus, 8), 4);
    assert_int_equal(cpus[0].apic_id, 0);
    assert_int_equal(cpus[0].flags, HANDOVER_CPU_ENABLED);
    assert_int_equal(cpus[1].apic_id, 2);
    assert_int_equal(cpus[1].flags, HANDOVER_CPU_ENABLED | HANDOVER_CPU_BSP);
    assert_int_equal(cpus[2].apic_id, 4);
    assert_int_equal(cpus[2].flags, 0);
    assert_int_equal(cpus[3].apic_id, 0x110);
}

static void respects_the_room(void **state)
{
    struct handover_cpu cpus[2] = {{0}, {77, 77}};

    begin();
    local_apic(0, 1);
    local_apic(1, 1);
    assert_int_equal(madt_cpus(table, size, 0, cpus, 1), 1);
    assert_int_equal(cpus[1].apic_id, 77);
}

static void refuses_other_tables(void **state)
{
    struct handover_cpu cpus[1];

    begin();
    assert_int_equal(madt_cpus(table, 43, 0, cpus, 1), -EBADMSG);
    table[0] = 'X';
    assert_int_equal(madt_cpus(table, size, 0, cpus, 1), -EBADMSG);
}

static void ends_at_entries_that_do_not_fit(void **state)
{
    struct handover_cpu cpus[8];

    begin();
    local_apic(0, 1);
    add((uint8_t[]){0, 0, 1, 1, 1, 0, 0, 0}, 8); /* length 0 would loop for ever */
    assert_int_equal(madt_cpus(table, size, 0, cpus, 8), 1);
    begin();
    local_apic(0, 1);
    local_apic(1, 1);
    assert_int_equal(madt_cpus(table, size - 1, 0, cpus, 8), 1);
    begin();
    add((uint8_t[]){0, 4, 1, 1}, 4); /* a local APIC too short for its flags */
    local_apic(3, 1);
    assert_int_equal(madt_cpus(table, size, 0, cpus, 8), 1);
}

/* In exactly as much memory as the table claims, so that the sanitizer sees each byte read too far.
 */
static void random_bytes_are_survived(void **state)
{
    struct handover_cpu cpus[4];

    srand(1);
    for (int round = 0; round < 20000; round++) {
        uint32_t n = 44 + (uint32_t)rand() % 64;
        uint8_t *t = malloc(n);

        for (uint32_t i = 0; i < n; i++)
            t[i] = (uint8_t)(rand() % (i >= 44 ? 20 : 256));
        memcpy(t, "APIC", 4);
        assert_int_in_range(madt_cpus(t, n, 0, cpus, 4), 0, 4);
        free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_usable_processors),
        cmocka_unit_test(respects_the_room),
        cmocka_unit_test(refuses_other_tables),
        cmocka_unit_test(ends_at_entries_that_do_not_fit),
        cmocka_unit_test(random_bytes_are_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
