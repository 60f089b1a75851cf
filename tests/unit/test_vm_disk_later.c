/* links: guest/devices/virtio/blk.c guest/devices/virtio/pci.c guest/devices/virtio/queue.c guest/devices/disk.c guest/config/disk.c guest/config/config_text.c arch/x86/lib/format.c guest/board/msix.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* virtio-blk: requests that come back later, over resets, saves, and the VM's end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/devices/disk.h"
#include "tests/unit/blk_driver.h"

static void test_interrupts(void **state)
{
    int id;

    at_once = false;
    start(V1 | INDIRECT);
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    assert_int_equal(holding, 1);
    assert_false(board.irq[10]);
    one_back();
    assert_true(board.irq[10]);
    assert_int_equal(in(0x1000, 1), 1);
    assert_false(board.irq[10]);
    assert_int_equal(in(0x1000, 1), 0);
    expect_done(id, 0, 513);
    use_msix();
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    one_back();
    assert_int_equal(board.msis, 1);
    assert_int_equal(board.msi_data, 0x31);
    assert_false(board.irq[10]);
    expect_done(id, 0, 513);
    /* Between two of them saved and loaded: the one under way is waited for. */
    id = offer(0, 1, false, DATA, 512, 0);
    kick();
    assert_int_equal(holding, 1);
    assert_true(mock_round_trip(&board));
    assert_int_equal(holding, 0);
    expect_done(id, 0, 513);
}

static void test_reset_in_flight(void **state)
{
    at_once = false;
    start(V1 | INDIRECT);
    block.ops = &mock_unhurried; /* nobody can hurry it */
    assert_true(offer(0, 0, false, DATA, 512 * 40, 0) >= 0);
    kick();
    assert_int_equal(holding, 1);
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0xf); /* not yet */
    memset(board.memory + RINGS, 0x55, 0x2000);
    one_back();
    assert_int_equal(holding, 0); /* its rest is not read any more */
    assert_int_equal(in(0x14, 1), 0);
    assert_int_equal(board.pins, 0);
    assert_false(board.irq[10]);
    for (unsigned i = 0; i < 0x2000; i++)
        assert_int_equal(board.memory[RINGS + i], 0x55);
    assert_int_equal(board.memory[STATUS], 0xee);
    block.ops = &mock_block_ops;
    at_once = true;
    start(V1 | INDIRECT);
    int id = offer(0, 0, false, DATA, 512, 0);
    kick();
    expect_done(id, 0, 513);
}

static struct device *disk(void)
{
    return device_list_find(&devices, &virtio_blk_class, 0);
}

/* Who calls done() does not wait for a processor that runs the device, and is not forgotten. */
static void test_back_while_it_is_run(void **state)
{
    int id;
    uint32_t w;

    at_once = false;
    start(V1 | INDIRECT);
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    device_lock(disk());
    one_back();
    assert_int_equal(driver_take(&v, &w), -1);
    device_unlock(disk());
    assert_false(board.irq[10]);
    mock_ticks(&board, 0);
    assert_true(board.irq[10]);
    expect_done(id, 0, 513);
    assert_int_equal(board.bus.next_deadline, TIMER_OFF);
}

/* Frames are pinned as often as can be, by other disks of this VM. */
static void test_pinned_by_others(void **state)
{
    unsigned before;
    uint32_t w;
    int id;

    start(V1 | INDIRECT);
    board.pins = MOCK_PINS;
    id = offer(0, 0, false, DATA, 512 * 40, 0);
    kick();
    for (unsigned i = 0; i < 5; i++) {
        before = submitted;
        assert_int_equal(driver_take(&v, &w), -1);
        assert_int_equal(mock_microseconds(&board, 1000), 1); /* looks again, now and then */
        assert_int_equal(before, submitted);
    }
    board.pins = 0;
    assert_int_equal(mock_microseconds(&board, 1000), 1);
    expect_done(id, 0, 512 * 40 + 1);
    assert_int_equal(board.bus.next_deadline, TIMER_OFF);

    /* And one page is to be had, which is less than a block. */
    board.pins = MOCK_PINS - 1;
    block.logical_block = 4096;
    id = offer(0, 0, false, DATA + 512, 4096, 0);
    kick();
    assert_int_equal(driver_take(&v, &w), -1);
    assert_int_equal(board.pins, MOCK_PINS - 1);
    board.pins = 0;
    mock_microseconds(&board, 1000);
    expect_done(id, 0, 4097);
    assert_memory_equal(board.memory + DATA + 512, medium, 4096);

    /* A reset does not wait for them. */
    board.pins = MOCK_PINS;
    offer(0, 0, false, DATA, 512, 0);
    kick();
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0);
    board.pins = 0;
}

/* What is in flight comes back before anything is saved: its interrupt is in the state of the
 * chips, and a reset that the driver waits for is over. */
static void test_saved_in_flight(void **state)
{
    static uint8_t data[65536];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    int id;

    at_once = false;
    start(V1 | INDIRECT);
    id = offer(0, 0, false, DATA, 512, 0);
    kick();
    while (!bus_idle(&board.bus, false))
        ;
    assert_true(board.irq[10]);
    bus_save(&board.bus, &w);
    assert_int_equal(board.rises[10], 1);
    assert_int_equal(board.falls[10], 0);
    expect_done(id, 0, 513);
    assert_int_equal(in(0x1000, 1), 1);

    block.ops = &mock_unhurried;
    assert_true(offer(0, 0, false, DATA, 512, 0) >= 0);
    kick();
    out(0x14, 1, 0);
    assert_int_equal(in(0x14, 1), 0xf);
    assert_false(bus_idle(&board.bus, false));
    block.ops = &mock_block_ops;
    assert_true(mock_round_trip(&board));
    assert_int_equal(in(0x14, 1), 0);
    assert_int_equal(holding, 0);
}

/* A VM that ends: nothing new begins, nothing of the guest's is touched, and nobody interrupts. */
static void test_idle_before_the_end(void **state)
{
    uint32_t w;

    at_once = false;
    start(V1 | INDIRECT);
    for (unsigned i = 0; i < 3; i++)
        assert_true(offer(0, i, false, DATA, 512 * 40, 0) >= 0);
    kick();
    assert_int_equal(submitted, 3);
    block.ops = &mock_unhurried;
    assert_false(bus_idle(&board.bus, true));
    kick();
    for (unsigned i = 0; i < 3; i++) {
        assert_false(bus_idle(&board.bus, true));
        one_back();
    }
    assert_true(bus_idle(&board.bus, true));
    assert_int_equal(submitted, 3);
    assert_int_equal(driver_take(&v, &w), -1);
    assert_int_equal(board.rises[10], 0);
    block.ops = &mock_block_ops;
}

/* CF9h while a long request waits for its turn; the next life has no bound. */
static void test_bound_after_the_end(void **state)
{
    start(V1 | INDIRECT);
    driver_put(&v, DATA, 0, 8);
    driver_put(&v, DATA + 8, MOCK_SECTORS, 8);
    offer(13, 0, true, DATA, 16, 0); /* longer than the budget: waits */
    kick();
    assert_true(
        bus_idle(&board.bus, true)); /* platform_idle(): all vCPUs have left, reset wanted */
    bus_reset(&board.bus);           /* board_reset() */
    start(V1 | INDIRECT);
    submitted = 0;
    for (unsigned i = 0; i < 8; i++) {
        driver_put(&v, DATA, 0, 8);
        driver_put(&v, DATA + 8, MOCK_SECTORS, 8);
        offer(13, 0, true, DATA, 16, 0);
    }
    kick(); /* one exit */
    assert_uint_in_range(submitted, 0, 4096 / 7 + 1);
}

/* The same by the driver's own reset, within the millisecond of a frame pinned by others. */
static void test_bound_after_a_reset(void **state)
{
    start(V1 | INDIRECT);
    board.pins = MOCK_PINS;
    offer(0, 0, false, DATA, 512, 0);
    kick();
    out(0x14, 1, 0);
    board.pins = 0;
    start(V1 | INDIRECT);
    submitted = 0;
    for (unsigned i = 0; i < 8; i++) {
        driver_put(&v, DATA, 0, 8);
        driver_put(&v, DATA + 8, MOCK_SECTORS, 8);
        offer(13, 0, true, DATA, 16, 0);
    }
    kick();
    assert_uint_in_range(submitted, 0, 4096 / 7 + 1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_interrupts),           TEST(test_reset_in_flight),
        TEST(test_back_while_it_is_run), TEST(test_pinned_by_others),
        TEST(test_saved_in_flight),      TEST(test_idle_before_the_end),
        TEST(test_bound_after_the_end),  TEST(test_bound_after_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
