/* links: guest/load/acpi.c guest/load/dsdt.c guest/load/aml.c */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "guest/board/ports.h"
#include "guest/load/acpi.h"
#include "guest/load/aml.h"

static uint8_t *block; /* as large as the tables need, so that ASan sees a byte past them */
static int block_size;

static uint32_t slots;
static bool display;

static void build(unsigned cpus, const uint32_t *ids)
{
    struct acpi_platform platform = {cpus, ids, slots, display};
    uint8_t *large = malloc(GPA_ACPI_SIZE);

    memset(large, 0xa5, GPA_ACPI_SIZE);
    block_size = acpi_build(&platform, large, GPA_ACPI_SIZE);
    assert_true(block_size > 0);
    free(block);
    block = malloc((size_t)block_size);
    assert_int_equal(acpi_build(&platform, block, (size_t)block_size), block_size);
    assert_memory_equal(block, large, (size_t)block_size);
    free(large);
}

static uint64_t get(const uint8_t *p, unsigned size)
{
    uint64_t v = 0;

    memcpy(&v, p, size);
    return v;
}

static uint8_t sum(const uint8_t *p, size_t size)
{
    uint8_t s = 0;

    while (size--) {
        s = (uint8_t)(s + *p++);
    }
    return s;
}

/* The table at a guest-physical address, its signature, length and checksum verified. */
static uint8_t *table_at(uint64_t gpa, const char *signature)
{
    uint64_t offset = gpa - GPA_ACPI;
    uint8_t *t = block + offset;

    assert_true(gpa >= GPA_ACPI && offset + 36 <= (uint64_t)block_size);
    assert_true(gpa % 16 == 0);
    assert_memory_equal(t, signature, 4);
    assert_true(get(t + 4, 4) >= 36 && offset + get(t + 4, 4) <= (uint64_t)block_size);
    assert_int_equal(sum(t, get(t + 4, 4)), 0);
    assert_memory_equal(t + 10, "CORBEL", 6);
    return t;
}

static uint8_t *find(const char *signature)
{
    uint8_t *xsdt = table_at(get(block + 24, 8), "XSDT");
    uint8_t *rsdt = table_at(get(block + 16, 4), "RSDT");
    size_t count = (get(xsdt + 4, 4) - 36) / 8;

    assert_int_equal((get(rsdt + 4, 4) - 36) / 4, count);
    for (size_t i = 0; i < count; i++) {
        uint64_t gpa = get(xsdt + 36 + 8 * i, 8);

        assert_int_equal(get(rsdt + 36 + 4 * i, 4), gpa);
        if (memcmp(block + (gpa - GPA_ACPI), signature, 4) == 0) {
            return table_at(gpa, signature);
        }
    }
    fail_msg("no %s", signature);
    return NULL;
}

static uint8_t *dsdt(void)
{
    return table_at(get(find("FACP") + 40, 4), "DSDT");
}

static void test_rsdp(void **state)
{
    build(1, NULL);
    assert_memory_equal(block, "RSD PTR ", 8);
    assert_int_equal(block[15], 2);
    assert_int_equal(get(block + 20, 4), 36);
    assert_int_equal(sum(block, 20), 0);
    assert_int_equal(sum(block, 36), 0);
}

/* ACPI Specification, "Fixed ACPI Description Table (FADT)": the offsets are the specification's.
 */
static void test_fadt(void **state)
{
    uint8_t *f, *facs;

    build(1, NULL);
    f = find("FACP");
    assert_int_equal(get(f + 4, 4), 276);
    assert_int_equal(f[8], 6);
    assert_int_equal(get(f + 46, 2), 9); /* SCI_INT */
    assert_int_equal(get(f + 48, 4), 0); /* SMI_CMD: always in ACPI mode */
    assert_int_equal(get(f + 56, 4), PORT_PM1A_EVENT);
    assert_int_equal(get(f + 64, 4), PORT_PM1A_CONTROL);
    assert_int_equal(get(f + 76, 4), PORT_PM_TIMER);
    assert_int_equal(get(f + 80, 4), PORT_GPE0);
    assert_int_equal(f[88], 4);                    /* PM1_EVT_LEN */
    assert_int_equal(f[89], 2);                    /* PM1_CNT_LEN */
    assert_int_equal(f[91], 4);                    /* PM_TMR_LEN */
    assert_int_equal(f[92], 4);                    /* GPE0_BLK_LEN */
    assert_int_equal(f[108], 0x32);                /* CENTURY */
    assert_int_equal(get(f + 109, 2), 5);          /* legacy devices, no 8042, no VGA, an RTC */
    assert_int_equal(get(f + 112, 4) & BIT(0), 1); /* WBINVD */
    assert_int_equal(get(f + 112, 4) & BIT(4), 0); /* PWR_BUTTON: a fixed one */
    assert_true(get(f + 112, 4) & BIT(8));         /* TMR_VAL_EXT */
    assert_true(get(f + 112, 4) & BIT(10));        /* RESET_REG_SUP */
    assert_false(get(f + 112, 4) & BIT(20));       /* not hardware-reduced */
    assert_memory_equal(f + 116, "\x01\x08\x00\x01\xf9\x0c\0\0\0\0\0\0\x06",
                        13);                                         /* RESET_REG, RESET_VALUE */
    assert_int_equal(get(f + 140, 8), get(f + 40, 4));               /* X_DSDT */
    assert_memory_equal(f + 148, "\x01\x20\x00\x00\x00\x06\0\0", 8); /* X_PM1a_EVT_BLK */
    assert_memory_equal(f + 172, "\x01\x10\x00\x00\x04\x06\0\0", 8); /* X_PM1a_CNT_BLK */
    assert_memory_equal(f + 208, "\x01\x20\x00\x03\x08\x06\0\0", 8); /* X_PM_TMR_BLK */
    assert_memory_equal(f + 220, "\x01\x20\x00\x01\x20\x06\0\0", 8); /* X_GPE0_BLK */
    assert_memory_equal(f + 268, "Corbel\0\0", 8);

    assert_int_equal(get(f + 36, 4) % 64, 0);
    facs = block + (get(f + 36, 4) - GPA_ACPI);
    assert_memory_equal(facs, "FACS", 4);
    assert_int_equal(get(facs + 4, 4), 64);
    assert_int_equal(facs[32], 2);
}

struct seen {
    unsigned lapics, x2apics, ioapics, overrides, nmis, x2apic_nmis;
};

static struct seen walk_madt(const uint32_t *ids)
{
    uint8_t *m = find("APIC"), *end = m + get(m + 4, 4);
    struct seen s = {0};

    assert_int_equal(get(m + 36, 4), 0xfee00000);
    assert_int_equal(get(m + 40, 4), 1);
    for (uint8_t *e = m + 44; e < end; e += e[1]) {
        unsigned cpu = s.lapics + s.x2apics;

        assert_true(e[1] >= 2 && e + e[1] <= end);
        switch (e[0]) {
        case 0:
            assert_int_equal(e[2], cpu);
            assert_int_equal(e[3], ids ? ids[cpu] : cpu);
            assert_int_equal(get(e + 4, 4), 1);
            s.lapics++;
            break;
        case 1:
            assert_int_equal(e[2], ACPI_IOAPIC_ID);
            assert_int_equal(get(e + 4, 4), 0xfec00000);
            assert_int_equal(get(e + 8, 4), 0);
            s.ioapics++;
            break;
        case 2:
            assert_int_equal(e[2], 0);
            assert_true(e[3] == 0 ? get(e + 4, 4) == 2 && get(e + 8, 2) == 0
                                  : e[3] == 9 && get(e + 4, 4) == 9 && get(e + 8, 2) == 0xd);
            s.overrides++;
            break;
        case 4:
            assert_memory_equal(e, "\4\6\xff\0\0\1", 6);
            s.nmis++;
            break;
        case 9:
            assert_int_equal(get(e + 4, 4), ids[cpu]);
            assert_true(ids[cpu] > 254);
            assert_int_equal(get(e + 8, 4), 1);
            assert_int_equal(get(e + 12, 4), cpu);
            s.x2apics++;
            break;
        case 10:
            assert_memory_equal(e, "\12\14\0\0\xff\xff\xff\xff\1\0\0\0", 12);
            s.x2apic_nmis++;
            break;
        default:
            fail_msg("MADT entry type %u", e[0]);
        }
    }
    return s;
}

static void expect_seen(struct seen s, unsigned lapics, unsigned x2apics)
{
    assert_int_equal(s.lapics, lapics);
    assert_int_equal(s.x2apics, x2apics);
    assert_int_equal(s.ioapics, 1);
    assert_int_equal(s.overrides, 2);
    assert_int_equal(s.nmis, 1);
    assert_int_equal(s.x2apic_nmis, x2apics ? 1 : 0);
}

static void test_madt(void **state)
{
    static const uint32_t ids[] = {0, 2, 254, 255, 300};

    build(1, NULL);
    expect_seen(walk_madt(NULL), 1, 0);
    build(64, NULL);
    expect_seen(walk_madt(NULL), 64, 0);
    build(5, ids);
    expect_seen(walk_madt(ids), 3, 2);
}

/* --- AML: walk the terms that the builder can write; every block must end where its last term does
 * --- */

static size_t package_length(const uint8_t *p, unsigned *bytes)
{
    unsigned more = p[0] >> 6;
    size_t length = more ? p[0] & 0xf : p[0] & 0x3f;

    for (unsigned i = 1; i <= more; i++) {
        length |= (size_t)p[i] << (8 * i - 4);
    }
    *bytes = 1 + more;
    return length;
}

static unsigned terms; /* met by the walk */
static char scope[5];  /* the innermost */
static const char *wanted, *wanted_in;
static const uint8_t *method, *method_end; /* of that name, there */

static const uint8_t *walk_terms(const uint8_t *p, const uint8_t *end);

static const uint8_t *walk_data(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *stop;
    unsigned bytes, elements;

    switch (*p) {
    case 0x00:
    case 0x01:
        return p + 1;
    case 0x0a:
        return p + 2;
    case 0x0b:
        return p + 3;
    case 0x0c:
        return p + 5;
    case 0x11:
        stop = p + 1 + package_length(p + 1, &bytes);
        assert_true(stop <= end);
        p += 1 + bytes;
        assert_int_equal(*p, 0x0b);
        assert_int_equal(get(p + 1, 2), stop - (p + 3));
        assert_memory_equal(stop - 2, "\x79\0", 2); /* the end tag */
        for (p += 3; *p != 0x79; p += *p & 0x80 ? 3 + get(p + 1, 2) : 1u + (*p & 7u)) {
            assert_true(p < stop - 2);
        }
        assert_ptr_equal(p, stop - 2);
        return stop;
    case 0x12:
        stop = p + 1 + package_length(p + 1, &bytes);
        assert_true(stop <= end);
        elements = p[1 + bytes];
        for (p += 2 + bytes; elements--;) {
            p = walk_data(p, stop);
        }
        assert_ptr_equal(p, stop);
        return p;
    default:
        fail_msg("AML byte %02x", *p);
        return end;
    }
}

static const uint8_t *walk_terms(const uint8_t *p, const uint8_t *end)
{
    while (p < end) {
        terms++;
        if (*p == 0x08) {
            p = walk_data(p + 5, end);
        } else if (p[0] == 0x5b && p[1] == 0x80) { /* a region of ports */
            assert_int_equal(p[6], 1);
            p = walk_data(walk_data(p + 7, end), end);
        } else {
            unsigned bytes, op = *p == 0x5b ? 2 : 1;
            const uint8_t *stop;

            assert_true(*p == 0x10 || *p == 0x14 ||
                        (p[0] == 0x5b && (p[1] == 0x82 || p[1] == 0x81)));
            stop = p + op + package_length(p + op, &bytes);
            assert_true(stop <= end);
            if (*p == 0x14 && wanted && memcmp(p + op + bytes, wanted, 4) == 0 &&
                memcmp(scope, wanted_in, 4) == 0) {
                method = p + op + bytes + 5;
                method_end = stop;
            }
            if (*p == 0x14 || p[1] == 0x81) {
                p = stop;
                continue;
            }
            char outer[5];
            memcpy(outer, scope, 5);
            memcpy(scope, p + op + bytes, 4);
            p = walk_terms(p + op + bytes + 4, stop);
            memcpy(scope, outer, 5);
        }
    }
    assert_ptr_equal(p, end);
    return p;
}

static bool contains(const uint8_t *p, size_t size, const void *what, size_t length)
{
    return memmem(p, size, what, length) != NULL;
}

static void test_dsdt(void **state)
{
    /* From C0000000h to the I/O APIC. */
    static const uint8_t window[26] = {0x87, 0x17, 0,    0,    0x0c, 1, 0, 0, 0, 0, 0, 0,    0,
                                       0xc0, 0xff, 0xff, 0xbf, 0xfe, 0, 0, 0, 0, 0, 0, 0xc0, 0x3e};
    uint8_t *d;
    size_t size;

    build(1, NULL);
    d = dsdt();
    size = get(d + 4, 4);
    terms = 0;
    walk_terms(d + 36, d + size);
    assert_int_equal(terms, 25);
    assert_int_equal(d[8], 2);
    assert_true(contains(d, size, "\x08_S5_\x12\x06\x04\0\0\0\0", 12));
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x0a\x03", 10)); /* PNP0A03 */
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x05\x01", 10)); /* PNP0501 */
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x0b\x00", 10)); /* PNP0B00 */
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x0c\x02", 10)); /* PNP0C02, of which */
    assert_true(contains(d, size, "\x86\x09\0\1\0\0\0\xb0\0\0\x10\0", 12));
    assert_true(
        contains(d, size, "\x47\x01\xf8\x03\xf8\x03\x01\x08\x22\x10\x00\x79\x00", 13)); /* COM1 */
    assert_true(contains(d, size, window, sizeof(window)));
    /* INTx: the four pins of a device lead to 10, 10, 11, 11, and those of the next begin one
     * later. */
    static const uint8_t routes[] = {
        0x12, 0x09, 4, 0x0b, 0xff, 0xff, 0,    0, 0x0a, 10,             /* device 0, INTA */
        0x12, 0x09, 4, 0x0b, 0xff, 0xff, 1,    0, 0x0a, 10,             /* INTB */
        0x12, 0x0a, 4, 0x0b, 0xff, 0xff, 0x0a, 2, 0,    0x0a, 11,       /* INTC */
        0x12, 0x0a, 4, 0x0b, 0xff, 0xff, 0x0a, 3, 0,    0x0a, 11,       /* INTD */
        0x12, 0x0b, 4, 0x0c, 0xff, 0xff, 1,    0, 0,    0,    0x0a, 10, /* device 1, INTA */
        0x12, 0x0b, 4, 0x0c, 0xff, 0xff, 1,    0, 1,    0,    0x0a, 11, /* INTB */
    };
    static const uint8_t last_route[] = {0x12, 0x0c, 4, 0x0c, 0xff, 0xff, 31,
                                         0,    0x0a, 3, 0,    0x0a, 11};
    assert_true(contains(d, size, "\x08_PRT\x12", 6));
    assert_true(contains(d, size, routes, sizeof(routes)));
    assert_true(contains(d, size, last_route, sizeof(last_route)));
}

/* --- slots: their methods are run by an interpreter of what they consist of --- */

static struct {
    uint32_t come, go, ejected, local[2];
    unsigned notes;
    struct {
        unsigned device, value;
    } note[64];
} run;

static uint32_t integer(const uint8_t **p)
{
    const uint8_t *at = *p;

    *p = walk_data(at, at + 6);
    return at[0] < 2 ? at[0] : (uint32_t)get(at + 1, at[0] == 0x0a ? 1 : at[0] == 0x0b ? 2 : 4);
}

static void run_terms(const uint8_t *p, const uint8_t *end)
{
    static const char path[] = "\\/\3_SB_PCI0PCNT";
    unsigned bytes;

    while (p < end) {
        const uint8_t *stop = end;

        if (*p == 0x70 && p[5] >= 0x60 && p[5] < 0x62 && memcmp(p + 1, "PC", 2) == 0) {
            uint32_t *from = memcmp(p + 1, "PCIU", 4) == 0 ? &run.come : &run.go;
            run.local[p[5] - 0x60] = *from;
            *from = 0;
            p += 6;
        } else if (*p == 0x70) {
            p++;
            run.ejected = integer(&p);
            assert_memory_equal(p, "PCEJ", 4);
            p += 4;
        } else if (*p == 0xa0) {
            stop = p + 1 + package_length(p + 1, &bytes);
            assert_int_equal(p[1 + bytes], 0x7b);
            uint32_t local = run.local[p[2 + bytes] - 0x60];
            p += 3 + bytes;
            local &= integer(&p);
            assert_int_equal(*p, 0);
            if (local)
                run_terms(p + 1, stop);
            p = stop;
        } else if (*p == 0x86) {
            char name[3] = {(char)p[3], (char)p[4], 0};
            assert_memory_equal(p + 1, "SL", 2);
            run.note[run.notes].device = (unsigned)strtoul(name, NULL, 16);
            p += 5;
            run.note[run.notes++].value = integer(&p);
        } else {
            assert_memory_equal(p, path, sizeof(path) - 1);
            p += sizeof(path) - 1;
        }
    }
    assert_ptr_equal(p, end);
}

static void run_method(const char *in, const char *name)
{
    uint8_t *d = dsdt();

    method = NULL;
    wanted = name;
    wanted_in = in;
    walk_terms(d + 36, d + get(d + 4, 4));
    wanted = NULL;
    assert_non_null(method);
    run_terms(method, method_end);
}

static void test_slots(void **state)
{
    uint8_t *d;
    size_t size;

    slots = 1u << 1 | 1u << 2 | 1u << 9 | 1u << 30;
    build(1, NULL);
    d = dsdt();
    size = get(d + 4, 4);
    assert_true(contains(d, size, "\x5b\x80PCHP\x01\x0b\x00\xae\x0a\x10", 12));
    assert_true(contains(d, size, "PCHP\x03PCIU\x20PCID\x20PCEJ\x20", 20));
    assert_true(contains(d, size, "SL01\x08_ADR\x0c\0\0\x01\0\x08_SUN\x01", 20));
    assert_true(contains(d, size, "SL1E\x08_ADR\x0c\0\0\x1e\0\x08_SUN\x0a\x1e", 21));
    assert_false(contains(d, size, "SL03", 4));
    assert_true(contains(d, size, "\x47\x01\x00\xae\x00\xae\x01\x10", 8)); /* nobody else's */
    /* Two have come, one is to go, and one that is no slot. */
    run.come = 1u << 1 | 1u << 30;
    run.go = 1u << 9 | 1u << 8;
    run_method("_GPE", "_E01"); /* which calls: */
    run_method("PCI0", "PCNT");
    assert_int_equal(run.notes, 3);
    assert_int_equal(run.note[0].device, 1);
    assert_int_equal(run.note[0].value, 1); /* ACPI Specification, "Device Object Notifications" */
    assert_int_equal(run.note[1].device, 9);
    assert_int_equal(run.note[1].value, 3);
    assert_int_equal(run.note[2].device, 30);
    assert_int_equal(run.note[2].value, 1);
    run_method("PCI0", "PCNT");
    assert_int_equal(run.notes, 3);
    run_method("SL09", "_EJ0");
    assert_int_equal(run.ejected, 1u << 9);
    run_method("SL1E", "_EJ0");
    assert_int_equal(run.ejected, 1u << 30);
    slots = 0;
}

/* A VM with a display has an 8042 with keyboard and mouse. */
static void test_display(void **state)
{
    uint8_t *d;
    size_t size;

    display = true;
    build(1, NULL);
    display = false;
    d = dsdt();
    size = get(d + 4, 4);
    terms = 0;
    walk_terms(d + 36, d + size);
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x03\x03", 10)); /* PNP0303 */
    assert_true(contains(d, size,
                         "\x47\x01\x60\x00\x60\x00\x01\x01\x47\x01\x64\x00\x64\x00\x01\x01\x22\x02"
                         "\x00\x79\x00",
                         21));
    assert_true(contains(d, size, "\x08_HID\x0c\x41\xd0\x0f\x13", 10)); /* PNP0F13 */
    assert_true(contains(d, size, "\x22\x00\x10\x79\x00", 5));
    assert_int_equal(get(find("FACP") + 109, 2), 3);
    build(1, NULL);
    d = dsdt();
    assert_false(contains(d, get(d + 4, 4), "PS2K", 4));
}

/* PCI Firmware Specification: bus 0 of segment 0. */
static void test_mcfg(void **state)
{
    uint8_t *m;

    build(1, NULL);
    m = find("MCFG");
    assert_int_equal(get(m + 4, 4), 60);
    assert_int_equal(get(m + 44, 8), 0xb0000000);
    assert_int_equal(get(m + 52, 8), 0);
}

/* Blocks at the borders of the package length's encodings. */
static void test_package_lengths(void **state)
{
    static const size_t sizes[] = {0,    1,    57,   58,   59,   62,   63,    64,
                                   4087, 4088, 4089, 4090, 4093, 4096, 70000, 1048600};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct aml a = {.data = malloc(sizes[i] + 20), .size = sizes[i] + 20};
        size_t outer = aml_scope(&a, "_SB_"), inner;
        unsigned bytes;

        for (size_t j = 0; j < sizes[i]; j++) {
            aml_u8(&a, (uint8_t)j);
        }
        inner = aml_device(&a, "DEV0");
        aml_close(&a, inner);
        aml_close(&a, outer);
        assert_true(a.used <= a.size);
        assert_int_equal(a.data[0], 0x10);
        assert_int_equal(package_length(a.data + 1, &bytes), a.used - 1);
        assert_memory_equal(a.data + 1 + bytes, "_SB_", 4);
        assert_memory_equal(a.data + a.used - 7, "\x5b\x82\5DEV0", 7);
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(a.data[5 + bytes + j], (uint8_t)j);
        }
        free(a.data);
    }
}

static void test_no_room_and_bad_platforms(void **state)
{
    struct acpi_platform platform = {.cpus = 1};
    int needed;

    build(1, NULL);
    needed = block_size;
    for (int size = 0; size < needed; size++) {
        uint8_t *small = malloc((size_t)size);

        assert_int_equal(acpi_build(&platform, small, (size_t)size), -ENOSPC);
        free(small);
    }
    assert_int_equal(acpi_build(&platform, NULL, 0), -ENOSPC);
    platform.cpus = 0;
    assert_int_equal(acpi_build(&platform, block, (size_t)needed), -EINVAL);
    platform.cpus = 65;
    assert_int_equal(acpi_build(&platform, block, (size_t)needed), -EINVAL);
}

/* ACPICA's own compiler reads every table without complaint, and compiles again what it read (needs
 * iasl). */
static void test_iasl(void **state)
{
    static const uint32_t ids[] = {0, 2, 300};
    static const char *const script =
        "cd '%s' && for t in FACP APIC MCFG DSDT RSDT XSDT; do iasl -d $t.dat >>log 2>&1 || exit "
        "1; "
        "done; "
        "! grep -iE 'warn|error|invalid|incorrect' log && iasl -tc DSDT.dsl >dsdt.log 2>&1 && "
        "grep -q '0 Errors, 0 Warnings, 0 Remarks' dsdt.log";
    char directory[] = "/tmp/corbel-acpi-XXXXXX", command[600];
    int status;

    if (system("command -v iasl >/dev/null") != 0) {
        skip();
    }
    assert_non_null(mkdtemp(directory));
    slots = 0x7ffffffe;
    build(3, ids);
    slots = 0;
    for (int i = 48; i + 36 <= block_size; i += 16) {
        char path[64];
        FILE *f;

        if (memcmp(block + i + 10, "CORBEL", 6) != 0) {
            continue;
        }
        snprintf(path, sizeof(path), "%s/%.4s.dat", directory, block + i);
        f = fopen(path, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(block + i, get(block + i + 4, 4), 1, f), 1);
        fclose(f);
    }
    snprintf(command, sizeof(command), script, directory);
    status = system(command);
    snprintf(command, sizeof(command), "%s '%s'/*log; rm -r '%s'", status ? "cat" : ":", directory,
             directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rsdp),
        cmocka_unit_test(test_fadt),
        cmocka_unit_test(test_madt),
        cmocka_unit_test(test_dsdt),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_display),
        cmocka_unit_test(test_mcfg),
        cmocka_unit_test(test_package_lengths),
        cmocka_unit_test(test_no_room_and_bad_platforms),
        cmocka_unit_test(test_iasl),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    free(block);
    return failed;
}
