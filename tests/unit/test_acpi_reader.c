/* links: drivers/acpi.c arch/x86/lib/log.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "drivers/acpi.h"

/* Physical memory of the test: tables lie at fixed places in it, everything else cannot be mapped.
 */
#define SIZE 0x8000
#define RSDP 0x100
#define RSDT 0x200
#define XSDT 0x300
#define MADT 0x400
#define FADT 0x600
#define DSDT 0x800

static uint8_t memory[SIZE];

static const void *map(uint64_t base, uint64_t size)
{
    return base <= SIZE && size <= SIZE - base ? memory + base : NULL;
}

static void put(unsigned at, uint64_t value, unsigned bytes)
{
    memcpy(memory + at, &value, bytes);
}

static uint8_t sum(unsigned at, unsigned size)
{
    uint8_t s = 0;

    while (size--)
        s = (uint8_t)(s + memory[at + size]);
    return s;
}

static void table(unsigned at, const char *signature, unsigned length)
{
    memcpy(memory + at, signature, 4);
    put(at + 4, length, 4);
    memory[at + 9] = 0;
    memory[at + 9] = (uint8_t)-sum(at, length);
}

static void rsdp(unsigned revision)
{
    memset(memory + RSDP, 0, 36);
    memcpy(memory + RSDP, "RSD PTR ", 8);
    memory[RSDP + 15] = (uint8_t)revision;
    put(RSDP + 16, RSDT, 4);
    memory[RSDP + 8] = (uint8_t)-sum(RSDP, 20);
    if (revision >= 2) {
        put(RSDP + 20, 36, 4);
        put(RSDP + 24, XSDT, 8);
        memory[RSDP + 8] = 0;
        memory[RSDP + 8] = (uint8_t)-sum(RSDP, 20);
        memory[RSDP + 32] = (uint8_t)-sum(RSDP, 36);
    }
}

static const uint8_t s5[] = {0x10, 0x05, 0x5c, 0x5f, 0x5f, 0x00, 0x08, '_',  'S',  '5', '_',
                             0x12, 0x06, 0x04, 0x0a, 0x05, 0x01, 0x00, 0x00, 0xa3, 0xa3};

static int setup(void **state)
{
    memset(memory, 0, sizeof(memory));
    rsdp(2);
    put(RSDT + 36, MADT, 4);
    put(RSDT + 40, FADT, 4);
    table(RSDT, "RSDT", 44);
    put(XSDT + 36, FADT, 8);
    put(XSDT + 44, 0xfffffffff000, 8); /* cannot be mapped */
    put(XSDT + 52, MADT, 8);
    table(XSDT, "XSDT", 60);

    put(MADT + 36, 0xfee00000, 4);
    memcpy(memory + MADT + 44, (uint8_t[]){0, 8, 0, 0, 1, 0, 0, 0}, 8); /* a local APIC */
    memcpy(memory + MADT + 52, (uint8_t[]){1, 12, 2, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}, 12);
    memcpy(memory + MADT + 64, (uint8_t[]){2, 10, 0, 0, 2, 0, 0, 0, 0, 0}, 10);
    memcpy(memory + MADT + 74, (uint8_t[]){2, 10, 0, 9, 9, 0, 0, 0, 0xf, 0}, 10);
    table(MADT, "APIC", 84);

    put(FADT + 40, DSDT, 4);
    put(FADT + 48, 0xb2, 4);
    put(FADT + 52, 0xf1, 1);
    put(FADT + 64, 0x604, 4);
    put(FADT + 76, 0x608, 4);
    put(FADT + 112, 1 << 10, 4);
    memory[FADT + 116] = 1;
    put(FADT + 120, 0xcf9, 8);
    memory[FADT + 128] = 6;
    table(FADT, "FACP", 244);
    memcpy(memory + DSDT + 36, s5, sizeof(s5));
    table(DSDT, "DSDT", 36 + sizeof(s5));
    return 0;
}

static void test_find(void **state)
{
    assert_int_equal(acpi_init(0, map), -ENODEV);
    assert_null(acpi_find("APIC"));
    assert_int_equal(acpi_init(RSDP, map), 0);
    assert_ptr_equal(acpi_find("APIC"), memory + MADT);
    assert_ptr_equal(acpi_find("FACP"), memory + FADT);
    assert_null(acpi_find("HPET"));
    rsdp(0);
    assert_int_equal(acpi_init(RSDP, map), 0);
    assert_ptr_equal(acpi_find("APIC"), memory + MADT);
    /* A damaged XSDT leaves the RSDT. */
    rsdp(2);
    memory[XSDT + 36]++;
    assert_int_equal(acpi_init(RSDP, map), 0);
    assert_ptr_equal(acpi_find("FACP"), memory + FADT);
}

static void test_damaged_root(void **state)
{
    memory[RSDP + 9]++;
    assert_int_equal(acpi_init(RSDP, map), -EBADMSG);
    assert_int_equal(acpi_init(SIZE - 4, map), -EBADMSG);
    rsdp(0);
    put(RSDT + 4, 20, 4); /* shorter than its header */
    assert_int_equal(acpi_init(RSDP, map), -EBADMSG);
    put(RSDT + 4, 0xffffffff, 4);
    assert_int_equal(acpi_init(RSDP, map), -EBADMSG);
}

static void test_checksum(void **state)
{
    assert_int_equal(acpi_init(RSDP, map), 0);
    memory[MADT + 50]++;
    assert_null(acpi_find("APIC"));
    memory[MADT + 50]--;
    assert_non_null(acpi_find("APIC"));
}

static void test_madt(void **state)
{
    struct acpi_madt m;

    assert_int_equal(acpi_init(RSDP, map), 0);
    assert_int_equal(acpi_read_madt(&m), 0);
    assert_int_equal(m.lapic_address, 0xfee00000);
    assert_int_equal(m.ioapic_count, 1);
    assert_int_equal(m.ioapics[0].id, 2);
    assert_int_equal(m.ioapics[0].address, 0xfec00000);
    assert_int_equal(m.override_count, 2);
    assert_int_equal(m.overrides[0].isa_irq, 0);
    assert_int_equal(m.overrides[0].gsi, 2);
    assert_int_equal(m.overrides[1].flags, 0xf);

    /* An entry of length 0 would never end; one that leaves the table is not read. */
    memory[MADT + 65] = 0;
    table(MADT, "APIC", 84);
    assert_int_equal(acpi_read_madt(&m), 0);
    assert_int_equal(m.ioapic_count, 1);
    assert_int_equal(m.override_count, 0);
    memory[MADT + 65] = 200;
    table(MADT, "APIC", 84);
    assert_int_equal(acpi_read_madt(&m), 0);
    assert_int_equal(m.override_count, 0);
    table(MADT, "APIC", 40);
    assert_int_equal(acpi_read_madt(&m), -ENOENT);
}

static void test_power(void **state)
{
    struct acpi_power p;

    assert_int_equal(acpi_init(RSDP, map), 0);
    assert_int_equal(acpi_read_power(&p), 0);
    assert_true(p.s5);
    assert_int_equal(p.pm1a, 0x604);
    assert_int_equal(p.pm1b, 0);
    assert_int_equal(p.s5_a, 5);
    assert_int_equal(p.s5_b, 1);
    assert_true(p.reset);
    assert_int_equal(p.reset_register.address, 0xcf9);
    assert_int_equal(p.reset_value, 6);
    assert_int_equal(p.pm_timer, 0x608);
    assert_int_equal(p.acpi_enable, 0xf1);

    /* The first revision's FADT has no reset register. */
    table(FADT, "FACP", 116);
    assert_int_equal(acpi_read_power(&p), 0);
    assert_false(p.reset);
    assert_true(p.s5);
    table(FADT, "FACP", 100);
    assert_int_equal(acpi_read_power(&p), -ENOENT);
}

/* However the DSDT is cut, the search stays inside (the sanitizer watches) and says no. */
static void test_s5_cut(void **state)
{
    struct acpi_power p;

    for (unsigned length = 36; length < 36 + 17; length++) {
        memset(memory + DSDT, 0, 100);
        memcpy(memory + DSDT + 36, s5, sizeof(s5));
        table(DSDT, "DSDT", length);
        assert_int_equal(acpi_init(RSDP, map), 0);
        assert_int_equal(acpi_read_power(&p), 0);
        assert_false(p.s5);
    }
    memcpy(memory + DSDT + 36, s5, sizeof(s5));
    memory[DSDT + 36 + 6] = 0x5b; /* the name stands in something else than a NameOp */
    table(DSDT, "DSDT", 36 + sizeof(s5));
    assert_int_equal(acpi_read_power(&p), 0);
    assert_false(p.s5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_find, setup),
        cmocka_unit_test_setup(test_damaged_root, setup),
        cmocka_unit_test_setup(test_checksum, setup),
        cmocka_unit_test_setup(test_madt, setup),
        cmocka_unit_test_setup(test_power, setup),
        cmocka_unit_test_setup(test_s5_cut, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
