/* links: guest/devices/lpc.c guest/devices/acpi_pm.c guest/board/pci.c arch/x86/lib/format.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The chipset's LPC bridge as OVMF and SeaBIOS use it: what it is known by, and that the registers
 * of power management are where it says. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/pci.h"
#include "guest/devices/acpi_pm.h"
#include "tests/unit/mock_board.h"

#define LPC PCI_DEVFN(31, 0)

extern const struct device_class lpc_class;

static struct board board;
static struct device_list list;
static struct pci_function other;

static void build(bool with_another)
{
    mock_init(&board);
    assert_int_equal(device_list_add(&list, &acpi_pm_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &pci_class, &board.setup), 0);
    pci_function_init(&other, NULL, 0x1af4, 0x1042, 0x018000);
    if (with_another)
        assert_int_equal(pci_add_function(board.setup.pci, PCI_DEVFN(1, 0), &other), 0);
    assert_int_equal(device_list_add(&list, &lpc_class, &board.setup), 0);
    bus_reset(&board.bus);
}

static int setup(void **state)
{
    build(true);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    device_list_destroy(&list);
    return 0;
}

static uint32_t in(unsigned reg, unsigned size)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | LPC << 8 | (reg & 0xfc));
    return bus_port_read(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void out(unsigned reg, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, 0xcf8, 4, 0x80000000 | LPC << 8 | (reg & 0xfc));
    bus_port_write(&board.bus, (uint16_t)(0xcfc + (reg & 3)), size, value);
}

static unsigned owner(unsigned port)
{
    return board.bus.port_page[port >> 8]->owner[port & 255];
}

static bool pm_is_at(uint16_t base)
{
    static const struct {
        uint16_t at, size;
    } claimed[] = {{0, 4}, {4, 2}, {8, 4}, {0x20, 4}};
    bool there = (bus_port_read(&board.bus, base + 4, 2) & 1) == 1 &&
                 bus_port_read(&board.bus, base + 8, 4) == 10 * ACPI_PM_TIMER_HZ;

    for (unsigned i = 0; i < ARRAY_SIZE(claimed) && there; i++)
        for (unsigned port = claimed[i].at; port < claimed[i].at + claimed[i].size && there; port++)
            there = owner(base + port) == 1;
    return there && bus_port_read(&board.bus, base + 6, 1) == 0xff;
}

static void what_firmware_knows_it_by(void **state)
{
    assert_int_equal(in(0, 4), 0x29188086);
    assert_int_equal(in(PCI_REVISION, 4), 0x06010002);
    assert_int_equal(in(PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
    assert_int_equal(in(PCI_HEADER_TYPE, 1), 0);
    assert_int_equal(in(0x40, 4), 0x601);
    assert_int_equal(in(0x44, 1), 0x80);
    assert_int_equal(in(0x60, 4), 0x0b0b0a0a);
    assert_int_equal(in(0x68, 4), 0x0b0b0a0a);
    assert_int_equal(in(0xf0, 4), 0);
}

static void a_vm_without_pci_devices_has_none(void **state)
{
    teardown(NULL);
    build(false);
    assert_int_equal(in(0, 4), 0xffffffff);
    board.now = 10 * board.hz;
    assert_true(pm_is_at(0x600));
}

/* Which looks for it at once. */
static void a_vm_with_firmware_has_one(void **state)
{
    teardown(NULL);
    mock_init(&board);
    board.host.firmware = "";
    assert_int_equal(device_list_add(&list, &acpi_pm_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &pci_class, &board.setup), 0);
    assert_int_equal(device_list_add(&list, &lpc_class, &board.setup), 0);
    bus_reset(&board.bus);
    assert_int_equal(in(0, 4), 0x29188086);
}

/* What either firmware writes, which is what there is already; and something else. */
static void registers_keep_what_is_written(void **state)
{
    for (unsigned i = 0; i < 4; i++) {
        out(0x60 + i, 1, i < 2 ? 10 : 11);
        out(0x68 + i, 1, i < 2 ? 10 : 11);
    }
    assert_int_equal(in(0x60, 4), 0x0b0b0a0a);
    out(0xf0, 4, 0xfed1c001);
    assert_int_equal(in(0xf0, 4), 0xfed1c001);
    out(0x60, 4, 0xffffffff);
    assert_int_equal(in(0x60, 4), 0x8f8f8f8f);
    out(0xf0, 4, 0xffffffff);
    assert_int_equal(in(0xf0, 4), 0xffffc001);
    out(0x44, 1, 0xff);
    assert_int_equal(in(0x44, 4), 0x87);
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(0x60, 4), 0x8f8f8f8f);
    bus_reset(&board.bus);
    assert_int_equal(in(0x60, 4), 0x0b0b0a0a);
    assert_int_equal(in(0xf0, 4), 0);
}

static void power_management_is_where_it_says(void **state)
{
    board.now = 10 * board.hz;
    assert_true(pm_is_at(0x600));
    out(0x40, 4, 0xb000);
    assert_int_equal(in(0x40, 4), 0xb001);
    assert_true(pm_is_at(0xb000));
    assert_false(pm_is_at(0x600));
    bus_port_write(&board.bus, 0xb002, 2, 0x100);
    assert_int_equal(bus_port_read(&board.bus, 0xb002, 2), 0x100);
    assert_true(mock_round_trip(&board));
    assert_true(pm_is_at(0xb000));
    /* Off, and on again; then with no place to be. */
    out(0x44, 1, 0);
    assert_false(pm_is_at(0xb000));
    assert_int_equal(bus_port_read(&board.bus, 0xb008, 4), 0xffffffff);
    assert_true(mock_round_trip(&board));
    assert_false(pm_is_at(0xb000));
    out(0x44, 1, 0x80);
    assert_true(pm_is_at(0xb000));
    out(0x40, 4, 0);
    assert_int_equal(bus_port_read(&board.bus, 4, 2), 0xffff);
    bus_reset(&board.bus);
    assert_true(pm_is_at(0x600));
}

/* Over what is fixed on the board it does not come. */
static void power_management_hides_nobody(void **state)
{
    assert_int_equal(bus_add_ports(&board.bus, &board.setup.pci->dev, 0xb021, 1), 0);
    out(0x40, 4, 0xb000);
    assert_int_equal(owner(0xb020), 1);
    assert_int_equal(owner(0xb021), 2);
}

/* \_S5 of type 0 at the address that OVMF and SeaBIOS take for granted. */
static void power_off_unasked(void **state)
{
    bus_port_write(&board.bus, 0x604, 2, 0x2000);
    assert_int_equal(board.requests, 1);
    assert_int_equal(board.request, VM_REQUEST_POWEROFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_firmware_knows_it_by, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vm_without_pci_devices_has_none, setup, teardown),
        cmocka_unit_test_setup_teardown(a_vm_with_firmware_has_one, setup, teardown),
        cmocka_unit_test_setup_teardown(registers_keep_what_is_written, setup, teardown),
        cmocka_unit_test_setup_teardown(power_management_is_where_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(power_management_hides_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(power_off_unasked, setup, teardown),
    };

    return cmocka_run_group_tests_name("lpc", tests, NULL, NULL);
}
