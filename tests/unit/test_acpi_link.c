/* links: guest/load/acpi_link.c guest/load/acpi.c guest/load/dsdt.c guest/load/aml.c */
/*
 * The ACPI tables by way of firmware: a linker as SeaBIOS and OVMF have one carries the script out,
 * and what it makes is compared with the tables that a VM without firmware has, byte by byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/load/acpi.h"
#include "guest/load/acpi_link.h"

static uint8_t block[GPA_ACPI_SIZE], plain[GPA_ACPI_SIZE];
static uint8_t script[ACPI_LINK_MAX * ACPI_LINK_COMMAND];
static size_t size;
static unsigned commands;

/* A file, as firmware has it in memory. */
struct loaded {
    const char *name;
    uint8_t data[GPA_ACPI_SIZE];
    size_t size;
    uint64_t address; /* 0: not allocated yet */
};
static struct loaded loaded[2];

static void build(unsigned cpus, uint32_t slots)
{
    const struct acpi_platform platform = {.cpus = cpus, .slots = slots};
    int built = acpi_build(&platform, block, sizeof(block));

    assert_true(built > 0);
    size = (size_t)built;
    memcpy(plain, block, size);
    int linked = acpi_link(block, size, script, ACPI_LINK_MAX);
    assert_true(linked > 0 && linked % ACPI_LINK_COMMAND == 0);
    commands = (unsigned)linked / ACPI_LINK_COMMAND;
}

static uint32_t word(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

static struct loaded *find(const uint8_t *name)
{
    assert_non_null(memchr(name, 0, 56));
    for (unsigned i = 0; i < ARRAY_SIZE(loaded); i++)
        if (strcmp((const char *)name, loaded[i].name) == 0)
            return &loaded[i];
    fail_msg("no file of that name");
    return NULL;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
    uint8_t s = 0;

    while (n--)
        s = (uint8_t)(s + *p++);
    return s;
}

static void carry_out(const uint8_t *c, const uint64_t address[2])
{
    struct loaded *f = find(c + 4), *to;
    uint64_t value = 0;

    switch (word(c)) {
    case 1:
        assert_int_equal(f->address, 0); /* once */
        f->address = address[f - loaded];
        assert_true(word(c + 60) <= 4096 && f->address % word(c + 60) == 0);
        assert_int_equal(c[64], f == &loaded[0] ? 2 : 1);
        break;
    case 2:
        to = find(c + 60);
        assert_true(f->address && to->address && (c[120] == 4 || c[120] == 8));
        assert_true(word(c + 116) + c[120] <= f->size);
        memcpy(&value, f->data + word(c + 116), c[120]);
        assert_true(value < to->size); /* OVMF looks there */
        value += to->address;
        assert_true(c[120] == 8 || value >> 32 == 0);
        memcpy(f->data + word(c + 116), &value, c[120]);
        break;
    case 3:
        assert_true(word(c + 64) + word(c + 68) <= f->size && word(c + 60) < f->size);
        /* SeaBIOS subtracts, OVMF replaces: the same where there was 0. */
        assert_int_equal(f->data[word(c + 60)], 0);
        f->data[word(c + 60)] = (uint8_t)-sum(f->data + word(c + 64), word(c + 68));
        break;
    default:
        fail_msg("command %u", word(c));
    }
}

static void run(uint64_t rsdp, uint64_t tables)
{
    const uint64_t address[2] = {rsdp, tables};

    memset(loaded, 0, sizeof(loaded));
    loaded[0].name = "etc/acpi/rsdp";
    loaded[0].size = ACPI_RSDP_SIZE;
    memcpy(loaded[0].data, block, loaded[0].size);
    loaded[1].name = "etc/acpi/tables";
    loaded[1].size = size - ACPI_LINK_TABLES_AT;
    memcpy(loaded[1].data, block + ACPI_LINK_TABLES_AT, loaded[1].size);
    for (unsigned i = 0; i < commands; i++)
        carry_out(script + (size_t)i * ACPI_LINK_COMMAND, address);
}

static void makes_the_same_tables_at_the_same_place(void **state)
{
    for (unsigned cpus = 1; cpus <= ACPI_CPUS; cpus += 21) {
        build(cpus, cpus == 1 ? 0 : 0x1fe);
        run(GPA_ACPI, GPA_ACPI + ACPI_LINK_TABLES_AT);
        assert_memory_equal(loaded[0].data, plain, ACPI_RSDP_SIZE);
        assert_memory_equal(loaded[1].data, plain + ACPI_LINK_TABLES_AT, loaded[1].size);
    }
}

/* Somewhere else all is as it was but for pointers and checksums, which are right. */
static void makes_them_anywhere(void **state)
{
    const uint64_t tables = 0x7ffd0000;
    const uint8_t *t = loaded[1].data;

    build(4, 0);
    run(0xf5a40, tables);
    assert_int_equal(sum(loaded[0].data, 20), 0);
    assert_int_equal(sum(loaded[0].data, ACPI_RSDP_SIZE), 0);
    uint32_t rsdt = word(loaded[0].data + 16), xsdt = word(loaded[0].data + 24);
    assert_memory_equal(t + (rsdt - tables), "RSDT", 4);
    assert_memory_equal(t + (xsdt - tables), "XSDT", 4);
    assert_int_equal(sum(t + (xsdt - tables), word(t + (xsdt - tables) + 4)), 0);
    rsdt -= tables;
    xsdt -= tables;
    for (uint32_t at = 36, wide = 36; at < word(t + rsdt + 4); at += 4, wide += 8) {
        assert_int_equal(word(t + xsdt + wide), word(t + rsdt + at));
        assert_int_equal(word(t + xsdt + wide + 4), 0);
    }
    assert_int_equal(sum(t + rsdt, word(t + rsdt + 4)), 0);
    for (uint32_t at = 36; at < word(t + rsdt + 4); at += 4) {
        uint32_t table = word(t + rsdt + at) - (uint32_t)tables;

        assert_true(table < loaded[1].size);
        assert_int_equal(sum(t + table, word(t + table + 4)), 0);
        if (memcmp(t + table, "FACP", 4) != 0)
            continue;
        assert_memory_equal(t + (word(t + table + 36) - tables), "FACS", 4);
        assert_int_equal(word(t + table + 36) % 64, 0);
        assert_memory_equal(t + (word(t + table + 40) - tables), "DSDT", 4);
        assert_int_equal(word(t + table + 140), word(t + table + 40));
        uint32_t dsdt = word(t + table + 40) - (uint32_t)tables;
        assert_int_equal(sum(t + dsdt, word(t + dsdt + 4)), 0);
    }
}

static void says_what_does_not_fit(void **state)
{
    const struct acpi_platform platform = {.cpus = 1};
    int built = acpi_build(&platform, block, sizeof(block));

    assert_true(built > 0);
    assert_int_equal(acpi_link(block, (size_t)built, script, 5), -ENOSPC);
    built = acpi_build(&platform, block, sizeof(block));
    assert_int_equal(acpi_link(block, 90, script, ACPI_LINK_MAX), -EBADMSG);
    built = acpi_build(&platform, block, sizeof(block));
    assert_int_equal(acpi_link(block, (size_t)built / 2, script, ACPI_LINK_MAX), -EBADMSG);
    assert_int_equal(acpi_link(block, 20, script, ACPI_LINK_MAX), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_the_same_tables_at_the_same_place),
        cmocka_unit_test(makes_them_anywhere),
        cmocka_unit_test(says_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
