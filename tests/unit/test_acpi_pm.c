/* links: guest/devices/acpi_pm.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* ACPI's fixed registers against the specification's register model. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/devices/acpi_pm.h"
#include "guest/board/clock.h"
#include "guest/board/ports.h"
#include "tests/unit/mock_board.h"

#define STATUS  PORT_PM1A_EVENT
#define ENABLE  (PORT_PM1A_EVENT + 2)
#define CONTROL PORT_PM1A_CONTROL
#define SLP_EN  0x2000

static struct board board;
static struct acpi_pm pm;

static int setup(void **state)
{
    mock_init(&board);
    assert_int_equal(device_make(&acpi_pm_class, &pm.dev, &board.setup), 0);
    board.now = 10 * board.hz;
    bus_reset(&board.bus);
    return 0;
}

static int teardown(void **state)
{
    assert_true(mock_round_trip(&board));
    mock_destroy(&board);
    return 0;
}

static uint32_t in(unsigned port, unsigned size)
{
    return bus_port_read(&board.bus, (uint16_t)port, size);
}

static void out(unsigned port, unsigned size, uint32_t value)
{
    bus_port_write(&board.bus, (uint16_t)port, size, value);
}

static void the_timer_counts_at_its_rate(void **state)
{
    uint32_t start = in(PORT_PM_TIMER, 4), half;

    assert_int_equal(start, 10 * 3579545);
    mock_ticks(&board, board.hz);
    assert_int_equal(in(PORT_PM_TIMER, 4), start + 3579545);
    half = in(PORT_PM_TIMER, 2);
    assert_int_equal(half, (start + 3579545) & 0xffff);
    assert_int_equal(in(PORT_PM_TIMER + 2, 2), (start + 3579545) >> 16);
    assert_int_equal(in(PORT_PM_TIMER + 3, 1), (start + 3579545) >> 24);
    out(PORT_PM_TIMER, 4, 0); /* read-only */
    assert_int_equal(in(PORT_PM_TIMER, 4), start + 3579545);
    mock_ticks(&board, board.hz * 100000); /* it wraps at 32 bits */
    assert_int_equal(in(PORT_PM_TIMER, 4), (uint32_t)((10 + 1 + 100000) * 3579545ULL));
}

static void acpi_is_on_from_the_start(void **state)
{
    assert_int_equal(in(CONTROL, 2), 0x0001);
    out(CONTROL, 2, 0x0000);
    assert_int_equal(in(CONTROL, 2), 0x0001);
    out(CONTROL, 2, 0xdc06); /* sleep type and bus-master reload are kept, GBL_RLS reads as zero */
    assert_int_equal(in(CONTROL, 2), 0x1c03);
    assert_int_equal(board.requests, 0);
}

static void s5_powers_off(void **state)
{
    out(CONTROL, 2, PM_SLP_TYP_S5 << 10); /* Linux writes the type first, then with SLP_EN */
    assert_int_equal(board.requests, 0);
    out(CONTROL, 2, 3 << 10 | SLP_EN); /* another state: nothing happens; nor by QEMU's S3, 1 */
    out(CONTROL, 2, 1 << 10 | SLP_EN);
    assert_int_equal(board.requests, 0);
    out(CONTROL, 2, PM_SLP_TYP_S5 << 10 | SLP_EN);
    assert_int_equal(board.requests, 1);
    assert_int_equal(board.request, VM_REQUEST_POWEROFF);
    assert_int_equal(in(CONTROL, 2) & SLP_EN, 0);
    board.requests = 0;
    out(CONTROL + 1, 1, (PM_SLP_TYP_S5 << 10 | SLP_EN) >> 8);
    assert_int_equal(board.requests, 1);
}

static void the_power_button_interrupts(void **state)
{
    acpi_pm_power_button(&pm);
    assert_false(board.irq[GSI_SCI]);
    assert_int_equal(in(STATUS, 2), 0x0100);
    out(ENABLE, 2, 0xffff);
    assert_int_equal(in(ENABLE, 2), 0x0721);
    assert_true(board.irq[GSI_SCI]);
    assert_true(mock_round_trip(&board));
    out(STATUS, 2, 0x0001); /* writing ones clears, zeroes leave */
    assert_true(board.irq[GSI_SCI]);
    out(STATUS, 2, 0x0100);
    assert_false(board.irq[GSI_SCI]);
    assert_int_equal(in(STATUS, 2), 0);
    assert_int_equal(board.rises[GSI_SCI], 1);
}

static void status_and_enable_may_be_written_together(void **state)
{
    acpi_pm_power_button(&pm);
    out(STATUS, 4, 0x01000000);
    assert_int_equal(in(STATUS, 4), 0x01000100);
    assert_true(board.irq[GSI_SCI]);
    out(STATUS + 1, 1, 0x01);
    assert_int_equal(in(STATUS, 4), 0x01000000);
    assert_false(board.irq[GSI_SCI]);
}

static void one_event_cleared_and_another_enabled_is_an_edge(void **state)
{
    out(ENABLE, 2, 0x400);
    acpi_pm_power_button(&pm);
    assert_int_equal(board.rises[9], 0);
    out(ENABLE, 2, 0x100);
    assert_int_equal(board.rises[9], 1);
    mock_ticks(&board, 700 * board.hz); /* the timer's carry */
    out(STATUS, 4, 0x0001 << 16 | 0x0100);
    assert_true(board.irq[9]);
    assert_int_equal(board.falls[9], 1);
    assert_int_equal(board.rises[9], 2);
    acpi_pm_power_button(&pm);
    out(ENABLE, 2, 0x0100); /* from one that is pending to another: one register, no edge */
    assert_true(board.irq[9]);
    assert_int_equal(board.falls[9], 1);
}

static void the_timers_carry_interrupts(void **state)
{
    uint64_t carry = clock_deadline(BIT(31), board.hz, ACPI_PM_TIMER_HZ);

    assert_true(board.bus.next_deadline == TIMER_OFF);
    out(ENABLE, 2, 1);
    assert_int_equal(board.bus.next_deadline, carry);
    mock_ticks(&board, carry - 1 - board.now);
    assert_int_equal(in(STATUS, 2), 0);
    mock_ticks(&board, 1);
    assert_true(board.irq[GSI_SCI]);
    assert_int_equal(in(STATUS, 2), 1);
    assert_true(board.bus.next_deadline == TIMER_OFF); /* nothing more before it is cleared */
    out(STATUS, 2, 1);
    assert_false(board.irq[GSI_SCI]);
    assert_int_equal(board.bus.next_deadline, clock_deadline(BIT(32), board.hz, ACPI_PM_TIMER_HZ));
    out(ENABLE, 2, 0);
    assert_true(board.bus.next_deadline == TIMER_OFF);
    mock_ticks(&board, board.hz * 1000); /* without interrupt the status comes all the same */
    assert_int_equal(in(STATUS, 2), 1);
}

static void gpe_registers_are_there(void **state)
{
    assert_int_equal(in(PORT_GPE0, 4), 0);
    out(PORT_GPE0, 4, 0xffffffff);
    assert_int_equal(in(PORT_GPE0, 4), 0xffff0000);
    assert_false(board.irq[GSI_SCI]);
}

static void hostile_state_is_refused(void **state)
{
    uint8_t data[256];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};

    bus_save(&board.bus, &w);
    r.size = w.used;
    data[24 + 16 + 10] ^= 1;
    assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_timer_counts_at_its_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(acpi_is_on_from_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(s5_powers_off, setup, teardown),
        cmocka_unit_test_setup_teardown(the_power_button_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(status_and_enable_may_be_written_together, setup, teardown),
        cmocka_unit_test_setup_teardown(one_event_cleared_and_another_enabled_is_an_edge, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_timers_carry_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(gpe_registers_are_there, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("acpi_pm", tests, NULL, NULL);
}
