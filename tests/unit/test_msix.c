/* links: guest/board/msix.c guest/board/pci.c arch/x86/lib/format.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* MSI-X against PCI 3.0, section 6.8.2. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/msix.h"
#include "tests/unit/mock_board.h"

#define VECTORS 5

static struct board board;
static struct device dev = {.board = &board};
static struct pci_function f;
static struct msix m;

static int setup(void **state)
{
    mock_init(&board);
    pci_function_init(&f, NULL, 1, 2, 3);
    return msix_init(&m, &f, &dev, VECTORS, 2, 0x4000, 0x5000);
}

static int teardown(void **state)
{
    mock_destroy(&board);
    return 0;
}

static void control(uint8_t high)
{
    assert_int_equal(high & ~f.writable[m.capability + 3], 0);
    f.config[m.capability + 3] = high;
    msix_written(&m);
}

static void message(unsigned vector, uint64_t address, uint32_t data, uint32_t mask)
{
    msix_table_write(&m, 16 * vector, 4, (uint32_t)address);
    msix_table_write(&m, 16 * vector + 4, 4, address >> 32);
    msix_table_write(&m, 16 * vector + 8, 4, data);
    msix_table_write(&m, 16 * vector + 12, 4, mask);
}

static void test_capability(void **state)
{
    static const uint8_t expected[12] = {0x11, 0, 4, 0, 0x02, 0x40, 0, 0, 0x02, 0x50, 0, 0};

    assert_memory_equal(f.config + m.capability, expected, sizeof(expected));
    assert_int_equal(f.writable[m.capability + 3], 0xc0);
    struct msix other;
    assert_int_equal(msix_init(&other, &f, &dev, 0, 0, 0, 0), -EINVAL);
    assert_int_equal(msix_init(&other, &f, &dev, 65, 0, 0, 0), -EINVAL);
    assert_int_equal(msix_init(&other, &f, &dev, 1, 6, 0, 0), -EINVAL);
    assert_int_equal(msix_init(&other, &f, &dev, 1, 0, 4, 0), -EINVAL);
}

static void test_all_masked_at_first(void **state)
{
    assert_false(msix_enabled(&m));
    for (unsigned i = 0; i < VECTORS; i++)
        assert_int_equal(msix_table_read(&m, 16 * i + 12, 4), 1);
    msix_send(&m, 0); /* disabled: nothing, not even pending */
    control(0x80);
    assert_true(msix_enabled(&m));
    assert_int_equal(msix_pending_read(&m, 0, 8), 0);
    msix_send(&m, 3);
    assert_int_equal(board.msis, 0);
    assert_int_equal(msix_pending_read(&m, 0, 8), 8);
    assert_int_equal(msix_pending_read(&m, 8, 8), 0);
    message(3, 0xfee01004, 0x31, 0);
    assert_int_equal(board.msis, 1);
    assert_int_equal(board.msi_address, 0xfee01004);
    assert_int_equal(board.msi_data, 0x31);
    assert_int_equal(msix_pending_read(&m, 0, 4), 0);
}

static void test_masks(void **state)
{
    for (unsigned i = 0; i < VECTORS; i++)
        message(i, 0xfee00000, 0x40 + i, 0);
    control(0xc0);
    msix_send(&m, 1);
    msix_send(&m, 4);
    msix_send(&m, VECTORS);
    msix_send(&m, MSIX_NO_VECTOR);
    assert_int_equal(board.msis, 0);
    msix_table_write(&m, 16 + 12, 4, 1);
    control(0x80);
    assert_int_equal(board.msis, 1);
    assert_int_equal(board.msi_data, 0x44);
    assert_int_equal(msix_pending_read(&m, 0, 8), 2);
    msix_table_write(&m, 16 + 12, 4, 0xfffffffe); /* the other bits are reserved */
    assert_int_equal(board.msis, 2);
    assert_int_equal(board.msi_data, 0x41);
    assert_int_equal(msix_table_read(&m, 16 + 12, 4), 0);
}

static void test_access_sizes(void **state)
{
    msix_table_write(&m, 0, 8, 0x11fee12347);
    assert_true(msix_table_read(&m, 0, 8) == 0x11fee12344);
    assert_int_equal(msix_table_read(&m, 4, 4), 0x11);
    msix_table_write(&m, 8, 8, 0x0000000100000055);
    assert_int_equal(msix_table_read(&m, 8, 4), 0x55);
    msix_table_write(&m, 8, 2, 0xffff);
    msix_table_write(&m, 10, 4, 0xffff);
    msix_table_write(&m, 16 * VECTORS, 4, 0xffff);
    msix_table_write(&m, 16 * VECTORS - 4, 8, 0xffff);
    assert_int_equal(msix_table_read(&m, 8, 4), 0x55);
    assert_true(msix_table_read(&m, 16 * VECTORS, 4) == UINT64_MAX);
    assert_true(msix_table_read(&m, 9, 1) == UINT64_MAX);
}

static void test_reset_and_saved_state(void **state)
{
    uint8_t data[256];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct state_reader r = {.data = data};
    struct msix before;

    message(2, 0xfee00000, 0x50, 1);
    message(4, 0x12fee00000, 0x51, 0);
    control(0x80);
    msix_send(&m, 2);
    before = m;
    state_begin(&w, "m", 1);
    msix_save(&m, &w);
    state_end(&w);
    msix_reset(&m);
    assert_int_equal(m.pending, 0);
    assert_int_equal(msix_table_read(&m, 16 * 4 + 12, 4), 1);
    assert_int_equal(msix_table_read(&m, 16 * 4, 8), 0);
    r.size = w.used;
    assert_int_equal(state_enter(&r, "m", 1), 0);
    msix_load(&m, &r);
    assert_int_equal(state_leave(&r), 0);
    assert_memory_equal(&before, &m, sizeof(m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_capability, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_masked_at_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_masks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_and_saved_state, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
