/* links: drivers/pci.c arch/x86/lib/log.c arch/x86/lib/format.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "arch/x86/lib/errno.h"
#include "drivers/pci.h"

/* A model of configuration space: functions that a test adds. */
#define FUNCTIONS 700

struct function {
    uint16_t address;
    uint32_t config[64];
    uint32_t bar_mask[6]; /* bits that can be written */
    unsigned sized_with_decode_on, clears;
};

static struct function functions[FUNCTIONS];
static unsigned count, reads;
static bool everywhere; /* a function answers at each address */

static struct function *find(uint16_t address)
{
    for (unsigned i = 0; i < count; i++)
        if (functions[i].address == address)
            return &functions[i];
    return NULL;
}

static uint32_t model_config_read(uint16_t address, unsigned offset)
{
    struct function *f = find(address);

    assert_int_equal(offset % 4, 0);
    assert_true(offset < 256);
    assert_true(++reads < 3000000);
    if (!f && everywhere)
        return offset == HOST_PCI_ID ? 0x12348086u : offset == HOST_PCI_HEADER ? 0x800000u : 0;
    return f ? f->config[offset / 4] : UINT32_MAX;
}

static void model_config_write(uint16_t address, unsigned offset, uint32_t value)
{
    struct function *f = find(address);

    assert_non_null(f);
    if (offset == HOST_PCI_COMMAND) {
        f->clears += value >> 16 != 0;
        f->config[1] = (f->config[1] & 0xffff0000u) | (value & 0xffff);
        return;
    }
    if (offset >= HOST_PCI_BAR && offset < HOST_PCI_BAR + 24) {
        uint32_t mask = f->bar_mask[(offset - HOST_PCI_BAR) / 4];

        f->sized_with_decode_on += (f->config[1] & 3) != 0;
        f->config[offset / 4] = (f->config[offset / 4] & ~mask) | (value & mask);
        return;
    }
    f->config[offset / 4] = value;
}

static struct host_pci_access access_by_test = {model_config_read, model_config_write, false};

/* The MSI-X table. */
static uint8_t table[64];
static unsigned unmasked_too_early;

uint64_t model_read(const struct io *io, unsigned offset, unsigned size)
{
    fail();
    return 0;
}

void model_write(const struct io *io, unsigned offset, unsigned size, uint64_t value)
{
    assert_int_equal(size, 4);
    assert_true(offset + 4 <= sizeof(table));
    if (offset % 16 != 12 && !(table[offset / 16 * 16 + 12] & 1))
        unmasked_too_early++;
    memcpy(table + offset, &value, 4);
}

static struct function *add(uint16_t address, uint32_t id, uint32_t class, uint8_t header)
{
    struct function *f = &functions[count++];

    memset(f, 0, sizeof(*f));
    f->address = address;
    f->config[0] = id;
    f->config[1] = 0xa2900007; /* decoding, bus master; status with bits that ones would clear */
    f->config[2] = class << 8;
    f->config[3] = (uint32_t)header << 16;
    return f;
}

static struct function *add_bridge(uint16_t address, unsigned secondary, unsigned subordinate)
{
    struct function *f = add(address, 0x00011b36, 0x060400, 1);

    f->config[6] = (uint32_t)(address >> 8 | secondary << 8 | subordinate << 16);
    return f;
}

static int setup(void **state)
{
    count = reads = unmasked_too_early = 0;
    everywhere = false;
    access_by_test.all_buses = false;
    memset(table, 0xff, sizeof(table));
    return 0;
}

static void test_functions(void **state)
{
    add(0x0000, 0x12378086, 0x060000, 0);
    add(0x0008, 0x70008086, 0x060100, 0x80);
    add(0x0009, 0x70108086, 0x010180, 0);
    add(0x000b, 0x71138086, 0x068000, 0);
    add(0x0011, 0x11111111, 0x020000, 0); /* without a function 0 it is not looked for */
    add(0x0018, 0x22222222, 0x020000, 0);
    add(0x0019, 0x33333333, 0x020000, 0); /* behind a function 0 that is the only one */
    assert_int_equal(host_pci_init(&access_by_test), 5);
    assert_int_equal(host_pci_get(2)->address, 0x0009);
    assert_int_equal(host_pci_get(2)->vendor, 0x8086);
    assert_int_equal(host_pci_get(2)->device, 0x7010);
    assert_int_equal(host_pci_get(2)->class, 1);
    assert_int_equal(host_pci_get(2)->subclass, 1);
    assert_int_equal(host_pci_get(2)->interface, 0x80);
    assert_int_equal(host_pci_get(4)->address, 0x0018);
    assert_null(host_pci_get(5));
}

static void test_bridges(void **state)
{
    add_bridge(0x0010, 3, 5);
    add(0x0300, 0x10000001, 0x010802, 0);
    add_bridge(0x0308, 5, 5);
    add(0x0500, 0x10000002, 0x010601, 0);
    add_bridge(0x0018, 0, 0); /* unused */
    add(0x0020, 0x10000003, 0x010601, 0);
    assert_int_equal(host_pci_init(&access_by_test), 3);
    assert_int_equal(host_pci_get(0)->address, 0x0020);
    assert_int_equal(host_pci_get(1)->address, 0x0300);
    assert_int_equal(host_pci_get(2)->address, 0x0500);
}

/* Two bridges to one bus, one to its own, one up: each bus is walked once. */
static void test_bridges_in_a_circle(void **state)
{
    add_bridge(0x0010, 3, 255);
    add_bridge(0x0018, 3, 3);
    add_bridge(0x0300, 3, 3);
    add_bridge(0x0308, 0, 255);
    add_bridge(0x0310, 4, 255);
    add_bridge(0x0400, 3, 255);
    add(0x0408, 0x10000001, 0x010802, 0);
    assert_int_equal(host_pci_init(&access_by_test), 1);
    assert_true(reads < 20000);
}

static void test_a_chain_of_bridges_ends(void **state)
{
    for (unsigned bus = 0; bus < 255; bus++)
        add_bridge((uint16_t)(bus << 8), bus + 1, 255);
    add(0x0508, 0x10000001, 0x010802, 0);
    add(0xff08, 0x10000001, 0x010802, 0);
    assert_int_equal(host_pci_init(&access_by_test), 1);
}

static void test_other_roots(void **state)
{
    add(0x8000, 0x10000001, 0x010802, 0);
    assert_int_equal(host_pci_init(&access_by_test), 0);
    access_by_test.all_buses = true;
    assert_int_equal(host_pci_init(&access_by_test), 1);
}

static void test_more_than_there_is_room_for(void **state)
{
    everywhere = true;
    access_by_test.all_buses = true;
    assert_int_equal(host_pci_init(&access_by_test), HOST_PCI_MAX);
    assert_null(host_pci_get(HOST_PCI_MAX));
}

static void test_command(void **state)
{
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);

    host_pci_init(&access_by_test);
    host_pci_command(host_pci_get(0), HOST_PCI_INTX_OFF, HOST_PCI_MASTER);
    assert_int_equal(f->config[1], 0xa2900403);
    assert_int_equal(f->clears, 0);
}

/* What firmware left running stops, but for what passes on what others do. */
static void test_quiet(void **state)
{
    struct function *host = add(0x0000, 0x12378086, 0x060000, 0),
                    *bridge = add_bridge(0x0010, 3, 3), *usb = add(0x0018, 0x70208086, 0x0c0300, 0),
                    *card = add(0x0300, 0x10000001, 0x020000, 0),
                    *silent = add(0x0308, 0x10000002, 0x020000, 0);

    silent->config[1] &= ~(uint32_t)HOST_PCI_MASTER;
    host_pci_init(&access_by_test);
    assert_int_equal(host_pci_quiet(), 2);
    assert_int_equal(usb->config[1], 0xa2900003);
    assert_int_equal(card->config[1], 0xa2900003);
    assert_int_equal(host->config[1], 0xa2900007);
    assert_int_equal(bridge->config[1], 0xa2900007);
    assert_int_equal(host_pci_quiet(), 2); /* in all */
    host_pci_unquiet(host_pci_get(1));
    assert_int_equal(usb->config[1], 0xa2900007);
    host_pci_unquiet(host_pci_get(3)); /* it never was */
    assert_int_equal(silent->config[1], 0xa2900003);
}

static void has_express(struct function *f, unsigned type)
{
    f->config[0x34 / 4] = 0x40;
    f->config[0x40 / 4] = type << 20 | 0x10;
}

/* By which address memory controllers know what a function does. */
static void test_requester(void **state)
{
    has_express(add_bridge(0x0010, 1, 3), 4); /* a root port */
    add(0x0100, 0x10000001, 0x010802, 0);
    has_express(add_bridge(0x0108, 2, 3), 7); /* from PCI Express to PCI */
    add(0x0208, 0x10000002, 0x010601, 0);
    add_bridge(0x0210, 3, 3); /* of PCI, behind that */
    add(0x0308, 0x10000003, 0x010601, 0);
    add_bridge(0x0018, 4, 4); /* of PCI, in the root complex */
    add(0x0408, 0x10000004, 0x010601, 0);
    assert_int_equal(host_pci_init(&access_by_test), 4);
    assert_int_equal(host_pci_requester(host_pci_get(0)), 0x0100);
    assert_int_equal(host_pci_requester(host_pci_get(1)), 0x0200);
    assert_int_equal(host_pci_requester(host_pci_get(2)), 0x0200);
    assert_int_equal(host_pci_requester(host_pci_get(3)), 0x0018);
    assert_int_equal(host_pci_read_at(0x0408, 0), 0x10000004);
    assert_int_equal(host_pci_read_at(0x0410, 0), UINT32_MAX);
}

static void test_capabilities(void **state)
{
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);

    host_pci_init(&access_by_test);
    f->config[0x34 / 4] = 0x43; /* the low bits are reserved */
    f->config[0x40 / 4] = 0x5009;
    f->config[0x50 / 4] = 0x6005;
    f->config[0x60 / 4] = 0x0009;
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x05, 0), 0x50);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0), 0x40);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0x40), 0x60);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0x60), 0);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x11, 0), 0);
    /* A circle, a list that leads into the header, one of a function that has gone. */
    f->config[0x60 / 4] = 0x4009;
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x11, 0), 0);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0x40), 0x60);
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0x60), 0); /* not the first again */
    f->config[0x60 / 4] = 0x1009;
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x11, 0), 0);
    f->config[0x60 / 4] = UINT32_MAX;
    assert_int_equal(host_pci_capability(host_pci_get(0), 0xff, 0), 0);
    f->config[1] &= ~(uint32_t)BIT(20); /* no list at all */
    assert_int_equal(host_pci_capability(host_pci_get(0), 0x09, 0), 0);
}

static void test_bars(void **state)
{
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0), before;
    struct host_pci_bar bar;
    struct host_pci *p;

    host_pci_init(&access_by_test);
    p = host_pci_get(0);
    f->config[4] = 0xfe000000; /* 16 KiB of memory */
    f->bar_mask[0] = 0xffffc000;
    f->config[5] = 0xc041; /* 16 ports, decoded by 16 bits */
    f->bar_mask[1] = 0xfff0;
    f->config[6] = 0x0000000c; /* 64 bits, 8 GiB */
    f->config[7] = 0x00000038;
    f->bar_mask[3] = 0xfffffffe;
    f->config[8] = 0;          /* none */
    f->config[9] = 0x00000004; /* 64 bits in the last one */
    f->bar_mask[5] = 0xfffff000;
    before = *f;
    assert_int_equal(host_pci_bar(p, 0, &bar), 0);
    assert_int_equal(bar.base, 0xfe000000);
    assert_int_equal(bar.size, 0x4000);
    assert_false(bar.ports);
    assert_int_equal(host_pci_bar(p, 1, &bar), 0);
    assert_int_equal(bar.base, 0xc040);
    assert_int_equal(bar.size, 16);
    assert_true(bar.ports);
    assert_int_equal(host_pci_bar(p, 2, &bar), 0);
    assert_int_equal(bar.base, 0x3800000000);
    assert_int_equal(bar.size, 8 * GIB);
    assert_int_equal(host_pci_bar(p, 4, &bar), -ENODEV);
    assert_int_equal(host_pci_bar(p, 5, &bar), -ENODEV);
    assert_int_equal(host_pci_bar(p, 6, &bar), -ENODEV);
    assert_int_equal(f->sized_with_decode_on, 0);
    assert_memory_equal(f->config, before.config, sizeof(f->config));
}

/* What the register says has to make sense. */
static void test_bad_bars(void **state)
{
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);
    struct host_pci_bar bar;
    struct host_pci *p;

    host_pci_init(&access_by_test);
    p = host_pci_get(0);
    f->config[4] = 0; /* decodes, but nobody gave it a place */
    f->bar_mask[0] = 0xffffc000;
    assert_int_equal(host_pci_bar(p, 0, &bar), -ENODEV);
    f->config[4] = 0xfe001000; /* 16 KiB at a place for 4 */
    assert_int_equal(host_pci_bar(p, 0, &bar), -ENODEV);
    f->config[4] = 0xfe000000; /* bits in the middle are missing */
    f->bar_mask[0] = 0xff00c000;
    assert_int_equal(host_pci_bar(p, 0, &bar), -ENODEV);
    f->config[4] = 0xc001; /* ports, decoded by 32 bits */
    f->bar_mask[0] = 0xffffff00;
    assert_int_equal(host_pci_bar(p, 0, &bar), 0);
    assert_int_equal(bar.size, 256);
}

static void test_msix(void **state)
{
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);
    struct io io = {.base = 1, .size = sizeof(table)};
    unsigned bar;
    uint32_t offset;

    host_pci_init(&access_by_test);
    assert_int_equal(host_pci_msix(host_pci_get(0), &bar, &offset), 0);
    f->config[0x34 / 4] = 0x40;
    f->config[0x40 / 4] = 0x40030011; /* 4 vectors, all masked */
    f->config[0x44 / 4] = 0x3004;
    assert_int_equal(host_pci_msix(host_pci_get(0), &bar, &offset), 4);
    assert_int_equal(bar, 4);
    assert_int_equal(offset, 0x3000);
    host_pci_msix_set(&io, 2, &(struct host_pci_message){0x1fee01000, 0x51});
    assert_memory_equal(table + 32, ((uint32_t[]){0xfee01000, 1, 0x51, 0}), 16);
    assert_int_equal(unmasked_too_early, 0);
    host_pci_msix_enable(host_pci_get(0), true);
    assert_int_equal(f->config[0x40 / 4], 0x80030011);
    assert_true(f->config[1] & HOST_PCI_INTX_OFF);
    host_pci_msix_enable(host_pci_get(0), false);
    assert_int_equal(f->config[0x40 / 4], 0x00030011);
}

static void test_msi(void **state)
{
    static const struct host_pci_message low = {0xfee01000, 0x51}, high = {0x1fee01000, 0x51};
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);
    struct host_pci *p;

    host_pci_init(&access_by_test);
    p = host_pci_get(0);
    assert_int_equal(host_pci_msi_enable(p, &low), -ENODEV);
    f->config[0x34 / 4] = 0x40;
    f->config[0x40 / 4] = 0x00760005; /* 32 bits; firmware has enabled eight vectors */
    assert_int_equal(host_pci_msi_enable(p, &high), -ENODEV);
    assert_int_equal(host_pci_msi_enable(p, &low), 0);
    assert_int_equal(f->config[0x40 / 4], 0x00070005);
    assert_memory_equal(&f->config[0x44 / 4], ((uint32_t[]){0xfee01000, 0x51}), 8);
    f->config[0x40 / 4] = 0x01860005; /* 64 bits, can be masked */
    f->config[0x50 / 4] = 0xffffffff;
    assert_int_equal(host_pci_msi_enable(p, &high), 0);
    assert_int_equal(f->config[0x40 / 4], 0x01870005);
    assert_memory_equal(&f->config[0x44 / 4], ((uint32_t[]){0xfee01000, 1, 0x51, 0}), 16);
    assert_int_equal(f->clears, 0);
}

/* Never both at once. */
static void test_msi_or_msix(void **state)
{
    static const struct host_pci_message m = {0xfee01000, 0x51};
    struct function *f = add(0x0008, 0x10000001, 0x010802, 0);
    struct host_pci *p;

    host_pci_init(&access_by_test);
    p = host_pci_get(0);
    f->config[0x34 / 4] = 0x40;
    f->config[0x40 / 4] = 0x00005011;
    f->config[0x50 / 4] = 0x00010005; /* firmware has used it */
    host_pci_msix_enable(p, true);
    assert_int_equal(f->config[0x40 / 4], 0x80005011);
    assert_int_equal(f->config[0x50 / 4], 0x00000005);
    assert_int_equal(host_pci_msi_enable(p, &m), 0);
    assert_int_equal(f->config[0x40 / 4], 0x00005011);
    assert_int_equal(f->config[0x50 / 4], 0x00010005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_functions, setup),
        cmocka_unit_test_setup(test_bridges, setup),
        cmocka_unit_test_setup(test_bridges_in_a_circle, setup),
        cmocka_unit_test_setup(test_a_chain_of_bridges_ends, setup),
        cmocka_unit_test_setup(test_other_roots, setup),
        cmocka_unit_test_setup(test_more_than_there_is_room_for, setup),
        cmocka_unit_test_setup(test_command, setup),
        cmocka_unit_test_setup(test_quiet, setup),
        cmocka_unit_test_setup(test_requester, setup),
        cmocka_unit_test_setup(test_capabilities, setup),
        cmocka_unit_test_setup(test_bars, setup),
        cmocka_unit_test_setup(test_bad_bars, setup),
        cmocka_unit_test_setup(test_msix, setup),
        cmocka_unit_test_setup(test_msi, setup),
        cmocka_unit_test_setup(test_msi_or_msix, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
