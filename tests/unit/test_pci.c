/* links: guest/board/pci.c arch/x86/lib/format.c guest/board/msix.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* PCI configuration mechanism #1 and config space against PCI 3.0. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/pci.h"
#include "tests/unit/mock_board.h"

static struct board board;
static struct pci pci;
static struct pci_function f;
static unsigned written, last_offset, last_size, readings;

static void on_written(struct pci_function *function, unsigned offset, unsigned size)
{
    written++;
    last_offset = offset;
    last_size = size;
}

static void on_reading(struct pci_function *function, unsigned offset, unsigned size)
{
    readings++;
    function->config[0xf0] = 0x99;
}

static const struct pci_function_ops ops = {.written = on_written, .reading = on_reading};

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&pci_class, &pci.dev, &board.setup), 0);
    pci_function_init(&f, &ops, 0x1af4, 0x1042, 0x018000);
    f.config[PCI_INTERRUPT_PIN] = 1;
    f.clearable[PCI_STATUS + 1] = 0xf9;
    f.config[PCI_STATUS + 1] = 0x20;
    f.changeable[0xf0] = 0xff;
    assert_int_equal(pci_function_bar(&f, 0, 32, PCI_BAR_IO), 0);
    assert_int_equal(pci_function_bar(&f, 1, 4096, 0), 0);
    assert_int_equal(pci_function_bar(&f, 4, 16 * GIB, PCI_BAR_64 | PCI_BAR_PREFETCH), 0);
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(3, 0), &f), 0);
    bus_reset(&board.bus);
    written = readings = 0;
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

static void address(unsigned bus, unsigned devfn, unsigned reg)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | bus << 16 | devfn << 8 | (reg & 0xfc));
}

static uint32_t in(unsigned devfn, unsigned reg, unsigned size)
{
    address(0, devfn, reg);
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void out(unsigned devfn, unsigned reg, unsigned size, uint32_t value)
{
    address(0, devfn, reg);
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

/* How Linux decides for mechanism #1, and that it finds a host bridge. */
static void linux_probe(void **state)
{
    uint32_t before;

    bus_port_write(&board.bus, 0xcfb, 1, 0x01);
    before = bus_port_read(&board.bus, 0xcf8, 4);
    assert_int_equal(before, 0);
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000);
    assert_int_equal(bus_port_read(&board.bus, 0xcf8, 4), 0x80000000);
    bus_port_write(&board.bus, 0xcf8, 4, before);
    assert_int_equal(in(0, PCI_SUBCLASS, 2), 0x0600);
    assert_int_equal(in(0, PCI_VENDOR_ID, 4), 0x29c08086);
    assert_int_equal(in(0, PCI_HEADER_TYPE, 1), 0);
}

static void absent_functions_read_ones(void **state)
{
    assert_int_equal(in(PCI_DEVFN(1, 0), 0, 4), 0xffffffff);
    assert_int_equal(in(PCI_DEVFN(3, 1), 0, 2), 0xffff);
    address(1, PCI_DEVFN(3, 0), 0);
    assert_int_equal(bus_port_read(&board.bus, 0xcfc, 4), 0xffffffff);
    bus_port_write(&board.bus, 0xcf8, 4, 0x00001800); /* not enabled */
    assert_int_equal(bus_port_read(&board.bus, 0xcfc, 4), 0xffffffff);
    bus_port_write(&board.bus, 0xcfc, 4, 0);
    assert_int_equal(written, 0);
}

static void accesses_of_each_width(void **state)
{
    unsigned devfn = PCI_DEVFN(3, 0);

    assert_int_equal(in(devfn, 0, 4), 0x10421af4);
    assert_int_equal(in(devfn, 1, 1), 0x1a);
    assert_int_equal(in(devfn, 2, 2), 0x1042);
    assert_int_equal(in(devfn, 1, 2), 0x421a);
    assert_int_equal(in(devfn, PCI_CLASS, 1), 0x01);
    assert_int_equal(in(devfn, 0xf0, 1), 0x99);
    assert_true(readings > 0);
    address(0, devfn, 0xfc);
    assert_int_equal(bus_port_read(&board.bus, 0xcfd, 4),
                     0xff000000); /* three bytes, then nobody's port */
    assert_int_equal(bus_port_read(&board.bus, 0xcf9, 2), 0xffff);
}

static void only_writable_bits_change(void **state)
{
    unsigned devfn = PCI_DEVFN(3, 0);

    for (unsigned reg = 0; reg < 256; reg += 4)
        out(devfn, reg, 4, 0xffffffff);
    assert_int_equal(in(devfn, 0, 4), 0x10421af4);
    assert_int_equal(in(devfn, PCI_COMMAND, 2), 0x0407);
    assert_int_equal(in(devfn, PCI_STATUS, 2), 0x0000); /* a one clears */
    assert_int_equal(in(devfn, PCI_INTERRUPT_LINE, 2), 0x01ff);
    assert_int_equal(written, 64);
    out(devfn, PCI_INTERRUPT_LINE, 1, 5);
    assert_int_equal(last_offset, PCI_INTERRUPT_LINE);
    assert_int_equal(last_size, 1);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(devfn, PCI_INTERRUPT_LINE, 1), 5);
    bus_reset(&board.bus);
    assert_int_equal(in(devfn, PCI_INTERRUPT_LINE, 1), 11); /* as firmware would leave it */
    assert_int_equal(in(devfn, PCI_STATUS, 2), 0x2000);
}

static void bars_tell_their_size(void **state)
{
    unsigned devfn = PCI_DEVFN(3, 0);

    for (unsigned bar = 0; bar < 6; bar++)
        out(devfn, PCI_BAR0 + 4 * bar, 4, 0xffffffff);
    assert_int_equal(in(devfn, PCI_BAR0, 4), 0xffffffe1);
    assert_int_equal(in(devfn, PCI_BAR0 + 4, 4), 0xfffff000);
    assert_int_equal(in(devfn, PCI_BAR0 + 8, 4), 0);
    assert_int_equal(in(devfn, PCI_BAR0 + 16, 4), 0x0000000c);
    assert_int_equal(in(devfn, PCI_BAR0 + 20, 4), 0xfffffffc);
    out(devfn, PCI_BAR0, 4, 0xc005);
    out(devfn, PCI_BAR0 + 4, 4, 0xfebf1234);
    out(devfn, PCI_BAR0 + 16, 4, 0x12345678);
    out(devfn, PCI_BAR0 + 20, 4, 0x0000000e);
    assert_int_equal(pci_function_bar_base(&f, 0), 0); /* not decoded yet */
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_IO);
    assert_int_equal(pci_function_bar_base(&f, 0), 0xc000);
    assert_int_equal(pci_function_bar_base(&f, 1), 0);
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_int_equal(pci_function_bar_base(&f, 0), 0);
    assert_int_equal(pci_function_bar_base(&f, 1), 0xfebf1000);
    assert_int_equal(pci_function_bar_base(&f, 4), 48 * GIB);
    assert_int_equal(pci_function_bar_base(&f, 6), 0);
}

static void bad_bars_are_refused(void **state)
{
    struct pci_function g;

    pci_function_init(&g, NULL, 1, 2, 3);
    assert_int_equal(pci_function_bar(&g, 6, 4096, 0), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 5, 4096, PCI_BAR_64), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 4095, 0), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 8, 0), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 0, 0), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 2, PCI_BAR_IO), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 0x20000, PCI_BAR_IO), -EINVAL);
    assert_int_equal(pci_function_bar(&g, 0, 4 * GIB, 0), -EINVAL);
}

static void functions_are_added_in_order(void **state)
{
    static struct pci_function g;

    pci_function_init(&g, NULL, 1, 2, 3);
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(3, 0), &g), -EEXIST);
    assert_int_equal(pci_add_function(&pci, 256, &g), -EINVAL);
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(4, 1), &g), -EINVAL);
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(3, 1), &g), 0);
    assert_int_equal(in(PCI_DEVFN(3, 0), PCI_HEADER_TYPE, 1), 0x80);
    assert_int_equal(in(PCI_DEVFN(3, 1), 0, 4), 0x00020001);
    bus_reset(&board.bus);
    assert_int_equal(in(PCI_DEVFN(3, 0), PCI_HEADER_TYPE, 1), 0x80);
}

static void hostile_state_is_refused(void **state)
{
    /* The bridge's devfn and vendor, then the function's class; what the device changes itself may
     * differ. */
    static const struct {
        unsigned offset;
        uint8_t bits;
        int error;
    } changed[] = {{4, 0x40, -EBADMSG},
                   {5, 0x40, -EBADMSG},
                   {5, 0x01, -EBADMSG},
                   {4 + 258 + 1 + PCI_CLASS, 0x40, -EBADMSG},
                   {4 + 258 + 1 + 0xf0, 0x40, 0}};
    uint8_t data[1024];

    for (unsigned i = 0; i < ARRAY_SIZE(changed); i++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        bus_save(&board.bus, &w);
        data[24 + changed[i].offset] ^= changed[i].bits;
        r.size = w.used;
        assert_int_equal(bus_load(&board.bus, &r), changed[i].error);
        assert_true(mock_round_trip(&board));
    }
}

static void ecam(void **state)
{
    uint64_t base = 0xb0000000 + (PCI_DEVFN(3, 0) << 12), value;
    struct bus_view view = {0};

    assert_true(bus_mmio_read(&board.bus, &view, 0xb0000000, 4, &value));
    assert_int_equal(value, 0x29c08086);
    assert_true(bus_mmio_read(&board.bus, &view, base, 4, &value));
    assert_int_equal(value, 0x10421af4);
    assert_true(bus_mmio_read(&board.bus, &view, base + 2, 1, &value));
    assert_int_equal(value, 0x42);
    assert_true(bus_mmio_write(&board.bus, &view, base + PCI_INTERRUPT_LINE, 1, 7));
    assert_int_equal(in(PCI_DEVFN(3, 0), PCI_INTERRUPT_LINE, 1), 7);
    assert_true(bus_mmio_write(&board.bus, &view, base + PCI_BAR0 + 16, 8, UINT64_MAX));
    assert_true(bus_mmio_read(&board.bus, &view, base + PCI_BAR0 + 16, 8, &value));
    assert_true(value == 0xfffffffc0000000c);
    /* No extended config space, nobody, the end. */
    assert_true(bus_mmio_read(&board.bus, &view, base + 0x100, 4, &value));
    assert_int_equal(value, 0xffffffff);
    assert_true(bus_mmio_read(&board.bus, &view, base + 0xff, 2, &value));
    assert_int_equal(value, 0xffff);
    assert_true(bus_mmio_write(&board.bus, &view, base + 0xfc, 8, 0));
    assert_true(bus_mmio_read(&board.bus, &view, base + 0x1000, 8, &value));
    assert_true(value == UINT64_MAX);
    assert_true(bus_mmio_write(&board.bus, &view, base + 0x1000, 4, 0));
    assert_false(bus_mmio_read(&board.bus, &view, 0xb0100000, 4, &value));
}

static bool ecam_is_at(uint64_t base)
{
    struct bus_view view = {0};
    uint64_t value;

    return bus_mmio_read(&board.bus, &view, base, 4, &value) && value == 0x29c08086;
}

/* PCIEXBAR: what OVMF and SeaBIOS write into it, Debian 13's OVMF E0000000h. */
static void ecam_moves(void **state)
{
    struct bus_view view = {0};
    uint64_t value;

    assert_int_equal(in(0, 0x60, 4), 0xb0000001);
    assert_int_equal(in(0, 0x64, 4), 0);
    out(0, 0x64, 4, 0);
    out(0, 0x60, 4, 0xe0000001);
    assert_true(ecam_is_at(0xe0000000));
    assert_false(ecam_is_at(0xb0000000));
    assert_true(mock_round_trip(&board));
    assert_true(ecam_is_at(0xe0000000));
    /* By itself, and off. */
    assert_true(bus_mmio_write(&board.bus, &view, 0xe0000060, 4, 0xd0000001));
    assert_true(ecam_is_at(0xd0000000));
    out(0, 0x60, 4, 0xd0000000);
    assert_false(bus_mmio_read(&board.bus, &view, 0xd0000000, 4, &value));
    /* Of a shorter one further bits count; above 4 GiB. */
    out(0, 0x60, 4, 0xdc000001);
    assert_true(ecam_is_at(0xd0000000));
    out(0, 0x60, 4, 0xdc000003);
    assert_true(ecam_is_at(0xd8000000));
    out(0, 0x60, 4, 0xdc000005);
    assert_true(ecam_is_at(0xdc000000));
    out(0, 0x64, 4, 0xffffffff);
    assert_int_equal(in(0, 0x64, 4), 0xf);
    assert_true(ecam_is_at(0xfdc000000));
    bus_reset(&board.bus);
    assert_true(ecam_is_at(0xb0000000));
}

static void a_bus_is_bare_without_functions(void **state)
{
    struct pci empty = {.function = {[0] = &empty.bridge}};

    assert_true(pci_is_bare(&empty));
    assert_false(pci_is_bare(&pci));
}

/* --- what is behind a BAR --- */

static uint64_t behind_read(struct device *d, uint64_t offset, unsigned size)
{
    return 0x600d0000 + offset;
}

static void behind_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
}

static void behind_reset(struct device *d)
{
}

static void behind_save(struct device *d, struct state_writer *w)
{
}

static int behind_load(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops behind_ops = {
    .name = "behind",
    .mmio_read = behind_read,
    .mmio_write = behind_write,
    .reset = behind_reset,
    .save = behind_save,
    .load = behind_load,
};

static bool is_behind(uint64_t gpa)
{
    struct bus_view view = {0};
    uint64_t value;

    return bus_mmio_read(&board.bus, &view, gpa, 4, &value) && value == 0x600d0000;
}

static void ranges_follow_bars(void **state)
{
    static struct device behind = {.ops = &behind_ops, .board = &board};
    static struct bus_range small, large;
    unsigned devfn = PCI_DEVFN(3, 0);

    small = (struct bus_range){.device = &behind, .size = 4096, .space = BUS_MEMORY};
    large = (struct bus_range){.device = &behind, .size = 16 * GIB, .space = BUS_MEMORY};
    assert_int_equal(bus_add_device(&board.bus, &behind), 0);
    assert_int_equal(pci_function_map(&f, 1, &board.bus, &small), 0);
    assert_int_equal(pci_function_map(&f, 4, &board.bus, &large), 0);
    assert_int_equal(pci_function_map(&f, 6, &board.bus, &large), -EINVAL);
    /* It has a place from the start, and is there when decoding is on. */
    assert_int_equal(in(devfn, PCI_BAR0 + 4, 4), 0xc0000000);
    assert_false(is_behind(0xc0000000));
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    assert_true(is_behind(0xc0000000));
    assert_true(mock_round_trip(&board));
    assert_true(is_behind(0xc0000000));
    /* As the size is found out with decoding on. */
    out(devfn, PCI_BAR0 + 4, 4, 0xffffffff);
    assert_false(is_behind(0xc0000000));
    out(devfn, PCI_BAR0 + 4, 4, 0xd0001000);
    assert_true(is_behind(0xd0001000));
    /* Halves of a long one: what is between is a place like any other. */
    out(devfn, PCI_BAR0 + 20, 4, 0xffffffff);
    assert_true(is_behind(0xfffffffc00000000));
    out(devfn, PCI_BAR0 + 20, 4, 0x8);
    assert_true(is_behind(32 * GIB));
    assert_false(is_behind(0xfffffffc00000000));
    out(devfn, PCI_BAR0 + 20, 4, 0);
    assert_false(is_behind(32 * GIB));
    out(devfn, PCI_COMMAND, 2, 0);
    assert_false(is_behind(0xd0001000));
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    bus_reset(&board.bus);
    assert_false(is_behind(0xd0001000));
    assert_int_equal(in(devfn, PCI_BAR0 + 4, 4), 0xc0000000);
}

/* One after another, and their BARs, those of 64 bits, too; the last device is the chipset's. */
static void devices_are_placed(void **state)
{
    static struct pci_function g[30];
    uint32_t first = in(PCI_DEVFN(3, 0), PCI_BAR0 + 4, 4);

    for (unsigned i = 0; i < 30; i++) {
        pci_function_init(&g[i], NULL, 1, 2, 3);
        assert_int_equal(pci_function_bar(&g[i], 0, 8192, PCI_BAR_64), 0);
        assert_int_equal(pci_function_bar(&g[i], 2, 4096, 0), 0);
        assert_int_equal(pci_add_device(&pci, &g[i]), i < 29 ? 0 : -ENOSPC);
    }
    assert_int_equal(g[0].devfn, PCI_DEVFN(1, 0));
    assert_int_equal(g[2].devfn, PCI_DEVFN(4, 0));
    assert_int_equal(g[28].devfn, PCI_DEVFN(30, 0));
    assert_int_equal(in(PCI_DEVFN(1, 0), PCI_BAR0, 4), (first + 0x2000) | 4);
    assert_int_equal(in(PCI_DEVFN(1, 0), PCI_BAR0 + 4, 4), 0);
    assert_int_equal(in(PCI_DEVFN(1, 0), PCI_BAR0 + 8, 4), first + 0x1000);
    assert_int_equal(in(PCI_DEVFN(2, 0), PCI_BAR0, 4), (first + 0x4000) | 4);
}

static void capabilities(void **state)
{
    struct pci_function g;
    int first, second;

    pci_function_init(&g, NULL, 1, 2, 3);
    assert_int_equal(g.config[PCI_STATUS], 0);
    first = pci_function_capability(&g, 0x11, 12);
    second = pci_function_capability(&g, 0x09, 17);
    assert_int_equal(g.config[PCI_STATUS], 0x10);
    assert_int_equal(first, 0x40);
    assert_int_equal(second, 0x4c);
    assert_int_equal(g.config[PCI_CAPABILITIES], first);
    assert_int_equal(g.config[first], 0x11);
    assert_int_equal(g.config[first + 1], second);
    assert_int_equal(g.config[second], 0x09);
    assert_int_equal(g.config[second + 1], 0);
    assert_int_equal(pci_function_capability(&g, 0x09, 256 - 0x60), 0x60);
    assert_int_equal(pci_function_capability(&g, 0x09, 4), -ENOSPC);
}

static void intx(void **state)
{
    static struct pci_function g, h;
    unsigned devfn = PCI_DEVFN(3, 0); /* INTA is line 3: 11 */

    pci_function_init(&g, NULL, 1, 2, 3);
    pci_function_init(&h, NULL, 1, 2, 3);
    g.config[PCI_INTERRUPT_PIN] = 4; /* line 2: 11, too */
    h.config[PCI_INTERRUPT_PIN] = 2; /* line 0: 10 */
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(7, 0), &g), 0);
    assert_int_equal(pci_add_function(&pci, PCI_DEVFN(7, 1), &h), 0);
    assert_int_equal(in(PCI_DEVFN(7, 0), PCI_INTERRUPT_LINE, 1), 11);
    assert_int_equal(in(PCI_DEVFN(7, 1), PCI_INTERRUPT_LINE, 1), 10);
    pci_intx(&f, true);
    pci_intx(&f, true);
    assert_true(board.irq[11]);
    assert_int_equal(in(devfn, PCI_STATUS, 1), 0x08);
    pci_intx(&g, true);
    pci_intx(&f, false);
    assert_true(board.irq[11]); /* they share it */
    assert_false(board.irq[10]);
    assert_true(mock_round_trip(&board));
    pci_intx(&g, false);
    assert_false(board.irq[11]);
    pci_intx(&h, true);
    assert_true(board.irq[10]);
    pci_intx(&h, false);
    /* Switched off, but to be seen. */
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    pci_intx(&f, true);
    assert_false(board.irq[11]);
    assert_int_equal(in(devfn, PCI_STATUS, 1), 0x08);
    out(devfn, PCI_COMMAND, 2, 0);
    assert_true(board.irq[11]);
    out(devfn, PCI_COMMAND, 2, PCI_COMMAND_INTX_OFF);
    assert_false(board.irq[11]);
    bus_reset(&board.bus);
    assert_int_equal(in(devfn, PCI_STATUS, 1), 0);
    pci_intx(&f, true);
    assert_true(board.irq[11]);
    pci_intx(&f, false);
}

static void firmware_is_told_of_places(void **state)
{
    struct pci_function told = {.devfn = 0x1f << 3};
    char path[DEVICE_BOOT_PATH];

    pci_boot_path(&told, "scsi", "/disk@0,0", path);
    assert_string_equal(path, "/pci@i0cf8/scsi@1f/disk@0,0");
    told.devfn = 9;
    pci_boot_path(&told, "ide", "", path);
    assert_string_equal(path, "/pci@i0cf8/ide@1,1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(firmware_is_told_of_places),
        cmocka_unit_test_setup_teardown(linux_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_functions_read_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(accesses_of_each_width, setup, teardown),
        cmocka_unit_test_setup_teardown(only_writable_bits_change, setup, teardown),
        cmocka_unit_test_setup_teardown(bars_tell_their_size, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_bars_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_are_added_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(ecam, setup, teardown),
        cmocka_unit_test_setup_teardown(ecam_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bus_is_bare_without_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_follow_bars, setup, teardown),
        cmocka_unit_test_setup_teardown(devices_are_placed, setup, teardown),
        cmocka_unit_test_setup_teardown(capabilities, setup, teardown),
        cmocka_unit_test_setup_teardown(intx, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
