/* links: guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
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
    assert_int_equal(in(0, PCI_VENDOR_ID, 4), 0x12378086);
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
    out(devfn, PCI_INTERRUPT_LINE, 1, 11);
    assert_int_equal(last_offset, PCI_INTERRUPT_LINE);
    assert_int_equal(last_size, 1);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(devfn, PCI_INTERRUPT_LINE, 1), 11);
    bus_reset(&board.bus);
    assert_int_equal(in(devfn, PCI_INTERRUPT_LINE, 1), 0);
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
                   {4 + 257 + 1 + PCI_CLASS, 0x40, -EBADMSG},
                   {4 + 257 + 1 + 0xf0, 0x40, 0}};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(linux_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(absent_functions_read_ones, setup, teardown),
        cmocka_unit_test_setup_teardown(accesses_of_each_width, setup, teardown),
        cmocka_unit_test_setup_teardown(only_writable_bits_change, setup, teardown),
        cmocka_unit_test_setup_teardown(bars_tell_their_size, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_bars_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(functions_are_added_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("pci", tests, NULL, NULL);
}
